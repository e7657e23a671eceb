//! Reading delimited rows: split into records of bounded size, each with the line it begins on. What cannot be read
//! becomes a rejected row; reading goes on behind it.
//!
//! The rules are those of RFC 4180 as the csv crate bends them, and a test holds the two together. The csv crate itself
//! is not used for reading, because a quote that never closes makes it take the rest of the file for one field. Here
//! such a quote costs one line: the record is given up, and reading goes on with the next line.

use super::decoded::{Decoded, count_line_ends};
use super::fields::Fields;
use super::{MAX_COLUMNS, MAX_RECORD_BYTES, excerpt};
use crate::error::Result;
use domain::dataset::RejectedRow;

/// How the fields of a file are told apart; both are ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// `None`: no character quotes.
    pub quote: Option<u8>,
}

/// Goes through a file record by record, with at most a record and a piece of the file in memory.
pub struct DelimitedRecords {
    source: Decoded,
    dialect: Dialect,
    /// Of the last record.
    fields: Fields,
    /// Length of the last record in the file.
    source_bytes: usize,
    line: u64,
    /// Fields a record must have, once it is known.
    width: Option<usize>,
}

/// What the beginning of a text holds.
#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// A record of so many bytes, its end of line included, and so many lines.
    Record { bytes: usize, lines: u64 },
    /// A quote closes in the middle of a field, lines after it has opened: it is the opening quote of another row.
    StrayQuote,
    /// The text ends before the record does.
    NeedMore,
    /// The file ends inside a quoted field.
    Unclosed,
    /// More fields than any table has.
    TooWide,
}

impl DelimitedRecords {
    pub fn new(source: Decoded, dialect: Dialect) -> Self {
        Self { source, dialect, fields: Fields::default(), source_bytes: 0, line: 1, width: None }
    }

    /// From now on a record with another number of fields is a rejected one.
    pub fn expect_width(&mut self, width: usize) {
        self.width = Some(width);
    }

    /// Fields of the last record.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The beginning of the last record's first line.
    pub fn excerpt(&self) -> String {
        excerpt(self.source.passed(self.source_bytes))
    }

    pub fn share(&self) -> f64 {
        self.source.share()
    }

    /// The line on which the next record begins, or why the row at this place is none; `None` at the end of the file.
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        loop {
            match scan(self.source.rest(), self.dialect, self.source.has_ended(), &mut self.fields) {
                Scan::Record { bytes: 0, .. } => return Ok(None),
                Scan::Record { bytes, lines } if self.is_blank(bytes) => self.pass(bytes, lines),
                Scan::Record { bytes, lines } => return Ok(Some(self.take_record(bytes, lines))),
                Scan::StrayQuote => {
                    let reason = "opens here, and the next one is that of another row; the row is read up to the end of \
                                  its line only. Write a quote inside a quoted field twice, or remove it";
                    return Ok(Some(Err(self.reject_quote(reason))));
                }
                Scan::NeedMore if self.source.rest().len() < MAX_RECORD_BYTES => self.source.read_more()?,
                Scan::NeedMore => return self.give_up_long_record().map(Some),
                Scan::Unclosed => {
                    let reason = "opens here and never closes; the row is read up to the end of its line only. Write a \
                                  quote inside a quoted field twice, or remove it";
                    return Ok(Some(Err(self.reject_quote(reason))));
                }
                Scan::TooWide => {
                    let reason = format!("the row has more than {MAX_COLUMNS} fields, which is the most that is read");
                    return self.give_up_line(reason).map(|rejected| Some(Err(rejected)));
                }
            }
        }
    }

    /// Nothing but white space; a line of tabs is a row of empty fields in a file of tabs, not an empty line.
    fn is_blank(&self, bytes: usize) -> bool {
        let is_white = |field: &str| field.trim().is_empty();
        // A record of one field is the only one that can be blank without a delimiter in it.
        match self.fields.len() {
            1 => is_white(self.fields.get(0)) && is_white(&self.source.rest()[..bytes]),
            _ => false,
        }
    }

    fn take_record(&mut self, bytes: usize, lines: u64) -> std::result::Result<u64, RejectedRow> {
        if let Some(width) = self.width
            && self.fields.len() != width
        {
            let found = self.fields.len();
            if lines <= 1 {
                return Err(self.reject_first_line(format!("expected {width} fields, found {found}")));
            }
            // A quote that is closed lines later by a quote of another row: only this line is given up, so that the
            // rows in between are not lost with it.
            let last = self.line + lines - 1;
            return Err(self.reject_first_line(format!(
                "expected {width} fields, found {found}: a quote ({}) opens here and closes on line {last} only",
                self.quote()
            )));
        }
        let line = self.line;
        self.pass(bytes, lines);
        Ok(line)
    }

    /// No record ends within the largest size. If the line ends, a quote is to blame, and only the line is given up;
    /// else the line itself is too long and is passed over piece by piece.
    fn give_up_long_record(&mut self) -> Result<std::result::Result<u64, RejectedRow>> {
        if first_line_bytes(self.source.rest()).is_some() {
            return Ok(Err(self.reject_quote(
                "opens here and does not close within 1 MB. Write a quote inside a quoted field twice, or remove it",
            )));
        }
        self.give_up_line("the row is longer than 1 MB".to_string()).map(Err)
    }

    /// Rejects the line, however long it is.
    fn give_up_line(&mut self, reason: String) -> Result<RejectedRow> {
        let rejected = RejectedRow { line: self.line, reason, excerpt: excerpt(self.source.rest()) };
        loop {
            let rest = self.source.rest();
            if let Some(bytes) = first_line_bytes(rest) {
                self.pass(bytes, 1);
                return Ok(rejected);
            }
            // A carriage return at the very end may be half of a line end.
            let bytes = rest.len() - usize::from(rest.ends_with('\r') && !self.source.has_ended());
            self.pass(bytes, 0);
            if self.source.has_ended() {
                return Ok(rejected);
            }
            self.source.read_more()?;
        }
    }

    fn quote(&self) -> char {
        self.dialect.quote.map_or('"', char::from)
    }

    fn reject_quote(&mut self, what: &str) -> RejectedRow {
        self.reject_first_line(format!("a quote ({}) {what}", self.quote()))
    }

    fn reject_first_line(&mut self, reason: String) -> RejectedRow {
        let rest = self.source.rest();
        let (bytes, lines) = first_line_bytes(rest).map_or((rest.len(), 0), |bytes| (bytes, 1));
        let rejected = RejectedRow { line: self.line, reason, excerpt: excerpt(&rest[..bytes]) };
        self.pass(bytes, lines);
        rejected
    }

    fn pass(&mut self, bytes: usize, lines: u64) {
        self.line += lines;
        self.source_bytes = bytes;
        self.source.pass(bytes);
    }
}

