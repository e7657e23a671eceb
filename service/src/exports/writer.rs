//! The thread that writes exports, checks them, and pushes them to the Hub.

use super::{Exports, push_from, status_from};
use crate::db::to_json;
use crate::error::{Result, ServiceError};
use crate::files::remove_folder;
use crate::hub::PushRequest;
use crate::leader::Leader;
use crate::runs::FinishedRun;
use crate::worker::{AFTER_TROUBLE, StopSignal, words_of};
use domain::catalogue::{ExportFile, ExportId, ExportStatus, ExportSummary, Push, PushState};
use domain::error::UserError;
use domain::export::{ExportKind, MergeInto, ParityReport};
use domain::hub::{DEFAULT_REVISION, PushProgress};
use domain::prediction::Prediction;
use domain::run::{RunId, TestRow};
use engine::export::{ExportRequest, ModelCard, ParityRequest};
use engine::train::adapter_directory;
use sqlx::Row as _;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How often the thread looks whether its work is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Test rows that an export is checked with: enough to see a difference, few enough for a large model on a processor.
const MAX_PARITY_ROWS: usize = 1000;

/// What the thread is at.
pub(super) struct Under {
    pub export: ExportId,
    at: At,
}

enum At {
    Writing { done_bytes: u64, total_bytes: u64 },
    Checking,
    Pushing { files: Vec<PushProgress> },
}

impl Under {
    /// What is known here and not yet in the database.
    pub fn tell(&self, summary: &mut ExportSummary) {
        match &self.at {
            At::Writing { done_bytes, total_bytes } => {
                (summary.done_bytes, summary.total_bytes) = (*done_bytes, *total_bytes);
            }
            At::Checking => {}
            At::Pushing { files } => {
                if let Some(push) = &mut summary.push {
                    push.state = PushState::Pushing { files: files.clone() };
                }
            }
        }
    }
}

/// What comes next.
enum Task {
    Write { export: ExportId, run: RunId, kind: ExportKind, merge_into: MergeInto },
    Push { export: ExportId, run: RunId, files: Vec<ExportFile>, push: Push },
}

/// Ends an attempt.
enum Ended {
    Done,
    /// Removed, or the process ends.
    Stopped,
}

impl Exports {
    /// Starts the thread. It ends when the signal is asked and [`Exports::wake`] is called.
    pub(crate) fn start_writer(&self, leader: Leader, stop: StopSignal) -> Result<JoinHandle<()>> {
        let (exports, handle) = (self.clone(), Handle::current());
        std::thread::Builder::new()
            .name("exports".to_string())
            .spawn(move || {
                let writer = Writer { exports, leader, handle, stop };
                writer.work();
            })
            .map_err(|error| ServiceError::io("exports thread".as_ref(), error))
    }

    /// So that the thread looks at the queue and at its signal.
    pub(crate) fn wake(&self) {
        self.inner.queued.notify_one();
    }

    async fn next_task(&self) -> Result<Option<Task>> {
        let rows = sqlx::query("SELECT * FROM exports WHERE status = $1 OR push IS NOT NULL ORDER BY id")
            .bind(ExportStatus::Waiting.as_str())
            .fetch_all(&self.inner.db.pool)
            .await?;
        for row in &rows {
            let summary = self.summary_from(row)?;
            let (export, run) = (summary.id, summary.run);
            if status_from(row)? == ExportStatus::Waiting {
                return Ok(Some(Task::Write { export, run, kind: summary.kind, merge_into: summary.merge_into }));
            }
            let push = push_from(row)?.filter(|push| push.state == PushState::Waiting);
            if let Some(push) = push {
                return Ok(Some(Task::Push { export, run, files: summary.files, push }));
            }
        }
        Ok(None)
    }

    /// False where the export has been removed.
    async fn is_wanted(&self, export: ExportId) -> Result<bool> {
        let row = sqlx::query("SELECT COUNT(*) AS there FROM exports WHERE id = $1")
            .bind(export)
            .fetch_one(&self.inner.db.pool)
            .await?;
        Ok(row.try_get::<i64, _>("there")? > 0)
    }

    async fn set_status(&self, export: ExportId, status: ExportStatus, failure: Option<String>) -> Result<()> {
        sqlx::query("UPDATE exports SET status = $2, failure = $3 WHERE id = $1")
            .bind(export)
            .bind(status.as_str())
            .bind(failure)
            .execute(&self.inner.db.pool)
            .await?;
        Ok(())
    }

    async fn set_written(&self, export: ExportId, files: &[ExportFile]) -> Result<()> {
        sqlx::query("UPDATE exports SET files = $2, total_bytes = $3 WHERE id = $1")
            .bind(export)
            .bind(to_json(&files)?)
            .bind(files.iter().map(|file| file.bytes as i64).sum::<i64>())
            .execute(&self.inner.db.pool)
            .await?;
        Ok(())
    }

