//! MLflow's tracking server, through its REST API 2.0: experiment, run, parameters, metrics by step, tags, status.
//!
//! A thread of its own speaks to it. What is to be told waits in a bounded queue; when that is full, points are dropped,
//! and when the server does not answer, the run is told of no more. Training never waits.

use super::tensorboard::scalars_of;
use crate::db::Database;
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::manifest::{Manifest, ManifestData};
use domain::run::{RunEvent, RunId, RunStatus};
use domain::spec::KNOBS;
use serde_json::{Value, json};
use sqlx::Row as _;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};

/// Messages that wait for the thread at most: minutes of training.
const WAITING: usize = 4096;
/// Metrics are sent this often, many at once.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// Of one request, from its start to its end.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts. After the last, the run is given up.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(3)];
/// MLflow's limits for one request of `runs/log-batch`.
const MOST_METRICS: usize = 1000;
const MOST_PARAMS: usize = 100;
/// Longest value of a parameter that every version of the server takes, in characters.
const LONGEST_PARAM: usize = 250;
/// Metrics of one run that are kept while the server does not answer.
const MOST_KEPT: usize = 20_000;
const LONGEST_ANSWER: u64 = 1 << 20;

/// Where the server is, and who asks.
#[derive(Clone)]
pub struct MlflowSettings {
    /// Such as `http://127.0.0.1:5000`.
    pub uri: String,
    pub experiment: String,
    pub login: Option<MlflowLogin>,
}

#[derive(Clone)]
pub enum MlflowLogin {
    Token(String),
    Password { user: String, password: String },
}

impl fmt::Debug for MlflowSettings {
    /// Without the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MlflowSettings({}, experiment {:?})", self.uri, self.experiment)
    }
}

impl MlflowSettings {
    /// From MLflow's own variables: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_TRACKING_TOKEN or
    /// MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. `None` where the first is not set.
    ///
    /// # Errors
    /// The address is none of a server.
    pub fn from_environment() -> std::result::Result<Option<Self>, UserError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|words| !words.trim().is_empty());
        let Some(uri) = variable("MLFLOW_TRACKING_URI") else { return Ok(None) };
        check_uri(&uri)?;
        let password = || {
            Some(MlflowLogin::Password {
                user: variable("MLFLOW_TRACKING_USERNAME")?,
                password: variable("MLFLOW_TRACKING_PASSWORD")?,
            })
        };
        Ok(Some(Self {
            uri: uri.trim().trim_end_matches('/').to_string(),
            experiment: variable("MLFLOW_EXPERIMENT_NAME").unwrap_or_else(|| "ayar".to_string()),
            login: variable("MLFLOW_TRACKING_TOKEN").map(MlflowLogin::Token).or_else(password),
        }))
    }
}

/// # Errors
/// It is no address of a server; the words say what is.
pub fn check_uri(uri: &str) -> std::result::Result<(), UserError> {
    let uri = uri.trim();
    let is_http = uri.starts_with("http://") || uri.starts_with("https://");
    // A name or password in it would show up in logs.
    if is_http && !uri.contains('@') {
        return Ok(());
    }
    Err(UserError::invalid(
        "MLFLOW_TRACKING_URI is no address of a tracking server. Write it like http://127.0.0.1:5000; name and password \
         belong into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
    ))
}

/// What is told of a run.
pub(super) enum Told {
    Begin {
        name: String,
        manifest: Option<Box<Manifest>>,
    },
    Metrics {
        step: u64,
        scalars: Vec<(&'static str, f64)>,
    },
    End {
        status: RunStatus,
    },
    /// Of no run: the process ends.
    Close,
}

struct Message {
    run: RunId,
    at_ms: i64,
    told: Told,
}

/// The way to the thread. Clones share everything.
#[derive(Clone)]
pub(super) struct Mlflow {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
}

impl Mlflow {
    pub fn start(settings: MlflowSettings, db: Database) -> Result<(Self, JoinHandle<()>)> {
        let (queue, messages) = sync_channel(WAITING);
        let closing = Arc::new(AtomicBool::new(false));
        let teller = Teller {
            agent: agent(),
            settings,
            db,
            handle: Handle::current(),
            experiment: None,
            runs: HashMap::new(),
            closing: closing.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("mlflow".to_string())
            .spawn(move || teller.work(&messages))
            .map_err(|error| ServiceError::io("mlflow thread".as_ref(), error))?;
        Ok((Self { queue, dropped: Arc::default(), closing }, thread))
    }

    /// Never waits: what finds no room is dropped.
    pub fn tell(&self, run: RunId, at_ms: i64, told: Told) {
        if self.queue.try_send(Message { run, at_ms, told }).is_err()
            && self.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(run, "MLflow's server is too slow: points are left out there, and only there");
        }
    }

