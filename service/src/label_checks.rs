//! Label checks: a cross-validation over a dataset, what it makes of the labels, and people's decisions on them.
//!
//! The runs of a check are ordinary runs in the queue. Nobody waits for them: whoever asks for a check once they are
//! finished finds it judged. A run that failed or was stopped can be resumed, and the check goes on.

mod judging;
mod review;

pub use review::{HELD_FOR_MS, MAX_DOUBTFUL_AT_ONCE};

use crate::Clock;
use crate::datasets::Datasets;
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::runs::Runs;
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::review::{LabelCheck, LabelCheckId, LabelCheckStatus};
use domain::run::{NewRun, RunDetail, RunId, RunStatus};
use domain::split::{FOLDS, Split};
use domain::version::{NOBODY, VersionNumber};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Of the training rows of a fold, as much chooses the best adapter along the way, in percent.
const VALIDATION_SHARE: f64 = 10.0;
/// Longest name of a person, in characters.
const MAX_BY_CHARS: usize = 100;

const CHECK: &str = "SELECT c.*, (SELECT COUNT(*) FROM label_doubts d WHERE d.check_id = c.id) AS doubtful, \
                     (SELECT COUNT(*) FROM label_doubts d WHERE d.check_id = c.id AND d.decision IS NOT NULL) AS decided \
                     FROM label_checks c WHERE (c.id = $1 OR $1 = 0) AND (c.dataset_id = $2 OR $2 = 0) ORDER BY c.id DESC";

/// Starting checks, looking at them, and deciding on their doubts. Clones share everything.
#[derive(Clone)]
pub struct LabelChecks {
    db: Database,
    datasets: Datasets,
    runs: Runs,
    clock: Clock,
    /// Starting, judging and applying are done one after the other.
    turn: Arc<Mutex<()>>,
}

/// A check as the table has it, before its runs are looked at.
struct StoredCheck {
    check: LabelCheck,
    /// Its runs have been judged.
    is_judged: bool,
}

impl LabelChecks {
    pub(crate) fn new(db: Database, datasets: Datasets, runs: Runs, clock: Clock) -> Self {
        Self { db, datasets, runs, clock, turn: Arc::default() }
    }

    /// Queues one run per fold, with the recipe, base and version of a run. Their adapters begin fresh: one that was
    /// trained before may have seen the rows that it is to judge.
    ///
    /// # Errors
    /// No such run, a number of folds that does not exist, a check of the dataset that is still at work, or rows that cannot
    /// be dealt to so many folds.
    pub async fn start(&self, run: RunId, folds: u64, by: &str) -> Result<LabelCheck> {
        if !FOLDS.contains(&folds) {
            return Err(UserError::invalid(format!(
                "A label check has {} to {} folds; {folds} were asked for.",
                FOLDS.start(),
                FOLDS.end()
            ))
            .into());
        }
        let detail = self.runs.get(run).await?;
        let dataset = detail.summary.dataset_id;
        let _turn = self.turn.lock().await;
        for row in self.rows(0, dataset).await? {
            let other = self.looked_at(check_from(&row)?).await?;
            if other.status == LabelCheckStatus::Working {
                return Err(UserError::conflict(format!(
                    "Label check {} of this dataset is still at work: {} of {} runs are done. Wait for it, or cancel its \
                     runs.",
                    other.id,
                    other.runs_done,
                    other.runs.len()
                ))
                .into());
            }
        }
        let id = self.db.next_number("label_check").await?;
        let runs = self.start_folds(id, &detail, folds).await?;
        sqlx::query(
            "INSERT INTO label_checks (id, dataset_id, version, status, runs, judged, agreeing, skipped, made_by, \
             created_at_ms) VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6, $7)",
        )
        .bind(id)
        .bind(dataset)
        .bind(detail.summary.dataset_version)
        .bind(WORKING)
        .bind(to_json(&runs)?)
        .bind(person(by))
        .bind((self.clock)())
        .execute(&self.db.pool)
        .await?;
        self.looked_at(self.stored(id).await?).await
    }

