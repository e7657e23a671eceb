//! Who is at a run. A process that claims one holds it by a lease and says all the time that it is still there; if it no
//! longer does, the lease runs out, and another one takes the run up from its last checkpoint. Only the holder writes what
//! the run does, so one that was believed dead and wakes up again spoils nothing.
//!
//! Clocks of the machines have to agree to a few seconds, as they do where they are set by the network.

use super::crash::after_crash;
use super::{Change, Runs, log, status_from};
use crate::db::DatabaseKind;
use crate::error::{Result, ServiceError};
use crate::worker::StopSignal;
use domain::run::{LogLevel, RunAction, RunId, RunStatus};
use sqlx::{Any, Row, Transaction};
use std::time::Duration;

/// A lease that is not renewed runs out after this long.
pub(crate) const LEASE_MS: i64 = 30_000;
/// How often leases are renewed and those that ran out are looked for: three signs may get lost.
const LOOK_EVERY: Duration = Duration::from_secs(8);

impl Runs {
    /// Renews this process's leases and takes runs back from processes that are gone, as long as the service lives.
    pub(crate) async fn keep_leases(self, stop: StopSignal) {
        while !stop.is_asked() {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.renew_leases().await {
                tracing::warn!(%error, "the leases of runs could not be renewed; trying again");
            }
            // A file has one process; what the one before left was found at the start.
            if self.db.kind() == DatabaseKind::Sqlite {
                continue;
            }
            if let Err(error) = self.recover(false).await {
                tracing::warn!(%error, "runs of processes that are gone could not be taken back; trying again");
            }
        }
    }

    /// Says that this process is still at its runs.
    pub(crate) async fn renew_leases(&self) -> Result<()> {
        sqlx::query("UPDATE runs SET lease_until_ms = $2 WHERE lease_holder = $1")
            .bind(self.process.as_str())
            .bind((self.clock)() + LEASE_MS)
            .execute(&self.db.pool)
            .await?;
        Ok(())
    }

    /// Puts runs back that were at work in a process that is no more. `alone`: every other process is gone, as nobody
    /// else can have the database open; else those whose lease has run out.
    pub(crate) async fn recover(&self, alone: bool) -> Result<()> {
        let rows = sqlx::query(
            "SELECT id, status, crashes, lease_holder, lease_until_ms FROM runs WHERE status IN ($1, $2) ORDER BY id",
        )
        .bind(RunStatus::Running.as_str())
        .bind(RunStatus::Cancelling.as_str())
        .fetch_all(&self.db.pool)
        .await?;
        for row in rows {
            let until: Option<i64> = row.try_get("lease_until_ms")?;
            if !alone && until.is_some_and(|until| until >= (self.clock)()) {
                continue;
            }
            let id: RunId = row.try_get("id")?;
            let change = if status_from(&row)? == RunStatus::Running {
                after_crash(row.try_get("crashes")?, "The server ended while this run was at work.")
            } else {
                let what =
                    "The server ended while this run was being stopped. The run is cancelled; it can be resumed.";
                Change { before: Some(log(LogLevel::Warning, what)), ..Change::of(RunAction::Recover) }
            };
            let only_if = Holder::Was(row.try_get("lease_holder")?, until);
            match self.change(id, Change { only_if, ..change }).await {
                Ok(status) => {
                    tracing::info!(run = id, status = status.as_str(), "taken back from a process that is gone")
                }
                // Another server was quicker, or its process is there after all.
                Err(ServiceError::LeaseLost) => continue,
                Err(error) => return Err(error),
            }
            self.queued.notify_one();
        }
        Ok(())
    }
}

/// Whose lease a change depends on.
#[derive(Clone)]
pub(crate) enum Holder {
    /// Nobody's: a person may ask for it at any time.
    Anybody,
    /// This process's.
    Us,
    /// That of a process that is no more, as it was found: a lease that was renewed since is not given up.
    Was(Option<String>, Option<i64>),
}

impl Holder {
    /// # Errors
    /// [`ServiceError::LeaseLost`]: the run is somebody else's by now.
    pub(super) async fn check(
        &self,
        transaction: &mut Transaction<'static, Any>,
        runs: &Runs,
        id: RunId,
    ) -> Result<()> {
        if matches!(self, Self::Anybody) {
            return Ok(());
        }
        let row = sqlx::query("SELECT lease_holder, lease_until_ms FROM runs WHERE id = $1")
            .bind(id)
            .fetch_one(&mut **transaction)
            .await?;
        let holder: Option<String> = row.try_get("lease_holder")?;
        let is_so = match self {
            Self::Anybody => true,
            Self::Us => holder.as_deref() == Some(runs.process.as_str()),
            Self::Was(was, until) => holder == *was && row.try_get::<Option<i64>, _>("lease_until_ms")? == *until,
        };
        if is_so { Ok(()) } else { Err(ServiceError::LeaseLost) }
    }
}