    pub fn tell_event(&self, run: RunId, at_ms: i64, event: &RunEvent) {
        if let Some((step, scalars)) = scalars_of(event) {
            self.tell(run, at_ms, Told::Metrics { step, scalars });
        }
    }

    /// Lets the thread tell what waits, once, and end.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.tell(0, 0, Told::Close);
    }
}

/// Why something could not be told.
enum Trouble {
    /// The server answered no; trying again would change nothing.
    Refused(String),
    /// It did not answer, or asked for patience.
    Passing(String),
}

impl Trouble {
    fn words(self) -> String {
        match self {
            Self::Refused(words) | Self::Passing(words) => words,
        }
    }
}

#[derive(Default)]
struct ToldRun {
    /// Its number there; `None` until it has been made.
    id: Option<String>,
    is_given_up: bool,
    metrics: Vec<Value>,
}

/// The thread.
struct Teller {
    agent: Agent,
    settings: MlflowSettings,
    db: Database,
    handle: Handle,
    experiment: Option<String>,
    runs: HashMap<RunId, ToldRun>,
    closing: Arc<AtomicBool>,
}

impl Teller {
    fn work(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(SEND_EVERY) {
                Ok(Message { told: Told::Close, .. }) | Err(RecvTimeoutError::Disconnected) => {
                    self.send_all();
                    return;
                }
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {
                    if self.closing.load(Ordering::Acquire) {
                        // The word to close found no room.
                        return;
                    }
                    self.send_all();
                }
            }
        }
    }

    fn take(&mut self, Message { run, at_ms, told }: Message) {
        match told {
            Told::Begin { name, manifest } => {
                // Every attempt at a run is a new chance.
                self.runs.insert(run, ToldRun::default());
                let made = self.patiently(|teller| teller.begin(run, &name, manifest.as_deref(), at_ms));
                match made {
                    Ok(id) => self.told(run).id = Some(id),
                    Err(trouble) => self.give_up(run, trouble),
                }
            }
            Told::Metrics { step, scalars } => {
                let told = self.told(run);
                if told.is_given_up || told.metrics.len() >= MOST_KEPT {
                    return;
                }
                let finite = scalars.into_iter().filter(|(_, value)| value.is_finite());
                told.metrics.extend(
                    finite.map(|(key, value)| json!({ "key": key, "value": value, "timestamp": at_ms, "step": step })),
                );
                if told.metrics.len() >= MOST_METRICS {
                    self.send(run);
                }
            }
            Told::End { status } => {
                self.send(run);
                if let Some(id) = self.told(run).id.clone().filter(|_| !self.told(run).is_given_up) {
                    let mut update = json!({ "run_id": id, "status": status_word(status) });
                    if status.is_settled() {
                        update["end_time"] = json!(at_ms);
                    }
                    let updated = self.patiently(|teller| teller.post("runs/update", &update).map(|_| ()));
                    if let Err(trouble) = updated {
                        self.give_up(run, trouble);
                    }
                }
                self.runs.remove(&run);
            }
            Told::Close => {}
        }
    }

    fn told(&mut self, run: RunId) -> &mut ToldRun {
        self.runs.entry(run).or_default()
    }

    fn send_all(&mut self) {
        for run in self.runs.keys().copied().collect::<Vec<_>>() {
            self.send(run);
        }
    }

    fn send(&mut self, run: RunId) {
        let told = self.told(run);
        let (Some(id), false) = (told.id.clone(), told.is_given_up) else { return };
        let metrics = std::mem::take(&mut told.metrics);
        for batch in metrics.chunks(MOST_METRICS) {
            let body = json!({ "run_id": id, "metrics": batch });
            if let Err(trouble) = self.patiently(|teller| teller.post("runs/log-batch", &body).map(|_| ())) {
                self.give_up(run, trouble);
                return;
            }
        }
    }

    /// Makes the run there, or finds the one of an earlier attempt.
    fn begin(
        &mut self,
        run: RunId,
        name: &str,
        manifest: Option<&Manifest>,
        at_ms: i64,
    ) -> std::result::Result<String, Trouble> {
        if let Some(id) = self.known(run) {
            let update = json!({ "run_id": id, "status": "RUNNING" });
            match self.post("runs/update", &update) {
                Ok(_) => return Ok(id),
                // It has been removed there meanwhile: a new one takes its place.
                Err(Trouble::Refused(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let experiment = self.experiment()?;
        let made = self.post(
            "runs/create",
            &json!({
                "experiment_id": experiment,
                "run_name": name,
                "start_time": at_ms,
                "tags": tags_of(run, name, manifest),
            }),
        )?;
        let id = made["run"]["info"]["run_id"].as_str().map(str::to_string);
        let id = id.ok_or_else(|| Trouble::Refused("its answer names no run".to_string()))?;
        if let Some(manifest) = manifest {
            for params in params_of(manifest).chunks(MOST_PARAMS) {
                self.post("runs/log-batch", &json!({ "run_id": id, "params": params }))?;
            }
        }
        self.remember(run, &id);
        Ok(id)
    }

    fn experiment(&mut self) -> std::result::Result<String, Trouble> {
        if let Some(known) = &self.experiment {
            return Ok(known.clone());
        }
        let name = self.settings.experiment.clone();
        let id = match self.find_experiment(&name)? {
            Some(id) => id,
            None => match self.post("experiments/create", &json!({ "name": name })) {
                Ok(made) => text(&made["experiment_id"])?,
                // Somebody was quicker.
                Err(Trouble::Refused(words)) => self.find_experiment(&name)?.ok_or(Trouble::Refused(words))?,
                Err(trouble) => return Err(trouble),
            },
        };
        self.experiment = Some(id.clone());
        Ok(id)
    }

    fn find_experiment(&self, name: &str) -> std::result::Result<Option<String>, Trouble> {
        let request = self.agent.get(self.url("experiments/get-by-name")).query("experiment_name", name);
        let request = match self.authorization() {
            Some(words) => request.header("authorization", words),
            None => request,
        };
        let answer = request.call().map_err(|error| Trouble::Passing(error.to_string()))?;
        if answer.status() == 404 {
            return Ok(None);
        }
        text(&read(answer)?["experiment"]["experiment_id"]).map(Some)
    }

    fn post(&self, path: &str, body: &Value) -> std::result::Result<Value, Trouble> {
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        let request = match self.authorization() {
            Some(words) => request.header("authorization", words),
            None => request,
        };
        let answer = request.send(body.to_string()).map_err(|error| Trouble::Passing(error.to_string()))?;
        read(answer)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.settings.uri)
    }

    fn authorization(&self) -> Option<String> {
        use base64::Engine as _;
        self.settings.login.as_ref().map(|login| match login {
            MlflowLogin::Token(token) => format!("Bearer {token}"),
            MlflowLogin::Password { user, password } => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                format!("Basic {pair}")
            }
        })
    }

    /// Again and again while the trouble may pass; once only when the process ends.
    fn patiently<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> std::result::Result<T, Trouble>,
    ) -> std::result::Result<T, Trouble> {
        for pause in PAUSES {
            match attempt(self) {
                Err(Trouble::Passing(_)) if !self.closing.load(Ordering::Acquire) => std::thread::sleep(pause),
                result => return result,
            }
        }
        attempt(self)
    }

    fn give_up(&mut self, run: RunId, trouble: Trouble) {
        let words = trouble.words();
        tracing::warn!(run, "MLflow at {} is told no more of this run: {words}", self.settings.uri);
        let told = self.told(run);
        told.is_given_up = true;
        told.metrics = Vec::new();
    }

    fn known(&self, run: RunId) -> Option<String> {
        let query = sqlx::query("SELECT mlflow_run FROM run_tracking WHERE run_id = $1").bind(run);
        let row = self.handle.block_on(query.fetch_optional(&self.db.pool)).ok()??;
        row.try_get("mlflow_run").ok()
    }

    fn remember(&self, run: RunId, id: &str) {
        let query = sqlx::query(
            "INSERT INTO run_tracking (run_id, mlflow_run) VALUES ($1, $2) ON CONFLICT (run_id) DO UPDATE SET mlflow_run \
             = $2",
        );
        if let Err(error) = self.handle.block_on(query.bind(run).bind(id).execute(&self.db.pool)) {
            tracing::warn!(run, %error, "the run's number at MLflow could not be stored; resumed, it will be a new one there");
        }
    }
}

