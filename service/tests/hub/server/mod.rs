//! A Hugging Face Hub on loopback, as far as models, adapters, datasets and their files go: repositories in memory, with owners,
//! tokens, licences and commits, large files at a second address as at the real one's content network, and troubles on
//! demand.
//!
//! What it answers was held against the Python library `huggingface_hub`, which downloads from it and uploads to it.

mod api;
mod files;
mod lfs;
mod store;
mod trouble;

pub use store::{Access, Content};
pub use trouble::{Seen, Trouble};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use trouble::Troubles;

/// May read what is private, and accepts licences where a test says so.
pub const READER: &str = "hf_test_reader";
/// May write, too.
pub const WRITER: &str = "hf_test_writer";
/// Is known, and may see nothing that is private.
pub const STRANGER: &str = "hf_test_stranger";

/// How the Hub behaves throughout.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The port of the Hub itself; 0 for any free one.
    pub port: u16,
    pub bytes_per_second: Option<u64>,
    /// Large files from this size on are uploaded in parts.
    pub multipart_from: usize,
    pub part_bytes: usize,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self { port: 0, bytes_per_second: None, multipart_from: 64 << 20, part_bytes: 16 << 20 }
    }
}

/// A running Hub; it ends when it is dropped.
pub struct TestHub {
    shared: Shared,
    _runtime: Runtime,
}

/// What all routes see.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    hub: SocketAddr,
    cdn: SocketAddr,
    options: HubOptions,
    store: Mutex<Store>,
    troubles: Mutex<Troubles>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hub_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.hub)
    }

    /// By another name of the same machine: a client may take what has the Hub's name for the Hub.
    fn cdn_url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.0.cdn.port())
    }
}

impl TestHub {
    pub fn start(options: HubOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listen = |port| runtime.block_on(TcpListener::bind(("127.0.0.1", port))).unwrap();
        let (hub, cdn) = (listen(options.port), listen(0));
        let shared = Shared(Arc::new(Inner {
            hub: hub.local_addr().unwrap(),
            cdn: cdn.local_addr().unwrap(),
            options,
            store: Mutex::default(),
            troubles: Mutex::default(),
        }));
        let (hub_routes, cdn_routes) = (hub_routes(&shared), cdn_routes(&shared));
        runtime.spawn(async move { axum::serve(hub, hub_routes).await });
        runtime.spawn(async move { axum::serve(cdn, cdn_routes).await });
        Self { shared, _runtime: runtime }
    }

    /// For `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        self.shared.hub_url("")
    }

    /// Commits files to `main` of a repository that is made where there is none, and returns the commit. A dataset's
    /// repository is `datasets/owner/name`.
    pub fn put(&self, repo: &str, files: &[(&str, &[u8])]) -> String {
        let mut store = self.shared.store();
        store.create(repo, Access::Open);
        let contents = files.iter().map(|(name, bytes)| ((*name).to_owned(), Content::new(name, bytes.to_vec())));
        store.commit(repo, "main", contents.collect())
    }

    pub fn set_access(&self, repo: &str, access: Access) {
        self.shared.store().repository_mut(repo).unwrap().access = access;
    }

    pub fn access(&self, repo: &str) -> Access {
        self.shared.store().repository(repo).unwrap().access.clone()
    }

    /// A branch or tag at a commit.
    pub fn set_revision(&self, repo: &str, revision: &str, commit: &str) {
        let mut store = self.shared.store();
        store.repository_mut(repo).unwrap().revisions.insert(revision.to_owned(), commit.to_owned());
    }

    /// Every file of a revision.
    pub fn files(&self, repo: &str, revision: &str) -> BTreeMap<String, Vec<u8>> {
        let store = self.shared.store();
        let Some((_, files)) = store.repository(repo).and_then(|repository| repository.at(revision)) else {
            return BTreeMap::new();
        };
        files.iter().map(|(name, content)| (name.clone(), content.bytes.to_vec())).collect()
    }

    /// From the first to the last.
    pub fn commits(&self, repo: &str) -> Vec<String> {
        self.shared.store().repository(repo).map_or_else(Vec::new, |repository| repository.history.clone())
    }

    /// Lets the next `times` requests whose path holds `on` meet trouble.
    pub fn trouble(&self, on: &str, trouble: Trouble, times: usize) {
        self.shared.troubles().add(on, trouble, times);
    }

    pub fn no_more_trouble(&self) {
        self.shared.troubles().clear();
    }

    /// The requests since the start or the last call.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.troubles().take_seen()
    }
}

fn hub_routes(shared: &Shared) -> Router {
    Router::new()
        .route("/api/whoami-v2", get(api::whoami))
        .route("/api/repos/create", post(api::create))
        .route("/api/validate-yaml", post(api::validate_card))
        .route("/api/models/{owner}/{name}", get(api::info_of_main))
        .route("/api/models/{owner}/{name}/revision/{revision}", get(api::info))
        .route("/api/models/{owner}/{name}/tree/{revision}", get(api::tree))
        .route("/api/datasets/{owner}/{name}/revision/{revision}", get(api::dataset_info))
        .route("/api/models/{owner}/{name}/preupload/{revision}", post(api::preupload))
        .route("/api/models/{owner}/{name}/commit/{revision}", post(api::commit))
        .route("/api/complete-multipart/{oid}", post(lfs::complete))
        .route("/{owner}/{name}/resolve/{revision}/{*file}", get(files::resolve))
        .route("/datasets/{owner}/{name}/resolve/{revision}/{*file}", get(files::resolve_dataset))
        .route("/{owner}/{name}/info/lfs/objects/batch", post(lfs::batch))
        .route("/{owner}/{name}/info/lfs/verify", post(lfs::verify))
        .layer(middleware::from_fn_with_state(shared.clone(), trouble::watch_hub))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared.clone())
}

/// Where the contents of large files are.
fn cdn_routes(shared: &Shared) -> Router {
    Router::new()
        .route("/objects/{oid}", get(files::object))
        .route("/uploads/{oid}", put(lfs::upload))
        .route("/uploads/{oid}/{part}", put(lfs::upload_part))
        .layer(middleware::from_fn(refuse_tokens))
        .layer(middleware::from_fn_with_state(shared.clone(), trouble::watch_cdn))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared.clone())
}

/// Storage with signed addresses does not want a second way of saying who asks.
async fn refuse_tokens(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return (StatusCode::BAD_REQUEST, "Only one auth mechanism allowed").into_response();
    }
    next.run(request).await
}

/// A refusal as the Hub words it: in headers and as JSON.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(code) = self.code {
            headers.insert("x-error-code", code.parse().unwrap());
        }
        headers.insert("x-error-message", self.message.parse().unwrap());
        (self.status, headers, axum::Json(json!({ "error": self.message }))).into_response()
    }
}

/// Who asks; `None` without a token.
///
/// # Errors
/// A token that is not known is refused for everything, also for what is public.
fn user_of(headers: &HeaderMap) -> Result<Option<&'static str>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    match value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")) {
        Some(READER) => Ok(Some("reader")),
        Some(WRITER) => Ok(Some("writer")),
        Some(STRANGER) => Ok(Some("stranger")),
        _ => Err(Refusal::new(StatusCode::UNAUTHORIZED, None, "Invalid credentials in Authorization header")),
    }
}

type Answer<T> = Result<T, Refusal>;
