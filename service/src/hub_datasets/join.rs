//! One upload out of files: a single one as it is; several one after the other as one table, with a column that says
//! which split each row came from.

use crate::datasets::{Datasets, Upload};
use crate::error::{Result, ServiceError};
use crate::source::{Container, Fields, Records, detect};
use domain::error::UserError;
use domain::reading::ReadWish;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

const CHUNK_BYTES: usize = 256 << 10;
/// The name under which the reader looks for a split.
const SPLIT_COLUMN: &str = "split";

/// A file in the Hub's cache.
pub struct SourceFile {
    pub path: PathBuf,
    /// Its path in the repository.
    pub name: String,
    /// Such as `train`.
    pub split: String,
}

/// Makes an upload of the files and returns its name; `None` where `stops` said so. Blocks.
///
/// # Errors
/// A file cannot be read, two of them have different columns, or the disk does not do as told.
pub fn upload_files(
    datasets: &Datasets,
    handle: &Handle,
    repo: &str,
    files: &[SourceFile],
    stops: &dyn Fn() -> bool,
) -> Result<Option<String>> {
    let file_name = match files {
        [only] => only.name.rsplit('/').next().unwrap_or(&only.name).to_owned(),
        _ => format!("{}.csv", repo.rsplit('/').next().unwrap_or(repo)),
    };
    let mut upload = handle.block_on(datasets.begin_upload(&file_name))?;
    let finished = match files {
        [only] => copy(&only.path, &mut upload, handle, stops)?,
        several => join(several, &mut upload, handle, stops)?,
    };
    if !finished {
        return Ok(None);
    }
    Ok(Some(handle.block_on(upload.finish())?.upload))
}

fn copy(path: &Path, upload: &mut Upload, handle: &Handle, stops: &dyn Fn() -> bool) -> Result<bool> {
    let io = |error| ServiceError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).map_err(io)?;
        if read == 0 {
            return Ok(true);
        }
        if stops() {
            return Ok(false);
        }
        handle.block_on(upload.write(&chunk[..read]))?;
    }
}

fn join(files: &[SourceFile], upload: &mut Upload, handle: &Handle, stops: &dyn Fn() -> bool) -> Result<bool> {
    let mut columns: Option<Vec<String>> = None;
    let has_splits = files.iter().any(|file| file.split != files[0].split);
    let mut out = Vec::with_capacity(2 * CHUNK_BYTES);
    for file in files {
        let in_words = |error| named(error, &file.name);
        let options = detect(&file.path, &ReadWish::default()).map_err(in_words)?.options;
        let container = Container::open(&file.path, options.member.as_deref()).map_err(in_words)?;
        let mut records = Records::open(&container, &options, None).map_err(in_words)?;
        let known = columns.get_or_insert_with(|| records.columns().to_vec());
        if known != records.columns() {
            return Err(UserError::invalid(format!(
                "{} has other columns ({}) than {} ({}). Fetch them one by one.",
                file.name,
                shown(records.columns()),
                files[0].name,
                shown(known)
            ))
            .into());
        }
        let split = (has_splits && !known.iter().any(|name| name == SPLIT_COLUMN)).then_some(file.split.as_str());
        if std::ptr::eq(file, &files[0]) {
            write_line(&mut out, known.iter().map(String::as_str), split.map(|_| SPLIT_COLUMN));
        }
        let width = known.len();
        while let Some(record) = records.next_record().map_err(in_words)? {
            if let Err(row) = record {
                // Left out here, it would be missing without a word.
                return Err(UserError::invalid(format!(
                    "{}, line {}: {}. Fetch this file alone to see it and the others like it.",
                    file.name, row.line, row.reason
                ))
                .into());
            }
            let fields: &Fields = records.fields();
            let field = |column| match fields.get(column) {
                // The names stand in the file beside its rows, and the table has no place for them but the rows.
                label if column == options.label_column => options.label_names.get(label).map_or(label, String::as_str),
                other => other,
            };
            write_line(&mut out, (0..width).map(field), split);
            if out.len() >= CHUNK_BYTES {
                if stops() {
                    return Ok(false);
                }
                handle.block_on(upload.write(&out))?;
                out.clear();
            }
        }
    }
    handle.block_on(upload.write(&out))?;
    Ok(true)
}

/// A line of CSV after RFC 4180, every field in quotes: what a field holds needs no second thought then.
fn write_line<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = &'a str>, last: Option<&'a str>) {
    for (place, field) in fields.chain(last).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'"');
        for byte in field.bytes() {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

fn named(error: ServiceError, file: &str) -> ServiceError {
    match error {
        ServiceError::User(error) => UserError::new(error.kind, format!("{file}: {}", error.message)).into(),
        other => other,
    }
}

fn shown(columns: &[String]) -> String {
    columns.iter().take(8).cloned().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was() {
        let fields = ["plain", "with \"quotes\", a comma", "two\nlines", ""];
        let mut line = Vec::new();
        write_line(&mut line, fields.into_iter(), Some("train"));
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_slice());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.iter().collect::<Vec<_>>(), [&fields[..], &["train"]].concat());
    }
}
