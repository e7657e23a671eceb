//! The API for programs and the demo pages over plain HTTP, with a run that the real engine has trained.

use domain::catalogue::{AdapterSource, OWN_MODEL};
use domain::deployment::demo::Brand;
use domain::reading::ImportRequest;
use domain::run::{NewRun, RunEvent, RunStatus, TestRow};
use domain::spec::TrainSpec;
use domain::split::Split;
use serde_json::{Value, json};
use service::hub::HubSettings;
use service::{Service, ServiceConfig};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const JSON: &str = "content-type: application/json";

struct Server {
    child: Child,
    address: String,
    _folder: TempDir,
}

struct Answer {
    status: u16,
    /// Names in lower case.
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The words of a refusal.
    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_string()
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Server {
    fn start(folder: TempDir) -> Self {
        let package = folder.path().join("site/pkg");
        fs::create_dir_all(&package).unwrap();
        for name in ["app.js", "app.wasm", "app.css"] {
            fs::write(package.join(name), "").unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_ayar"))
            .args(["serve", "--addr", "127.0.0.1:0", "--sample", "none", "--device", "cpu"])
            .env("AYAR_DATA_DIR", folder.path().join("data"))
            .env("AYAR_SITE_ROOT", folder.path().join("site"))
            .env("AYAR_BASE_MODEL", repository().join("data/base/tohum-16m.gguf"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Ayar runs at http://").unwrap().to_string();
        Self { child, address, _folder: folder }
    }

    fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = if head.contains("content-length") || head.contains("transfer-encoding") {
            String::new()
        } else {
            format!("\r\ncontent-length: {}", body.len())
        };
        write!(stream, "{head} \r\nhost: {}\r\nconnection: close{length}\r\n\r\n", self.address).unwrap();
        // Who is refused early may not take all of it.
        let _ = stream.write_all(body);
        read_answer(stream)
    }

    fn post(&self, path: &str, header: &str, body: &[u8]) -> Answer {
        self.send(&format!("POST {path} HTTP/1.1\r\n{header}"), body)
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\naccept: */*"), b"")
    }

    fn classify(&self, body: Value) -> Answer {
        self.post("/v1/classify", JSON, body.to_string().as_bytes())
    }
}

fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let head = head.to_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_string() };
    Answer { status, head, body }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || after.len() < length {
            break;
        }
        body += &after[..length];
        rest = after[length..].trim_start_matches("\r\n");
    }
    body
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data folder with two finished runs, the first under the name `weather`, a link to its demo, and its test rows. The
/// second run's adapter is one for another base.
async fn prepare() -> (TempDir, String, Vec<TestRow>) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::open(ServiceConfig {
        data_dir: data.clone(),
        database_url: None,
        base_model: repository().join("data/base/tohum-16m.gguf"),
        model_folders: Vec::new(),
        hub: HubSettings {
            endpoint: "http://127.0.0.1:9".to_string(),
            token: None,
            cache: folder.path().join("hub"),
            offline: true,
        },
        sample: None,
        device: engine::Device::Cpu,
        serving: Default::default(),
        tracking: Default::default(),
        takes_up_queues: true,
    })
    .await
    .unwrap();
    let mut rows = "text,label\n".to_string();
    for day in 0..100 {
        let (words, label) =
            if day % 2 == 0 { ("the sun is warm and bright", "sunny") } else { ("rain and cold wind again", "rainy") };
        rows += &format!("day {day}: {words},{label}\n");
    }
    let mut upload = service.datasets.begin_upload("weather.csv").await.unwrap();
    upload.write(rows.as_bytes()).await.unwrap();
    let preview = upload.finish().await.unwrap();
    let request = ImportRequest { name: String::new(), options: preview.options, into: None, by: String::new() };
    let dataset = service.datasets.import(&preview.upload, request).await.unwrap().id;
    for _ in 0..2 {
        let mut spec = TrainSpec { r: 4, num_train_epochs: 1, ..TrainSpec::small_base() };
        spec.set("prompt_template", "{text} =").unwrap();
        let new = NewRun {
            name: "small".to_string(),
            dataset_id: dataset,
            dataset_version: None,
            split: Split::default(),
            spec,
            base_model: OWN_MODEL,
            start_from: None,
            time_limit_minutes: None,
        };
        let run = service.runs.start(new).await.unwrap();
        let mut watch = service.feed.watch(run, 0);
        'finished: while let Some(events) = watch.next().await {
            for event in events {
                match event.event {
                    RunEvent::Status { status: RunStatus::Finished, .. } => break 'finished,
                    RunEvent::Status { status: RunStatus::Failed, message } => panic!("{message:?}"),
                    _ => {}
                }
            }
        }
    }
    service.deployments.create("weather", AdapterSource::Run(1), "").await.unwrap();
    let brand = Brand::parse("Sun <or> rain", "W", "#004080", "weather").unwrap();
    let demo = service.deployments.create_demo("weather", brand, None).await.unwrap();
    let rows = service.runs.predictions(1).await.unwrap();
    service.shutdown().await;
    let other = repository().join("engine/tests/fixtures/families/qwen2/adapter/adapter_model.safetensors");
    let config = repository().join("engine/tests/fixtures/families/qwen2/adapter/adapter_config.json");
    let adapter = engine::train::adapter_directory(&data.join("runs/2"));
    fs::copy(other, adapter.join("adapter_model.safetensors")).unwrap();
    fs::copy(config, adapter.join("adapter_config.json")).unwrap();
    (folder, demo.token, rows)
}

#[test]
fn programs_ask_and_people_try() {
    let (folder, token, rows) = tokio::runtime::Runtime::new().unwrap().block_on(prepare());
    let server = Server::start(folder);
    answers_are_those_of_the_run(&server, &rows);
    refusals_are_precise(&server);
    files_are_streamed(&server);
    the_api_describes_itself(&server);
    a_demo_is_a_page_for_everybody(&server, &token);
    a_crowd_is_answered_or_told_to_come_again(&server);
    a_body_without_end_is_cut_off(&server);
    assert_eq!(server.get("/healthz").status, 200);
}

fn answers_are_those_of_the_run(server: &Server, rows: &[TestRow]) {
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let answer = server.classify(json!({ "model": "weather", "texts": texts }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.json();
    assert_eq!((told["model"].as_str(), told["version"].as_str()), (Some("weather"), Some("run-1")));
    assert!(told["latency_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(told["calibrated"].as_bool().unwrap(), told["temperature"].is_number());
    let temperature = told["temperature"].as_f64().unwrap_or(1.0);
    let results = told["results"].as_array().unwrap();
    assert_eq!(results.len(), rows.len());
    for (result, row) in results.iter().zip(rows) {
        let shown = domain::metrics::calibration::at_temperature(row.after.as_ref().unwrap(), temperature);
        let probabilities = result["probabilities"].as_object().unwrap();
        let sum: f64 = probabilities.values().map(|value| value.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        let confidence = result["confidence"].as_f64().unwrap();
        assert_eq!(probabilities[result["label"].as_str().unwrap()].as_f64(), Some(confidence));
        assert!((confidence - f64::from(shown.confidence())).abs() < 1e-5);
    }

    // An answer that is surer than the least keeps its label; see `http::api::classify` for the others.
    let body = json!({ "model": "run-1", "text": texts[0], "abstain_below": 0.5 });
    assert_eq!(server.classify(body).json()["results"][0]["label"], results[0]["label"]);

    // The other shape, and the run asked by its number.
    let body = json!({ "inputs": texts[0] }).to_string();
    let other = server.post("/models/run-1", JSON, body.as_bytes());
    assert_eq!(other.status, 200, "{}", other.body);
    let scores = other.json()[0].as_array().unwrap().clone();
    assert_eq!(scores.len(), 2);
    assert!(scores[0]["score"].as_f64() >= scores[1]["score"].as_f64());
    assert_eq!(scores[0]["label"], results[0]["label"]);
    let body = json!({ "inputs": [texts[0], texts[1]], "parameters": { "top_k": 1 } }).to_string();
    let two = server.post("/models/weather", JSON, body.as_bytes()).json();
    assert_eq!((two.as_array().unwrap().len(), two[1].as_array().unwrap().len()), (2, 1));
    assert_eq!(server.post("/models/nowhere", JSON, body.as_bytes()).status, 404);
}

fn refusals_are_precise(server: &Server) {
    let ask = |body: Value| server.classify(body);
    let refused = |answer: Answer, status: u16, words: &str| {
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.error().contains(words), "{}", answer.body);
    };
    refused(ask(json!({ "model": "nowhere", "text": "rain" })), 404, "no deployment \"nowhere\"");
    refused(ask(json!({ "model": "run-77", "text": "rain" })), 404, "77");
    refused(ask(json!({ "model": "run-2", "text": "rain" })), 409, "it was made for another base");
    refused(ask(json!({ "model": "weather", "text": "rain", "abstain_below": 60 })), 400, "from 0 to 1");
    refused(ask(json!({ "model": "weather", "text": " " })), 422, "Text 1 is empty");
    refused(ask(json!({ "model": "weather", "texts": [] })), 422, "no text");
    refused(ask(json!({ "model": "weather" })), 400, "either \"text\" or \"texts\"");
    refused(ask(json!({ "model": "weather", "text": "a", "texts": ["b"] })), 400, "either");
    refused(ask(json!({ "model": "weather", "txt": "a" })), 400, "txt");
    refused(ask(json!({ "model": "weather", "text": "x".repeat(1 << 20) })), 413, "Text 1 is 1048576 bytes long");
    refused(ask(json!({ "model": "weather", "texts": vec!["rain"; 100_000] })), 413, "100000 texts");
    refused(ask(json!({ "model": "weather", "text": "x".repeat(5 << 20) })), 413, "4096 KB");
    refused(
        server.post("/v1/classify", JSON, b"{\"model\": \"weather\", \"text\": \"\xff\"}"),
        400,
        "not UTF-8: byte 30",
    );
    refused(server.post("/v1/classify", JSON, b"{\"model\": "), 400, "JSON");
    refused(server.post("/v1/classify", "content-type: text/plain", b"rain"), 415, "\"text/plain\"");
    refused(server.post("/v1/classify", "accept: */*", b"{}"), 415, "none");
    refused(server.post("/v1/classify/stream?model=weather", JSON, b"{}"), 415, "no stream of rows");
    assert_eq!(server.get("/v1/classify").status, 405);
    let foreign = format!("origin: http://elsewhere.example\r\n{JSON}");
    assert_eq!(server.post("/v1/classify", &foreign, b"{}").status, 403);
}

fn files_are_streamed(server: &Server) {
    let csv = "content-type: text/csv";
    let path = "/v1/classify/stream?model=weather&text_column=words";
    let rows: String = (0..300).map(|row| format!("{row},\"the sun, warm, {row}\"\n")).collect();
    let file = format!("id,words\n{rows}300,\n301,rain and cold wind again\n");
    let answer = server.post(path, csv, file.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("x-ayar-version: run-1"), "{}", answer.head);
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!((lines[0], lines.len()), ("id,words,predicted_label,confidence,error", 303));
    assert!(lines[1].starts_with("0,\"the sun, warm, 0\","), "{}", lines[1]);
    assert!(lines[301].contains("The text is empty"), "{}", lines[301]);
    assert!(lines[302].starts_with("301,rain and cold wind again,"), "{}", lines[302]);

    // By the content type alone, and the same answers as one by one.
    let json_lines = "{\"id\": \"a\", \"text\": \"rain and cold wind again\"}\n\"the sun\"\n{\"text\": 3}\n";
    let answer = server.post("/v1/classify?model=weather", "content-type: application/x-ndjson", json_lines.as_bytes());
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["id"], &lines[0]["row"]), (&json!("a"), &json!(1)));
    assert!(lines[2]["error"].as_str().unwrap().contains("no string"));
    let alone = server.classify(json!({ "model": "weather", "text": "rain and cold wind again" })).json();
    assert_eq!(lines[0]["label"], alone["results"][0]["label"]);
    let difference = lines[0]["confidence"].as_f64().unwrap() - alone["results"][0]["confidence"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5);

    assert_eq!(server.post("/v1/classify/stream?model=nowhere", csv, b"text\na\n").status, 404);
    assert_eq!(server.post("/v1/classify/stream", csv, b"text\na\n").status, 400);
    let answer = server.post("/v1/classify/stream?model=weather", csv, b"a,b\n1,2\n");
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("No column is called \"text\""), "{}", answer.body);

    // The first answers come while the file is still being sent.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\n{csv}\r\ncontent-length: 100000\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"id,words\n1,rain\n2,sun\n").unwrap();
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains("\n2,sun,") && !seen.contains("\r\n2,sun,") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "{seen}");
        seen += &String::from_utf8_lossy(&piece[..read]);
    }
}

