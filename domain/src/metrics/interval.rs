//! How sure a score is: bootstrap confidence intervals (Efron's percentile method), the same for the same seed.

use super::scores::{ScoredRows, Scores};
use crate::dataset::mix;
use serde::{Deserialize, Serialize};

/// Draws that a page shows its intervals from.
pub const DRAWS: usize = 1000;
/// Share of draws within an interval.
pub const LEVEL: f64 = 0.95;

/// Where a score lies with the given certainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    pub fn width(&self) -> f64 {
        self.high - self.low
    }
}

/// An interval of [`LEVEL`] for each score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreIntervals {
    pub accuracy: Interval,
    pub balanced_accuracy: Interval,
    pub mcc: Interval,
    pub log_loss: Interval,
    /// `None` where a draw was without one of the labels.
    pub auroc: Option<Interval>,
    pub macro_precision: Interval,
    pub macro_recall: Interval,
    pub macro_f1: Interval,
    pub weighted_precision: Interval,
    pub weighted_recall: Interval,
    pub weighted_f1: Interval,
}

/// Draws as many rows as there are, with replacement, `draws` times, and takes the middle of what the scores come to.
pub fn score_intervals(rows: &ScoredRows, draws: usize, seed: u64) -> Option<ScoreIntervals> {
    if rows.is_empty() || draws == 0 {
        return None;
    }
    let drawn: Vec<Scores> =
        (0..draws as u64).map(|draw| rows.weighted_scores(&resample(rows.len(), seed, draw))).collect();
    let of = |score: fn(&Scores) -> f64| middle(drawn.iter().map(score).collect());
    let aurocs: Option<Vec<f64>> = drawn.iter().map(|scores| scores.auroc).collect();
    Some(ScoreIntervals {
        accuracy: of(|scores| scores.accuracy),
        balanced_accuracy: of(|scores| scores.balanced_accuracy),
        mcc: of(|scores| scores.mcc),
        log_loss: of(|scores| scores.log_loss),
        auroc: aurocs.map(middle),
        macro_precision: of(|scores| scores.macro_average.precision),
        macro_recall: of(|scores| scores.macro_average.recall),
        macro_f1: of(|scores| scores.macro_average.f1),
        weighted_precision: of(|scores| scores.weighted_average.precision),
        weighted_recall: of(|scores| scores.weighted_average.recall),
        weighted_f1: of(|scores| scores.weighted_average.f1),
    })
}

/// How often each row is drawn.
pub(super) fn resample(rows: usize, seed: u64, draw: u64) -> Vec<u32> {
    let mut weights = vec![0; rows];
    let mut state = mix(seed ^ mix(draw));
    for _ in 0..rows {
        state = mix(state);
        // The upper half of a product is even over 0..rows to within rows / 2^64.
        let row = (u128::from(state) * rows as u128) >> 64;
        weights[row as usize] += 1;
    }
    weights
}

/// The values between which [`LEVEL`] of all lie.
pub(super) fn middle(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Interval { low: at((1.0 - LEVEL) / 2.0), high: at((1.0 + LEVEL) / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::Prediction;

    /// Accuracy is a binomial share, whose deviation is known: sqrt(p (1 - p) / n).
    #[test]
    fn an_interval_of_accuracy_is_as_wide_as_theory_says() {
        let rows = 2000;
        let truth: Vec<usize> = (0..rows).map(|row| row % 2).collect();
        let predictions: Vec<Prediction> = (0..rows)
            .map(|row| {
                let is_right = row % 10 < 8;
                let label = if is_right { row % 2 } else { 1 - row % 2 };
                Prediction::from_probabilities(if label == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] }, false)
            })
            .collect();
        let scored = ScoredRows::new(2, &truth, &predictions);
        let intervals = score_intervals(&scored, DRAWS, 1).unwrap();
        let half = 1.96 * (0.8_f64 * 0.2 / rows as f64).sqrt();
        assert!((intervals.accuracy.low - (0.8 - half)).abs() < 0.15 * half, "{intervals:?}");
        assert!((intervals.accuracy.high - (0.8 + half)).abs() < 0.15 * half, "{intervals:?}");
        assert_eq!(score_intervals(&scored, 50, 1), score_intervals(&scored, 50, 1));
        assert_ne!(score_intervals(&scored, 50, 1), score_intervals(&scored, 50, 2));
    }

    #[test]
    fn a_draw_has_as_many_rows_as_there_are() {
        assert_eq!(resample(100, 3, 4).iter().sum::<u32>(), 100);
        assert!(score_intervals(&ScoredRows::new(2, &[], &[]), 10, 1).is_none());
    }
}
