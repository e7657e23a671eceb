//! What a workbook's parts unpack to, looked at before they are read. The calamine crate keeps the shared strings and the
//! cell at hand in memory, however long they are, and takes a file's word for how many strings there are.

use crate::error::{Result, ServiceError};
use crate::source::container::{FREE_UNPACKED_BYTES, MAX_RATIO, open_zip};
use domain::error::UserError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A part that is not longer may hold what it likes.
const HARMLESS_BYTES: u64 = 8 << 20;
/// Longest part that is no sheet; the longest is usually that of the shared strings.
const MAX_PART_BYTES: u64 = 256 << 20;
/// Longest sheet.
const MAX_SHEET_BYTES: u64 = 4 << 30;
/// Longest cell with its markup. Excel's own limit is 32,767 characters.
const MAX_CELL_BYTES: usize = 4 << 20;
const MAX_TAG_BYTES: usize = 64 << 10;
const MAX_PARTS: usize = 10_000;
/// A shared string takes at least so many bytes.
const MIN_STRING_BYTES: u64 = 5;

/// # Errors
/// A part that would take more memory than any real one, in words for the person.
pub fn check(file: File, path: &Path) -> Result<()> {
    let packed = file.metadata().map_err(|error| ServiceError::io(path, error))?.len();
    let damaged = || UserError::invalid("The workbook cannot be unpacked: it is damaged or was cut. Save it again.");
    let (mut archive, limit) = open_zip(file).map_err(|_| damaged())?;
    limit.set(u64::MAX);
    if archive.len() > MAX_PARTS {
        return Err(too_large("it has too many parts").into());
    }
    let mut total = 0_u64;
    let mut piece = vec![0; 1 << 16];
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).map_err(|_| damaged())?;
        let is_sheet = part.name().is_ok_and(|name| name.contains("worksheets/"));
        let mut guard = XmlGuard::default();
        let mut bytes = 0_u64;
        loop {
            let read = part.read(&mut piece).map_err(|_| damaged())?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            total += read as u64;
            guard.feed(&piece[..read]);
            if total > FREE_UNPACKED_BYTES && total / MAX_RATIO > packed {
                return Err(too_large("it unpacks to far more than a table of its size could hold").into());
            }
            if bytes > if is_sheet { MAX_SHEET_BYTES } else { MAX_PART_BYTES } {
                return Err(too_large("one of its parts is too long").into());
            }
            if bytes > HARMLESS_BYTES && is_sheet && guard.is_broken {
                return Err(too_large("a cell is longer than 4 MB, or is not written as Excel does").into());
            }
        }
        if guard.strings.is_some_and(|strings| strings > bytes / MIN_STRING_BYTES + 1) {
            return Err(too_large("it claims more texts than it has").into());
        }
    }
    Ok(())
}

fn too_large(why: &str) -> UserError {
    UserError::invalid(format!("The workbook cannot be read: {why}. Save the sheet as CSV and upload that."))
}

/// Goes through XML as its parser will, as far as it takes to know how much of it has to be in memory at a time.
#[derive(Default)]
struct XmlGuard {
    is_in_tag: bool,
    quote: Option<u8>,
    tag: Vec<u8>,
    /// Bytes since a cell ended.
    cell_bytes: usize,
    /// Shared strings that are announced.
    strings: Option<u64>,
    is_broken: bool,
}

impl XmlGuard {
    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_broken {
            let end = match (self.is_in_tag, self.quote) {
                (false, _) => memchr::memchr(b'<', rest),
                (true, Some(quote)) => memchr::memchr(quote, rest),
                (true, None) => memchr::memchr3(b'>', b'"', b'\'', rest),
            };
            let length = end.map_or(rest.len(), |end| end + 1);
            self.cell_bytes += length;
            if self.is_in_tag {
                self.tag.extend_from_slice(&rest[..length]);
            }
            if let Some(end) = end {
                self.turn(rest[end]);
            }
            self.is_broken |= self.cell_bytes > MAX_CELL_BYTES || self.tag.len() > MAX_TAG_BYTES;
            rest = &rest[length..];
        }
    }

    fn turn(&mut self, mark: u8) {
        match (self.is_in_tag, mark, self.quote) {
            (false, ..) => self.is_in_tag = true,
            (true, _, Some(_)) => self.quote = None,
            (true, b'>', None) => {
                self.is_in_tag = false;
                self.end_tag();
            }
            (true, quote, None) => self.quote = Some(quote),
        }
    }

    fn end_tag(&mut self) {
        // Comments and the like could hide what looks like the end of a cell.
        self.is_broken |= self.tag.starts_with(b"!");
        let name = self.tag.split(|byte| byte.is_ascii_whitespace() || *byte == b'>').next().unwrap_or_default();
        let is_end = name.starts_with(b"/");
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let local = name.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        if (is_end && matches!(local, b"c" | b"row" | b"si")) || local == b"row/" || local == b"row" {
            self.cell_bytes = 0;
        }
        if local == b"sst" && !is_end {
            let claimed = self.claimed();
            self.strings = self.strings.max(claimed);
        }
        self.tag.clear();
    }

    /// The number in quotes behind the attribute's name; one that is too long for a number is as large as can be.
    fn claimed(&self) -> Option<u64> {
        let from = &self.tag[memchr::memmem::find(&self.tag, b"uniqueCount")?..];
        let quoted = std::str::from_utf8(from.split(|byte| matches!(byte, b'"' | b'\'')).nth(1)?).ok()?;
        let is_number = !quoted.is_empty() && quoted.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| quoted.parse().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(text: &str, cut: usize) -> XmlGuard {
        let mut guard = XmlGuard::default();
        text.as_bytes().chunks(cut).for_each(|piece| guard.feed(piece));
        guard
    }

    #[test]
    fn long_cells_are_found_however_they_are_cut() {
        let cell = format!("<c r=\"A1\" t='a>\"b'><is><t>{}</t></is></c>", "x".repeat(1 << 20));
        for cut in [7, 4096, usize::MAX >> 1] {
            assert!(!fed(&format!("<sheetData><row>{}</row></sheetData>", cell.repeat(5)), cut).is_broken);
            let long = format!("<sheetData><row><c><is>{}</is></c></row>", "<t>xxxxxxx</t>".repeat(400_000));
            assert!(fed(&long, cut).is_broken);
        }
        for hidden in ["<!-- </c> -->", "<![CDATA[</c>]]>", "<!DOCTYPE x>"] {
            assert!(fed(hidden, 3).is_broken, "{hidden}");
        }
        assert!(fed(&format!("<c {}>", "a".repeat(100_000)), 4096).is_broken);
    }

    #[test]
    fn announced_strings_are_seen() {
        for (tag, strings) in [
            ("<sst xmlns=\"http://x/2006\" count=\"9\" uniqueCount=\"7\">", Some(7)),
            ("<x:sst uniqueCount = '12'>", Some(12)),
            ("<sst uniqueCount=\"99999999999999999999999\">", Some(u64::MAX)),
            ("<sst>", None),
            ("<si uniqueCount=\"7\">", None),
        ] {
            assert_eq!(fed(tag, 5).strings, strings, "{tag}");
        }
    }
}
