//! How the rows of a dataset are dealt to the three parts of a run.

use crate::dataset::{DatasetId, Row, normalise, split_point};
use crate::error::UserError;
use crate::version::{RowId, VersionNumber};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The three parts of a run's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Train,
    Validation,
    Test,
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

/// Folds of a cross-validation, at the least and at the most.
pub const FOLDS: std::ops::RangeInclusive<u64> = 2..=10;

/// How rows are dealt to the parts. Every share is in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Split {
    /// Shares of the rows; what is left over is not used.
    Percent { train: f64, validation: f64, test: f64, seed: u64 },
    /// The same number of rows of every label.
    PerLabel { train: u64, validation: u64, test: u64, seed: u64 },
    /// The test rows come from a dataset of their own. The validation rows as well, if one is named; else they are a share
    /// of this one.
    OwnTest {
        test_dataset: DatasetId,
        /// Then `validation` is not looked at.
        #[serde(default)]
        validation_dataset: Option<DatasetId>,
        validation: f64,
        seed: u64,
    },
    /// As the file's split column says. Rows of which it says nothing are trained on. `validation` is the share of the
    /// training rows that is taken for it where the column names none.
    Column { validation: f64, seed: u64 },
    /// The test rows are the dataset's frozen ones; `validation` is a share of the others.
    Frozen { validation: f64, seed: u64 },
    /// One round of a cross-validation: the rows of fold `fold`, from 0, are the test rows; `validation` is a share of the
    /// others.
    Fold { fold: u64, folds: u64, validation: f64, seed: u64 },
}

impl Default for Split {
    fn default() -> Self {
        Self::Percent { train: 60.0, validation: 10.0, test: 30.0, seed: 42 }
    }
}

/// A test set that a dataset keeps from version to version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrozenTest {
    pub dataset: DatasetId,
    /// The version and the split that it was taken from.
    pub version: VersionNumber,
    pub split: Split,
    /// Rows that were frozen; later versions may have fewer of them.
    pub rows: u64,
    pub by: String,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
}

/// A row as dealing sees it. All that a dataset has ever had are dealt together, in the order of their ids, so that a row
/// which is dropped, rewritten or relabelled later moves no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRow<'a> {
    pub id: RowId,
    /// As its file had it.
    pub text: &'a str,
    /// As its file had it.
    pub label: &'a str,
    /// The label that the version gives it; `None`: the version does not have the row. It holds its place, and is dealt to
    /// no part.
    pub present_label: Option<&'a str>,
    /// The part that its file put it in.
    pub part: Option<Part>,
    /// Exact and near duplicates share a number.
    pub twin_group: u32,
    /// Which of the dataset's files it came with, from 0.
    pub file: u32,
    pub is_frozen_test: bool,
}

