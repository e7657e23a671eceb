//! What versions have made of rows: a step on top of a version, the difference between two, the way back; and the file
//! that keeps it.
//!
//! A version's changes are held against the rows as their files had them, whatever came between, and in one form only: a
//! row that is as its file had it has no entry, and an edit names only what differs. So two versions have the same row
//! exactly if they have the same entry.

use super::snapshot::{Changes, Snapshot};
use crate::error::{Result, ServiceError};
use crate::files;
use domain::error::UserError;
use domain::version::{RowChange, RowId, VersionNumber};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Lines};
use std::path::Path;

/// Longest text that an edit may leave, in bytes; what files may bring is bounded by their reader.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Changes of so few rows are always stored in full.
const SHORT: usize = 1000;
/// For what a version does not know, which is to the person the same as what it has dropped.
static DROPPED: RowChange = RowChange::Dropped;

/// How a version differs from another, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: u64,
    pub removed: u64,
    pub relabelled: u64,
    pub rewritten: u64,
}

/// The changes of a version that does `step` on top of `head`.
///
/// # Errors
/// A row that the head does not have, or a text or label that no row can have.
pub fn apply(head: &Snapshot, step: &Changes) -> Result<Changes> {
    let mut changes = head.changes().clone();
    for (&id, change) in step {
        if id as usize >= head.ids_given() {
            return Err(no_such_row(id).into());
        }
        match change {
            RowChange::Dropped => {
                changes.insert(id, RowChange::Dropped);
            }
            RowChange::Restored => {
                changes.remove(&id);
            }
            RowChange::Edited { text, label } => {
                let (old_text, old_label) = match changes.get(&id) {
                    Some(RowChange::Dropped) => return Err(no_such_row(id).into()),
                    Some(RowChange::Edited { text, label }) => (text.clone(), label.clone()),
                    Some(RowChange::Restored) | None => (None, None),
                };
                let text = text.clone().or(old_text).filter(|text| text != head.original_text(id));
                let label = label.clone().or(old_label).filter(|label| label != head.original_label(id));
                text.as_deref().map_or(Ok(()), check_text)?;
                if text.is_none() && label.is_none() {
                    changes.remove(&id);
                } else {
                    changes.insert(id, RowChange::Edited { text, label });
                }
            }
        }
    }
    Ok(changes)
}

fn check_text(text: &str) -> Result<()> {
    let problem = if text.trim().is_empty() {
        "A text cannot be empty. Write one, or drop the row."
    } else if text.len() > MAX_TEXT_BYTES {
        "A text can have 1 MB at the most. Shorten it."
    } else if text.contains('\0') {
        "A text cannot hold a NUL character. Take it out."
    } else {
        return Ok(());
    };
    Err(UserError::invalid(problem).into())
}

fn no_such_row(id: RowId) -> UserError {
    UserError::conflict(format!("Row {id} is not in the dataset any more. Look at the rows again."))
}

/// What a version did on top of its parent; `parent` is `None` for the first one.
pub fn difference(parent: Option<&Snapshot>, version: &Snapshot) -> Difference {
    let Some(parent) = parent else {
        return Difference { added: version.len() as u64, ..Difference::default() };
    };
    let mut difference = Difference::default();
    for id in touched(parent, version) {
        match (place_of(parent, id), place_of(version, id)) {
            (None, Some(_)) => difference.added += 1,
            (Some(_), None) => difference.removed += 1,
            (Some(before), Some(after)) => {
                difference.relabelled += u64::from(parent.label_name(before) != version.label_name(after));
                difference.rewritten += u64::from(parent.text(before) != version.text(after));
            }
            (None, None) => {}
        }
    }
    difference
}

/// The changes of a version that takes back what `version` did on top of `parent`, with the rows for which that cannot
/// be done, because `head` has them as neither of the two.
pub fn take_back(parent: &Snapshot, version: &Snapshot, head: &Snapshot) -> (Changes, Vec<RowId>) {
    let mut changes = head.changes().clone();
    let mut changed_since = Vec::new();
    for id in touched(parent, version) {
        let (before, after, now) = (entry(parent, id), entry(version, id), entry(head, id));
        if now != before && now != after {
            changed_since.push(id);
        } else {
            set(&mut changes, id, before);
        }
    }
    (changes, changed_since)
}

