//! Lengths in tokens: which rows are longer than the model's context.

use super::Surroundings;
use super::groups::Groups;
use super::progress::{Progress, over_places};
use super::words::{Found, percent, rows, severity_by_share};
use crate::datasets::Snapshot;
use crate::error::Result;
use domain::finding::{FindingKind, Histogram, Repair};
use rayon::prelude::*;

/// Rows whose tokens are counted for the chart.
const SAMPLE: usize = 20_000;
/// Tokens that a text may have beyond one per byte: the space that SentencePiece sets before it, and merges that end
/// otherwise where the text meets the prompt.
const SLACK: usize = 16;

/// What was found, and the chart of tokens with the number of rows that it counts.
pub(super) struct Lengths {
    pub found: Option<Found>,
    pub tokens: Histogram,
    pub sample: u64,
}

/// A text of n bytes has n tokens at most: byte-level vocabularies have a token for every byte, and SentencePiece's with
/// byte fallback for every byte of a character that they do not know and for the mark in place of a space. So only texts
/// that could be too long are tokenised, and a sample for the chart.
pub(super) fn measure(snapshot: &Snapshot, surroundings: &Surroundings, progress: &mut Progress) -> Result<Lengths> {
    let none = Lengths { found: None, tokens: Histogram::default(), sample: 0 };
    let Some(tokens) = surroundings.tokens else { return Ok(none) };
    if snapshot.is_empty() {
        return Ok(none);
    }
    let prompt = tokens("");
    let room = surroundings.max_length.saturating_sub(prompt.saturating_add(SLACK));
    let too_long = over_places(snapshot.len(), progress, |places| {
        let is_too_long = |place: &usize| {
            let text = snapshot.text(*place);
            text.len() > room && tokens(text) > surroundings.max_length
        };
        places.filter(is_too_long).map(|place| snapshot.id(place)).collect::<Vec<_>>()
    })?
    .concat();
    let sample: Vec<usize> =
        evenly(snapshot.len(), SAMPLE).into_par_iter().map(|place| tokens(snapshot.text(place))).collect();
    Ok(Lengths {
        found: too_long_found(snapshot, too_long, surroundings.max_length),
        tokens: histogram(sample.iter().map(|count| *count as u64)),
        sample: sample.len() as u64,
    })
}

fn too_long_found(snapshot: &Snapshot, too_long: Vec<u32>, max_length: usize) -> Option<Found> {
    let count = too_long.len();
    if count == 0 {
        return None;
    }
    let headline = format!(
        "{} ({}) {} longer than the {max_length} tokens that the model reads",
        rows(count),
        percent(count, snapshot.len()),
        if count == 1 { "is" } else { "are" }
    );
    let why = "Of these rows only the beginning is read (a token is a word or a piece of one), so an answer that depends on \
               the end cannot be learnt; raise the context of the run if the model has more.";
    let found = Found::new(FindingKind::TooLong, severity_by_share(count, snapshot.len()), headline, why);
    let title = format!("Remove {}", rows(count));
    Some(found.with_groups(Groups::singles(too_long)).with_repair(Repair::DropRows, title))
}

/// At most `most` places, evenly spaced over all.
pub(super) fn evenly(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    (0..chosen).map(|number| (number as u128 * count as u128 / chosen as u128) as usize).collect()
}

/// On buckets that grow as 1, 1.5, 2, 3, 5, 7.5, 10 do, from 0 until beyond the longest.
pub(super) fn histogram(values: impl Iterator<Item = u64> + Clone) -> Histogram {
    let Some(longest) = values.clone().max() else { return Histogram::default() };
    let mut edges = vec![0_u64];
    let mut scale = 10_u64;
    'growing: loop {
        for step in [10, 15, 20, 30, 50, 75] {
            edges.push(scale.saturating_mul(step) / 10);
            if edges[edges.len() - 1] > longest || scale > u64::MAX / 100 {
                break 'growing;
            }
        }
        scale *= 10;
    }
    let mut counts = vec![0; edges.len() - 1];
    let last = counts.len() - 1;
    for value in values {
        counts[(edges.partition_point(|edge| *edge <= value) - 1).min(last)] += 1;
    }
    Histogram { edges: edges.into_iter().map(|edge| edge as f64).collect(), counts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::snapshot_of;

    #[test]
    fn rows_beyond_the_context_are_found() {
        // A word is a token, and the prompt has two.
        let tokens = |text: &str| text.split_whitespace().count() + 2;
        let long = "word ".repeat(30);
        let dense = "w".repeat(300);
        let snapshot = snapshot_of(&[("a few words", "a"), (&long, "a"), (&dense, "b")]);
        let surroundings = Surroundings { rejected: 0, tokens: Some(&tokens), max_length: 31, frozen_test: None };
        let lengths = measure(&snapshot, &surroundings, &mut Progress::silent()).unwrap();
        assert_eq!(lengths.found.unwrap().groups.ids(), [1]);
        assert_eq!((lengths.sample, lengths.tokens.counts.iter().sum::<u64>()), (3, 3));
        let roomy = Surroundings { max_length: 32, ..surroundings };
        assert!(measure(&snapshot, &roomy, &mut Progress::silent()).unwrap().found.is_none());
    }

    #[test]
    fn buckets_cover_all_values_once() {
        for values in [vec![0], vec![9, 10, 14, 15], vec![1, 99, 100, 101, 5_000_000], vec![u64::MAX]] {
            let histogram = histogram(values.iter().copied());
            assert_eq!(histogram.counts.iter().sum::<u64>(), values.len() as u64);
            assert!(histogram.edges.is_sorted() && histogram.edges.len() == histogram.counts.len() + 1);
        }
        let histogram = histogram([0, 9, 10, 15, 16, 20].into_iter());
        assert_eq!((histogram.edges, histogram.counts), (vec![0.0, 10.0, 15.0, 20.0, 30.0], vec![2, 1, 2, 1]));
    }

    #[test]
    fn places_are_spread_evenly() {
        assert_eq!(evenly(3, 10), [0, 1, 2]);
        assert_eq!(evenly(10, 4), [0, 2, 5, 7]);
        assert_eq!(evenly(0, 4), [] as [usize; 0]);
    }
}
