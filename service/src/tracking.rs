//! Runs as other programs show them: TensorBoard's event files, and MLflow's tracking server. What is told there follows
//! the run and never leads it: none of this can stop a run or slow it down.

mod mlflow;
pub mod tensorboard;

pub use mlflow::{MlflowLogin, MlflowSettings, check_uri};

use crate::db::Database;
use crate::error::{Result, ServiceError};
use crate::feed::Feed;
use crate::runs::Runs;
use domain::manifest::Manifest;
use domain::run::{RunEvent, RunId};
use mlflow::{Mlflow, Told};
use std::path::PathBuf;
use std::thread::JoinHandle;
use tensorboard::{EventFile, points_of};

/// Where runs are told of besides the pages.
#[derive(Clone, Debug, Default)]
pub struct TrackingConfig {
    /// Folder in which every run gets one of its own with event files.
    pub tensorboard: Option<PathBuf>,
    pub mlflow: Option<MlflowSettings>,
}

/// Clones share everything.
#[derive(Clone)]
pub struct Tracking {
    runs: Runs,
    feed: Feed,
    folder: Option<PathBuf>,
    mlflow: Option<Mlflow>,
}

/// One attempt at a run, as it is told.
pub(crate) struct TrackedRun {
    run: RunId,
    file: Option<EventFile>,
    mlflow: Option<Mlflow>,
}

impl Tracking {
    /// With the thread that speaks to MLflow, where there is one.
    pub(crate) fn start(
        config: TrackingConfig,
        db: Database,
        runs: Runs,
        feed: Feed,
    ) -> Result<(Self, Option<JoinHandle<()>>)> {
        let (mlflow, thread) = match config.mlflow {
            Some(settings) => {
                let (mlflow, thread) = Mlflow::start(settings, db)?;
                (Some(mlflow), Some(thread))
            }
            None => (None, None),
        };
        Ok((Self { runs, feed, folder: config.tensorboard, mlflow }, thread))
    }

    /// A run is taken up.
    pub(crate) fn follow(&self, run: RunId, name: &str, manifest: Option<&Manifest>, at_ms: i64) -> TrackedRun {
        let file = self.folder.as_ref().and_then(|folder| {
            let folder = folder.join(run_folder(run, name));
            EventFile::create(&folder, at_ms)
                .map_err(|error| tracing::warn!(run, %error, "no event file can be written in {}", folder.display()))
                .ok()
        });
        if let Some(mlflow) = &self.mlflow {
            let told = Told::Begin { name: name.to_string(), manifest: manifest.cloned().map(Box::new) };
            mlflow.tell(run, at_ms, told);
        }
        TrackedRun { run, file, mlflow: self.mlflow.clone() }
    }

    /// Lets the thread that speaks to MLflow end.
    pub(crate) fn close(&self) {
        if let Some(mlflow) = &self.mlflow {
            mlflow.close();
        }
    }

    /// The name and the bytes of an event file with all that a run has come to so far.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn event_file(&self, run: RunId) -> Result<(String, Vec<u8>)> {
        let summary = self.runs.get(run).await?.summary;
        let history = self.feed.history(run).await?;
        let began_at_ms = summary.started_at_ms.unwrap_or(summary.created_at_ms);
        let mut bytes = tensorboard::begin(began_at_ms);
        for event in &history {
            for record in points_of(&event.event, event.at_ms) {
                tensorboard::frame(&record, &mut bytes);
            }
        }
        Ok((tensorboard::file_name(began_at_ms), bytes))
    }
}

impl TrackedRun {
    pub fn event(&mut self, event: &RunEvent, at_ms: i64) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write(event, at_ms)
        {
            tracing::warn!(run = self.run, %error, "the event file is given up");
            self.file = None;
        }
        if let Some(mlflow) = &self.mlflow {
            mlflow.tell_event(self.run, at_ms, event);
        }
    }

    /// The attempt is over, for good or until the run is resumed.
    pub fn end(mut self, status: domain::run::RunStatus, at_ms: i64) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.flush()
        {
            tracing::warn!(run = self.run, %error, "the end of the event file could not be written");
        }
        if let Some(mlflow) = &self.mlflow {
            mlflow.tell(self.run, at_ms, Told::End { status });
        }
    }
}

/// A folder's name that people recognise and that leads nowhere else.
fn run_folder(run: RunId, name: &str) -> String {
    let harmless = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = name.chars().take(60).map(harmless).collect();
    format!("{run}-{}", name.trim_matches('-'))
}

/// Event files of a run that no server knows, such as one of the command line.
///
/// # Errors
/// The folder cannot be written to.
pub fn event_file_in(folder: &std::path::Path, at_ms: i64) -> Result<EventFile> {
    EventFile::create(folder, at_ms).map_err(|error| ServiceError::io(folder, error))
}
