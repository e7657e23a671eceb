//! Uploading files to a repository: contents first, then one commit that names them all, so that it lands whole or not
//! at all. What the Hub has already is not sent again, which is how an upload that was cut off goes on.

use super::client::{Client, encoded};
use super::hash::{Hashes, hashes_of};
use super::watched::watched;
use super::{Hub, HubError, checked_repository, lfs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::error::UserError;
use domain::hub::{DEFAULT_REVISION, HubAddress, PushProgress, is_plain_path};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

const MOST_FILES: usize = 1_000;
/// How many files are asked about at once, as `huggingface_hub` does.
const MOST_AT_ONCE: usize = 256;
/// What of a file is shown to the Hub, which decides by it how the file is stored.
const SAMPLE_BYTES: u64 = 512;
/// Of all files that are not large ones, since they travel within the commit.
const MOST_INLINE_BYTES: u64 = 64 << 20;
const LONGEST_MESSAGE: usize = 5_000;

/// What is uploaded, and where to.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// `owner/name`; made where there is none.
    pub repo: String,
    /// Who may see the repository if it is made now; one that exists stays as it is.
    pub private: bool,
    /// A branch, which must exist unless it is `main`.
    pub revision: String,
    /// Of the commit; its first line is the summary.
    pub message: String,
    /// Paths in the repository with files on the disk.
    pub files: Vec<(String, PathBuf)>,
}

impl PushRequest {
    /// To the branch `main` of a repository that is private if it is made.
    pub fn new(repo: impl Into<String>, message: impl Into<String>, files: Vec<(String, PathBuf)>) -> Self {
        Self { repo: repo.into(), private: true, revision: DEFAULT_REVISION.to_owned(), message: message.into(), files }
    }

    fn check(&self) -> Result<(), HubError> {
        HubAddress { repo: self.repo.clone(), file: None, revision: self.revision.clone() }.check()?;
        let refuse = |message: String| Err(HubError::Invalid(UserError::invalid(message)));
        if self.files.is_empty() || self.files.len() > MOST_FILES {
            return refuse(format!("Name between one and {MOST_FILES} files to upload."));
        }
        if self.message.trim().is_empty() || self.message.len() > LONGEST_MESSAGE {
            return refuse(format!("Write a message for the commit, of at most {LONGEST_MESSAGE} bytes."));
        }
        let mut seen = BTreeSet::new();
        for (name, _) in &self.files {
            if !is_plain_path(name) {
                return refuse(format!("“{}” cannot be the path of a file in a repository.", name.escape_debug()));
            }
            if !seen.insert(name) {
                return refuse(format!("{name} is named twice."));
            }
        }
        Ok(())
    }
}

/// Where it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The page of the repository.
    pub url: String,
    pub commit: String,
}

/// One file to upload.
pub(super) struct LocalFile {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub hashes: Hashes,
    sample: Vec<u8>,
}

/// The Hub has so many bytes of the file with that index.
struct Sent {
    index: usize,
    done_bytes: u64,
}

impl Hub {
    /// Uploads the files in one commit. Files that the repository has with the same content are left out; if that is
    /// all of them, there is no new commit. `on_progress` is told one file at a time, and also while nothing goes; when
    /// it breaks, the upload stops within a second. Blocks.
    ///
    /// # Errors
    /// [`HubError::Stopped`] after a break; the token may not write there, the branch moved, the network or a file
    /// fail. The repository has not changed then, except that it may have been made, and if the answer to the commit
    /// itself got lost: the next push tells.
    pub fn push(
        &self,
        request: &PushRequest,
        on_progress: &mut dyn FnMut(&PushProgress) -> ControlFlow<()>,
    ) -> Result<Pushed, HubError> {
        request.check()?;
        checked_repository(&request.repo)?;
        let client = Arc::new(Client::new(&self.settings, &self.patience, &request.repo)?);
        if !client.has_token() {
            return Err(HubError::Invalid(UserError::invalid(format!(
                "Uploading needs an access token with the right to write. Make one at {} and enter it here or as HF_TOKEN.",
                client.token_page()
            ))));
        }
        let mut progress = Vec::new();
        for (name, path) in &request.files {
            let metadata = std::fs::metadata(path).map_err(|error| HubError::io(path, error))?;
            progress.push(PushProgress { name: name.clone(), bytes: metadata.len(), done_bytes: 0 });
        }
        let mut current = 0;
        let request = request.clone();
        let pushed = watched(
            client,
            move |client, events| send(client, &request, events),
            |event: Option<Sent>| {
                if let Some(Sent { index, done_bytes }) = event {
                    current = index;
                    progress[index].done_bytes = done_bytes.min(progress[index].bytes);
                }
                on_progress(&progress[current])
            },
        )?;
        pushed.ok_or(HubError::Stopped)
    }
}

