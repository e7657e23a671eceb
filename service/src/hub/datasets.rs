//! Datasets of the Hub: which of their files can be read, and fetching these into the cache, as models are.
//!
//! `GET /api/datasets/{id}/revision/{revision}` lists a repository as it does for models; files are at
//! `/datasets/{id}/resolve/{commit}/{path}`. Where a repository has no Parquet files of its own, the Hub keeps some that
//! it has converted itself under the revision `refs/convert/parquet`.

use super::cache::RepositoryCache;
use super::client::Client;
use super::download::{Event, Progress, Transfer, check_disk, fetch_all, plan};
use super::listing::{self, Listing, RemoteFile, RepositoryKind, is_commit};
use super::watched::watched;
use super::{Hub, HubError, Patience};
use domain::error::UserError;
use domain::hub::{DEFAULT_REVISION, FileProgress, is_plain_path};
use domain::hub_dataset::{HubDataset, HubDatasetAddress, HubDatasetFile};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The branch of the Hub's own conversions.
const CONVERTED: &str = "refs/convert/parquet";
/// Files that a page lists and one fetch takes.
const MOST_FILES: usize = 500;
/// What else can be read, where there is no Parquet.
const OTHER_ENDINGS: [&str; 6] = ["csv", "tsv", "jsonl", "ndjson", "json", "xlsx"];
/// Descriptions of a dataset, not its rows.
const DESCRIPTIONS: [&str; 3] = ["dataset_infos.json", "dataset_info.json", "state.json"];

/// Which files of a dataset are to be fetched.
#[derive(Clone, Debug)]
pub struct DatasetFiles {
    pub address: HubDatasetAddress,
    /// The commit at which the address was looked at.
    pub commit: String,
    /// Paths in the repository.
    pub paths: Vec<String>,
}

impl Hub {
    /// What can be read of a dataset; where the Hub may not be asked or cannot be reached, what the cache has of it.
    /// Blocks.
    ///
    /// # Errors
    /// It may not be had, has nothing that can be read, or the Hub cannot be asked and the cache has nothing.
    pub fn dataset(&self, address: &HubDatasetAddress) -> Result<HubDataset, HubError> {
        let cached = || self.cached_dataset(address);
        if self.settings.offline {
            return cached().ok_or(HubError::Offline);
        }
        match self.dataset_online(address) {
            Err(error @ HubError::Network { .. }) => cached().ok_or(error),
            found => found,
        }
    }

    fn dataset_online(&self, address: &HubDatasetAddress) -> Result<HubDataset, HubError> {
        // Somebody waits for the answer.
        let patience = Patience { retries: self.patience.retries.min(1), ..(*self.patience).clone() };
        let client = Client::new(&self.settings, &patience, &place_of(&address.repo))?;
        let own = list(&client, &address.repo, &address.revision)?;
        let is_parquet = |file: &HubDatasetFile| ending(&file.path) == Some("parquet");
        let mut files = readable(&own);
        if files.iter().any(is_parquet) {
            files.retain(is_parquet);
        } else if address.revision == DEFAULT_REVISION
            && let Ok(converted) = list(&client, &address.repo, CONVERTED)
        {
            let mut files = readable(&converted);
            files.retain(is_parquet);
            if !files.is_empty() {
                return Ok(told(&address.repo, CONVERTED, converted.commit, files));
            }
        }
        if files.is_empty() {
            return Err(HubError::Unsuitable(format!(
                "The dataset {address} has no files that can be read: no Parquet, CSV, JSON or Excel."
            )));
        }
        Ok(told(&address.repo, &address.revision, own.commit, files))
    }

    fn cached_dataset(&self, address: &HubDatasetAddress) -> Option<HubDataset> {
        let cache = RepositoryCache::of_dataset(&self.settings.cache, &address.repo);
        let revisions = [address.revision.as_str(), CONVERTED];
        revisions.into_iter().find_map(|revision| {
            let commit = cache.commit(revision)?;
            let mut files = Vec::new();
            files_below(&cache.snapshot(&commit), "", &mut files);
            (!files.is_empty()).then(|| told(&address.repo, revision, commit, files))
        })
    }

