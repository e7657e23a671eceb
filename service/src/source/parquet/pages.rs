//! What a Parquet file says of its pages, held against the file before a page is unpacked. The parquet crate takes these
//! numbers' word for how much memory to set aside, and an allocation that fails ends the process.
//!
//! A page begins with a header in Thrift's compact protocol (`PageHeader` in parquet.thrift of the Parquet format).

use domain::error::UserError;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Largest page, unpacked. Writers make pages of one megabyte; some make one of a whole row group.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// Most pages of one column in one row group.
const MAX_PAGES: usize = 1 << 20;
/// Pieces in which a header is fetched: usual ones are short, those with statistics of long texts are not.
const HEADER_BYTES: [usize; 3] = [256, 16 << 10, 4 << 20];
/// `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY`: the count of their values stands inside the packed page.
const DELTA_ENCODINGS: [i64; 2] = [6, 7];
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;

/// Goes through the pages of a column from `start` to `end`; returns the size of its largest page, unpacked.
///
/// # Errors
/// A page that cannot be what its header says, in words for the person.
pub fn check(file: &File, start: u64, end: u64, column: &str) -> Result<u64, UserError> {
    let mut at = start;
    let mut largest = 0;
    for _ in 0..MAX_PAGES {
        if at >= end {
            return Ok(largest);
        }
        let header = read_header(file, at, end).ok_or_else(|| damaged(column, "a page's header cannot be read"))?;
        let [kind, unpacked, packed] = [(1, 0), (2, 0), (3, 0)].map(|field| header.get(field).unwrap_or(-1));
        let (Ok(unpacked), Ok(packed)) = (u64::try_from(unpacked), u64::try_from(packed)) else {
            return Err(damaged(column, "a page has no size"));
        };
        at = at.saturating_add(header.bytes as u64).saturating_add(packed);
        if at > end {
            return Err(damaged(column, "a page is longer than its column"));
        }
        if unpacked > MAX_PAGE_BYTES {
            return Err(UserError::invalid(format!(
                "The Parquet file has a page of {} MB in column \"{column}\"; at most {} MB are read. Write it with \
                 smaller row groups.",
                unpacked >> 20,
                MAX_PAGE_BYTES >> 20
            )));
        }
        largest = largest.max(unpacked);
        let (values, encoding) = match kind {
            DATA_PAGE => (header.get((5, 1)), header.get((5, 2))),
            DICTIONARY_PAGE => (header.get((7, 1)), header.get((7, 2))),
            DATA_PAGE_V2 => (header.get((8, 1)), header.get((8, 4))),
            _ => continue,
        };
        // Every value of a dictionary takes a bit at the least; values of other pages may be nothing but nulls.
        if kind == DICTIONARY_PAGE && values.is_none_or(|values| values < 0 || values as u64 > 8 * unpacked) {
            return Err(damaged(column, "a dictionary has more values than bytes"));
        }
        if encoding.is_some_and(|encoding| DELTA_ENCODINGS.contains(&encoding)) {
            return Err(UserError::invalid(format!(
                "Column \"{column}\" of the Parquet file is stored in a delta encoding, which cannot be read. Write it \
                 with plain or dictionary encoding, which is what most programs do."
            )));
        }
    }
    Err(damaged(column, "it has too many pages"))
}

fn damaged(column: &str, why: &str) -> UserError {
    UserError::invalid(format!("Column \"{column}\" of the Parquet file is damaged: {why}. Write the file again."))
}

fn read_header(file: &File, at: u64, end: u64) -> Option<Header> {
    for bytes in HEADER_BYTES {
        let mut piece = vec![0; bytes.min(usize::try_from(end - at).unwrap_or(bytes))];
        file.read_exact_at(&mut piece, at).ok()?;
        if let Some(header) = Header::parse(&piece) {
            return Some(header);
        }
    }
    None
}

/// The whole numbers of a header, by the numbers of their fields; 0 as the second stands for none.
#[derive(Debug)]
pub struct Header {
    numbers: Vec<((i16, i16), i64)>,
    bytes: usize,
}

impl Header {
    fn get(&self, field: (i16, i16)) -> Option<i64> {
        self.numbers.iter().find(|(known, _)| *known == field).map(|(_, number)| *number)
    }

    /// `None`: it does not end within these bytes, or is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut parser = Thrift { bytes, at: 0, numbers: Vec::new() };
        parser.pass_struct(0, None)?;
        Some(Self { numbers: parser.numbers, bytes: parser.at })
    }
}

/// Thrift's compact protocol, as far as it takes to pass over what is not looked for.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    numbers: Vec<((i16, i16), i64)>,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(bytes).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn number(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// `parent` is the field that this struct is the value of; numbers deeper than that are passed over.
    fn pass_struct(&mut self, depth: usize, parent: Option<i16>) -> Option<()> {
        if depth > 8 {
            return None;
        }
        let mut field = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            field = match head >> 4 {
                0 => i16::try_from(self.number()?).ok()?,
                step => field.checked_add(i16::from(step))?,
            };
            let kind = head & 0x0f;
            if matches!(kind, 4..=6) && depth <= 1 {
                let number = self.number()?;
                self.numbers.push((parent.map_or((field, 0), |parent| (parent, field)), number));
                continue;
            }
            self.pass_value(kind, depth, field)?;
        }
    }

    fn pass_value(&mut self, kind: u8, depth: usize, field: i16) -> Option<()> {
        match kind {
            // True and false are told by the kind.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                for _ in 0..count {
                    match head & 0x0f {
                        1 | 2 => self.pass(1)?,
                        kind => self.pass_value(kind, depth + 1, 0)?,
                    }
                }
                Some(())
            }
            // Deep structs hold nothing that is looked for; a second level below the top gets no numbers.
            12 => self.pass_struct(depth + 1, Some(field)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_cut_ones_are_not() {
        // type 0, unpacked 100, packed 50, data_page_header { num_values 7, encoding 0, statistics { max "abc" } }.
        let header = [
            0x15, 0x00, 0x15, 0xc8, 0x01, 0x15, 0x64, 0x2c, 0x15, 0x0e, 0x15, 0x00, 0x3c, 0x18, 0x03, b'a', b'b', b'c',
            0, 0, 0, 0xff,
        ];
        let read = Header::parse(&header).unwrap();
        assert_eq!(read.bytes, header.len() - 1);
        let fields = [(1, 0), (2, 0), (3, 0), (5, 1), (5, 2), (7, 1)].map(|field| read.get(field));
        assert_eq!(fields, [Some(0), Some(100), Some(50), Some(7), Some(0), None]);
        for length in 0..header.len() - 1 {
            assert!(Header::parse(&header[..length]).is_none(), "{length}");
        }
        // A text of more bytes than there are, a list of more elements, structs without end.
        for hostile in [&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x19, 0xf5, 0xff, 0xff, 0x0f], &[0x1c; 100]] {
            assert!(Header::parse(hostile).is_none());
        }
    }
}
