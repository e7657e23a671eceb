//! The rows of one file as they were understood, packed: written once, then read in place through the memory map, so
//! that any row of a million is a few instructions away and costs no memory of the process.
//!
//! Three files in a folder: `texts` (UTF-8, one text after the other), `rows` (24 bytes per row: where its text ends,
//! its line, its label's index, its part; little-endian), and `segment.json`.

use crate::error::{Result, ServiceError};
use crate::files;
use domain::dataset::{LabelCount, Row};
use domain::error::UserError;
use domain::split::Part;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const TEXTS: &str = "texts";
const ROWS: &str = "rows";
const NOTE: &str = "segment.json";
/// Bytes of a row in `rows`.
const ROW_BYTES: usize = 24;

/// Most rows of a segment: they are numbered in 32 bits, with room for further files.
const MAX_ROWS: u64 = 1 << 31;

#[derive(Serialize, Deserialize)]
struct SegmentNote {
    file_name: String,
    rows: u64,
    /// Rows of the file that could not be used.
    rejected: u64,
    /// Most frequent first at the time of writing; rows refer to them by their place.
    labels: Vec<String>,
}

/// Writes a segment row by row.
pub struct SegmentWriter {
    folder: PathBuf,
    texts: BufWriter<File>,
    rows: BufWriter<File>,
    text_end: u64,
    count: u64,
    labels: Vec<LabelCount>,
    label_places: HashMap<String, u32>,
}

impl SegmentWriter {
    /// Makes the folder.
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| ServiceError::io(folder, error))?;
        let create = |name| {
            let path = folder.join(name);
            File::create(&path)
                .map(|file| BufWriter::with_capacity(1024 * 1024, file))
                .map_err(|error| ServiceError::io(&path, error))
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            texts: create(TEXTS)?,
            rows: create(ROWS)?,
            text_end: 0,
            count: 0,
            labels: Vec::new(),
            label_places: HashMap::new(),
        })
    }

    /// Appends a row; `part` is what its file says of it.
    ///
    /// # Errors
    /// More rows than can be numbered, or the disk does not take them.
    pub fn write(&mut self, row: &Row, part: Option<Part>) -> Result<()> {
        if self.count >= MAX_ROWS {
            return Err(UserError::invalid(format!(
                "The file has more than {MAX_ROWS} rows, which is the most of a dataset. Split it."
            ))
            .into());
        }
        let label = match self.label_places.get(&row.label) {
            Some(place) => *place,
            None => {
                let place = self.labels.len() as u32;
                self.labels.push(LabelCount { label: row.label.clone(), rows: 0 });
                self.label_places.insert(row.label.clone(), place);
                place
            }
        };
        self.labels[label as usize].rows += 1;
        self.count += 1;
        self.text_end += row.text.len() as u64;
        let mut record = [0_u8; ROW_BYTES];
        record[..8].copy_from_slice(&self.text_end.to_le_bytes());
        record[8..16].copy_from_slice(&row.line.to_le_bytes());
        record[16..20].copy_from_slice(&label.to_le_bytes());
        record[20] = part_byte(part);
        let written = self.texts.write_all(row.text.as_bytes()).and_then(|()| self.rows.write_all(&record));
        written.map_err(|error| ServiceError::io(&self.folder, error))
    }

    pub fn rows(&self) -> u64 {
        self.count
    }

    /// The labels so far, in the order in which they came.
    pub fn labels(&self) -> &[LabelCount] {
        &self.labels
    }

    /// Makes sure of it all on the disk. `rejected` rows of the file could not be used.
    pub fn finish(self, file_name: &str, rejected: u64) -> Result<()> {
        for (mut writer, name) in [(self.texts, TEXTS), (self.rows, ROWS)] {
            let path = self.folder.join(name);
            writer
                .flush()
                .and_then(|()| writer.get_ref().sync_all())
                .map_err(|error| ServiceError::io(&path, error))?;
        }
        let labels = self.labels.into_iter().map(|count| count.label).collect();
        let note = SegmentNote { file_name: file_name.to_string(), rows: self.count, rejected, labels };
        files::write_whole(&self.folder.join(NOTE), |writer| files::write_json_line(writer, &note))
    }
}

