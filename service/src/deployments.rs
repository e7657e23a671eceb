//! Deployments: names that programs ask. Which version answers stands in the database with its whole history; a copy of
//! it in memory serves the requests, together with the counts of what was answered.

mod demos;
mod file;
mod live;
mod rate;

use crate::Clock;
use crate::classifiers::Classifiers;
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::models::Models;
use crate::notices::{Notice, Notices};
use crate::runs::Runs;
pub use demos::LONGEST_DEMO_TEXT;
use domain::catalogue::AdapterSource;
use domain::deployment::figures::{AnswerCounts, DeploymentFigures, VersionFigures};
use domain::deployment::{Canary, Deployment, Move, MoveAction, check_name, check_percent, parse_source, word_of};
use domain::error::{ErrorKind, UserError};
use domain::metrics::calibration::at_temperature;
use domain::prediction::Classification;
use live::{Lives, Route};
use rate::RateLimits;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::task::JoinHandle;

/// Most deployments; each takes some kilobytes of memory for its counts.
const MOST: usize = 200;
/// What is classified to see that a version can be: it also brings it into memory before anybody waits for it.
const TRIAL: &str = "Is everything ready?";

/// Clones share everything.
#[derive(Clone)]
pub struct Deployments {
    db: Database,
    notices: Notices,
    runs: Runs,
    models: Models,
    classifiers: Classifiers,
    clock: Clock,
    live: Arc<Lives>,
    /// What versions answered on their test rows, once somebody has asked.
    on_test_rows: Arc<Mutex<HashMap<AdapterSource, AnswerCounts>>>,
    /// Changes go one after the other, so that memory ends up as the database.
    changing: Arc<tokio::sync::Mutex<()>>,
    rates: Arc<RateLimits>,
}

/// An answer with who gave it.
#[derive(Clone, Debug)]
pub struct Served {
    pub version: AdapterSource,
    pub classification: Classification,
    /// From the request's arrival to its answer.
    pub latency_ms: f64,
}

/// What a stream is answered by, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct StreamRoute {
    pub version: AdapterSource,
    pub labels: Vec<String>,
    pub temperature: Option<f64>,
    deployment: Option<String>,
}

/// What [`Deployments`] is made of.
pub(crate) struct DeploymentsParts {
    pub db: Database,
    pub notices: Notices,
    pub runs: Runs,
    pub models: Models,
    pub classifiers: Classifiers,
    pub clock: Clock,
}

impl Deployments {
    pub(crate) async fn open(parts: DeploymentsParts) -> Result<Self> {
        let DeploymentsParts { db, notices, runs, models, classifiers, clock } = parts;
        let rows = sqlx::query("SELECT * FROM deployments").fetch_all(&db.pool).await?;
        let live = Lives::default();
        for row in &rows {
            live.put(row.try_get("name")?, route_from(row)?, clock());
        }
        Ok(Self {
            db,
            notices,
            runs,
            models,
            classifiers,
            clock,
            live: Arc::new(live),
            on_test_rows: Arc::default(),
            changing: Arc::default(),
            rates: Arc::default(),
        })
    }

    /// Another server has changed some: takes over where requests go.
    pub(crate) async fn hear(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let rows = sqlx::query("SELECT * FROM deployments").fetch_all(&self.db.pool).await?;
        let mut routes = HashMap::with_capacity(rows.len());
        for row in &rows {
            routes.insert(row.try_get("name")?, route_from(row)?);
        }
        self.live.take_over(routes, (self.clock)());
        Ok(())
    }

    /// All of them by name, without their history.
    pub async fn list(&self) -> Result<Vec<Deployment>> {
        let rows = sqlx::query("SELECT * FROM deployments ORDER BY name").fetch_all(&self.db.pool).await?;
        let mut deployments = Vec::with_capacity(rows.len());
        for row in &rows {
            deployments.push(self.deployment_from(row, Vec::new()).await?);
        }
        Ok(deployments)
    }

    /// With its history.
    pub async fn get(&self, name: &str) -> Result<Deployment> {
        let row = self.row(name).await?;
        let moves = sqlx::query("SELECT * FROM deployment_moves WHERE deployment = $1 ORDER BY number DESC")
            .bind(name)
            .fetch_all(&self.db.pool)
            .await?;
        let mut history = Vec::with_capacity(moves.len());
        for row in &moves {
            let version = source_from(row, "version")?;
            history.push(Move {
                number: row.try_get("number")?,
                action: json_column(row, "action")?,
                version,
                version_name: self.name_of(version).await,
                by: row.try_get("made_by")?,
                at_ms: row.try_get("at_ms")?,
            });
        }
        self.deployment_from(&row, history).await
    }

