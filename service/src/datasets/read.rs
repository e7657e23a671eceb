//! Reading a file of delimited rows: decoded piece by piece, split into records of bounded size, each with the line it
//! begins on. What cannot be read becomes a rejected row; reading goes on behind it.
//!
//! The rules are those of RFC 4180 as the csv crate bends them, and a test holds the two together. The csv crate itself
//! is not used for reading, because a quote that never closes makes it take the rest of the file for one field. Here
//! such a quote costs one line: the record is given up, and reading goes on with the next line.

use super::table::Columns;
use crate::error::{Result, ServiceError};
use domain::dataset::{RejectedRow, Row};
use encoding_rs::{Decoder, Encoding};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest record, in bytes of UTF-8.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Characters of a rejected row that are kept to recognise it by.
const EXCERPT_CHARS: usize = 120;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A record as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Line on which it begins, counted from 1.
    pub line: u64,
    pub fields: Vec<String>,
    /// The beginning of its first line.
    pub excerpt: String,
}

/// Goes through a file record by record, with at most a record and a piece of the file in memory.
pub struct Records {
    path: PathBuf,
    file: File,
    decoder: Decoder,
    /// Bytes fresh from the file.
    raw: Vec<u8>,
    /// Decoded text that is not consumed yet begins at `at`.
    text: String,
    at: usize,
    line: u64,
    delimiter: u8,
    /// Fields a record must have, once the header has been read.
    width: Option<usize>,
    ended: bool,
}

/// What the beginning of a text holds.
#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// A record of so many bytes, its end of line included.
    Record { fields: Vec<String>, bytes: usize },
    /// A quote closes in the middle of a field, lines after it has opened: it is the opening quote of another row.
    StrayQuote,
    /// The text ends before the record does.
    NeedMore,
    /// The file ends inside a quoted field.
    Unclosed,
}

