use super::*;
use crate::dataset::mix;

const PERCENT: Split = Split::Percent { train: 60.0, validation: 10.0, test: 30.0, seed: 7 };

fn rows(per_label: usize) -> Vec<Row> {
    (0..per_label * 3)
        .map(|i| Row { line: i as u64 + 2, text: format!("text number {i}"), label: ["a", "b", "c"][i % 3].into() })
        .collect()
}

fn count(parts: &[Option<Part>], part: Part) -> usize {
    parts.iter().filter(|p| **p == Some(part)).count()
}

/// Texts and labels of a dataset that a seed has drawn: several files, repetitions within and across labels.
struct Drawn {
    rows: Vec<(Row, u32)>,
}

impl Drawn {
    fn new(seed: u64) -> Self {
        let draw = |place: u64, of: u64| mix(mix(seed) ^ place) % of;
        let rows = (0..60 + draw(1, 240))
            .map(|place| {
                let text = format!("text {}", draw(place * 3 + 2, 200));
                let label = ["rare", "common", "common", "other"][draw(place * 3 + 3, 4) as usize].to_string();
                (Row { line: place + 2, text, label }, (place / 100) as u32)
            })
            .collect();
        Self { rows }
    }

    fn split_rows(&self) -> Vec<SplitRow<'_>> {
        let mut groups: HashMap<String, u32> = HashMap::new();
        let mut split_rows = Vec::new();
        for (place, (row, file)) in self.rows.iter().enumerate() {
            let twin_group = *groups.entry(normalise(&row.text)).or_insert(place as u32);
            let [one] = &SplitRow::of_file(std::slice::from_ref(row))[..] else { panic!("one row") };
            split_rows.push(SplitRow { id: place as RowId, twin_group, file: *file, ..*one });
        }
        split_rows
    }
}

fn splits(seed: u64) -> Vec<Split> {
    vec![
        PERCENT,
        Split::OwnTest { test_dataset: 2, validation_dataset: None, validation: 20.0, seed },
        Split::Fold { fold: seed % 5, folds: 5, validation: 10.0, seed },
        Split::Frozen { validation: 15.0, seed },
    ]
}

#[test]
fn every_label_of_every_file_is_dealt_to_within_one_row_of_the_shares() {
    for (train, validation, test) in [(60.0, 10.0, 30.0), (79.0, 1.0, 20.0), (50.0, 0.0, 25.0), (33.3, 33.3, 33.4)] {
        for per_label in [1, 2, 3, 7, 50, 101] {
            let split = Split::Percent { train, validation, test, seed: 3 };
            let rows = rows(per_label);
            let split_rows: Vec<SplitRow> = SplitRow::of_file(&rows)
                .into_iter()
                .map(|row| SplitRow { file: u32::from(row.id as usize >= rows.len() / 2), ..row })
                .collect();
            let parts = split.deal(&split_rows).unwrap();
            for file in [0, 1] {
                for label in ["a", "b", "c"] {
                    let of: Vec<Option<Part>> = split_rows
                        .iter()
                        .zip(&parts)
                        .filter(|(row, _)| row.file == file && row.label == label)
                        .map(|(_, part)| *part)
                        .collect();
                    for (part, share) in [(Part::Train, train), (Part::Validation, validation), (Part::Test, test)] {
                        let far = count(&of, part) as f64 - share / 100.0 * of.len() as f64;
                        assert!(far.abs() <= 1.0, "{split:?} {label} {part:?} of {}: {far}", of.len());
                    }
                }
            }
        }
    }
}

#[test]
fn no_text_is_on_two_sides() {
    for seed in 0..40 {
        let drawn = Drawn::new(seed);
        let mut rows = drawn.split_rows();
        for row in &mut rows {
            row.is_frozen_test = mix(seed ^ u64::from(row.id)).is_multiple_of(9);
        }
        let mut all = splits(seed);
        all.push(Split::PerLabel { train: 4, validation: 1, test: 2, seed });
        for split in all {
            let mut sides: HashMap<u32, Part> = HashMap::new();
            for (row, part) in rows.iter().zip(split.deal(&rows).unwrap()) {
                let Some(part) = part else { continue };
                assert_eq!(*sides.entry(row.twin_group).or_insert(part), part, "{split:?} {row:?}");
            }
        }
    }
}

