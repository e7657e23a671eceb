//! From a confirmed upload to a dataset, or to a dataset's next version.
//!
//! The file is read once, row by row, into a segment aside; only what is whole is renamed into place. Whatever fails on
//! the way, the upload stays and nothing else has changed.

use super::merge::merge;
use super::segment::{Segment, SegmentWriter};
use super::snapshot::{Changes, Snapshot};
use super::upload::{self, UploadNote};
use super::versions::{Draft, Made, describe, insert_version};
use super::{Datasets, blocking, to_the_end};
use crate::db::to_json;
use crate::error::{Result, ServiceError};
use crate::files::{self, UploadId};
use crate::source::{self, SourceRow};
use domain::dataset::{DatasetId, DatasetSummary, MAX_LABELS, check_labels};
use domain::error::UserError;
use domain::reading::{ImportInto, ImportProgress, ImportRequest, ReadOptions, TextSource};
use domain::version::{DatasetVersion, VersionCause};
use sqlx::Row as _;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Longest name of a dataset, in characters.
const MAX_NAME_CHARS: usize = 200;
/// Most files of a dataset: each is mapped as long as one of its versions is open.
const MAX_FILES: usize = 500;
/// Different labels after which reading stops.
const HOPELESS_LABELS: usize = 10 * MAX_LABELS;
/// Rows that could not be used and are kept with their reasons; of more only the number is.
pub(super) const KEPT_REJECTED: u64 = 100_000;
/// Rows after which the progress is told anew.
const TELL_EVERY: u64 = 1000;

/// A file that is to be read.
#[derive(Clone, Copy)]
struct Confirmed<'a> {
    upload: &'a UploadId,
    note: &'a UploadNote,
    /// The upload's folder.
    source: &'a Path,
    options: &'a ReadOptions,
}

/// What the reading of a file came to.
struct Incoming {
    segment: Segment,
    rejected: u64,
    text_column: String,
    label_column: String,
}

/// How far the imports are that are under way, by upload.
#[derive(Default)]
pub(super) struct Imports(Mutex<HashMap<String, ImportProgress>>);

impl Imports {
    fn tell(&self, upload: &UploadId, progress: ImportProgress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(upload.as_str().to_string(), progress);
    }

    fn forget(&self, upload: &UploadId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(upload.as_str());
    }

    fn get(&self, upload: &str) -> Option<ImportProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(upload).copied()
    }
}

impl Datasets {
    /// Makes a dataset of an upload, or adds it to one as its next version. Bad rows are kept aside with their reasons.
    ///
    /// # Errors
    /// No such upload, or it is being imported or has been; columns that are not there; labels that no classifier can
    /// learn; no row that the dataset to add to does not have. The upload stays, so that it can be read otherwise.
    pub async fn import(&self, upload: &str, request: ImportRequest) -> Result<DatasetSummary> {
        let id = UploadId::parse(upload)?;
        if let Some(name) = self.imported_as(&id).await? {
            return Err(
                UserError::conflict(format!("This file has been imported already, into dataset \"{name}\".")).into()
            );
        }
        if let Some(into) = request.into {
            self.get(into.dataset).await?;
        }
        // Only one can rename the folder, so of two that confirm the same upload one goes on.
        let (free, taken) = (self.files.upload(&id), self.files.upload_in_import(&id));
        if let Err(error) = tokio::fs::rename(&free, &taken).await {
            if taken.exists() {
                return Err(UserError::conflict("This file is being imported right now. Look at the datasets.").into());
            }
            if error.kind() != std::io::ErrorKind::NotFound {
                return Err(ServiceError::io(&free, error));
            }
            upload::read_note(&free)?;
            return Err(ServiceError::io(&free, error));
        }
        let datasets = self.clone();
        to_the_end(async move { datasets.import_taken(&id, request).await }).await
    }

    /// How far the import of an upload is; `None` where none is under way.
    pub async fn import_progress(&self, upload: &str) -> Option<ImportProgress> {
        self.shared.imports.get(upload)
    }

    async fn import_taken(&self, upload: &UploadId, request: ImportRequest) -> Result<DatasetSummary> {
        let (free, taken) = (self.files.upload(upload), self.files.upload_in_import(upload));
        self.shared.imports.tell(upload, ImportProgress::default());
        let imported = match request.into {
            None => self.import_new(upload, &taken, request).await,
            Some(into) => self.import_into(upload, &taken, into, request).await,
        };
        self.shared.imports.forget(upload);
        if imported.is_err() {
            tokio::fs::rename(&taken, &free).await.map_err(|error| ServiceError::io(&taken, error))?;
        } else if let Err(error) = files::remove_folder(&taken) {
            // The rows are safe; what stays behind takes room only, until the next start.
            tracing::warn!(%error, "an imported upload could not be removed");
        }
        imported
    }

