//! What every request passes on its way in and every answer on its way out: where a request may come from, how long it
//! may be, and the headers that tell the browser what a page may do.

use crate::http::errors::HttpError;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::error::{ErrorKind, UserError};
use http_body_util::{BodyExt, Limited};
use leptos::context::use_context;
use leptos::nonce::use_nonce;
use leptos_axum::ResponseOptions;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Where the form and the browser's script send files.
const UPLOAD_PATH: &str = "/api/upload";
/// The file itself and the multipart lines around it.
const LONGEST_UPLOAD_BYTES: u64 = MAX_UPLOAD_BYTES + 64 * 1024;
/// Where files are sent in pieces.
const PIECES_PATH: &str = "/uploads/";
/// The app's pieces are of 8 MB; programs may send larger ones.
const LONGEST_PIECE_BYTES: u64 = 64 * 1024 * 1024;
/// The API and the demos hold their bodies to limits of their own, streams have none.
const READS_ITS_OWN: [&str; 3] = ["/v1/", "/models/", "/demo/"];
/// Everything else: forms, and texts to classify.
const LONGEST_BODY_BYTES: u64 = 2 * 1024 * 1024;
/// A body of which nothing comes for so long is given up: whoever sends it has gone, or wants to hold a connection.
pub const BODY_STANDS_STILL: Duration = Duration::from_secs(30);
/// How long the rest of a file that is too large is listened to before the answer is given.
const HEAR_OUT: Duration = Duration::from_secs(60);

/// Refuses what another site's page sends: anything that changes something, and websockets. Programs send no `Origin`
/// and pass.
pub async fn require_same_origin(request: Request, next: Next) -> Response {
    let reads_only = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_websocket = request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
    if (reads_only && !is_websocket) || is_same_origin(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    tracing::warn!(origin = ?request.headers().get(header::ORIGIN), "a request from another site was refused");
    (StatusCode::FORBIDDEN, "This request comes from another site's page and was refused.\n").into_response()
}

fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = host_of(headers, uri);
    let origin_host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_some() && host == origin_host
}

/// The names under which a server without sign-in may be reached. A page of another site could have its own name point to
/// this machine and would then count as ours (DNS rebinding); it cannot take an address of numbers, or `localhost`, for
/// its name. Where people sign in, the browser keeps their cookie to the name under which they did, and every name will do.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// `None`: all of them.
    known: Option<Arc<[String]>>,
}

impl Hosts {
    pub fn all() -> Self {
        Self { known: None }
    }

    /// Those, beside numbers and `localhost`.
    pub fn only(names: &[String]) -> Self {
        Self { known: Some(names.iter().map(|name| name.to_ascii_lowercase()).collect()) }
    }

    fn has(&self, host: &str) -> bool {
        let Some(known) = &self.known else { return true };
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost") || known.contains(&name)
    }
}

/// Refuses requests under a name that the server does not have.
pub async fn require_known_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match host_of(request.headers(), request.uri()) {
        // HTTP/1.0 has none; browsers always send one.
        None => next.run(request).await,
        Some(host) if hosts.has(host) => next.run(request).await,
        Some(host) => {
            tracing::warn!(host, "a request under an unknown name was refused");
            let words = "This server is not known under this name. If it is its own, start it with --host-name and the \
                         name, or let people sign in with --access sign-in.\n";
            (StatusCode::MISDIRECTED_REQUEST, words).into_response()
        }
    }
}

/// HTTP/2 has no Host header; its authority stands in the URI.
fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|it| it.as_str()))
}

/// Cuts bodies off at the length that their path may have.
pub async fn limit_body(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_upload = path == UPLOAD_PATH;
    if READS_ITS_OWN.iter().any(|prefix| path.starts_with(prefix)) {
        return next.run(request).await;
    }
    let limit = match path {
        UPLOAD_PATH => LONGEST_UPLOAD_BYTES,
        path if path.starts_with(PIECES_PATH) => LONGEST_PIECE_BYTES,
        _ => LONGEST_BODY_BYTES,
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit) {
        if is_upload {
            hear_out(request.into_body()).await;
        }
        return too_long(limit);
    }
    let (head, body) = request.into_parts();
    next.run(Request::from_parts(head, Body::new(Limited::new(body, limit as usize)))).await
}

/// Reads the rest of a body and forgets it: a browser shows an answer only once it has sent everything, and calls a
/// connection that closes before that broken.
async fn hear_out(mut body: Body) {
    let _ = timeout(HEAR_OUT, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}

fn too_long(limit: u64) -> Response {
    let message = format!(
        "This is too large: at most {} MB are accepted. A larger file can be split and imported in parts.",
        limit / (1024 * 1024)
    );
    let mut response = HttpError(UserError::new(ErrorKind::Invalid, message)).into_response();
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

/// Whether the server itself speaks https.
#[derive(Clone, Copy, Debug)]
pub struct Https(pub bool);

/// For half a year, browsers come back over https alone.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=15552000");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Headers for every answer. A handler that has set one already keeps it.
pub async fn set_headers(State(https): State<Https>, request: Request, next: Next) -> Response {
    let cache_control = cache_control(request.uri().path());
    let mut response = next.run(request).await;
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Forms sent without scripts are sent back to the page that they came from, which `Referer` names.
        (header::REFERRER_POLICY, "same-origin"),
        (PERMISSIONS_POLICY, "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
        // Pages bring a policy of their own; this one is for files and plain answers.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'self'"),
        (header::CACHE_CONTROL, cache_control),
    ];
    if https.0 {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    for (name, value) in defaults {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Files keep their names from build to build, so the browser may keep them but asks whether they still hold (the
/// answer is a short 304). Pages and answers are never kept.
fn cache_control(path: &str) -> &'static str {
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains('.') { "no-cache" } else { "no-store" }
}

/// The Content-Security-Policy of the page that is being rendered, called while it is: scripts are ours, or carry the
/// nonce of this answer. Charts set style attributes, so inline styles are let through.
pub fn set_page_policy() {
    let (Some(response), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) else { return };
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_our_own_pages_and_programs_may_change_things() {
        let uri = Uri::from_static("/api/start");
        for (origin, same) in [
            (Some("http://127.0.0.1:3000"), true),
            (Some("https://127.0.0.1:3000"), true),
            (Some("http://127.0.0.1:3001"), false),
            (Some("http://elsewhere.example"), false),
            (Some("null"), false),
            (None, true),
        ] {
            let mut pairs = vec![(header::HOST, "127.0.0.1:3000")];
            pairs.extend(origin.map(|origin| (header::ORIGIN, origin)));
            assert_eq!(is_same_origin(&headers(&pairs), &uri), same, "{origin:?}");
        }
    }

    #[test]
    fn an_open_server_answers_under_its_own_names_only() {
        let hosts = Hosts::only(&["gpu-box".to_string()]);
        for (host, is_known) in [
            ("127.0.0.1:3000", true),
            ("[::1]:3000", true),
            ("192.0.2.7", true),
            ("localhost:3000", true),
            ("Localhost.", true),
            ("ayar.localhost:3000", true),
            ("GPU-box:3000", true),
            ("gpu-box.evil.example", false),
            ("evil.example:3000", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(hosts.has(host), is_known, "{host}");
            assert!(Hosts::all().has(host));
        }
    }

    #[test]
    fn files_are_asked_after_and_pages_not_kept() {
        assert_eq!(cache_control("/pkg/app.wasm"), "no-cache");
        assert_eq!(cache_control("/vendor/echarts.min.js"), "no-cache");
        assert_eq!(cache_control("/runs/3"), "no-store");
        assert_eq!(cache_control("/"), "no-store");
    }
}
