//! Runs at which their process dies or the engine breaks. That may be an accident, so they go on from their last checkpoint;
//! but one that does it again and again without getting anywhere is given up, so that the queue goes on.

use super::lease::Holder;
use super::{Change, Runs, log};
use crate::error::Result;
use domain::run::{LogLevel, RunAction, RunId};
use sqlx::Row;

/// So often without a checkpoint in between, and a run has failed.
pub(crate) const MOST_CRASHES: i64 = 3;

impl Runs {
    /// What becomes of a run whose worker here has panicked with these words.
    pub(crate) async fn after_panic(&self, id: RunId, words: &str) -> Result<Change> {
        let row = sqlx::query("SELECT crashes FROM runs WHERE id = $1").bind(id).fetch_one(&self.db.pool).await?;
        let change = after_crash(row.try_get("crashes")?, &format!("The engine broke: {words}."));
        Ok(Change { only_if: Holder::Us, ..change })
    }
}

/// What becomes of a run at work that has crashed so often before. `what` says how it crashed now.
pub(super) fn after_crash(before: i64, what: &str) -> Change {
    let crashes = before + 1;
    if crashes < MOST_CRASHES {
        let told = format!("{what} The run is queued again and goes on from its last checkpoint.");
        return Change {
            before: Some(log(LogLevel::Warning, told)),
            crashes: Some(crashes),
            ..Change::of(RunAction::Recover)
        };
    }
    let reason = format!(
        "{what} That was the {MOST_CRASHES}rd time without a checkpoint in between, so the run is given up and the queue goes \
         on. The server's log says more; the run can be resumed."
    );
    Change {
        before: Some(log(LogLevel::Error, reason.clone())),
        message: Some(reason),
        crashes: Some(crashes),
        ..Change::of(RunAction::Fail)
    }
}