    /// # Errors
    /// The name cannot be one or is taken, or the version cannot classify.
    pub async fn create(&self, name: &str, version: AdapterSource, by: &str) -> Result<()> {
        check_name(name)?;
        self.try_out(version).await?;
        let _changing = self.changing.lock().await;
        let now = (self.clock)();
        let mut transaction = self.db.begin_write().await?;
        let there = sqlx::query("SELECT name FROM deployments").fetch_all(&mut *transaction).await?;
        for row in &there {
            if row.try_get::<String, _>("name")? == name {
                return Err(UserError::conflict(format!(
                    "There is a deployment \"{name}\" already. Move it to another version, or choose another name."
                ))
                .into());
            }
        }
        if there.len() >= MOST {
            return Err(UserError::conflict(format!("There are {MOST} deployments already. Remove one first.")).into());
        }
        sqlx::query("INSERT INTO deployments (name, version, created_at_ms) VALUES ($1, $2, $3)")
            .bind(name)
            .bind(word_of(version))
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        note(&mut transaction, name, Entry { action: MoveAction::Created, version, by, at_ms: now }).await?;
        self.notices.tell(&mut transaction, Notice::Deployments).await?;
        transaction.commit().await?;
        self.live.put(name.to_string(), Route { version, canary: None }, now);
        Ok(())
    }

    /// From now on that version answers, all requests; what was tried out is no more.
    ///
    /// # Errors
    /// No such deployment, or the version cannot classify: then nothing changes.
    pub async fn move_to(&self, name: &str, version: AdapterSource, by: &str) -> Result<()> {
        self.row(name).await?;
        self.try_out(version).await?;
        self.change(name, MoveAction::Moved, version, by, Route { version, canary: None }).await
    }

    /// Back to the version that a move of the history went to; without a number to the one before the present.
    pub async fn roll_back(&self, name: &str, to: Option<i64>, by: &str) -> Result<AdapterSource> {
        let deployment = self.get(name).await?;
        let entry = match to {
            None => deployment.previous(),
            Some(number) => {
                deployment.moves.iter().find(|entry| entry.number == number && entry.action.moves_version())
            }
        };
        let Some(version) = entry.map(|entry| entry.version) else {
            return Err(
                UserError::conflict(format!("There is no such earlier version of \"{name}\" to go back to.")).into()
            );
        };
        self.try_out(version).await?;
        self.change(name, MoveAction::RolledBack, version, by, Route { version, canary: None }).await?;
        Ok(version)
    }

    /// From now on so many percent of the requests are answered by `canary`, and by the present version for comparison.
    pub async fn start_canary(&self, name: &str, canary: AdapterSource, percent: u32, by: &str) -> Result<()> {
        check_percent(percent)?;
        let version = source_from(&self.row(name).await?, "version")?;
        if canary == version {
            return Err(UserError::invalid("This version answers all requests already. Try out another one.").into());
        }
        self.try_out(canary).await?;
        let route = Route { version, canary: Some((canary, percent)) };
        self.change(name, MoveAction::CanaryStarted { percent }, canary, by, route).await
    }

    pub async fn stop_canary(&self, name: &str, by: &str) -> Result<()> {
        let row = self.row(name).await?;
        let route = route_from(&row)?;
        let Some((canary, _)) = route.canary else {
            return Err(UserError::conflict(format!("No other version of \"{name}\" is being tried out.")).into());
        };
        let route = Route { canary: None, ..route };
        self.change(name, MoveAction::CanaryStopped, canary, by, route).await
    }

