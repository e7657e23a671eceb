//! Versions that somebody has looked at lately, kept open as long as there is room. Clones of a snapshot's `Arc` stay
//! good for as long as they are held.

use super::segment::Segment;
use super::snapshot::{Changes, Snapshot};
use crate::error::Result;
use crate::files::Files;
use domain::dataset::DatasetId;
use domain::version::{RowChange, VersionNumber};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Most memory that open versions take together, beside what is mapped from the disk.
const MAX_BYTES: usize = 128 << 20;
/// Most versions that are open: each holds maps, of which the system gives a process some ten thousand.
const MAX_VERSIONS: usize = 64;

pub struct OpenedVersions {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

impl Default for OpenedVersions {
    fn default() -> Self {
        Self { max_bytes: MAX_BYTES, inner: Mutex::default() }
    }
}

#[derive(Default)]
struct Inner {
    /// The one that was asked for last stands last.
    versions: Vec<OpenedVersion>,
    /// Versions of one dataset read the same segments.
    segments: HashMap<(DatasetId, usize), Weak<Segment>>,
}

struct OpenedVersion {
    dataset: DatasetId,
    number: VersionNumber,
    snapshot: Arc<Snapshot>,
    bytes: usize,
}

impl OpenedVersions {
    pub fn get(&self, dataset: DatasetId, number: VersionNumber) -> Option<Arc<Snapshot>> {
        let versions = &mut self.lock().versions;
        let place = versions.iter().position(|version| version.dataset == dataset && version.number == number)?;
        let version = versions.remove(place);
        let snapshot = version.snapshot.clone();
        versions.push(version);
        Some(snapshot)
    }

    pub fn put(&self, dataset: DatasetId, number: VersionNumber, snapshot: Arc<Snapshot>) {
        let inner = &mut *self.lock();
        inner.versions.retain(|version| version.dataset != dataset || version.number != number);
        let bytes = bytes_of(&snapshot);
        inner.versions.push(OpenedVersion { dataset, number, snapshot, bytes });
        let mut total: usize = inner.versions.iter().map(|version| version.bytes).sum();
        while inner.versions.len() > 1 && (total > self.max_bytes || inner.versions.len() > MAX_VERSIONS) {
            total -= inner.versions.remove(0).bytes;
        }
        inner.segments.retain(|_, segment| segment.strong_count() > 0);
    }

    /// The first segments of a dataset. Blocks while those that nobody has open are mapped and checked.
    pub fn segments(&self, files: &Files, dataset: DatasetId, count: usize) -> Result<Vec<Arc<Segment>>> {
        (0..count)
            .map(|number| {
                if let Some(segment) = self.lock().segments.get(&(dataset, number)).and_then(Weak::upgrade) {
                    return Ok(segment);
                }
                let segment = Arc::new(Segment::open(&files.segment(dataset, number))?);
                self.lock().segments.insert((dataset, number), Arc::downgrade(&segment));
                Ok(segment)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About what a snapshot takes: an id per row where rows were dropped, and the changes.
fn bytes_of(snapshot: &Snapshot) -> usize {
    let ids = if snapshot.len() == snapshot.ids_given() { 0 } else { snapshot.len() * 4 };
    ids + changes_bytes(snapshot.changes()) + 1024
}

fn changes_bytes(changes: &Changes) -> usize {
    let words = |change: &RowChange| match change {
        RowChange::Edited { text, label } => {
            text.as_ref().map_or(0, String::capacity) + label.as_ref().map_or(0, String::capacity)
        }
        RowChange::Dropped | RowChange::Restored => 0,
    };
    // A map's nodes are two thirds full on average.
    changes.values().map(|change| words(change) + size_of::<RowChange>() * 3 / 2 + 8).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::segment_of;

    #[test]
    fn those_not_asked_for_longest_go_first() {
        const ROOM: usize = 300_000;
        let opened = OpenedVersions { max_bytes: ROOM, inner: Mutex::default() };
        let segment = segment_of(&[("one", "a"), ("two", "b")]);
        let version = |text_bytes: usize| {
            let text = Some("x".repeat(text_bytes));
            let changes = Changes::from([(0, RowChange::Edited { text, label: None })]);
            Arc::new(Snapshot::new(vec![segment.clone()], changes))
        };
        for number in 1..=3 {
            opened.put(7, number, version(ROOM / 3 - 10_000));
        }
        assert!(opened.get(7, 1).is_some());
        opened.put(8, 1, version(10));
        opened.put(7, 4, version(ROOM / 4));
        assert!(opened.get(7, 2).is_none(), "it was asked for longest ago");
        assert!(opened.get(7, 1).is_some() && opened.get(8, 1).is_some() && opened.get(7, 4).is_some());
        // One that is larger than all the room is open alone.
        opened.put(9, 1, version(ROOM * 2));
        assert!(opened.get(9, 1).is_some() && opened.get(7, 1).is_none());
    }
}
