//! How the service is: whether it can work, and what those who watch over it count.

use crate::error::Result;
use crate::{Life, Service};
use domain::run::{RunId, RunStatus};
use sqlx::Row;
use std::path::Path;
use std::sync::PoisonError;

/// What is counted when somebody asks.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Every status with its number of runs, none left out.
    pub runs: Vec<(RunStatus, i64)>,
    /// The run that trains, with the seconds that its latest step took.
    pub step: Option<(RunId, f64)>,
    /// On the disk of the data folder.
    pub data_disk_free_bytes: Option<u64>,
}

impl Service {
    /// Whether requests can be answered and runs be trained.
    ///
    /// # Errors
    /// In a sentence: the database does not answer, the data folder cannot be written, or a thread has ended.
    pub async fn check_readiness(&self) -> std::result::Result<(), String> {
        sqlx::query("SELECT 1")
            .fetch_one(&self.life.db.pool)
            .await
            .map_err(|error| format!("The database does not answer: {error}."))?;
        let root = self.life.files.root().to_path_buf();
        let written = tokio::task::spawn_blocking(move || write_and_remove(&root)).await;
        written
            .unwrap_or_else(|_| Err("the attempt broke off".to_string()))
            .map_err(|reason| format!("The data folder cannot be written: {reason}."))?;
        match self.life.ended_thread() {
            Some(name) => Err(format!("The thread \"{name}\" has ended; the log says why. Restart the server.")),
            None => Ok(()),
        }
    }

    /// # Errors
    /// The database does not answer.
    pub async fn condition(&self) -> Result<Condition> {
        let counted = sqlx::query("SELECT status, COUNT(*) AS runs FROM runs GROUP BY status")
            .fetch_all(&self.life.db.pool)
            .await?;
        let mut runs: Vec<_> = RunStatus::ALL.into_iter().map(|status| (status, 0)).collect();
        for row in &counted {
            let word: String = row.try_get("status")?;
            if let Some((_, count)) = runs.iter_mut().find(|(status, _)| status.as_str() == word) {
                *count = row.try_get("runs")?;
            }
        }
        Ok(Condition {
            runs,
            step: self.latest_step().await?,
            data_disk_free_bytes: free_bytes(self.life.files.root()),
        })
    }

    /// From the times of the last two steps that were stored.
    async fn latest_step(&self) -> Result<Option<(RunId, f64)>> {
        let rows = sqlx::query(
            "SELECT run_id, at_ms FROM run_events WHERE event LIKE '{\"type\":\"step\",%' AND run_id = \
             (SELECT MIN(id) FROM runs WHERE status = $1) ORDER BY seq DESC LIMIT 2",
        )
        .bind(RunStatus::Running.as_str())
        .fetch_all(&self.life.db.pool)
        .await?;
        let [last, before] = rows.as_slice() else { return Ok(None) };
        let duration_ms = last.try_get::<i64, _>("at_ms")? - before.try_get::<i64, _>("at_ms")?;
        Ok(Some((last.try_get("run_id")?, duration_ms.max(0) as f64 / 1000.0)))
    }
}

impl Life {
    /// The name of a thread that should be running and is not.
    fn ended_thread(&self) -> Option<String> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = threads.iter().find(|thread| thread.is_finished())?;
        Some(ended.thread().name().unwrap_or("without a name").to_string())
    }
}

fn write_and_remove(root: &Path) -> std::result::Result<(), String> {
    let file = tempfile::NamedTempFile::new_in(root).map_err(|error| error.to_string())?;
    std::fs::write(file.path(), b"ready").map_err(|error| error.to_string())?;
    file.close().map_err(|error| error.to_string())
}

/// Of the disk that a folder lies on.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

/// Memory that programs can have without others being pushed out. Linux says it in /proc/meminfo; elsewhere it is not known.
pub(crate) fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
