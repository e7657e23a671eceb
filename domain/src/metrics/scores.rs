//! The numbers of an evaluation, worked out over rows with weights: a weight of 1 each gives the evaluation itself, the
//! counts of a resampling give one draw of the bootstrap. Definitions are scikit-learn's, with `zero_division = 0`.

use super::ratio;
use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// Precision, recall and F1 as one number each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// All numbers of one classifier on one set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub accuracy: f64,
    /// Mean recall over the labels that occur.
    pub balanced_accuracy: f64,
    /// Matthews correlation coefficient, for any number of labels (Gorodkin's R_K); from -1 to 1.
    pub mcc: f64,
    /// Mean of -ln p(true label), probabilities clipped at 1e-7.
    pub log_loss: f64,
    /// One label against the rest, mean over the labels; `None` where a label never or always occurs.
    pub auroc: Option<f64>,
    /// Every label counts alike.
    pub macro_average: Averages,
    /// Every row counts alike.
    pub weighted_average: Averages,
}

/// Rows in a form from which scores are quickly worked out for many weightings.
pub struct ScoredRows<'a> {
    labels: usize,
    truth: &'a [usize],
    predictions: &'a [Prediction],
    /// Per label: rows by that label's probability, the smallest first.
    by_probability: Vec<Vec<u32>>,
}

impl<'a> ScoredRows<'a> {
    /// `truth[i]` is the index of row i's true label, below `labels`; rows beyond the shorter of the two are left out.
    pub fn new(labels: usize, truth: &'a [usize], predictions: &'a [Prediction]) -> Self {
        let rows = truth.len().min(predictions.len());
        let (truth, predictions) = (&truth[..rows], &predictions[..rows]);
        let by_probability = (0..labels)
            .map(|label| {
                let mut order: Vec<u32> = (0..rows as u32).collect();
                order.sort_by(|a, b| {
                    probability(&predictions[*a as usize], label)
                        .total_cmp(&probability(&predictions[*b as usize], label))
                });
                order
            })
            .collect();
        Self { labels, truth, predictions, by_probability }
    }

    pub fn len(&self) -> usize {
        self.truth.len()
    }

    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// The scores of all rows as they are.
    pub fn scores(&self) -> Scores {
        self.weighted_scores(&vec![1; self.len()])
    }

    /// The scores as if row i were there `weights[i]` times.
    pub fn weighted_scores(&self, weights: &[u32]) -> Scores {
        let labels = self.labels;
        let mut counts = vec![vec![0_u64; labels]; labels];
        let mut surprise = 0.0;
        let mut total = 0_u64;
        for ((&truth, prediction), &weight) in self.truth.iter().zip(self.predictions).zip(weights) {
            if let Some(count) = counts.get_mut(truth).and_then(|row| row.get_mut(prediction.label)) {
                *count += u64::from(weight);
            }
            let p = f64::from(probability(prediction, truth)).clamp(1e-7, 1.0);
            surprise -= f64::from(weight) * p.ln();
            total += u64::from(weight);
        }
        let support: Vec<u64> = counts.iter().map(|row| row.iter().sum()).collect();
        let predicted: Vec<u64> = (0..labels).map(|label| counts.iter().map(|row| row[label]).sum()).collect();
        let right: Vec<u64> = (0..labels).map(|label| counts[label][label]).collect();
        let all_right: u64 = right.iter().sum();

        let occurring = support.iter().filter(|support| **support > 0).count().max(1);
        let (mut macro_average, mut weighted_average) = (Averages::default(), Averages::default());
        let mut recalls = 0.0;
        for label in 0..labels {
            let of_label = Averages {
                precision: ratio(right[label], predicted[label]),
                recall: ratio(right[label], support[label]),
                f1: ratio(2 * right[label], support[label] + predicted[label]),
            };
            recalls += of_label.recall;
            macro_average.add(of_label, 1.0 / labels as f64);
            weighted_average.add(of_label, ratio(support[label], total));
        }
        Scores {
            accuracy: ratio(all_right, total),
            balanced_accuracy: recalls / occurring as f64,
            mcc: matthews(all_right, total, &support, &predicted),
            log_loss: surprise / total.max(1) as f64,
            auroc: self.auroc(weights),
            macro_average,
            weighted_average,
        }
    }