#[test]
fn a_further_file_moves_no_row() {
    for seed in 0..40 {
        let drawn = Drawn::new(seed);
        let rows = drawn.split_rows();
        let before: Vec<SplitRow> = rows
            .iter()
            .filter(|row| row.file == 0)
            .map(|row| SplitRow { is_frozen_test: row.id.is_multiple_of(7), ..*row })
            .collect();
        let mut after = before.clone();
        after.extend(rows.iter().filter(|row| row.file > 0));
        for split in splits(seed) {
            let parts = split.deal(&before).unwrap();
            assert_eq!(parts[..], split.deal(&after).unwrap()[..before.len()], "{split:?}");
        }
    }
}

#[test]
fn rows_that_are_dropped_or_relabelled_move_no_other() {
    for seed in 0..40 {
        let drawn = Drawn::new(seed);
        let mut whole = drawn.split_rows();
        for row in &mut whole {
            row.is_frozen_test = mix(seed ^ u64::from(row.id)).is_multiple_of(9);
            row.part = [None, Some(Part::Train), Some(Part::Test)][(mix(u64::from(row.id) ^ 5) % 3) as usize];
        }
        let changed: Vec<SplitRow> = whole
            .iter()
            .map(|row| match mix(seed ^ mix(u64::from(row.id))) % 4 {
                0 => SplitRow { present_label: None, ..*row },
                1 => SplitRow { present_label: Some("other"), ..*row },
                _ => *row,
            })
            .collect();
        let mut all = splits(seed);
        all.push(Split::Column { validation: 10.0, seed });
        for split in all {
            let (before, after) = (split.deal(&whole).unwrap(), split.deal(&changed).unwrap());
            for ((row, before), after) in changed.iter().zip(before).zip(after) {
                assert_eq!(after, before.filter(|_| row.present_label.is_some()), "{split:?} {row:?}");
            }
        }
    }
}

#[test]
fn folds_test_every_row_once_and_every_label_in_every_fold() {
    let rows = rows(23);
    let rows = SplitRow::of_file(&rows);
    let mut tested = vec![0; rows.len()];
    for fold in 0..5 {
        let parts = Split::Fold { fold, folds: 5, validation: 10.0, seed: 1 }.deal(&rows).unwrap();
        for (place, part) in parts.iter().enumerate() {
            tested[place] += usize::from(*part == Some(Part::Test));
            assert!(part.is_some());
        }
        for label in ["a", "b", "c"] {
            let of: Vec<_> =
                rows.iter().zip(&parts).filter(|(row, _)| row.label == label).map(|(_, part)| *part).collect();
            assert!((4..=5).contains(&count(&of, Part::Test)), "{fold} {label}");
            assert!((1..=3).contains(&count(&of, Part::Validation)), "{fold} {label}");
        }
    }
    assert_eq!(tested, vec![1; rows.len()]);
}

#[test]
fn another_seed_deals_otherwise() {
    let rows = rows(100);
    let rows = SplitRow::of_file(&rows);
    let other = Split::Percent { train: 60.0, validation: 10.0, test: 30.0, seed: 8 };
    assert_ne!(PERCENT.deal(&rows).unwrap(), other.deal(&rows).unwrap());
}

#[test]
fn a_column_is_obeyed_and_what_it_leaves_open_is_trained_on() {
    let rows = rows(20);
    let by_column = |parts: [Option<Part>; 4]| -> Vec<SplitRow> {
        SplitRow::of_file(&rows).into_iter().map(|row| SplitRow { part: parts[row.id as usize % 4], ..row }).collect()
    };
    let split = Split::Column { validation: 20.0, seed: 1 };

    let with_validation = by_column([Some(Part::Train), Some(Part::Validation), Some(Part::Test), None]);
    let parts = split.deal(&with_validation).unwrap();
    for (row, part) in with_validation.iter().zip(&parts) {
        assert_eq!(*part, Some(row.part.unwrap_or(Part::Train)));
    }

    let without = by_column([Some(Part::Train), Some(Part::Train), Some(Part::Test), None]);
    let parts = split.deal(&without).unwrap();
    assert_eq!((count(&parts, Part::Test), count(&parts, Part::Validation)), (15, 9));
    for (row, part) in without.iter().zip(&parts) {
        assert_eq!(row.part == Some(Part::Test), *part == Some(Part::Test));
    }

    let nowhere = by_column([None, Some(Part::Train), None, None]);
    assert!(split.deal(&nowhere).unwrap_err().message.contains("marked as a test row"));
}

