//! What the dataset page draws, beside tokens and languages, which are counted with their findings.

use super::length::histogram;
use super::repeats::repetitions;
use super::texts::SameTexts;
use crate::datasets::Snapshot;
use domain::dataset::LabelCount;
use domain::finding::{DatasetCharts, LengthSummary};

/// `labels`: most frequent first. `lengths`: characters of the text at each place.
pub(super) fn charts(snapshot: &Snapshot, same: &SameTexts, labels: Vec<LabelCount>, lengths: &[u32]) -> DatasetCharts {
    let mut by_label: Vec<Vec<u32>> = vec![Vec::new(); snapshot.labels().len()];
    for (place, length) in lengths.iter().enumerate() {
        by_label[snapshot.label(place)].push(*length);
    }
    let label_lengths = labels
        .iter()
        .map(|count| {
            let place = snapshot.labels().iter().position(|label| *label == count.label);
            place.and_then(|place| by_label.get_mut(place)).map(|lengths| summary(lengths)).unwrap_or_default()
        })
        .collect();
    DatasetCharts {
        label_lengths,
        labels,
        lengths: histogram(lengths.iter().map(|length| u64::from(*length))),
        repetitions: repetitions(same, same.firsts().len()),
        ..DatasetCharts::default()
    }
}

/// Sorts the lengths.
fn summary(lengths: &mut [u32]) -> LengthSummary {
    lengths.sort_unstable();
    // The value below which that share of all lies.
    let at = |share: f64| {
        let place = (share * lengths.len().saturating_sub(1) as f64).round() as usize;
        lengths.get(place).map_or(0, |length| u64::from(*length))
    };
    LengthSummary { shortest: at(0.0), quarter: at(0.25), median: at(0.5), three_quarters: at(0.75), longest: at(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::snapshot_of;

    #[test]
    fn lengths_and_repetitions_are_counted() {
        let snapshot = snapshot_of(&[("a", "x"), ("bbb", "x"), ("ccccc", "x"), ("A", "y"), ("éé", "y"), ("a ", "x")]);
        let same = SameTexts::of(&snapshot).unwrap();
        let lengths: Vec<u32> = (0..6).map(|place| snapshot.text(place).chars().count() as u32).collect();
        let charts = charts(&snapshot, &same, snapshot.label_counts(), &lengths);
        assert_eq!(charts.repetitions, [(1, 3), (3, 1)]);
        let x = LengthSummary { shortest: 1, quarter: 2, median: 3, three_quarters: 3, longest: 5 };
        let y = LengthSummary { shortest: 1, quarter: 1, median: 2, three_quarters: 2, longest: 2 };
        assert_eq!(charts.label_lengths, [x, y]);
        assert_eq!(charts.lengths.counts.iter().sum::<u64>(), 6);
    }
}