    /// The probability that a row of the label gets a higher probability for it than a row of another, ties counting
    /// half (Mann-Whitney's U), averaged over the labels.
    fn auroc(&self, weights: &[u32]) -> Option<f64> {
        let mut sum = 0.0;
        for (label, order) in self.by_probability.iter().enumerate() {
            let (mut positives, mut negatives, mut wins) = (0_u64, 0_u64, 0.0);
            let mut at = 0;
            while at < order.len() {
                let value = probability(&self.predictions[order[at] as usize], label);
                let (mut tied_positives, mut tied_negatives) = (0_u64, 0_u64);
                while at < order.len() && probability(&self.predictions[order[at] as usize], label) == value {
                    let row = order[at] as usize;
                    let weight = u64::from(weights[row]);
                    if self.truth[row] == label {
                        tied_positives += weight
                    } else {
                        tied_negatives += weight
                    }
                    at += 1;
                }
                wins += tied_positives as f64 * (negatives as f64 + tied_negatives as f64 / 2.0);
                positives += tied_positives;
                negatives += tied_negatives;
            }
            if positives == 0 || negatives == 0 {
                return None;
            }
            sum += wins / (positives as f64 * negatives as f64);
        }
        (self.labels > 0).then(|| sum / self.labels as f64)
    }
}

impl Averages {
    fn add(&mut self, other: Self, weight: f64) {
        self.precision += weight * other.precision;
        self.recall += weight * other.recall;
        self.f1 += weight * other.f1;
    }
}

/// R_K = (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)), with c rows right of s, t_k rows of label k
/// and p_k predicted as k; 0 where one label is all there is.
fn matthews(right: u64, total: u64, support: &[u64], predicted: &[u64]) -> f64 {
    let (c, s) = (right as f64, total as f64);
    let dot = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>();
    let spread = (s * s - dot(predicted, predicted)) * (s * s - dot(support, support));
    if spread > 0.0 { (c * s - dot(support, predicted)) / spread.sqrt() } else { 0.0 }
}

fn probability(prediction: &Prediction, label: usize) -> f32 {
    prediction.probabilities.get(label).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::twelve_rows;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }

    /// Expected values from scikit-learn 1.7 on the same probabilities.
    #[test]
    fn agrees_with_scikit_learn() {
        let (truth, predictions) = twelve_rows();
        let scores = ScoredRows::new(3, &truth, &predictions).scores();
        close(scores.accuracy, 2.0 / 3.0);
        close(scores.balanced_accuracy, 0.6555555555555556);
        close(scores.mcc, 0.48936170212765956);
        close(scores.log_loss, 0.6723017389202518);
        close(scores.auroc.unwrap(), 0.9003802910052908);
        for (average, expected) in
            [(scores.macro_average, 0.6555555555555556), (scores.weighted_average, 0.6666666666666666)]
        {
            close(average.precision, expected);
            close(average.recall, expected);
            close(average.f1, expected);
        }
    }

    #[test]
    fn a_weight_is_a_row_that_often() {
        let (truth, predictions) = twelve_rows();
        let weights = [0, 1, 2, 3, 0, 1, 2, 1, 4, 1, 0, 2];
        let weighted = ScoredRows::new(3, &truth, &predictions).weighted_scores(&weights);
        let places: Vec<usize> =
            weights.iter().enumerate().flat_map(|(row, times)| vec![row; *times as usize]).collect();
        let truth: Vec<usize> = places.iter().map(|row| truth[*row]).collect();
        let repeated: Vec<Prediction> = places.iter().map(|row| predictions[*row].clone()).collect();
        let plain = ScoredRows::new(3, &truth, &repeated).scores();
        close(weighted.accuracy, plain.accuracy);
        close(weighted.mcc, plain.mcc);
        close(weighted.log_loss, plain.log_loss);
        close(weighted.auroc.unwrap(), plain.auroc.unwrap());
        close(weighted.weighted_average.f1, plain.weighted_average.f1);
    }

    #[test]
    fn nothing_divides_by_zero() {
        let none = ScoredRows::new(3, &[], &[]).scores();
        assert_eq!((none.accuracy, none.mcc, none.auroc), (0.0, 0.0, None));
        let one = [Prediction::from_probabilities(vec![1.0, 0.0], false)];
        let scores = ScoredRows::new(2, &[0], &one).scores();
        assert_eq!((scores.accuracy, scores.mcc, scores.auroc), (1.0, 0.0, None));
        // A label that the classifier does not know counts as wrong and brings nothing down.
        assert!(ScoredRows::new(2, &[7], &one).scores().log_loss > 10.0);
    }
}
