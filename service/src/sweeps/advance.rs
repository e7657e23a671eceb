//! Bringing a sweep on: at a rung the better runs go on and the others stop. Every decision is one transaction, and what
//! follows from it can be done again, so that a process that ends in between leaves nothing half-way.

use super::Sweeps;
use super::look::StoredTrial;
use crate::db::json_column;
use crate::error::{Result, ServiceError};
use crate::runs::log;
use domain::run::{LogLevel, RunStatus};
use domain::sweep::{Halving, NewSweep, Standing, SweepId, SweepStatus, survivors};
use sqlx::Row as _;

impl Sweeps {
    /// As far as it goes without a run that has to train first. The caller has the turn.
    pub(super) async fn advance(&self, id: SweepId) -> Result<()> {
        loop {
            let row = self.row(id).await?;
            let status: String = row.try_get("status")?;
            if status != SweepStatus::Working.as_str() {
                return Ok(());
            }
            let request: NewSweep = json_column(&row, "request")?;
            let rung = row.try_get::<i64, _>("rungs_done")? as usize;
            let trials = self.trials(id, &request).await?;
            if self.put_back(id, &trials).await? {
                continue;
            }
            let alive: Vec<&StoredTrial> = trials.iter().filter(|trial| trial.is_alive()).collect();
            if alive.iter().any(|trial| trial.goes_on || !trial.trial.status.is_settled()) {
                return Ok(());
            }
            match request.space.halving.as_ref().filter(|halving| rung < halving.rungs.len()) {
                // What goes on is put back into the queue in the next round.
                Some(halving) => self.decide(id, halving, rung, &alive).await?,
                None => {
                    self.set_status(id, SweepStatus::Working, SweepStatus::Finished).await?;
                    return Ok(());
                }
            }
        }
    }

    /// Puts runs back into the queue that were found to go on; whether there were any.
    async fn put_back(&self, id: SweepId, trials: &[StoredTrial]) -> Result<bool> {
        let mut any = false;
        // One that is still being stopped is put back once it is.
        let ready = |trial: &&StoredTrial| trial.goes_on && trial.trial.status != RunStatus::Cancelling;
        for trial in trials.iter().filter(ready) {
            any = true;
            let mut note = None;
            if matches!(trial.trial.status, RunStatus::Cancelled | RunStatus::Failed) {
                match self.runs.resume(trial.trial.run).await {
                    Ok(()) => {}
                    // Such as a base model that has gone meanwhile: the others go on without it.
                    Err(ServiceError::User(error)) => note = Some(error.message),
                    Err(error) => return Err(error),
                }
            }
            let row = self.row(id).await?;
            let rung = row.try_get::<i64, _>("rungs_done")?;
            let dropped_at = note.is_some().then_some(rung + 1);
            sqlx::query(
                "UPDATE sweep_trials SET goes_on = 0, dropped_at = COALESCE(dropped_at, $3), note = COALESCE($4, note) \
                 WHERE sweep_id = $1 AND place = $2",
            )
            .bind(id)
            .bind(trial.trial.place as i64)
            .bind(dropped_at)
            .bind(note)
            .execute(&self.db.pool)
            .await?;
        }
        Ok(any)
    }

    /// All that still take part have come to the rung or to their end.
    async fn decide(&self, id: SweepId, halving: &Halving, rung: usize, alive: &[&StoredTrial]) -> Result<()> {
        let has_come = |trial: &StoredTrial| {
            let looked = trial.looked.is_some_and(|(step, epoch)| halving.is_reached(rung, step, epoch));
            trial.trial.status == RunStatus::Finished || (trial.trial.status == RunStatus::Cancelled && looked)
        };
        let standings: Vec<Standing> = alive
            .iter()
            .map(|trial| match has_come(trial) {
                true => trial.standing(),
                false => Standing { macro_f1: None, ..trial.standing() },
            })
            .collect();
        let kept = survivors(&standings, halving.keeps(alive.len()));
        let mut transaction = self.db.begin_write().await?;
        for trial in alive {
            let place = trial.trial.place;
            let statement = if kept.contains(&place) {
                let next = (rung + 1 < halving.rungs.len()).then_some(rung as i64 + 1);
                sqlx::query("UPDATE sweep_trials SET pause_at = $3, goes_on = $4 WHERE sweep_id = $1 AND place = $2")
                    .bind(id)
                    .bind(place as i64)
                    .bind(next)
                    .bind(i64::from(trial.trial.status != RunStatus::Finished))
            } else {
                // Without a rung before it, a person can take it up and bring it to its end by hand.
                sqlx::query(
                    "UPDATE sweep_trials SET pause_at = NULL, dropped_at = $3, note = $4 WHERE sweep_id = $1 AND place = \
                     $2",
                )
                .bind(id)
                .bind(place as i64)
                .bind(rung as i64 + 1)
                .bind(why_out(trial, has_come(trial)))
            };
            statement.execute(&mut *transaction).await?;
        }
        sqlx::query("UPDATE sweeps SET rungs_done = $2 WHERE id = $1")
            .bind(id)
            .bind(rung as i64 + 1)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        for trial in alive.iter().filter(|trial| !kept.contains(&trial.trial.place) && has_come(trial)) {
            let words = format!(
                "Stopped at rung {} of its sweep: {} of {} go on, by macro-F1 on the validation rows. It can be resumed by \
                 hand.",
                rung + 1,
                kept.len(),
                alive.len()
            );
            self.runs.tell(trial.trial.run, log(LogLevel::Info, words)).await?;
        }
        Ok(())
    }

    /// After a stop by a person: what had not come to its rung or its end goes on.
    pub(super) async fn take_up(&self, id: SweepId) -> Result<()> {
        let row = self.row(id).await?;
        let request: NewSweep = json_column(&row, "request")?;
        let rung = row.try_get::<i64, _>("rungs_done")? as usize;
        let waits = |trial: &StoredTrial| {
            let halving = request.space.halving.as_ref().zip(trial.looked);
            halving.is_some_and(|(halving, (step, epoch))| halving.is_reached(rung, step, epoch))
        };
        for trial in self.trials(id, &request).await? {
            let stopped = matches!(trial.trial.status, RunStatus::Cancelled | RunStatus::Cancelling);
            if trial.is_alive() && stopped && !waits(&trial) {
                sqlx::query("UPDATE sweep_trials SET goes_on = 1 WHERE sweep_id = $1 AND place = $2")
                    .bind(id)
                    .bind(trial.trial.place as i64)
                    .execute(&self.db.pool)
                    .await?;
            }
        }
        Ok(())
    }
}

/// Why a trial is out, where it is not for its score.
fn why_out(trial: &StoredTrial, has_come: bool) -> Option<String> {
    match trial.trial.status {
        RunStatus::Failed => Some(trial.failure.clone().unwrap_or_else(|| "it failed".to_string())),
        _ if !has_come => Some("stopped by a person before the rung".to_string()),
        _ => None,
    }
}