/// A segment that is read.
#[derive(Debug)]
pub struct Segment {
    texts: Option<Mmap>,
    rows: Option<Mmap>,
    count: usize,
    labels: Vec<String>,
    file_name: String,
    rejected: u64,
}

impl Segment {
    /// # Errors
    /// The files are not there, or do not fit together.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(NOTE);
        let json = std::fs::read(&path).map_err(|error| ServiceError::io(&path, error))?;
        let note: SegmentNote = serde_json::from_slice(&json).map_err(|error| ServiceError::stored(NOTE, error))?;
        let (texts, rows) = (map(&folder.join(TEXTS))?, map(&folder.join(ROWS))?);
        let segment = Self {
            texts,
            rows,
            count: usize::try_from(note.rows).unwrap_or(usize::MAX),
            labels: note.labels,
            file_name: note.file_name,
            rejected: note.rejected,
        };
        segment.check()?;
        Ok(segment)
    }

    /// All that is relied on later: sizes, order of the ends, labels, and that the texts are text.
    fn check(&self) -> Result<()> {
        let broken =
            |what: &str| Err(ServiceError::stored(ROWS, <serde_json::Error as serde::de::Error>::custom(what)));
        if self.record_bytes().len() != self.count.saturating_mul(ROW_BYTES) {
            return broken("its length does not fit the number of rows");
        }
        let Ok(texts) = std::str::from_utf8(self.text_bytes()) else { return broken("the texts are not UTF-8") };
        let mut end = 0;
        for row in 0..self.count {
            let next = self.text_end(row);
            if next < end || !texts.is_char_boundary(next) || self.label(row) >= self.labels.len() {
                return broken("a row does not fit its texts or labels");
            }
            end = next;
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The file that it came from, for people.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Rows of the file that could not be used.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Rows count from 0; one that is not there has an empty text.
    pub fn text(&self, row: usize) -> &str {
        let begin = if row == 0 { 0 } else { self.text_end(row - 1) };
        let bytes = self.text_bytes().get(begin..self.text_end(row)).unwrap_or_default();
        // Checked when it was opened; the second look is cheap beside what is done with a text.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Place in [`Segment::labels`].
    pub fn label(&self, row: usize) -> usize {
        self.record(row)
            .map_or(0, |record| u32::from_le_bytes([record[16], record[17], record[18], record[19]]) as usize)
    }

    pub fn line(&self, row: usize) -> u64 {
        self.record(row).map_or(0, |record| read_u64(&record[8..16]))
    }

    pub fn part(&self, row: usize) -> Option<Part> {
        match self.record(row)?[20] {
            1 => Some(Part::Train),
            2 => Some(Part::Validation),
            3 => Some(Part::Test),
            _ => None,
        }
    }

    fn text_end(&self, row: usize) -> usize {
        self.record(row).map_or(0, |record| read_u64(&record[..8]) as usize)
    }

    fn record(&self, row: usize) -> Option<&[u8]> {
        self.record_bytes().get(row * ROW_BYTES..(row + 1) * ROW_BYTES)
    }

    fn record_bytes(&self) -> &[u8] {
        self.rows.as_deref().unwrap_or_default()
    }

    fn text_bytes(&self) -> &[u8] {
        self.texts.as_deref().unwrap_or_default()
    }
}

fn part_byte(part: Option<Part>) -> u8 {
    match part {
        None => 0,
        Some(Part::Train) => 1,
        Some(Part::Validation) => 2,
        Some(Part::Test) => 3,
    }
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// `None` for an empty file, which cannot be mapped.
fn map(path: &Path) -> Result<Option<Mmap>> {
    let file = File::open(path).map_err(|error| ServiceError::io(path, error))?;
    let length = file.metadata().map_err(|error| ServiceError::io(path, error))?.len();
    if length == 0 {
        return Ok(None);
    }
    // SAFETY: the map must not change under us. Segments are written once, synced and renamed into place; nothing in
    // this program writes to one again.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| ServiceError::io(path, error))?;
    Ok(Some(map))
}
