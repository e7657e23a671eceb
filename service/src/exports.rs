//! What finished runs leave for others: exports, each checked against the run, and their way to the Hub.
//!
//! One thread writes them, one after the other; the table `exports` is its queue, and this file alone writes
//! `exports.status`.

mod writer;

use crate::Clock;
use crate::datasets::blocking;
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::files::{Files, remove_folder};
use crate::models::Models;
use crate::runs::Runs;
use domain::catalogue::{ExportFile, ExportId, ExportStatus, ExportSummary, Push, PushState};
use domain::error::UserError;
use domain::export::{ExportKind, MergeInto};
use domain::hub::{HubAddress, is_plain_path};
use domain::run::RunId;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use writer::Under;

/// Most exports of one run.
const MAX_EXPORTS: i64 = 50;

/// Clones share everything.
#[derive(Clone)]
pub struct Exports {
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    files: Files,
    runs: Runs,
    models: Models,
    clock: Clock,
    /// What the thread is at.
    under: Mutex<Option<Under>>,
    queued: Notify,
}

/// What [`Exports`] is made of.
pub(crate) struct ExportsParts {
    pub db: Database,
    pub files: Files,
    pub runs: Runs,
    pub models: Models,
    pub clock: Clock,
}

impl Exports {
    pub(crate) fn new(parts: ExportsParts) -> Self {
        let ExportsParts { db, files, runs, models, clock } = parts;
        let (under, queued) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { db, files, runs, models, clock, under, queued }) }
    }

    /// A run's exports, the newest first.
    pub async fn list(&self, run: RunId) -> Result<Vec<ExportSummary>> {
        let rows = sqlx::query("SELECT * FROM exports WHERE run_id = $1 ORDER BY id DESC")
            .bind(run)
            .fetch_all(&self.inner.db.pool)
            .await?;
        rows.iter().map(|row| self.summary_from(row)).collect()
    }

    /// Queues an export of a finished run. What has been asked for before is not made twice.
    ///
    /// # Errors
    /// The run has not finished, or has too many exports.
    pub async fn start(&self, run: RunId, kind: ExportKind, merge_into: MergeInto) -> Result<ExportId> {
        self.inner.runs.finished(run).await?;
        // An adapter is merged into nothing.
        let merge_into = if kind == ExportKind::Adapter { MergeInto::default() } else { merge_into };
        let there = self.list(run).await?;
        let same = there
            .iter()
            .find(|other| (other.kind, other.merge_into) == (kind, merge_into) && other.status != ExportStatus::Failed);
        if let Some(same) = same {
            return Ok(same.id);
        }
        if there.len() as i64 >= MAX_EXPORTS {
            return Err(UserError::conflict("This run has too many exports. Remove some of them first.").into());
        }
        let id = self.inner.db.next_number("export").await?;
        sqlx::query(
            "INSERT INTO exports (id, run_id, kind, merge_into, status, total_bytes, files, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5, 0, '[]', $6)",
        )
        .bind(id)
        .bind(run)
        .bind(kind.as_str())
        .bind(merge_into.as_str())
        .bind(ExportStatus::Waiting.as_str())
        .bind((self.inner.clock)())
        .execute(&self.inner.db.pool)
        .await?;
        self.inner.queued.notify_one();
        Ok(id)
    }

    /// Removes an export with its files; what is on the Hub stays there.
    pub async fn remove(&self, id: ExportId) -> Result<()> {
        let row = self.row(id).await?;
        let run: RunId = row.try_get("run_id")?;
        sqlx::query("DELETE FROM exports WHERE id = $1").bind(id).execute(&self.inner.db.pool).await?;
        // The thread looks whether its row is still there, and stops.
        while self.under().as_ref().is_some_and(|under| under.export == id) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let folder = self.inner.files.export(run, id);
        blocking(move || remove_folder(&folder)).await
    }

    /// Queues an export's way to the Hub, as one commit.
    ///
    /// # Errors
    /// The export is not ready, the name is no repository's, or it is on its way already.
    pub async fn push(&self, id: ExportId, repo: String, private: bool) -> Result<()> {
        let address = HubAddress::parse(&repo)?;
        if address.file.is_some() {
            return Err(UserError::invalid("Name a repository, such as owner/name, without a file.").into());
        }
        let row = self.row(id).await?;
        if status_from(&row)? != ExportStatus::Ready {
            return Err(UserError::conflict("This export is not ready yet.").into());
        }
        if push_from(&row)?.is_some_and(|push| matches!(push.state, PushState::Waiting | PushState::Pushing { .. })) {
            return Err(UserError::conflict("This export is on its way to the Hub already.").into());
        }
        self.store_push(id, &Push { repo: address.repo, private, state: PushState::Waiting }).await?;
        self.inner.queued.notify_one();
        Ok(())
    }

    /// Where a file of an export lies.
    ///
    /// # Errors
    /// There is no such export or file.
    pub async fn file(&self, run: RunId, id: ExportId, name: &str) -> Result<PathBuf> {
        let row = self.row(id).await?;
        let files: Vec<ExportFile> = json_column(&row, "files")?;
        let known = files.iter().any(|file| file.name == name) && is_plain_path(name);
        if row.try_get::<RunId, _>("run_id")? != run || !known {
            return Err(UserError::not_found(format!("Export number {id} has no file \"{name}\".")).into());
        }
        Ok(self.inner.files.export(run, id).join(name))
    }

    /// At the start of the process: what was cut off begins again.
    pub(crate) async fn recover(&self) -> Result<()> {
        sqlx::query("UPDATE exports SET status = $1 WHERE status IN ($2, $3)")
            .bind(ExportStatus::Waiting.as_str())
            .bind(ExportStatus::Writing.as_str())
            .bind(ExportStatus::Checking.as_str())
            .execute(&self.inner.db.pool)
            .await?;
        Ok(())
    }

    async fn row(&self, id: ExportId) -> Result<AnyRow> {
        let row =
            sqlx::query("SELECT * FROM exports WHERE id = $1").bind(id).fetch_optional(&self.inner.db.pool).await?;
        row.ok_or_else(|| UserError::not_found(format!("There is no export number {id}.")).into())
    }

    /// False where it has been removed.
    async fn store_push(&self, id: ExportId, push: &Push) -> Result<bool> {
        let changed = sqlx::query("UPDATE exports SET push = $2 WHERE id = $1")
            .bind(id)
            .bind(to_json(push)?)
            .execute(&self.inner.db.pool)
            .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// What is stored, with what the thread knows better.
    fn summary_from(&self, row: &AnyRow) -> Result<ExportSummary> {
        let id = row.try_get("id")?;
        let (kind, merge_into): (String, String) = (row.try_get("kind")?, row.try_get("merge_into")?);
        let parity: Option<String> = row.try_get("parity")?;
        let parity = parity
            .map(|json| serde_json::from_str(&json).map_err(|error| ServiceError::stored("parity", error)))
            .transpose()?;
        let total_bytes = row.try_get::<i64, _>("total_bytes")? as u64;
        let mut summary = ExportSummary {
            id,
            run: row.try_get("run_id")?,
            kind: ExportKind::parse(&kind).ok_or_else(|| unknown(&kind))?,
            merge_into: MergeInto::parse(&merge_into).ok_or_else(|| unknown(&merge_into))?,
            status: status_from(row)?,
            done_bytes: total_bytes,
            total_bytes,
            files: json_column(row, "files")?,
            parity,
            failure: row.try_get("failure")?,
            created_at_ms: row.try_get("created_at_ms")?,
            push: push_from(row)?,
        };
        if let Some(under) = self.under().as_ref().filter(|under| under.export == id) {
            under.tell(&mut summary);
        }
        Ok(summary)
    }

    fn under(&self) -> MutexGuard<'_, Option<Under>> {
        self.inner.under.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(word: &str) -> ServiceError {
    sqlx::Error::Decode(format!("\"{word}\" is not known of exports").into()).into()
}

fn status_from(row: &AnyRow) -> Result<ExportStatus> {
    let word: String = row.try_get("status")?;
    ExportStatus::parse(&word).ok_or_else(|| unknown(&word))
}

fn push_from(row: &AnyRow) -> Result<Option<Push>> {
    let json: Option<String> = row.try_get("push")?;
    json.map(|json| serde_json::from_str(&json).map_err(|error| ServiceError::stored("push", error))).transpose()
}