    /// Fetches files of a dataset into the cache, less what is there already, and says where they are, in the order in
    /// which they were asked for. Reports and stops as [`Hub::download`] does; `None`: it was stopped. Blocks.
    ///
    /// # Errors
    /// They may not be had or are not there; the network, the Hub or the disk fail. What was fetched stays.
    pub fn download_dataset(
        &self,
        wanted: &DatasetFiles,
        on_progress: &mut dyn FnMut(&[FileProgress]) -> ControlFlow<()>,
    ) -> Result<Option<Vec<PathBuf>>, HubError> {
        check(wanted)?;
        let cache = RepositoryCache::of_dataset(&self.settings.cache, &wanted.address.repo);
        let snapshot = cache.snapshot(&wanted.commit);
        let paths: Vec<PathBuf> = wanted.paths.iter().map(|path| snapshot.join(path)).collect();
        // A commit never changes: what is in its snapshot is what the Hub has.
        if paths.iter().all(|path| path.is_file()) {
            return Ok(Some(paths));
        }
        let client = Arc::new(Client::new(&self.settings, &self.patience, &place_of(&wanted.address.repo))?);
        let (root, wanted) = (self.settings.cache.clone(), wanted.clone());
        let mut progress = Progress::default();
        let done = watched(
            client,
            move |client, events| {
                let cache = RepositoryCache::of_dataset(&root, &wanted.address.repo);
                let listing = list(client, &wanted.address.repo, &wanted.commit)?;
                let files = chosen(&listing, &wanted)?;
                let plan = plan(&cache, &wanted.commit, &files);
                check_disk(&root, plan.iter().map(|file| file.bytes - file.done_bytes).sum())?;
                // Nobody listens any more where the caller has stopped it, and then all ends soon.
                let _ = events.send(Event::Plan(plan));
                let place = place_of(&wanted.address.repo);
                let transfer = Transfer { client, cache: &cache, root: &root, repo: &place, commit: &wanted.commit };
                fetch_all(&transfer, &files, events)?;
                for file in &files {
                    cache.link(&wanted.commit, file)?;
                }
                cache.write_ref(&wanted.address.revision, &wanted.commit)
            },
            |event| progress.take(event, on_progress),
        )?;
        Ok(done.map(|()| paths))
    }
}

/// The repository as it stands in addresses of files.
fn place_of(repo: &str) -> String {
    format!("datasets/{repo}")
}

fn list(client: &Client, repo: &str, revision: &str) -> Result<Listing, HubError> {
    listing::list_revision(client, RepositoryKind::Dataset, repo, revision)
}

fn told(repo: &str, revision: &str, commit: String, files: Vec<HubDatasetFile>) -> HubDataset {
    HubDataset { id: repo.to_owned(), revision: revision.to_owned(), commit, files }
}

/// The files that hold rows, in the order of their paths, Parquet first.
fn readable(listing: &Listing) -> Vec<HubDatasetFile> {
    let files = listing.files.iter().map(|file| HubDatasetFile { path: file.name.clone(), bytes: file.bytes });
    sorted(files.filter(|file| is_readable(&file.path)).collect())
}

fn sorted(mut files: Vec<HubDatasetFile>) -> Vec<HubDatasetFile> {
    files.sort_by_cached_key(|file| (ending(&file.path) != Some("parquet"), file.path.clone()));
    files.truncate(MOST_FILES);
    files
}

fn is_readable(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    is_plain_path(path)
        && !DESCRIPTIONS.contains(&name)
        && ending(path).is_some_and(|ending| ending == "parquet" || OTHER_ENDINGS.contains(&ending))
}

/// `csv` of `rows.csv` and of `rows.csv.gz`.
fn ending(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let inner = [".gz", ".zst"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(name);
    Some(inner.rsplit_once('.')?.1)
}

/// What of a snapshot is in the cache.
fn files_below(folder: &Path, prefix: &str, found: &mut Vec<HubDatasetFile>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        // Links to blobs are followed.
        match std::fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => files_below(&entry.path(), &format!("{path}/"), found),
            Ok(metadata) if is_readable(&path) => found.push(HubDatasetFile { path, bytes: metadata.len() }),
            _ => {}
        }
    }
    *found = sorted(std::mem::take(found));
}

/// # Errors
/// What is wanted is nothing, too much, or no path below the snapshot.
fn check(wanted: &DatasetFiles) -> Result<(), HubError> {
    let refuse = |words: String| Err(HubError::Invalid(UserError::invalid(words)));
    if wanted.paths.is_empty() {
        return refuse("Choose at least one file of the dataset.".to_owned());
    }
    if wanted.paths.len() > MOST_FILES {
        return refuse(format!("These are {} files; at most {MOST_FILES} can be fetched at once.", wanted.paths.len()));
    }
    if !is_commit(&wanted.commit) || !wanted.paths.iter().all(|path| is_readable(path)) {
        return refuse("These are no files of a dataset that can be read. Look at the dataset again.".to_owned());
    }
    Ok(())
}

fn chosen(listing: &Listing, wanted: &DatasetFiles) -> Result<Vec<RemoteFile>, HubError> {
    let find = |path: &String| match listing.files.iter().find(|file| file.name == *path) {
        Some(file) => Ok(file.clone()),
        None => {
            Err(HubError::NotFound(format!("{path} is not in {} any more. Look at the dataset again.", wanted.address)))
        }
    };
    wanted.paths.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_rows_are_offered() {
        for (path, is) in [
            ("data/train-00000-of-00001.parquet", true),
            ("train.csv.gz", true),
            ("rows.jsonl.zst", true),
            ("README.md", false),
            ("dataset_infos.json", false),
            ("../x.parquet", false),
            (".hidden.csv", false),
            ("x.csv.zip", false),
        ] {
            assert_eq!(is_readable(path), is, "{path}");
        }
        let file = |path: &str| HubDatasetFile { path: path.to_owned(), bytes: 1 };
        let order = sorted(vec![file("b.csv"), file("c.parquet"), file("a.csv")]);
        assert_eq!(order.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["c.parquet", "a.csv", "b.csv"]);
    }
}
