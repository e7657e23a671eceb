//! How the rows of a dataset are dealt to the three parts of a run.

use crate::dataset::{DatasetId, Row, normalise, split_point};
use crate::error::UserError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// The three parts of a run's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Train,
    Validation,
    Test,
}

/// How rows are dealt to the parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Split {
    /// Shares of the rows in percent; what is left over is not used.
    Percent { train: f64, validation: f64, test: f64, seed: u64 },
    /// The same number of rows of every label.
    PerLabel { train: u64, validation: u64, test: u64, seed: u64 },
    /// The test rows come from a dataset of their own; `validation` is a share of this one in percent.
    OwnTest { test_dataset: DatasetId, validation: f64, seed: u64 },
}

impl Default for Split {
    fn default() -> Self {
        Self::Percent { train: 60.0, validation: 10.0, test: 30.0, seed: 42 }
    }
}

impl Split {
    /// The split makes sense in itself, whatever the rows.
    pub fn check(&self) -> Result<(), UserError> {
        match *self {
            Self::Percent { train, validation, test, .. } => {
                if [train, validation, test].iter().any(|share| !share.is_finite() || *share < 0.0) {
                    return Err(UserError::invalid("The shares of the split must be numbers from 0 to 100."));
                }
                if train <= 0.0 || test <= 0.0 {
                    return Err(UserError::invalid("Training and test both need a share above 0 %."));
                }
                if train + validation + test > 100.0 + 1e-9 {
                    return Err(UserError::invalid(format!(
                        "The shares add up to {} %; at most 100 % can be dealt out.",
                        train + validation + test
                    )));
                }
            }
            Self::PerLabel { train, test, .. } => {
                if train == 0 || test == 0 {
                    return Err(UserError::invalid("Training and test both need at least one row of every label."));
                }
            }
            Self::OwnTest { validation, .. } => {
                if !(0.0..100.0).contains(&validation) {
                    return Err(UserError::invalid("The validation share must be from 0 to below 100 %."));
                }
            }
        }
        Ok(())
    }

    /// Deals rows to the parts; returns one entry per row, `None` where a row is not used.
    ///
    /// A row's place depends on nothing but its text and the seed: each text hashes to a point in [0, 1), so a
    /// row keeps its side when the file grows and twins share a side. Counts per label take the rows with the
    /// smallest points first. `OwnTest` deals training and validation only.
    ///
    /// # Errors
    /// The split fails its own check, or a label has fewer rows than `PerLabel` asks for.
    pub fn deal(&self, rows: &[Row]) -> Result<Vec<Option<Part>>, UserError> {
        self.check()?;
        match *self {
            Self::Percent { train, validation, test, seed } => Ok(deal_by_share(rows, seed, [train, validation, test])),
            Self::OwnTest { validation, seed, .. } => {
                Ok(deal_by_share(rows, seed, [100.0 - validation, validation, 0.0]))
            }
            Self::PerLabel { train, validation, test, seed } => deal_per_label(rows, seed, [train, validation, test]),
        }
    }
}

const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

fn deal_by_share(rows: &[Row], seed: u64, percent: [f64; 3]) -> Vec<Option<Part>> {
    // Test lies at the bottom of the interval, validation above it, training above that: raising the share of
    // training never takes a row away from test.
    let test = percent[2] / 100.0;
    let validation = test + percent[1] / 100.0;
    let train = validation + percent[0] / 100.0 + 1e-12;
    rows.iter()
        .map(|row| match split_point(&row.text, seed) {
            p if p < test => Some(Part::Test),
            p if p < validation => Some(Part::Validation),
            p if p < train => Some(Part::Train),
            _ => None,
        })
        .collect()
}

