//! Sweeps: starting many runs at once, looking at them together, and letting the better ones go on.
//!
//! The runs of a sweep are ordinary runs in the queue. What a sweep knows beside them stands in its tables, so that it
//! goes on after a restart where it was.

mod advance;
mod file;
mod look;

use crate::Clock;
use crate::datasets::{Datasets, to_the_end};
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::leader::Leader;
use crate::runs::{Dealt, NewTrial, Pins, Runs};
use crate::worker::{AFTER_TROUBLE, StopSignal};
use domain::error::UserError;
use domain::run::{NewRun, RunId};
use domain::spec::TrainSpec;
use domain::sweep::{
    Halving, NewSweep, Space, SweepDetail, SweepId, SweepKind, SweepStatus, SweepSummary, plan, seed_space,
};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// What an adapter that training goes on from brings with it.
const OF_THE_ADAPTER: [&str; 3] = ["r", "lora_alpha", "target_modules"];

const SWEEP: &str = "SELECT s.*, d.name AS dataset_name FROM sweeps s JOIN datasets d ON d.id = s.dataset_id WHERE s.id = \
                     $1 OR $1 = 0 ORDER BY s.id DESC";

/// Starting, stopping and looking at sweeps. Clones share everything.
#[derive(Clone)]
pub struct Sweeps {
    db: Database,
    runs: Runs,
    datasets: Datasets,
    clock: Clock,
    /// Starting and deciding are done one after the other.
    turn: Arc<Mutex<()>>,
}

/// Where a run pauses to be held against the others of its sweep.
pub(crate) struct Pause {
    pub halving: Halving,
    /// Counted from 0.
    pub rung: usize,
    pub sweep: SweepId,
}

impl Sweeps {
    pub(crate) fn new(db: Database, runs: Runs, datasets: Datasets, clock: Clock) -> Self {
        Self { db, runs, datasets, clock, turn: Arc::default() }
    }

    /// Plans a search and queues its runs, all on the same versions of their data.
    ///
    /// # Errors
    /// The space cannot be searched, the data has no validation rows to choose by, or one of the runs is refused: then
    /// nothing has been queued.
    pub async fn start(&self, new: NewSweep) -> Result<SweepId> {
        if new.run.start_from.is_some()
            && let Some(of_it) = new.space.dimensions.iter().find(|of| OF_THE_ADAPTER.contains(&of.knob.as_str()))
        {
            return Err(UserError::invalid(format!(
                "{} is that of the adapter that training starts from, whatever a run says. Start from a new adapter, or \
                 vary other settings.",
                of_it.knob
            ))
            .into());
        }
        self.start_kind(SweepKind::Search, new).await
    }

    /// Queues one recipe with its own seed and those that follow it.
    ///
    /// # Errors
    /// As for a search; validation rows are not needed.
    pub async fn start_seeds(&self, run: NewRun, count: u64) -> Result<SweepId> {
        let space = seed_space(run.spec.seed, count)?;
        self.start_kind(SweepKind::Seeds, NewSweep { run, space, seed: 0 }).await
    }

    async fn start_kind(&self, kind: SweepKind, new: NewSweep) -> Result<SweepId> {
        let sweeps = self.clone();
        // Half of a sweep is none: a browser that hangs up stops nothing.
        to_the_end(async move { sweeps.start_now(kind, new).await }).await
    }

