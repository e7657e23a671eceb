//! The contents of files: small ones from the Hub itself, large ones by a redirect to another address.

use super::store::Content;
use super::trouble::{SentCounter, Trouble};
use super::{Answer, Refusal, Shared, user_of};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

const CHUNK_BYTES: usize = 16 << 10;

type Troubled = Option<Extension<Trouble>>;

/// Owner, name, revision, path.
type Named = Path<(String, String, String, String)>;

pub async fn resolve(
    state: State<Shared>,
    Path((owner, name, revision, file)): Named,
    method: Method,
    headers: HeaderMap,
    counter: Extension<SentCounter>,
    trouble: Troubled,
) -> Answer<Response> {
    send(state, format!("{owner}/{name}"), (revision, file), method, headers, counter, trouble)
}

pub async fn resolve_dataset(
    state: State<Shared>,
    Path((owner, name, revision, file)): Named,
    method: Method,
    headers: HeaderMap,
    counter: Extension<SentCounter>,
    trouble: Troubled,
) -> Answer<Response> {
    send(state, format!("datasets/{owner}/{name}"), (revision, file), method, headers, counter, trouble)
}

fn send(
    State(shared): State<Shared>,
    repo: String,
    (revision, file): (String, String),
    method: Method,
    headers: HeaderMap,
    Extension(counter): Extension<SentCounter>,
    trouble: Troubled,
) -> Answer<Response> {
    let user = user_of(&headers)?;
    let (commit, content) = {
        let store = shared.store();
        let repository = store.visible(&repo, user)?;
        repository.check_licence(user)?;
        let (commit, files) = repository.at_or_refuse(&revision)?;
        let content = files.get(&file).cloned();
        let not_found = || Refusal::new(StatusCode::NOT_FOUND, Some("EntryNotFound"), "Entry not found");
        (commit.to_owned(), content.ok_or_else(not_found)?)
    };
    let mut response = match &content.sha256 {
        Some(sha256) => redirect(&shared, &content, sha256),
        None => {
            let sender = Sender { shared, counter, trouble: trouble.map(|Extension(trouble)| trouble) };
            sender.answer(&method, &headers, &content.bytes, &content.blob)
        }
    };
    response.headers_mut().insert("x-repo-commit", text(&commit));
    Ok(response)
}

/// The signature stands for that of real storage, which makes an address good for a while, for whoever has it.
fn redirect(shared: &Shared, content: &Content, sha256: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, text(&shared.cdn_url(&format!("/objects/{sha256}?signature=secret"))));
    headers.insert("x-linked-etag", text(&format!("\"{sha256}\"")));
    headers.insert("x-linked-size", text(&content.bytes.len().to_string()));
    response
}

pub async fn object(
    State(shared): State<Shared>,
    Path(oid): Path<String>,
    method: Method,
    headers: HeaderMap,
    Extension(counter): Extension<SentCounter>,
    trouble: Troubled,
) -> Response {
    let Some(bytes) = shared.store().objects.get(&oid).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let sender = Sender { shared, counter, trouble: trouble.map(|Extension(trouble)| trouble) };
    // As at real storage, its ETag is not the Hub's.
    sender.answer(&method, &headers, &bytes, &format!("storage-{oid}"))
}

struct Sender {
    shared: Shared,
    counter: SentCounter,
    trouble: Option<Trouble>,
}

impl Sender {
    /// All of it, or what `Range: bytes=<first>-[<last>]` asks for.
    fn answer(self, method: &Method, headers: &HeaderMap, bytes: &Bytes, etag: &str) -> Response {
        let all = bytes.len();
        let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(range);
        let asked = asked.filter(|_| self.trouble != Some(Trouble::IgnoreRange));
        let (status, first, last) = match asked {
            Some((first, _)) if first >= all => return StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
            Some((first, last)) => (StatusCode::PARTIAL_CONTENT, first, last.unwrap_or(all - 1).min(all - 1)),
            None => (StatusCode::OK, 0, all.wrapping_sub(1)),
        };
        let part = bytes.slice(first..last.wrapping_add(1));
        let length = part.len();
        let body = if method == Method::HEAD { Body::empty() } else { self.body(part) };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::ETAG, text(&format!("\"{etag}\"")));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if status == StatusCode::PARTIAL_CONTENT {
            headers.insert(header::CONTENT_RANGE, text(&format!("bytes {first}-{last}/{all}")));
        }
        response
    }

    fn body(self, mut bytes: Bytes) -> Body {
        if self.trouble == Some(Trouble::WrongByte) && !bytes.is_empty() {
            let mut changed = bytes.to_vec();
            changed[bytes.len() / 2] ^= 1;
            bytes = changed.into();
        }
        let end = match self.trouble {
            Some(Trouble::CutAfter(end) | Trouble::StallAfter(end)) => end,
            _ => usize::MAX,
        };
        let chunks = stream::unfold((self, bytes, 0), move |(sender, bytes, at)| async move {
            if at == bytes.len() {
                return None;
            }
            if at >= end {
                if matches!(sender.trouble, Some(Trouble::StallAfter(_))) {
                    std::future::pending::<()>().await;
                }
                // Lets what was sent before arrive: a connection that is reset takes it along.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return Some((Err(io::Error::other("cut on demand")), (sender, bytes, at)));
            }
            let next = bytes.len().min(at + CHUNK_BYTES).min(end);
            let chunk = bytes.slice(at..next);
            if let Some(rate) = sender.shared.0.options.bytes_per_second {
                tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / rate as f64)).await;
            }
            sender.counter.0.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            Some((Ok(chunk), (sender, bytes, next)))
        });
        Body::from_stream(chunks)
    }
}

fn range(value: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

fn text(value: &str) -> HeaderValue {
    value.parse().unwrap()
}