fn deal_per_label(rows: &[Row], seed: u64, wanted: [u64; 3]) -> Result<Vec<Option<Part>>, UserError> {
    // Twins (the same normalised text, whatever the label) are dealt as one group, so that a text is never on two
    // sides. The group's first row decides nothing but the order; every label keeps its own count.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let points: Vec<f64> = rows.iter().map(|row| split_point(&row.text, seed)).collect();
    order.sort_by(|&a, &b| points[a].total_cmp(&points[b]).then(a.cmp(&b)));

    let mut parts = vec![None; rows.len()];
    let mut taken: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    let mut side_of_text: HashMap<String, Part> = HashMap::new();
    for index in order {
        let row = &rows[index];
        let taken = taken.entry(row.label.as_str()).or_default();
        let text = normalise(&row.text);
        let side = match side_of_text.get(&text) {
            Some(side) => Some(*side),
            // Test is filled first: it is the part whose size the reader relies on.
            None => [2, 1, 0].into_iter().find(|&part| taken[part] < wanted[part]).map(|part| PARTS[part]),
        };
        let Some(side) = side else { continue };
        let slot = side as usize;
        if taken[slot] >= wanted[slot] {
            continue;
        }
        taken[slot] += 1;
        side_of_text.insert(text, side);
        parts[index] = Some(side);
    }
    for (label, taken) in taken {
        for (slot, part) in PARTS.iter().enumerate() {
            if taken[slot] < wanted[slot] {
                let have = rows.iter().filter(|row| row.label == label).count();
                let need: u64 = wanted.iter().sum();
                return Err(UserError::invalid(format!(
                    "Label \"{label}\" has {have} rows, and {need} are asked for ({} of them for {}); only {} could be \
                     dealt to that part. Ask for fewer rows per label.",
                    wanted[slot],
                    part.name(),
                    taken[slot]
                )));
            }
        }
    }
    Ok(parts)
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(per_label: usize) -> Vec<Row> {
        (0..per_label * 3)
            .map(|i| Row { line: i as u64 + 2, text: format!("text number {i}"), label: ["a", "b", "c"][i % 3].into() })
            .collect()
    }

    fn count(parts: &[Option<Part>], part: Part) -> usize {
        parts.iter().filter(|p| **p == Some(part)).count()
    }

    #[test]
    fn shares_come_out_about_right_and_a_row_keeps_its_side_when_the_file_grows() {
        let split = Split::Percent { train: 60.0, validation: 10.0, test: 30.0, seed: 7 };
        let small = rows(500);
        let large = rows(1000);
        let parts = split.deal(&small).unwrap();
        assert!((count(&parts, Part::Train) as f64 / 1500.0 - 0.6).abs() < 0.05);
        assert!((count(&parts, Part::Test) as f64 / 1500.0 - 0.3).abs() < 0.05);
        assert_eq!(parts[..], split.deal(&large).unwrap()[..1500]);
        let other_seed = Split::Percent { train: 60.0, validation: 10.0, test: 30.0, seed: 8 };
        assert_ne!(parts, other_seed.deal(&small).unwrap());
    }

    #[test]
    fn twins_share_a_side() {
        let mut all = rows(100);
        let twins: Vec<Row> =
            all.iter().map(|row| Row { text: format!("  {} ", row.text.to_uppercase()), ..row.clone() }).collect();
        all.extend(twins);
        for split in [Split::default(), Split::PerLabel { train: 40, validation: 5, test: 20, seed: 3 }] {
            let parts = split.deal(&all).unwrap();
            for i in 0..300 {
                if let (Some(one), Some(other)) = (parts[i], parts[i + 300]) {
                    assert_eq!(one, other);
                }
            }
        }
    }

    #[test]
    fn counts_per_label_are_met_or_refused() {
        let parts = Split::PerLabel { train: 30, validation: 5, test: 15, seed: 1 }.deal(&rows(50)).unwrap();
        assert_eq!(
            [count(&parts, Part::Train), count(&parts, Part::Validation), count(&parts, Part::Test)],
            [90, 15, 45]
        );
        let error = Split::PerLabel { train: 30, validation: 5, test: 16, seed: 1 }.deal(&rows(50)).unwrap_err();
        assert!(error.message.contains("50 rows") && error.message.contains("51"), "{error}");
    }

    #[test]
    fn nonsense_splits_are_refused() {
        for split in [
            Split::Percent { train: 80.0, validation: 10.0, test: 30.0, seed: 0 },
            Split::Percent { train: f64::NAN, validation: 10.0, test: 30.0, seed: 0 },
            Split::Percent { train: 0.0, validation: 10.0, test: 30.0, seed: 0 },
            Split::PerLabel { train: 0, validation: 0, test: 1, seed: 0 },
            Split::OwnTest { test_dataset: 1, validation: 100.0, seed: 0 },
        ] {
            assert!(split.check().is_err(), "{split:?}");
        }
    }
}