/// The changes of a version that has the rows of `version` again.
pub fn go_back(version: &Snapshot, head: &Snapshot) -> Changes {
    let mut changes = version.changes().clone();
    // Rows of files that were added later.
    changes.extend((version.ids_given()..head.ids_given()).map(|id| (id as RowId, RowChange::Dropped)));
    changes
}

/// What the version has made of the row; `None`: nothing.
pub fn entry(version: &Snapshot, id: RowId) -> Option<&RowChange> {
    if id as usize >= version.ids_given() { Some(&DROPPED) } else { version.changes().get(&id) }
}

fn set(changes: &mut Changes, id: RowId, to: Option<&RowChange>) {
    match to {
        Some(change) => changes.insert(id, change.clone()),
        None => changes.remove(&id),
    };
}

fn place_of(version: &Snapshot, id: RowId) -> Option<usize> {
    if (id as usize) < version.ids_given() { version.place(id) } else { None }
}

/// Rows of which the later version may have made something else than the earlier one.
fn touched<'a>(earlier: &'a Snapshot, later: &'a Snapshot) -> BTreeSet<RowId> {
    let new = (earlier.ids_given()..later.ids_given()).map(|id| id as RowId);
    let changed = earlier.changes().keys().chain(later.changes().keys()).copied();
    changed.filter(|id| entry(earlier, *id) != entry(later, *id)).chain(new).collect()
}

/// The first line of a file of changes.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The version whose changes, stored in full, this file goes on from; `None`: this one is in full.
    since: Option<VersionNumber>,
}

/// What a file of changes holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StoredChanges {
    pub since: Option<VersionNumber>,
    /// A `Restored` row has no entry any more.
    pub entries: Changes,
}

impl StoredChanges {
    /// In what form a version's changes are stored: in full, or, so that a hundred edits by hand on top of a large
    /// repair do not store that repair a hundred times, as what differs from an earlier version that is in full.
    pub fn of(changes: &Changes, full: Option<(VersionNumber, &Changes)>) -> Self {
        let in_full = || Self { since: None, entries: changes.clone() };
        let Some((since, earlier)) = full else { return in_full() };
        if changes.len() < SHORT {
            return in_full();
        }
        let mut entries = Changes::new();
        for (id, change) in changes {
            if earlier.get(id) != Some(change) {
                entries.insert(*id, change.clone());
            }
        }
        for id in earlier.keys() {
            if !changes.contains_key(id) {
                entries.insert(*id, RowChange::Restored);
            }
        }
        if entries.len() > changes.len() / 4 { in_full() } else { Self { since: Some(since), entries } }
    }

    /// The version's changes; `full` are those of the version `since`.
    pub fn into_changes(self, full: Option<&Changes>) -> Changes {
        let mut changes = full.cloned().unwrap_or_default();
        for (id, change) in self.entries {
            if change == RowChange::Restored {
                changes.remove(&id);
            } else {
                changes.insert(id, change);
            }
        }
        changes
    }

    /// JSON lines: a head, then a pair of row and change each.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| ServiceError::io(folder, error))?;
        }
        files::write_whole(path, |writer| {
            files::write_json_line(writer, &Head { since: self.since })?;
            self.entries.iter().try_for_each(|entry| files::write_json_line(writer, &entry))
        })
    }

    /// A version without changes has no file.
    pub fn read(path: &Path) -> Result<Self> {
        let Some((head, lines)) = open(path)? else { return Ok(Self::default()) };
        let mut entries = Changes::new();
        for line in lines {
            let line = line.map_err(|error| ServiceError::io(path, error))?;
            let (id, change) = serde_json::from_str(&line).map_err(unreadable)?;
            entries.insert(id, change);
        }
        Ok(Self { since: head.since, entries })
    }

    /// The version that the file goes on from, if it is not in full.
    pub fn read_since(path: &Path) -> Result<Option<VersionNumber>> {
        Ok(open(path)?.and_then(|(head, _)| head.since))
    }
}

