//! Fetching what an address names into the cache: whole, checked and only once.
//!
//! The commit is fixed first, so that all files come from one. Each file goes to its `.incomplete` beginning, which
//! survives whatever happens and is continued by the next attempt; since it is named after the hash of the content, a
//! file that changed on the Hub has another beginning. What is complete is read back and its hash compared before it
//! gets its name. The revision's note in `refs` is written last: until then nobody finds the snapshot by its revision.

use super::cache::{self, RepositoryCache};
use super::client::{Answer, Client, encoded};
use super::hash::hash_like;
use super::listing::{self, Listing, RemoteFile};
use super::selection::{self, Selection};
use super::watched::{REPORT_EVERY, watched};
use super::{Hub, HubError};
use domain::hub::{FileProgress, FileState, HubAddress};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Instant;

/// Files at once. One connection seldom fills a line; many more make no difference.
const CONNECTIONS: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;
/// Longer than the index of any model.
const LONGEST_TEXT: u64 = 64 << 20;

/// How a download ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Download {
    Complete {
        /// The snapshot's folder, or the GGUF file.
        path: PathBuf,
        commit: String,
    },
    /// As the caller wished; what is here stays, and the next download goes on from there.
    Stopped,
}

/// What the thread that downloads tells the one that waits.
pub(super) enum Event {
    Plan(Vec<FileProgress>),
    File { index: usize, done_bytes: u64, state: FileState },
}

impl Hub {
    /// Fetches what the address names into the cache, less what is there already. `on_progress` is told all files at
    /// every change of state, at most ten times a second in between, and also while nothing comes; it is told no files
    /// before their list is known. When it breaks, the download stops within a second. Blocks.
    ///
    /// # Errors
    /// The repository may not be had, or not be used; the network, the Hub or the disk fail. What was fetched stays.
    pub fn download(
        &self,
        address: &HubAddress,
        on_progress: &mut dyn FnMut(&[FileProgress]) -> ControlFlow<()>,
    ) -> Result<Download, HubError> {
        address.check()?;
        if self.settings.offline
            && let Some(whole) = RepositoryCache::new(&self.settings.cache, &address.repo).whole(address)
        {
            return Ok(Download::Complete { path: whole.path, commit: whole.commit });
        }
        let client = Arc::new(Client::new(&self.settings, &self.patience, &address.repo)?);
        let (root, address) = (self.settings.cache.clone(), address.clone());
        let mut progress = Progress::default();
        let done = watched(
            client,
            move |client, events| fetch(client, &root, &address, events),
            |event| progress.take(event, on_progress),
        )?;
        Ok(done.unwrap_or(Download::Stopped))
    }
}

/// What the caller is told.
#[derive(Default)]
pub(super) struct Progress {
    files: Vec<FileProgress>,
    reported: Option<Instant>,
}

impl Progress {
    pub fn take(
        &mut self,
        event: Option<Event>,
        on_progress: &mut dyn FnMut(&[FileProgress]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut is_news = false;
        match event {
            Some(Event::Plan(files)) => {
                self.files = files;
                is_news = true;
            }
            Some(Event::File { index, done_bytes, state }) => {
                let file = &mut self.files[index];
                is_news = file.state != state;
                (file.done_bytes, file.state) = (done_bytes, state);
            }
            None => {}
        }
        if !is_news && self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return ControlFlow::Continue(());
        }
        self.reported = Some(Instant::now());
        on_progress(&self.files)
    }
}

fn fetch(client: &Client, root: &Path, address: &HubAddress, events: &Sender<Event>) -> Result<Download, HubError> {
    let listing = listing::list(client, address)?;
    let cache = RepositoryCache::new(root, &address.repo);
    let (_, files) = selected_files(client, &cache, address, &listing)?;
    let (commit, repo) = (listing.commit, address.repo.as_str());

    let plan = plan(&cache, &commit, &files);
    check_disk(root, plan.iter().map(|file| file.bytes - file.done_bytes).sum())?;
    // Nobody listens any more where the caller has stopped it, and then all ends soon.
    let _ = events.send(Event::Plan(plan));

    let transfer = Transfer { client, cache: &cache, root, repo, commit: &commit };
    fetch_all(&transfer, &files, events)?;
    for file in &files {
        cache.link(&commit, file)?;
    }
    cache.write_ref(&address.revision, &commit)?;
    let snapshot = cache.snapshot(&commit);
    let path = match &address.file {
        Some(file) => snapshot.join(file),
        None => snapshot,
    };
    Ok(Download::Complete { path, commit })
}

/// The files with what of them is here already.
pub(super) fn plan(cache: &RepositoryCache, commit: &str, files: &[RemoteFile]) -> Vec<FileProgress> {
    let progress = |file: &RemoteFile| {
        let done_bytes = cache.bytes_here(commit, file);
        let state = if cache.has(commit, file) { FileState::Done } else { FileState::Waiting };
        FileProgress { name: file.name.clone(), bytes: file.bytes, done_bytes, state }
    };
    files.iter().map(progress).collect()
}

