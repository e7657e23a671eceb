//! Rows for tests.

use crate::datasets::{Changes, Segment, SegmentWriter, Snapshot};
use domain::dataset::Row;
use domain::split::Part;
use std::sync::Arc;

pub fn snapshot_of(rows: &[(&str, &str)]) -> Snapshot {
    let rows: Vec<(&str, &str, Option<Part>)> = rows.iter().map(|(text, label)| (*text, *label, None)).collect();
    snapshot_with_parts(&rows)
}

pub fn snapshot_with_parts(rows: &[(&str, &str, Option<Part>)]) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::create(folder.path()).unwrap();
    for (place, (text, label, part)) in rows.iter().enumerate() {
        let row = Row { line: place as u64 + 2, text: text.to_string(), label: label.to_string() };
        writer.write(&row, *part).unwrap();
    }
    writer.finish("rows.csv", 0).unwrap();
    // The map outlives the files' names.
    Snapshot::new(vec![Arc::new(Segment::open(folder.path()).unwrap())], Changes::new())
}