    async fn start_now(&self, kind: SweepKind, new: NewSweep) -> Result<SweepId> {
        let specs = plan(&new.run.spec, &new.space, new.seed)?;
        self.runs.check(&NewRun { spec: specs[0].clone(), ..new.run.clone() }).await?;
        let pins = Pins::now(&self.datasets, &new.run).await?;
        let first = self.runs.deal(&NewRun { spec: specs[0].clone(), ..new.run.clone() }, &pins).await?;
        if kind == SweepKind::Search && first.validation.is_empty() {
            return Err(UserError::invalid(
                "A sweep chooses by the validation rows, never by the test rows, and this split has none. Give validation a \
                 share.",
            )
            .into());
        }
        self.check_others(&new, &specs, &pins).await?;
        let _turn = self.turn.lock().await;
        let id = self.db.next_number("sweep").await?;
        let name = sweep_name(&new.run.name, kind, id);
        let new = NewSweep { run: NewRun { name, dataset_version: Some(pins.dataset), ..new.run }, ..new };
        sqlx::query(
            "INSERT INTO sweeps (id, kind, name, status, dataset_id, request, rungs_done, created_at_ms) VALUES ($1, $2, \
             $3, $4, $5, $6, 0, $7)",
        )
        .bind(id)
        .bind(kind_word(kind))
        .bind(&new.run.name)
        .bind(SweepStatus::Working.as_str())
        .bind(new.run.dataset_id)
        .bind(to_json(&new)?)
        .bind((self.clock)())
        .execute(&self.db.pool)
        .await?;
        if let Err(error) = self.start_trials(id, &new, specs, pins, first).await {
            self.give_up(id).await?;
            return Err(error);
        }
        Ok(id)
    }

    /// Before the first of them stands in the queue, where it may begin at once. Rows that one of them has to itself are
    /// dealt here and again when it is queued, so that the rows of one alone are in memory.
    async fn check_others(&self, new: &NewSweep, specs: &[TrainSpec], pins: &Pins) -> Result<()> {
        let mut dealt = vec![decides_the_rows(&specs[0])];
        for spec in &specs[1..] {
            let run = NewRun { spec: spec.clone(), ..new.run.clone() };
            self.runs.check(&run).await?;
            let rows = decides_the_rows(spec);
            if !dealt.contains(&rows) {
                self.runs.deal(&run, pins).await?;
                dealt.push(rows);
            }
        }
        Ok(())
    }

    async fn start_trials(
        &self,
        sweep: SweepId,
        new: &NewSweep,
        specs: Vec<TrainSpec>,
        pins: Pins,
        first: Dealt,
    ) -> Result<()> {
        let mut dealt = (specs[0].clone(), first);
        for (place, spec) in specs.into_iter().enumerate() {
            let name = format!("{} #{}: {}", new.run.name, place + 1, values_in_words(&new.space, &spec));
            let run = NewRun { name, spec, ..new.run.clone() };
            if decides_the_rows(&dealt.0) != decides_the_rows(&run.spec) {
                dealt = (run.spec.clone(), self.runs.deal(&run, &pins).await?);
            }
            let pause_at = new.space.halving.as_ref().map(|_| 0);
            self.runs.start_dealt(run, pins, &dealt.1, Some(NewTrial { sweep, place, pause_at })).await?;
        }
        Ok(())
    }

    /// What was begun and cannot be brought to its end: its runs do not train.
    async fn give_up(&self, id: SweepId) -> Result<()> {
        self.set_status(id, SweepStatus::Working, SweepStatus::Cancelled).await?;
        for run in self.runs_of(id).await? {
            // One that cannot be cancelled any more does no harm.
            let _ = self.runs.cancel(run).await;
        }
        Ok(())
    }

    /// Stops a sweep: runs that wait or train are cancelled, each with a checkpoint.
    ///
    /// # Errors
    /// It does not work any more.
    pub async fn cancel(&self, id: SweepId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let summary = self.summary(id).await?;
        if summary.status != SweepStatus::Working {
            return Err(UserError::conflict(format!(
                "Sweep \"{}\" is {} already; there is nothing to stop.",
                summary.name,
                summary.status.as_str()
            ))
            .into());
        }
        self.give_up(id).await
    }

    /// Takes a stopped sweep up again where it was.
    ///
    /// # Errors
    /// It was not stopped.
    pub async fn resume(&self, id: SweepId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let summary = self.summary(id).await?;
        if !self.set_status(id, SweepStatus::Cancelled, SweepStatus::Working).await? {
            return Err(UserError::conflict(format!(
                "Sweep \"{}\" is {}; only a stopped one is taken up again.",
                summary.name,
                summary.status.as_str()
            ))
            .into());
        }
        self.take_up(id).await?;
        self.advance(id).await
    }