impl Records {
    /// `delimiter` is an ASCII character.
    pub fn open(path: &Path, encoding: &'static Encoding, delimiter: char) -> Result<Self> {
        let file = File::open(path).map_err(|error| ServiceError::io(path, error))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            decoder: encoding.new_decoder_with_bom_removal(),
            raw: vec![0; CHUNK_BYTES],
            text: String::new(),
            at: 0,
            line: 1,
            delimiter: delimiter as u8,
            width: None,
            ended: false,
        })
    }

    /// From now on a record with another number of fields is a rejected one.
    pub fn expect_width(&mut self, width: usize) {
        self.width = Some(width);
    }

    /// The next record, or why the row at this place is none; `None` at the end of the file.
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<Record, RejectedRow>>> {
        loop {
            match scan(&self.text[self.at..], self.delimiter, self.ended) {
                Scan::Record { bytes: 0, .. } => return Ok(None),
                Scan::Record { bytes, .. }
                    if self.text[self.at..self.at + bytes].trim().is_empty() && !self.is_tabbed(bytes) =>
                {
                    self.skip(bytes);
                }
                Scan::Record { fields, bytes } => return Ok(Some(self.take_record(fields, bytes))),
                Scan::StrayQuote => {
                    let reason = "a quote (\") opens here, and the next one is that of another row; the row is read up \
                                  to the end of its line only. Write a quote inside a quoted field twice, or remove it";
                    return Ok(Some(Err(self.reject_first_line(reason))));
                }
                Scan::NeedMore if self.text.len() - self.at < MAX_RECORD_BYTES => self.read_more()?,
                Scan::NeedMore => return self.give_up_long_record().map(Some),
                Scan::Unclosed => {
                    let reason = "a quote (\") opens here and never closes; the row is read up to the end of its line \
                                  only. Write a quote inside a quoted field twice, or remove it";
                    return Ok(Some(Err(self.reject_first_line(reason))));
                }
            }
        }
    }

    /// A line of tabs is a row of empty fields in a file of tabs, not an empty line.
    fn is_tabbed(&self, bytes: usize) -> bool {
        self.delimiter == b'\t' && self.text[self.at..self.at + bytes].contains('\t')
    }

    fn take_record(&mut self, fields: Vec<String>, bytes: usize) -> std::result::Result<Record, RejectedRow> {
        let source = &self.text[self.at..self.at + bytes];
        let lines = count_line_ends(source);
        if let Some(width) = self.width
            && fields.len() != width
        {
            let found = fields.len();
            if lines <= 1 {
                return Err(self.reject_first_line(&format!("expected {width} fields, found {found}")));
            }
            // A quote that is closed lines later by a quote of another row: only this line is given up, so that the
            // rows in between are not lost with it.
            let last = self.line + lines - 1;
            return Err(self.reject_first_line(&format!(
                "expected {width} fields, found {found}: a quote (\") opens here and closes on line {last} only"
            )));
        }
        let record = Record { line: self.line, excerpt: excerpt(source), fields };
        self.skip(bytes);
        Ok(record)
    }

    /// No record ends within the largest size. If the line ends, a quote is to blame, and only the line is given up;
    /// else the line itself is too long and is passed over piece by piece.
    fn give_up_long_record(&mut self) -> Result<std::result::Result<Record, RejectedRow>> {
        if first_line_bytes(&self.text[self.at..]).is_some() {
            return Ok(Err(self.reject_first_line(
                "a quote (\") opens here and does not close within 1 MB. Write a quote inside a quoted field twice, or \
                 remove it",
            )));
        }
        let rejected = RejectedRow {
            line: self.line,
            reason: "the row is longer than 1 MB".to_string(),
            excerpt: excerpt(&self.text[self.at..]),
        };
        loop {
            if let Some(bytes) = first_line_bytes(&self.text[self.at..]) {
                self.skip(bytes);
                return Ok(Err(rejected));
            }
            if self.ended {
                self.at = self.text.len();
                return Ok(Err(rejected));
            }
            // A carriage return at the very end may be half of a line end.
            let kept = self.text.ends_with('\r');
            self.text.clear();
            self.at = 0;
            if kept {
                self.text.push('\r');
            }
            self.read_more()?;
        }
    }

    fn reject_first_line(&mut self, reason: &str) -> RejectedRow {
        let rest = &self.text[self.at..];
        let bytes = first_line_bytes(rest).unwrap_or(rest.len());
        let rejected = RejectedRow { line: self.line, reason: reason.to_string(), excerpt: excerpt(&rest[..bytes]) };
        self.skip(bytes);
        rejected
    }

    fn skip(&mut self, bytes: usize) {
        self.line += count_line_ends(&self.text[self.at..self.at + bytes]);
        self.at += bytes;
    }

    fn read_more(&mut self) -> Result<()> {
        self.text.drain(..self.at);
        self.at = 0;
        let read = self.file.read(&mut self.raw).map_err(|error| ServiceError::io(&self.path, error))?;
        self.ended = read == 0;
        let mut undecoded = &self.raw[..read];
        // One call decodes all, given room for the worst case; the loop is there for the decoder's word on it.
        loop {
            let room = self.decoder.max_utf8_buffer_length(undecoded.len()).unwrap_or(CHUNK_BYTES * 4);
            self.text.reserve(room);
            let (outcome, consumed, _) = self.decoder.decode_to_string(undecoded, &mut self.text, self.ended);
            undecoded = &undecoded[consumed..];
            if outcome == encoding_rs::CoderResult::InputEmpty {
                return Ok(());
            }
        }
    }
}

/// The first record of `text`. Delimiter, quote and line ends are ASCII, so bytes of other characters never look like
/// them. A quote opens a quoted field only at the field's beginning; what follows the closing quote is added as it is.
fn scan(text: &str, delimiter: u8, is_end: bool) -> Scan {
    let bytes = text.as_bytes();
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let mut field = String::new();
        let mut may_be_stray = false;
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let Some(length) = bytes[at..].iter().position(|byte| *byte == b'"') else {
                    return if is_end { Scan::Unclosed } else { Scan::NeedMore };
                };
                field.push_str(&text[at..at + length]);
                at += length + 1;
                match bytes.get(at) {
                    Some(b'"') => {
                        field.push('"');
                        at += 1;
                    }
                    None if !is_end => return Scan::NeedMore,
                    _ => break,
                }
            }
            may_be_stray = field.contains(['\n', '\r']);
        }
        let ends = |byte: &u8| *byte == delimiter || matches!(byte, b'\n' | b'\r');
        let Some(length) = bytes[at..].iter().position(ends) else {
            if !is_end {
                return Scan::NeedMore;
            }
            let rest = &text[at..];
            if may_be_stray && !rest.trim().is_empty() {
                return Scan::StrayQuote;
            }
            field.push_str(rest);
            fields.push(field);
            return Scan::Record { fields, bytes: bytes.len() };
        };
        let rest = &text[at..at + length];
        if may_be_stray && !rest.trim().is_empty() {
            return Scan::StrayQuote;
        }
        field.push_str(rest);
        fields.push(field);
        at += length;
        if bytes[at] == delimiter {
            at += 1;
            continue;
        }
        return match line_end_bytes(&bytes[at..], is_end) {
            Some(line_end) => Scan::Record { fields, bytes: at + line_end },
            None => Scan::NeedMore,
        };
    }
}

