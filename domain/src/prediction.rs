//! What a classifier says of a text.

use serde::{Deserialize, Serialize};

/// The answer for one text. `probabilities` stand in the order of the classifier's labels and sum to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Index of the most probable label.
    pub label: usize,
    pub probabilities: Vec<f32>,
    /// True where the text was longer than the context and its end was cut away.
    pub cut: bool,
}

impl Prediction {
    /// From each label's log-likelihood: the softmax over the labels.
    pub fn from_log_likelihoods(scores: &[f32], cut: bool) -> Self {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f64> = scores.iter().map(|score| f64::from(score - largest).exp()).collect();
        let total: f64 = exponentials.iter().sum();
        Self::from_probabilities(exponentials.iter().map(|value| (value / total) as f32).collect(), cut)
    }

    /// From probabilities; among equals the first label wins, so that an answer never depends on chance.
    pub fn from_probabilities(probabilities: Vec<f32>, cut: bool) -> Self {
        let mut label = 0;
        for (index, probability) in probabilities.iter().enumerate() {
            if *probability > probabilities[label] {
                label = index;
            }
        }
        Self { label, probabilities, cut }
    }

    /// Probability of the predicted label.
    pub fn confidence(&self) -> f32 {
        self.probabilities.get(self.label).copied().unwrap_or(0.0)
    }
}

/// A batch of answers with the labels' names and the time it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    pub labels: Vec<String>,
    pub predictions: Vec<Prediction>,
    /// Milliseconds of model time for the whole batch.
    pub duration_ms: f64,
    /// What the probabilities were calibrated with; `None` where no temperature has been fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}
