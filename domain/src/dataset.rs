//! Labelled texts: how a file is read, what is found wrong in it, and how rows are dealt to the three parts.

use crate::error::UserError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

pub type DatasetId = i64;

/// Largest upload, in bytes.
pub const MAX_UPLOAD_BYTES: u64 = 200 * 1024 * 1024;
/// Most labels a classifier can have here; a column with more is no label column.
pub const MAX_LABELS: usize = 200;
/// Longest label, in characters.
pub const MAX_LABEL_CHARS: usize = 100;

/// A text with its label's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Line of the file on which the row begins, counted from 1.
    pub line: u64,
    pub text: String,
    pub label: String,
}

/// A row that could not be used, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    pub line: u64,
    pub reason: String,
    /// The beginning of what stood there.
    pub excerpt: String,
}

/// How a file is to be read. The preview proposes one; the person confirms or corrects it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// The character between fields: comma, tab, semicolon or pipe.
    pub delimiter: char,
    pub text_column: usize,
    pub label_column: usize,
}

/// What a person sees of a file before it is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPreview {
    /// Names the upload until it is imported or forgotten.
    pub upload: String,
    pub file_name: String,
    pub bytes: u64,
    /// Such as `UTF-8` or `windows-1252`.
    pub encoding: String,
    pub columns: Vec<String>,
    /// The first rows, as many fields as `columns`.
    pub rows: Vec<Vec<String>>,
    pub proposal: ReadOptions,
}

/// Number of rows that carry a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    pub label: String,
    pub rows: u64,
}

/// A dataset as lists and pages show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSummary {
    pub id: DatasetId,
    pub name: String,
    pub file_name: String,
    pub text_column: String,
    pub label_column: String,
    pub rows: u64,
    pub rejected: u64,
    /// Most frequent first, then by name.
    pub labels: Vec<LabelCount>,
    /// Milliseconds since 1970, UTC.
    pub created_at_ms: i64,
}

/// One page of a dataset's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPage {
    pub rows: Vec<Row>,
    /// Rows that match the search, on all pages.
    pub matching: u64,
    pub page: u64,
    pub page_size: u64,
}

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

/// Lower case, white space folded: two texts that differ in nothing else are twins.
pub fn normalise(text: &str) -> String {
    let mut normalised = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normalised.is_empty() {
            normalised.push(' ');
        }
        normalised.extend(word.chars().flat_map(char::to_lowercase));
    }
    normalised
}

/// The point in [0, 1) at which a text stands under a seed: FNV-1a over the normalised text, then
/// splitmix64's finaliser, so that nearby seeds give unrelated points. Stable across versions and machines.
pub fn split_point(text: &str, seed: u64) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in normalise(text).bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mixed = mix(hash ^ mix(seed));
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// splitmix64's step: a well-mixed 64-bit value from any 64-bit value.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Counts per label, most frequent first, then by name.
pub fn count_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> Vec<LabelCount> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for label in labels {
        *counts.entry(label).or_default() += 1;
    }
    let mut counts: Vec<LabelCount> =
        counts.into_iter().map(|(label, rows)| LabelCount { label: label.to_string(), rows }).collect();
    counts.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
    counts
}

/// The labels a classifier is to tell apart are usable: two or more, not too many, each with two rows.
pub fn check_labels(labels: &[LabelCount]) -> Result<(), UserError> {
    match labels {
        [] => return Err(UserError::invalid("The file has no usable rows. Each row needs a text and a label.")),
        [only] => {
            return Err(UserError::invalid(format!(
                "Every row has the label \"{}\". A classifier needs at least two different labels; is this the right \
                 label column?",
                only.label
            )));
        }
        _ => {}
    }
    if labels.len() > MAX_LABELS {
        return Err(UserError::invalid(format!(
            "The label column holds {} different values; at most {MAX_LABELS} labels are supported. Is this the right \
             label column?",
            labels.len()
        )));
    }
    if let Some(long) = labels.iter().find(|count| count.label.chars().count() > MAX_LABEL_CHARS) {
        return Err(UserError::invalid(format!(
            "A label is {} characters long (\"{}…\"); at most {MAX_LABEL_CHARS} are supported. Is this the right label \
             column?",
            long.label.chars().count(),
            long.label.chars().take(40).collect::<String>()
        )));
    }
    if let Some(single) = labels.iter().find(|count| count.rows < 2) {
        return Err(UserError::invalid(format!(
            "Label \"{}\" stands on one row only. A label needs at least two rows, one to learn from and one to test \
             with: add rows, merge the label into another, or remove it.",
            single.label
        )));
    }
    Ok(())
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
    fn labels_are_checked() {
        let counts = |labels: &[&str]| count_labels(labels.iter().copied());
        assert!(check_labels(&counts(&["a", "a", "b", "b"])).is_ok());
        assert!(check_labels(&[]).is_err());
        assert!(check_labels(&counts(&["a", "a"])).unwrap_err().message.contains("two different labels"));
        assert!(check_labels(&counts(&["a", "a", "b"])).unwrap_err().message.contains("\"b\""));
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