/// Length of the line end at the beginning of `bytes`; `None` for a carriage return whose successor is not known yet.
fn line_end_bytes(bytes: &[u8], is_end: bool) -> Option<usize> {
    match (bytes[0], bytes.get(1)) {
        (b'\r', Some(b'\n')) => Some(2),
        (b'\r', None) if !is_end => None,
        _ => Some(1),
    }
}

/// Length of the first line with its end; `None` if it does not end in `text`.
fn first_line_bytes(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    Some(at + line_end_bytes(&bytes[at..], false)?)
}

/// Line ends of every kind: `\n`, `\r\n` and the lone `\r` of old Macs.
fn count_line_ends(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let is_end = |(at, byte): &(usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    bytes.iter().enumerate().filter(is_end).count() as u64
}

fn excerpt(source: &str) -> String {
    let first_line = source.lines().next().unwrap_or_default().trim();
    let mut letters = first_line.chars();
    // What is no text is shown as the mark for it, and nothing that could disturb a terminal or a page.
    let mut excerpt: String =
        letters.by_ref().take(EXCERPT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if letters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// A row of the dataset, or why the record is none. The record has as many fields as the header.
pub fn check_record(record: Record, columns: Columns) -> std::result::Result<Row, RejectedRow> {
    let text = record.fields[columns.text].trim();
    let label = columns.label.map(|label| record.fields[label].trim());
    let reason = match (text, label) {
        _ if !is_text(text) => "the text holds bytes that are no text",
        (_, Some(label)) if !is_text(label) => "the label holds bytes that are no text",
        ("", Some("")) => "empty text and empty label",
        ("", _) => "empty text",
        (_, Some("")) => "empty label",
        _ => {
            let label = label.unwrap_or_default().to_string();
            return Ok(Row { line: record.line, text: text.to_string(), label });
        }
    };
    Err(RejectedRow { line: record.line, reason: reason.to_string(), excerpt: record.excerpt })
}

/// No replacement character, which is what the decoder writes for bytes that mean nothing in the file's encoding, and
/// no control characters but white space.
fn is_text(words: &str) -> bool {
    !words.chars().any(|letter| letter == '\u{FFFD}' || (letter.is_control() && !letter.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{UTF_8, UTF_16LE, WINDOWS_1252};
    use std::io::Write;

    fn read_as(
        bytes: &[u8],
        encoding: &'static Encoding,
        width: Option<usize>,
    ) -> Vec<std::result::Result<Record, RejectedRow>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut records = Records::open(file.path(), encoding, ',').unwrap();
        if let Some(width) = width {
            records.expect_width(width);
        }
        let mut all = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            all.push(record);
        }
        all
    }

    fn read(text: &str, width: Option<usize>) -> Vec<std::result::Result<Record, RejectedRow>> {
        read_as(text.as_bytes(), UTF_8, width)
    }

    /// The slow twin: the csv crate, over everything that quotes, commas and line ends can do in a few characters.
    #[test]
    fn splits_as_the_csv_crate_does() {
        let alphabet = ['a', ',', '"', '\n', '\r'];
        for number in 0..5_usize.pow(6) {
            let mut rest = number;
            let text: String = (0..6)
                .map(|_| {
                    let c = alphabet[rest % 5];
                    rest /= 5;
                    c
                })
                .collect();
            let mut expected: Vec<Vec<String>> = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes())
                .records()
                .map(|record| record.unwrap().iter().map(String::from).collect())
                .collect();
            // Lines of white space only are nothing here and a row with one field there.
            expected.retain(|fields| !(fields.len() == 1 && fields[0].trim().is_empty()));
            let found = read(&text, None);
            // An unclosed or stray quote is where the two part on purpose.
            if found.iter().any(|record| record.is_err()) {
                continue;
            }
            let mut found: Vec<Vec<String>> = found.into_iter().map(|record| record.unwrap().fields).collect();
            found.retain(|fields| !(fields.len() == 1 && fields[0].trim().is_empty()));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_from_one_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["text,label", "", "\"two", "lines\",a", "last,b"].join(end);
            let lines: Vec<u64> = read(&text, Some(2)).into_iter().map(|record| record.unwrap().line).collect();
            assert_eq!(lines, [1, 3, 5], "{end:?}");
        }
    }

    #[test]
    fn a_quote_that_never_closes_costs_one_line() {
        for (text, bad_line) in [
            ("text,label\n\"never closed,a\ngood,a\nfine,b\n".to_string(), 2),
            // Closed by the quote of another row.
            ("text,label\n\"never closed,a\ngood,a\nfine,b\n\"quoted\",b\n".to_string(), 2),
            // Not closed within the largest record.
            (format!("text,label\n\"never closed,a\n{}", "good,a\n".repeat(300_000)), 2),
        ] {
            let records = read(&text, Some(2));
            let rejected: Vec<_> = records.iter().filter_map(|record| record.as_ref().err()).collect();
            assert_eq!(rejected.len(), 1, "{rejected:?}");
            assert_eq!(rejected[0].line, bad_line);
            assert!(rejected[0].reason.contains("quote"), "{}", rejected[0].reason);
            assert_eq!(rejected[0].excerpt, "\"never closed,a");
            assert_eq!(records.len(), text.lines().count());
        }
    }

    #[test]
    fn a_line_longer_than_a_megabyte_is_passed_over() {
        let text = format!("text,label\n{},a\r\ngood,b\n", "x".repeat(3 * MAX_RECORD_BYTES));
        let records = read(&text, Some(2));
        assert_eq!(records.len(), 3);
        let rejected = records[1].as_ref().unwrap_err();
        assert!(rejected.reason.contains("1 MB"));
        assert!(rejected.excerpt.len() < 200);
        assert_eq!(records[2].as_ref().unwrap().line, 3);
        // And one that ends with the file.
        assert_eq!(read(&"x".repeat(2 * MAX_RECORD_BYTES), Some(2)).len(), 1);
    }

    #[test]
    fn a_row_with_the_wrong_number_of_fields_says_both_numbers() {
        let records = read("text,label\nonly\na,b,c\nx,y\n", Some(2));
        assert_eq!(records[1].as_ref().unwrap_err().reason, "expected 2 fields, found 1");
        assert_eq!(records[2].as_ref().unwrap_err().reason, "expected 2 fields, found 3");
        assert!(records[3].is_ok());
    }

    #[test]
    fn encodings_are_decoded_and_a_mark_at_the_beginning_is_no_text() {
        let record = |fields: [&str; 2]| fields.map(String::from).to_vec();
        let first = |records: Vec<std::result::Result<Record, RejectedRow>>| records[0].clone().unwrap().fields;
        assert_eq!(first(read_as(b"caf\xe9,b\n", WINDOWS_1252, None)), record(["café", "b"]));
        assert_eq!(first(read_as(b"\xef\xbb\xbfcaf\xc3\xa9,b\n", UTF_8, None)), record(["café", "b"]));
        let utf_16: Vec<u8> = "\u{feff}café,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(first(read_as(&utf_16, UTF_16LE, None)), record(["café", "b"]));
        // A character that is cut by the edge of a piece is put together again.
        let long = format!("{}é,b\n", "x".repeat(CHUNK_BYTES - 1));
        assert_eq!(first(read(&long, None))[0].chars().last(), Some('é'));
    }

    #[test]
    fn a_bad_row_has_its_reason() {
        let columns = Columns { text: 0, label: Some(1) };
        for (bytes, reason) in [
            (&b" ,a"[..], "empty text"),
            (b"x,  ", "empty label"),
            (b",", "empty text and empty label"),
            (b"ab\xff\xfe,a", "the text holds bytes that are no text"),
            (b"x,\xff", "the label holds bytes that are no text"),
            (b"a\0b,c", "the text holds bytes that are no text"),
        ] {
            let record = read_as(bytes, UTF_8, Some(2)).remove(0).unwrap();
            assert_eq!(check_record(record, columns).unwrap_err().reason, reason, "{bytes:?}");
        }
        let row = check_record(read(" a b\t, c \n", Some(2)).remove(0).unwrap(), columns).unwrap();
        assert_eq!(row, Row { line: 1, text: "a b".into(), label: "c".into() });
    }
}
