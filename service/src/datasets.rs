//! Datasets: files taken in, checked row by row, and kept as they were understood.

mod segment;
mod snapshot;
mod upload;

pub use crate::source::read_table;
pub use upload::{Upload, UploadAppend};

use crate::Clock;
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::files::{self, Files, UploadId};
use crate::source;
use domain::dataset::{DatasetId, DatasetSummary, LabelCount, MAX_LABELS, RejectedRow, Row, RowPage, check_labels};
use domain::error::UserError;
use domain::reading::{ReadOptions, TextSource};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use upload::Uploads;

/// Rows on one page.
pub const PAGE_SIZE: u64 = 50;
/// Longest name of a dataset, in characters.
const MAX_NAME_CHARS: usize = 200;
/// Different labels after which reading stops.
const HOPELESS_LABELS: usize = 10 * MAX_LABELS;

/// Taking in files and reading what they became. Clones share everything.
#[derive(Clone)]
pub struct Datasets {
    db: Database,
    files: Files,
    uploads: Uploads,
    clock: Clock,
}

/// What the reading of a file came to.
struct Imported {
    columns: Vec<String>,
    labels: Vec<LabelCount>,
    rows: u64,
    rejected: u64,
}

impl Datasets {
    pub(crate) fn new(db: Database, files: Files, clock: Clock) -> Self {
        Self { db, uploads: Uploads::new(files.clone()), files, clock }
    }

