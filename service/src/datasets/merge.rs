//! A further file for a dataset: which of its rows are there already, and which are new.
//!
//! A row of the file is a row of the dataset if normalised text and label are the same, be it as the row is now or as its
//! own file had it: so a file that has grown finds its repaired rows again. Each row stands for one: three copies in the
//! file against one in the dataset are two new rows.

use super::segment::{Segment, SegmentWriter};
use super::snapshot::{Changes, Snapshot};
use crate::error::Result;
use domain::dataset::{Row, normalise};
use domain::error::UserError;
use domain::version::{RowChange, RowId};
use rayon::prelude::*;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What became of a file's rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged {
    /// The changes of the version that has the file's rows.
    pub changes: Changes,
    pub appended: u64,
    /// Rows of the file that the dataset had already.
    pub unchanged: u64,
}

/// Writes the rows of `file` that `head` does not have. Rows that were dropped and stand in the file come back; with
/// `replace`, rows that do not stand in it are dropped.
///
/// # Errors
/// More rows than can be numbered, or the disk does not take them.
pub fn merge(head: &Snapshot, file: &Segment, replace: bool, writer: &mut SegmentWriter) -> Result<Merged> {
    let mut known = Known::of(head);
    let mut changes = head.changes().clone();
    let mut unchanged = 0;
    for row in 0..file.len() {
        let label = file.labels().get(file.label(row)).map_or("", String::as_str);
        let Some(id) = known.take(file.text(row), label) else {
            let new = Row { line: file.line(row), text: file.text(row).to_string(), label: label.to_string() };
            writer.write(&new, file.part(row))?;
            continue;
        };
        if head.place(id).is_some() {
            unchanged += 1;
        } else {
            changes.remove(&id);
        }
    }
    let appended = writer.rows();
    if head.ids_given() as u64 + appended >= u64::from(RowId::MAX) {
        return Err(UserError::invalid(format!(
            "The dataset has had {} rows and {appended} more would come; {} is the most. Make a new dataset of the file.",
            head.ids_given(),
            RowId::MAX - 1
        ))
        .into());
    }
    if replace {
        let missing = (0..head.len()).map(|place| head.id(place)).filter(|id| !known.is_taken(*id));
        changes.extend(missing.map(|id| (id, RowChange::Dropped)));
    }
    Ok(Merged { changes, appended, unchanged })
}

/// The rows of a version by what they say.
struct Known<'a> {
    head: &'a Snapshot,
    hasher: RandomState,
    /// Sorted; of rows that say the same, those that are in the version come first.
    by_hash: Vec<(u64, bool, RowId)>,
    /// By id: a row of the file stands for it already.
    is_taken: Vec<bool>,
}

impl<'a> Known<'a> {
    fn of(head: &'a Snapshot) -> Self {
        // Keys of its own, so that no file can be made whose rows all fall together.
        let hasher = RandomState::new();
        let entries = |id: RowId| {
            let place = head.place(id);
            let is_dropped = place.is_none();
            let original = (hash(&hasher, head.original_text(id), head.original_label(id)), is_dropped, id);
            let now = place
                .filter(|place| head.is_changed(*place))
                .map(|place| (hash(&hasher, head.text(place), head.label_name(place)), false, id));
            [Some(original), now].into_iter().flatten()
        };
        let ids = 0..head.ids_given() as RowId;
        let mut by_hash: Vec<(u64, bool, RowId)> = ids.into_par_iter().flat_map_iter(entries).collect();
        by_hash.par_sort_unstable();
        Self { head, hasher, by_hash, is_taken: vec![false; head.ids_given()] }
    }

    /// A row that says this and that no earlier row of the file stands for.
    fn take(&mut self, text: &str, label: &str) -> Option<RowId> {
        let wanted = hash(&self.hasher, text, label);
        let first = self.by_hash.partition_point(|(hash, ..)| *hash < wanted);
        let same_hash = self.by_hash.get(first..).unwrap_or_default().iter().take_while(|(hash, ..)| *hash == wanted);
        let normal = normalise(text);
        let found = same_hash.map(|(.., id)| *id).find(|id| !self.is_taken(*id) && self.says(*id, &normal, label))?;
        self.is_taken[found as usize] = true;
        Some(found)
    }

