//! Downloads from the Hub as commands show them.

use crate::interrupt;
use crate::progress::Progress;
use anyhow::bail;
use domain::hub::{FileState, HubAddress};
use service::hub::{Download, Hub};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What lies in the cache now.
pub struct Fetched {
    /// The snapshot's folder, or the GGUF file.
    pub path: PathBuf,
    pub commit: String,
}

/// As [`download`], after a look at whether it can be had at all.
pub fn fetch(hub: &Hub, address: &HubAddress) -> anyhow::Result<Fetched> {
    let check = hub.check(address)?;
    if !check.problems.is_empty() {
        bail!("{}", check.problems.join(" "));
    }
    download(hub, address)
}

/// # Errors
/// It may not be had, the network or the disk fail, or Ctrl-C was pressed; what has come stays.
pub fn download(hub: &Hub, address: &HubAddress) -> anyhow::Result<Fetched> {
    let stop = interrupt::listen();
    let mut progress = Progress::start();
    progress.begin(&format!("fetching {}", address.repo));
    let began = Instant::now();
    let mut there_at_first = None;
    let downloaded = hub.download(address, &mut |files| {
        let done: u64 = files.iter().map(|file| file.done_bytes).sum();
        let total: u64 = files.iter().map(|file| file.bytes).sum();
        if files.iter().any(|file| file.state != FileState::Waiting) {
            // What was there before says nothing of the rate.
            let first = *there_at_first.get_or_insert(done);
            progress.bytes(done.saturating_sub(first), total.saturating_sub(first), began);
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    match downloaded? {
        Download::Complete { path, commit } => Ok(Fetched { path, commit }),
        Download::Stopped => bail!("Stopped. What has come stays; the same command goes on from there."),
    }
}
