//! What Ayar does: takes in datasets, runs fine-tunings one after the other, tells those who watch, and classifies.
//!
//! Everything durable is in the database and under the data folder; a process that dies loses nothing but the work
//! since the last checkpoint. No HTTP here, no pixels, no tensors.

pub mod checkup;
pub mod classifiers;
pub mod condition;
pub mod datasets;
mod db;
pub mod deployments;
pub mod doctor;
pub mod error;
pub mod evaluations;
pub mod explanations;
pub mod exports;
pub mod feed;
mod files;
mod folder_lock;
pub mod hashes;
pub mod hub;
mod hub_datasets;
pub mod label_checks;
mod leader;
pub mod manifests;
pub mod models;
mod notices;
pub mod people;
pub mod runs;
pub mod saved_file;
pub mod source;
mod sweeps;
#[cfg(test)]
mod test_support;
mod token_counter;
pub mod tracking;
mod worker;

pub use classifiers::{Classifiers, ServingLimits};
pub use datasets::{Datasets, Upload, UploadAppend};
pub use deployments::Deployments;
pub use error::ServiceError;
pub use evaluations::Evaluations;
pub use explanations::Explanations;
pub use exports::Exports;
pub use feed::{Feed, Watch};
pub use hub::Hub;
pub use hub_datasets::HubDatasets;
pub use label_checks::LabelChecks;
pub use manifests::Manifests;
pub use models::Models;
pub use people::People;
pub use runs::Runs;
pub use sweeps::Sweeps;
pub use tracking::{Tracking, TrackingConfig};

use crate::db::{Database, DatabaseKind};
use crate::deployments::DeploymentsParts;
use crate::error::Result;
use crate::exports::ExportsParts;
use crate::files::Files;
use crate::folder_lock::FolderLock;
use crate::hub::HubSettings;
use crate::leader::Leader;
use crate::models::ModelsParts;
use crate::notices::{Listener, Notices, ProcessId};
use crate::runs::RunsParts;
use crate::worker::{StopSignal, WorkerParts};
use domain::reading::ImportRequest;
use domain::version::NOBODY;
use engine::Device;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt;

/// Tells milliseconds since 1970, UTC.
pub type Clock = fn() -> i64;

/// Where things are.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Uploads, datasets, runs and, unless a URL says otherwise, the database.
    pub data_dir: PathBuf,
    /// Such as `postgres://ayar:password@localhost/ayar` or `sqlite:///var/lib/ayar/ayar.db?mode=rwc`. Without it, `ayar.db`
    /// in the data folder.
    pub database_url: Option<String>,
    /// A GGUF file, or a folder with config.json and safetensors files.
    pub base_model: PathBuf,
    /// Folders below which models that people add from the disk may lie.
    pub model_folders: Vec<PathBuf>,
    pub hub: HubSettings,
    /// A CSV file that becomes a dataset on the first start.
    pub sample: Option<PathBuf>,
    /// What runs and classifiers compute on.
    pub device: Device,
    pub serving: ServingLimits,
    /// False for a command that only works on data: what waits to be trained, downloaded or exported is left for the next
    /// server.
    pub takes_up_queues: bool,
    /// Where runs are told of besides.
    pub tracking: TrackingConfig,
}

/// All of it. Clones share everything; when the last one is dropped, the worker stops at its next event.
#[derive(Clone)]
pub struct Service {
    pub datasets: Datasets,
    pub runs: Runs,
    pub feed: Feed,
    pub classifiers: Classifiers,
    pub deployments: Deployments,
    pub models: Models,
    pub exports: Exports,
    pub evaluations: Evaluations,
    pub explanations: Explanations,
    pub label_checks: LabelChecks,
    pub hub_datasets: HubDatasets,
    pub manifests: Manifests,
    pub sweeps: Sweeps,
    pub tracking: Tracking,
    pub people: People,
    life: Arc<Life>,
}

