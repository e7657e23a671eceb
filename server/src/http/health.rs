//! `GET /healthz` and `/readyz`: for whoever watches the process.

use axum::extract::State;
use axum::http::StatusCode;
use service::Service;

/// Says `ok` once the server takes requests: the process lives.
pub async fn health() -> &'static str {
    "ok\n"
}

/// Says `ready` while requests can be answered and runs be trained; else 503 with the reason.
pub async fn ready(State(service): State<Service>) -> (StatusCode, String) {
    match service.check_readiness().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_string()),
        Err(reason) => {
            tracing::warn!("not ready: {reason}");
            (StatusCode::SERVICE_UNAVAILABLE, reason + "\n")
        }
    }
}
