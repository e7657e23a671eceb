//! Runs: starting, stopping and showing them.

mod crash;
mod deal;
mod estimate;
mod lease;
mod lists;
mod made_up;
mod picture;
mod queue;
mod record;
mod status;
#[cfg(test)]
mod tests;

use crate::Clock;
use crate::datasets::{Datasets, blocking};
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::feed::Feed;
use crate::files::Files;
use crate::models::Models;
use crate::notices::ProcessId;
use domain::catalogue::{AdapterSource, ModelId};
use domain::error::UserError;
use domain::run::{
    LogLevel, NewRun, RunAction, RunDetail, RunEvent, RunId, RunStatus, RunSummary, StoredEvent, TestRow,
};
use domain::spec::TrainSpec;
use domain::sweep::SweepId;
use engine::classify::ClassifierFile;
use engine::train::{TrainRequest, adapter_directory};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;

use deal::deal;
pub(crate) use deal::{Dealt, Pins, TestNote};
pub use made_up::made_up_step;
pub(crate) use queue::LOOK_AGAIN;
use queue::put_in_place;
pub(crate) use status::{Change, Claimed};

/// Longest name of a run, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Two equal runs that are started so near each other are one that was asked for twice.
const TWINS_WITHIN_MS: i64 = 10_000;

/// Clones share everything.
#[derive(Clone)]
pub struct Runs {
    db: Database,
    files: Files,
    feed: Feed,
    datasets: Datasets,
    models: Models,
    pub(crate) clock: Clock,
    /// This process, as the holder of leases.
    process: ProcessId,
    /// Wakes the worker when a run has been queued.
    pub(crate) queued: Arc<Notify>,
    /// Wakes whoever waits for runs to come to their end.
    pub(crate) settled: Arc<Notify>,
}

/// What [`Runs`] is made of.
pub(crate) struct RunsParts {
    pub db: Database,
    pub files: Files,
    pub feed: Feed,
    pub datasets: Datasets,
    pub models: Models,
    pub clock: Clock,
    pub process: ProcessId,
}

/// A claimed run with all that it needs.
pub(crate) struct Prepared {
    pub request: TrainRequest,
    /// One per test row.
    pub notes: Vec<TestNote>,
    pub pins: Pins,
}

/// A run's place in a sweep, stored with it, so that the worker never sees the one without the other.
pub(crate) struct NewTrial {
    pub sweep: SweepId,
    pub place: usize,
    /// The rung, counted from 0, at which it pauses first.
    pub pause_at: Option<i64>,
}

/// A run that can be stored.
struct NewlyDealt<'a> {
    new: NewRun,
    pins: Pins,
    dealt: &'a Dealt,
    trial: Option<NewTrial>,
    /// Not beside a twin that has just been started.
    once: bool,
    /// Who started it; empty: nobody in particular.
    by: &'a str,
}

/// A finished run, as far as a classifier needs it.
pub(crate) struct FinishedRun {
    pub base: ModelId,
    pub spec: TrainSpec,
    pub classifier: ClassifierFile,
    pub directory: PathBuf,
}

/// What lists show of runs; the rest of the statement says of which ones and in what order.
fn summaries(rest: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT r.*, d.name AS dataset_name, (SELECT COUNT(*) FROM runs q WHERE q.status IN ('running', 'cancelling') OR \
         (q.status = 'queued' AND q.queue_order < r.queue_order)) AS ahead FROM runs r JOIN datasets d ON d.id = \
         r.dataset_id {rest}"
    ))
}

impl Runs {
    pub(crate) fn new(parts: RunsParts) -> Self {
        let RunsParts { db, files, feed, datasets, models, clock, process } = parts;
        Self { db, files, feed, datasets, models, clock, process, queued: Arc::default(), settled: Arc::default() }
    }

    /// Checks what is asked for and puts it at the end of the queue.
    ///
    /// # Errors
    /// A setting out of range, no such dataset, or a split that does not fit its rows.
    pub async fn start(&self, new: NewRun) -> Result<RunId> {
        self.check(&new).await?;
        let pins = Pins::now(&self.datasets, &new).await?;
        let dealt = self.deal(&new, &pins).await?;
        self.start_dealt(new, pins, &dealt, None).await
    }

    /// As [`Runs::start`]; but where a run of the same name and settings, which would come to the same numbers, was
    /// started within the last seconds and still waits or trains, that one is meant. So two clicks start one run. `by`: who
    /// starts it, empty for nobody in particular.
    pub async fn start_once(&self, new: NewRun, by: &str) -> Result<RunId> {
        self.check(&new).await?;
        let pins = Pins::now(&self.datasets, &new).await?;
        let dealt = self.deal(&new, &pins).await?;
        self.store(NewlyDealt { new, pins, dealt: &dealt, trial: None, once: true, by }).await
    }

