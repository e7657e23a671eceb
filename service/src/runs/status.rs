//! The status of a run: this is the only file that changes it, always as [`RunStatus::after`] says, guarded by the status
//! from which the change starts, and with a line in the run's history.

use super::lease::{Holder, LEASE_MS};
use super::queue::put_in_place;
use super::{Runs, no_such_run, status_from};
use crate::db::json_column;
use crate::error::Result;
use domain::error::UserError;
use domain::run::{NewRun, RunAction, RunEvent, RunId, RunStatus};
use sqlx::Row as _;

/// A change of a run's status.
#[derive(Clone)]
pub(crate) struct Change {
    pub action: RunAction,
    /// Stands in its history ahead of the change.
    pub before: Option<RunEvent>,
    /// Beside it: the reason of a failure.
    pub message: Option<String>,
    /// How often it has crashed by now, if that is another number than before.
    pub crashes: Option<i64>,
    pub only_if: Holder,
}

impl Change {
    pub fn of(action: RunAction) -> Self {
        Self { action, before: None, message: None, crashes: None, only_if: Holder::Anybody }
    }
}

/// A run that the worker has taken from the queue.
pub(crate) struct Claimed {
    pub id: RunId,
    /// An error if it does not read back: that must fail the run and not hold up the queue.
    pub request: Result<NewRun>,
    /// Share of training done by an earlier attempt.
    pub progress: f64,
}

impl Runs {
    /// Takes the first run out of the queue. Of several who ask at once, each gets another run.
    pub(crate) async fn claim(&self) -> Result<Option<Claimed>> {
        while let Some(id) = self.next_in_line().await? {
            if let Some(claimed) = self.claim_this(id).await? {
                return Ok(Some(claimed));
            }
        }
        Ok(None)
    }

    /// None: it does not wait any more, as somebody else was quicker.
    async fn claim_this(&self, id: RunId) -> Result<Option<Claimed>> {
        let Some(next) = RunStatus::Queued.after(RunAction::Claim) else { return Ok(None) };
        let now = (self.clock)();
        let mut transaction = self.db.begin_write().await?;
        let claimed = sqlx::query(
            "UPDATE runs SET status = $2, started_at_ms = COALESCE(started_at_ms, $3), ended_at_ms = NULL, lease_holder = $4, \
             lease_until_ms = $5 WHERE id = $1 AND status = $6 RETURNING request, progress",
        )
        .bind(id)
        .bind(next.as_str())
        .bind(now)
        .bind(self.process.as_str())
        .bind(now + LEASE_MS)
        .bind(RunStatus::Queued.as_str())
        .fetch_all(&mut *transaction)
        .await?;
        let Some(row) = claimed.first() else { return Ok(None) };
        let claimed = Claimed { id, request: json_column(row, "request"), progress: row.try_get("progress")? };
        let event = RunEvent::Status { status: next, message: None };
        let stored = self.insert_all(&mut transaction, id, now, vec![event]).await?;
        transaction.commit().await?;
        self.feed.announce(id, &stored);
        Ok(Some(claimed))
    }

    /// Moves a run to the status that follows from the action, with `before` in its history ahead of the change and
    /// `message`, the reason of a failure, beside it.
    ///
    /// # Errors
    /// The action is not possible in the run's present status.
    pub(crate) async fn transition(
        &self,
        id: RunId,
        action: RunAction,
        before: Option<RunEvent>,
        message: Option<String>,
    ) -> Result<RunStatus> {
        self.change(id, Change { before, message, ..Change::of(action) }).await
    }

    /// As [`Runs::transition`], for the worker that is at the run.
    ///
    /// # Errors
    /// [`ServiceError::LeaseLost`]: it is another one's by now.
    pub(crate) async fn settle(&self, id: RunId, change: Change) -> Result<RunStatus> {
        self.change(id, Change { only_if: Holder::Us, ..change }).await
    }

    pub(super) async fn change(&self, id: RunId, change: Change) -> Result<RunStatus> {
        let Change { action, before, message, crashes, only_if } = change;
        // A person who takes it up again gives it new tries.
        let crashes = if action == RunAction::Resume { Some(0) } else { crashes };
        let now = (self.clock)();
        let mut transaction = self.db.begin_write().await?;
        let row = sqlx::query("SELECT status, name FROM runs WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else { return Err(no_such_run(id)) };
        only_if.check(&mut transaction, self, id).await?;
        let status = status_from(&row)?;
        let Some(next) = status.after(action) else {
            return Err(impossible(action, status, row.try_get("name")?).into());
        };
        let changed = sqlx::query("UPDATE runs SET status = $2 WHERE id = $1 AND status = $3")
            .bind(id)
            .bind(next.as_str())
            .bind(status.as_str())
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() != 1 {
            return Err(UserError::conflict("The run has just changed. Look at it again.").into());
        }
        sqlx::query("UPDATE runs SET ended_at_ms = $2, failure = $3 WHERE id = $1")
            .bind(id)
            .bind(next.is_settled().then_some(now))
            .bind(message.as_deref().filter(|_| next == RunStatus::Failed))
            .execute(&mut *transaction)
            .await?;
        if !matches!(next, RunStatus::Running | RunStatus::Cancelling) {
            sqlx::query("UPDATE runs SET lease_holder = NULL, lease_until_ms = NULL WHERE id = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        if action == RunAction::Resume {
            put_in_place(&mut transaction, id).await?;
        }
        if let Some(crashes) = crashes {
            sqlx::query("UPDATE runs SET crashes = $2 WHERE id = $1")
                .bind(id)
                .bind(crashes)
                .execute(&mut *transaction)
                .await?;
        }
        if next == RunStatus::Finished {
            sqlx::query("UPDATE runs SET progress = 1.0 WHERE id = $1").bind(id).execute(&mut *transaction).await?;
        }
        let mut events: Vec<RunEvent> = before.into_iter().collect();
        events.push(RunEvent::Status { status: next, message });
        let stored = self.insert_all(&mut transaction, id, now, events).await?;
        transaction.commit().await?;
        self.feed.announce(id, &stored);
        if next.is_settled() {
            // Whoever opens its page reads what has been kept.
            if let Err(error) = self.thinned_picture(id).await {
                tracing::warn!(%error, run = id, "the picture of a run was not kept; its page makes it anew");
            }
            self.settled.notify_one();
        }
        Ok(next)
    }
}

/// Why an action cannot be done, for the person who asked.
fn impossible(action: RunAction, status: RunStatus, name: String) -> UserError {
    UserError::conflict(match (action, status) {
        (RunAction::RequestCancel, RunStatus::Cancelling) => {
            format!("Run \"{name}\" is being stopped already; it writes a checkpoint first.")
        }
        (RunAction::RequestCancel, _) => {
            format!("Run \"{name}\" is {} already; there is nothing to stop.", status.as_str())
        }
        (RunAction::Resume, RunStatus::Finished) => {
            format!("Run \"{name}\" is finished; there is nothing left to do. Start a new run instead.")
        }
        (RunAction::Resume, RunStatus::Cancelling) => {
            format!("Run \"{name}\" is still being stopped. Resume it in a moment.")
        }
        (RunAction::Resume, _) => format!("Run \"{name}\" is {} already.", status.as_str()),
        _ => format!("Run \"{name}\" is {}; it cannot go on to what was asked for ({action:?}).", status.as_str()),
    })
}
