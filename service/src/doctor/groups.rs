//! The rows of a finding: which ones belong together, in the order in which they are shown.

use crate::error::{Result, ServiceError};
use crate::files;
use domain::version::RowId;
use std::io::Write;
use std::path::Path;

/// The first bytes of the file, with the number of its layout.
const MAGIC: &[u8; 8] = b"ayargrp1";
/// Magic, then the counts of rows, ends, staying and the bytes of the notes, each in 64 bits.
const HEADER_BYTES: usize = 8 + 4 * 8;
/// Largest file that is read: four bytes for each of the rows that a dataset can have, and as many for their ends.
const MAX_FILE_BYTES: u64 = 16 << 30;

/// Rows of a finding in their groups, packed: a million rows that stand for themselves take four megabytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Of all groups, one after the other.
    ids: Vec<RowId>,
    /// Where each group ends in `ids`; empty where every row stands for itself.
    ends: Vec<u32>,
    /// How many rows at the beginning of each group stay when the finding is repaired; empty where the repair goes by
    /// something else.
    staying: Vec<u32>,
    /// What is at issue in each group; empty where the rows speak.
    notes: Vec<String>,
}

impl Groups {
    /// Rows that stand for themselves.
    pub(super) fn singles(ids: Vec<RowId>) -> Self {
        Self { ids, ..Self::default() }
    }

    /// Appends a group. Either all groups of a finding are made with a note and a number of staying rows, or none is.
    pub(super) fn push(&mut self, rows: impl IntoIterator<Item = RowId>) {
        self.ids.extend(rows);
        self.ends.push(self.ids.len() as u32);
    }

    pub(super) fn push_with_note(&mut self, rows: impl IntoIterator<Item = RowId>, note: String) {
        self.push(rows);
        self.notes.push(note);
    }

    pub(super) fn push_with_staying(&mut self, rows: impl IntoIterator<Item = RowId>, staying: usize, note: String) {
        self.push_with_note(rows, note);
        self.staying.push(staying as u32);
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        if self.ends.is_empty() { self.ids.len() } else { self.ends.len() }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of all groups, one group after the other.
    pub fn ids(&self) -> &[RowId] {
        &self.ids
    }

    /// The rows of a group, counted from 0; none where there is no such group.
    pub fn rows(&self, group: usize) -> &[RowId] {
        if self.ends.is_empty() {
            return self.ids.get(group..group + 1).unwrap_or_default();
        }
        let Some(end) = self.ends.get(group) else { return &[] };
        let begin = if group == 0 { 0 } else { self.ends[group - 1] };
        self.ids.get(begin as usize..*end as usize).unwrap_or_default()
    }

    /// What is at issue in a group; empty where the rows speak.
    pub fn note(&self, group: usize) -> &str {
        self.notes.get(group).map_or("", String::as_str)
    }

    /// How many of a group's first rows stay when the finding is repaired.
    pub(super) fn staying(&self, group: usize) -> usize {
        self.staying.get(group).map_or(0, |rows| *rows as usize)
    }

    /// Writes them to a file: whole or not at all.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_whole(path, |writer| {
            let notes = if self.notes.is_empty() { Vec::new() } else { serde_json::to_vec(&self.notes)? };
            writer.write_all(MAGIC)?;
            for count in [self.ids.len(), self.ends.len(), self.staying.len(), notes.len()] {
                writer.write_all(&(count as u64).to_le_bytes())?;
            }
            for numbers in [&self.ids, &self.ends, &self.staying] {
                for number in numbers {
                    writer.write_all(&number.to_le_bytes())?;
                }
            }
            writer.write_all(&notes)
        })
    }

    /// Reads what [`Groups::write`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or its parts do not fit together.
    pub fn read(path: &Path) -> Result<Self> {
        let length = std::fs::metadata(path).map_err(|error| ServiceError::io(path, error))?.len();
        if length > MAX_FILE_BYTES {
            return Err(broken("the file is too large"));
        }
        let bytes = std::fs::read(path).map_err(|error| ServiceError::io(path, error))?;
        Self::parse(&bytes).map_err(broken)
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, &'static str> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES).ok_or("the file is too short")?;
        let (magic, counts) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err("it is no file of groups");
        }
        let mut counts =
            counts.chunks_exact(8).map(|bytes| usize::try_from(little_endian(bytes)).unwrap_or(usize::MAX));
        let mut next_count = || counts.next().unwrap_or_default();
        let mut numbers = |count: usize| -> std::result::Result<Vec<u32>, &'static str> {
            let (part, after) = rest.split_at_checked(count.saturating_mul(4)).ok_or("the file is cut off")?;
            rest = after;
            Ok(part.chunks_exact(4).map(|bytes| little_endian(bytes) as u32).collect())
        };
        let ids = numbers(next_count())?;
        let ends = numbers(next_count())?;
        let staying = numbers(next_count())?;
        if rest.len() != next_count() {
            return Err("its notes have another length");
        }
        let notes: Vec<String> = if rest.is_empty() {
            Vec::new()
        } else {
            serde_json::from_slice(rest).map_err(|_| "its notes are broken")?
        };
        if !ends.is_sorted() || ends.last().is_some_and(|end| *end as usize != ids.len()) {
            return Err("its groups do not fit its rows");
        }
        let groups = Self { ids, ends, staying, notes };
        let fits = |count: usize| count == 0 || count == groups.len();
        if !fits(groups.staying.len()) || !fits(groups.notes.len()) {
            return Err("its notes do not fit its groups");
        }
        Ok(groups)
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn broken(what: &str) -> ServiceError {
    ServiceError::stored("groups of a finding", <serde_json::Error as serde::de::Error>::custom(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups");
        let mut leaks = Groups::default();
        leaks.push_with_staying([7, 1, 2], 1, "ünlü".to_string());
        leaks.push_with_staying([9, 3], 2, String::new());
        let mut plain = Groups::default();
        plain.push([4, 5]);
        for groups in [Groups::default(), Groups::singles(vec![3, 1, u32::MAX]), plain, leaks.clone()] {
            groups.write(&path).unwrap();
            assert_eq!(Groups::read(&path).unwrap(), groups);
        }
        assert_eq!((leaks.len(), leaks.rows(1), leaks.note(0), leaks.staying(1)), (2, &[9, 3][..], "ünlü", 2));
        assert_eq!((leaks.rows(2), leaks.note(2)), (&[][..], ""));
        assert_eq!(Groups::singles(vec![3, 1]).rows(1), [1]);
    }

    #[test]
    fn a_broken_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups");
        let mut groups = Groups::default();
        groups.push_with_note([1, 2], "a".to_string());
        groups.push_with_note([3], "b".to_string());
        groups.write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            assert!(Groups::parse(&whole[..length]).is_err(), "{length}");
        }
        for place in 0..HEADER_BYTES {
            let mut changed = whole.clone();
            changed[place] = changed[place].wrapping_add(1);
            assert!(Groups::parse(&changed).is_err(), "{place}");
        }
        let mut unordered = whole;
        unordered[HEADER_BYTES + 3 * 4] = 200;
        assert!(Groups::parse(&unordered).is_err());
    }
}
