//! Labelled texts: rows and their numbers, labels, and what a dataset is called.

use crate::error::UserError;
use crate::finding::Verdict;
use crate::version::VersionNumber;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub type DatasetId = i64;

/// Largest upload, in bytes.
pub const MAX_UPLOAD_BYTES: u64 = 8 << 30;
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
    /// The newest version; rows and labels are its own.
    pub version: VersionNumber,
    /// What the examination of the newest version came to, once it is done.
    pub verdict: Option<Verdict>,
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

    #[test]
    fn labels_are_checked() {
        let counts = |labels: &[&str]| count_labels(labels.iter().copied());
        assert!(check_labels(&counts(&["a", "a", "b", "b"])).is_ok());
        assert!(check_labels(&[]).is_err());
        assert!(check_labels(&counts(&["a", "a"])).unwrap_err().message.contains("two different labels"));
        assert!(check_labels(&counts(&["a", "a", "b"])).unwrap_err().message.contains("\"b\""));
    }
}