/// What ends with the service.
struct Life {
    db: Database,
    files: Files,
    feed: Feed,
    datasets: Datasets,
    runs: Runs,
    stop: StopSignal,
    models: Models,
    exports: Exports,
    /// The worker, and those that download, export and examine.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Brings sweeps on, keeps leases, hears other servers. What they were at can be done again at the next start.
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    tracking: Tracking,
    /// Speaks to MLflow; ends last, when the worker has said how its run ended.
    teller: Mutex<Option<JoinHandle<()>>>,
    /// Keeps other processes out of the data folder.
    lock: Mutex<Option<FolderLock>>,
}

const SAMPLE_NAME: &str = "Sample: financial headlines";
/// The fact that the sample has been imported, so that it does not come back once it has been deleted.
const SAMPLE_DONE: &str = "sample_imported";

impl Service {
    /// Opens the data folder, puts runs that were cut off back into the queue and starts the worker. To be called
    /// within a multi-threaded tokio runtime, which must outlive the service.
    ///
    /// # Errors
    /// Another process uses the folder, the database or the base model cannot be opened, the disk does not do as told.
    pub async fn open(config: ServiceConfig) -> Result<Self> {
        Self::open_with_clock(config, system_clock).await
    }

    /// As [`Service::open`], by another clock.
    pub async fn open_with_clock(config: ServiceConfig, clock: Clock) -> Result<Self> {
        let files = Files::open(&config.data_dir)?;
        let kind = DatabaseKind::of(config.database_url.as_deref())?;
        let lock = FolderLock::take(&files, kind).await?;
        let db = Database::open(config.database_url.as_deref(), &files.database()).await?;
        let parts = ModelsParts {
            db: db.clone(),
            files: files.clone(),
            clock,
            own: config.base_model.clone(),
            folders: config.model_folders.clone(),
            device: config.device.clone(),
            hub: config.hub.clone(),
        };
        let models = datasets::blocking(move || Models::open(parts)).await?;

        let datasets = Datasets::new(db.clone(), files.clone(), clock);
        let process = ProcessId::new();
        let notices = Notices::new(db.clone(), process.clone());
        let feed = Feed::new(db.clone(), notices.clone(), clock);
        let parts = RunsParts {
            db: db.clone(),
            files: files.clone(),
            feed: feed.clone(),
            datasets: datasets.clone(),
            models: models.clone(),
            clock,
            process,
        };
        let runs = Runs::new(parts);
        let manifests = Manifests::new(db.clone(), runs.clone(), datasets.clone(), models.clone(), clock);
        let sweeps = Sweeps::new(db.clone(), runs.clone(), datasets.clone(), clock);
        let (tracking, teller) = Tracking::start(config.tracking, db.clone(), runs.clone(), feed.clone())?;
        if lock.is_alone() {
            datasets.recover().await?;
        }
        runs.recover(kind == DatabaseKind::Sqlite).await?;
        let parts =
            ExportsParts { db: db.clone(), files: files.clone(), runs: runs.clone(), models: models.clone(), clock };
        let exports = Exports::new(parts);
        if kind == DatabaseKind::Sqlite {
            models.recover().await?;
            exports.recover().await?;
        }
        if let Some(sample) = config.sample
            && db.fact(SAMPLE_DONE).await?.is_none()
        {
            // A sample that cannot be read is no reason not to start.
            match import_sample(&datasets, &sample).await {
                Ok(()) => db.set_fact(SAMPLE_DONE, "yes").await?,
                Err(error) => tracing::warn!(%error, "the sample {} was not imported", sample.display()),
            }
        }

        let stop = StopSignal::default();
        let mut threads = vec![datasets.start_examiner(models.clone(), stop.clone())?];
        let mut tasks = vec![tokio::spawn(runs.clone().keep_leases(stop.clone()))];
        if config.takes_up_queues {
            let (leader, task) = Leader::start(&db, models.clone(), exports.clone());
            tasks.extend(task);
            tasks.push(sweeps.start_coordinator(leader.clone(), stop.clone()));
            let parts = WorkerParts {
                runs: runs.clone(),
                models: models.clone(),
                manifests: manifests.clone(),
                sweeps: sweeps.clone(),
                tracking: tracking.clone(),
                stop: stop.clone(),
            };
            threads.extend([
                worker::start(parts)?,
                models.start_downloads(leader.clone(), stop.clone())?,
                exports.start_writer(leader, stop.clone())?,
            ]);
        }
        let hub_datasets = HubDatasets::new(models.clone(), datasets.clone(), stop.clone());
        let life = Life {
            db,
            files,
            feed: feed.clone(),
            datasets: datasets.clone(),
            runs: runs.clone(),
            stop,
            models: models.clone(),
            exports: exports.clone(),
            threads: Mutex::new(threads),
            tasks: Mutex::new(tasks),
            tracking: tracking.clone(),
            teller: Mutex::new(teller),
            lock: Mutex::new(Some(lock)),
        };
        let evaluations = Evaluations::new(runs.clone());
        let explanations = Explanations::start(runs.clone(), models.clone())?;
        let classifiers = Classifiers::start(runs.clone(), models.clone(), config.serving)?;
        let parts = DeploymentsParts {
            db: life.db.clone(),
            notices: notices.clone(),
            runs: runs.clone(),
            models: models.clone(),
            classifiers: classifiers.clone(),
            clock,
        };
        let deployments = Deployments::open(parts).await?;
        let listener = Listener { runs: runs.clone(), feed: feed.clone(), deployments: deployments.clone() };
        let listening = tokio::spawn(notices.listen(listener));
        life.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(listening);
        if let Some(lock) = life.lock.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            lock.share(kind)?;
        }
        let people = People::new(life.db.clone(), clock);
        let label_checks = LabelChecks::new(life.db.clone(), datasets.clone(), runs.clone(), clock);
        Ok(Self {
            datasets,
            runs,
            feed,
            classifiers,
            deployments,
            models,
            exports,
            evaluations,
            explanations,
            label_checks,
            hub_datasets,
            manifests,
            sweeps,
            tracking,
            people,
            life: Arc::new(life),
        })
    }

    /// Stops: the running run writes a checkpoint and goes back into the queue, watchers are let go, the database is
    /// closed. Returns when all that is done. Nothing else works afterwards.
    pub async fn shutdown(&self) {
        self.life.ask_threads_to_stop();
        let tasks = std::mem::take(&mut *self.life.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        let threads = std::mem::take(&mut *self.life.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            join(thread).await;
        }
        self.tracking.close();
        let teller = self.life.teller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(teller) = teller {
            join(teller).await;
        }
        self.feed.close();
        self.life.db.pool.close().await;
        self.life.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Life {
    fn ask_threads_to_stop(&self) {
        self.stop.ask();
        self.runs.wake();
        self.models.wake();
        self.exports.wake();
        self.datasets.wake();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
        self.ask_threads_to_stop();
        self.tracking.close();
        self.feed.close();
    }
}

async fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_string();
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        tracing::error!("the thread \"{name}\" ended in a panic");
    }
}

/// By the same way that a person's file takes.
async fn import_sample(datasets: &Datasets, path: &Path) -> Result<()> {
    let io = |error| ServiceError::io(path, error);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = tokio::fs::File::open(path).await.map_err(io)?;
    let mut upload = datasets.begin_upload(&name).await?;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut bytes).await.map_err(io)?;
        if read == 0 {
            break;
        }
        upload.write(&bytes[..read]).await?;
    }
    let preview = upload.finish().await?;
    let request =
        ImportRequest { name: SAMPLE_NAME.to_string(), options: preview.options, into: None, by: NOBODY.to_string() };
    datasets.import(&preview.upload, request).await?;
    Ok(())
}

fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
