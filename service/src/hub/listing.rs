//! What a repository consists of at one commit, as the Hub tells it.

use super::HubError;
use super::client::{Client, encoded};
use domain::hub::HubAddress;
use serde::Deserialize;

const MOST_FILES: usize = 200_000;

/// What a repository is of: the Hub keeps the kinds apart by address.
#[derive(Clone, Copy)]
pub(super) enum RepositoryKind {
    Model,
    Dataset,
}

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// 40 hexadecimal digits.
    pub commit: String,
    pub private: bool,
    /// True where a licence has to be accepted.
    pub gated: bool,
    pub licence: Option<String>,
    pub files: Vec<RemoteFile>,
}

#[derive(Clone, Debug)]
pub(super) struct RemoteFile {
    /// Path in the repository; not yet checked.
    pub name: String,
    pub bytes: u64,
    pub hash: ContentHash,
}

/// How a file's content is known. Both are what the Hub sends as ETag, so they name the file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ContentHash {
    /// Large files: the SHA-256 of the content, 64 hexadecimal digits.
    Sha256(String),
    /// Others: git's hash of a blob, the SHA-1 of `blob <length>\0` and the content, 40 hexadecimal digits.
    GitBlob(String),
}

impl ContentHash {
    /// The hexadecimal digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }
}

/// `GET /api/models/{repo}/revision/{revision}?blobs=true`; the same for datasets.
#[derive(Deserialize)]
struct RepositoryInfo {
    sha: String,
    #[serde(default)]
    private: bool,
    /// `false`, `"auto"` or `"manual"`.
    #[serde(default)]
    gated: serde_json::Value,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, rename = "cardData")]
    card: Option<serde_json::Value>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

/// Asks for the commit that the revision stands for now, and for the files of that commit.
pub(super) fn list(client: &Client, address: &HubAddress) -> Result<Listing, HubError> {
    list_revision(client, RepositoryKind::Model, &address.repo, &address.revision)
}

/// As [`list`], for a repository of either kind.
pub(super) fn list_revision(
    client: &Client,
    kind: RepositoryKind,
    repo: &str,
    revision: &str,
) -> Result<Listing, HubError> {
    let (kinds, one) = match kind {
        RepositoryKind::Model => ("models", "model"),
        RepositoryKind::Dataset => ("datasets", "dataset"),
    };
    let path = format!("/api/{kinds}/{repo}/revision/{}?blobs=true", encoded(revision));
    let what = HubAddress { repo: repo.to_owned(), file: None, revision: revision.to_owned() }.to_string();
    let info: RepositoryInfo = client.get_json(&path, &what)?;
    if !is_commit(&info.sha) {
        return Err(client.bad_answer("the commit of a repository is no hash"));
    }
    if info.siblings.len() > MOST_FILES {
        return Err(HubError::Unsuitable(format!("{what} has more than {MOST_FILES} files, which is no {one}.")));
    }
    Ok(Listing {
        licence: licence(&info),
        commit: info.sha,
        private: info.private,
        gated: !matches!(info.gated, serde_json::Value::Null | serde_json::Value::Bool(false)),
        files: info.siblings.into_iter().filter_map(remote_file).collect(),
    })
}

/// `None` where the Hub does not tell size and hash: nothing could be checked then.
fn remote_file(sibling: Sibling) -> Option<RemoteFile> {
    let (bytes, hash) = match sibling.lfs {
        Some(lfs) => (lfs.size, ContentHash::Sha256(lfs.sha256)),
        None => (sibling.size?, ContentHash::GitBlob(sibling.blob?)),
    };
    let digits = match &hash {
        ContentHash::Sha256(_) => 64,
        ContentHash::GitBlob(_) => 40,
    };
    is_hash(hash.digits(), digits).then_some(RemoteFile { name: sibling.rfilename, bytes, hash })
}

fn licence(info: &RepositoryInfo) -> Option<String> {
    let card = |name: &str| match info.card.as_ref()?.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(several) => several.first()?.as_str().map(str::to_owned),
        _ => None,
    };
    let tag = || info.tags.iter().find_map(|tag| tag.strip_prefix("license:").map(str::to_owned));
    let licence = match card("license").or_else(tag)? {
        other if other == "other" => card("license_name").unwrap_or(other),
        known => known,
    };
    Some(licence.chars().filter(|character| !character.is_control()).take(100).collect())
}

/// True for a whole commit hash, which never stands for anything else.
pub(super) fn is_commit(text: &str) -> bool {
    is_hash(text, 40)
}

fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
