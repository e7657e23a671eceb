//! How good a classifier is. Definitions are scikit-learn's (`sklearn.metrics`), with `zero_division = 0`.

pub mod calibration;
pub mod comparison;
pub mod interval;
pub mod lines;
pub mod per_class;
pub mod report;
pub mod scores;

use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// Counts of (true label, predicted label); row = true, column = predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    pub labels: Vec<String>,
    /// `counts[truth][predicted]`, `labels.len()` square.
    pub counts: Vec<Vec<u64>>,
}

/// Precision, recall, F1 and support of one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    pub label: String,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Rows that truly have this label.
    pub support: u64,
}

/// One evaluation of one classifier on one set of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub accuracy: f64,
    pub macro_f1: f64,
    /// Mean of -ln p(true label), natural logarithm, probabilities clipped at 1e-7.
    pub log_loss: f64,
    pub classes: Vec<ClassMetrics>,
    pub confusion: ConfusionMatrix,
    /// Rows whose text was cut to fit the context.
    pub cut_rows: u64,
    /// Wall time of the scoring.
    pub seconds: f64,
}

impl ConfusionMatrix {
    pub fn new(labels: &[String]) -> Self {
        Self { labels: labels.to_vec(), counts: vec![vec![0; labels.len()]; labels.len()] }
    }

    /// Counts one row. Labels outside the matrix are ignored rather than trusted.
    pub fn record(&mut self, truth: usize, predicted: usize) {
        if let Some(cell) = self.counts.get_mut(truth).and_then(|row| row.get_mut(predicted)) {
            *cell += 1;
        }
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Share of rows on the diagonal; 0 for an empty matrix.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.labels.len()).map(|i| self.counts[i][i]).sum();
        ratio(right, self.total())
    }

    /// Per label, in the matrix's order.
    pub fn classes(&self) -> Vec<ClassMetrics> {
        (0..self.labels.len())
            .map(|i| {
                let right = self.counts[i][i];
                let support: u64 = self.counts[i].iter().sum();
                let predicted: u64 = self.counts.iter().map(|row| row[i]).sum();
                ClassMetrics {
                    label: self.labels[i].clone(),
                    precision: ratio(right, predicted),
                    recall: ratio(right, support),
                    // 2PR/(P+R) = 2 right / (support + predicted), which needs no case for P + R = 0.
                    f1: ratio(2 * right, support + predicted),
                    support,
                }
            })
            .collect()
    }

    /// Unweighted mean of the labels' F1.
    pub fn macro_f1(&self) -> f64 {
        let classes = self.classes();
        if classes.is_empty() {
            return 0.0;
        }
        classes.iter().map(|class| class.f1).sum::<f64>() / classes.len() as f64
    }
}

impl Evaluation {
    /// Everything from the answers: `truth[i]` is the index of row i's true label.
    pub fn from_predictions(labels: &[String], truth: &[usize], predictions: &[Prediction], seconds: f64) -> Self {
        let mut confusion = ConfusionMatrix::new(labels);
        let mut log_loss = 0.0;
        for (&truth, prediction) in truth.iter().zip(predictions) {
            confusion.record(truth, prediction.label);
            let probability = prediction.probabilities.get(truth).copied().unwrap_or(0.0);
            log_loss -= f64::from(probability).clamp(1e-7, 1.0).ln();
        }
        let rows = truth.len().min(predictions.len()).max(1);
        Self {
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            log_loss: log_loss / rows as f64,
            classes: confusion.classes(),
            confusion,
            cut_rows: predictions.iter().filter(|prediction| prediction.cut).count() as u64,
            seconds,
        }
    }

    pub fn rows(&self) -> u64 {
        self.confusion.total()
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve answers over three labels, from which the expected values of the modules below were worked out.
    pub(super) fn twelve_rows() -> (Vec<usize>, Vec<Prediction>) {
        let probabilities = [
            [0.7, 0.2, 0.1],
            [0.6, 0.3, 0.1],
            [0.3, 0.5, 0.2],
            [0.2, 0.6, 0.2],
            [0.1, 0.8, 0.1],
            [0.5, 0.4, 0.1],
            [0.2, 0.2, 0.6],
            [0.1, 0.1, 0.8],
            [0.3, 0.3, 0.4],
            [0.25, 0.5, 0.25],
            [0.9, 0.05, 0.05],
            [0.4, 0.35, 0.25],
        ];
        let predictions = probabilities.iter().map(|p| Prediction::from_probabilities(p.to_vec(), false)).collect();
        (vec![0, 0, 0, 1, 1, 1, 2, 2, 1, 2, 0, 0], predictions)
    }

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    /// Expected values from scikit-learn's `classification_report` for
    /// y_true = [0,0,0,1,1,2], y_pred = [0,0,1,1,2,2].
    #[test]
    fn agrees_with_scikit_learn() {
        let mut matrix = ConfusionMatrix::new(&labels());
        for (truth, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2)] {
            matrix.record(truth, predicted);
        }
        assert!((matrix.accuracy() - 4.0 / 6.0).abs() < 1e-12);
        let classes = matrix.classes();
        assert!((classes[0].precision - 1.0).abs() < 1e-12);
        assert!((classes[0].recall - 2.0 / 3.0).abs() < 1e-12);
        assert!((classes[0].f1 - 0.8).abs() < 1e-12);
        assert!((classes[1].f1 - 0.5).abs() < 1e-12);
        assert!((classes[2].f1 - 2.0 / 3.0).abs() < 1e-12);
        assert!((matrix.macro_f1() - (0.8 + 0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_label_never_predicted_scores_zero_and_nothing_divides_by_zero() {
        let mut matrix = ConfusionMatrix::new(&labels());
        assert_eq!((matrix.accuracy(), matrix.macro_f1()), (0.0, 0.0));
        matrix.record(0, 1);
        matrix.record(9, 9);
        assert_eq!(matrix.total(), 1);
        assert_eq!(matrix.classes()[0].f1, 0.0);
    }

    #[test]
    fn log_loss_is_the_mean_surprise() {
        let predictions = vec![
            Prediction::from_probabilities(vec![0.5, 0.5], false),
            Prediction::from_probabilities(vec![0.0, 1.0], true),
        ];
        let evaluation = Evaluation::from_predictions(&labels()[..2], &[0, 1], &predictions, 1.0);
        assert!((evaluation.log_loss - 0.5f64.ln().abs() / 2.0).abs() < 1e-9);
        assert_eq!((evaluation.cut_rows, evaluation.rows()), (1, 2));
        // Equal probabilities: the first label, always.
        assert_eq!(predictions[0].label, 0);
    }
}
