//! The cache on disk, in the layout of `huggingface_hub`, so that Python and Ayar find each other's files:
//!
//! ```text
//! models--owner--name/          datasets--owner--name/ for datasets
//!   blobs/<etag>                  the content; `<etag>.incomplete` while it is fetched
//!   refs/<revision>               the commit that a branch or tag stands for
//!   snapshots/<commit>/<file>     relative links to the blobs
//! .locks/models--owner--name/<etag>.lock
//! ```
//!
//! The locks are those of Python's `filelock` (flock), so that two processes, of either kind, do not write one blob.

use super::HubError;
use super::client::Client;
use super::listing::{RemoteFile, is_commit};
use super::selection::{self, Selection};
use domain::hub::{CachedRepository, HubAddress, HubKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "models--";
const DATASET_PREFIX: &str = "datasets--";
const LOCK_POLL: Duration = Duration::from_millis(100);
/// Longer than the index of any model.
const LONGEST_TEXT: u64 = 64 << 20;

/// One repository's part of the cache.
pub(super) struct RepositoryCache {
    folder: PathBuf,
    locks: PathBuf,
}

impl RepositoryCache {
    /// `repo` has passed [`HubAddress::check`].
    pub fn new(cache: &Path, repo: &str) -> Self {
        Self::named(cache, PREFIX, repo)
    }

    /// As [`RepositoryCache::new`], of a dataset.
    pub fn of_dataset(cache: &Path, repo: &str) -> Self {
        Self::named(cache, DATASET_PREFIX, repo)
    }

    fn named(cache: &Path, prefix: &str, repo: &str) -> Self {
        let name = format!("{prefix}{}", repo.replace('/', "--"));
        Self { locks: cache.join(".locks").join(&name), folder: cache.join(name) }
    }

    pub fn blob(&self, file: &RemoteFile) -> PathBuf {
        self.folder.join("blobs").join(file.hash.digits())
    }

    /// The beginning of a blob that is not whole yet.
    pub fn incomplete(&self, file: &RemoteFile) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", file.hash.digits()))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// True where the whole file is here, whoever fetched it: as a blob, or, from a Python without symbolic links, in
    /// the snapshot itself.
    pub fn has(&self, commit: &str, file: &RemoteFile) -> bool {
        has_length(&self.blob(file), file.bytes) || has_length(&self.snapshot(commit).join(&file.name), file.bytes)
    }

    /// How many bytes of the file need not be fetched.
    pub fn bytes_here(&self, commit: &str, file: &RemoteFile) -> u64 {
        if self.has(commit, file) {
            return file.bytes;
        }
        std::fs::metadata(self.incomplete(file)).map_or(0, |metadata| metadata.len()).min(file.bytes)
    }

    /// Waits until nobody else writes the blob. The lock goes with the file that is returned.
    pub fn lock(&self, client: &Client, file: &RemoteFile) -> Result<File, HubError> {
        create_folder(&self.locks)?;
        let path = self.locks.join(format!("{}.lock", file.hash.digits()));
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| HubError::io(&path, error))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => client.pause(LOCK_POLL)?,
                Err(TryLockError::Error(error)) => return Err(HubError::io(&path, error)),
            }
        }
    }

    /// Makes the file of a snapshot point at its blob.
    pub fn link(&self, commit: &str, file: &RemoteFile) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(&file.name);
        if has_length(&pointer, file.bytes) {
            return Ok(());
        }
        if let Some(folder) = pointer.parent() {
            create_folder(folder)?;
        }
        // From the folder of the file up to the repository's.
        let up = "../".repeat(2 + file.name.matches('/').count());
        let target = format!("{up}blobs/{}", file.hash.digits());
        remove_if_there(&pointer)?;
        match std::os::unix::fs::symlink(target, &pointer) {
            // Somebody else was faster, with the same link.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result.map_err(|error| HubError::io(&pointer, error)),
        }
    }

    /// Notes which commit a branch or tag stands for; in one step, so that nobody reads half of it. A commit stands
    /// for itself.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let aside = path.with_added_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&aside, commit)
            .and_then(|()| std::fs::rename(&aside, &path))
            .map_err(|error| HubError::io(&path, error))
    }

    /// The commit that the cache knows for a revision.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = read_text(&self.folder.join("refs").join(revision), 100).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// What the address names, if all of it is here: its commit, its files with their sizes.
    pub fn whole(&self, address: &HubAddress) -> Option<Whole> {
        let commit = self.commit(&address.revision)?;
        let folder = self.snapshot(&commit);
        let mut names: BTreeSet<String> = std::fs::read_dir(&folder)
            .ok()?
            .flatten()
            .filter(|entry| entry.path().is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.extend(address.file.clone().filter(|file| folder.join(file).is_file()));
        let names = names.iter().map(String::as_str).collect();
        let index_path = folder.join(selection::INDEX);
        let index = || {
            let text = read_text(&index_path, LONGEST_TEXT).map_err(|error| HubError::io(&index_path, error))?;
            Ok(text.into_bytes())
        };
        let Selection { kind, names } = selection::select(address, &names, index).ok()?;
        let path = match &address.file {
            Some(file) => folder.join(file),
            None => folder.clone(),
        };
        let size = |name: String| Some((std::fs::metadata(folder.join(&name)).ok()?.len(), name));
        let files = names.into_iter().map(size).collect::<Option<_>>()?;
        Some(Whole { commit, kind, path, files })
    }

    /// Deletes everything of the repository.
    ///
    /// # Errors
    /// Somebody is writing one of its blobs.
    pub fn remove(&self, repo: &str) -> Result<u64, HubError> {
        // Held until all is gone, so that nobody begins a download meanwhile.
        let _locks = self.all_locks(repo)?;
        let bytes = bytes_below(&self.folder);
        // First what leads to the files, so that `whole` never finds a half.
        for folder in [self.folder.join("refs"), self.folder.clone()] {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(HubError::io(&folder, error)),
                _ => {}
            }
        }
        Ok(bytes)
    }

    fn all_locks(&self, repo: &str) -> Result<Vec<File>, HubError> {
        let Ok(entries) = std::fs::read_dir(&self.locks) else { return Ok(Vec::new()) };
        let mut locks = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let lock = File::options().write(true).open(&path).map_err(|error| HubError::io(&path, error))?;
            match lock.try_lock() {
                Ok(()) => locks.push(lock),
                Err(TryLockError::WouldBlock) => return Err(HubError::InUse { repo: repo.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(HubError::io(&path, error)),
            }
        }
        Ok(locks)
    }
}

