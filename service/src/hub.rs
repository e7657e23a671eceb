//! The Hugging Face Hub: models, adapters and datasets are fetched from it into a cache
//! shared with Python; models and adapters are pushed to it.
//!
//! Everything here blocks; whoever is asynchronous hands it to a thread. Ours rather than a crate's are: going on with
//! a download that was cut off, comparing hashes, stopping within a second, and uploads that go on where they ended.

mod cache;
mod check;
mod client;
mod datasets;
mod download;
mod error;
mod gguf;
mod hash;
mod lfs;
mod listing;
mod push;
mod selection;
mod settings;
mod watched;

pub use datasets::DatasetFiles;
pub use domain::hub::CachedRepository;
pub use download::Download;
pub use error::HubError;
pub use push::{PushRequest, Pushed};
pub use settings::{HubSettings, HubToken, Patience};

use cache::RepositoryCache;
use client::Client;
use domain::hub::{DEFAULT_REVISION, HubAddress};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Clones share the settings.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Arc<HubSettings>,
    patience: Arc<Patience>,
}

impl Hub {
    pub fn new(settings: HubSettings) -> Self {
        Self { settings: Arc::new(settings), patience: Arc::default() }
    }

    /// The same Hub, asked by another person.
    pub fn with_token(&self, token: HubToken) -> Self {
        let settings = HubSettings { token: Some(token), ..(*self.settings).clone() };
        Self { settings: Arc::new(settings), patience: self.patience.clone() }
    }

    /// The same Hub, waited for longer or less long.
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self { settings: self.settings.clone(), patience: Arc::new(patience) }
    }

    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// Where the cache has what the address names, if it has all of it: the snapshot's folder, or the GGUF file. Asks
    /// the disk alone.
    pub fn cached(&self, address: &HubAddress) -> Option<PathBuf> {
        address.check().ok()?;
        Some(RepositoryCache::new(&self.settings.cache, &address.repo).whole(address)?.path)
    }

    /// Every model repository in the cache, by name.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn list_cached(&self) -> Result<Vec<CachedRepository>, HubError> {
        cache::list(&self.settings.cache)
    }

    /// Deletes a repository from the cache and returns the bytes that this freed: 0 where there was none.
    ///
    /// # Errors
    /// It is being fetched, or the disk does not do as told.
    pub fn remove_cached(&self, repo: &str) -> Result<u64, HubError> {
        checked_repository(repo)?;
        RepositoryCache::new(&self.settings.cache, repo).remove(repo)
    }

    /// The name of the person or organisation whose token is used; `None` without a token, and where the Hub does not
    /// tell. Blocks.
    ///
    /// # Errors
    /// The Hub does not know the token, or cannot be asked.
    pub fn whoami(&self) -> Result<Option<String>, HubError> {
        whoami(&Client::new(&self.settings, &self.patience, "")?)
    }
}

/// Asked once: the Hub counts these requests strictly, so what fails for a while is not worth another.
fn whoami(client: &Client) -> Result<Option<String>, HubError> {
    #[derive(Deserialize)]
    struct Whoami {
        name: String,
    }
    if !client.has_token() {
        return Ok(None);
    }
    let answer = client.get(&client.url("/api/whoami-v2"), &[])?;
    match client.accepted(answer, "knowledge of whom the token belongs to") {
        Ok(answer) => {
            let whoami: Whoami = client.json(answer)?;
            Ok(Some(whoami.name.chars().filter(|c| !c.is_control()).take(100).collect()))
        }
        // A Hub that is busy, or a mirror that knows no persons, may serve models all the same.
        Err(HubError::Trouble { .. } | HubError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// # Errors
/// It is no `owner/name`.
fn checked_repository(repo: &str) -> Result<(), HubError> {
    Ok(HubAddress { repo: repo.to_owned(), file: None, revision: DEFAULT_REVISION.to_owned() }.check()?)
}
