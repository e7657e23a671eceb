//! Two server processes on one PostgreSQL and one data folder; the one that trains is killed. On SQLite there is nothing
//! of that to test.

use app::api::run_form::RunForm;
use app::api::runs::{GetRun, StartRun};
use domain::spec::TrainSpec;
use leptos::server_fn::ServerFn;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../service/tests/service/own_database.rs"]
mod own_database;
use own_database::OwnDatabase;

/// A lease runs out after half a minute.
const PATIENCE: Duration = Duration::from_secs(240);

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path, database: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ayar"))
            .args(["serve", "--addr", "127.0.0.1:0", "--device", "cpu", "--sample"])
            .arg(folder.join("weather.csv"))
            .env("AYAR_DATABASE_URL", database)
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
        write!(
            stream,
            "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{body}",
            F::PATH,
            self.address,
            body.len()
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
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    let mut spec = TrainSpec { r: 4, num_train_epochs: 30, ..TrainSpec::small_base() };
    spec.set("prompt_template", "{text} =").unwrap();
    form.fill(&spec);
    form.set("name", name);
    form.set("dataset", "1");
    let fields = form.query();
    let fields = fields.trim_start_matches('?').split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, words)| format!("form[{name}]={words}")).collect::<Vec<_>>().join("&")
}

#[test]
fn a_run_of_a_killed_server_goes_on_at_another_and_ends_the_same() {
    let database = OwnDatabase::new();
    let Some(url) = database.url() else { return };
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("site/pkg");
    fs::create_dir_all(&package).unwrap();
    for name in ["app.js", "app.wasm", "app.css"] {
        fs::write(package.join(name), "").unwrap();
    }
    let mut rows = "text,label\n".to_string();
    for day in 0..100 {
        rows += &format!(
            "day {day}: {}\n",
            ["the sun is warm and bright,sunny", "rain and cold wind again,rainy"][day % 2]
        );
    }
    fs::write(folder.path().join("weather.csv"), rows).unwrap();

    let mut first = Server::start(folder.path(), &url);
    let number = |body: String| -> i64 {
        body.lines().map(str::trim).rfind(|line| !line.is_empty() && *line != "0").unwrap().parse().unwrap()
    };
    let run = number(first.post::<StartRun>(&run_form("killed")));
    first.wait_for(run, |run| steps(run).len() > 20);
    // The second one was not there when the run was taken up.
    let second = Server::start(folder.path(), &url);
    assert_eq!(status(&second.run(run)), "running");
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let killed = second.wait_for(run, |run| status(run) == "finished");
    let log = killed["picture"]["log"].as_array().unwrap();
    assert!(
        log.iter().any(|line| line["message"].as_str().unwrap().contains("goes on from its last checkpoint")),
        "{log:?}"
    );
    let twin = number(second.post::<StartRun>(&run_form("twin")));
    let twin = second.wait_for(twin, |run| status(run) == "finished");
    let losses =
        |run: &Value| steps(run).iter().map(|point| (point["step"].clone(), point["loss"].clone())).collect::<Vec<_>>();
    assert_eq!(losses(&killed), losses(&twin));
    assert_eq!(killed["detail"]["summary"]["accuracy_after"], twin["detail"]["summary"]["accuracy_after"]);
}
