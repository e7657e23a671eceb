//! How a deployment does: how fast it answers, how much, and whether what it is asked still looks like what it was tested
//! on. All of it counts into a fixed number of places, so that it takes the same memory after a million requests.

use crate::catalogue::AdapterSource;
use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// Latencies by size: each bucket ends 7 % above the one before, from a tenth of a millisecond to some minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyHistogram {
    counts: Vec<u64>,
}

const LEAST_MS: f64 = 0.1;
const GROWTH: f64 = 1.07;
const BUCKETS: usize = 240;

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl LatencyHistogram {
    pub fn add(&mut self, ms: f64) {
        let bucket = ((ms / LEAST_MS).max(1.0).ln() / GROWTH.ln()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What that share of the latencies is at most, to within a bucket; `None` before the first.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(LEAST_MS * GROWTH.powi(bucket as i32 + 1))
    }
}

/// Bins of confidences.
pub const CONFIDENCE_BINS: usize = 10;

/// Answers by their label and by their confidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerCounts {
    /// In the order of the classifier's labels.
    pub labels: Vec<u64>,
    pub confidences: Vec<u64>,
    pub confidence_sum: f64,
}

impl AnswerCounts {
    pub fn of_labels(labels: usize) -> Self {
        Self { labels: vec![0; labels], confidences: vec![0; CONFIDENCE_BINS], confidence_sum: 0.0 }
    }

    pub fn add(&mut self, prediction: &Prediction) {
        let confidence = f64::from(prediction.confidence());
        if let Some(count) = self.labels.get_mut(prediction.label) {
            *count += 1;
        }
        if let Some(count) =
            self.confidences.get_mut(((confidence * CONFIDENCE_BINS as f64) as usize).min(CONFIDENCE_BINS - 1))
        {
            *count += 1;
        }
        self.confidence_sum += confidence;
    }

    pub fn total(&self) -> u64 {
        self.labels.iter().sum()
    }

    pub fn mean_confidence(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.confidence_sum / total as f64)
    }
}

/// How far apart two distributions are: the population stability index, the sum of (p - q) ln(p / q) over the places,
/// each with half a count more so that an empty one is no end of the world. `None` where either has no counts.
pub fn stability_index(now: &[u64], then: &[u64]) -> Option<f64> {
    let share = |counts: &[u64], place: usize| {
        let total: u64 = counts.iter().sum();
        (counts[place] as f64 + 0.5) / (total as f64 + 0.5 * counts.len() as f64)
    };
    if now.len() != then.len() || now.iter().sum::<u64>() == 0 || then.iter().sum::<u64>() == 0 {
        return None;
    }
    Some((0..now.len()).map(|place| (share(now, place), share(then, place))).map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

/// What the index means, by the usual rule of thumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Below 0.1.
    None,
    /// Below 0.25.
    Some,
    Strong,
    /// Fewer answers than could show it.
    TooFew,
}

/// Answers below which nothing is said of a drift: chance alone moves the index.
pub const LEAST_ANSWERS: u64 = 100;

impl Drift {
    pub fn of(answers: u64, index: f64) -> Self {
        match index {
            _ if answers < LEAST_ANSWERS => Self::TooFew,
            index if index < 0.1 => Self::None,
            index if index < 0.25 => Self::Some,
            _ => Self::Strong,
        }
    }
}

/// What a version has answered, beside what it answered on its run's test rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionFigures {
    pub version: AdapterSource,
    pub version_name: String,
    pub labels: Vec<String>,
    pub answers: AnswerCounts,
    /// None for an adapter of the catalogue, which has no test rows.
    pub on_test_rows: Option<AnswerCounts>,
}

impl VersionFigures {
    /// The larger of what labels and confidences say; `None` without test rows or answers.
    pub fn drift(&self) -> Option<(Drift, f64)> {
        let test = self.on_test_rows.as_ref()?;
        let labels = stability_index(&self.answers.labels, &test.labels)?;
        let confidences = stability_index(&self.answers.confidences, &test.confidences)?;
        let index = labels.max(confidences);
        Some((Drift::of(self.answers.total(), index), index))
    }
}

/// How often the version that is tried out says what the other says, on the texts that both were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    pub texts: u64,
    pub same: u64,
}

impl Agreement {
    pub fn share(self) -> Option<f64> {
        (self.texts > 0).then(|| self.same as f64 / self.texts as f64)
    }
}

/// How a deployment does since the server has started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentFigures {
    pub since_ms: i64,
    pub requests: u64,
    pub texts: u64,
    /// Requests that were refused because too much waited.
    pub refused: u64,
    /// Of a request, whatever number of texts it has; parts of streams are not counted.
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Texts of each of the last minutes, the present one last.
    pub texts_per_minute: Vec<u64>,
    /// The version, and that which is tried out.
    pub versions: Vec<VersionFigures>,
    pub agreement: Agreement,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_within_a_bucket() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|ms| histogram.add(f64::from(ms)));
        for (share, ms) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (0.0, 1.0)] {
            let told = histogram.quantile(share).unwrap();
            assert!((ms..=ms * 1.08).contains(&told), "{share}: {told}");
        }
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            histogram.add(odd);
        }
        assert_eq!(histogram.count(), 1004);
    }

    /// Expected values: sum((p - q) * log(p / q)) in NumPy on the same counts with half a count added.
    #[test]
    fn the_index_tells_a_drift() {
        let index = |now: &[u64], then: &[u64]| stability_index(now, then).unwrap();
        assert_eq!(index(&[300, 300, 300], &[100, 100, 100]), 0.0);
        assert!((index(&[500, 300, 100], &[300, 300, 300]) - 0.356_173_016).abs() < 1e-6);
        assert_eq!(stability_index(&[0, 0], &[1, 2]), None);
        assert_eq!(stability_index(&[1], &[1, 2]), None);
        assert!(index(&[0, 100], &[100, 0]).is_finite());
        assert_eq!(Drift::of(99, 5.0), Drift::TooFew);
        assert_eq!([0.0, 0.2, 0.3].map(|index| Drift::of(100, index)), [Drift::None, Drift::Some, Drift::Strong]);
    }
}
