//! How the rows are spread over the labels, and the labels over the sides of the file's own split.

use super::groups::Groups;
use super::words::{Found, counted, number, quoted_list, rows};
use crate::datasets::Snapshot;
use domain::dataset::LabelCount;
use domain::finding::{FindingKind, Repair, Severity};
use domain::split::Part;
use std::collections::BTreeMap;

/// Rows of the largest label to those of the smallest.
const WARNING_RATIO: f64 = 3.0;
const PROBLEM_RATIO: f64 = 20.0;
/// Rows of a label.
const FEW: u64 = 50;
const FAR_TOO_FEW: u64 = 10;

/// `labels`: most frequent first.
pub(super) fn class_imbalance(snapshot: &Snapshot, labels: &[LabelCount]) -> Option<Found> {
    let (largest, smallest) = (labels.first()?, labels.last()?);
    let ratio = largest.rows as f64 / smallest.rows.max(1) as f64;
    if ratio <= WARNING_RATIO {
        return None;
    }
    let severity = if ratio > PROBLEM_RATIO { Severity::Problem } else { Severity::Warning };
    let headline = format!(
        "The largest label has {ratio:.1} times the rows of the smallest: {} of \"{}\", {} of \"{}\"",
        number(largest.rows as usize),
        largest.label,
        number(smallest.rows as usize),
        smallest.label
    );
    let why = "A classifier that always says the frequent label already looks good in accuracy, and the rare one is learnt \
               last; read the scores per label, and balance the training.";
    let mut found = Found::new(FindingKind::ClassImbalance, severity, headline, why);
    for count in labels {
        found = found.with_fact(format!("rows of \"{}\"", count.label), count.rows as usize);
    }
    found.finding.rows = snapshot.len() as u64;
    found.finding.groups = labels.len() as u64;
    let cap = smallest.rows.max(FAR_TOO_FEW) * WARNING_RATIO as u64;
    if cap >= largest.rows {
        return Some(found);
    }
    let title = format!("Keep at most {} of every label", rows(cap as usize));
    Some(found.with_repair(Repair::CapPerLabel { rows: cap }, title))
}

/// `labels`: most frequent first.
pub(super) fn few_rows(snapshot: &Snapshot, labels: &[LabelCount]) -> Option<Found> {
    let few: Vec<&LabelCount> = labels.iter().rev().filter(|count| count.rows < FEW).collect();
    let fewest = few.first()?;
    let mut by_label: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let is_few: Vec<bool> =
        snapshot.labels().iter().map(|label| few.iter().any(|count| count.label == *label)).collect();
    for place in 0..snapshot.len() {
        let label = snapshot.label(place);
        if is_few[label] {
            by_label.entry(label).or_default().push(snapshot.id(place));
        }
    }
    let mut groups = Groups::default();
    for (label, ids) in by_label {
        groups.push_with_note(ids, snapshot.labels()[label].clone());
    }
    let names: Vec<&str> = few.iter().map(|count| count.label.as_str()).collect();
    let headline = format!(
        "{} fewer than {FEW} rows: {}",
        if few.len() == 1 { "1 label has".to_string() } else { format!("{} labels have", number(few.len())) },
        quoted_list(&names)
    );
    let severity = if fewest.rows < FAR_TOO_FEW { Severity::Problem } else { Severity::Warning };
    let why = "A few dozen rows are little to learn from, and a score measured on a handful of test rows says next to \
               nothing: one row more or less moves it by many percent.";
    let mut found = Found::new(FindingKind::FewRows, severity, headline, why).with_groups(groups);
    for count in &few {
        found = found.with_fact(format!("rows of \"{}\"", count.label), count.rows as usize);
    }
    // A classifier needs two labels.
    if labels.len() < few.len() + 2 {
        return Some(found);
    }
    let title = format!("Remove the rows of {}", if few.len() == 1 { "this label" } else { "these labels" });
    Some(found.with_repair(Repair::DropRows, title))
}

