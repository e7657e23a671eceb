//! A file on its way in: streamed to disk, looked at, and kept until it is imported or a day old.

use super::sniff::{self, Sample};
use crate::error::{Result, ServiceError};
use crate::files::{self, Files, UploadId};
use domain::dataset::{MAX_UPLOAD_BYTES, UploadPreview};
use domain::error::UserError;
use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncWriteExt, BufWriter};

/// Rows that the preview shows.
const PREVIEW_ROWS: usize = 8;
/// Characters of a field that the preview shows.
const PREVIEW_FIELD_CHARS: usize = 300;
/// How long an upload waits for its import.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// An upload in progress. Dropped before it is finished, it leaves nothing behind.
pub struct Upload {
    id: UploadId,
    folder: PathBuf,
    file: BufWriter<tokio::fs::File>,
    file_name: String,
    bytes: u64,
    is_finished: bool,
}

/// What is remembered of an upload beside its bytes.
#[derive(Serialize, Deserialize)]
pub struct UploadNote {
    pub file_name: String,
    pub bytes: u64,
    /// Name of the encoding, as encoding_rs has it.
    encoding: String,
}

impl UploadNote {
    pub fn encoding(&self) -> &'static Encoding {
        Encoding::for_label(self.encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8)
    }
}

pub fn source(folder: &Path) -> PathBuf {
    folder.join("source")
}

fn note_file(folder: &Path) -> PathBuf {
    folder.join("upload.json")
}

impl Upload {
    /// `file_name` is for people only; nothing on disk is called by it.
    pub(super) async fn begin(files: &Files, file_name: &str) -> Result<Self> {
        let id = UploadId::new();
        let folder = files.upload(&id);
        let path = source(&folder);
        tokio::fs::create_dir(&folder).await.map_err(|error| ServiceError::io(&folder, error))?;
        let file = tokio::fs::File::create(&path).await.map_err(|error| ServiceError::io(&path, error))?;
        let file = BufWriter::with_capacity(256 * 1024, file);
        Ok(Self { id, folder, file, file_name: display_name(file_name), bytes: 0, is_finished: false })
    }

    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// More than [`MAX_UPLOAD_BYTES`] in all, or the disk does not take them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_UPLOAD_BYTES {
            return Err(UserError::invalid(format!(
                "The file is larger than {} MB, which is the most that can be uploaded. Split it, or leave out columns \
                 that are not needed.",
                MAX_UPLOAD_BYTES / 1024 / 1024
            ))
            .into());
        }
        self.file.write_all(bytes).await.map_err(|error| ServiceError::io(&source(&self.folder), error))
    }

    /// The last byte has come: says what the file holds.
    ///
    /// # Errors
    /// The file is no table; it is thrown away, and the message says what it seems to be.
    pub async fn finish(mut self) -> Result<UploadPreview> {
        self.file.flush().await.map_err(|error| ServiceError::io(&source(&self.folder), error))?;
        let (id, folder) = (self.id.clone(), self.folder.clone());
        let (file_name, bytes) = (self.file_name.clone(), self.bytes);
        let preview = super::blocking(move || {
            let path = source(&folder);
            sniff::check_kind(&path)?;
            let encoding = sniff::detect_encoding(&path)?;
            let sample = sniff::best_sample(&path, encoding)?;
            if sample.records.is_empty() {
                return Err(UserError::invalid(
                    "The file has a header and no rows below it. It needs one row per text, with its label.",
                )
                .into());
            }
            let note = UploadNote { file_name, bytes, encoding: encoding.name().to_string() };
            files::write_whole(&note_file(&folder), |writer| files::write_json_line(writer, &note))?;
            Ok(preview_of(&id, note, sample))
        })
        .await?;
        self.is_finished = true;
        Ok(preview)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = files::remove_folder(&self.folder)
        {
            tracing::warn!(%error, "a given-up upload could not be removed; it goes with the next start");
        }
    }
}

/// The preview of an upload that waits for its import, under the delimiter given or the likeliest one.
pub fn preview(files: &Files, id: &UploadId, delimiter: Option<char>) -> Result<UploadPreview> {
    let folder = files.upload(id);
    let note = read_note(&folder)?;
    let path = source(&folder);
    let sample = match delimiter {
        Some(delimiter) => sniff::sample(&path, note.encoding(), check_delimiter(delimiter)?)?,
        None => sniff::best_sample(&path, note.encoding())?,
    };
    Ok(preview_of(id, note, sample))
}

pub fn check_delimiter(delimiter: char) -> Result<char> {
    if sniff::DELIMITERS.contains(&delimiter) {
        return Ok(delimiter);
    }
    Err(UserError::invalid("The character between fields must be a comma, a tab, a semicolon or a pipe (|).").into())
}

fn preview_of(id: &UploadId, note: UploadNote, sample: Sample) -> UploadPreview {
    let proposal = sample.propose();
    let width = sample.header.len();
    let rows = sample.records.iter().take(PREVIEW_ROWS).map(|record| {
        let mut row: Vec<String> = record.fields.iter().take(width).map(|field| shorten(field)).collect();
        row.resize(width, String::new());
        row
    });
    UploadPreview {
        upload: id.as_str().to_string(),
        file_name: note.file_name,
        bytes: note.bytes,
        encoding: note.encoding,
        rows: rows.collect(),
        columns: sample.header,
        proposal,
    }
}

fn shorten(field: &str) -> String {
    let mut letters = field.chars();
    let mut short: String = letters.by_ref().take(PREVIEW_FIELD_CHARS).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}

/// # Errors
/// The upload is not there, or not whole.
pub fn read_note(folder: &Path) -> Result<UploadNote> {
    let path = note_file(folder);
    let json = match std::fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(UserError::not_found(
                "This upload is not there any more: uploads are kept for a day until they are imported. Upload the \
                 file again.",
            )
            .into());
        }
        Err(error) => return Err(ServiceError::io(&path, error)),
    };
    serde_json::from_slice(&json).map_err(|error| ServiceError::stored("upload.json", error))
}

/// At the start of the process: imports that were cut off become uploads again; uploads that nobody wanted for a day,
/// and those that never arrived in full, go.
pub fn sweep(files: &Files) -> Result<()> {
    let uploads = files.uploads();
    let io = |error| ServiceError::io(&uploads, error);
    for entry in std::fs::read_dir(&uploads).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut folder = entry.path();
        if let Some(id) = name.strip_suffix(files::IN_IMPORT) {
            let back = uploads.join(id);
            std::fs::rename(&folder, &back).map_err(io)?;
            folder = back;
        }
        let modified =
            std::fs::metadata(&folder).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if age > KEPT || !note_file(&folder).exists() {
            files::remove_folder(&folder)?;
        }
    }
    let datasets = files.datasets();
    for entry in std::fs::read_dir(&datasets).map_err(|error| ServiceError::io(&datasets, error))?.flatten() {
        if entry.file_name().to_string_lossy().ends_with(files::ASIDE) {
            files::remove_folder(&entry.path())?;
        }
    }
    Ok(())
}

/// The last part of a path, without control characters, of bearable length.
fn display_name(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|letter| !letter.is_control()).take(200).collect();
    let name = name.trim();
    if name.is_empty() { "upload.csv".to_string() } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_only_shown() {
        for (given, shown) in [
            ("headlines.csv", "headlines.csv"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\my file.csv", "my file.csv"),
            ("a\u{0}\nb.csv", "ab.csv"),
            ("", "upload.csv"),
            ("dir/", "upload.csv"),
        ] {
            assert_eq!(display_name(given), shown);
        }
    }
}
