//! Datasets: files taken in, checked row by row, kept as they were understood, and changed version by version.

mod changes;
mod conversion;
mod csv_export;
pub(crate) mod dealing;
mod edits;
mod examinations;
mod examined;
mod folding;
pub(crate) mod frozen;
mod import;
mod merge;
mod opened;
mod read;
mod rows;
mod segment;
pub(crate) mod snapshot;
mod sniff;
mod source_for_now;
mod table;
mod upload;
mod versions;

pub use csv_export::CsvExport;
pub use rows::MAX_ROWS_AT_ONCE;
pub use segment::{Segment, SegmentWriter};
pub use snapshot::{Changes, Snapshot};
pub use table::read_table;
pub use upload::Upload;

use crate::Clock;
use crate::db::{Database, json_column};
use crate::error::{Result, ServiceError};
use crate::files::{self, Files, UploadId};
use domain::dataset::{DatasetId, DatasetSummary, RejectedRow, UploadPreview};
use domain::error::UserError;
use import::Imports;
use opened::OpenedVersions;
use rows::{Searches, to_index};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;
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
    clock: Clock,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    opened: OpenedVersions,
    searches: Searches,
    imports: Imports,
    /// Who changes a dataset waits for who is at it already.
    turns: Mutex<HashMap<DatasetId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Datasets {
    pub(crate) fn new(db: Database, files: Files, clock: Clock) -> Self {
        Self { db, files, clock, shared: Arc::default() }
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

    /// Starts taking in a file. `file_name` is for people only.
    pub async fn begin_upload(&self, file_name: &str) -> Result<Upload> {
        Upload::begin(&self.files, file_name).await
    }

    /// What an upload holds, read with the delimiter given or with the likeliest one.
    pub async fn preview(&self, upload: &str, delimiter: Option<char>) -> Result<UploadPreview> {
        let (files, id) = (self.files.clone(), UploadId::parse(upload)?);
        blocking(move || upload::preview(&files, &id, delimiter)).await
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
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(ServiceError::Panicked(error.to_string())))
}

/// Removes what is not whole from the datasets' folders. What is whole and not needed is replaced when its number comes.
fn sweep(datasets: &Path) -> Result<()> {
    let entries = |folder: &Path| -> Result<Vec<std::path::PathBuf>> {
        let read = std::fs::read_dir(folder).map_err(|error| ServiceError::io(folder, error))?;
        Ok(read.flatten().map(|entry| entry.path()).collect())
    };
    let is_aside = |path: &Path| path.to_string_lossy().ends_with(files::ASIDE);
    for dataset in entries(datasets)? {
        if is_aside(&dataset) {
            files::remove_folder(&dataset)?;
            continue;
        }
        if !dataset.is_dir() {
            continue;
        }
        for folder in [dataset.clone(), dataset.join(files::EXAMINATIONS)] {
            if !folder.is_dir() {
                continue;
            }
            for path in entries(&folder)?.into_iter().filter(|path| is_aside(path)) {
                files::remove_folder(&path)?;
            }
        }
    }
    Ok(())
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