    async fn import_new(&self, upload: &UploadId, source: &Path, request: ImportRequest) -> Result<DatasetSummary> {
        let mut id = self.db.next_number("dataset").await?;
        // A folder may be there from a database that has been replaced; it is left alone.
        while self.files.dataset(id).exists() {
            id = self.db.next_number("dataset").await?;
        }
        let (datasets, source, taken_by) = (self.clone(), source.to_path_buf(), upload.clone());
        let (summary, version) = blocking(move || {
            let (aside, place) = (datasets.files.dataset_aside(id), datasets.files.dataset(id));
            let made = datasets.write_new(id, &taken_by, &source, request).and_then(|made| {
                std::fs::rename(&aside, &place).map_err(|error| ServiceError::io(&place, error))?;
                files::sync_folder_of(&place)?;
                Ok(made)
            });
            if made.is_err() {
                files::remove_folder(&aside)?;
            }
            made
        })
        .await?;
        if let Err(error) = self.insert(upload, &summary, &version).await {
            files::remove_folder(&self.files.dataset(id))?;
            return Err(error);
        }
        self.examine_soon(id, version.number);
        Ok(summary)
    }

    /// The dataset's first version, aside.
    fn write_new(
        &self,
        id: DatasetId,
        upload: &UploadId,
        source: &Path,
        request: ImportRequest,
    ) -> Result<(DatasetSummary, DatasetVersion)> {
        let ImportRequest { name, options, by, .. } = request;
        let note = upload::read_whole_note(source)?;
        let segment = self.files.dataset_aside(id).join(files::SEGMENTS).join("0");
        let confirmed = Confirmed { upload, note: &note, source, options: &options };
        let incoming = self.read_file(&confirmed, &segment)?;
        let at_ms = (self.clock)();
        let rejected = incoming.rejected;
        let snapshot = Snapshot::new(vec![Arc::new(incoming.segment)], Changes::new());
        let made = Made { cause: VersionCause::Imported { file_name: note.file_name.clone() }, by, at_ms };
        let version = describe(id, 1, None, &snapshot, made);
        check_labels(&version.labels)?;
        let summary = DatasetSummary {
            id,
            name: dataset_name(&name, &note.file_name),
            file_name: note.file_name,
            text_column: incoming.text_column,
            label_column: incoming.label_column,
            rows: version.rows,
            rejected,
            labels: version.labels.clone(),
            created_at_ms: at_ms,
            version: version.number,
            verdict: None,
        };
        Ok((summary, version))
    }

