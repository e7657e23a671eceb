//! Texts on two sides of a split: the one that the file brings, and the frozen test set.

use super::groups::Groups;
use super::texts::SameTexts;
use super::words::{Found, counted, number, percent};
use crate::datasets::Snapshot;
use domain::finding::{FindingKind, Repair, Severity};
use domain::split::Part;
use domain::version::RowId;
use std::collections::{BTreeMap, HashSet};

/// From this share of the test rows on, the score says more about memory than about skill.
const PROBLEM_SHARE: f64 = 0.01;

/// `group` holds the first place of each place's group, exact and near duplicates together.
pub(super) fn leakage(
    snapshot: &Snapshot,
    same: &SameTexts,
    group: &[u32],
    frozen_test: Option<&HashSet<RowId>>,
) -> Option<Found> {
    let sides = Sides { snapshot, frozen_test: frozen_test.filter(|rows| !rows.is_empty()) };
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut test_rows = 0;
    for (place, first) in group.iter().enumerate() {
        let Some(side) = sides.of(place) else { continue };
        test_rows += usize::from(side == Part::Test);
        members.entry(*first).or_default().push(place as u32);
    }
    let mut leak = Leak::default();
    for places in members.into_values() {
        leak.add(&sides, same, places);
    }
    if leak.groups.is_empty() {
        return None;
    }
    let Leak { groups, exact, near, otherwise_labelled, validation, going } = leak;
    let known = exact + near;
    let severity = if known as f64 >= PROBLEM_SHARE * test_rows as f64 && known > 0 {
        Severity::Problem
    } else {
        Severity::Warning
    };
    let headline = if known > 0 {
        format!(
            "{} ({}) are known from training, {} of them exactly",
            counted(known, "test row", "test rows"),
            percent(known, test_rows),
            number(exact)
        )
    } else {
        format!("{} known from training", counted(validation, "validation row is", "validation rows are"))
    };
    let why = "A text that was learnt by heart is answered by heart: the score then looks better than the classifier is on \
               texts that it has never seen.";
    let found = Found::new(FindingKind::Leakage, severity, headline, why)
        .with_groups(groups)
        .with_fact("test rows whose exact text is also in training or validation", exact)
        .with_fact("test rows of which training or validation has a near duplicate only", near)
        .with_fact("of these test rows, those that are labelled otherwise there", otherwise_labelled)
        .with_fact("validation rows whose text, or nearly, is also in training", validation);
    let title = format!("Remove {} from the training side; the test stays", counted(going, "row", "rows"));
    Some(found.with_repair(Repair::DropFromTraining, title))
}

struct Sides<'a> {
    snapshot: &'a Snapshot,
    frozen_test: Option<&'a HashSet<RowId>>,
}

impl Sides<'_> {
    /// Beside a frozen test set all other rows train, whatever side the file had put them on.
    fn of(&self, place: usize) -> Option<Part> {
        let part = self.snapshot.part(place);
        match self.frozen_test {
            None => part,
            Some(frozen) if frozen.contains(&self.snapshot.id(place)) => Some(Part::Test),
            Some(_) => Some(part.filter(|part| *part == Part::Validation).unwrap_or(Part::Train)),
        }
    }
}

#[derive(Default)]
struct Leak {
    /// Of each group first the rows that stay: those of the test, or of validation where there are none.
    groups: Groups,
    exact: usize,
    near: usize,
    otherwise_labelled: usize,
    validation: usize,
    /// Rows that the repair takes away.
    going: usize,
}