    /// Whether its recipe, its base and the adapter that it goes on from can be trained with; its rows apart.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) async fn check(&self, new: &NewRun) -> Result<()> {
        new.spec.check()?;
        self.models.base(new.base_model).await?;
        self.start_from(new).await?;
        Ok(())
    }

    /// The rows of a run, as these pins deal them.
    pub(crate) async fn deal(&self, new: &NewRun, pins: &Pins) -> Result<Dealt> {
        deal(&self.datasets, new, pins).await
    }

    /// As [`Runs::start`], on what has been pinned and dealt before, and as a trial of a sweep where it is one.
    pub(crate) async fn start_dealt(
        &self,
        new: NewRun,
        pins: Pins,
        dealt: &Dealt,
        trial: Option<NewTrial>,
    ) -> Result<RunId> {
        self.check(&new).await?;
        self.store(NewlyDealt { new, pins, dealt, trial, once: false, by: "" }).await
    }

    async fn store(&self, newly: NewlyDealt<'_>) -> Result<RunId> {
        let NewlyDealt { new, pins, dealt, trial, once, by } = newly;
        let base = self.models.info(new.base_model).await?;
        let cleanliness = dealt.cleanliness();
        let id = self.db.next_number("run").await?;
        let queue_order = self.db.next_number("queue").await?;
        let new = NewRun { name: run_name(&new.name, id), dataset_version: Some(pins.dataset), ..new };
        let now = (self.clock)();

        let request = to_json(&new)?;
        let mut transaction = self.db.begin_write().await?;
        if once && let Some(twin) = twin(&mut transaction, &request, now).await? {
            return Ok(twin);
        }
        sqlx::query(
            "INSERT INTO runs (id, name, status, queue_order, dataset_id, base_model, request, labels, train_rows, \
             validation_rows, test_rows, progress, created_at_ms, base_model_id, dataset_version, pins, cleanliness, \
             started_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0.0, $12, $13, $14, $15, $16, $17)",
        )
        .bind(id)
        .bind(&new.name)
        .bind(RunStatus::Queued.as_str())
        .bind(queue_order)
        .bind(new.dataset_id)
        .bind(base.name)
        .bind(request)
        .bind(to_json(&dealt.labels)?)
        .bind(dealt.train.len() as i64)
        .bind(dealt.validation.len() as i64)
        .bind(dealt.test.len() as i64)
        .bind(now)
        .bind(new.base_model)
        .bind(pins.dataset)
        .bind(to_json(&pins)?)
        .bind(to_json(&cleanliness)?)
        .bind(by)
        .execute(&mut *transaction)
        .await?;
        put_in_place(&mut transaction, id).await?;
        if let Some(NewTrial { sweep, place, pause_at }) = trial {
            sqlx::query(
                "INSERT INTO sweep_trials (sweep_id, place, run_id, pause_at, goes_on) VALUES ($1, $2, $3, $4, 0)",
            )
            .bind(sweep)
            .bind(place as i64)
            .bind(id)
            .bind(pause_at)
            .execute(&mut *transaction)
            .await?;
        }
        let mut events = vec![RunEvent::Status { status: RunStatus::Queued, message: None }];
        if !cleanliness.is_clean() {
            events.push(log(
                LogLevel::Warning,
                format!(
                    "The test rows are not clean: {}. Scores on them look other than they are; beside them the run shows \
                     the scores on the {} clean rows alone.",
                    cleanliness.words(),
                    cleanliness.clean_rows
                ),
            ));
        }
        let stored = self.insert_all(&mut transaction, id, now, events).await?;
        transaction.commit().await?;
        self.feed.announce(id, &stored);
        self.queued.notify_one();
        Ok(id)
    }

    /// All runs, the newest first.
    pub async fn list(&self) -> Result<Vec<RunSummary>> {
        let rows = sqlx::query(summaries("ORDER BY r.id DESC")).fetch_all(&self.db.pool).await?;
        rows.iter().map(summary_from).collect()
    }

    pub async fn get(&self, id: RunId) -> Result<RunDetail> {
        let row = self.row(id).await?;
        let summary = summary_from(&row)?;
        let request: NewRun = json_column(&row, "request")?;
        let directory = self.files.run(id);
        let can_resume = summary.status.after(RunAction::Resume).is_some();
        let resumable = can_resume && blocking(move || Ok(engine::train::has_checkpoint(&directory))).await?;
        Ok(RunDetail {
            summary,
            spec: request.spec,
            split: request.split,
            train_rows: count(&row, "train_rows")?,
            validation_rows: count(&row, "validation_rows")?,
            test_rows: count(&row, "test_rows")?,
            resumable,
            base_model: request.base_model,
            start_from: request.start_from,
        })
    }

    /// Asks for a stop. A queued run is cancelled at once; a running one writes a checkpoint first.
    pub async fn cancel(&self, id: RunId) -> Result<()> {
        self.transition(id, RunAction::RequestCancel, None, None).await?;
        Ok(())
    }

    /// Puts a cancelled or failed run back at the end of the queue. It goes on from its checkpoint, if it has one.
    pub async fn resume(&self, id: RunId) -> Result<()> {
        let detail = self.get(id).await?;
        self.models.base(detail.base_model).await?;
        let queue_order = self.db.next_number("queue").await?;
        let what = if detail.resumable {
            "Resumed: training goes on from the last checkpoint."
        } else {
            "Resumed: there is no checkpoint yet, so the run begins anew."
        };
        // Ahead of the change of status: the worker may take it up the moment it is queued.
        sqlx::query("UPDATE runs SET queue_order = $2 WHERE id = $1 AND status IN ($3, $4)")
            .bind(id)
            .bind(queue_order)
            .bind(RunStatus::Cancelled.as_str())
            .bind(RunStatus::Failed.as_str())
            .execute(&self.db.pool)
            .await?;
        self.transition(id, RunAction::Resume, Some(log(LogLevel::Info, what)), None).await?;
        self.queued.notify_one();
        Ok(())
    }

    /// The test rows with the answers before and after. Empty while the run has not come to its end.
    pub async fn predictions(&self, id: RunId) -> Result<Vec<TestRow>> {
        self.row(id).await?;
        let path = self.files.predictions(id);
        blocking(move || {
            let file = match std::fs::File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(ServiceError::io(&path, error)),
            };
            std::io::BufReader::new(file)
                .lines()
                .map(|line| {
                    let line = line.map_err(|error| ServiceError::io(&path, error))?;
                    serde_json::from_str(&line).map_err(|error| ServiceError::stored("predictions", error))
                })
                .collect()
        })
        .await
    }

    /// # Errors
    /// The run has not finished, so there is nothing to classify with.
    pub(crate) async fn finished(&self, id: RunId) -> Result<FinishedRun> {
        let row = self.row(id).await?;
        let name: String = row.try_get("name")?;
        let status = status_from(&row)?;
        if status != RunStatus::Finished {
            return Err(UserError::conflict(format!(
                "Run \"{name}\" is {}; only a finished run can classify.",
                status.as_str()
            ))
            .into());
        }
        let request: NewRun = json_column(&row, "request")?;
        let directory = self.files.run(id);
        let adapter = adapter_directory(&directory);
        let classifier = blocking(move || Ok(ClassifierFile::read(&adapter)?)).await?;
        Ok(FinishedRun { base: request.base_model, spec: request.spec, classifier, directory })
    }

    /// What the engine needs to carry out a claimed run, and the worker to tell of its test rows.
    pub(crate) async fn prepare(&self, id: RunId, new: &NewRun) -> Result<Prepared> {
        let start_from = self.start_from(new).await?;
        let row = self.row(id).await?;
        let pins = optional_json(&row, "pins")?.unwrap_or_else(Pins::of_old_run);
        let mut dealt = deal(&self.datasets, new, &pins).await?;
        let notes = std::mem::take(&mut dealt.notes);
        Ok(Prepared { request: dealt.into_request(new, start_from, self.files.run(id)), notes, pins })
    }

    /// The folder of the adapter that a run goes on from.
    ///
    /// # Errors
    /// It is not there, or belongs on another base.
    async fn start_from(&self, new: &NewRun) -> Result<Option<PathBuf>> {
        let Some(source) = new.start_from else { return Ok(None) };
        let (base, directory) = self.adapter_folder(source).await?;
        if base != new.base_model {
            return Err(UserError::invalid(
                "The adapter to start from belongs on another base model. Choose that base, or another adapter.",
            )
            .into());
        }
        Ok(Some(directory))
    }

    /// Where an adapter lies, and the base that it belongs on.
    pub(crate) async fn adapter_folder(&self, source: AdapterSource) -> Result<(ModelId, PathBuf)> {
        match source {
            AdapterSource::Run(run) => {
                let finished = self.finished(run).await?;
                Ok((finished.base, adapter_directory(&finished.directory)))
            }
            AdapterSource::Model(model) => {
                let adapter = self.models.adapter(model).await?;
                Ok((adapter.base, adapter.directory))
            }
        }
    }

    /// So that whoever waits for queued or settled runs looks.
    pub(crate) fn wake(&self) {
        self.queued.notify_one();
        self.settled.notify_one();
    }

    /// A line in a run's history that others write.
    pub(crate) async fn tell(&self, id: RunId, event: RunEvent) -> Result<()> {
        self.feed.record(id, event).await.map(|_| ())
    }

    pub(crate) fn predictions_file(&self, id: RunId) -> PathBuf {
        self.files.predictions(id)
    }

    async fn row(&self, id: RunId) -> Result<AnyRow> {
        if id <= 0 {
            return Err(no_such_run(id));
        }
        let row = sqlx::query(summaries("WHERE r.id = $1")).bind(id).fetch_optional(&self.db.pool).await?;
        row.ok_or_else(|| no_such_run(id))
    }

    async fn insert_all(
        &self,
        transaction: &mut Transaction<'static, Any>,
        id: RunId,
        at_ms: i64,
        events: Vec<RunEvent>,
    ) -> Result<Vec<StoredEvent>> {
        let mut stored = Vec::with_capacity(events.len());
        for event in events {
            stored.push(self.feed.insert(transaction, id, at_ms, event).await?);
        }
        Ok(stored)
    }
}