/// Something that is in the cache from end to end.
pub(super) struct Whole {
    pub commit: String,
    pub kind: HubKind,
    /// The snapshot's folder, or the GGUF file.
    pub path: PathBuf,
    /// Sizes in bytes with paths in the repository.
    pub files: Vec<(u64, String)>,
}

/// Every model repository in the cache.
pub(super) fn list(cache: &Path) -> Result<Vec<CachedRepository>, HubError> {
    let entries = match std::fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HubError::io(cache, error)),
    };
    let mut repositories = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((owner, name)) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once("--")) else {
            continue;
        };
        let folder = entry.path();
        let mut revisions = BTreeMap::new();
        refs_below(&folder.join("refs"), "", &mut revisions);
        let known: BTreeSet<String> = revisions.values().cloned().collect();
        let snapshots = std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
        let unnamed = snapshots.filter_map(|entry| entry.file_name().into_string().ok());
        let unnamed = unnamed.filter(|commit| is_commit(commit) && !known.contains(commit));
        repositories.push(CachedRepository {
            repo: format!("{owner}/{name}"),
            revisions: revisions.keys().cloned().chain(unnamed.collect::<BTreeSet<_>>()).collect(),
            bytes: bytes_below(&folder),
            path: folder.display().to_string(),
        });
    }
    repositories.sort_by(|a, b| a.repo.cmp(&b.repo));
    Ok(repositories)
}

/// Revisions with their commits; a revision may have slashes in its name.
fn refs_below(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let revision = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => refs_below(&entry.path(), &format!("{revision}/"), found),
            _ => {
                let commit = read_text(&entry.path(), 100).unwrap_or_default();
                if is_commit(commit.trim()) {
                    found.insert(revision, commit.trim().to_owned());
                }
            }
        }
    }
}

/// What the files take, links not followed.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    });
    bytes.sum()
}

/// Free bytes on the file system of a folder, which need not exist yet; `None` where it cannot be told.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let figures = rustix::fs::statvfs(existing).ok()?;
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}

pub(super) fn create_folder(folder: &Path) -> Result<(), HubError> {
    std::fs::create_dir_all(folder).map_err(|error| HubError::io(folder, error))
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), HubError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::io(path, error)),
        _ => Ok(()),
    }
}

/// # Errors
/// It is longer than `limit` bytes, or cannot be read.
pub(super) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than expected"));
    }
    Ok(text)
}

fn has_length(path: &Path, bytes: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes)
}
