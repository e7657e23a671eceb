//! What was found in a version: the report, the rows of each finding, and the files that keep both.

use crate::doctor::{Groups, Report};
use crate::error::{Result, ServiceError};
use crate::files;
use domain::finding::{Examination, FindingKind};
use domain::version::RowId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const EXAMINATION: &str = "examination.json";
/// Ending of a finding's groups.
const GROUPS: &str = ".groups";

/// An examination that is done.
#[derive(Debug)]
pub struct Examined {
    pub examination: Examination,
    pub groups: BTreeMap<FindingKind, Groups>,
    pub rows: Arc<ExaminedRows>,
}

impl Examined {
    pub fn new(report: Report) -> Self {
        let Report { examination, groups } = report;
        let mut rows = ExaminedRows::default();
        for (kind, groups) in &groups {
            rows.add(*kind, groups.ids().iter().copied());
        }
        Self { examination, groups, rows: Arc::new(rows) }
    }

    /// Rows that the groups name, each as often as it is named.
    pub fn grouped_rows(&self) -> usize {
        self.groups.values().map(|groups| groups.ids().len()).sum()
    }

    /// Written aside and renamed, in place of what an earlier examination may have left.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let aside = folder.with_added_extension("partial");
        files::remove_folder(&aside)?;
        std::fs::create_dir_all(&aside).map_err(|error| ServiceError::io(&aside, error))?;
        let written = self.write_aside(&aside).and_then(|()| {
            files::remove_folder(folder)?;
            std::fs::rename(&aside, folder).map_err(|error| ServiceError::io(folder, error))?;
            files::sync_folder_of(folder)
        });
        if written.is_err() {
            files::remove_folder(&aside)?;
        }
        written
    }

    fn write_aside(&self, aside: &Path) -> Result<()> {
        for (kind, groups) in &self.groups {
            groups.write(&aside.join(format!("{}{GROUPS}", kind.as_str())))?;
        }
        files::write_whole(&aside.join(EXAMINATION), |writer| files::write_json_line(writer, &self.examination))
    }

    /// `None`: there is none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(EXAMINATION);
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ServiceError::io(&path, error)),
        };
        let examination = serde_json::from_slice(&json).map_err(|error| ServiceError::stored(EXAMINATION, error))?;
        let mut groups = BTreeMap::new();
        for kind in FindingKind::ALL {
            let path = folder.join(format!("{}{GROUPS}", kind.as_str()));
            if path.exists() {
                groups.insert(kind, Groups::read(&path)?);
            }
        }
        Ok(Some(Self::new(Report { examination, groups })))
    }
}

/// One bit per row and finding: 125 KB for a million rows.
#[derive(Debug, Default)]
pub struct ExaminedRows {
    rows: BTreeMap<FindingKind, Vec<u64>>,
}

impl ExaminedRows {
    pub fn add(&mut self, kind: FindingKind, ids: impl IntoIterator<Item = RowId>) {
        let bits = self.rows.entry(kind).or_default();
        for id in ids {
            let word = id as usize / 64;
            if word >= bits.len() {
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (id % 64);
        }
    }

    pub fn has(&self, kind: FindingKind, id: RowId) -> bool {
        self.rows.get(&kind).is_some_and(|bits| is_set(bits, id))
    }

    /// In the order of [`FindingKind`].
    pub fn findings(&self, id: RowId) -> Vec<FindingKind> {
        self.rows.iter().filter(|(_, bits)| is_set(bits, id)).map(|(kind, _)| *kind).collect()
    }
}

fn is_set(bits: &[u64], id: RowId) -> bool {
    bits.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_what_was_added() {
        let mut examined = ExaminedRows::default();
        examined.add(FindingKind::TooLong, [200, 0, 63]);
        examined.add(FindingKind::Mojibake, [63, 64]);
        assert_eq!(examined.findings(63), [FindingKind::Mojibake, FindingKind::TooLong]);
        assert_eq!(examined.findings(64), [FindingKind::Mojibake]);
        assert_eq!(examined.findings(1_000_000), []);
        assert!(examined.has(FindingKind::TooLong, 200) && !examined.has(FindingKind::Mojibake, 200));
    }
}
