//! A sweep as it stands: its trials, the best of them, how far it is and how long it will take.

use super::{Sweeps, summary_from};
use crate::db::json_column;
use crate::error::{Result, ServiceError};
use domain::run::{NewRun, RunStatus};
use domain::spec::TrainSpec;
use domain::sweep::{NewSweep, Standing, SweepDetail, SweepId, SweepStatus, Trial, survivors};
use sqlx::Row as _;
use sqlx::any::AnyRow;

const TRIALS: &str = "SELECT t.*, r.name, r.status, r.request, r.progress, r.looked_step, r.looked_epoch, \
                      r.validation_macro_f1, r.validation_loss, r.accuracy_after, r.macro_f1_after, r.failure, r.train_rows, \
                      r.started_at_ms, r.ended_at_ms FROM sweep_trials t JOIN runs r ON r.id = t.run_id WHERE t.sweep_id = \
                      $1 ORDER BY t.place";

/// A trial with what only decisions need.
pub(super) struct StoredTrial {
    pub trial: Trial,
    pub spec: TrainSpec,
    /// Of the best look at the validation rows.
    pub loss: f64,
    /// Of the last look: step and epoch.
    pub looked: Option<(u64, f64)>,
    pub goes_on: bool,
    pub failure: Option<String>,
    pub train_rows: u64,
    started_at_ms: Option<i64>,
    ended_at_ms: Option<i64>,
}

impl StoredTrial {
    pub fn is_alive(&self) -> bool {
        self.trial.dropped_at.is_none()
    }

    pub fn standing(&self) -> Standing {
        Standing { place: self.trial.place, macro_f1: self.trial.validation_macro_f1, loss: self.loss }
    }
}

impl Sweeps {
    pub(super) async fn look(&self, id: SweepId) -> Result<SweepDetail> {
        let row = self.row(id).await?;
        let request: NewSweep = json_column(&row, "request")?;
        let trials = self.trials(id, &request).await?;
        let mut summary = summary_from(&row)?;
        summary.runs = trials.iter().map(|trial| trial.trial.run).collect();
        let rungs_done = row.try_get::<i64, _>("rungs_done")? as usize;
        let (done, left) = work(&request, &trials, rungs_done);
        let is_working = summary.status == SweepStatus::Working;
        let progress = match summary.status {
            SweepStatus::Finished => 1.0,
            _ if done + left > 0.0 => done / (done + left),
            _ => 0.0,
        };
        let seconds = seconds_so_far(&trials, (self.clock)());
        let seconds_left = (is_working && done > 0.0).then(|| seconds / done * left);
        let standings: Vec<Standing> =
            trials.iter().filter(|trial| trial.is_alive()).map(StoredTrial::standing).collect();
        Ok(SweepDetail {
            best: survivors(&standings, 1).first().copied(),
            summary,
            space: request.space,
            seed: request.seed,
            rungs_done: rungs_done as u64,
            progress,
            seconds_left,
            trials: trials.into_iter().map(|trial| trial.trial).collect(),
        })
    }

    pub(super) async fn trials(&self, id: SweepId, request: &NewSweep) -> Result<Vec<StoredTrial>> {
        let rows = sqlx::query(TRIALS).bind(id).fetch_all(&self.db.pool).await?;
        rows.iter().map(|row| trial_from(row, request)).collect()
    }
}

fn trial_from(row: &AnyRow, sweep: &NewSweep) -> Result<StoredTrial> {
    let status: String = row.try_get("status")?;
    let status = RunStatus::parse(&status)
        .ok_or_else(|| ServiceError::from(sqlx::Error::Decode(format!("\"{status}\" is no status").into())))?;
    let request: NewRun = json_column(row, "request")?;
    let looked_step: Option<i64> = row.try_get("looked_step")?;
    let looked_epoch: Option<f64> = row.try_get("looked_epoch")?;
    let dropped_at: Option<i64> = row.try_get("dropped_at")?;
    let value = |knob: &str| request.spec.get(knob).unwrap_or_default();
    Ok(StoredTrial {
        trial: Trial {
            place: row.try_get::<i64, _>("place")? as usize,
            run: row.try_get("run_id")?,
            name: row.try_get("name")?,
            status,
            values: sweep.space.dimensions.iter().map(|dimension| value(&dimension.knob)).collect(),
            dropped_at: dropped_at.map(|rung| rung as u64),
            note: row.try_get("note")?,
            validation_macro_f1: row.try_get("validation_macro_f1")?,
            test_accuracy: row.try_get("accuracy_after")?,
            test_macro_f1: row.try_get("macro_f1_after")?,
            progress: row.try_get("progress")?,
        },
        spec: request.spec,
        loss: row.try_get::<Option<f64>, _>("validation_loss")?.unwrap_or(f64::INFINITY),
        looked: looked_step.zip(looked_epoch).map(|(step, epoch)| (step as u64, epoch)),
        goes_on: row.try_get::<i64, _>("goes_on")? != 0,
        failure: row.try_get("failure")?,
        train_rows: row.try_get::<i64, _>("train_rows")? as u64,
        started_at_ms: row.try_get("started_at_ms")?,
        ended_at_ms: row.try_get("ended_at_ms")?,
    })
}

/// Training that is done and that is left, in whole runs. What the rungs to come will stop is not counted as left.
fn work(request: &NewSweep, trials: &[StoredTrial], rungs_done: usize) -> (f64, f64) {
    let done: f64 = trials.iter().map(|trial| trial.trial.progress).sum();
    let alive: Vec<&StoredTrial> = trials.iter().filter(|trial| trial.is_alive()).collect();
    let Some(halving) = request.space.halving.as_ref() else {
        let open = alive.iter().filter(|trial| !trial.trial.status.is_settled());
        return (done, open.map(|trial| 1.0 - trial.trial.progress).sum());
    };
    let share = |rung: usize| alive.first().map_or(1.0, |trial| halving.share(rung, &trial.spec, trial.train_rows));
    let mut left: f64 = alive
        .iter()
        .filter(|trial| trial.trial.status != RunStatus::Finished)
        .map(|trial| (share(rungs_done) - trial.trial.progress).max(0.0))
        .sum();
    let mut runs = alive.len();
    for rung in rungs_done..halving.rungs.len() {
        runs = halving.keeps(runs);
        left += runs as f64 * (share(rung + 1) - share(rung)).max(0.0);
    }
    (done, left)
}

/// From the first start to now, or to the last end.
fn seconds_so_far(trials: &[StoredTrial], now_ms: i64) -> f64 {
    let Some(first) = trials.iter().filter_map(|trial| trial.started_at_ms).min() else { return 0.0 };
    let settled = trials.iter().all(|trial| trial.trial.status.is_settled());
    let last = trials.iter().filter_map(|trial| trial.ended_at_ms).max().filter(|_| settled).unwrap_or(now_ms);
    (last - first).max(0) as f64 / 1000.0
}
