//! Datasets that were made before there were versions: one file of rows and one of rejected rows each. At the start of
//! the process each becomes a segment and version 1. What stood there before goes last, so that a process that dies on
//! the way leaves what the next one can begin with.

use super::segment::{Segment, SegmentWriter};
use super::snapshot::{Changes, Snapshot};
use super::versions::{Made, describe, insert_version};
use super::{Datasets, blocking, summary_from};
use crate::error::{Result, ServiceError};
use crate::files::{self, Files};
use domain::dataset::{DatasetId, DatasetSummary, Row};
use domain::version::{DatasetVersion, NOBODY, VersionCause};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One JSON object per row: line, text and label.
const OLD_ROWS: &str = "rows.jsonl";

impl Datasets {
    /// Makes version 1 of every dataset that has none. One that cannot be read is told in the log and left as it is.
    pub(super) async fn convert_old(&self) -> Result<()> {
        let rows = sqlx::query(super::SUMMARY_WITHOUT_VERSION).fetch_all(&self.db.pool).await?;
        for row in rows {
            let summary = summary_from(&row)?;
            match self.convert(&summary).await {
                Ok(()) => tracing::info!(dataset = summary.id, "dataset \"{}\" now has versions", summary.name),
                Err(error) => tracing::error!(
                    %error,
                    dataset = summary.id,
                    "dataset \"{}\" could not be given versions; its files are as they were",
                    summary.name
                ),
            }
        }
        Ok(())
    }

    async fn convert(&self, summary: &DatasetSummary) -> Result<()> {
        let (files, old) = (self.files.clone(), summary.clone());
        let version = blocking(move || first_version(&files, &old)).await?;
        let mut transaction = self.db.begin_write().await?;
        sqlx::query("UPDATE datasets SET version = 1 WHERE id = $1 AND version = 0")
            .bind(summary.id)
            .execute(&mut *transaction)
            .await?;
        insert_version(&mut transaction, &version, 1, None).await?;
        transaction.commit().await?;
        for name in [OLD_ROWS, files::REJECTED] {
            let path = self.files.dataset(summary.id).join(name);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, "{} is not needed any more and could not be removed", path.display());
            }
        }
        Ok(())
    }
}

/// Writes the segment and says what its version is.
fn first_version(files: &Files, old: &DatasetSummary) -> Result<DatasetVersion> {
    let place = files.segment(old.id, 0);
    let aside = aside_of(files, old.id);
    files::remove_folder(&aside)?;
    let mut writer = SegmentWriter::create(&aside)?;
    let path = files.dataset(old.id).join(OLD_ROWS);
    let file = File::open(&path).map_err(|error| ServiceError::io(&path, error))?;
    for line in BufReader::with_capacity(256 * 1024, file).lines() {
        let line = line.map_err(|error| ServiceError::io(&path, error))?;
        let row: Row = serde_json::from_str(&line).map_err(|error| ServiceError::stored(OLD_ROWS, error))?;
        writer.write(&row, None)?;
    }
    copy_rejected(&files.dataset(old.id).join(files::REJECTED), &aside.join(files::REJECTED))?;
    writer.finish(&old.file_name, old.rejected)?;
    // Of an earlier attempt that came no further than this.
    files::remove_folder(&place)?;
    let segments = place.parent().unwrap_or(&place);
    std::fs::create_dir_all(segments).map_err(|error| ServiceError::io(segments, error))?;
    std::fs::rename(&aside, &place).map_err(|error| ServiceError::io(&place, error))?;
    files::sync_folder_of(&place)?;

    let snapshot = Snapshot::new(vec![Arc::new(Segment::open(&place)?)], Changes::new());
    let cause = VersionCause::Imported { file_name: old.file_name.clone() };
    let made = Made { cause, by: NOBODY.to_string(), at_ms: old.created_at_ms };
    Ok(describe(old.id, 1, None, &snapshot, made))
}

fn aside_of(files: &Files, id: DatasetId) -> PathBuf {
    files.dataset(id).join(format!("conversion{}", files::ASIDE))
}

fn copy_rejected(from: &Path, to: &Path) -> Result<()> {
    let copied = match std::fs::copy(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => File::create(to).map(|_| ()),
        copied => copied.map(|_| ()),
    };
    copied.map_err(|error| ServiceError::io(to, error))
}
