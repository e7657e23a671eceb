//! Runs as other programs are told of them: event files in a folder, and an MLflow server of the test's own, which holds
//! every request against MLflow's REST documentation.

use crate::support::{Place, import, small_run, wait_for, wait_for_status, weather};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::run::{RunEvent, RunStatus};
use serde_json::{Value, json};
use service::tracking::{MlflowLogin, MlflowSettings};
use service::{Service, ServiceConfig, TrackingConfig};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What the server was told, in order: path and body.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, Value)>>>);

impl Heard {
    fn note(&self, path: &str, headers: &HeaderMap, body: Value) {
        // base64 of "me:secret".
        assert_eq!(headers["authorization"], "Basic bWU6c2VjcmV0");
        self.0.lock().unwrap().push((path.to_string(), body));
    }

    fn of(&self, path: &str) -> Vec<Value> {
        self.0.lock().unwrap().iter().filter(|(heard, _)| heard == path).map(|(_, body)| body.clone()).collect()
    }
}

fn missing() -> (StatusCode, Json<Value>) {
    let body = json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such experiment" });
    (StatusCode::NOT_FOUND, Json(body))
}

async fn by_name(
    State(heard): State<Heard>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    heard.note("experiments/get-by-name", &headers, json!(query));
    assert_eq!(query["experiment_name"], "headlines");
    if heard.of("experiments/create").is_empty() {
        return missing();
    }
    (StatusCode::OK, Json(json!({ "experiment": { "experiment_id": "7", "name": "headlines" } })))
}

async fn create_experiment(State(heard): State<Heard>, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body, json!({ "name": "headlines" }));
    heard.note("experiments/create", &headers, body);
    Json(json!({ "experiment_id": "7" }))
}

async fn create_run(State(heard): State<Heard>, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body["experiment_id"], "7");
    assert!(body["start_time"].is_i64() && body["run_name"].is_string());
    for tag in body["tags"].as_array().unwrap() {
        assert!(tag["key"].is_string() && tag["value"].is_string());
    }
    heard.note("runs/create", &headers, body);
    Json(json!({ "run": { "info": { "run_id": "abc", "status": "RUNNING" }, "data": {} } }))
}

async fn log_batch(State(heard): State<Heard>, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body["run_id"], "abc");
    let empty = Vec::new();
    let metrics = body["metrics"].as_array().unwrap_or(&empty);
    let params = body["params"].as_array().unwrap_or(&empty);
    assert!(metrics.len() <= 1000 && params.len() <= 100 && metrics.len() + params.len() > 0);
    for metric in metrics {
        assert!(metric["key"].is_string() && metric["value"].is_f64() && metric["timestamp"].is_i64());
        assert!(metric["step"].is_u64());
    }
    for param in params {
        assert!(param["key"].is_string() && param["value"].as_str().unwrap().len() <= 500);
    }
    heard.note("runs/log-batch", &headers, body);
    Json(json!({}))
}

async fn update_run(State(heard): State<Heard>, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body["run_id"], "abc");
    let status = body["status"].as_str().unwrap();
    assert!(["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"].contains(&status), "{status}");
    heard.note("runs/update", &headers, body);
    Json(json!({ "run_info": {} }))
}

/// Its address.
async fn mlflow(heard: Heard) -> String {
    let routes = Router::new()
        .route("/api/2.0/mlflow/experiments/get-by-name", get(by_name))
        .route("/api/2.0/mlflow/experiments/create", post(create_experiment))
        .route("/api/2.0/mlflow/runs/create", post(create_run))
        .route("/api/2.0/mlflow/runs/log-batch", post(log_batch))
        .route("/api/2.0/mlflow/runs/update", post(update_run))
        .with_state(heard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

fn settings(uri: String) -> MlflowSettings {
    let login = MlflowLogin::Password { user: "me".into(), password: "secret".into() };
    MlflowSettings { uri, experiment: "headlines".into(), login: Some(login) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_to_mlflow_and_to_tensorboard() {
    let place = Place::new();
    let heard = Heard::default();
    let events = place.path().join("events");
    let tracking =
        TrackingConfig { tensorboard: Some(events.clone()), mlflow: Some(settings(mlflow(heard.clone()).await)) };
    let config = ServiceConfig { tracking, ..place.config() };
    let service = Service::open(config.clone()).await.unwrap();
    let dataset = import(&service, "weather.csv", &weather(120)).await;
    let run = service.runs.start(small_run(dataset.id, 6)).await.unwrap();
    wait_for(&service, run, 0, |event| matches!(event, RunEvent::Step(_))).await;
    service.runs.cancel(run).await.unwrap();
    let stopped = wait_for_status(&service, run, 0, RunStatus::Cancelled).await;
    service.runs.resume(run).await.unwrap();
    wait_for_status(&service, run, stopped.last().unwrap().seq, RunStatus::Finished).await;
    // Lets the thread tell what waits.
    service.shutdown().await;

    assert_eq!(heard.of("experiments/create").len(), 1);
    let created = heard.of("runs/create");
    assert_eq!((created.len(), &created[0]["run_name"]), (1, &json!("small")));
    let statuses: Vec<Value> = heard.of("runs/update").into_iter().map(|update| update["status"].clone()).collect();
    assert_eq!(statuses, ["KILLED", "RUNNING", "FINISHED"]);
    assert!(heard.of("runs/update")[2]["end_time"].is_i64());
    let batches = heard.of("runs/log-batch");
    let params: HashMap<String, String> = batches
        .iter()
        .filter_map(|batch| batch["params"].as_array())
        .flatten()
        .map(|param| (param["key"].as_str().unwrap().to_string(), param["value"].as_str().unwrap().to_string()))
        .collect();
    assert_eq!((params["r"].as_str(), params["dataset"].as_str(), params["seed"].as_str()), ("4", "weather", "42"));

    // Every step's loss stands there, under its step.
    let service = Service::open(place.config()).await.unwrap();
    let picture = service.runs.picture(run).await.unwrap();
    let mut losses: HashMap<u64, f64> = HashMap::new();
    for metric in batches.iter().filter_map(|batch| batch["metrics"].as_array()).flatten() {
        if metric["key"] == "train/loss" {
            losses.insert(metric["step"].as_u64().unwrap(), metric["value"].as_f64().unwrap());
        }
    }
    for step in &picture.steps {
        assert_eq!(losses[&step.step], step.loss);
    }

    // A folder for the run, with one file for each of its two attempts.
    let folder = events.join(format!("{run}-small"));
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file.file_name().to_string_lossy().contains("tfevents")));
    let (name, bytes) = service.tracking.event_file(run).await.unwrap();
    assert!(name.starts_with("events.out.tfevents.") && bytes.len() > 100 * picture.steps.len());
    assert!(service.tracking.event_file(99).await.is_err());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_costs_nothing() {
    let place = Place::new();
    // Nobody listens there; and a folder that cannot be one.
    std::fs::write(place.path().join("file"), "no folder").unwrap();
    let tracking = TrackingConfig {
        tensorboard: Some(place.path().join("file")),
        mlflow: Some(settings("http://127.0.0.1:9".to_string())),
    };
    let service = Service::open(ServiceConfig { tracking, ..place.config() }).await.unwrap();
    let dataset = import(&service, "weather.csv", &weather(60)).await;
    let run = service.runs.start(small_run(dataset.id, 1)).await.unwrap();
    wait_for_status(&service, run, 0, RunStatus::Finished).await;
    service.shutdown().await;
}
