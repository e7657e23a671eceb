//! What is known of an address before anything is fetched: whether it may be had, what it takes, what it is.

use super::cache::{self, RepositoryCache, Whole};
use super::client::Client;
use super::download::{file_url, selected_files, text_of};
use super::error::in_words;
use super::gguf;
use super::listing::{self, Listing, RemoteFile};
use super::selection::{ADAPTER_CONFIG, CONFIG};
use super::{Hub, HubError, Patience, whoami};
use domain::hub::{HubAccess, HubAddress, HubCheck, HubFile, HubKind};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;

/// Longer than any config.json, and short enough for a page.
const LONGEST_CONFIG: usize = 1 << 20;

impl Hub {
    /// Asks the Hub about an address; where it may not be asked, or cannot be reached and all is in the cache, tells
    /// what the cache knows. Why something cannot be fetched is among the check's problems. Blocks.
    ///
    /// # Errors
    /// The Hub cannot be reached, or answers what cannot be understood.
    pub fn check(&self, address: &HubAddress) -> Result<HubCheck, HubError> {
        address.check()?;
        let cache = RepositoryCache::new(&self.settings.cache, &address.repo);
        if self.settings.offline {
            return Ok(self.check_offline(address, cache.whole(address)));
        }
        match (self.check_online(address, &cache), cache.whole(address)) {
            (Err(HubError::Network { .. }), Some(whole)) => Ok(self.check_offline(address, Some(whole))),
            (checked, _) => checked,
        }
    }

    fn check_online(&self, address: &HubAddress, cache: &RepositoryCache) -> Result<HubCheck, HubError> {
        // Somebody waits for the answer.
        let patience = Patience { retries: self.patience.retries.min(1), ..(*self.patience).clone() };
        let client = Client::new(&self.settings, &patience, &address.repo)?;
        let mut check = self.blank(address, HubAccess::Open);
        let known = whoami(&client).and_then(|user| {
            check.user = user;
            listing::list(&client, address)
        });
        let listing = match known {
            Ok(listing) => listing,
            Err(error) => return told(check, error),
        };
        check.commit = Some(listing.commit.clone());
        check.licence = listing.licence.clone();
        let (selection, files) = match selected_files(&client, cache, address, &listing) {
            Ok(selected) => selected,
            Err(error) => return told(check, error),
        };
        check.kind = selection.kind;
        self.count(&mut check, cache, &listing, &files);

        if listing.private || listing.gated {
            check.access = HubAccess::Granted;
        }
        match self.look_inside(&client, cache, address, &listing, &files) {
            Ok((config_json, architecture)) => {
                (check.config_json, check.architecture) = (config_json, architecture);
                Ok(check)
            }
            Err(error) => told(check, error),
        }
    }

    /// Sizes, and whether they fit.
    fn count(&self, check: &mut HubCheck, cache: &RepositoryCache, listing: &Listing, files: &[RemoteFile]) {
        let missing = files.iter().map(|file| file.bytes - cache.bytes_here(&listing.commit, file));
        check.missing_bytes = missing.fold(0, u64::saturating_add);
        check.total_bytes = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        check.files = files
            .iter()
            .map(|file| HubFile {
                name: file.name.clone(),
                bytes: file.bytes,
                cached: cache.has(&listing.commit, file),
            })
            .collect();
        if check.disk_free_bytes.is_some_and(|free| free < check.missing_bytes) {
            check.problems.push(format!(
                "{} are still to be fetched, and below {} only {} are free. Make room, or set HF_HUB_CACHE to a folder on \
                 another disk.",
                in_words(check.missing_bytes),
                self.settings.cache.display(),
                in_words(check.disk_free_bytes.unwrap_or(0)),
            ));
        }
    }

