//! Files that the browser saves what is on a page as: CSV and JSON.

use crate::datasets::csv_export::write_cell;
use crate::error::{Result, ServiceError};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Csv,
    Json,
}

impl FileKind {
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// A file to be saved: its name, and its pieces in their order.
pub struct ExportedFile {
    pub file_name: String,
    pub kind: FileKind,
    pub pieces: Box<dyn Iterator<Item = Vec<u8>> + Send>,
}

impl ExportedFile {
    /// One that is small enough to be made at once.
    pub(crate) fn whole(file_name: String, kind: FileKind, bytes: Vec<u8>) -> Self {
        Self { file_name, kind, pieces: Box::new(std::iter::once(bytes)) }
    }
}

/// What a JSON file holds.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| ServiceError::stored("file to save", error))
}

/// Lines of a CSV file. Spreadsheets take none of their texts for a formula.
pub(crate) struct Lines(pub Vec<u8>);

impl Lines {
    /// Beginning with their heads.
    pub fn new(heads: &[&str]) -> Self {
        let mut lines = Self::without_heads(0);
        lines.push(heads);
        lines
    }

    pub fn without_heads(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn push(&mut self, cells: &[&str]) {
        for (place, cell) in cells.iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            // A number that begins with a minus is no formula.
            if cell.parse::<f64>().is_ok() {
                self.0.extend_from_slice(cell.as_bytes());
            } else {
                write_cell(&mut self.0, cell);
            }
        }
        self.0.extend_from_slice(b"\r\n");
    }
}