    /// All sweeps, the newest first.
    pub async fn list(&self) -> Result<Vec<SweepSummary>> {
        let rows = sqlx::query(SWEEP).bind(0_i64).fetch_all(&self.db.pool).await?;
        let trials = sqlx::query("SELECT sweep_id, run_id FROM sweep_trials ORDER BY sweep_id, place")
            .fetch_all(&self.db.pool)
            .await?;
        let mut summaries = Vec::with_capacity(rows.len());
        for row in rows {
            let mut summary = summary_from(&row)?;
            for trial in &trials {
                if trial.try_get::<SweepId, _>("sweep_id")? == summary.id {
                    summary.runs.push(trial.try_get("run_id")?);
                }
            }
            summaries.push(summary);
        }
        Ok(summaries)
    }

    /// The newest first: `count` of them after the first `skip`, and how many there are.
    pub async fn page(&self, skip: u64, count: u64) -> Result<(Vec<SweepSummary>, u64)> {
        let total = sqlx::query("SELECT COUNT(*) AS total FROM sweeps").fetch_one(&self.db.pool).await?;
        let rows = sqlx::query(
            "SELECT s.*, d.name AS dataset_name FROM sweeps s JOIN datasets d ON d.id = s.dataset_id ORDER BY s.id DESC \
             LIMIT $1 OFFSET $2",
        )
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .bind(i64::try_from(skip).unwrap_or(i64::MAX))
        .fetch_all(&self.db.pool)
        .await?;
        let mut summaries = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut summary = summary_from(row)?;
            summary.runs = self.runs_of(summary.id).await?;
            summaries.push(summary);
        }
        Ok((summaries, total.try_get::<i64, _>("total")? as u64))
    }

    /// A sweep with its trials as they stand now.
    pub async fn get(&self, id: SweepId) -> Result<SweepDetail> {
        self.look(id).await
    }

    /// The sweep that a run belongs to.
    pub async fn of_run(&self, run: RunId) -> Result<Option<SweepSummary>> {
        let row = sqlx::query("SELECT sweep_id FROM sweep_trials WHERE run_id = $1")
            .bind(run)
            .fetch_optional(&self.db.pool)
            .await?;
        match row {
            Some(row) => Ok(Some(self.summary(row.try_get("sweep_id")?).await?)),
            None => Ok(None),
        }
    }

    /// Where a run of a sweep pauses, if it does.
    pub(crate) async fn pause_of(&self, run: RunId) -> Result<Option<Pause>> {
        let row = sqlx::query(
            "SELECT t.pause_at, t.sweep_id, s.request FROM sweep_trials t JOIN sweeps s ON s.id = t.sweep_id WHERE \
             t.run_id = $1 AND t.pause_at IS NOT NULL",
        )
        .bind(run)
        .fetch_optional(&self.db.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let request: NewSweep = json_column(&row, "request")?;
        let (rung, sweep) = (row.try_get::<i64, _>("pause_at")? as usize, row.try_get("sweep_id")?);
        Ok(request.space.halving.map(|halving| Pause { halving, rung, sweep }))
    }

    /// Brings all sweeps on that work: at the start, and whenever a run has come to its end. Ends with the signal.
    pub(crate) fn start_coordinator(&self, leader: Leader, stop: StopSignal) -> JoinHandle<()> {
        let sweeps = self.clone();
        tokio::spawn(async move {
            while !stop.is_asked() {
                leader.turn().await;
                if let Err(error) = sweeps.advance_all().await {
                    if stop.is_asked() {
                        return;
                    }
                    tracing::error!(%error, "a sweep could not be brought on; trying again");
                    tokio::time::sleep(AFTER_TROUBLE).await;
                    continue;
                }
                leader.rest(&sweeps.runs.settled).await;
            }
        })
    }

    async fn advance_all(&self) -> Result<()> {
        let rows = sqlx::query("SELECT id FROM sweeps WHERE status = $1 ORDER BY id")
            .bind(SweepStatus::Working.as_str())
            .fetch_all(&self.db.pool)
            .await?;
        for row in rows {
            let _turn = self.turn.lock().await;
            self.advance(row.try_get("id")?).await?;
        }
        Ok(())
    }

    /// Whether it was in the first status.
    async fn set_status(&self, id: SweepId, from: SweepStatus, to: SweepStatus) -> Result<bool> {
        let changed = sqlx::query("UPDATE sweeps SET status = $3 WHERE id = $1 AND status = $2")
            .bind(id)
            .bind(from.as_str())
            .bind(to.as_str())
            .execute(&self.db.pool)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn runs_of(&self, id: SweepId) -> Result<Vec<RunId>> {
        let rows = sqlx::query("SELECT run_id FROM sweep_trials WHERE sweep_id = $1 ORDER BY place")
            .bind(id)
            .fetch_all(&self.db.pool)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("run_id")?)).collect()
    }

    async fn row(&self, id: SweepId) -> Result<AnyRow> {
        // Asked for, 0 would be any.
        let row = if id > 0 { sqlx::query(SWEEP).bind(id).fetch_optional(&self.db.pool).await? } else { None };
        row.ok_or_else(|| UserError::not_found(format!("There is no sweep number {id}.")).into())
    }

    async fn summary(&self, id: SweepId) -> Result<SweepSummary> {
        let mut summary = summary_from(&self.row(id).await?)?;
        summary.runs = self.runs_of(id).await?;
        Ok(summary)
    }
}