fn the_api_describes_itself(server: &Server) {
    let api = server.get("/openapi.json").json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"), "{}", api["openapi"]);
    for path in ["/v1/classify", "/v1/classify/stream", "/models/{id}"] {
        assert!(api["paths"][path]["post"]["responses"]["429"].is_object(), "{path}");
    }
    let page = server.get("/docs");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("default-src 'none'") && !page.head.contains("unsafe"), "{}", page.head);
    for file in ["/docs/docs.js", "/docs/docs.css"] {
        assert_eq!(server.get(file).status, 200);
    }
    assert_eq!(server.get("/docs/../../Cargo.toml").status, 404);
}

fn a_demo_is_a_page_for_everybody(server: &Server, token: &str) {
    let page = server.get(&format!("/demo/{token}"));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Sun &lt;or&gt; rain") && page.body.contains("<form"), "{}", page.body);
    assert!(page.head.contains("frame-ancestors *") && !page.head.contains("unsafe"), "{}", page.head);
    assert!(server.get("/deployments").head.contains("frame-ancestors 'self'"));
    assert!(server.get(&format!("/demo/{token}/brand.css")).body.contains("--brand: #004080; --on-brand: #ffffff"));

    // Without a script, and with it.
    let form = "content-type: application/x-www-form-urlencoded";
    let answered = server.post(&format!("/demo/{token}"), form, b"text=rain+and+%3Cb%3Ecold");
    assert_eq!(answered.status, 200);
    assert!(answered.body.contains("class=\"label\"") && answered.body.contains("&lt;b&gt;cold"), "{}", answered.body);
    let told = server.post(&format!("/demo/{token}/classify"), form, b"text=rain");
    assert_eq!(told.json()["results"][0]["probabilities"].as_object().unwrap().len(), 2);
    assert_eq!(server.get("/demo/00000000000000000000000000000000").status, 404);
    assert_eq!(server.post("/demo/nothing/classify", form, b"text=rain").status, 404);

    // One address cannot go on and on.
    let refused = (0..40)
        .map(|_| server.post(&format!("/demo/{token}/classify"), form, b"text=rain"))
        .find(|answer| answer.status != 200)
        .unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
}

fn a_crowd_is_answered_or_told_to_come_again(server: &Server) {
    let body = json!({ "model": "weather", "texts": vec!["rain and cold wind again"; 200] }).to_string();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..200).map(|_| scope.spawn(|| server.post("/v1/classify", JSON, body.as_bytes()))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    let of = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(of(200) + of(429), 200);
    assert!(of(200) > 0 && of(429) > 0, "{} and {}", of(200), of(429));
    for answer in answers.iter().filter(|answer| answer.status == 429) {
        let (_, seconds) = answer.head.split_once("retry-after: ").unwrap();
        assert!(seconds.lines().next().unwrap().parse::<u32>().unwrap() >= 1);
    }
}

fn a_body_without_end_is_cut_off(server: &Server) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /v1/classify HTTP/1.1\r\nhost: {}\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let began = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while writer.write_all(b"1\r\n \r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let answer = read_answer(stream);
    assert_eq!(answer.status, 408, "{}", answer.body);
    assert!(answer.error().contains("20 s"), "{}", answer.body);
    assert!(began.elapsed() < Duration::from_secs(40));
}