fn send(client: &Client, request: &PushRequest, events: &Sender<Sent>) -> Result<Pushed, HubError> {
    let mut files = Vec::new();
    for (name, path) in &request.files {
        files.push(read(client, name, path)?);
    }
    let head = head_of(client, request)?;
    let plans = plan(client, request, &files)?;

    let report = |index, done_bytes| {
        // Nobody listens any more where the caller has stopped it, and then all ends soon.
        let _ = events.send(Sent { index, done_bytes });
    };
    let with = |wanted: Plan| {
        let matching = files.iter().zip(&plans).enumerate().filter(move |(_, (_, plan))| **plan == wanted);
        matching.map(|(index, (file, _))| (index, file)).collect::<Vec<_>>()
    };
    for (index, file) in with(Plan::Unchanged) {
        report(index, file.bytes);
    }
    let (large, inline) = (with(Plan::Large), with(Plan::Inline));
    lfs::store(client, &request.repo, &request.revision, &large, &report)?;

    let url = match request.revision.as_str() {
        DEFAULT_REVISION => client.url(&format!("/{}", request.repo)),
        other => client.url(&format!("/{}/tree/{}", request.repo, encoded(other))),
    };
    if large.is_empty() && inline.is_empty() {
        return Ok(Pushed { url, commit: head });
    }
    let commit = commit(client, request, &head, &inline, &large)?;
    for (index, file) in inline {
        report(index, file.bytes);
    }
    Ok(Pushed { url, commit })
}

fn read(client: &Client, name: &str, path: &Path) -> Result<LocalFile, HubError> {
    let io = |error| HubError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let hashes = hashes_of(&mut file, bytes, &|| client.is_stopped()).map_err(io)?.ok_or(HubError::Stopped)?;
    let mut sample = Vec::new();
    File::open(path).map_err(io)?.take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(io)?;
    Ok(LocalFile { name: name.to_owned(), path: path.to_path_buf(), bytes, hashes, sample })
}