/// What of the listing is to be fetched.
pub(super) fn selected_files(
    client: &Client,
    cache: &RepositoryCache,
    address: &HubAddress,
    listing: &Listing,
) -> Result<(Selection, Vec<RemoteFile>), HubError> {
    let names: BTreeSet<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
    let find = |name: &str| listing.files.iter().find(|file| file.name == name);
    let selection = selection::select(address, &names, || match find(selection::INDEX) {
        Some(index) => text_of(client, cache, &address.repo, &listing.commit, index).map(String::into_bytes),
        None => Err(client.bad_answer("its list of files changes while it is read")),
    })?;
    let files = selection.names.iter().filter_map(|name| find(name)).cloned().collect();
    Ok((selection, files))
}

/// The content of a small text file, from the cache or else from the Hub.
pub(super) fn text_of(
    client: &Client,
    cache: &RepositoryCache,
    repo: &str,
    commit: &str,
    file: &RemoteFile,
) -> Result<String, HubError> {
    let blob = cache.blob(file);
    if cache.has(commit, file) && blob.is_file() {
        return cache::read_text(&blob, LONGEST_TEXT).map_err(|error| HubError::io(&blob, error));
    }
    let bytes = client.patiently(|| {
        let answer = client.get(&file_url(client, repo, commit, &file.name), &[])?;
        client.read(client.accepted(answer, &format!("{repo}/{}", file.name))?, LONGEST_TEXT)
    })?;
    String::from_utf8(bytes).map_err(|_| HubError::Unsuitable(format!("{} of {repo} is no text.", file.name)))
}

pub(super) fn file_url(client: &Client, repo: &str, commit: &str, name: &str) -> String {
    let name: Vec<String> = name.split('/').map(encoded).collect();
    client.url(&format!("/{repo}/resolve/{commit}/{}", name.join("/")))
}

/// Where the space cannot be told, the first write that fails tells.
pub(super) fn check_disk(root: &Path, needed_bytes: u64) -> Result<(), HubError> {
    match cache::free_bytes(root) {
        Some(free_bytes) if free_bytes < needed_bytes => {
            Err(HubError::DiskFull { path: root.to_path_buf(), needed_bytes, free_bytes })
        }
        _ => Ok(()),
    }
}

/// The files one after the other, on several connections. The first error ends them all.
pub(super) fn fetch_all(transfer: &Transfer, files: &[RemoteFile], events: &Sender<Event>) -> Result<(), HubError> {
    let next = AtomicUsize::new(0);
    let connection = || -> Result<(), HubError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return Ok(()) };
            let report = |done_bytes, state| {
                let _ = events.send(Event::File { index, done_bytes, state });
            };
            transfer.fetch(file, &report).inspect_err(|_| transfer.client.stop())?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS.min(files.len())).map(|_| scope.spawn(connection)).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let mut errors: Vec<HubError> = results.filter_map(Result::err).collect();
        // The others were only stopped by the first.
        let cause = errors.iter().position(|error| !matches!(error, HubError::Stopped)).unwrap_or(0);
        if errors.is_empty() { Ok(()) } else { Err(errors.swap_remove(cause)) }
    })
}

/// Where files come from and go to.
pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    pub cache: &'a RepositoryCache,
    pub root: &'a Path,
    /// As it stands in addresses of files.
    pub repo: &'a str,
    pub commit: &'a str,
}

type Report<'a> = &'a dyn Fn(u64, FileState);

