//! Runs in lists, a page at a time: after some years there are ten thousand of them.

use super::{Runs, summaries, summary_from};
use crate::error::Result;
use domain::dataset::DatasetId;
use domain::run::{RunStatus, RunSummary};
use domain::sweep::SweepId;
use sqlx::Row as _;

impl Runs {
    /// Runs that belong to no sweep, the newest first: `count` of them after the first `skip`, and how many there are.
    pub async fn page_of_single(&self, skip: u64, count: u64) -> Result<(Vec<RunSummary>, u64)> {
        let total = sqlx::query(
            "SELECT COUNT(*) AS total FROM runs r WHERE NOT EXISTS (SELECT 1 FROM sweep_trials t WHERE t.run_id = r.id)",
        )
        .fetch_one(&self.db.pool)
        .await?
        .try_get::<i64, _>("total")?;
        let rows = sqlx::query(summaries(
            "WHERE NOT EXISTS (SELECT 1 FROM sweep_trials t WHERE t.run_id = r.id) ORDER BY r.id DESC LIMIT $1 OFFSET $2",
        ))
        .bind(limit(count))
        .bind(limit(skip))
        .fetch_all(&self.db.pool)
        .await?;
        Ok((rows.iter().map(summary_from).collect::<Result<_>>()?, total as u64))
    }

    /// The runs of a sweep, in the order of its plan.
    pub async fn of_sweep(&self, sweep: SweepId) -> Result<Vec<RunSummary>> {
        let rows =
            sqlx::query(summaries("JOIN sweep_trials t ON t.run_id = r.id WHERE t.sweep_id = $1 ORDER BY t.place"))
                .bind(sweep)
                .fetch_all(&self.db.pool)
                .await?;
        rows.iter().map(summary_from).collect()
    }

    /// The newest finished runs, of one dataset or of all.
    pub async fn finished_runs(&self, dataset: Option<DatasetId>, count: u64) -> Result<Vec<RunSummary>> {
        let status = RunStatus::Finished.as_str();
        let query = match dataset {
            Some(dataset) => {
                sqlx::query(summaries("WHERE r.status = $1 AND r.dataset_id = $3 ORDER BY r.id DESC LIMIT $2"))
                    .bind(status)
                    .bind(limit(count))
                    .bind(dataset)
            }
            None => sqlx::query(summaries("WHERE r.status = $1 ORDER BY r.id DESC LIMIT $2"))
                .bind(status)
                .bind(limit(count)),
        };
        query.fetch_all(&self.db.pool).await?.iter().map(summary_from).collect()
    }

    /// Those that wait, train or are being stopped, the newest first.
    pub async fn moving(&self) -> Result<Vec<RunSummary>> {
        let rows = sqlx::query(summaries("WHERE r.status IN ($1, $2, $3) ORDER BY r.id DESC"))
            .bind(RunStatus::Queued.as_str())
            .bind(RunStatus::Running.as_str())
            .bind(RunStatus::Cancelling.as_str())
            .fetch_all(&self.db.pool)
            .await?;
        rows.iter().map(summary_from).collect()
    }

    /// How many have finished.
    pub async fn count_finished(&self) -> Result<u64> {
        let row = sqlx::query("SELECT COUNT(*) AS finished FROM runs WHERE status = $1")
            .bind(RunStatus::Finished.as_str())
            .fetch_one(&self.db.pool)
            .await?;
        Ok(row.try_get::<i64, _>("finished")? as u64)
    }
}

fn limit(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