    /// With its history and its demos.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        let mut transaction = self.db.begin_write().await?;
        sqlx::query("DELETE FROM demos WHERE deployment = $1").bind(name).execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM deployment_moves WHERE deployment = $1").bind(name).execute(&mut *transaction).await?;
        let gone = sqlx::query("DELETE FROM deployments WHERE name = $1").bind(name).execute(&mut *transaction).await?;
        if gone.rows_affected() == 0 {
            return Err(no_such(name));
        }
        self.notices.tell(&mut transaction, Notice::Deployments).await?;
        transaction.commit().await?;
        self.live.remove(name);
        Ok(())
    }

    /// What the deployment of that name says of the texts, or the run or model that `name` names itself.
    ///
    /// # Errors
    /// As [`Classifiers::classify`]; no such deployment.
    pub async fn classify(&self, name: &str, texts: Vec<String>) -> Result<Served> {
        let began = Instant::now();
        let served = |version, classification| Served {
            version,
            classification,
            latency_ms: began.elapsed().as_secs_f64() * 1000.0,
        };
        if let Some(version) = parse_source(name) {
            return Ok(served(version, self.classifiers.classify(version, texts).await?));
        }
        let route = self.live.next_route(name).ok_or_else(|| no_such(name))?;
        let answered = match route.canary {
            None => self.classifiers.classify(route.version, texts).await.map(|answer| (route.version, answer)),
            Some((canary, _)) => self.classify_both(name, canary, route.version, texts).await,
        };
        match answered {
            Ok((version, classification)) => {
                let served = served(version, classification);
                self.live.count(name, &served, (self.clock)());
                Ok(served)
            }
            Err(error) => {
                if matches!(&error, ServiceError::User(told) if told.kind == ErrorKind::Busy) {
                    self.live.count_refusal(name);
                }
                Err(error)
            }
        }
    }

    /// Both versions at once, which share their passes; the answer is the canary's as soon as it is there. A canary that
    /// fails costs nobody an answer.
    async fn classify_both(
        &self,
        name: &str,
        canary: AdapterSource,
        version: AdapterSource,
        texts: Vec<String>,
    ) -> Result<(AdapterSource, Classification)> {
        let (classifiers, for_comparison) = (self.classifiers.clone(), texts.clone());
        let mut old =
            AbortOnDrop(Some(tokio::spawn(async move { classifiers.classify(version, for_comparison).await })));
        let Some(comparison) = old.0.as_mut() else { return Err(no_such(name)) };
        match self.classifiers.classify(canary, texts).await {
            Ok(new) => {
                // The comparison goes on when the answer has been given.
                if let Some(comparison) = old.0.take() {
                    let (live, name, new) = (self.live.clone(), name.to_string(), new.clone());
                    tokio::spawn(async move {
                        if let Ok(Ok(old)) = comparison.await {
                            live.compare(&name, canary, &old, &new);
                        }
                    });
                }
                Ok((canary, new))
            }
            Err(error) => {
                tracing::warn!(deployment = name, version = word_of(canary), %error, "the version on trial failed");
                match comparison.await {
                    Ok(answer) => Ok((version, answer?)),
                    Err(_) => Err(error),
                }
            }
        }
    }

    /// What a stream is answered by: one version for all its rows.
    pub async fn route_stream(&self, name: &str) -> Result<StreamRoute> {
        let (version, deployment) = match parse_source(name) {
            Some(version) => (version, None),
            None => {
                let route = self.live.next_route(name).ok_or_else(|| no_such(name))?;
                (route.canary.map_or(route.version, |(canary, _)| canary), Some(name.to_string()))
            }
        };
        let labels = self.classifiers.labels(version).await?;
        let temperature = self.classifiers.temperature(version).await?;
        Ok(StreamRoute { version, labels, temperature, deployment })
    }

    /// A part of a stream.
    pub async fn classify_streamed(&self, route: &StreamRoute, texts: Vec<String>) -> Result<Classification> {
        let classification = self.classifiers.classify_streamed(route.version, texts).await?;
        if let Some(name) = &route.deployment {
            self.live.count_streamed(name, route.version, &classification, (self.clock)());
        }
        Ok(classification)
    }

    /// By the service's clock, by which links expire.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// How it does since the server has started, or since it was made.
    pub async fn figures(&self, name: &str) -> Result<DeploymentFigures> {
        let Some((mut figures, versions)) = self.live.figures(name, (self.clock)()) else { return Err(no_such(name)) };
        for (version, counts) in versions {
            let labels = self.classifiers.labels(version).await.unwrap_or_default();
            figures.versions.push(VersionFigures {
                version,
                version_name: self.name_of(version).await,
                on_test_rows: self.on_test_rows(version, labels.len()).await?,
                answers: counts.unwrap_or_else(|| AnswerCounts::of_labels(labels.len())),
                labels,
            });
        }
        Ok(figures)
    }

    /// What a run's adapter answered on the test rows, calibrated as its answers are now.
    async fn on_test_rows(&self, version: AdapterSource, labels: usize) -> Result<Option<AnswerCounts>> {
        let AdapterSource::Run(run) = version else { return Ok(None) };
        let there = |counts: &HashMap<AdapterSource, AnswerCounts>| counts.get(&version).cloned();
        if let Some(counts) = there(&self.on_test_rows.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(counts));
        }
        let temperature = self.classifiers.temperature(version).await?.unwrap_or(1.0);
        let mut counts = AnswerCounts::of_labels(labels);
        for row in self.runs.predictions(run).await? {
            if let Some(after) = row.after {
                counts.add(&at_temperature(&after, temperature));
            }
        }
        if counts.total() == 0 {
            return Ok(None);
        }
        let mut remembered = self.on_test_rows.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST {
            remembered.clear();
        }
        remembered.insert(version, counts.clone());
        Ok(Some(counts))
    }

    async fn try_out(&self, version: AdapterSource) -> Result<()> {
        self.classifiers.classify(version, vec![TRIAL.to_string()]).await?;
        Ok(())
    }

    async fn change(
        &self,
        name: &str,
        action: MoveAction,
        version: AdapterSource,
        by: &str,
        route: Route,
    ) -> Result<()> {
        let _changing = self.changing.lock().await;
        let now = (self.clock)();
        let mut transaction = self.db.begin_write().await?;
        let row = sqlx::query("SELECT * FROM deployments WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| no_such(name))?;
        if route_from(&row)? == route {
            // Two people have clicked the same button: the second finds it done.
            return Ok(());
        }
        let changed =
            sqlx::query("UPDATE deployments SET version = $2, canary = $3, canary_percent = $4 WHERE name = $1")
                .bind(name)
                .bind(word_of(route.version))
                .bind(route.canary.map(|(canary, _)| word_of(canary)))
                .bind(route.canary.map(|(_, percent)| i64::from(percent)))
                .execute(&mut *transaction)
                .await?;
        if changed.rows_affected() != 1 {
            return Err(no_such(name));
        }
        note(&mut transaction, name, Entry { action, version, by, at_ms: now }).await?;
        self.notices.tell(&mut transaction, Notice::Deployments).await?;
        transaction.commit().await?;
        self.live.set_route(name, route);
        Ok(())
    }

    async fn row(&self, name: &str) -> Result<AnyRow> {
        let row =
            sqlx::query("SELECT * FROM deployments WHERE name = $1").bind(name).fetch_optional(&self.db.pool).await?;
        row.ok_or_else(|| no_such(name))
    }

    async fn deployment_from(&self, row: &AnyRow, moves: Vec<Move>) -> Result<Deployment> {
        let Route { version, canary } = route_from(row)?;
        let canary = match canary {
            Some((version, percent)) => Some(Canary { version, version_name: self.name_of(version).await, percent }),
            None => None,
        };
        Ok(Deployment {
            name: row.try_get("name")?,
            version,
            version_name: self.name_of(version).await,
            canary,
            created_at_ms: row.try_get("created_at_ms")?,
            moves,
        })
    }

    /// The name of a run or a model; of one that has been removed, what its number is.
    async fn name_of(&self, version: AdapterSource) -> String {
        let name = match version {
            AdapterSource::Run(run) => self.runs.get(run).await.map(|run| run.summary.name),
            AdapterSource::Model(model) => self.models.get(model).await.map(|model| model.source),
        };
        name.unwrap_or_else(|_| word_of(version))
    }
}

