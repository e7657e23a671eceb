//! How sure the figures of single labels are: the bootstrap of [`interval`](super::interval), label by label.

use super::interval::{Interval, middle, resample};
use super::ratio;
use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// An interval for each figure of one label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassIntervals {
    pub precision: Interval,
    pub recall: Interval,
    pub f1: Interval,
}

/// Per label, from the same draws for the same seed as the intervals of the whole. Empty without rows or draws.
pub fn class_intervals(
    labels: usize,
    truth: &[usize],
    predictions: &[Prediction],
    draws: usize,
    seed: u64,
) -> Vec<ClassIntervals> {
    let rows = truth.len().min(predictions.len());
    if rows == 0 || draws == 0 {
        return Vec::new();
    }
    let mut precision = vec![Vec::with_capacity(draws); labels];
    let mut recall = vec![Vec::with_capacity(draws); labels];
    let mut f1 = vec![Vec::with_capacity(draws); labels];
    for draw in 0..draws as u64 {
        let (mut right, mut support, mut predicted) = (vec![0; labels], vec![0; labels], vec![0; labels]);
        for ((&truth, prediction), weight) in truth.iter().zip(predictions).zip(resample(rows, seed, draw)) {
            let weight = u64::from(weight);
            // Labels that are none are left out, as the confusion matrix leaves them out.
            if truth >= labels || prediction.label >= labels {
                continue;
            }
            support[truth] += weight;
            predicted[prediction.label] += weight;
            if truth == prediction.label {
                right[truth] += weight;
            }
        }
        for label in 0..labels {
            precision[label].push(ratio(right[label], predicted[label]));
            recall[label].push(ratio(right[label], support[label]));
            f1[label].push(ratio(2 * right[label], support[label] + predicted[label]));
        }
    }
    let figures = precision.into_iter().zip(recall).zip(f1);
    figures
        .map(|((precision, recall), f1)| ClassIntervals {
            precision: middle(precision),
            recall: middle(recall),
            f1: middle(f1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::interval::{DRAWS, score_intervals};
    use crate::metrics::scores::ScoredRows;
    use crate::metrics::tests::twelve_rows;

    #[test]
    fn the_figures_lie_in_their_intervals() {
        let (truth, predictions) = twelve_rows();
        let intervals = class_intervals(3, &truth, &predictions, DRAWS, 5);
        assert_eq!(intervals.len(), 3);
        let mut confusion = crate::metrics::ConfusionMatrix::new(&["a", "b", "c"].map(String::from));
        truth.iter().zip(&predictions).for_each(|(truth, answer)| confusion.record(*truth, answer.label));
        for (class, of_class) in confusion.classes().iter().zip(&intervals) {
            for (value, interval) in
                [(class.precision, of_class.precision), (class.recall, of_class.recall), (class.f1, of_class.f1)]
            {
                assert!(interval.low <= value && value <= interval.high, "{class:?} {of_class:?}");
            }
        }
        assert_eq!(intervals, class_intervals(3, &truth, &predictions, DRAWS, 5));
    }

    /// Of one label that is all there is, recall is the accuracy: the same draws give the same interval.
    #[test]
    fn draws_are_those_of_the_whole() {
        let truth = vec![0; 40];
        let predictions: Vec<Prediction> = (0..40)
            .map(|row| {
                Prediction::from_probabilities(if row % 4 == 0 { vec![0.2, 0.8] } else { vec![0.9, 0.1] }, false)
            })
            .collect();
        let whole = score_intervals(&ScoredRows::new(2, &truth, &predictions), 200, 9).unwrap();
        assert_eq!(class_intervals(2, &truth, &predictions, 200, 9)[0].recall, whole.accuracy);
        assert!(class_intervals(2, &[], &[], 200, 9).is_empty());
    }
}
