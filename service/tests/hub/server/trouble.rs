//! What goes wrong on demand, and what was asked.

use super::Shared;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection breaks behind so many bytes of the content.
    CutAfter(usize),
    /// Nothing more comes behind so many bytes of the content.
    StallAfter(usize),
    /// One byte of the content is another.
    WrongByte,
    /// All of the content comes, whatever was asked for.
    IgnoreRange,
    /// This status, and nothing is done.
    Status(u16),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// False: at the address of the large files.
    pub at_hub: bool,
    pub method: String,
    /// With the query.
    pub path: String,
    pub with_token: bool,
    pub range: Option<String>,
    /// Bytes of content that were handed to the connection.
    pub sent: Arc<AtomicU64>,
}

impl Seen {
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Counts what a route sends.
#[derive(Clone)]
pub struct SentCounter(pub Arc<AtomicU64>);

#[derive(Default)]
pub struct Troubles {
    waiting: Vec<(String, Trouble, usize)>,
    seen: Vec<Seen>,
}

impl Troubles {
    pub fn add(&mut self, on: &str, trouble: Trouble, times: usize) {
        self.waiting.push((on.to_owned(), trouble, times));
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    fn take(&mut self, path: &str) -> Option<Trouble> {
        let (_, trouble, times) =
            self.waiting.iter_mut().find(|(on, _, times)| *times > 0 && path.contains(on.as_str()))?;
        *times -= 1;
        Some(*trouble)
    }
}

pub async fn watch_hub(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    watch(&shared, true, request, next).await
}

pub async fn watch_cdn(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    watch(&shared, false, request, next).await
}

async fn watch(shared: &Shared, at_hub: bool, mut request: Request, next: Next) -> Response {
    let trouble = note(shared, at_hub, &mut request);
    match trouble {
        Some(Trouble::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        _ => next.run(request).await,
    }
}

/// Remembers the request, and tells it and its route what trouble it meets.
fn note(shared: &Shared, at_hub: bool, request: &mut Request) -> Option<Trouble> {
    let sent = Arc::new(AtomicU64::new(0));
    let path = request.uri().to_string();
    let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    let seen = Seen {
        at_hub,
        method: request.method().to_string(),
        path: path.clone(),
        with_token: request.headers().contains_key(header::AUTHORIZATION),
        range: range.map(str::to_owned),
        sent: sent.clone(),
    };
    let mut troubles = shared.troubles();
    troubles.seen.push(seen);
    let trouble = troubles.take(&path);
    request.extensions_mut().insert(SentCounter(sent));
    if let Some(trouble) = trouble {
        request.extensions_mut().insert(trouble);
    }
    trouble
}
