//! Whether a probability means what it says, and what to do with answers that are not sure enough.

use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Confidences from `low` up to below `high`; the last bin has 1 in it.
    pub low: f64,
    pub high: f64,
    pub rows: u64,
    /// Means over the bin's rows; 0 for an empty bin.
    pub confidence: f64,
    pub accuracy: f64,
}

/// A reliability diagram with its one number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error (Guo et al. 2017): the mean distance of confidence and accuracy over the bins,
    /// weighted by their rows.
    pub ece: f64,
}

/// What an abstaining classifier would do: it answers where it is sure enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Least confidence of an answer.
    pub threshold: f64,
    /// Share of rows that get an answer.
    pub coverage: f64,
    /// Of the rows with an answer; `None` without any.
    pub accuracy: Option<f64>,
}

/// Temperatures that a fit may come to.
pub const TEMPERATURES: (f64, f64) = (0.05, 20.0);

/// Compares confidence and accuracy in `bins` bins of equal width.
pub fn calibration(truth: &[usize], predictions: &[Prediction], bins: usize) -> Calibration {
    let count = bins.max(1);
    let mut bins = vec![ReliabilityBin::default(); count];
    for (place, bin) in bins.iter_mut().enumerate() {
        bin.low = place as f64 / count as f64;
        bin.high = (place + 1) as f64 / count as f64;
    }
    for (truth, prediction) in truth.iter().zip(predictions) {
        let confidence = f64::from(prediction.confidence());
        let bin = &mut bins[((confidence * count as f64) as usize).min(count - 1)];
        bin.rows += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(prediction.label == *truth));
    }
    let rows: u64 = bins.iter().map(|bin| bin.rows).sum();
    let mut ece = 0.0;
    for bin in bins.iter_mut().filter(|bin| bin.rows > 0) {
        bin.confidence /= bin.rows as f64;
        bin.accuracy /= bin.rows as f64;
        ece += (bin.confidence - bin.accuracy).abs() * bin.rows as f64 / rows as f64;
    }
    Calibration { bins, ece }
}

/// The temperature that makes the true labels most probable: softmax(ln p / T) has the least log-loss at it.
///
/// With b = 1 / T the loss, -b ln p(truth) + ln sum exp(b ln p), is convex in b; its slope, E_b[ln p] - ln p(truth)
/// summed over the rows, only rises, so the root is found by halving. `None` without rows.
pub fn fit_temperature(truth: &[usize], predictions: &[Prediction]) -> Option<f64> {
    let rows: Vec<(Vec<f64>, f64)> = truth
        .iter()
        .zip(predictions)
        .filter_map(|(truth, prediction)| {
            let logs: Vec<f64> = prediction.probabilities.iter().map(|p| ln_clipped(*p)).collect();
            let of_truth = *logs.get(*truth)?;
            Some((logs, of_truth))
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let slope = |b: f64| -> f64 { rows.iter().map(|(logs, of_truth)| expectation(logs, b) - of_truth).sum() };
    let (mut low, mut high) = (1.0 / TEMPERATURES.1, 1.0 / TEMPERATURES.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    Some(2.0 / (low + high))
}

/// Mean of the logarithms under the probabilities that they have at 1 / temperature `b`.
fn expectation(logs: &[f64], b: f64) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut mean) = (0.0, 0.0);
    for log in logs {
        let weight = (b * (log - largest)).exp();
        sum += weight;
        mean += weight * log;
    }
    mean / sum
}

fn ln_clipped(p: f32) -> f64 {
    f64::from(p).clamp(1e-7, 1.0).ln()
}

/// The answer at a temperature: the order of the labels stays, their probabilities are sharper below 1 and flatter
/// above it.
pub fn at_temperature(prediction: &Prediction, temperature: f64) -> Prediction {
    if temperature == 1.0 {
        return prediction.clone();
    }
    let scores: Vec<f32> = prediction.probabilities.iter().map(|p| (ln_clipped(*p) / temperature) as f32).collect();
    // Ties of the rounded scores must not move the answer.
    Prediction { label: prediction.label, ..Prediction::from_log_likelihoods(&scores, prediction.cut) }
}

/// Coverage and accuracy at one threshold.
pub fn coverage_at(truth: &[usize], predictions: &[Prediction], threshold: f64) -> Coverage {
    let (mut rows, mut answered, mut right) = (0_u64, 0_u64, 0_u64);
    for (truth, prediction) in truth.iter().zip(predictions) {
        rows += 1;
        if f64::from(prediction.confidence()) >= threshold {
            answered += 1;
            right += u64::from(prediction.label == *truth);
        }
    }
    Coverage {
        threshold,
        coverage: super::ratio(answered, rows),
        accuracy: (answered > 0).then(|| super::ratio(right, answered)),
    }
}

/// Coverage and accuracy at thresholds from 0 to 1 in `steps` equal steps.
pub fn coverage_curve(truth: &[usize], predictions: &[Prediction], steps: usize) -> Vec<Coverage> {
    (0..=steps).map(|step| coverage_at(truth, predictions, step as f64 / steps.max(1) as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::scores::ScoredRows;
    use crate::metrics::tests::twelve_rows;

    /// Expected values from NumPy and scipy.optimize on the same probabilities.
    #[test]
    fn agrees_with_numpy_and_scipy() {
        let (truth, predictions) = twelve_rows();
        assert!((calibration(&truth, &predictions, 10).ece - 0.3083333273728688).abs() < 1e-6);
        let temperature = fit_temperature(&truth, &predictions).unwrap();
        assert!((temperature - 0.5022193669208354).abs() < 1e-5, "{temperature}");
        let calibrated: Vec<Prediction> =
            predictions.iter().map(|prediction| at_temperature(prediction, temperature)).collect();
        let log_loss = ScoredRows::new(3, &truth, &calibrated).scores().log_loss;
        assert!((log_loss - 0.5921652090906492).abs() < 1e-6, "{log_loss}");
    }

    #[test]
    fn a_temperature_moves_no_answer_and_keeps_the_sum() {
        let (_, predictions) = twelve_rows();
        for prediction in &predictions {
            for temperature in [0.05, 0.5, 1.0, 3.0, 20.0] {
                let at = at_temperature(prediction, temperature);
                assert_eq!(at.label, prediction.label);
                assert!((at.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn who_answers_less_covers_less() {
        let (truth, predictions) = twelve_rows();
        let curve = coverage_curve(&truth, &predictions, 20);
        assert_eq!((curve[0].coverage, curve[0].accuracy), (1.0, Some(8.0 / 12.0)));
        assert!(curve.windows(2).all(|pair| pair[1].coverage <= pair[0].coverage));
        assert_eq!(curve[20].accuracy, None);
        assert_eq!(fit_temperature(&[], &[]), None);
    }

    #[test]
    fn sure_and_wrong_is_cooled_to_the_limit() {
        let wrong = vec![Prediction::from_probabilities(vec![0.99, 0.01], false); 5];
        assert!((fit_temperature(&[1; 5], &wrong).unwrap() - TEMPERATURES.1).abs() < 1e-3);
    }
}