    /// Clears away what earlier processes left half done.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let files = self.files.clone();
        blocking(move || upload::sweep(&files)).await
    }

    /// Makes a dataset of an upload. Bad rows are kept aside with their reasons.
    ///
    /// # Errors
    /// No such upload, or it is being imported or has been; columns that are not there; labels that no classifier can
    /// learn. In the last two cases the upload stays, so that other columns can be chosen.
    pub async fn import(&self, upload: &str, name: &str, options: ReadOptions) -> Result<DatasetSummary> {
        let id = UploadId::parse(upload)?;
        if let Some(earlier) = self.find_by_upload(&id).await? {
            return Err(UserError::conflict(format!(
                "This file has been imported already, as dataset \"{}\".",
                earlier.name
            ))
            .into());
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
        // On a task of its own: a browser that hangs up takes its request with it, but not the import half-way.
        let (datasets, name) = (self.clone(), name.to_string());
        let import = tokio::spawn(async move { datasets.import_taken(&id, &name, options).await });
        import.await.unwrap_or_else(|error| Err(ServiceError::Panicked(error.to_string())))
    }

    async fn import_taken(&self, id: &UploadId, name: &str, options: ReadOptions) -> Result<DatasetSummary> {
        let (free, taken) = (self.files.upload(id), self.files.upload_in_import(id));
        let imported = self.import_folder(id, &taken, name, options).await;
        if imported.is_err() {
            tokio::fs::rename(&taken, &free).await.map_err(|error| ServiceError::io(&taken, error))?;
        } else if let Err(error) = files::remove_folder(&taken) {
            // The rows are safe; what stays behind takes room only, until the next start.
            tracing::warn!(%error, "an imported upload could not be removed");
        }
        imported
    }

    async fn import_folder(
        &self,
        upload: &UploadId,
        folder: &Path,
        name: &str,
        options: ReadOptions,
    ) -> Result<DatasetSummary> {
        let mut id = self.db.next_number("dataset").await?;
        // A folder may be there from a database that has been replaced; it is left alone.
        while self.files.dataset(id).exists() {
            id = self.db.next_number("dataset").await?;
        }
        let (aside, place, source) = (self.files.dataset_aside(id), self.files.dataset(id), folder.to_path_buf());
        let reading = options.clone();
        let (note, imported) = blocking(move || {
            let note = upload::read_note(&source)?;
            let imported = write_rows(&upload::source(&source), &reading, &aside);
            let placed = imported.and_then(|imported| {
                std::fs::rename(&aside, &place).map_err(|error| ServiceError::io(&place, error))?;
                files::sync_folder_of(&place)?;
                Ok(imported)
            });
            if placed.is_err() {
                files::remove_folder(&aside)?;
            }
            Ok((note, placed?))
        })
        .await?;
        let summary = DatasetSummary {
            id,
            name: dataset_name(name, &note.file_name),
            file_name: note.file_name,
            text_column: match &options.text {
                TextSource::Column(column) => imported.columns.get(*column).cloned().unwrap_or_default(),
                TextSource::Template(template) => template.clone(),
            },
            label_column: imported.columns.get(options.label_column).cloned().unwrap_or_default(),
            rows: imported.rows,
            rejected: imported.rejected,
            labels: imported.labels,
            created_at_ms: (self.clock)(),
        };
        if let Err(error) = self.insert(upload, &summary).await {
            files::remove_folder(&self.files.dataset(id))?;
            return Err(error);
        }
        Ok(summary)
    }

    async fn insert(&self, upload: &UploadId, summary: &DatasetSummary) -> Result<()> {
        sqlx::query(
            "INSERT INTO datasets (id, upload, name, file_name, text_column, label_column, row_count, rejected_count, \
             labels, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
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
        .execute(&self.db.pool)
        .await?;
        Ok(())
    }

    async fn find_by_upload(&self, upload: &UploadId) -> Result<Option<DatasetSummary>> {
        let row = sqlx::query("SELECT * FROM datasets WHERE upload = $1")
            .bind(upload.as_str())
            .fetch_optional(&self.db.pool)
            .await?;
        row.as_ref().map(summary_from).transpose()
    }

    /// All datasets, the newest first.
    pub async fn list(&self) -> Result<Vec<DatasetSummary>> {
        let rows = sqlx::query("SELECT * FROM datasets ORDER BY id DESC").fetch_all(&self.db.pool).await?;
        rows.iter().map(summary_from).collect()
    }

    pub async fn get(&self, id: DatasetId) -> Result<DatasetSummary> {
        let row = sqlx::query("SELECT * FROM datasets WHERE id = $1").bind(id).fetch_optional(&self.db.pool).await?;
        match row {
            Some(row) => summary_from(&row),
            None => Err(UserError::not_found(format!("There is no dataset number {id}.")).into()),
        }
    }

    /// One page of the rows whose text or label holds `search`, whatever its case, and whose label is `label`, if one
    /// is given. `page` counts from 0.
    pub async fn rows(&self, id: DatasetId, search: &str, label: Option<&str>, page: u64) -> Result<RowPage> {
        let summary = self.get(id).await?;
        let path = self.files.rows(id);
        let search = search.trim().to_lowercase();
        let label = label.filter(|label| !label.is_empty()).map(String::from);
        blocking(move || {
            let first = page.saturating_mul(PAGE_SIZE);
            let after = first.saturating_add(PAGE_SIZE);
            let mut rows = Vec::new();
            let mut matching = 0;
            if search.is_empty() && label.is_none() {
                // Nothing to compare: only the page's own lines are parsed.
                for line in JsonLines::open(&path)?.skip(to_index(first)).take(PAGE_SIZE as usize) {
                    rows.push(parse_row(&line?)?);
                }
                return Ok(RowPage { rows, matching: summary.rows, page, page_size: PAGE_SIZE });
            }
            for line in JsonLines::open(&path)? {
                let row = parse_row(&line?)?;
                let has_label = label.as_ref().is_none_or(|label| *label == row.label);
                if !has_label || !(holds(&row.text, &search) || holds(&row.label, &search)) {
                    continue;
                }
                if (first..after).contains(&matching) {
                    rows.push(row);
                }
                matching += 1;
            }
            Ok(RowPage { rows, matching, page, page_size: PAGE_SIZE })
        })
        .await
    }

    /// One page of the rows that could not be used, in the order of the file, and their number in all.
    pub async fn rejected(&self, id: DatasetId, page: u64) -> Result<(Vec<RejectedRow>, u64)> {
        let summary = self.get(id).await?;
        let path = self.files.rejected(id);
        let rows = blocking(move || {
            JsonLines::open(&path)?
                .skip(to_index(page.saturating_mul(PAGE_SIZE)))
                .take(PAGE_SIZE as usize)
                .map(|line| serde_json::from_str(&line?).map_err(|error| ServiceError::stored(files::REJECTED, error)))
                .collect::<Result<Vec<RejectedRow>>>()
        })
        .await?;
        Ok((rows, summary.rejected))
    }

    /// All rows, in the order of the file.
    pub async fn load(&self, id: DatasetId) -> Result<Vec<Row>> {
        let summary = self.get(id).await?;
        let path = self.files.rows(id);
        blocking(move || {
            let mut rows = Vec::with_capacity(to_index(summary.rows));
            for line in JsonLines::open(&path)? {
                rows.push(parse_row(&line?)?);
            }
            Ok(rows)
        })
        .await
    }

    /// One row by its place, counted from 0.
    pub(crate) async fn row(&self, id: DatasetId, place: u64) -> Result<Row> {
        let summary = self.get(id).await?;
        let path = self.files.rows(id);
        blocking(move || match JsonLines::open(&path)?.nth(to_index(place)) {
            Some(line) => parse_row(&line?),
            None => Err(UserError::not_found(format!(
                "There is no row {}; the dataset has {}.",
                place.saturating_add(1),
                summary.rows
            ))
            .into()),
        })
        .await
    }
}

/// Runs file work where it may block, and gives a panic there back as an error.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ServiceError::Panicked(error.to_string())),
    }
}