    async fn set_parity(&self, export: ExportId, parity: &ParityReport) -> Result<()> {
        sqlx::query("UPDATE exports SET parity = $2 WHERE id = $1")
            .bind(export)
            .bind(to_json(parity)?)
            .execute(&self.inner.db.pool)
            .await?;
        Ok(())
    }
}

struct Writer {
    exports: Exports,
    leader: Leader,
    handle: Handle,
    stop: StopSignal,
}

impl Writer {
    fn work(&self) {
        while !self.stop.is_asked() {
            self.handle.block_on(self.leader.turn());
            match self.handle.block_on(self.exports.next_task()) {
                Ok(Some(task)) => self.carry_out(task),
                Ok(None) => self.handle.block_on(self.leader.rest(&self.exports.inner.queued)),
                Err(error) => {
                    tracing::error!(%error, "the queue of exports could not be read; trying again");
                    self.stop.rest(AFTER_TROUBLE);
                }
            }
        }
    }

    fn carry_out(&self, task: Task) {
        let export = match &task {
            Task::Write { export, .. } | Task::Push { export, .. } => *export,
        };
        let ended = catch_unwind(AssertUnwindSafe(|| match &task {
            Task::Write { export, run, kind, merge_into } => self.write(*export, *run, *kind, *merge_into),
            Task::Push { export, run, files, push } => self.push(*export, *run, files, push),
        }))
        .unwrap_or_else(|panic| Err(ServiceError::Panicked(words_of(panic.as_ref()))));
        let stored = match (ended, task) {
            (Ok(_), _) => Ok(()),
            (Err(error), Task::Write { run, .. }) => {
                tracing::warn!(export, reason = %error.reason(), "an export failed");
                let _ = remove_folder(&self.exports.inner.files.export(run, export));
                let failed = self.exports.set_status(export, ExportStatus::Failed, Some(error.reason()));
                self.handle.block_on(failed)
            }
            (Err(error), Task::Push { push, .. }) => {
                tracing::warn!(export, reason = %error.reason(), "a push failed");
                let failed = Push { state: PushState::Failed { reason: error.reason() }, ..push };
                self.handle.block_on(self.exports.store_push(export, &failed)).map(|_| ())
            }
        };
        if let Err(error) = stored {
            tracing::error!(export, %error, "the end of an export could not be stored");
            self.stop.rest(AFTER_TROUBLE);
        }
        *self.exports.under() = None;
    }

    fn write(&self, export: ExportId, run: RunId, kind: ExportKind, merge_into: MergeInto) -> Result<Ended> {
        let exports = &self.exports;
        self.at(export, At::Writing { done_bytes: 0, total_bytes: 0 });
        self.handle.block_on(exports.set_status(export, ExportStatus::Writing, None))?;
        let finished = self.handle.block_on(exports.inner.runs.finished(run))?;
        let base = self.handle.block_on(exports.inner.models.base(finished.base))?;
        let (card, rows) = self.handle.block_on(async {
            Ok::<_, ServiceError>((card(exports, run, &finished).await?, exports.inner.runs.predictions(run).await?))
        })?;
        let folder = exports.inner.files.export(run, export);
        // Of an attempt that was cut off.
        remove_folder(&folder)?;
        std::fs::create_dir_all(&folder).map_err(|error| ServiceError::io(&folder, error))?;
        let out = place(&folder, run, kind);
        let adapter = adapter_directory(&finished.directory);
        let request = ExportRequest {
            base: &base.path,
            adapter: &adapter,
            classifier: &finished.classifier,
            kind,
            merge_into,
            out: &out,
            card: &card,
        };
        let mut wanted = self.looking(export);
        let written = engine::export::export(&request, &mut |at| {
            self.at(export, At::Writing { done_bytes: at.done_bytes, total_bytes: at.total_bytes });
            wanted()
        })?;
        if written.is_none() {
            return Ok(Ended::Stopped);
        }
        self.handle.block_on(exports.set_written(export, &files_below(&folder)?))?;

        self.at(export, At::Checking);
        self.handle.block_on(exports.set_status(export, ExportStatus::Checking, None))?;
        let Some(parity) = self.check(export, &base.path, &finished, kind, &out, rows)? else {
            return Ok(Ended::Stopped);
        };
        if let Some(parity) = parity {
            engine::export::parity::store(&parity, &out)?;
            self.handle.block_on(exports.set_parity(export, &parity))?;
            self.handle.block_on(exports.set_written(export, &files_below(&folder)?))?;
        }
        self.handle.block_on(exports.set_status(export, ExportStatus::Ready, None))?;
        tracing::info!(export, run, "export is ready");
        Ok(Ended::Done)
    }