/// A task that has no sense any more when nobody waits for the answer.
struct AbortOnDrop(Option<JoinHandle<Result<Classification>>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// An entry of the history before it has a number.
struct Entry<'a> {
    action: MoveAction,
    version: AdapterSource,
    by: &'a str,
    at_ms: i64,
}

async fn note(transaction: &mut Transaction<'static, Any>, name: &str, entry: Entry<'_>) -> Result<()> {
    let by: String = entry.by.trim().chars().filter(|letter| !letter.is_control()).take(100).collect();
    sqlx::query(
        "INSERT INTO deployment_moves (deployment, number, action, version, made_by, at_ms) SELECT $1, COALESCE(MAX(number), \
         0) + 1, $2, $3, $4, $5 FROM deployment_moves WHERE deployment = $1",
    )
    .bind(name)
    .bind(to_json(&entry.action)?)
    .bind(word_of(entry.version))
    .bind(by)
    .bind(entry.at_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn route_from(row: &AnyRow) -> Result<Route> {
    let version = source_from(row, "version")?;
    let canary = match row.try_get::<Option<String>, _>("canary")? {
        Some(_) => {
            let percent: i64 = row.try_get("canary_percent")?;
            Some((source_from(row, "canary")?, percent.clamp(0, 100) as u32))
        }
        None => None,
    };
    Ok(Route { version, canary })
}

fn source_from(row: &AnyRow, column: &'static str) -> Result<AdapterSource> {
    let word: String = row.try_get(column)?;
    parse_source(&word).ok_or_else(|| sqlx::Error::Decode(format!("\"{word}\" is no version").into()).into())
}

fn no_such(name: &str) -> ServiceError {
    let shown: String = name.chars().take(80).collect();
    UserError::not_found(format!(
        "There is no deployment \"{shown}\". The page /deployments lists those that there are; a run can be asked for as \
         run-3, an adapter of the catalogue as model-4."
    ))
    .into()
}
