//! The real process is killed at many moments of a run and started again on the same folder: the run ends as one that
//! nobody disturbed.

use app::api::run_form::RunForm;
use app::api::runs::{GetRun, StartRun};
use domain::spec::TrainSpec;
use leptos::server_fn::ServerFn;
use serde_json::Value;
use sqlx::Row;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ayar"))
            .args(["serve", "--addr", "127.0.0.1:0", "--device", "cpu", "--sample"])
            .arg(folder.join("weather.csv"))
            .env("AYAR_DATA_DIR", folder.join("data"))
            .env("AYAR_SITE_ROOT", folder.join("site"))
            .env("AYAR_BASE_MODEL", Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Ayar runs at http://").unwrap().to_string();
        Self { child, address }
    }

    fn post<F: ServerFn>(&self, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (path, address, length) = (F::PATH, &self.address, body.len());
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_string()
    }

    fn run(&self, id: i64) -> Value {
        let body = self.post::<GetRun>(&format!("id={id}"));
        // It may come in chunks.
        serde_json::from_str(&body[body.find('{').unwrap()..=body.rfind('}').unwrap()]).unwrap()
    }

    fn wait_for(&self, id: i64, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let run = self.run(id);
            if is_so(&run) {
                return run;
            }
            assert!(status(&run) != "failed" && began.elapsed() < PATIENCE, "{run}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill(mut self) {
        // SIGKILL
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When the process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The run has been taken up; there is no step yet.
    TakenUp,
    /// So many epochs have been shown. A whole number: its checkpoint may be half written.
    Epochs(f64),
    /// The test rows are being scored with the adapter.
    LastScores,
}

impl Moment {
    fn has_come(self, run: &Value) -> bool {
        match self {
            Self::TakenUp => status(run) == "running",
            Self::Epochs(epochs) => steps(run).last().is_some_and(|point| point["epoch"].as_f64().unwrap() >= epochs),
            Self::LastScores => run["picture"]["phase"] == "evaluating" || status(run) == "finished",
        }
    }
}

fn status(run: &Value) -> &str {
    run["detail"]["summary"]["status"].as_str().unwrap()
}

fn steps(run: &Value) -> &Vec<Value> {
    run["picture"]["steps"].as_array().unwrap()
}

fn run_form(name: &str) -> String {
    let mut form = RunForm::default();
    let mut spec = TrainSpec { r: 4, num_train_epochs: 8, ..TrainSpec::small_base() };
    spec.set("prompt_template", "{text} =").unwrap();
    spec.set("per_device_train_batch_size", "8").unwrap();
    form.fill(&spec);
    form.set("name", name);
    form.set("dataset", "1");
    let fields = form.query();
    let fields = fields.trim_start_matches('?').split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, words)| format!("form[{name}]={words}")).collect::<Vec<_>>().join("&")
}

fn start_run(server: &Server, name: &str) -> i64 {
    let body = server.post::<StartRun>(&run_form(name));
    body.lines().map(str::trim).rfind(|line| !line.is_empty() && *line != "0").unwrap().parse().unwrap()
}

/// The numbers of a run's events in the table, in their order.
fn sequence(folder: &Path, run: i64) -> Vec<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("data/ayar.db")).read_only(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let rows = sqlx::query("SELECT seq FROM run_events WHERE run_id = $1 ORDER BY seq")
            .bind(run)
            .fetch_all(&pool)
            .await
            .unwrap();
        rows.iter().map(|row| row.get("seq")).collect()
    })
}

#[test]
fn a_run_that_is_killed_at_many_moments_ends_as_one_that_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("site/pkg");
    fs::create_dir_all(&package).unwrap();
    for name in ["app.js", "app.wasm", "app.css"] {
        fs::write(package.join(name), "").unwrap();
    }
    let mut rows = "text,label\n".to_string();
    for day in 0..100 {
        let words = ["the sun is warm and bright,sunny", "rain and cold wind again,rainy"][day % 2];
        rows += &format!("day {day}: {words}\n");
    }
    fs::write(folder.path().join("weather.csv"), rows).unwrap();

    let mut server = Server::start(folder.path());
    let run = start_run(&server, "killed");
    // Never three of them between two checkpoints: such a run would be given up.
    let epochs = [0.3, 1.2, 2.0, 2.5, 3.0, 3.9, 5.0, 6.3].map(Moment::Epochs);
    let moments = [&[Moment::TakenUp], &epochs[..], &[Moment::LastScores]].concat();
    for moment in &moments {
        let seen = server.wait_for(run, |run| moment.has_come(run));
        server.kill();
        server = Server::start(folder.path());
        // What a viewer saw is there.
        let after = server.run(run);
        assert!(after["picture"]["last_seq"].as_i64() >= seen["picture"]["last_seq"].as_i64(), "{moment:?}");
    }
    let killed = server.wait_for(run, |run| status(run) == "finished");
    let twin_run = start_run(&server, "twin");
    let twin = server.wait_for(twin_run, |run| status(run) == "finished");
    drop(server);

    let points = |run: &Value| -> Vec<(Value, Value)> {
        steps(run).iter().map(|point| (point["step"].clone(), point["loss"].clone())).collect()
    };
    assert_eq!(points(&killed), points(&twin));
    assert_eq!(killed["picture"]["steps"].as_array().unwrap().last().unwrap()["epoch"], 8.0);
    for name in ["accuracy_before", "accuracy_after", "macro_f1_after"] {
        assert_eq!(killed["detail"]["summary"][name], twin["detail"]["summary"][name], "{name}");
    }
    let predictions = |run: i64| -> PathBuf { folder.path().join(format!("data/runs/{run}/predictions.jsonl")) };
    assert_eq!(fs::read(predictions(run)).unwrap(), fs::read(predictions(twin_run)).unwrap());
    let numbers = sequence(folder.path(), run);
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    let went_on = killed["picture"]["log"].as_array().unwrap().iter();
    let went_on = went_on.filter(|line| line["message"].as_str().unwrap().contains("goes on from its last checkpoint"));
    // The last one may have come after the end.
    assert!(went_on.count() >= moments.len() - 1);
}