/// The first record of `text`, its fields in `fields`. Delimiter, quote and line ends are ASCII, so bytes of other
/// characters never look like them. A quote opens a quoted field only at the field's beginning; what follows the closing
/// quote is added as it is.
fn scan(text: &str, dialect: Dialect, is_end: bool, fields: &mut Fields) -> Scan {
    let bytes = text.as_bytes();
    fields.clear();
    let mut at = 0;
    let mut lines = 0;
    loop {
        let mut may_be_stray = false;
        if let Some(quote) = dialect.quote
            && bytes.get(at) == Some(&quote)
        {
            at += 1;
            let start = at;
            loop {
                let Some(length) = memchr::memchr(quote, &bytes[at..]) else {
                    return if is_end { Scan::Unclosed } else { Scan::NeedMore };
                };
                at += length + 1;
                match bytes.get(at) {
                    // Written twice, it stands for itself.
                    Some(byte) if *byte == quote => {
                        fields.add(&text[at - length - 1..at]);
                        at += 1;
                    }
                    None if !is_end => return Scan::NeedMore,
                    _ => {
                        fields.add(&text[at - length - 1..at - 1]);
                        break;
                    }
                }
            }
            let inside = count_line_ends(&text[start..at - 1]);
            may_be_stray = inside > 0;
            lines += inside;
        }
        let Some(length) = memchr::memchr3(dialect.delimiter, b'\n', b'\r', &bytes[at..]) else {
            if !is_end {
                return Scan::NeedMore;
            }
            let rest = &text[at..];
            if may_be_stray && !rest.trim().is_empty() {
                return Scan::StrayQuote;
            }
            fields.push(rest);
            return Scan::Record { bytes: bytes.len(), lines };
        };
        let rest = &text[at..at + length];
        if may_be_stray && !rest.trim().is_empty() {
            return Scan::StrayQuote;
        }
        fields.push(rest);
        if fields.len() > MAX_COLUMNS {
            return Scan::TooWide;
        }
        at += length;
        if bytes[at] == dialect.delimiter {
            at += 1;
            continue;
        }
        return match line_end_bytes(&bytes[at..], is_end) {
            Some(line_end) => Scan::Record { bytes: at + line_end, lines: lines + 1 },
            None => Scan::NeedMore,
        };
    }
}

/// Length of the line end at the beginning of `bytes`; `None` for a carriage return whose successor is not known yet.
fn line_end_bytes(bytes: &[u8], is_end: bool) -> Option<usize> {
    match (bytes.first(), bytes.get(1)) {
        (Some(b'\r'), Some(b'\n')) => Some(2),
        (Some(b'\r'), None) if !is_end => None,
        _ => Some(1),
    }
}

/// Length of the first line with its end; `None` if it does not end in `text`.
fn first_line_bytes(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = memchr::memchr2(b'\n', b'\r', bytes)?;
    Some(at + line_end_bytes(&bytes[at..], false)?)
}

#[cfg(test)]
mod tests;