    /// All of them, or none: those that were queued before one was refused are cancelled.
    async fn start_folds(&self, check: LabelCheckId, of: &RunDetail, folds: u64) -> Result<Vec<RunId>> {
        let mut runs = Vec::new();
        for fold in 0..folds {
            let new = NewRun {
                name: format!("Label check {check} of {}: fold {} of {folds}", of.summary.name, fold + 1),
                dataset_id: of.summary.dataset_id,
                dataset_version: Some(of.summary.dataset_version),
                split: Split::Fold { fold, folds, validation: VALIDATION_SHARE, seed: of.spec.seed },
                spec: of.spec.clone(),
                base_model: of.base_model,
                start_from: None,
                time_limit_minutes: None,
            };
            match self.runs.start(new).await {
                Ok(run) => runs.push(run),
                Err(error) => {
                    for run in runs {
                        // One that cannot be cancelled any more does no harm.
                        let _ = self.runs.cancel(run).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(runs)
    }

    /// All checks of a dataset, the newest first.
    pub async fn list(&self, dataset: DatasetId) -> Result<Vec<LabelCheck>> {
        self.datasets.get(dataset).await?;
        let mut checks = Vec::new();
        for row in self.rows(0, dataset).await? {
            checks.push(self.now(check_from(&row)?).await?);
        }
        Ok(checks)
    }

    /// A check as it stands now. Judges it if its runs have finished since somebody last asked.
    pub async fn get(&self, id: LabelCheckId) -> Result<LabelCheck> {
        self.now(self.stored(id).await?).await
    }

    async fn now(&self, stored: StoredCheck) -> Result<LabelCheck> {
        let (id, is_judged) = (stored.check.id, stored.is_judged);
        let check = self.looked_at(stored).await?;
        if is_judged || check.runs_done < check.runs.len() as u64 || check.status == LabelCheckStatus::Failed {
            return Ok(check);
        }
        let _turn = self.turn.lock().await;
        // Somebody else may have judged it while this one waited.
        let stored = self.stored(id).await?;
        if !stored.is_judged {
            match self.judge(&stored.check).await {
                Ok(()) => {}
                Err(error) => {
                    let failure = Some(error.reason());
                    return Ok(LabelCheck { status: LabelCheckStatus::Failed, failure, ..check });
                }
            }
        }
        self.looked_at(self.stored(id).await?).await
    }

    /// With what its runs have come to.
    async fn looked_at(&self, stored: StoredCheck) -> Result<LabelCheck> {
        let StoredCheck { mut check, is_judged } = stored;
        if is_judged {
            check.runs_done = check.runs.len() as u64;
            return Ok(check);
        }
        for run in &check.runs {
            let run = self.runs.get(*run).await?.summary;
            match run.status {
                RunStatus::Finished => check.runs_done += 1,
                RunStatus::Failed | RunStatus::Cancelled => {
                    let why = run.failure.map_or_else(String::new, |failure| format!(": {failure}"));
                    check.status = LabelCheckStatus::Failed;
                    check.failure = Some(format!(
                        "Run \"{}\" is {}{why}. Resume it, and the check goes on; or start a new check.",
                        run.name,
                        run.status.as_str()
                    ));
                }
                _ => {}
            }
        }
        Ok(check)
    }

    async fn stored(&self, id: LabelCheckId) -> Result<StoredCheck> {
        // Asked for, 0 would be any.
        match self.rows(id, 0).await?.first() {
            Some(row) if id > 0 => check_from(row),
            _ => Err(UserError::not_found(format!("There is no label check number {id}.")).into()),
        }
    }

    async fn rows(&self, id: LabelCheckId, dataset: DatasetId) -> Result<Vec<AnyRow>> {
        Ok(sqlx::query(CHECK).bind(id).bind(dataset).fetch_all(&self.db.pool).await?)
    }
}

const WORKING: &str = "working";
const READY: &str = "ready";
const APPLIED: &str = "applied";

/// A person's name as it is stored.
fn person(given: &str) -> String {
    let name: String = given.trim().chars().filter(|letter| !letter.is_control()).take(MAX_BY_CHARS).collect();
    if name.is_empty() { NOBODY.to_string() } else { name }
}

fn check_from(row: &AnyRow) -> Result<StoredCheck> {
    let count = |column| -> Result<u64> { Ok(row.try_get::<i64, _>(column)? as u64) };
    let status: String = row.try_get("status")?;
    let (status, is_judged) = match status.as_str() {
        WORKING => (LabelCheckStatus::Working, false),
        READY => (LabelCheckStatus::Ready, true),
        APPLIED => (LabelCheckStatus::Applied, true),
        other => {
            let words = format!("\"{other}\" is no status of a label check");
            return Err(ServiceError::from(sqlx::Error::Decode(words.into())));
        }
    };
    let judged = count("judged")?;
    let agreement = if judged == 0 { None } else { Some(count("agreeing")? as f64 / judged as f64) };
    let check = LabelCheck {
        id: row.try_get("id")?,
        dataset: row.try_get("dataset_id")?,
        version: row.try_get::<VersionNumber, _>("version")?,
        status,
        runs: json_column(row, "runs")?,
        runs_done: 0,
        judged,
        doubtful: count("doubtful")?,
        decided: count("decided")?,
        agreement,
        failure: None,
        applied_as: row.try_get("applied_version")?,
        skipped: count("skipped")?,
        by: row.try_get("made_by")?,
        created_at_ms: row.try_get("created_at_ms")?,
    };
    Ok(StoredCheck { check, is_judged })
}