    /// Reads the configuration, or the beginning of the GGUF file. The description of a repository is public where its
    /// files are not, so this is also what tells whether they may be had.
    fn look_inside(
        &self,
        client: &Client,
        cache: &RepositoryCache,
        address: &HubAddress,
        listing: &Listing,
        files: &[RemoteFile],
    ) -> Result<(Option<String>, Option<String>), HubError> {
        let Some(first) = files.first() else { return Ok((None, None)) };
        if listing.gated || listing.private {
            let url = file_url(client, &address.repo, &listing.commit, &first.name);
            client.patiently(|| client.accepted(client.head(&url)?, &format!("{}/{}", address.repo, first.name)))?;
        }
        if address.file.is_none() {
            let text = text_of(client, cache, &address.repo, &listing.commit, first)?;
            return Ok(described(text));
        }
        if cache.has(&listing.commit, first) {
            return Ok((None, local_architecture(&cache.blob(first))));
        }
        let range = format!("bytes=0-{}", gguf::HEAD_BYTES.min(first.bytes).max(1) - 1);
        let url = file_url(client, &address.repo, &listing.commit, &first.name);
        let head = client.patiently(|| {
            let mut answer = client.accepted(client.get(&url, &[("range", &range)])?, &address.to_string())?;
            // Where the whole file comes instead, its beginning is enough, and the connection is dropped.
            let mut head = Vec::new();
            let mut reader = answer.body_mut().as_reader().take(gguf::HEAD_BYTES);
            reader.read_to_end(&mut head).map_err(|error| client.broken(&error))?;
            Ok(head)
        })?;
        Ok((None, gguf::architecture(&head)))
    }

    fn check_offline(&self, address: &HubAddress, whole: Option<Whole>) -> HubCheck {
        let mut check = self.blank(address, HubAccess::Offline);
        let Some(whole) = whole else {
            check.problems.push(HubError::Offline.to_string());
            return check;
        };
        check.kind = whole.kind;
        check.commit = Some(whole.commit);
        check.total_bytes = whole.files.iter().map(|(bytes, _)| bytes).sum();
        let cached = |(bytes, name)| HubFile { name, bytes, cached: true };
        check.files = whole.files.into_iter().map(cached).collect();
        if address.file.is_some() {
            check.architecture = local_architecture(&whole.path);
            return check;
        }
        let config = if whole.kind == HubKind::Adapter { ADAPTER_CONFIG } else { CONFIG };
        if let Ok(text) = cache::read_text(&whole.path.join(config), LONGEST_CONFIG as u64) {
            (check.config_json, check.architecture) = described(text);
        }
        check
    }

    fn blank(&self, address: &HubAddress, access: HubAccess) -> HubCheck {
        HubCheck {
            address: address.clone(),
            // Of a repository whose files are not known, the likeliest.
            kind: if address.file.is_some() { HubKind::Gguf } else { HubKind::Model },
            commit: None,
            access,
            user: None,
            licence: None,
            files: Vec::new(),
            total_bytes: 0,
            missing_bytes: 0,
            disk_free_bytes: cache::free_bytes(&self.settings.cache),
            architecture: None,
            config_json: None,
            problems: Vec::new(),
        }
    }
}

/// An error that says something about the address becomes a problem; one about the network stays an error.
fn told(mut check: HubCheck, error: HubError) -> Result<HubCheck, HubError> {
    check.access = match &error {
        HubError::TokenMissing { url, .. } => HubAccess::TokenMissing { url: url.clone() },
        HubError::TokenInvalid { .. } => HubAccess::TokenInvalid,
        HubError::LicenceNotAccepted { url, .. } => HubAccess::LicenceNotAccepted { url: url.clone() },
        HubError::NotFound(_) => HubAccess::NotFound,
        HubError::Unsuitable(_) | HubError::Refused { .. } => check.access,
        _ => return Err(error),
    };
    check.problems.push(error.to_string());
    Ok(check)
}

/// The text with the first of its `architectures`, else its `model_type`. An adapter's has neither.
fn described(text: String) -> (Option<String>, Option<String>) {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        architectures: Vec<String>,
        model_type: Option<String>,
    }
    if text.len() > LONGEST_CONFIG {
        return (None, None);
    }
    let config: Option<Config> = serde_json::from_str(&text).ok();
    let architecture = config.and_then(|config| config.architectures.into_iter().next().or(config.model_type));
    (Some(text), architecture.map(|name| name.chars().filter(|c| !c.is_control()).take(100).collect()))
}

fn local_architecture(path: &std::path::Path) -> Option<String> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(gguf::HEAD_BYTES).read_to_end(&mut head).ok()?;
    gguf::architecture(&head)
}