fn read(mut answer: Response<ureq::Body>) -> std::result::Result<Value, Trouble> {
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
    if status.is_success() {
        let body = body.map_err(|error| Trouble::Passing(error.to_string()))?;
        return serde_json::from_str(&body).map_err(|_| Trouble::Refused("its answer is no JSON".to_string()));
    }
    let told: String = body.unwrap_or_default().chars().take(300).collect();
    let words = format!("{status}: {told}");
    let may_pass = status.is_server_error() || status == 429 || status == 408;
    Err(if may_pass { Trouble::Passing(words) } else { Trouble::Refused(words) })
}

fn text(value: &Value) -> std::result::Result<String, Trouble> {
    value.as_str().map(str::to_string).ok_or_else(|| Trouble::Refused("its answer lacks a number".to_string()))
}

fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "SCHEDULED",
        RunStatus::Running | RunStatus::Cancelling => "RUNNING",
        RunStatus::Cancelled => "KILLED",
        RunStatus::Finished => "FINISHED",
        RunStatus::Failed => "FAILED",
    }
}

fn tags_of(run: RunId, name: &str, manifest: Option<&Manifest>) -> Vec<Value> {
    let mut tags = vec![("mlflow.runName", name.to_string()), ("mlflow.source.name", "ayar".to_string())];
    tags.push(("ayar.run", run.to_string()));
    if let Some(manifest) = manifest {
        tags.push(("ayar.program", manifest.program.clone()));
        tags.push(("ayar.device", manifest.device.name.clone()));
        tags.push(("ayar.base_hash", manifest.base.hash.clone()));
        tags.push(("ayar.test_hash", manifest.test.hash.clone()));
    }
    tags.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

fn params_of(manifest: &Manifest) -> Vec<Value> {
    let mut params: Vec<(String, String)> =
        KNOBS.iter().filter_map(|knob| Some((knob.name.to_string(), manifest.spec.get(knob.name)?))).collect();
    params.push(("base_model".to_string(), manifest.base.name.clone()));
    if let ManifestData::Datasets { dataset, .. } = &manifest.data {
        params.push(("dataset".to_string(), dataset.name.clone()));
        params.push(("dataset_version".to_string(), dataset.version.to_string()));
    }
    for (name, part) in
        [("train_rows", &manifest.train), ("validation_rows", &manifest.validation), ("test_rows", &manifest.test)]
    {
        params.push((name.to_string(), part.rows.to_string()));
    }
    let shortened = |value: &str| value.chars().take(LONGEST_PARAM).collect::<String>();
    params.iter().map(|(key, value)| json!({ "key": key, "value": shortened(value) })).collect()
}

fn agent() -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("ayar/", env!("CARGO_PKG_VERSION")))
        // What an address leads on to is not what was set.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build();
    Agent::new_with_config(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_a_server_is_taken() {
        for good in ["http://127.0.0.1:5000", " https://mlflow.example/prefix/ "] {
            assert!(check_uri(good).is_ok(), "{good}");
        }
        for bad in ["", "file:///mlruns", "mlruns", "sqlite:///m.db", "http://me:secret@mlflow.example"] {
            assert!(!check_uri(bad).unwrap_err().message.contains("secret"), "{bad}");
        }
    }
}
