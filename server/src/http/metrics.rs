//! `GET /metrics`: what monitoring reads, in the text format of Prometheus (OpenMetrics).
//!
//! Programs on this machine may always read it; others name the token of `--metrics-token`. Labels are route templates,
//! methods and statuses, never what somebody sent, so that their number is bounded.

use crate::http::errors::HttpError;
use crate::state::AppState;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

type Labels = Vec<(&'static str, String)>;
type Number = Gauge<f64, AtomicU64>;

/// Seconds, from a page out of memory to a file of millions of rows.
const BUCKETS_S: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted. Clones share it.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

struct Counted {
    registry: Registry,
    started: Instant,
    requests: Family<Labels, Counter>,
    request_seconds: Family<Labels, Histogram>,
    viewers: Gauge,
    uptime: Number,
    memory: Number,
    disk_free: Number,
    queue: Gauge,
    runs: Family<Labels, Gauge>,
    step: Family<Labels, Number>,
    gpu_memory: Family<Labels, Number>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ayar");
        let request_seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS_S)) as fn() -> Histogram);
        let mut counted = Counted {
            started: Instant::now(),
            requests: Family::default(),
            request_seconds,
            viewers: Gauge::default(),
            uptime: Number::default(),
            memory: Number::default(),
            disk_free: Number::default(),
            queue: Gauge::default(),
            runs: Family::default(),
            step: Family::default(),
            gpu_memory: Family::default(),
            registry: Registry::default(),
        };
        let build = Family::<Labels, Gauge>::default();
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_string())]).set(1);
        registry.register("build", "The version that runs", build);
        registry.register("http_requests", "Answers by route, method and status", counted.requests.clone());
        let help = "From a request's arrival to the head of its answer, by route";
        registry.register_with_unit("http_request", help, Unit::Seconds, counted.request_seconds.clone());
        registry.register("websocket_viewers", "Browsers that watch a run", counted.viewers.clone());
        registry.register_with_unit("uptime", "Since the server started", Unit::Seconds, counted.uptime.clone());
        let help = "Memory of the process that is in RAM";
        registry.register_with_unit("process_resident", help, Unit::Bytes, counted.memory.clone());
        let help = "Room left on the disk of the data folder";
        registry.register_with_unit("data_disk_free", help, Unit::Bytes, counted.disk_free.clone());
        registry.register("queue_length", "Runs that wait for a device", counted.queue.clone());
        registry.register("runs", "Runs by status", counted.runs.clone());
        let help = "What the latest step of the run that trains took";
        registry.register_with_unit("step", help, Unit::Seconds, counted.step.clone());
        let help = "Memory of each GPU";
        registry.register_with_unit("gpu_memory", help, Unit::Bytes, counted.gpu_memory.clone());
        counted.registry = registry;
        Self(Arc::new(counted))
    }
}

impl Metrics {
    /// An answer has been given.
    pub fn count(&self, route: &str, method: &'static str, status: StatusCode, seconds: f64) {
        let route = ("route", route.to_string());
        let labels = vec![route.clone(), ("method", method.to_string()), ("status", status.as_str().to_string())];
        self.0.requests.get_or_create(&labels).inc();
        self.0.request_seconds.get_or_create(&vec![route]).observe(seconds);
    }

    /// Counts a viewer until what is returned is dropped.
    pub fn viewer(&self) -> Viewer {
        self.0.viewers.inc();
        Viewer(self.0.viewers.clone())
    }

    /// Looks up what is not counted as it happens, and writes all of it down.
    async fn text(&self, state: &AppState) -> Result<String, HttpError> {
        let counted = &self.0;
        let condition = state.service.condition().await?;
        counted.uptime.set(counted.started.elapsed().as_secs_f64());
        if let Some(bytes) = resident_bytes() {
            counted.memory.set(bytes as f64);
        }
        if let Some(bytes) = condition.data_disk_free_bytes {
            counted.disk_free.set(bytes as f64);
        }
        for (status, count) in condition.runs {
            counted.runs.get_or_create(&vec![("status", status.as_str().to_string())]).set(count);
            if status == domain::run::RunStatus::Queued {
                counted.queue.set(count);
            }
        }
        // Of a run that has ended, no time is told any more.
        counted.step.clear();
        if let Some((run, seconds)) = condition.step {
            counted.step.get_or_create(&vec![("run", run.to_string())]).set(seconds);
        }
        for device in tokio::task::spawn_blocking(engine::device::list).await.unwrap_or_default() {
            let Some(bytes) = device.memory_bytes.filter(|_| device.id != "cpu") else { continue };
            counted
                .gpu_memory
                .get_or_create(&vec![("device", device.id), ("kind", "total".to_string())])
                .set(bytes as f64);
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &counted.registry);
        Ok(text)
    }
}

/// Somebody who watches.
pub struct Viewer(Gauge);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub async fn metrics(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !may_read(peer, &headers, state.metrics_token.as_deref()) {
        let words = "Metrics are for programs on the server's own machine, or need its token: start the server with \
                     --metrics-token and send it as \"Authorization: Bearer …\".\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    match state.metrics.text(&state).await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => error.into_response(),
    }
}

/// A proxy on this machine hands on requests from anywhere; it says so, and then only the token counts.
fn may_read(peer: SocketAddr, headers: &HeaderMap, token: Option<&str>) -> bool {
    let is_handed_on = ["forwarded", "x-forwarded-for", "via"].iter().any(|name| headers.contains_key(*name));
    if peer.ip().to_canonical().is_loopback() && !is_handed_on {
        return true;
    }
    let sent = headers.get(header::AUTHORIZATION).and_then(|sent| sent.to_str().ok()?.strip_prefix("Bearer "));
    match (sent, token) {
        (Some(sent), Some(token)) => is_same(sent.as_bytes(), token.as_bytes()),
        _ => false,
    }
}

/// Takes as long wherever they differ, so that a token cannot be found out letter by letter.
fn is_same(sent: &[u8], wanted: &[u8]) -> bool {
    let differences =
        sent.iter().zip(wanted).fold(0, |all, (sent, wanted)| std::hint::black_box(all | (sent ^ wanted)));
    sent.len() == wanted.len() && differences == 0
}

/// From the kernel's own count; `None` where there is none.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn others_need_the_token() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect::<HeaderMap>()
        };
        let (here, there) = ("127.0.0.1:9".parse().unwrap(), "192.0.2.7:9".parse().unwrap());
        let (plain, right, wrong) =
            (headers(&[]), headers(&[("authorization", "Bearer tram")]), headers(&[("authorization", "Bearer tran")]));
        let proxied = headers(&[("x-forwarded-for", "192.0.2.7")]);
        for (peer, headers, token, may) in [
            (here, &plain, None, true),
            ("[::ffff:127.0.0.1]:9".parse().unwrap(), &plain, None, true),
            (here, &proxied, None, false),
            (here, &proxied, Some("tram"), false),
            (there, &plain, Some("tram"), false),
            (there, &wrong, Some("tram"), false),
            (there, &right, None, false),
            (there, &right, Some("tram"), true),
        ] {
            assert_eq!(may_read(peer, headers, token), may, "{peer} {headers:?} {token:?}");
        }
    }
}