/// The commit that the branch stands at, in a repository that is made where there is none.
fn head_of(client: &Client, request: &PushRequest) -> Result<String, HubError> {
    #[derive(Deserialize)]
    struct Info {
        sha: String,
        #[serde(default)]
        private: bool,
    }
    let PushRequest { repo, revision, .. } = request;
    let path = format!("/api/models/{repo}/revision/{}", encoded(revision));
    let what = format!("{repo}@{revision}");
    match client.get_json::<Info>(&path, &what) {
        Ok(info) => return Ok(info.sha),
        Err(HubError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let made = create(client, request)?;
    let info = client.get_json::<Info>(&path, &what)?;
    if made && request.private && !info.private {
        return Err(HubError::Unsuitable(format!(
            "{repo} was made, but the Hub made it public instead of private, so nothing was uploaded. Look at its \
             settings on the Hub."
        )));
    }
    Ok(info.sha)
}

/// False where the repository exists already.
fn create(client: &Client, request: &PushRequest) -> Result<bool, HubError> {
    let (owner, name) = request.repo.split_once('/').unwrap_or_default();
    let visibility = if request.private { "private" } else { "public" };
    let body = json!({ "type": "model", "name": name, "organization": owner, "visibility": visibility });
    let url = client.url("/api/repos/create");
    client.patiently(|| {
        let answer = client.post(&url, "application/json", body.to_string().as_bytes())?;
        if answer.status() == 409 {
            return Ok(false);
        }
        client.accepted(answer, &request.repo).map(|_| true)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// The repository has it with this content.
    Unchanged,
    /// Its content travels within the commit.
    Inline,
    /// Its content is stored aside, by Git LFS.
    Large,
}

/// Asks the Hub how each file is to be stored.
fn plan(client: &Client, request: &PushRequest, files: &[LocalFile]) -> Result<Vec<Plan>, HubError> {
    #[derive(Deserialize)]
    struct Preupload {
        files: Vec<Told>,
    }
    #[derive(Deserialize)]
    struct Told {
        path: String,
        #[serde(rename = "uploadMode")]
        mode: String,
        #[serde(default, rename = "shouldIgnore")]
        ignored: bool,
        /// Of what the repository has now under this path.
        oid: Option<String>,
    }
    let url = client.url(&format!("/api/models/{}/preupload/{}", request.repo, encoded(&request.revision)));
    let mut told = BTreeMap::new();
    for files in files.chunks(MOST_AT_ONCE) {
        let files = files
            .iter()
            .map(|file| json!({ "path": file.name, "size": file.bytes, "sample": BASE64.encode(&file.sample) }));
        let body = json!({ "files": files.collect::<Vec<_>>() }).to_string();
        let answer: Preupload =
            client.patiently(|| client.post_json(&url, "application/json", body.as_bytes(), &request.repo))?;
        told.extend(answer.files.into_iter().map(|told| (told.path.clone(), told)));
    }
    let plan_of = |file: &LocalFile| {
        let told = told.get(&file.name);
        let told = told.ok_or_else(|| client.bad_answer(format!("it does not say how to store {}", file.name)))?;
        if told.ignored {
            return Err(HubError::Unsuitable(format!(
                "{} is not uploaded: the .gitignore of {} leaves it out.",
                file.name, request.repo
            )));
        }
        // An empty file is none for LFS.
        let large = told.mode == "lfs" && file.bytes > 0;
        let hash = if large { &file.hashes.sha256 } else { &file.hashes.git_blob };
        Ok(match (told.oid.as_ref() == Some(hash), large) {
            (true, _) => Plan::Unchanged,
            (false, true) => Plan::Large,
            (false, false) => Plan::Inline,
        })
    };
    let plans: Vec<Plan> = files.iter().map(plan_of).collect::<Result<_, _>>()?;
    let inline = files.iter().zip(&plans).filter(|(_, plan)| **plan == Plan::Inline).map(|(file, _)| file.bytes);
    if inline.sum::<u64>() > MOST_INLINE_BYTES {
        return Err(client.bad_answer("it wants large files within a commit"));
    }
    Ok(plans)
}

/// Commits on top of `head`, or not at all. The body is one JSON object a line: the header, then the files.
fn commit(
    client: &Client,
    request: &PushRequest,
    head: &str,
    inline: &[(usize, &LocalFile)],
    large: &[(usize, &LocalFile)],
) -> Result<String, HubError> {
    #[derive(Deserialize)]
    struct Committed {
        #[serde(rename = "commitOid")]
        commit: String,
    }
    let (summary, description) = request.message.split_once('\n').unwrap_or((&request.message, ""));
    let header = json!({ "summary": summary.trim(), "description": description.trim(), "parentCommit": head });
    let mut lines = vec![json!({ "key": "header", "value": header })];
    for (_, file) in inline {
        let content = std::fs::read(&file.path).map_err(|error| HubError::io(&file.path, error))?;
        let value = json!({ "path": file.name, "encoding": "base64", "content": BASE64.encode(content) });
        lines.push(json!({ "key": "file", "value": value }));
    }
    for (_, file) in large {
        let value = json!({ "path": file.name, "algo": "sha256", "oid": file.hashes.sha256, "size": file.bytes });
        lines.push(json!({ "key": "lfsFile", "value": value }));
    }
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let url = client.url(&format!("/api/models/{}/commit/{}", request.repo, encoded(&request.revision)));
    let answer = client.post(&url, "application/x-ndjson", body.as_bytes())?;
    if matches!(answer.status().as_u16(), 409 | 412) {
        return Err(HubError::Moved { repo: request.repo.clone() });
    }
    let committed: Committed = client.json(client.accepted(answer, &request.repo)?)?;
    Ok(committed.commit)
}