    /// What the exported model says of the run's test rows, beside what the run said. The outer `None`: it was to stop;
    /// the inner one: the run has kept no predictions.
    fn check(
        &self,
        export: ExportId,
        base: &Path,
        finished: &FinishedRun,
        kind: ExportKind,
        exported: &Path,
        rows: Vec<TestRow>,
    ) -> Result<Option<Option<ParityReport>>> {
        let (texts, reference): (Vec<&str>, Vec<Prediction>) =
            rows.iter().filter_map(|row| Some((row.text.as_str(), row.after.clone()?))).take(MAX_PARITY_ROWS).unzip();
        if texts.is_empty() {
            return Ok(Some(None));
        }
        let request = ParityRequest {
            exported,
            kind,
            base,
            classifier: &finished.classifier,
            device: self.exports.inner.models.on(),
            texts: &texts,
            reference: &reference,
            batch_size: finished.spec.per_device_eval_batch_size as usize,
        };
        let mut wanted = self.looking(export);
        Ok(engine::export::parity::parity(&request, &mut |_| wanted())?.map(Some))
    }

    fn push(&self, export: ExportId, run: RunId, files: &[ExportFile], push: &Push) -> Result<Ended> {
        let folder = self.exports.inner.files.export(run, export);
        self.at(export, At::Pushing { files: Vec::new() });
        let request = PushRequest {
            repo: push.repo.clone(),
            private: push.private,
            revision: DEFAULT_REVISION.to_string(),
            message: format!("Run {run}, exported by Ayar"),
            files: files.iter().map(|file| (name_on_hub(&file.name), folder.join(&file.name))).collect(),
        };
        let mut wanted = self.looking(export);
        let pushed = self.exports.inner.models.hub_of_the_team().push(&request, &mut |progress| {
            self.pushed_so_far(export, progress);
            wanted()
        });
        if self.stop.is_asked() {
            return Ok(Ended::Stopped);
        }
        let done = Push { state: PushState::Done { url: pushed?.url }, ..push.clone() };
        self.handle.block_on(self.exports.store_push(export, &done))?;
        Ok(Ended::Done)
    }

    fn at(&self, export: ExportId, at: At) {
        *self.exports.under() = Some(Under { export, at });
    }

    fn pushed_so_far(&self, export: ExportId, progress: &PushProgress) {
        let mut under = self.exports.under();
        let Some(Under { export: there, at: At::Pushing { files } }) = under.as_mut() else { return };
        if *there != export {
            return;
        }
        match files.iter_mut().find(|file| file.name == progress.name) {
            Some(file) => *file = progress.clone(),
            None => files.push(progress.clone()),
        }
    }

    /// Says whether to go on: not where the export has been removed, nor where the process ends.
    fn looking(&self, export: ExportId) -> impl FnMut() -> ControlFlow<()> {
        let mut looked_at = Instant::now();
        move || {
            if self.stop.is_asked() {
                return ControlFlow::Break(());
            }
            if looked_at.elapsed() < LOOK_EVERY {
                return ControlFlow::Continue(());
            }
            looked_at = Instant::now();
            // A database that is busy for a moment is no reason to end an export.
            if self.handle.block_on(self.exports.is_wanted(export)).unwrap_or(true) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        }
    }
}

/// The folder, or the file in it, that an export makes: its name is what people see when they download it.
fn place(folder: &Path, run: RunId, kind: ExportKind) -> PathBuf {
    match kind {
        ExportKind::Adapter => folder.join("adapter"),
        ExportKind::Safetensors => folder.join("model"),
        ExportKind::Gguf(_) => folder.join(format!("run-{run}-{}.gguf", kind.as_str().trim_start_matches("gguf-"))),
    }
}

/// On the Hub the files of a folder stand at the top, where others look for them.
fn name_on_hub(name: &str) -> String {
    name.strip_prefix("adapter/").or_else(|| name.strip_prefix("model/")).unwrap_or(name).to_string()
}

/// Every file of an export with its size, by name.
fn files_below(folder: &Path) -> Result<Vec<ExportFile>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).map_err(|error| ServiceError::io(&next, error))? {
            let entry = entry.map_err(|error| ServiceError::io(&next, error))?;
            let about = entry.metadata().map_err(|error| ServiceError::io(&entry.path(), error))?;
            if about.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            let Ok(name) = path.strip_prefix(folder) else { continue };
            files.push(ExportFile { name: name.to_string_lossy().into_owned(), bytes: about.len() });
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

async fn card(exports: &Exports, run: RunId, finished: &FinishedRun) -> Result<ModelCard> {
    let detail = exports.inner.runs.get(run).await?;
    let picture = exports.inner.runs.picture(run).await?;
    let base = exports.inner.models.get(finished.base).await.map_err(|error| match error {
        ServiceError::User(error) => ServiceError::User(UserError::conflict(format!(
            "{} The run's base is needed for its export.",
            error.message
        ))),
        error => error,
    })?;
    Ok(ModelCard {
        name: detail.summary.name,
        base_model: if base.from_hub { base.source } else { finished.classifier.base_model.clone() },
        licence: None,
        dataset_name: Some(detail.summary.dataset_name),
        dataset_hash: None,
        train_rows: Some(detail.train_rows),
        validation_rows: Some(detail.validation_rows),
        test_rows: Some(detail.test_rows),
        recipe: Some(finished.spec.clone()),
        before: picture.before,
        after: picture.after,
    })
}