/// The run that was started from the same words within the last seconds. The transaction holds the write lock, so that
/// no twin comes about in between.
async fn twin(transaction: &mut Transaction<'static, Any>, request: &str, now: i64) -> Result<Option<RunId>> {
    let row = sqlx::query(
        "SELECT id FROM runs WHERE id > (SELECT MAX(id) FROM runs) - 20 AND created_at_ms > $1 AND request = $2 AND \
         status IN ($3, $4) ORDER BY id LIMIT 1",
    )
    .bind(now - TWINS_WITHIN_MS)
    .bind(request)
    .bind(RunStatus::Queued.as_str())
    .bind(RunStatus::Running.as_str())
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(row.map(|row| row.try_get("id")).transpose()?)
}

pub(crate) fn log(level: LogLevel, message: impl Into<String>) -> RunEvent {
    RunEvent::Log { level, message: message.into() }
}

fn no_such_run(id: RunId) -> ServiceError {
    UserError::not_found(format!("There is no run number {id}.")).into()
}

fn run_name(given: &str, id: RunId) -> String {
    let name: String = given.trim().chars().filter(|letter| !letter.is_control()).take(MAX_NAME_CHARS).collect();
    if name.is_empty() { format!("Run {id}") } else { name }
}

/// Reads a column that may hold JSON.
fn optional_json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<Option<T>> {
    match row.try_get::<Option<String>, _>(column)? {
        Some(_) => json_column(row, column).map(Some),
        None => Ok(None),
    }
}

