//! Going through a table's rows: the one way of reading for uploads and for files named on a command line.

use super::{read, sniff};
use crate::error::Result;
use domain::dataset::{RejectedRow, Row};
use domain::error::UserError;
use encoding_rs::Encoding;
use std::path::Path;

/// Which columns hold what. Without a label column, rows have an empty label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub text: usize,
    pub label: Option<usize>,
}

/// A file on disk and how it is to be read.
pub(super) struct Table<'a> {
    pub path: &'a Path,
    pub encoding: &'static Encoding,
    pub delimiter: char,
}

impl Table<'_> {
    /// The names of the columns.
    pub fn header(&self) -> Result<Vec<String>> {
        Ok(sniff::sample(self.path, self.encoding, self.delimiter)?.header)
    }

    /// Calls `take` for every row below the header, in the order of the file, until it says `false`.
    pub fn for_each_row(
        &self,
        columns: Columns,
        mut take: impl FnMut(std::result::Result<Row, RejectedRow>) -> Result<bool>,
    ) -> Result<()> {
        let mut records = read::Records::open(self.path, self.encoding, self.delimiter)?;
        if let Some(Ok(header)) = records.next_record()? {
            records.expect_width(header.fields.len());
        }
        while let Some(record) = records.next_record()? {
            if !take(record.and_then(|record| read::check_record(record, columns)))? {
                break;
            }
        }
        Ok(())
    }
}

/// All rows of a CSV or TSV file with the columns of those names, and those that cannot be used. Without a label
/// column, rows have an empty label. Blocks.
///
/// # Errors
/// The file is no table or has no such column.
pub fn read_table(path: &Path, text_column: &str, label_column: Option<&str>) -> Result<(Vec<Row>, Vec<RejectedRow>)> {
    sniff::check_kind(path)?;
    let encoding = sniff::detect_encoding(path)?;
    let (delimiter, header) = likeliest_header(path, encoding, label_column.is_some())?;
    let columns = Columns {
        text: find_column(&header, text_column)?,
        label: label_column.map(|name| find_column(&header, name)).transpose()?,
    };
    let (mut rows, mut rejected) = (Vec::new(), Vec::new());
    Table { path, encoding, delimiter }.for_each_row(columns, |row| {
        match row {
            Ok(row) => rows.push(row),
            Err(row) => rejected.push(row),
        }
        Ok(true)
    })?;
    Ok((rows, rejected))
}

/// A file of texts alone may have one column; then it needs no delimiter.
fn likeliest_header(path: &Path, encoding: &'static Encoding, needs_label: bool) -> Result<(char, Vec<String>)> {
    match sniff::best_sample(path, encoding) {
        Ok(sample) => Ok((sample.delimiter, sample.header)),
        Err(_) if !needs_label => Ok((',', sniff::sample(path, encoding, ',')?.header)),
        Err(error) => Err(error),
    }
}

fn find_column(header: &[String], name: &str) -> Result<usize> {
    let exact = header.iter().position(|column| column == name);
    let found = exact.or_else(|| header.iter().position(|column| column.eq_ignore_ascii_case(name.trim())));
    found.ok_or_else(|| {
        UserError::invalid(format!("There is no column \"{name}\"; the file has {}.", header.join(", "))).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn columns_are_found_by_name_and_labels_may_be_missing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"id;Text;label\n1;good words;a\n2;;b\n3;fine;\n").unwrap();
        let (rows, rejected) = read_table(file.path(), "text", Some("label")).unwrap();
        assert_eq!(rows, [Row { line: 2, text: "good words".into(), label: "a".into() }]);
        assert_eq!(rejected.len(), 2);
        let (rows, rejected) = read_table(file.path(), "Text", None).unwrap();
        assert_eq!((rows.len(), rejected.len()), (2, 1));
        let error = read_table(file.path(), "words", None).unwrap_err().to_string();
        assert!(error.contains("words") && error.contains("id, Text, label"), "{error}");
    }

    #[test]
    fn a_file_of_texts_alone_has_one_column() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"text\nfirst\nsecond\n").unwrap();
        assert_eq!(read_table(file.path(), "text", None).unwrap().0.len(), 2);
        assert!(read_table(file.path(), "text", Some("label")).is_err());
    }
}
