//! Two people click the same button at the same moment, over real HTTP: there is one effect. Both requests are on their
//! way before either is answered.

use app::api::deployments::{CreateDeployment, GetDeployment, MoveDeployment};
use app::api::findings::{ApplyRepair, GetExamination};
use app::api::run_form::RunForm;
use app::api::runs::{CancelRun, GetRun, ResumeRun, StartRun};
use domain::spec::TrainSpec;
use leptos::server_fn::ServerFn;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const PATIENCE: Duration = Duration::from_secs(180);

struct Server {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Server {
    /// With one dataset of a hundred rows, five of which stand in it twice.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("site/pkg");
        fs::create_dir_all(&package).unwrap();
        for name in ["app.js", "app.wasm", "app.css"] {
            fs::write(package.join(name), "").unwrap();
        }
        let mut rows = "text,label\n".to_string();
        for day in (0..95).chain(0..5) {
            let (words, label) = if day % 2 == 0 {
                ("the sun is warm and bright", "sunny")
            } else {
                ("rain and cold wind again", "rainy")
            };
            rows += &format!("day {day}: {words},{label}\n");
        }
        let sample = folder.path().join("weather.csv");
        fs::write(&sample, rows).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ayar"))
            .args(["serve", "--addr", "127.0.0.1:0", "--device", "cpu", "--sample"])
            .arg(&sample)
            .env("AYAR_DATA_DIR", folder.path().join("data"))
            .env("AYAR_SITE_ROOT", folder.path().join("site"))
            .env("AYAR_BASE_MODEL", Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Ayar runs at http://").unwrap().to_string();
        Self { child, address, _folder: folder }
    }