impl Leak {
    fn add(&mut self, sides: &Sides, same: &SameTexts, places: Vec<u32>) {
        let on = |side: Part| -> Vec<u32> {
            places.iter().copied().filter(|place| sides.of(*place as usize) == Some(side)).collect()
        };
        let (train, validation, test) = (on(Part::Train), on(Part::Validation), on(Part::Test));
        if !train.is_empty() {
            self.validation += validation.len();
        }
        let (staying, going) = match (&test[..], &validation[..], &train[..]) {
            ([], [], _) | ([], _, []) | (_, [], []) => return,
            ([], _, _) => (validation, train),
            _ => (test, [validation, train].concat()),
        };
        if sides.of(staying[0] as usize) == Some(Part::Test) {
            let texts: HashSet<usize> = going.iter().map(|place| same.first(*place as usize)).collect();
            let labels: HashSet<usize> = going.iter().map(|place| sides.snapshot.label(*place as usize)).collect();
            for place in &staying {
                let is_exact = texts.contains(&same.first(*place as usize));
                self.exact += usize::from(is_exact);
                self.near += usize::from(!is_exact);
                self.otherwise_labelled += usize::from(!labels.contains(&sides.snapshot.label(*place as usize)));
            }
        }
        self.going += going.len();
        let side = |place: u32| sides.of(place as usize).map_or("", Part::name);
        let note = format!("{} of {}, {} of training", staying.len(), side(staying[0]), going.len());
        let ids = staying.iter().chain(&going).map(|place| sides.snapshot.id(*place as usize));
        self.groups.push_with_staying(ids, staying.len(), note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::near;
    use crate::doctor::progress::Progress;
    use crate::doctor::samples::{snapshot_of, snapshot_with_parts};

    const LONG: &str =
        "Profit for the first quarter of the year rose from the year before, the company said on Monday by";
    const TRAIN: Option<Part> = Some(Part::Train);
    const VALIDATION: Option<Part> = Some(Part::Validation);
    const TEST: Option<Part> = Some(Part::Test);

    fn find(snapshot: &Snapshot, frozen: Option<&HashSet<RowId>>) -> Option<Found> {
        let same = SameTexts::of(snapshot).unwrap();
        let group = near::groups(snapshot, &same, &mut Progress::silent()).unwrap();
        leakage(snapshot, &same, &group, frozen)
    }

    #[test]
    fn exact_and_near_leaks_are_told_apart() {
        let near_text = format!("{LONG} 4 %");
        let text = format!("{LONG} 3 %");
        let snapshot = snapshot_with_parts(&[
            ("one", "a", TRAIN),
            (&text, "a", TRAIN),
            ("ONE ", "b", TEST),
            (&near_text, "a", TEST),
            ("only in test", "a", TEST),
            ("two", "a", VALIDATION),
            ("two", "a", TRAIN),
            ("nowhere", "a", None),
            ("nowhere", "a", TRAIN),
        ]);
        let found = find(&snapshot, None).unwrap();
        let facts: Vec<u64> = found.finding.facts.iter().map(|fact| fact.count).collect();
        assert_eq!(facts, [1, 1, 1, 1]);
        assert_eq!(found.finding.severity, Severity::Problem);
        assert!(found.finding.headline.starts_with("2 test rows (67 %)"), "{}", found.finding.headline);
        assert_eq!((found.groups.rows(0), found.groups.staying(0)), (&[2, 0][..], 1));
        assert_eq!((found.groups.rows(2), found.groups.staying(2)), (&[5, 6][..], 1));
    }

    #[test]
    fn without_a_split_nothing_leaks() {
        assert!(find(&snapshot_of(&[("one", "a"), ("one", "a")]), None).is_none());
        let one_side = snapshot_with_parts(&[("one", "a", TRAIN), ("one", "b", TRAIN), ("two", "b", TEST)]);
        assert!(find(&one_side, None).is_none());
    }

    #[test]
    fn a_frozen_test_set_is_a_side() {
        let snapshot = snapshot_of(&[("one", "a"), ("two", "a"), ("one", "a")]);
        let found = find(&snapshot, Some(&HashSet::from([2]))).unwrap();
        assert_eq!((found.groups.rows(0), found.groups.staying(0)), (&[2, 0][..], 1));
        assert!(find(&snapshot, Some(&HashSet::new())).is_none());
    }
}
