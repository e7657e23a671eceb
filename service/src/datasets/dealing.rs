//! The rows of a version as dealing wants them: all that the dataset has ever had, with their twins.

use super::snapshot::Snapshot;
use domain::dataset::normalise;
use domain::split::SplitRow;
use domain::version::RowId;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// One row per id. `twins` holds a group number per place of the version: see [`Snapshot::twins`].
pub fn split_rows<'a>(snapshot: &'a Snapshot, twins: &[u32], frozen: &HashSet<RowId>) -> Vec<SplitRow<'a>> {
    let groups = groups(snapshot, twins);
    let mut rows = Vec::with_capacity(groups.len());
    for (file, segment) in snapshot.segments().iter().enumerate() {
        for row in 0..segment.len() {
            let id = rows.len() as RowId;
            rows.push(SplitRow {
                id,
                text: segment.text(row),
                label: segment.labels().get(segment.label(row)).map_or("", String::as_str),
                present_label: snapshot.place(id).map(|place| snapshot.label_name(place)),
                part: segment.part(row),
                twin_group: groups[id as usize],
                file: file as u32,
                is_frozen_test: frozen.contains(&id),
            });
        }
    }
    rows
}

/// A number per id. Beside the version's twins, rows that their files had with the same text belong together: a group
/// keeps its side when its first row is dropped or rewritten.
fn groups(snapshot: &Snapshot, twins: &[u32]) -> Vec<u32> {
    let mut groups = Groups((0..snapshot.ids_given() as u32).collect());
    let mut first_of: HashMap<u32, RowId> = HashMap::new();
    for (place, group) in twins.iter().enumerate().take(snapshot.len()) {
        let id = snapshot.id(place);
        groups.join(*first_of.entry(*group).or_insert(id), id);
    }
    // Else the version's twins are those of the files.
    if !snapshot.changes().is_empty() {
        let mut first_of: HashMap<u64, RowId> = HashMap::new();
        for id in 0..snapshot.ids_given() as RowId {
            groups.join(*first_of.entry(text_key(snapshot.original_text(id))).or_insert(id), id);
        }
    }
    (0..snapshot.ids_given() as u32).map(|id| groups.first(id)).collect()
}

/// The same for texts with the same normal form. That two others among a million share it has a chance of 1 in 30 million.
pub fn text_key(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    normalise(text).hash(&mut hasher);
    hasher.finish()
}

/// Disjoint sets; each row names one of its set that is not above it, the lowest names itself.
struct Groups(Vec<u32>);

impl Groups {
    fn first(&mut self, mut row: u32) -> u32 {
        while self.0[row as usize] != row {
            // Halves the way for those who come after.
            let above = self.0[row as usize];
            self.0[row as usize] = self.0[above as usize];
            row = above;
        }
        row
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other) as usize] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::Changes;
    use crate::datasets::snapshot::tests::segment_of;
    use domain::split::Split;
    use domain::version::RowChange;

    /// Two files; texts come back within a file, across files, and with another label.
    fn version(changes: Changes) -> Snapshot {
        let row = |file: usize, i: usize| (format!("Text {} of {}", i % 70, file * (i % 3)), ["a", "b"][i * i % 7 % 2]);
        let files = [0, 1].map(|file| (0..150).map(|i| row(file, i)).collect::<Vec<_>>());
        let segments =
            files.map(|rows| segment_of(&rows.iter().map(|(text, label)| (text.as_str(), *label)).collect::<Vec<_>>()));
        Snapshot::new(segments.to_vec(), changes)
    }

    #[test]
    fn rows_keep_their_side_when_a_repair_drops_and_rewrites_others() {
        let whole = version(Changes::new());
        let rows = split_rows(&whole, whole.twins(), &HashSet::new());
        assert_eq!(rows.len(), 300);
        // What drops the first rows of groups is the hard case.
        // Texts so unlike each other that none becomes the near duplicate of another.
        let unlike =
            |id: RowId| (0..4).map(|word| format!("{:x} ", text_key(&format!("{id} {word}")))).collect::<String>();
        let changes: Changes = rows
            .iter()
            .filter(|row| row.twin_group == row.id && row.id % 3 > 0)
            .map(|row| match row.id % 3 {
                1 => (row.id, RowChange::Dropped),
                _ => (row.id, RowChange::Edited { text: Some(unlike(row.id)), label: None }),
            })
            .collect();
        assert!(changes.len() > 30);
        let repaired = version(changes.clone());
        let repaired_rows = split_rows(&repaired, repaired.twins(), &HashSet::new());
        for split in [Split::default(), Split::Fold { fold: 1, folds: 4, validation: 10.0, seed: 3 }] {
            let (before, after) = (split.deal(&rows).unwrap(), split.deal(&repaired_rows).unwrap());
            for ((row, before), after) in repaired_rows.iter().zip(before).zip(after) {
                let expected = before.filter(|_| row.present_label.is_some());
                assert_eq!(after, expected, "{row:?}");
            }
        }
    }

    #[test]
    fn sets_that_are_joined_have_one_first_row() {
        let mut groups = Groups((0..8).collect());
        for (one, other) in [(6, 7), (2, 6), (5, 4), (7, 5)] {
            groups.join(one, other);
        }
        let firsts: Vec<u32> = (0..8).map(|row| groups.first(row)).collect();
        assert_eq!(firsts, [0, 1, 2, 3, 2, 2, 2, 2]);
    }
}
