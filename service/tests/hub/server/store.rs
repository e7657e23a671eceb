//! Repositories in memory.

use super::{Answer, Refusal};
use axum::body::Bytes;
use axum::http::StatusCode;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub struct Store {
    repositories: HashMap<String, Repository>,
    /// Contents of large files by SHA-256, named by a commit or not yet.
    pub objects: HashMap<String, Bytes>,
    /// Parts of uploads by SHA-256 of the whole and number.
    pub parts: HashMap<(String, u64), Bytes>,
}

/// Who may have a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Open,
    /// Reader and writer.
    Private,
    /// Whoever accepted its licence; everybody may know what is in it.
    Gated {
        accepted: BTreeSet<String>,
    },
}

pub struct Repository {
    pub access: Access,
    /// Commits of branches and tags.
    pub revisions: BTreeMap<String, String>,
    commits: HashMap<String, BTreeMap<String, Content>>,
    pub history: Vec<String>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct Content {
    pub bytes: Bytes,
    /// The blob's hash in git: of the content, or of the LFS pointer to it.
    pub blob: String,
    /// SHA-256 of large files.
    pub sha256: Option<String>,
}

impl Content {
    /// Large by the rules of the Hub's usual `.gitattributes`.
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        if Self::is_large(name, bytes.len()) { Self::large(bytes.into()) } else { Self::small(bytes.into()) }
    }

    pub fn is_large(name: &str, bytes: usize) -> bool {
        [".safetensors", ".gguf", ".bin", ".pth"].iter().any(|ending| name.ends_with(ending)) || bytes > 10_000_000
    }

    pub fn small(bytes: Bytes) -> Self {
        Self { blob: git_blob(&bytes), bytes, sha256: None }
    }

    pub fn large(bytes: Bytes) -> Self {
        let sha256 = sha256(&bytes);
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {}\n", bytes.len());
        Self { blob: git_blob(pointer.as_bytes()), bytes, sha256: Some(sha256) }
    }
}

impl Store {
    /// An empty repository, unless there is one already; true where it was made.
    pub fn create(&mut self, repo: &str, access: Access) -> bool {
        if self.repositories.contains_key(repo) {
            return false;
        }
        let repository =
            Repository { access, revisions: BTreeMap::new(), commits: HashMap::new(), history: Vec::new() };
        self.repositories.insert(repo.to_owned(), repository);
        self.commit(repo, "main", BTreeMap::new());
        true
    }

    pub fn repository(&self, repo: &str) -> Option<&Repository> {
        self.repositories.get(repo)
    }

    pub fn repository_mut(&mut self, repo: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(repo)
    }

    /// Adds files to those of a branch.
    pub fn commit(&mut self, repo: &str, branch: &str, added: BTreeMap<String, Content>) -> String {
        for content in added.values() {
            if let Some(sha256) = &content.sha256 {
                self.objects.insert(sha256.clone(), content.bytes.clone());
            }
        }
        let repository = self.repositories.get_mut(repo).unwrap();
        let mut files = repository.at(branch).map(|(_, files)| files.clone()).unwrap_or_default();
        files.extend(added);
        let names: String = files.iter().map(|(name, content)| format!("{name} {}\n", content.blob)).collect();
        let commit = git_blob(format!("{repo} {} {names}", repository.history.len()).as_bytes());
        repository.commits.insert(commit.clone(), files);
        repository.revisions.insert(branch.to_owned(), commit.clone());
        repository.history.push(commit.clone());
        commit
    }

    /// The repository, if `user` may know of it.
    pub fn visible(&self, repo: &str, user: Option<&str>) -> Answer<&Repository> {
        let found = self.repositories.get(repo).filter(|repository| match repository.access {
            Access::Private => matches!(user, Some("reader" | "writer")),
            _ => true,
        });
        // Who does not say who they are is not told whether there is one.
        found.ok_or_else(|| match user {
            None => Refusal::new(StatusCode::UNAUTHORIZED, None, "Invalid username or password."),
            Some(_) => Refusal::new(StatusCode::NOT_FOUND, Some("RepoNotFound"), "Repository not found"),
        })
    }
}

impl Repository {
    /// Commit and files that a revision stands for.
    pub fn at(&self, revision: &str) -> Option<(&str, &BTreeMap<String, Content>)> {
        let commit = self.revisions.get(revision).map_or(revision, String::as_str);
        let (commit, files) = self.commits.get_key_value(commit)?;
        Some((commit, files))
    }

    pub fn at_or_refuse(&self, revision: &str) -> Answer<(&str, &BTreeMap<String, Content>)> {
        let not_found =
            || Refusal::new(StatusCode::NOT_FOUND, Some("RevisionNotFound"), format!("Invalid rev id: {revision}"));
        self.at(revision).ok_or_else(not_found)
    }

    /// Whether `user` may have the files, of which everybody may know.
    pub fn check_licence(&self, user: Option<&str>) -> Answer<()> {
        let Access::Gated { accepted } = &self.access else { return Ok(()) };
        match user {
            None => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, Some("GatedRepo"), "Access to this model is restricted."))
            }
            Some(user) if !accepted.contains(user) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                Some("GatedRepo"),
                "Access to this model is restricted and you are not in the authorized list.",
            )),
            Some(_) => Ok(()),
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn git_blob(bytes: &[u8]) -> String {
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hexadecimal(&hash.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