/// A side with one label alone, or a side of test or validation that lacks a label, or a label that is never trained.
pub(super) fn one_class_split(snapshot: &Snapshot, labels: &[LabelCount]) -> Option<Found> {
    let mut sides: BTreeMap<Part, BTreeMap<usize, usize>> = BTreeMap::new();
    for place in 0..snapshot.len() {
        if let Some(part) = snapshot.part(place) {
            *sides.entry(part).or_default().entry(snapshot.label(place)).or_default() += 1;
        }
    }
    let all: Vec<&str> = labels.iter().map(|count| count.label.as_str()).collect();
    let mut said = Vec::new();
    let mut severity = Severity::Warning;
    for (part, counts) in &sides {
        let names: Vec<&str> = counts.keys().map(|label| snapshot.labels()[*label].as_str()).collect();
        let missing: Vec<&str> = all.iter().filter(|label| !names.contains(label)).copied().collect();
        if let [only] = names[..] {
            severity = Severity::Problem;
            said.push((
                format!("the {} part holds \"{only}\" alone", part.name()),
                *counts.values().next().unwrap_or(&0),
            ));
        } else if !missing.is_empty() {
            if *part == Part::Train {
                severity = Severity::Problem;
            }
            let count = counts.values().sum();
            said.push((format!("the {} part has no row of {}", part.name(), quoted_list(&missing)), count));
        }
    }
    let (first, _) = said.first()?;
    let mut headline = first.clone();
    headline.replace_range(..1, "T");
    if said.len() > 1 {
        headline = format!("{headline}, and {} more", counted(said.len() - 1, "such gap", "such gaps"));
    }
    let why = "A label that is not in the training part cannot be learnt, and one that is not in the test part is not \
               tested; let the rows be dealt by share instead of by the file's own split.";
    let mut found = Found::new(FindingKind::OneClassSplit, severity, headline, why);
    for (what, rows) in said {
        found.finding.rows += rows as u64;
        found.finding.groups += 1;
        found = found.with_fact(format!("rows there: {what}"), rows);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::{snapshot_of, snapshot_with_parts};

    fn snapshot(counts: &[(&str, usize)]) -> Snapshot {
        let texts: Vec<(String, &str)> = counts
            .iter()
            .flat_map(|(label, count)| (0..*count).map(move |row| (format!("{label} {row}"), *label)))
            .collect();
        snapshot_of(&texts.iter().map(|(text, label)| (text.as_str(), *label)).collect::<Vec<_>>())
    }

    #[test]
    fn unequal_labels_are_found_by_their_ratio() {
        for (small, severity) in [(100, None), (60, Some(Severity::Warning)), (12, Some(Severity::Problem))] {
            let snapshot = snapshot(&[("a", 300), ("b", small)]);
            let found = class_imbalance(&snapshot, &snapshot.label_counts());
            assert_eq!(found.as_ref().map(|found| found.finding.severity), severity, "{small}");
            if let Some(found) = found {
                assert_eq!(found.finding.repairs[0].repair, Repair::CapPerLabel { rows: 3 * small as u64 });
            }
        }
    }

    #[test]
    fn labels_with_few_rows_are_named() {
        let snapshot = snapshot(&[("a", 300), ("b", 49), ("c", 9), ("d", 50)]);
        let found = few_rows(&snapshot, &snapshot.label_counts()).unwrap();
        assert_eq!((found.finding.severity, found.finding.rows, found.groups.len()), (Severity::Problem, 58, 2));
        assert!(found.finding.headline.contains("\"c\" and \"b\""), "{}", found.finding.headline);
        assert_eq!(found.finding.repairs[0].repair, Repair::DropRows);
        let two = self::snapshot(&[("a", 300), ("b", 49)]);
        assert!(few_rows(&two, &two.label_counts()).unwrap().finding.repairs.is_empty());
        let enough = self::snapshot(&[("a", 300), ("b", 50)]);
        assert!(few_rows(&enough, &enough.label_counts()).is_none());
    }

    #[test]
    fn sides_that_lack_a_label_are_named() {
        let train = Some(Part::Train);
        let test = Some(Part::Test);
        let fine = snapshot_with_parts(&[("1", "a", train), ("2", "b", train), ("3", "a", test), ("4", "b", test)]);
        assert!(one_class_split(&fine, &fine.label_counts()).is_none());
        let none = snapshot_of(&[("1", "a"), ("2", "b")]);
        assert!(one_class_split(&none, &none.label_counts()).is_none());
        let one = snapshot_with_parts(&[("1", "a", train), ("2", "b", train), ("3", "a", test)]);
        let found = one_class_split(&one, &one.label_counts()).unwrap().finding;
        assert_eq!((found.severity, found.headline.as_str()), (Severity::Problem, "The test part holds \"a\" alone"));
    }
}
