//! What is told of every request: an id that its answer and every line of the log carry, how long it took, and how it
//! ended. Of addresses only the template of the route is told: what stands in them may be a key.

use crate::http::metrics::Metrics;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 64;

/// An answer's route, put there where it is known.
#[derive(Clone)]
struct Route(String);

/// Outermost: whatever is answered passes here.
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = sent_id(request.headers()).unwrap_or_else(made_id);
    // What comes after reads the one that counts.
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = method_of(request.method());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let started = Instant::now();
    async move {
        let mut response = next.run(request).await;
        let seconds = started.elapsed().as_secs_f64();
        let route = response.extensions_mut().remove::<Route>().map_or_else(|| "other".to_string(), |route| route.0);
        let status = response.status();
        metrics.count(&route, method, status, seconds);
        let (status, duration_ms) = (status.as_u16(), (seconds * 1000.0).round() as u64);
        if status >= 500 {
            tracing::warn!(method, route, status, duration_ms, "answered");
        } else {
            tracing::debug!(method, route, status, duration_ms, "answered");
        }
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

/// Innermost, where the router has found the route: it is written on the answer.
pub async fn name_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| Route(template(path.as_str())));
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// Server functions end in a number that belongs to the build.
fn template(path: &str) -> String {
    match path.starts_with("/api/") {
        true => path.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_string(),
        false => path.to_string(),
    }
}

/// Whoever asks may name its request, so that its own log and this one can be read together.
fn sent_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_fit = (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
    is_fit.then(|| id.clone())
}

fn made_id() -> HeaderValue {
    // Every `RandomState` has keys from the system's random numbers.
    let id = format!("{:016x}", RandomState::new().hash_one(0_u8));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
}

fn method_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_plain() {
        let sent = |id: &[u8]| {
            let headers: HeaderMap = [(REQUEST_ID, HeaderValue::from_bytes(id).unwrap())].into_iter().collect();
            sent_id(&headers).is_some()
        };
        assert!(sent(b"7f3a-b.c_d"));
        assert!(sent(&[b'a'; LONGEST_ID]));
        assert!(!sent(&[b'a'; LONGEST_ID + 1]));
        assert!(!sent(b"") && !sent(b"a b") && !sent(b"a\"b") && !sent(b"\xff"));
        assert_ne!(made_id(), made_id());
        assert_eq!(made_id().len(), 16);
    }

    #[test]
    fn functions_lose_their_number() {
        assert_eq!(template("/api/start_run1234"), "/api/start_run");
        assert_eq!(template("/demo/{token}"), "/demo/{token}");
    }
}