fn count(row: &AnyRow, column: &'static str) -> Result<u64> {
    Ok(row.try_get::<i64, _>(column)? as u64)
}

fn status_from(row: &AnyRow) -> Result<RunStatus> {
    let word: String = row.try_get("status")?;
    RunStatus::parse(&word)
        .ok_or_else(|| sqlx::Error::Decode(format!("\"{word}\" is no status of a run").into()).into())
}

fn summary_from(row: &AnyRow) -> Result<RunSummary> {
    let status = status_from(row)?;
    Ok(RunSummary {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        status,
        dataset_id: row.try_get("dataset_id")?,
        dataset_name: row.try_get("dataset_name")?,
        dataset_version: row.try_get("dataset_version")?,
        base_model: row.try_get("base_model")?,
        labels: json_column(row, "labels")?,
        accuracy_before: row.try_get("accuracy_before")?,
        accuracy_after: row.try_get("accuracy_after")?,
        macro_f1_after: row.try_get("macro_f1_after")?,
        cleanliness: optional_json(row, "cleanliness")?,
        failure: row.try_get("failure")?,
        created_at_ms: row.try_get("created_at_ms")?,
        started_at_ms: row.try_get("started_at_ms")?,
        ended_at_ms: row.try_get("ended_at_ms")?,
        ahead_in_queue: if status == RunStatus::Queued { count(row, "ahead")? } else { 0 },
        progress: row.try_get("progress")?,
    })
}