/// Reads the file row by row into `aside`, a folder that this makes: the good rows, the bad ones, all on the disk.
fn write_rows(source: &Path, options: &ReadOptions, aside: &Path) -> Result<Imported> {
    let columns = source::columns(source, options)?;

    std::fs::create_dir(aside).map_err(|error| ServiceError::io(aside, error))?;
    let (rows_file, rejected_file) = (aside.join(files::ROWS), aside.join(files::REJECTED));
    let create = |path: &Path| File::create(path).map(BufWriter::new).map_err(|error| ServiceError::io(path, error));
    let (mut good, mut bad) = (create(&rows_file)?, create(&rejected_file)?);
    let (mut rows, mut rejected) = (0, 0);
    let mut labels: BTreeMap<String, u64> = BTreeMap::new();
    source::read(source, options, &mut |row, _| {
        match row {
            Ok(source::SourceRow { row, .. }) => {
                files::write_json_line(&mut good, &row).map_err(|error| ServiceError::io(&rows_file, error))?;
                rows += 1;
                *labels.entry(row.label).or_default() += 1;
            }
            Err(row) => {
                files::write_json_line(&mut bad, &row).map_err(|error| ServiceError::io(&rejected_file, error))?;
                rejected += 1;
            }
        }
        // A column of texts taken for labels: the verdict is certain, and the rest of the file changes nothing.
        Ok(labels.len() <= HOPELESS_LABELS)
    })?;
    let labels = sort_labels(labels);
    check_labels(&labels)?;
    for (mut writer, path) in [(good, &rows_file), (bad, &rejected_file)] {
        writer.flush().and_then(|()| writer.get_ref().sync_all()).map_err(|error| ServiceError::io(path, error))?;
    }
    files::sync_folder_of(&rows_file)?;
    Ok(Imported { columns, labels, rows, rejected })
}

/// Most frequent first, then by name.
fn sort_labels(counts: BTreeMap<String, u64>) -> Vec<LabelCount> {
    let mut labels: Vec<LabelCount> = counts.into_iter().map(|(label, rows)| LabelCount { label, rows }).collect();
    labels.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
    labels
}

/// The name given, or the file's without its ending.
fn dataset_name(given: &str, file_name: &str) -> String {
    let name = match given.trim() {
        "" => file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem),
        given => given,
    };
    name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME_CHARS).collect()
}

/// The lines of a file of ours, one by one.
struct JsonLines<'a> {
    path: &'a Path,
    lines: std::io::Lines<BufReader<File>>,
}

impl<'a> JsonLines<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| ServiceError::io(path, error))?;
        Ok(Self { path, lines: BufReader::with_capacity(256 * 1024, file).lines() })
    }
}

impl Iterator for JsonLines<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.lines.next()?.map_err(|error| ServiceError::io(self.path, error)))
    }
}

fn parse_row(line: &str) -> Result<Row> {
    serde_json::from_str(line).map_err(|error| ServiceError::stored(files::ROWS, error))
}

/// `lower` is in lower case already.
fn holds(words: &str, lower: &str) -> bool {
    lower.is_empty() || words.to_lowercase().contains(lower)
}

/// A place as an index; one that no memory could hold becomes the largest.
fn to_index(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn summary_from(row: &AnyRow) -> Result<DatasetSummary> {
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
    })
}
