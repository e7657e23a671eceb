//! A version as a CSV file, piece by piece: RFC 4180, UTF-8, with the columns text, label and split.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula and carry it
//! out, whoever wrote it. Such a cell gets an apostrophe in front, which they do not show and which makes it a text
//! (https://owasp.org/www-community/attacks/CSV_Injection).

use super::Datasets;
use super::snapshot::Snapshot;
use crate::error::Result;
use domain::dataset::DatasetId;
use domain::split::Part;
use domain::version::VersionNumber;
use std::sync::Arc;

/// About how large a piece is.
const PIECE_BYTES: usize = 128 * 1024;
const LETTERS_OF_FORMULAS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The pieces of a file, in their order. It costs no disk and, beside the piece, no memory.
#[derive(Debug)]
pub struct CsvExport {
    /// What the file is to be called.
    pub file_name: String,
    snapshot: Arc<Snapshot>,
    next: usize,
    has_header: bool,
}

impl Datasets {
    /// A version's rows as CSV, of the newest one where none is named.
    pub async fn export(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<CsvExport> {
        let summary = self.get(id).await?;
        let number = self.resolve(id, version).await?;
        let snapshot = self.snapshot(id, Some(number)).await?;
        let file_name = format!("{}-v{number}.csv", plain_name(&summary.name));
        Ok(CsvExport { file_name, snapshot, next: 0, has_header: false })
    }
}

impl Iterator for CsvExport {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::with_capacity(PIECE_BYTES + 4096);
        if !self.has_header {
            self.has_header = true;
            piece.extend_from_slice(b"text,label,split\r\n");
        }
        while self.next < self.snapshot.len() && piece.len() < PIECE_BYTES {
            write_cell(&mut piece, self.snapshot.text(self.next));
            piece.push(b',');
            write_cell(&mut piece, self.snapshot.label_name(self.next));
            piece.push(b',');
            piece.extend_from_slice(self.snapshot.part(self.next).map_or("", part_word).as_bytes());
            piece.extend_from_slice(b"\r\n");
            self.next += 1;
        }
        (!piece.is_empty()).then_some(piece)
    }
}

fn part_word(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Validation => "validation",
        Part::Test => "test",
    }
}

pub(crate) fn write_cell(to: &mut Vec<u8>, words: &str) {
    let is_formula = words.starts_with(LETTERS_OF_FORMULAS);
    let is_quoted = words.contains(['"', ',', '\n', '\r']) || words.starts_with(' ') || words.ends_with(' ');
    if is_quoted {
        to.push(b'"');
    }
    if is_formula {
        to.push(b'\'');
    }
    for &byte in words.as_bytes() {
        if byte == b'"' {
            to.push(b'"');
        }
        to.push(byte);
    }
    if is_quoted {
        to.push(b'"');
    }
}

/// Letters, digits and a few marks that mean nothing in any file system or header.
pub(crate) fn plain_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' })
        .take(80)
        .collect();
    let plain = plain.trim_matches(['-', '.']);
    if plain.is_empty() { "dataset".to_string() } else { plain.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::snapshot_of;

    fn export_of(rows: &[(&str, &str)]) -> String {
        let snapshot = Arc::new(snapshot_of(rows));
        let export = CsvExport { file_name: String::new(), snapshot, next: 0, has_header: false };
        String::from_utf8(export.flatten().collect()).unwrap()
    }

    #[test]
    fn cells_are_quoted_and_formulas_are_texts() {
        let rows = [
            ("plain", "a"),
            ("=1+1", "-b"),
            ("say \"yes\", please", "a"),
            ("@two\nlines", "a"),
            ("\tindented", "+b"),
            (" spaced ", "çelik"),
        ];
        assert_eq!(
            export_of(&rows),
            "text,label,split\r\nplain,a,\r\n'=1+1,'-b,\r\n\"say \"\"yes\"\", please\",a,\r\n\"'@two\nlines\",a,\r\n\
             '\tindented,'+b,\r\n\" spaced \",çelik,\r\n"
        );
    }

    #[test]
    fn a_csv_reader_has_the_rows_back_from_many_pieces() {
        let texts: Vec<String> =
            (0..20_000).map(|i| format!("row {i}, \"{}\"\r\n{}", i % 7, "x".repeat(i % 50))).collect();
        let rows: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "a")).collect();
        let export = export_of(&rows);
        let mut reader = csv::Reader::from_reader(export.as_bytes());
        let read: Vec<String> = reader.records().map(|record| record.unwrap()[0].to_string()).collect();
        assert_eq!(read, texts);
    }

    #[test]
    fn the_name_of_the_file_is_harmless() {
        for (name, plain) in
            [("News: Q3/Q4", "News--Q3-Q4"), ("..", "dataset"), ("\"\r\nSet-Cookie", "Set-Cookie"), ("haber", "haber")]
        {
            assert_eq!(plain_name(name), plain);
        }
    }
}