    fn says(&self, id: RowId, normal: &str, label: &str) -> bool {
        let is_now = |place| self.head.label_name(place) == label && normalise(self.head.text(place)) == normal;
        self.head.place(id).is_some_and(is_now)
            || (self.head.original_label(id) == label && normalise(self.head.original_text(id)) == normal)
    }

    fn is_taken(&self, id: RowId) -> bool {
        self.is_taken.get(id as usize).copied().unwrap_or_default()
    }
}

fn hash(hasher: &RandomState, text: &str, label: &str) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(normalise(text).as_bytes());
    // No UTF-8 has this byte, so text and label cannot run into each other.
    state.write_u8(0xff);
    state.write(label.as_bytes());
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::{segment_of, snapshot_of};

    fn merged(head: &Snapshot, file: &[(&str, &str)], replace: bool) -> (Merged, Snapshot) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SegmentWriter::create(folder.path()).unwrap();
        let merged = merge(head, &segment_of(file), replace, &mut writer).unwrap();
        writer.finish("more.csv", 0).unwrap();
        let mut segments = head.segments().to_vec();
        segments.push(std::sync::Arc::new(Segment::open(folder.path()).unwrap()));
        let next = Snapshot::new(segments, merged.changes.clone());
        (merged, next)
    }

    fn rows(snapshot: &Snapshot) -> Vec<(RowId, String, String)> {
        (0..snapshot.len())
            .map(|place| (snapshot.id(place), snapshot.text(place).to_string(), snapshot.label_name(place).to_string()))
            .collect()
    }

    #[test]
    fn rows_that_are_there_keep_their_ids_and_each_stands_for_one() {
        let head = snapshot_of(&[("one", "a"), ("two", "b"), ("one", "a")]);
        let file = [("ONE", "a"), (" two ", "b"), ("two", "a"), ("two", "b"), ("three", "a")];
        let (added, grown) = merged(&head, &file, false);
        assert_eq!((added.appended, added.unchanged), (3, 2));
        assert_eq!(rows(&grown)[..3], rows(&head)[..]);
        assert_eq!(
            rows(&grown)[3..].iter().map(|(id, text, _)| (*id, text.as_str())).collect::<Vec<_>>(),
            [(3, "two"), (4, "two"), (5, "three")]
        );
        let (replaced, next) = merged(&head, &file, true);
        assert_eq!((replaced.appended, replaced.unchanged), (3, 2));
        assert_eq!(rows(&next).iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [0, 1, 3, 4, 5]);
        // The same once more changes nothing.
        assert_eq!(merged(&next, &file, true).0, Merged { changes: replaced.changes, appended: 0, unchanged: 5 });
    }

    #[test]
    fn a_repaired_row_is_found_under_both_its_texts_and_a_dropped_one_comes_back() {
        let first = snapshot_of(&[("L+ñnnen", "a"), ("two", "b"), ("three", "a"), ("four", "b")]);
        let changes = Changes::from([
            (0, RowChange::Edited { text: Some("Lännen".to_string()), label: None }),
            (2, RowChange::Dropped),
        ]);
        let head = Snapshot::new(first.segments().to_vec(), changes);
        for text in ["L+ñnnen", "Lännen"] {
            let (added, next) = merged(&head, &[(text, "a"), ("five", "a")], false);
            assert_eq!((added.appended, added.unchanged), (1, 1));
            assert_eq!(rows(&next)[0].1, "Lännen");
        }
        let (added, next) = merged(&head, &[("three", "a")], false);
        assert_eq!((added.appended, added.unchanged), (0, 0));
        assert_eq!(next.place(2), Some(2));
    }
}