impl<'a> SplitRow<'a> {
    /// The rows of one file, as they are; those with the same normalised text are twins.
    pub fn of_file(rows: &'a [Row]) -> Vec<Self> {
        let mut groups: HashMap<String, u32> = HashMap::new();
        rows.iter()
            .enumerate()
            .map(|(place, row)| Self {
                id: place as RowId,
                text: &row.text,
                label: &row.label,
                present_label: Some(&row.label),
                part: None,
                twin_group: *groups.entry(normalise(&row.text)).or_insert(place as u32),
                file: 0,
                is_frozen_test: false,
            })
            .collect()
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
                Ok(())
            }
            Self::PerLabel { train, test, .. } if train == 0 || test == 0 => {
                Err(UserError::invalid("Training and test both need at least one row of every label."))
            }
            Self::PerLabel { .. } | Self::OwnTest { validation_dataset: Some(_), .. } => Ok(()),
            Self::OwnTest { validation, .. } | Self::Column { validation, .. } | Self::Frozen { validation, .. } => {
                check_validation(validation)
            }
            Self::Fold { fold, folds, validation, .. } => {
                if !FOLDS.contains(&folds) || fold >= folds {
                    return Err(UserError::invalid(format!(
                        "Fold {fold} of {folds} does not exist: there are {} to {} folds, counted from 0.",
                        FOLDS.start(),
                        FOLDS.end()
                    )));
                }
                check_validation(validation)
            }
        }
    }

    pub fn seed(&self) -> u64 {
        match *self {
            Self::Percent { seed, .. }
            | Self::PerLabel { seed, .. }
            | Self::OwnTest { seed, .. }
            | Self::Column { seed, .. }
            | Self::Frozen { seed, .. }
            | Self::Fold { seed, .. } => seed,
        }
    }

    /// Deals rows to the parts; returns one entry per row, `None` where a row is not used.
    ///
    /// Shares are stratified: the rows of one file with one label stand in the order of their [`split_point`]s, which the
    /// seed decides, and that order is cut at the shares. So each label is dealt to within one row of the shares, and a
    /// further file moves no row of the files before it. Then every row takes the side of the first row of its twin group,
    /// so that no text is on two sides. `Column` leaves twins where the file has put them.
    ///
    /// `OwnTest` deals training and validation only; with a validation dataset, training only.
    ///
    /// # Errors
    /// The split fails its own check; a label has fewer rows than `PerLabel` asks for; no row is marked as test or frozen
    /// where the split goes by that.
    pub fn deal(&self, rows: &[SplitRow]) -> Result<Vec<Option<Part>>, UserError> {
        self.check()?;
        let mut parts = match *self {
            Self::Percent { train, validation, test, seed } => {
                // Test lies at the bottom, validation above it, training above that: raising the share of training
                // never takes a row away from test.
                let (test, validation, train) = (test / 100.0, validation / 100.0, train / 100.0);
                let parts = cut(
                    rows,
                    seed,
                    |_| true,
                    |place| match place {
                        _ if place < test => Some(Part::Test),
                        _ if place < test + validation => Some(Part::Validation),
                        _ if place < test + validation + train + 1e-9 => Some(Part::Train),
                        _ => None,
                    },
                );
                follow_the_first(rows, parts)
            }
            Self::PerLabel { train, validation, test, seed } => deal_per_label(rows, seed, [train, validation, test])?,
            Self::OwnTest { validation_dataset: Some(_), .. } => vec![Some(Part::Train); rows.len()],
            Self::OwnTest { validation, seed, .. } => {
                follow_the_first(rows, cut(rows, seed, |_| true, training_or_validation(validation)))
            }
            Self::Column { validation, seed } => deal_by_column(rows, validation, seed)?,
            Self::Frozen { validation, seed } => deal_beside_frozen(rows, validation, seed)?,
            Self::Fold { fold, folds, validation, seed } => {
                let (fold, folds) = (fold as f64, folds as f64);
                let side = training_or_validation(validation);
                let parts = cut(
                    rows,
                    seed,
                    |_| true,
                    |place| {
                        let of = (place * folds).floor();
                        if of == fold {
                            return Some(Part::Test);
                        }
                        // Its place among the rows of the other folds.
                        let before = if of < fold { place } else { place - 1.0 / folds };
                        side(before / (1.0 - 1.0 / folds))
                    },
                );
                follow_the_first(rows, parts)
            }
        };
        for (row, part) in rows.iter().zip(&mut parts) {
            if row.present_label.is_none() {
                *part = None;
            }
        }
        Ok(parts)
    }
}

/// Takes rows out of training until no label has more than `most` there; those with the smallest points stay.
/// Validation and test are left alone.
pub fn cap_training(rows: &[SplitRow], parts: &mut [Option<Part>], most: usize, seed: u64) {
    let mut training: BTreeMap<&str, Vec<(f64, usize)>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        if parts[place] == Some(Part::Train)
            && let Some(label) = row.present_label
        {
            training.entry(label).or_default().push((split_point(row.text, seed), place));
        }
    }
    for mut of_label in training.into_values() {
        of_label.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (_, place) in of_label.into_iter().skip(most) {
            parts[place] = None;
        }
    }
}

fn check_validation(share: f64) -> Result<(), UserError> {
    if (0.0..100.0).contains(&share) {
        return Ok(());
    }
    Err(UserError::invalid("The validation share must be from 0 to below 100 %."))
}

/// Validation lies at the bottom.
fn training_or_validation(validation: f64) -> impl Fn(f64) -> Option<Part> {
    move |place| Some(if place < validation / 100.0 { Part::Validation } else { Part::Train })
}

/// Every row's own side. The rows of one file with one label stand in the order of their points; of `n` the `i`-th stands
/// at `(i + 0.5) / n`, so that cuts at any shares round to the nearest row. Rows that are not dealt get no side.
fn cut(
    rows: &[SplitRow],
    seed: u64,
    is_dealt: impl Fn(&SplitRow) -> bool,
    side_at: impl Fn(f64) -> Option<Part>,
) -> Vec<Option<Part>> {
    let mut strata: BTreeMap<(u32, &str), Vec<(f64, usize)>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| is_dealt(row)) {
        strata.entry((row.file, row.label)).or_default().push((split_point(row.text, seed), place));
    }
    let mut parts = vec![None; rows.len()];
    for mut stratum in strata.into_values() {
        stratum.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let count = stratum.len() as f64;
        for (position, (_, place)) in stratum.into_iter().enumerate() {
            parts[place] = side_at((position as f64 + 0.5) / count);
        }
    }
    parts
}

