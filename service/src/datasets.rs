//! Datasets: files taken in, checked row by row, kept as they were understood, and changed version by version.

mod changes;
mod conversion;
pub(crate) mod csv_export;
pub(crate) mod dealing;
mod edits;
mod examinations;
mod examined;
mod findings;
mod folding;
pub(crate) mod frozen;
mod import;
mod merge;
mod opened;
mod rows;
mod segment;
pub(crate) mod snapshot;
mod upload;
mod versions;

pub use crate::source::read_table;
pub use csv_export::CsvExport;
pub use rows::MAX_ROWS_AT_ONCE;
pub use segment::{Segment, SegmentWriter};
pub use snapshot::{Changes, Snapshot};
pub use upload::{Upload, UploadAppend};
pub use versions::MAX_VERSIONS_LISTED;

use crate::Clock;
use crate::db::{Database, json_column};
use crate::error::{Result, ServiceError};
use crate::files::{self, Files};
use domain::dataset::{DatasetId, DatasetSummary, RejectedRow};
use domain::error::UserError;
use examinations::Examinations;
use import::Imports;
use opened::OpenedVersions;
use rows::{Searches, to_index};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;
use upload::Uploads;
use versions::verdict_from;

/// Rows that could not be used on one page.
pub const PAGE_SIZE: u64 = 50;

const SUMMARY: &str = "SELECT d.*, v.verdict AS verdict FROM datasets d LEFT JOIN dataset_versions v ON \
                       v.dataset_id = d.id AND v.number = d.version WHERE d.version > 0 AND (d.id = $1 OR $1 = 0) \
                       ORDER BY d.id DESC";
/// Of datasets that were made before there were versions.
const SUMMARY_WITHOUT_VERSION: &str = "SELECT d.*, NULL AS verdict FROM datasets d WHERE d.version = 0 ORDER BY d.id";

/// Taking in files and reading what they became. Clones share everything.
#[derive(Clone)]
pub struct Datasets {
    db: Database,
    files: Files,
    uploads: Uploads,
    clock: Clock,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    opened: OpenedVersions,
    searches: Searches,
    imports: Imports,
    examinations: Examinations,
    /// Who changes a dataset waits for who is at it already.
    turns: Mutex<HashMap<DatasetId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Datasets {
    pub(crate) fn new(db: Database, files: Files, clock: Clock) -> Self {
        Self { db, uploads: Uploads::new(files.clone()), files, clock, shared: Arc::default() }
    }

    /// Clears away what earlier processes left half done, and brings datasets of earlier programs up to date.
    pub(crate) async fn recover(&self) -> Result<()> {
        let files = self.files.clone();
        blocking(move || {
            upload::sweep(&files)?;
            sweep(&files.datasets())
        })
        .await?;
        self.convert_old().await
    }

    /// All datasets, the newest first.
    pub async fn list(&self) -> Result<Vec<DatasetSummary>> {
        let rows = sqlx::query(SUMMARY).bind(0_i64).fetch_all(&self.db.pool).await?;
        rows.iter().map(summary_from).collect()
    }

    pub async fn get(&self, id: DatasetId) -> Result<DatasetSummary> {
        let row = sqlx::query(SUMMARY).bind(id).fetch_optional(&self.db.pool).await?;
        match row {
            Some(row) if id > 0 => summary_from(&row),
            _ => Err(no_such_dataset(id)),
        }
    }

    /// One page of the rows of the dataset's files that could not be used, file by file, and their number in all. Of a
    /// file with very many the first ones are kept. `page` counts from 0.
    pub async fn rejected(&self, id: DatasetId, page: u64) -> Result<(Vec<RejectedRow>, u64)> {
        let summary = self.get(id).await?;
        let snapshot = self.snapshot(id, None).await?;
        let files = self.files.clone();
        let rows = blocking(move || {
            let mut skip = to_index(page.saturating_mul(PAGE_SIZE));
            let mut rows: Vec<RejectedRow> = Vec::new();
            for (number, segment) in snapshot.segments().iter().enumerate() {
                let kept = to_index(segment.rejected().min(import::KEPT_REJECTED));
                if skip >= kept {
                    skip -= kept;
                    continue;
                }
                let path = files.segment(id, number).join(files::REJECTED);
                for line in json_lines(&path)?.skip(skip).take(PAGE_SIZE as usize - rows.len()) {
                    let line = line.map_err(|error| ServiceError::io(&path, error))?;
                    let row = serde_json::from_str(&line);
                    rows.push(row.map_err(|error| ServiceError::stored(files::REJECTED, error))?);
                }
                skip = 0;
                if rows.len() == PAGE_SIZE as usize {
                    break;
                }
            }
            Ok(rows)
        })
        .await?;
        Ok((rows, summary.rejected))
    }

    /// Waits until nobody else changes the dataset, and keeps others waiting while the guard is held.
    async fn turn(&self, id: DatasetId) -> OwnedMutexGuard<()> {
        let turn = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().clone();
        turn.lock_owned().await
    }
}

/// Runs file work where it may block, and gives a panic there back as an error.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ServiceError::Panicked(error.to_string())),
    }
}

/// Carries work out on a task of its own: a browser that hangs up takes its request with it, but not a version half-way.
pub(crate) async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(ServiceError::Panicked(error.to_string())))
}

/// Removes what is not whole from the datasets' folders. What is whole and not needed is replaced when its number comes.
fn sweep(datasets: &Path) -> Result<()> {
    for dataset in folders_in(datasets)? {
        if is_aside(&dataset) {
            files::remove_folder(&dataset)?;
            continue;
        }
        for within in folders_in(&dataset)?.into_iter().chain(folders_in(&dataset.join(files::EXAMINATIONS))?) {
            if is_aside(&within) {
                files::remove_folder(&within)?;
            }
        }
    }
    Ok(())
}

/// None in a folder that is not there.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ServiceError::io(folder, error)),
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

fn is_aside(path: &Path) -> bool {
    path.to_string_lossy().ends_with(files::ASIDE)
}

fn json_lines(path: &Path) -> Result<std::io::Lines<BufReader<File>>> {
    let file = File::open(path).map_err(|error| ServiceError::io(path, error))?;
    Ok(BufReader::with_capacity(256 * 1024, file).lines())
}

fn no_such_dataset(id: DatasetId) -> ServiceError {
    UserError::not_found(format!("There is no dataset number {id}.")).into()
}

fn summary_from(row: &AnyRow) -> Result<DatasetSummary> {
    let verdict: Option<String> = row.try_get("verdict")?;
    Ok(DatasetSummary {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        file_name: row.try_get("file_name")?,
        text_column: row.try_get("text_column")?,
        label_column: row.try_get("label_column")?,
        rows: row.try_get::<i64, _>("row_count")? as u64,
        rejected: row.try_get::<i64, _>("rejected_count")? as u64,
        labels: json_column(row, "labels")?,
        created_at_ms: row.try_get("created_at_ms")?,
        version: row.try_get("version")?,
        verdict: verdict.as_deref().and_then(verdict_from),
    })
}
