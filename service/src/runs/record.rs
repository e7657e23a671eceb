//! What the worker stores of a run while it computes.

use super::lease::Holder;
use super::{Runs, status_from};
use crate::db::to_json;
use crate::error::Result;
use domain::cleanliness::Cleanliness;
use domain::run::{Moment, RunEvent, RunId, RunStatus, StoredEvent, ValidationPoint};
use sqlx::{Any, Transaction};

impl Runs {
    /// Stores what the engine emitted and brings the columns that lists show up to date, all at once. Returns the
    /// run's status, so that the worker learns of a wish to stop. `got_somewhere`: a checkpoint was written, so that what
    /// was before is no sign any more of a run that crashes again and again.
    ///
    /// # Errors
    /// [`ServiceError::LeaseLost`](crate::ServiceError::LeaseLost): another process is at the run by now.
    pub(crate) async fn record_work(
        &self,
        id: RunId,
        events: Vec<(i64, RunEvent)>,
        got_somewhere: bool,
    ) -> Result<RunStatus> {
        let mut transaction = self.db.begin_write().await?;
        Holder::Us.check(&mut transaction, self, id).await?;
        let mut stored: Vec<StoredEvent> = Vec::with_capacity(events.len());
        let mut progress = None;
        for (at_ms, event) in events {
            match &event {
                RunEvent::Step(point) => progress = Some(point.step as f64 / point.total_steps.max(1) as f64),
                RunEvent::Evaluation { moment, evaluation } => {
                    let statement = match moment {
                        Moment::Before => sqlx::query("UPDATE runs SET accuracy_before = $2 WHERE id = $1"),
                        Moment::After => {
                            sqlx::query("UPDATE runs SET accuracy_after = $2, macro_f1_after = $3 WHERE id = $1")
                        }
                    };
                    let mut statement = statement.bind(id).bind(evaluation.accuracy);
                    if *moment == Moment::After {
                        statement = statement.bind(evaluation.macro_f1);
                    }
                    statement.execute(&mut *transaction).await?;
                }
                RunEvent::Validation(point) => record_look(&mut transaction, id, point).await?,
                _ => {}
            }
            stored.push(self.feed.insert(&mut transaction, id, at_ms, event).await?);
        }
        if got_somewhere {
            sqlx::query("UPDATE runs SET crashes = 0 WHERE id = $1").bind(id).execute(&mut *transaction).await?;
        }
        if let Some(progress) = progress {
            sqlx::query("UPDATE runs SET progress = $2 WHERE id = $1")
                .bind(id)
                .bind(progress)
                .execute(&mut *transaction)
                .await?;
        }
        let row = sqlx::query("SELECT status FROM runs WHERE id = $1").bind(id).fetch_one(&mut *transaction).await?;
        let status = status_from(&row)?;
        transaction.commit().await?;
        self.feed.announce(id, &stored);
        Ok(status)
    }

    /// Stores what a run's test rows are worth, with the scores on the clean ones.
    pub(crate) async fn record_cleanliness(&self, id: RunId, cleanliness: &Cleanliness) -> Result<()> {
        sqlx::query("UPDATE runs SET cleanliness = $2 WHERE id = $1")
            .bind(id)
            .bind(to_json(cleanliness)?)
            .execute(&self.db.pool)
            .await?;
        Ok(())
    }
}

/// The last look at the validation rows, and the best one, by which sweeps choose.
async fn record_look(transaction: &mut Transaction<'static, Any>, id: RunId, point: &ValidationPoint) -> Result<()> {
    sqlx::query("UPDATE runs SET looked_step = $2, looked_epoch = $3 WHERE id = $1")
        .bind(id)
        .bind(point.step as i64)
        .bind(point.epoch)
        .execute(&mut **transaction)
        .await?;
    if point.best {
        sqlx::query("UPDATE runs SET validation_macro_f1 = $2, validation_loss = $3 WHERE id = $1")
            .bind(id)
            .bind(point.macro_f1)
            .bind(point.loss)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
