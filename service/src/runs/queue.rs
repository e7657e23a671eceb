//! The queue: in which order runs are taken up, whether any are, and what a run waits for when its turn has come. The rules
//! are in `domain::queue`; here they meet the table.

use super::{Runs, no_such_run};
use crate::condition::{available_memory, free_bytes};
use crate::db::{json_column, to_json};
use crate::error::Result;
use domain::error::UserError;
use domain::queue::{
    Priority, QueueMove, QueuePause, QueueView, QueuedRun, Room, Waiting, missing_room, moved, needed_room, place_of,
};
use domain::run::{NewRun, RunId, RunStatus};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::time::Duration;

/// A run that lacks room is looked at again after this long.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The fact that nothing new is to be taken up, as JSON; empty: it is.
const PAUSED: &str = "queue_paused";

impl Runs {
    /// The queue as it stands.
    pub async fn queue(&self) -> Result<QueueView> {
        let rows = sqlx::query(
            "SELECT id, name, status, priority, started_by, held_up, progress FROM runs WHERE status IN ($1, $2, $3) \
             ORDER BY queue_order, id",
        )
        .bind(RunStatus::Queued.as_str())
        .bind(RunStatus::Running.as_str())
        .bind(RunStatus::Cancelling.as_str())
        .fetch_all(&self.db.pool)
        .await?;
        let mut view = QueueView { waiting: Vec::new(), at_work: Vec::new(), paused: self.queue_pause().await? };
        for row in &rows {
            let (run, name) = (row.try_get("id")?, row.try_get("name")?);
            if super::status_from(row)? != RunStatus::Queued {
                view.at_work.push((run, name, row.try_get("progress")?));
                continue;
            }
            let waiting = waiting_from(row)?;
            let held_up = row.try_get("held_up")?;
            view.waiting.push(QueuedRun { run, name, priority: waiting.priority, person: waiting.person, held_up });
        }
        Ok(view)
    }

    /// Moves a run that waits within its priority.
    ///
    /// # Errors
    /// It does not wait, or stands there already.
    pub async fn move_in_queue(&self, run: RunId, to: QueueMove) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        let queue = queue_in(&mut transaction).await?;
        let order = moved(&queue.iter().map(|(waiting, _)| waiting.clone()).collect::<Vec<_>>(), run, to)?;
        reorder(&mut transaction, &queue, &order).await?;
        transaction.commit().await?;
        self.queued.notify_one();
        Ok(())
    }

    /// Gives a run that waits another priority, and with it a place as if it had just been started.
    ///
    /// # Errors
    /// It does not wait.
    pub async fn set_priority(&self, run: RunId, priority: Priority) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        let changed = sqlx::query("UPDATE runs SET priority = $2 WHERE id = $1 AND status = $3")
            .bind(run)
            .bind(priority.as_str())
            .bind(RunStatus::Queued.as_str())
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() == 0 {
            self.row(run).await?;
            return Err(UserError::conflict("This run does not wait any more. Look at the queue again.").into());
        }
        put_in_place(&mut transaction, run).await?;
        transaction.commit().await?;
        self.queued.notify_one();
        Ok(())
    }

    /// From now on nothing new is taken up; what is at work goes on.
    pub async fn pause_queue(&self, by: &str) -> Result<()> {
        if self.queue_pause().await?.is_some() {
            return Ok(());
        }
        let pause = QueuePause { by: by.to_string(), at_ms: (self.clock)() };
        self.db.set_fact(PAUSED, &to_json(&pause)?).await
    }

    pub async fn resume_queue(&self) -> Result<()> {
        self.db.set_fact(PAUSED, "").await?;
        self.queued.notify_one();
        Ok(())
    }

    async fn queue_pause(&self) -> Result<Option<QueuePause>> {
        let fact = self.db.fact(PAUSED).await?.filter(|json| !json.is_empty());
        // One that does not read back must not hold up the queue for ever.
        Ok(fact.and_then(|json| serde_json::from_str(&json).ok()))
    }

    /// The run whose turn it is and that has the room that it needs. Those that lack it say so in the table. In no
    /// transaction: whoever claims it finds out whether somebody else was quicker.
    pub(super) async fn next_in_line(&self) -> Result<Option<RunId>> {
        if self.queue_pause().await?.is_some() {
            return Ok(None);
        }
        let now = (self.clock)();
        let rows = sqlx::query(
            "SELECT id, request, held_up FROM runs WHERE status = $1 AND (held_until_ms IS NULL OR held_until_ms <= $2) \
             ORDER BY queue_order, id",
        )
        .bind(RunStatus::Queued.as_str())
        .bind(now)
        .fetch_all(&self.db.pool)
        .await?;
        for row in &rows {
            let id: RunId = row.try_get("id")?;
            // One that does not read back is taken up all the same: it fails and does not hold up the queue.
            let held_up = match json_column::<NewRun>(row, "request") {
                Ok(new) => self.lacks(&new).await,
                Err(_) => None,
            };
            if held_up.is_none() && row.try_get::<Option<String>, _>("held_up")?.is_none() {
                return Ok(Some(id));
            }
            let until = held_up.as_ref().map(|_| now + LOOK_AGAIN.as_millis() as i64);
            sqlx::query("UPDATE runs SET held_up = $2, held_until_ms = $3 WHERE id = $1")
                .bind(id)
                .bind(&held_up)
                .bind(until)
                .execute(&self.db.pool)
                .await?;
            match held_up {
                None => return Ok(Some(id)),
                Some(reason) => tracing::warn!(run = id, %reason, "a run waits for room"),
            }
        }
        Ok(None)
    }

    /// What the machine lacks for a run.
    async fn lacks(&self, new: &NewRun) -> Option<String> {
        // A base that is not there (any more) is told by the run itself.
        let info = self.models.info(new.base_model).await.ok()?;
        let free = Room {
            disk_bytes: free_bytes(self.files.root()),
            memory_bytes: available_memory().filter(|_| self.models.trains_on_cpu()),
        };
        missing_room(needed_room(&info, &new.spec), free)
    }
}

