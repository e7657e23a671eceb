//! The thread that downloads: one model after the other, each file going on where an earlier attempt ended.

use super::contents::{Contents, bytes_on_disk};
use super::rate::ByteRate;
use super::{Models, no_such_model};
use crate::db::to_json;
use crate::error::{Result, ServiceError};
use crate::hub::Download;
use crate::leader::Leader;
use crate::worker::{AFTER_TROUBLE, StopSignal, words_of};
use domain::catalogue::{DownloadProgress, ModelAction, ModelId, ModelStatus};
use domain::error::UserError;
use domain::hub::{FileProgress, HubAddress};
use sqlx::Row as _;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How often a person's wish to pause is looked for, and the bytes that have come are stored.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A download that is under way.
pub(super) struct Under {
    pub model: ModelId,
    files: Vec<FileProgress>,
    rate: ByteRate,
}

impl Under {
    pub fn progress(&self) -> DownloadProgress {
        let total: u64 = self.files.iter().map(|file| file.bytes).sum();
        let left = total.saturating_sub(self.done_bytes());
        let bytes_per_second = self.rate.bytes_per_second();
        let seconds_left = (bytes_per_second > 0.0).then(|| left as f64 / bytes_per_second);
        DownloadProgress { files: self.files.clone(), bytes_per_second, seconds_left }
    }

    fn done_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.done_bytes).sum()
    }
}

impl Models {
    /// Puts downloads that the end of the process cut off back into the queue.
    pub(crate) async fn recover(&self) -> Result<()> {
        let rows = sqlx::query("SELECT id FROM models WHERE status = $1")
            .bind(ModelStatus::Downloading.as_str())
            .fetch_all(&self.inner.db.pool)
            .await?;
        for row in rows {
            self.transition(row.try_get("id")?, ModelAction::Recover, None).await?;
        }
        Ok(())
    }

    /// Starts the thread. It ends when the signal is asked and [`Models::wake`] is called.
    pub(crate) fn start_downloads(&self, leader: Leader, stop: StopSignal) -> Result<JoinHandle<()>> {
        let (models, handle) = (self.clone(), Handle::current());
        std::thread::Builder::new()
            .name("downloads".to_string())
            .spawn(move || {
                while !stop.is_asked() {
                    handle.block_on(leader.turn());
                    match handle.block_on(models.claim()) {
                        Ok(Some((id, address))) => models.carry_out(&handle, &stop, id, &address),
                        Ok(None) => handle.block_on(leader.rest(&models.inner.queued)),
                        Err(error) => {
                            tracing::error!(%error, "the queue of downloads could not be read; trying again");
                            stop.rest(AFTER_TROUBLE);
                        }
                    }
                }
            })
            .map_err(|error| ServiceError::io("downloads thread".as_ref(), error))
    }

    /// So that the thread looks at the queue and at its signal.
    pub(crate) fn wake(&self) {
        self.inner.queued.notify_one();
    }

    /// Waits until a download that was told to stop has stopped.
    pub(super) async fn wait_until_idle(&self, id: ModelId) {
        while self.progress(id).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn claim(&self) -> Result<Option<(ModelId, String)>> {
        let waiting = sqlx::query("SELECT id, source FROM models WHERE status = $1 ORDER BY id LIMIT 1")
            .bind(ModelStatus::Waiting.as_str())
            .fetch_optional(&self.inner.db.pool)
            .await?;
        let Some(row) = waiting else { return Ok(None) };
        let id = row.try_get("id")?;
        match self.transition(id, ModelAction::Claim, None).await {
            Ok(_) => Ok(Some((id, row.try_get("source")?))),
            // Paused or removed in the meantime.
            Err(ServiceError::User(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn carry_out(&self, handle: &Handle, stop: &StopSignal, id: ModelId, source: &str) {
        tracing::info!(model = id, source, "download begins");
        *self.under() = Some(Under { model: id, files: Vec::new(), rate: ByteRate::default() });
        let fetched = catch_unwind(AssertUnwindSafe(|| self.fetch(handle, stop, id, source)))
            .unwrap_or_else(|panic| Err(ServiceError::Panicked(words_of(panic.as_ref()))));
        let settled = match fetched {
            Ok(Some((path, commit))) => handle.block_on(self.finish(id, path, &commit)),
            // Paused, or the process ends: then it is put back into the queue at the next start.
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            let reason = error.reason();
            tracing::warn!(model = id, %reason, "download failed");
            if let Err(error) = handle.block_on(self.transition(id, ModelAction::Fail, Some(reason))) {
                tracing::error!(model = id, %error, "the end of a download could not be stored");
            }
        }
        *self.under() = None;
        tracing::info!(model = id, "download ends");
    }

    /// `None`: it was to stop.
    fn fetch(
        &self,
        handle: &Handle,
        stop: &StopSignal,
        id: ModelId,
        source: &str,
    ) -> Result<Option<(PathBuf, String)>> {
        let address = HubAddress::parse(source)?;
        let mut looked_at: Option<Instant> = None;
        let mut goes_on = true;
        let downloaded = self.hub().download(&address, &mut |files| {
            let now = Instant::now();
            let done_bytes = {
                let mut under = self.under();
                let Some(under) = under.as_mut() else { return ControlFlow::Break(()) };
                under.files = files.to_vec();
                let done_bytes = under.done_bytes();
                under.rate.add(now, done_bytes);
                done_bytes
            };
            if looked_at.is_none_or(|at| now.duration_since(at) > LOOK_EVERY) {
                looked_at = Some(now);
                // A database that is busy for a moment is no reason to end a download.
                goes_on = handle.block_on(self.store_progress(id, done_bytes)).unwrap_or(true);
            }
            if stop.is_asked() || !goes_on { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match downloaded.map_err(UserError::from)? {
            Download::Complete { path, commit } => Ok(Some((path, commit))),
            Download::Stopped => Ok(None),
        }
    }

    /// False where it is to stop.
    async fn store_progress(&self, id: ModelId, done_bytes: u64) -> Result<bool> {
        let changed = sqlx::query("UPDATE models SET done_bytes = $2 WHERE id = $1 AND status = $3")
            .bind(id)
            .bind(done_bytes as i64)
            .bind(ModelStatus::Downloading.as_str())
            .execute(&self.inner.db.pool)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    async fn finish(&self, id: ModelId, path: PathBuf, commit: &str) -> Result<()> {
        let read = path.clone();
        let (contents, bytes) =
            crate::datasets::blocking(move || Ok((Contents::read(&read)?, bytes_on_disk(&read)))).await?;
        let changed = sqlx::query(
            "UPDATE models SET path = $2, commit_hash = $3, contents = $4, kind = $5, total_bytes = $6, \
             done_bytes = $6 WHERE id = $1",
        )
        .bind(id)
        .bind(path.to_string_lossy().into_owned())
        .bind(commit)
        .bind(to_json(&contents)?)
        .bind(contents.kind().as_str())
        .bind(bytes as i64)
        .execute(&self.inner.db.pool)
        .await?;
        if changed.rows_affected() != 1 {
            return Err(no_such_model(id));
        }
        match self.transition(id, ModelAction::Finish, None).await {
            // Paused at the last moment: resuming finds all of it in the cache.
            Err(ServiceError::User(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn under(&self) -> MutexGuard<'_, Option<Under>> {
        self.inner.under.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
