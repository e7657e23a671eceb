//! Files of datasets on the Hub on their way to becoming uploads, which are then confirmed and imported as a person's
//! own file is.
//!
//! A fetch lives in memory: after a restart it is asked for again and goes on from what the Hub's cache has.

mod join;

use crate::datasets::{Datasets, blocking};
use crate::error::{Result, ServiceError};
use crate::files::UploadId;
use crate::hub::{DatasetFiles, Hub};
use crate::models::Models;
use crate::worker::{StopSignal, words_of};
use domain::error::UserError;
use domain::hub::FileProgress;
use domain::hub_dataset::{HubDataset, HubDatasetAddress, HubDatasetFile, HubFetch, HubFetchState};
use join::{SourceFile, upload_files};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// Fetches under way at once; each has several connections of its own.
const MOST_AT_ONCE: usize = 4;
/// Ended ones that are remembered for who looks again.
const MOST_KEPT: usize = 50;

/// Clones share the fetches.
#[derive(Clone)]
pub struct HubDatasets {
    inner: Arc<Inner>,
}

struct Inner {
    models: Models,
    datasets: Datasets,
    stop: StopSignal,
    /// By their names, the oldest first.
    fetches: Mutex<BTreeMap<u64, Fetch>>,
}

struct Fetch {
    /// What the browser knows it by; nobody can guess it.
    name: String,
    files: Vec<FileProgress>,
    state: HubFetchState,
    is_stopped: Arc<AtomicBool>,
}

impl Fetch {
    fn is_under_way(&self) -> bool {
        matches!(self.state, HubFetchState::Fetching | HubFetchState::Joining)
    }
}

impl HubDatasets {
    pub(crate) fn new(models: Models, datasets: Datasets, stop: StopSignal) -> Self {
        Self { inner: Arc::new(Inner { models, datasets, stop, fetches: Mutex::default() }) }
    }

    /// What can be had of a dataset: `owner/name`, `owner/name@revision` or the URL of its page.
    ///
    /// # Errors
    /// It is no address, may not be had, holds nothing that can be read; the Hub cannot be asked.
    pub async fn look(&self, address: &str) -> Result<HubDataset> {
        let (hub, address) = (self.hub(), HubDatasetAddress::parse(address)?);
        blocking(move || Ok(hub.dataset(&address)?)).await
    }

    /// Begins to fetch files and to make one upload of them. `paths` are those that [`HubDatasets::look`] has listed at
    /// that commit.
    ///
    /// # Errors
    /// No file is named, or enough is under way already.
    pub async fn fetch(&self, address: &str, commit: &str, paths: Vec<String>) -> Result<HubFetch> {
        let address = HubDatasetAddress::parse(address)?;
        if paths.is_empty() {
            return Err(UserError::invalid("Choose at least one file of the dataset.").into());
        }
        let wanted = DatasetFiles { address, commit: commit.to_owned(), paths };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (key, told) = {
            let mut fetches = self.fetches();
            if fetches.values().filter(|fetch| fetch.is_under_way()).count() >= MOST_AT_ONCE {
                return Err(UserError::conflict(format!(
                    "{MOST_AT_ONCE} datasets are being fetched already. Wait for one of them, or stop it."
                ))
                .into());
            }
            while fetches.len() >= MOST_KEPT
                && let Some(oldest) = fetches.iter().find(|(_, fetch)| !fetch.is_under_way()).map(|(key, _)| *key)
            {
                fetches.remove(&oldest);
            }
            let key = fetches.last_key_value().map_or(0, |(last, _)| last + 1);
            let fetch = Fetch {
                name: UploadId::new().as_str().to_owned(),
                files: Vec::new(),
                state: HubFetchState::Fetching,
                is_stopped: is_stopped.clone(),
            };
            let told = told(&fetch);
            fetches.insert(key, fetch);
            (key, told)
        };
        let (datasets, handle) = (self.clone(), Handle::current());
        let started = std::thread::Builder::new().name("hub dataset".to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| datasets.carry_out(&handle, key, &wanted, &is_stopped)))
                .unwrap_or_else(|panic| Err(ServiceError::Panicked(words_of(panic.as_ref()))));
            datasets.set_state(key, end_of(outcome));
        });
        if let Err(error) = started {
            self.fetches().remove(&key);
            return Err(ServiceError::io("hub dataset thread".as_ref(), error));
        }
        Ok(told)
    }

    /// How far a fetch is.
    ///
    /// # Errors
    /// There is none of that name, as after a restart.
    pub async fn progress(&self, fetch: &str) -> Result<HubFetch> {
        self.fetches().values().find(|known| known.name == fetch).map(told).ok_or_else(gone)
    }

    /// Stops a fetch; what has come stays in the Hub's cache.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn stop(&self, fetch: &str) -> Result<()> {
        let fetches = self.fetches();
        let fetch = fetches.values().find(|known| known.name == fetch).ok_or_else(gone)?;
        fetch.is_stopped.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The upload that the files have become; `None`: it was stopped.
    fn carry_out(
        &self,
        handle: &Handle,
        key: u64,
        wanted: &DatasetFiles,
        is_stopped: &AtomicBool,
    ) -> Result<Option<String>> {
        let stops = || is_stopped.load(Ordering::Relaxed) || self.inner.stop.is_asked();
        let downloaded = self.hub().download_dataset(wanted, &mut |files| {
            if let Some(fetch) = self.fetches().get_mut(&key) {
                fetch.files = files.to_vec();
            }
            if stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let Some(paths) = downloaded else { return Ok(None) };
        self.set_state(key, HubFetchState::Joining);
        let files =
            paths.into_iter().zip(&wanted.paths).map(|(path, name)| source_file(path, name)).collect::<Vec<_>>();
        upload_files(&self.inner.datasets, handle, &wanted.address.repo, &files, &stops)
    }

    fn hub(&self) -> Hub {
        self.inner.models.hub_of_the_team()
    }

    fn set_state(&self, key: u64, state: HubFetchState) {
        if let Some(fetch) = self.fetches().get_mut(&key) {
            fetch.state = state;
        }
    }

    fn fetches(&self) -> MutexGuard<'_, BTreeMap<u64, Fetch>> {
        self.inner.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source_file(path: PathBuf, name: &str) -> SourceFile {
    let file = HubDatasetFile { path: name.to_owned(), bytes: 0 };
    SourceFile { path, name: name.to_owned(), split: file.place().1.to_owned() }
}

fn told(fetch: &Fetch) -> HubFetch {
    HubFetch { id: fetch.name.clone(), files: fetch.files.clone(), state: fetch.state.clone() }
}

fn end_of(outcome: Result<Option<String>>) -> HubFetchState {
    let reason = match outcome {
        Ok(Some(upload)) => return HubFetchState::Done { upload },
        Ok(None) => {
            "It was stopped. What has come stays in the Hub's cache; the next attempt goes on from there.".to_owned()
        }
        Err(error) => {
            tracing::warn!(%error, "a dataset of the Hub could not be fetched");
            UserError::from(error).message
        }
    };
    HubFetchState::Failed { reason }
}

fn gone() -> ServiceError {
    UserError::not_found(
        "This download is not known any more, perhaps because the server was started anew. Ask for the dataset again: what \
         has come is kept.",
    )
    .into()
}
