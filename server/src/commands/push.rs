//! `ayar push`: an adapter or an export onto the Hub, as one commit.

use crate::arguments::{Usage, looked_from};
use crate::interrupt;
use crate::progress::Progress;
use clap::Args;
use service::hub::{Hub, HubSettings, PushRequest};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Args)]
pub struct PushArguments {
    /// Folder or file: what `ayar export` has written, or the folder that `ayar train --out` wrote
    path: PathBuf,
    /// Repository, such as owner/name; it is made where there is none
    repo: String,
    /// Let everybody see a repository that is made now
    #[arg(long)]
    public: bool,
    /// Of the commit
    #[arg(long, default_value = "Upload by Ayar")]
    message: String,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn push(arguments: &PushArguments) -> anyhow::Result<()> {
    let request = PushRequest {
        private: !arguments.public,
        ..PushRequest::new(arguments.repo.clone(), arguments.message.clone(), files_of(&arguments.path)?)
    };
    let stop = interrupt::listen();
    let mut progress = Progress::start();
    progress.begin(&format!("uploading to {}", arguments.repo));
    let began = Instant::now();
    let mut files: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let pushed = Hub::new(HubSettings::from_environment()).push(&request, &mut |file| {
        files.insert(file.name.clone(), (file.done_bytes, file.bytes));
        let (done, total) = files.values().fold((0, 0), |(done, total), file| (done + file.0, total + file.1));
        progress.bytes(done, total, began);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let pushed = pushed?;
    if arguments.json {
        println!("{}", serde_json::json!({ "url": pushed.url, "commit": pushed.commit }));
    } else {
        println!("{}", pushed.url);
    }
    Ok(())
}

/// Names in the repository with the files. Of a run's folder it is the adapter that others can use.
fn files_of(path: &Path) -> Result<Vec<(String, PathBuf)>, Usage> {
    let unreadable = |error: std::io::Error| Usage(format!("{}: {error}{}", path.display(), looked_from(path)));
    if std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![(name, path.to_path_buf())]);
    }
    let adapter = engine::train::adapter_directory(path);
    let folder = if adapter.is_dir() { adapter } else { path.to_path_buf() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.path().is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Usage(format!("{} holds no files.", folder.display())));
    }
    Ok(files)
}