/// The settings which decide what rows there are and whether they fit.
fn decides_the_rows(spec: &TrainSpec) -> impl PartialEq + use<> {
    (spec.max_rows_per_label, spec.class_weights.to_string())
}

fn kind_word(kind: SweepKind) -> &'static str {
    match kind {
        SweepKind::Search => "search",
        SweepKind::Seeds => "seeds",
    }
}

fn summary_from(row: &AnyRow) -> Result<SweepSummary> {
    let decode = |words: String| ServiceError::from(sqlx::Error::Decode(words.into()));
    let (kind, status): (String, String) = (row.try_get("kind")?, row.try_get("status")?);
    let kind = [SweepKind::Search, SweepKind::Seeds].into_iter().find(|known| kind_word(*known) == kind);
    Ok(SweepSummary {
        id: row.try_get("id")?,
        kind: kind.ok_or_else(|| decode("no kind of a sweep".to_string()))?,
        name: row.try_get("name")?,
        status: SweepStatus::parse(&status).ok_or_else(|| decode(format!("\"{status}\" is no status of a sweep")))?,
        dataset_id: row.try_get("dataset_id")?,
        dataset_name: row.try_get("dataset_name")?,
        runs: Vec::new(),
        created_at_ms: row.try_get("created_at_ms")?,
    })
}

/// Room is left for what the names of its runs add.
fn sweep_name(given: &str, kind: SweepKind, id: SweepId) -> String {
    let name: String = given.trim().chars().filter(|letter| !letter.is_control()).take(100).collect();
    match (name.is_empty(), kind) {
        (false, _) => name,
        (true, SweepKind::Search) => format!("Sweep {id}"),
        (true, SweepKind::Seeds) => format!("Seeds {id}"),
    }
}

/// Such as `r 8, learning_rate 1e-3`; a prompt is too long to name a run by.
fn values_in_words(space: &Space, spec: &TrainSpec) -> String {
    let value = |knob: &str| match knob {
        "prompt_template" => "its own".to_string(),
        knob => spec.get(knob).unwrap_or_default(),
    };
    let words = space.dimensions.iter().map(|dimension| format!("{} {}", dimension.knob, value(&dimension.knob)));
    words.collect::<Vec<_>>().join(", ")
}