/// Gives every row the side of the first row of its twin group.
fn follow_the_first(rows: &[SplitRow], mut parts: Vec<Option<Part>>) -> Vec<Option<Part>> {
    let mut side_of_group: HashMap<u32, Option<Part>> = HashMap::new();
    for (row, part) in rows.iter().zip(&mut parts) {
        *part = *side_of_group.entry(row.twin_group).or_insert(*part);
    }
    parts
}

fn deal_by_column(rows: &[SplitRow], validation: f64, seed: u64) -> Result<Vec<Option<Part>>, UserError> {
    let is_present = |row: &&SplitRow| row.present_label.is_some();
    if !rows.iter().filter(is_present).any(|row| row.part == Some(Part::Test)) {
        return Err(UserError::invalid(
            "No row of this dataset is marked as a test row by its file, so there is nothing to test on. Name the column \
             that says train, validation or test when the file is imported, or choose another split.",
        ));
    }
    let of_file = |row: &SplitRow| row.part.unwrap_or(Part::Train);
    // Of all rows, dropped ones included: dropping the last validation row must not move training rows.
    if rows.iter().any(|row| row.part == Some(Part::Validation)) {
        return Ok(rows.iter().map(|row| Some(of_file(row))).collect());
    }
    let is_training = |row: &SplitRow| of_file(row) == Part::Train;
    let parts = cut(rows, seed, is_training, training_or_validation(validation));
    let mut side_of_group: HashMap<u32, Option<Part>> = HashMap::new();
    let side = |(row, part): (&SplitRow, Option<Part>)| {
        if is_training(row) { *side_of_group.entry(row.twin_group).or_insert(part) } else { Some(of_file(row)) }
    };
    Ok(rows.iter().zip(parts).map(side).collect())
}

/// Twins of a frozen row that are not frozen themselves are used nowhere: in training they would give the test away.
fn deal_beside_frozen(rows: &[SplitRow], validation: f64, seed: u64) -> Result<Vec<Option<Part>>, UserError> {
    let frozen: HashSet<u32> = rows.iter().filter(|row| row.is_frozen_test).map(|row| row.twin_group).collect();
    if frozen.is_empty() {
        return Err(UserError::invalid(
            "This dataset has no frozen test set. Freeze one on the dataset's page, or choose another split.",
        ));
    }
    let parts = cut(rows, seed, |row| !row.is_frozen_test, training_or_validation(validation));
    let mut parts = follow_the_first(rows, parts);
    for (row, part) in rows.iter().zip(&mut parts) {
        if frozen.contains(&row.twin_group) {
            *part = row.is_frozen_test.then_some(Part::Test);
        }
    }
    Ok(parts)
}

/// Takes the rows of every label in the order of their points, as many as are asked for. A group of twins is on one side;
/// its rows beyond what is asked for are left out.
fn deal_per_label(rows: &[SplitRow], seed: u64, wanted: [u64; 3]) -> Result<Vec<Option<Part>>, UserError> {
    const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];
    let mut order: Vec<(f64, usize, &str)> = rows
        .iter()
        .enumerate()
        .filter_map(|(place, row)| Some((split_point(row.text, seed), place, row.present_label?)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));

    let mut parts = vec![None; rows.len()];
    let mut taken: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    let mut side_of_group: HashMap<u32, usize> = HashMap::new();
    for (_, place, label) in order {
        let taken = taken.entry(label).or_default();
        let group = rows[place].twin_group;
        // Test is filled first: it is the part whose size the reader relies on.
        let free = || [2, 1, 0].into_iter().find(|&side| taken[side] < wanted[side]);
        let Some(side) = side_of_group.get(&group).copied().or_else(free) else { continue };
        if taken[side] >= wanted[side] {
            continue;
        }
        taken[side] += 1;
        side_of_group.insert(group, side);
        parts[place] = Some(PARTS[side]);
    }
    for (label, taken) in taken {
        for (side, part) in PARTS.iter().enumerate() {
            if taken[side] < wanted[side] {
                let have = rows.iter().filter(|row| row.present_label == Some(label)).count();
                let need: u64 = wanted.iter().fold(0, |sum, part| sum.saturating_add(*part));
                return Err(UserError::invalid(format!(
                    "Label \"{label}\" has {have} rows, and {need} are asked for ({} of them for {}); only {} could be \
                     dealt to that part. Ask for fewer rows per label.",
                    wanted[side],
                    part.name(),
                    taken[side]
                )));
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