impl Transfer<'_> {
    /// Gets one file into the cache, under the name of its hash.
    fn fetch(&self, file: &RemoteFile, report: Report) -> Result<(), HubError> {
        if !self.cache.has(self.commit, file) {
            let _lock = self.cache.lock(self.client, file)?;
            // Who held the lock before may have fetched it.
            if !self.cache.has(self.commit, file) {
                self.fetch_locked(file, report)?;
            }
        }
        report(file.bytes, FileState::Done);
        Ok(())
    }

    fn fetch_locked(&self, file: &RemoteFile, report: Report) -> Result<(), HubError> {
        let (path, blob) = (self.cache.incomplete(file), self.cache.blob(file));
        if let Some(folder) = path.parent() {
            cache::create_folder(folder)?;
        }
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut part = Part { file: opened.map_err(|error| HubError::io(&path, error))?, path, bytes: 0 };
        part.bytes = part.file.metadata().map_err(|error| HubError::io(&part.path, error))?.len();
        if part.bytes > file.bytes {
            part.restart()?;
        }
        report(part.bytes, FileState::Downloading);
        self.fill(file, &mut part, report)?;

        report(file.bytes, FileState::Verifying);
        let on_disk = |error| self.disk_error(&part.path, file.bytes - part.bytes, error);
        part.file.sync_all().map_err(on_disk)?;
        part.file.seek(SeekFrom::Start(0)).map_err(|error| HubError::io(&part.path, error))?;
        let hash = hash_like(&file.hash, &mut part.file, file.bytes, &|| self.client.is_stopped());
        let hash = hash.map_err(|error| HubError::io(&part.path, error))?.ok_or(HubError::Stopped)?;
        if hash != file.hash {
            cache::remove_if_there(&part.path)?;
            return Err(HubError::WrongHash { file: file.name.clone() });
        }
        std::fs::rename(&part.path, &blob).map_err(|error| HubError::io(&blob, error))
    }

    /// Asks for what is missing until nothing is, or patience ends.
    fn fill(&self, file: &RemoteFile, part: &mut Part, report: Report) -> Result<(), HubError> {
        let patience = self.client.patience();
        let mut failures = 0;
        while part.bytes < file.bytes {
            let before = part.bytes;
            let error = match self.ask_for_rest(file, part, report) {
                Ok(()) => continue,
                Err(_) if self.client.is_stopped() => return Err(HubError::Stopped),
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) => error,
            };
            if part.bytes.saturating_sub(before) >= patience.progress_bytes {
                failures = 0;
            }
            failures += 1;
            if failures > patience.retries {
                return Err(HubError::Interrupted {
                    file: file.name.clone(),
                    done_bytes: part.bytes,
                    bytes: file.bytes,
                    reason: error.to_string(),
                });
            }
            self.client.pause(self.client.pause_after(failures))?;
        }
        Ok(())
    }

    /// One request, whose content goes behind what is here.
    fn ask_for_rest(&self, file: &RemoteFile, part: &mut Part, report: Report) -> Result<(), HubError> {
        let range = format!("bytes={}-", part.bytes);
        let identity = ("accept-encoding", "identity");
        let headers = [identity, ("range", range.as_str())];
        let headers = if part.bytes == 0 { &headers[..1] } else { &headers[..] };
        let url = file_url(self.client, self.repo, self.commit, &file.name);
        let answer = self.client.get(&url, headers)?;
        if answer.status() == 416 {
            // It has less than we have: what we have is not its beginning.
            part.restart()?;
            return Err(self.client.broken(&io::Error::other("the file has become shorter")));
        }
        let answer = self.client.accepted(answer, &format!("{}/{}", self.repo, file.name))?;
        if answer.status() == 206 {
            self.check_range(&answer, file, part)?;
        } else {
            // All of it comes, whatever was asked for.
            part.restart()?;
        }
        self.write(answer, file, part, report)
    }

    fn write(&self, mut answer: Answer, file: &RemoteFile, part: &mut Part, report: Report) -> Result<(), HubError> {
        part.file.seek(SeekFrom::Start(part.bytes)).map_err(|error| HubError::io(&part.path, error))?;
        let mut reader = answer.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut reported = Instant::now();
        while part.bytes < file.bytes {
            let read = match reader.read(&mut chunk) {
                Ok(0) => return Err(self.client.broken(&io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => read,
                Err(error) => return Err(self.client.broken(&error)),
            };
            if self.client.is_stopped() {
                return Err(HubError::Stopped);
            }
            if read as u64 > file.bytes - part.bytes {
                cache::remove_if_there(&part.path)?;
                return Err(HubError::WrongHash { file: file.name.clone() });
            }
            let written = part.file.write_all(&chunk[..read]);
            written.map_err(|error| self.disk_error(&part.path, file.bytes - part.bytes, error))?;
            part.bytes += read as u64;
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                report(part.bytes, FileState::Downloading);
            }
        }
        // Reading the end lets the next file have the connection; that there is none is found by the hash.
        let _ = reader.read(&mut chunk[..1]);
        Ok(())
    }

    /// `Content-Range: bytes <first>-<last>/<all>` must begin where our part ends, in a file as long as expected.
    fn check_range(&self, answer: &Answer, file: &RemoteFile, part: &Part) -> Result<(), HubError> {
        let expected = format!("bytes {}-{}/{}", part.bytes, file.bytes - 1, file.bytes);
        let range = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
        if range == Some(expected.as_str()) {
            return Ok(());
        }
        Err(self.client.bad_answer(format!("it sends another part of {} than it was asked for", file.name)))
    }

    fn disk_error(&self, path: &Path, needed_bytes: u64, error: io::Error) -> HubError {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let free_bytes = cache::free_bytes(self.root).unwrap_or(0);
            return HubError::DiskFull { path: self.root.to_path_buf(), needed_bytes, free_bytes };
        }
        HubError::io(path, error)
    }
}

/// The beginning of a file, on the disk.
struct Part {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Part {
    fn restart(&mut self) -> Result<(), HubError> {
        if self.bytes > 0 {
            self.file.set_len(0).map_err(|error| HubError::io(&self.path, error))?;
            self.bytes = 0;
        }
        Ok(())
    }
}