#[test]
fn twins_of_frozen_rows_are_used_nowhere() {
    let rows = rows(10);
    let mut rows = SplitRow::of_file(&rows);
    let split = Split::Frozen { validation: 10.0, seed: 1 };
    assert!(split.deal(&rows).unwrap_err().message.contains("no frozen test set"));
    rows[4].is_frozen_test = true;
    rows[9].twin_group = 4;
    let parts = split.deal(&rows).unwrap();
    assert_eq!((parts[4], parts[9]), (Some(Part::Test), None));
    assert_eq!(parts.iter().flatten().count(), 29);
}

#[test]
fn counts_per_label_are_met_or_refused() {
    let rows = rows(50);
    let rows = SplitRow::of_file(&rows);
    let parts = Split::PerLabel { train: 30, validation: 5, test: 15, seed: 1 }.deal(&rows).unwrap();
    assert_eq!([count(&parts, Part::Train), count(&parts, Part::Validation), count(&parts, Part::Test)], [90, 15, 45]);
    let error = Split::PerLabel { train: 30, validation: 5, test: 16, seed: 1 }.deal(&rows).unwrap_err();
    assert!(error.message.contains("50 rows") && error.message.contains("51"), "{error}");
    let huge = Split::PerLabel { train: u64::MAX, validation: u64::MAX, test: 1, seed: 1 };
    assert!(huge.deal(&rows).is_err());
}

#[test]
fn the_cap_is_on_training_alone_and_keeps_the_first_rows() {
    let rows = rows(100);
    let rows = SplitRow::of_file(&rows);
    let dealt = PERCENT.deal(&rows).unwrap();
    let capped = |most| {
        let mut parts = dealt.clone();
        cap_training(&rows, &mut parts, most, 7);
        parts
    };
    let (few, more) = (capped(5), capped(20));
    assert_eq!((count(&few, Part::Train), count(&more, Part::Train)), (15, 60));
    for ((few, more), dealt) in few.iter().zip(&more).zip(&dealt) {
        assert!(few.is_none() || few == more);
        assert!(*dealt == Some(Part::Train) || few == dealt);
    }
}

#[test]
fn nonsense_splits_are_refused() {
    for split in [
        Split::Percent { train: 80.0, validation: 10.0, test: 30.0, seed: 0 },
        Split::Percent { train: f64::NAN, validation: 10.0, test: 30.0, seed: 0 },
        Split::Percent { train: 0.0, validation: 10.0, test: 30.0, seed: 0 },
        Split::PerLabel { train: 0, validation: 0, test: 1, seed: 0 },
        Split::OwnTest { test_dataset: 1, validation_dataset: None, validation: 100.0, seed: 0 },
        Split::Column { validation: f64::NAN, seed: 0 },
        Split::Frozen { validation: -1.0, seed: 0 },
        Split::Fold { fold: 0, folds: 1, validation: 0.0, seed: 0 },
        Split::Fold { fold: 0, folds: 11, validation: 0.0, seed: 0 },
        Split::Fold { fold: 5, folds: 5, validation: 0.0, seed: 0 },
    ] {
        assert!(split.check().is_err(), "{split:?}");
        assert!(split.deal(&[]).is_err(), "{split:?}");
    }
}

#[test]
fn a_split_from_before_reads_as_it_was() {
    let split: Split = serde_json::from_str(r#"{"by":"own_test","test_dataset":3,"validation":5.0,"seed":1}"#).unwrap();
    assert_eq!(split, Split::OwnTest { test_dataset: 3, validation_dataset: None, validation: 5.0, seed: 1 });
}