fn open(path: &Path) -> Result<Option<(Head, Lines<BufReader<File>>)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ServiceError::io(path, error)),
    };
    let mut lines = BufReader::with_capacity(256 * 1024, file).lines();
    let head = lines.next().transpose().map_err(|error| ServiceError::io(path, error))?.unwrap_or_default();
    Ok(Some((serde_json::from_str(&head).map_err(unreadable)?, lines)))
}

fn unreadable(error: serde_json::Error) -> ServiceError {
    ServiceError::stored("the changes of a version", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::segment_of;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn edited(text: Option<&str>, label: Option<&str>) -> RowChange {
        RowChange::Edited { text: text.map(String::from), label: label.map(String::from) }
    }

    fn after(version: &Snapshot, step: &[(RowId, RowChange)]) -> Snapshot {
        let changes = apply(version, &step.iter().cloned().collect()).unwrap();
        Snapshot::new(version.segments().to_vec(), changes)
    }

    fn first() -> Snapshot {
        Snapshot::new(vec![segment_of(&[("one", "a"), ("two", "b"), ("three", "a"), ("four", "b")])], Changes::new())
    }

    #[test]
    fn a_row_that_is_as_its_file_had_it_has_no_entry() {
        let first = first();
        let second = after(&first, &[(0, edited(Some("uno"), None)), (1, edited(None, Some("a")))]);
        let third = after(&second, &[(0, edited(None, Some("b"))), (1, edited(None, Some("b")))]);
        assert_eq!(third.changes(), &Changes::from([(0, edited(Some("uno"), Some("b")))]));
        let fourth = after(&third, &[(0, RowChange::Restored), (2, RowChange::Dropped)]);
        assert_eq!(fourth.changes(), &Changes::from([(2, RowChange::Dropped)]));
        for refused in [(2, edited(Some("drei"), None)), (4, RowChange::Dropped), (3, edited(Some(" \n"), None))] {
            assert!(apply(&fourth, &Changes::from([refused])).is_err());
        }
    }

    #[test]
    fn what_changed_is_counted_by_row() {
        let first = first();
        let second = after(
            &first,
            &[(0, edited(Some("uno"), Some("b"))), (1, RowChange::Dropped), (2, edited(None, Some("b")))],
        );
        assert_eq!(difference(Some(&first), &second), Difference { added: 0, removed: 1, relabelled: 2, rewritten: 1 });
        assert_eq!(difference(Some(&second), &first), Difference { added: 1, removed: 0, relabelled: 2, rewritten: 1 });
        let segments = [first.segments(), &[segment_of(&[("five", "a"), ("six", "b")])]].concat();
        let grown = Snapshot::new(segments, first.changes().clone());
        assert_eq!(difference(Some(&first), &grown).added, 2);
        assert_eq!(difference(None, &grown).added, 6);
        let back = Snapshot::new(grown.segments().to_vec(), go_back(&second, &grown));
        assert_eq!(difference(Some(&second), &back), Difference::default());
    }

    #[test]
    fn a_version_is_taken_back_unless_its_rows_were_changed_again() {
        let first = first();
        let second = after(&first, &[(0, edited(Some("uno"), None)), (1, RowChange::Dropped)]);
        let third = after(&second, &[(3, edited(None, Some("a")))]);
        let (changes, changed_since) = take_back(&first, &second, &third);
        assert!(changed_since.is_empty());
        assert_eq!(changes, Changes::from([(3, edited(None, Some("a")))]));

        let fourth = after(&third, &[(0, edited(Some("eins"), None))]);
        assert_eq!(take_back(&first, &second, &fourth).1, [0]);
        // A row that is already as it was before is in nobody's way.
        let fifth = after(&fourth, &[(0, RowChange::Restored)]);
        assert_eq!(take_back(&first, &second, &fifth), (Changes::from([(3, edited(None, Some("a")))]), vec![]));
    }

    #[test]
    fn changes_come_back_from_the_disk_in_full_and_as_a_difference() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("versions/2.changes");
        assert_eq!(StoredChanges::read(&path).unwrap(), StoredChanges::default());

        let repair: Changes = (0..2000).map(|id| (id, RowChange::Dropped)).collect();
        let stored = StoredChanges::of(&repair, Some((1, &Changes::new())));
        assert_eq!(stored.since, None);
        stored.write(&path).unwrap();
        assert_eq!(StoredChanges::read(&path).unwrap().into_changes(None), repair);

        let mut edit = repair.clone();
        edit.remove(&7);
        edit.insert(9, edited(Some("line\nbreak \"quoted\""), None));
        let stored = StoredChanges::of(&edit, Some((2, &repair)));
        assert_eq!((stored.since, stored.entries.len()), (Some(2), 2));
        stored.write(&path).unwrap();
        assert_eq!(StoredChanges::read_since(&path).unwrap(), Some(2));
        assert_eq!(StoredChanges::read(&path).unwrap().into_changes(Some(&repair)), edit);

        std::fs::write(&path, "{\"since\":null}\n[1,\"dropp").unwrap();
        assert!(StoredChanges::read(&path).is_err());
    }

    /// What may become of one of six rows, among so few words that much comes back to what it was.
    fn any_change() -> impl Strategy<Value = (RowId, RowChange)> {
        let word =
            |words: &'static [&'static str]| prop::option::of(prop::sample::select(words).prop_map(String::from));
        let edit =
            (word(&["one", "two", "x"]), word(&["a", "b"])).prop_map(|(text, label)| RowChange::Edited { text, label });
        (0..6_u32, prop_oneof![Just(RowChange::Dropped), Just(RowChange::Restored), edit])
    }

    /// The rows by id.
    fn rows(version: &Snapshot) -> BTreeMap<RowId, (String, String)> {
        let row = |place| (version.text(place).to_string(), version.label_name(place).to_string());
        (0..version.len()).map(|place| (version.id(place), row(place))).collect()
    }

    proptest! {
        #[test]
        fn steps_are_counted_and_taken_back_as_the_rows_themselves_say(
            steps in prop::collection::vec(prop::collection::vec(any_change(), 1..4), 1..6),
            undone in 0..5_usize,
        ) {
            let segment = segment_of(&[("one", "a"), ("two", "b"), ("one", "b"), ("two", "a"), ("x", "a"), ("y", "b")]);
            let mut versions = vec![Snapshot::new(vec![segment.clone()], Changes::new())];
            for step in &steps {
                let head = versions.last().unwrap();
                // A row that is not there cannot be edited; such a step makes no version.
                let Ok(changes) = apply(head, &step.iter().cloned().collect()) else { continue };
                versions.push(Snapshot::new(vec![segment.clone()], changes));
            }
            for pair in versions.windows(2) {
                let (before, after) = (rows(&pair[0]), rows(&pair[1]));
                let both = || before.iter().filter_map(|(id, row)| Some((row, after.get(id)?)));
                let expected = Difference {
                    added: after.keys().filter(|id| !before.contains_key(id)).count() as u64,
                    removed: before.keys().filter(|id| !after.contains_key(id)).count() as u64,
                    relabelled: both().filter(|(before, after)| before.1 != after.1).count() as u64,
                    rewritten: both().filter(|(before, after)| before.0 != after.0).count() as u64,
                };
                prop_assert_eq!(difference(Some(&pair[0]), &pair[1]), expected);
                prop_assert_eq!(before == after, pair[0].changes() == pair[1].changes());
            }
            let head = versions.last().unwrap();
            for version in &versions {
                let back = Snapshot::new(vec![segment.clone()], go_back(version, head));
                prop_assert_eq!(rows(&back), rows(version));
            }
            let Some(version) = versions.get(undone + 1) else { return Ok(()) };
            let (changes, changed_since) = take_back(&versions[undone], version, head);
            let (before, after, now) = (rows(&versions[undone]), rows(version), rows(head));
            let then = rows(&Snapshot::new(vec![segment.clone()], changes));
            for id in 0..6 {
                let expected = if changed_since.contains(&id) {
                    prop_assert!(now.get(&id) != before.get(&id) && now.get(&id) != after.get(&id));
                    now.get(&id)
                } else if before.get(&id) != after.get(&id) {
                    before.get(&id)
                } else {
                    now.get(&id)
                };
                prop_assert_eq!(then.get(&id), expected);
            }
        }
    }
}