    /// Status and body. Between the head and the body it waits for the other, so that neither is answered first.
    fn send(&self, head: &str, kind: &str, body: &str, both: Option<&Barrier>) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n",
            self.address
        )
        .unwrap();
        if let Some(both) = both {
            both.wait();
        }
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
    }

    fn post<F: ServerFn>(&self, body: &str) -> (u16, String) {
        self.send(&format!("POST {}", F::PATH), FORM, body, None)
    }

    /// Twice at the same moment; both answers, that of the lower status first.
    fn post_both<F: ServerFn>(&self, kind: &str, body: &str) -> [(u16, String); 2] {
        let both = Barrier::new(2);
        let mut answers = std::thread::scope(|scope| {
            let send = || self.send(&format!("POST {}", F::PATH), kind, body, Some(&both));
            let (one, other) = (scope.spawn(send), scope.spawn(send));
            [one.join().unwrap(), other.join().unwrap()]
        });
        answers.sort();
        answers
    }

    /// The statuses alone.
    fn post_twice<F: ServerFn>(&self, kind: &str, body: &str) -> [u16; 2] {
        self.post_both::<F>(kind, body).map(|(status, _)| status)
    }

    /// The run that was started.
    fn start_run(&self, form: &str) -> i64 {
        let (status, body) = self.post::<StartRun>(form);
        assert_eq!(status, 200, "{body}");
        number(&body)
    }

    fn run(&self, id: i64) -> Value {
        let (status, body) = self.post::<GetRun>(&format!("id={id}"));
        assert_eq!(status, 200, "{body}");
        object(&body)
    }

    fn wait_for(&self, id: i64, wanted: &str) {
        let began = Instant::now();
        loop {
            let run = self.run(id);
            let status = run["detail"]["summary"]["status"].as_str().unwrap().to_string();
            if status == wanted {
                return;
            }
            assert!(status != "failed" && began.elapsed() < PATIENCE, "run {id} is {status}, not {wanted}: {run}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lines of a run's log that contain these words.
    fn lines(&self, id: i64, words: &str) -> usize {
        let run = self.run(id);
        let log = run["picture"]["log"].as_array().unwrap();
        log.iter().filter(|line| line["message"].as_str().unwrap().contains(words)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON in a body, which may come in chunks.
fn object(body: &str) -> Value {
    let json = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The number in a body, which may come in chunks: then it is on the second line.
fn number(body: &str) -> i64 {
    let lines: Vec<&str> = body.lines().collect();
    let line = if lines.len() > 1 { lines[1] } else { lines[0] };
    line.trim().parse().unwrap_or_else(|_| panic!("no number: {body}"))
}

fn run_form(name: &str, epochs: u64) -> String {
    let mut form = RunForm::default();
    let mut spec = TrainSpec { r: 4, num_train_epochs: epochs, ..TrainSpec::small_base() };
    spec.set("prompt_template", "{text} =").unwrap();
    form.fill(&spec);
    form.set("name", name);
    form.set("dataset", "1");
    let fields = form.query();
    let fields: Vec<String> = fields
        .trim_start_matches('?')
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, words)| format!("form[{name}]={words}"))
        .collect();
    fields.join("&")
}

#[test]
fn the_same_button_twice_at_once_has_one_effect() {
    let server = Server::start();

    // Start: both are led to the same run, and there is no other.
    let [(one, body), (other, same)] = server.post_both::<StartRun>(FORM, &run_form("long", 100));
    assert_eq!((one, other), (200, 200), "{body} {same}");
    let long = number(&body);
    assert_eq!(number(&same), long);
    server.wait_for(long, "running");
    let there = (1..=2).filter(|id| server.post::<GetRun>(&format!("id={id}")).0 == 200).count();
    assert_eq!(there, 1);
    // Another name is another run.
    let short = server.start_run(&run_form("short", 1));
    assert_ne!(short, long);

    // Cancel: the second is told that it is being done.
    let id = format!("id={long}");
    assert_eq!(server.post_twice::<CancelRun>(FORM, &id), [200, 409]);
    server.wait_for(long, "cancelled");

    // Resume: into the queue once, and its history says so once.
    assert_eq!(server.post_twice::<ResumeRun>(FORM, &id), [200, 409]);
    assert_eq!(server.lines(long, "Resumed:"), 1);
    server.wait_for(short, "finished");
    assert_eq!(server.post::<CancelRun>(&id).0, 200);
    server.wait_for(long, "cancelled");
    // Once it has finished, the same settings are a new run.
    let again = server.start_run(&run_form("short", 1));
    assert_ne!(again, short);
    server.wait_for(again, "finished");

    // A deployment: one of two makes it, and a move stands in its history once.
    let create = format!("name=weather&with=run-{short}&by=Ada");
    assert_eq!(server.post_twice::<CreateDeployment>(FORM, &create), [200, 409]);
    let to = format!("name=weather&with=run-{again}&by=Ada");
    assert_eq!(server.post_twice::<MoveDeployment>(FORM, &to), [200, 200]);
    let (status, body) = server.post::<GetDeployment>("name=weather");
    assert_eq!(status, 200, "{body}");
    let deployment = &object(&body)["deployment"];
    assert_eq!(deployment["moves"].as_array().unwrap().len(), 2, "made and moved: {deployment}");

    // A repair: one version more.
    let began = Instant::now();
    loop {
        let (status, body) = server.post::<GetExamination>("id=1&version=1");
        assert_eq!(status, 200, "{body}");
        if object(&body)["state"] == "done" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{body}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let repair = json!({
        "id": 1, "version": 1, "kind": "exact_duplicates", "repair": { "repair": "keep_first" }, "by": "Ada",
    });
    assert_eq!(server.post_twice::<ApplyRepair>(JSON, &repair.to_string()), [200, 409]);
    let (status, body) = server.send("GET /datasets/1/export.csv?version=2", FORM, "", None);
    assert_eq!((status, body.matches("day 3:").count()), (200, 1));
    assert_eq!(server.send("GET /datasets/1/export.csv?version=3", FORM, "", None).0, 404);
}
