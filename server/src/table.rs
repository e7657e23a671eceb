//! CSV files that arguments name, read by the service's own reader, and files written so that a name never stands for
//! half of one.

use crate::arguments::{Usage, require_file};
use anyhow::{Context, bail};
use domain::dataset::{RejectedRow, Row};
use engine::train::Example;
use std::fs;
use std::path::{Path, PathBuf};

/// Rejected rows that are told one by one; of more only the number is.
const REJECTED_TOLD: usize = 5;

/// The usable rows of a file, and the others with the reason why not.
#[derive(Debug, Default)]
pub struct LabelledTable {
    pub rows: Vec<Row>,
    pub rejected: Vec<RejectedRow>,
}

impl LabelledTable {
    /// The rows with the index of their label in `labels`.
    pub fn examples(&self, labels: &[String]) -> anyhow::Result<Vec<Example>> {
        let example = |row: &Row| match labels.iter().position(|label| *label == row.label) {
            Some(label) => Ok(Example { text: row.text.clone(), label }),
            None => bail!(
                "Line {} has the label \"{}\", which the classifier does not know; it knows {}.",
                row.line,
                row.label,
                labels.join(", ")
            ),
        };
        self.rows.iter().map(example).collect()
    }
}

/// Reads the file that `argument` names. Rows that cannot be used are told on stderr.
pub fn read_labelled(
    argument: &str,
    path: &Path,
    text_column: &str,
    label_column: &str,
) -> anyhow::Result<LabelledTable> {
    read(argument, path, text_column, Some(label_column))
}

/// As [`read_labelled`], for a file whose labels are not known or do not matter; the rows' labels are empty.
pub fn read_texts(argument: &str, path: &Path, text_column: &str) -> anyhow::Result<LabelledTable> {
    read(argument, path, text_column, None)
}

fn read(argument: &str, path: &Path, text_column: &str, label_column: Option<&str>) -> anyhow::Result<LabelledTable> {
    require_file(argument, path)?;
    let (rows, rejected) = service::datasets::read_table(path, text_column, label_column)
        .with_context(|| format!("{argument}: {}", path.display()))?;
    if !rejected.is_empty() {
        eprintln!("{}: {} rows cannot be used:", path.display(), rejected.len());
        for row in rejected.iter().take(REJECTED_TOLD) {
            eprintln!("  line {}: {}", row.line, row.reason);
        }
        if rejected.len() > REJECTED_TOLD {
            eprintln!("  and {} more", rejected.len() - REJECTED_TOLD);
        }
    }
    Ok(LabelledTable { rows, rejected })
}

/// The folder in which `path` is to stand is there.
pub fn require_writable(argument: &str, path: &Path) -> Result<(), Usage> {
    if path.is_dir() {
        return Err(Usage(format!("{argument}: {} is a folder; name a file.", path.display())));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(Usage(format!("{argument}: the folder {} does not exist.", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Writes a file beside `path` and renames it into place, so that what stood there is lost only to something whole.
pub fn write_aside(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = PathBuf::from(aside);
    let written = fs::write(&aside, content).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.with_context(|| format!("{} cannot be written; nothing that was there has changed", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_there_survives_a_failed_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        write_aside(&path, b"one").unwrap();
        // A folder in the way of the file aside.
        fs::create_dir(folder.path().join("out.csv.partial")).unwrap();
        assert!(write_aside(&path, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn an_unknown_label_is_named_with_its_line() {
        let row = Row { line: 7, text: "t".into(), label: "mixed".into() };
        let table = LabelledTable { rows: vec![row], rejected: Vec::new() };
        let error = table.examples(&["good".to_string(), "bad".to_string()]).unwrap_err().to_string();
        assert!(error.contains("Line 7") && error.contains("mixed") && error.contains("good, bad"), "{error}");
    }
}