/// Gives a run that was put at the end of the queue the place that is its own.
pub(super) async fn put_in_place(transaction: &mut Transaction<'static, Any>, run: RunId) -> Result<()> {
    let queue = queue_in(transaction).await?;
    let new = queue.iter().find(|(waiting, _)| waiting.run == run).map(|(waiting, _)| waiting.clone());
    let new = new.ok_or_else(|| no_such_run(run))?;
    let others: Vec<Waiting> =
        queue.iter().map(|(waiting, _)| waiting).filter(|waiting| waiting.run != run).cloned().collect();
    let mut order: Vec<RunId> = others.iter().map(|waiting| waiting.run).collect();
    order.insert(place_of(&others, &new), run);
    reorder(transaction, &queue, &order).await
}

/// Those that wait, with the numbers that order them.
async fn queue_in(transaction: &mut Transaction<'static, Any>) -> Result<Vec<(Waiting, i64)>> {
    let rows = sqlx::query(
        "SELECT id, priority, started_by, queue_order FROM runs WHERE status = $1 ORDER BY queue_order, id",
    )
    .bind(RunStatus::Queued.as_str())
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter().map(|row| Ok((waiting_from(row)?, row.try_get("queue_order")?))).collect()
}

/// The same numbers in another order, so that a run that comes back from work is first again.
async fn reorder(transaction: &mut Transaction<'static, Any>, queue: &[(Waiting, i64)], order: &[RunId]) -> Result<()> {
    for ((there, number), run) in queue.iter().zip(order) {
        if there.run == *run {
            continue;
        }
        sqlx::query("UPDATE runs SET queue_order = $2 WHERE id = $1")
            .bind(run)
            .bind(number)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

fn waiting_from(row: &AnyRow) -> Result<Waiting> {
    let priority: String = row.try_get("priority")?;
    Ok(Waiting {
        run: row.try_get("id")?,
        priority: Priority::parse(&priority).unwrap_or_default(),
        person: row.try_get("started_by")?,
    })
}
