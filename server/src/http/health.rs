//! `GET /healthz`: for whoever watches the process.

/// Says `ok` once the server takes requests.
pub async fn health() -> &'static str {
    "ok\n"
}