    async fn insert(&self, upload: &UploadId, summary: &DatasetSummary, version: &DatasetVersion) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        sqlx::query(
            "INSERT INTO datasets (id, upload, name, file_name, text_column, label_column, row_count, rejected_count, \
             labels, created_at_ms, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(summary.id)
        .bind(upload.as_str())
        .bind(&summary.name)
        .bind(&summary.file_name)
        .bind(&summary.text_column)
        .bind(&summary.label_column)
        .bind(summary.rows as i64)
        .bind(summary.rejected as i64)
        .bind(to_json(&summary.labels)?)
        .bind(summary.created_at_ms)
        .bind(version.number)
        .execute(&mut *transaction)
        .await?;
        insert_version(&mut transaction, version, 1, Some(upload)).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn import_into(
        &self,
        upload: &UploadId,
        source: &Path,
        into: ImportInto,
        request: ImportRequest,
    ) -> Result<DatasetSummary> {
        let id = into.dataset;
        let aside = self.files.dataset(id).join(format!("{}{}", upload.as_str(), files::ASIDE));
        let added = self.add_file(upload, source, &aside, into, request).await;
        files::remove_folder(&aside)?;
        added?;
        self.get(id).await
    }

    async fn add_file(
        &self,
        upload: &UploadId,
        source: &Path,
        aside: &Path,
        into: ImportInto,
        request: ImportRequest,
    ) -> Result<DatasetVersion> {
        let ImportInto { dataset: id, replace } = into;
        let (datasets, taken_by) = (self.clone(), upload.clone());
        let (source, whole) = (source.to_path_buf(), aside.join("whole"));
        let (note, incoming) = blocking(move || {
            let note = upload::read_whole_note(&source)?;
            let confirmed = Confirmed { upload: &taken_by, note: &note, source: &source, options: &request.options };
            let incoming = datasets.read_file(&confirmed, &whole)?;
            Ok((note, incoming))
        })
        .await?;

        // Others may change the dataset while the file is read, but not while it is compared.
        let _turn = self.turn(id).await;
        let head = self.record(id, None).await?;
        if head.segments >= MAX_FILES {
            return Err(UserError::invalid(format!(
                "{MAX_FILES} files have been added to this dataset, which is the most. Export it and make a new one of it."
            ))
            .into());
        }
        let snapshot = self.snapshot(id, Some(head.version.number)).await?;
        let (whole, new, place) = (aside.join("whole"), aside.join("new"), self.files.segment(id, head.segments));
        let rejected = incoming.rejected;
        let (file_name, segment_place) = (note.file_name.clone(), place.clone());
        let merged = blocking(move || {
            let mut writer = SegmentWriter::create(&new)?;
            let merged = merge(&snapshot, &incoming.segment, replace, &mut writer)?;
            if merged.appended == 0 && merged.changes == *snapshot.changes() {
                return Err(nothing_new(merged.unchanged).into());
            }
            writer.finish(&file_name, rejected)?;
            let kept = whole.join(files::REJECTED);
            std::fs::rename(&kept, new.join(files::REJECTED)).map_err(|error| ServiceError::io(&kept, error))?;
            // A process that did not get to the end may have left one there.
            files::remove_folder(&segment_place)?;
            std::fs::rename(&new, &segment_place).map_err(|error| ServiceError::io(&segment_place, error))?;
            files::sync_folder_of(&segment_place)?;
            Ok(merged)
        })
        .await?;
        let draft = Draft {
            changes: merged.changes,
            segments: head.segments + 1,
            cause: VersionCause::FileAdded { file_name: note.file_name, replace },
            by: request.by,
            file: Some((upload.clone(), rejected)),
        };
        let committed = self.commit(&head, draft).await;
        if committed.is_err() {
            files::remove_folder(&place)?;
        }
        committed
    }

    /// Reads a file row by row into `folder`, which this makes: a segment of the good rows, and the bad ones beside it.
    fn read_file(&self, confirmed: &Confirmed, folder: &Path) -> Result<Incoming> {
        let Confirmed { upload, note, source, options } = *confirmed;
        let started = Instant::now();
        let mut writer = SegmentWriter::create(folder)?;
        let rejected_file = folder.join(files::REJECTED);
        let create = File::create(&rejected_file).map_err(|error| ServiceError::io(&rejected_file, error))?;
        let mut bad = BufWriter::new(create);
        let mut rejected = 0;
        let file = upload::source(source);
        let columns = source::columns(&file, options)?;
        source::read(&file, options, &mut |row, share| {
            match row {
                Ok(SourceRow { row, part }) => writer.write(&row, part)?,
                Err(row) => {
                    rejected += 1;
                    if rejected <= KEPT_REJECTED {
                        files::write_json_line(&mut bad, &row)
                            .map_err(|error| ServiceError::io(&rejected_file, error))?;
                    }
                }
            }
            let rows = writer.rows();
            if (rows + rejected).is_multiple_of(TELL_EVERY) {
                let seconds = started.elapsed().as_secs_f64();
                self.shared.imports.tell(upload, ImportProgress { rows, rejected, share, seconds });
            }
            // A column of texts taken for labels: the verdict is certain, and the rest of the file changes nothing.
            Ok(writer.labels().len() <= HOPELESS_LABELS)
        })?;
        check_labels_of_file(&writer)?;
        bad.flush().and_then(|()| bad.get_ref().sync_all()).map_err(|error| ServiceError::io(&rejected_file, error))?;
        writer.finish(&note.file_name, rejected)?;
        files::sync_folder_of(&rejected_file)?;
        Ok(Incoming {
            segment: Segment::open(folder)?,
            rejected,
            text_column: text_column(options, &columns),
            label_column: column_name(&columns, options.label_column),
        })
    }

    /// The name of the dataset that an upload has become or been added to.
    async fn imported_as(&self, upload: &UploadId) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT name FROM datasets WHERE upload = $1 OR id IN \
             (SELECT dataset_id FROM dataset_versions WHERE upload = $1)",
        )
        .bind(upload.as_str())
        .fetch_optional(&self.db.pool)
        .await?;
        Ok(row.map(|row| row.try_get("name")).transpose()?)
    }
}

/// What is wrong with a file whatever it is added to.
fn check_labels_of_file(writer: &SegmentWriter) -> Result<()> {
    if writer.rows() == 0 || writer.labels().len() > MAX_LABELS {
        check_labels(writer.labels())?;
    }
    Ok(())
}

fn nothing_new(rows: u64) -> UserError {
    let what = if rows == 1 { "The one row".to_string() } else { format!("All {rows} rows") };
    UserError::conflict(format!("{what} of this file stand in the dataset already, so nothing was added."))
}

/// What the texts were made of, for people.
fn text_column(options: &ReadOptions, columns: &[String]) -> String {
    match &options.text {
        TextSource::Column(column) => column_name(columns, *column),
        TextSource::Template(template) => template.clone(),
    }
}

fn column_name(columns: &[String], column: usize) -> String {
    columns.get(column).cloned().unwrap_or_default()
}

/// The name given, or the file's without its ending.
fn dataset_name(given: &str, file_name: &str) -> String {
    let name = match given.trim() {
        "" => file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem),
        given => given,
    };
    name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME_CHARS).collect()
}
