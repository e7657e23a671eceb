//! The rows of one version: the segments that its dataset has taken in, less what was dropped, with what was edited.

use super::segment::Segment;
use domain::dataset::{LabelCount, Row};
use domain::split::Part;
use domain::version::{RowChange, RowId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// What the versions so far have made of rows, by id. Rows that are as their file had them are not here.
pub type Changes = BTreeMap<RowId, RowChange>;

/// One version, ready to be read from many threads. Rows are addressed by their place among the version's rows, from 0
/// in the order of their ids.
#[derive(Debug)]
pub struct Snapshot {
    segments: Vec<Arc<Segment>>,
    /// The id of each segment's first row.
    first_ids: Vec<usize>,
    changes: Changes,
    /// Place to id; `None`: no row has been dropped, and the two are the same.
    ids: Option<Vec<RowId>>,
    len: usize,
    /// Every label of the segments and of the changes that rows of this version have.
    labels: Vec<String>,
    /// Segment and place of a label there, to its place in `labels`.
    label_places: Vec<Vec<u32>>,
    label_by_name: HashMap<String, u32>,
    twins: OnceLock<Vec<u32>>,
}

impl Snapshot {
    pub fn new(segments: Vec<Arc<Segment>>, changes: Changes) -> Self {
        let mut first_ids = Vec::with_capacity(segments.len());
        let mut total = 0;
        for segment in &segments {
            first_ids.push(total);
            total += segment.len();
        }
        let is_dropped = |change: &RowChange| *change == RowChange::Dropped;
        let dropped = changes.values().filter(|change| is_dropped(change)).count();
        let ids = (dropped > 0)
            .then(|| (0..total as RowId).filter(|id| !changes.get(id).is_some_and(is_dropped)).collect::<Vec<RowId>>());
        let mut snapshot = Self {
            len: ids.as_ref().map_or(total, Vec::len),
            segments,
            first_ids,
            changes,
            ids,
            labels: Vec::new(),
            label_places: Vec::new(),
            label_by_name: HashMap::new(),
            twins: OnceLock::new(),
        };
        snapshot.name_labels();
        snapshot
    }

    fn name_labels(&mut self) {
        let mut add = |name: &str| -> u32 {
            if let Some(place) = self.label_by_name.get(name) {
                return *place;
            }
            let place = self.labels.len() as u32;
            self.labels.push(name.to_string());
            self.label_by_name.insert(name.to_string(), place);
            place
        };
        for segment in &self.segments {
            self.label_places.push(segment.labels().iter().map(|label| add(label)).collect());
        }
        for change in self.changes.values() {
            if let RowChange::Edited { label: Some(label), .. } = change {
                add(label);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows that the dataset has ever had; every id is below it.
    pub fn ids_given(&self) -> usize {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    /// Rows of its files that could not be used.
    pub fn rejected(&self) -> u64 {
        self.segments.iter().map(|segment| segment.rejected()).sum()
    }

    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    pub fn id(&self, place: usize) -> RowId {
        match &self.ids {
            None => place as RowId,
            Some(ids) => ids.get(place).copied().unwrap_or(RowId::MAX),
        }
    }

    /// `None`: no such row, or not in this version.
    pub fn place(&self, id: RowId) -> Option<usize> {
        match &self.ids {
            None => Some(id as usize).filter(|place| *place < self.len),
            Some(ids) => ids.binary_search(&id).ok(),
        }
    }

    pub fn text(&self, place: usize) -> &str {
        let id = self.id(place);
        if let Some(RowChange::Edited { text: Some(text), .. }) = self.change(id) {
            return text;
        }
        self.original_text(id)
    }

    /// Place of the row's label in [`Snapshot::labels`].
    pub fn label(&self, place: usize) -> usize {
        let id = self.id(place);
        if let Some(RowChange::Edited { label: Some(label), .. }) = self.change(id) {
            return self.label_by_name.get(label).copied().unwrap_or_default() as usize;
        }
        self.original_label_place(id)
    }

    pub fn label_name(&self, place: usize) -> &str {
        self.labels.get(self.label(place)).map_or("", String::as_str)
    }

    /// A group number per place; exact and near duplicates share one. Worked out when it is first asked for, which takes
    /// seconds for a million rows.
    pub fn twins(&self) -> &[u32] {
        self.twins.get_or_init(|| crate::doctor::twins(self))
    }

    /// Line of its file.
    pub fn line(&self, place: usize) -> u64 {
        self.locate(self.id(place)).map_or(0, |(segment, row)| self.segments[segment].line(row))
    }

    /// The part that its file put it in.
    pub fn part(&self, place: usize) -> Option<Part> {
        let (segment, row) = self.locate(self.id(place))?;
        self.segments[segment].part(row)
    }

    /// Which of the dataset's files the row came with, from 0.
    pub fn segment_of(&self, place: usize) -> usize {
        self.locate(self.id(place)).map_or(0, |(segment, _)| segment)
    }

    pub fn is_changed(&self, place: usize) -> bool {
        self.change(self.id(place)).is_some()
    }

    /// As the file had it, dropped or not.
    pub fn original_text(&self, id: RowId) -> &str {
        self.locate(id).map_or("", |(segment, row)| self.segments[segment].text(row))
    }

    /// As the file had it, dropped or not.
    pub fn original_label(&self, id: RowId) -> &str {
        self.labels.get(self.original_label_place(id)).map_or("", String::as_str)
    }

    fn original_label_place(&self, id: RowId) -> usize {
        let Some((segment, row)) = self.locate(id) else { return 0 };
        self.label_places[segment].get(self.segments[segment].label(row)).copied().unwrap_or_default() as usize
    }

    /// Names of labels, by their places. Some may have no row left.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Most frequent first, then by name; labels without rows are left out.
    pub fn label_counts(&self) -> Vec<LabelCount> {
        let mut counts = vec![0_u64; self.labels.len()];
        for place in 0..self.len {
            counts[self.label(place)] += 1;
        }
        let mut counts: Vec<LabelCount> = self
            .labels
            .iter()
            .zip(counts)
            .filter(|(_, rows)| *rows > 0)
            .map(|(label, rows)| LabelCount { label: label.clone(), rows })
            .collect();
        counts.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
        counts
    }

    pub fn row(&self, place: usize) -> Row {
        Row { line: self.line(place), text: self.text(place).to_string(), label: self.label_name(place).to_string() }
    }

    fn change(&self, id: RowId) -> Option<&RowChange> {
        if self.changes.is_empty() { None } else { self.changes.get(&id) }
    }

    /// Segment and row there.
    fn locate(&self, id: RowId) -> Option<(usize, usize)> {
        let id = id as usize;
        let segment = self.first_ids.partition_point(|first| *first <= id).checked_sub(1)?;
        let row = id - self.first_ids[segment];
        (row < self.segments[segment].len()).then_some((segment, row))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::datasets::segment::SegmentWriter;

    /// A snapshot of rows given as text and label, without changes.
    pub fn snapshot_of(rows: &[(&str, &str)]) -> Snapshot {
        Snapshot::new(vec![segment_of(rows)], Changes::new())
    }

    pub fn segment_of(rows: &[(&str, &str)]) -> Arc<Segment> {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SegmentWriter::create(folder.path()).unwrap();
        for (place, (text, label)) in rows.iter().enumerate() {
            let row = Row { line: place as u64 + 2, text: text.to_string(), label: label.to_string() };
            writer.write(&row, None).unwrap();
        }
        writer.finish("rows.csv", 0).unwrap();
        // The map outlives the files' names.
        Arc::new(Segment::open(folder.path()).unwrap())
    }

    #[test]
    fn a_version_is_its_segments_with_its_changes() {
        let segments = vec![
            segment_of(&[("one", "a"), ("", "b"), ("thrée", "a")]),
            segment_of(&[]),
            segment_of(&[("four", "c"), ("five", "b")]),
        ];
        let plain = Snapshot::new(segments.clone(), Changes::new());
        assert_eq!(plain.len(), 5);
        let texts: Vec<&str> = (0..5).map(|place| plain.text(place)).collect();
        assert_eq!(texts, ["one", "", "thrée", "four", "five"]);
        let labels: Vec<&str> = (0..5).map(|place| plain.label_name(place)).collect();
        assert_eq!(labels, ["a", "b", "a", "c", "b"]);
        assert_eq!((plain.line(3), plain.segment_of(3)), (2, 2));

        let changes = Changes::from([
            (1, RowChange::Dropped),
            (3, RowChange::Edited { text: None, label: Some("d".into()) }),
            (4, RowChange::Edited { text: Some("fünf".into()), label: None }),
        ]);
        let changed = Snapshot::new(segments, changes);
        assert_eq!(changed.len(), 4);
        assert_eq!((changed.id(1), changed.place(1), changed.place(2)), (2, None, Some(1)));
        assert_eq!(changed.row(2), Row { line: 2, text: "four".into(), label: "d".into() });
        assert_eq!((changed.text(3), changed.original_text(4)), ("fünf", "five"));
        assert_eq!((changed.original_label(3), changed.original_label(1)), ("c", "b"));
        let counts: Vec<(String, u64)> =
            changed.label_counts().into_iter().map(|count| (count.label, count.rows)).collect();
        assert_eq!(counts, [("a".to_string(), 2), ("b".to_string(), 1), ("d".to_string(), 1)]);
    }
}
