//! Which rows of a version have which findings.

use domain::finding::FindingKind;
use domain::version::RowId;
use std::collections::BTreeMap;

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
