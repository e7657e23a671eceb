//! A way through a JSON file value by value, with at most one value of bounded size in memory.

use crate::error::Result;
use crate::source::MAX_RECORD_BYTES;
use crate::source::decoded::{Decoded, count_line_ends};
use domain::error::UserError;

/// Stands somewhere in a file between two tokens.
pub struct Cursor {
    source: Decoded,
    line: u64,
    /// Length of the value that was passed last, if it was short enough to be kept.
    last_bytes: usize,
}

/// A value that has been looked at.
pub struct Found {
    /// Line on which it begins.
    pub line: u64,
    pub end: Ending,
}

/// How a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Where it should; [`Cursor::value`] is the value.
    Whole,
    /// It is longer than a record may be; it has been passed over.
    TooLong,
    /// The file ends before it does.
    Cut,
}

impl Cursor {
    pub fn new(source: Decoded) -> Self {
        Self { source, line: 1, last_bytes: 0 }
    }

    pub fn share(&self) -> f64 {
        self.source.share()
    }

    pub fn line(&self) -> u64 {
        self.line
    }

    /// The value that was passed last.
    pub fn value(&self) -> &str {
        self.source.passed(self.last_bytes)
    }

    /// The next byte that is no white space; `None` at the end of the file.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let rest = self.source.rest();
            let is_white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            let white = rest.bytes().position(|byte| !is_white(&byte));
            let next = white.map(|at| rest.as_bytes()[at]);
            self.pass(white.unwrap_or(rest.len()));
            if next.is_some() || self.source.has_ended() {
                return Ok(next);
            }
            self.source.read_more()?;
        }
    }

    /// The next two bytes that are no white space; zeros where the file ends.
    pub fn peek_two(&mut self) -> Result<[u8; 2]> {
        self.peek()?;
        loop {
            let mut marks = self.source.rest().bytes().filter(|byte| !byte.is_ascii_whitespace());
            match (marks.next(), marks.next()) {
                (Some(first), Some(second)) => return Ok([first, second]),
                (first, _) if self.source.has_ended() => return Ok([first.unwrap_or(0), 0]),
                _ => self.source.read_more()?,
            }
        }
    }

    /// Passes over the next byte if it is that one.
    pub fn take(&mut self, wanted: u8) -> Result<bool> {
        let is_there = self.peek()? == Some(wanted);
        if is_there {
            self.pass(1);
        }
        Ok(is_there)
    }

    /// Passes over the next byte, which must be that one.
    pub fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.take(wanted)? {
            return Ok(());
        }
        Err(UserError::invalid(format!(
            "The JSON cannot be read from line {} on: a {} is missing there.",
            self.line,
            char::from(wanted)
        ))
        .into())
    }

    /// Passes over one value.
    pub fn pass_value(&mut self) -> Result<Found> {
        self.peek()?;
        let line = self.line;
        let mut scan = Scan::default();
        let mut is_too_long = false;
        let mut at = 0;
        loop {
            let rest = self.source.rest();
            if let Some(end) = scan.find_end(&rest.as_bytes()[at..]) {
                let end = at + end;
                self.pass(end);
                self.last_bytes = if is_too_long { 0 } else { end };
                return Ok(Found { line, end: if is_too_long { Ending::TooLong } else { Ending::Whole } });
            }
            at = rest.len();
            if self.source.has_ended() {
                self.pass(at);
                self.last_bytes = 0;
                // A number at the very end of the file has no other end.
                let is_whole = scan.is_scalar && at > 0 && !is_too_long;
                self.last_bytes = if is_whole { at } else { 0 };
                return Ok(Found { line, end: if is_whole { Ending::Whole } else { Ending::Cut } });
            }
            if at > MAX_RECORD_BYTES {
                is_too_long = true;
                self.pass(at);
                at = 0;
            }
            self.source.read_more()?;
        }
    }

    /// Passes over one line; `None` at the end of the file. Lines without anything are passed over, too.
    pub fn pass_line(&mut self) -> Result<Option<Found>> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let line = self.line;
        let mut is_too_long = false;
        let mut at = 0;
        loop {
            let rest = self.source.rest();
            let end = memchr::memchr(b'\n', &rest.as_bytes()[at..]).map(|end| at + end);
            if let Some(end) = end.or(self.source.has_ended().then_some(rest.len())) {
                self.pass(end);
                self.last_bytes = if is_too_long { 0 } else { end };
                let end = if is_too_long { Ending::TooLong } else { Ending::Whole };
                return Ok(Some(Found { line, end }));
            }
            at = rest.len();
            if at > MAX_RECORD_BYTES {
                is_too_long = true;
                self.pass(at);
                at = 0;
            }
            self.source.read_more()?;
        }
    }

    /// The next string, which is a key of an object, and the colon after it.
    pub fn key(&mut self) -> Result<String> {
        let found = self.pass_value()?;
        let key = match found.end {
            Ending::Whole => serde_json::from_str(self.value()).ok(),
            _ => None,
        };
        let key: Option<String> = key;
        let Some(key) = key else {
            return Err(UserError::invalid(format!(
                "The JSON cannot be read from line {} on: a name in quotes is missing there.",
                found.line
            ))
            .into());
        };
        self.expect(b':')?;
        Ok(key)
    }

    fn pass(&mut self, bytes: usize) {
        // Lone carriage returns are no line ends in JSON, but editors count them so.
        self.line += count_line_ends(&self.source.rest()[..bytes]);
        self.source.pass(bytes);
    }
}

/// Where in a value a scan is. Brackets are counted and not compared: the parser that gets the value does that.
#[derive(Default)]
struct Scan {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    /// A number or a word, whose end is what does not belong to it.
    is_scalar: bool,
}

impl Scan {
    /// Length of what belongs to the value, if it ends in these bytes.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_in_string {
                if std::mem::take(&mut self.is_escaped) {
                    at += 1;
                    continue;
                }
                at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
                self.is_escaped = bytes[at] == b'\\';
                self.is_in_string = self.is_escaped;
                at += 1;
                if !self.is_in_string && self.depth == 0 {
                    return Some(at);
                }
                continue;
            }
            match bytes[at] {
                b'"' if !self.is_scalar => self.is_in_string = true,
                b'[' | b'{' if !self.is_scalar => self.depth += 1,
                b']' | b'}' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => return Some(at),
                _ if self.depth == 0 => self.is_scalar = true,
                _ => {}
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end_however_they_are_cut() {
        for (text, value) in [
            ("12, 3", "12"),
            ("\"a\\\"b\\\\\", 1", "\"a\\\"b\\\\\""),
            ("{\"a\": [1, {\"b\": \"]}\"}]}, 2", "{\"a\": [1, {\"b\": \"]}\"}]}"),
            ("true}", "true"),
            ("[]]", "[]"),
            (", 1", ""),
        ] {
            for cut in 0..=text.len() {
                let mut scan = Scan::default();
                let end = scan.find_end(&text.as_bytes()[..cut]);
                let end = end.or_else(|| scan.find_end(&text.as_bytes()[cut..]).map(|end| cut + end));
                assert_eq!(end, Some(value.len()), "{text} cut at {cut}");
            }
        }
    }
}
