//! All that is said of a run's answers to its test rows: every score with its interval, before against after, and whether
//! its confidence is honest. Worked out of the stored answers, on the server and in the browser alike.

use super::calibration::{Calibration, at_temperature, calibration};
use super::comparison::{Comparison, compare, flips};
use super::interval::{DRAWS, Interval, ScoreIntervals, score_intervals};
use super::per_class::{ClassIntervals, class_intervals};
use super::scores::{ScoredRows, Scores};
use super::{ClassMetrics, ConfusionMatrix};
use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// Bins of a reliability diagram.
pub const BINS: usize = 10;
/// The draws of every page and file are the same.
pub const SEED: u64 = 20;
/// Rows, times labels, times draws, above which fewer draws are made: a page must not take minutes.
const MOST_WORK: usize = 60_000_000;
/// Fewer say nothing about the ends of an interval of 95 %.
const FEWEST_DRAWS: usize = 200;

/// One label's figures with their intervals, which are missing without rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    pub figures: ClassMetrics,
    pub intervals: Option<ClassIntervals>,
}

/// One classifier on the test rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    pub scores: Scores,
    pub intervals: Option<ScoreIntervals>,
    pub classes: Vec<ClassReport>,
    pub confusion: ConfusionMatrix,
    pub calibration: Calibration,
}

/// A run's test rows, before and after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub labels: Vec<String>,
    pub rows: u64,
    /// Draws of the bootstrap that the intervals come from.
    pub draws: u64,
    pub before: Option<ModelReport>,
    /// At the run's temperature, as its answers are given.
    pub after: ModelReport,
    /// Before against after; `None` where nothing was scored before.
    pub comparison: Option<Comparison>,
    /// Fitted on the validation rows; `None`: there were none.
    pub temperature: Option<f64>,
    /// What the answers after training would be worth without the temperature, where there is one.
    pub uncalibrated: Option<Uncalibrated>,
}

/// The answers as the model gives them, without a temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uncalibrated {
    pub calibration: Calibration,
    pub log_loss: f64,
}

/// Answers to the test rows in few bytes, as the browser gets them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerSheet {
    pub labels: Vec<String>,
    pub truth: Vec<u16>,
    /// Row after row, one per label; as the model gives them, without a temperature.
    pub probabilities: Vec<f32>,
    pub temperature: Option<f64>,
    /// Rows that there are; more than are here where there are very many.
    pub of_rows: u64,
}

/// Most probabilities of a sheet: half a megabyte on the way.
const MOST_PROBABILITIES: usize = 60_000;

/// Draws that so many rows are given time for.
pub fn draws_for(rows: usize, labels: usize) -> usize {
    (MOST_WORK / (rows * labels.max(1)).max(1)).clamp(FEWEST_DRAWS, DRAWS)
}

impl ModelReport {
    pub fn of(labels: &[String], truth: &[usize], predictions: &[Prediction]) -> Self {
        let scored = ScoredRows::new(labels.len(), truth, predictions);
        let draws = draws_for(scored.len(), labels.len());
        let mut confusion = ConfusionMatrix::new(labels);
        truth.iter().zip(predictions).for_each(|(truth, answer)| confusion.record(*truth, answer.label));
        let mut intervals = class_intervals(labels.len(), truth, predictions, draws, SEED).into_iter();
        let classes = confusion.classes().into_iter();
        Self {
            scores: scored.scores(),
            intervals: score_intervals(&scored, draws, SEED),
            classes: classes.map(|figures| ClassReport { figures, intervals: intervals.next() }).collect(),
            confusion,
            calibration: calibration(truth, predictions, BINS),
        }
    }
}

impl RunReport {
    /// `after` without a temperature.
    pub fn of(
        labels: &[String],
        truth: &[usize],
        before: Option<&[Prediction]>,
        after: &[Prediction],
        temperature: Option<f64>,
    ) -> Self {
        let calibrated: Vec<Prediction> =
            after.iter().map(|answer| at_temperature(answer, temperature.unwrap_or(1.0))).collect();
        let uncalibrated = temperature.map(|_| Uncalibrated {
            calibration: calibration(truth, after, BINS),
            log_loss: ScoredRows::new(labels.len(), truth, after).scores().log_loss,
        });
        Self {
            labels: labels.to_vec(),
            rows: truth.len() as u64,
            draws: draws_for(truth.len(), labels.len()) as u64,
            before: before.map(|before| ModelReport::of(labels, truth, before)),
            after: ModelReport::of(labels, truth, &calibrated),
            comparison: before.map(|before| compare(&flips(truth, before, after))),
            temperature,
            uncalibrated,
        }
    }
}

impl AnswerSheet {
    /// Of very many rows, as many as there is room for, chosen evenly.
    pub fn of(labels: &[String], truth: &[usize], predictions: &[Prediction], temperature: Option<f64>) -> Self {
        let room = (MOST_PROBABILITIES / labels.len().max(1)).max(1);
        let every = truth.len().div_ceil(room).max(1);
        let mut sheet = Self { labels: labels.to_vec(), temperature, of_rows: truth.len() as u64, ..Self::default() };
        for (truth, prediction) in truth.iter().zip(predictions).step_by(every) {
            sheet.truth.push(u16::try_from(*truth).unwrap_or(u16::MAX));
            let answers = &prediction.probabilities;
            sheet.probabilities.extend((0..labels.len()).map(|label| answers.get(label).copied().unwrap_or(0.0)));
        }
        sheet
    }

    pub fn truth(&self) -> Vec<usize> {
        self.truth.iter().map(|truth| usize::from(*truth)).collect()
    }

    pub fn predictions(&self, temperature: f64) -> Vec<Prediction> {
        self.probabilities
            .chunks_exact(self.labels.len().max(1))
            .map(|answers| at_temperature(&Prediction::from_probabilities(answers.to_vec(), false), temperature))
            .collect()
    }
}

/// How sure a score is, in words: what so many test rows can tell apart.
pub fn sureness(interval: Interval, rows: u64) -> String {
    let points = 100.0 * interval.width() / 2.0;
    let judgement = match points {
        p if p <= 1.0 => "narrow: differences of two points can be told from chance",
        p if p <= 2.5 => "fairly narrow: differences below about five points may be chance",
        p if p <= 5.0 => "wide: differences below about ten points may be chance",
        _ => "very wide: it tells little more than the direction; more test rows would tell more",
    };
    let rows = if rows == 1 { "1 test row".to_string() } else { format!("{rows} test rows") };
    format!("{rows} fix it to about \u{b1}{points:.1} points, which is {judgement}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::twelve_rows;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    #[test]
    fn a_report_says_what_its_parts_say() {
        let (truth, predictions) = twelve_rows();
        let before = vec![Prediction::from_probabilities(vec![0.5, 0.3, 0.2], false); 12];
        let report = RunReport::of(&labels(), &truth, Some(&before), &predictions, Some(0.5));
        assert_eq!((report.rows, report.draws), (12, DRAWS as u64));
        assert!((report.after.scores.accuracy - 8.0 / 12.0).abs() < 1e-12);
        // A temperature moves no answer, but what its confidence is worth.
        let plain = RunReport::of(&labels(), &truth, None, &predictions, None);
        assert_eq!(plain.after.confusion, report.after.confusion);
        assert_eq!(plain.comparison, None);
        assert!(report.after.scores.log_loss < plain.after.scores.log_loss);
        assert_eq!(report.uncalibrated.unwrap().log_loss, plain.after.scores.log_loss);
        let comparison = report.comparison.unwrap();
        let right_before = truth.iter().filter(|truth| **truth == 0).count() as u64;
        assert_eq!(right_before + comparison.fixed - comparison.broken, 8);
        let accuracy = report.after.intervals.unwrap().accuracy;
        assert!(accuracy.low < 8.0 / 12.0 && 8.0 / 12.0 < accuracy.high);
    }

    #[test]
    fn a_sheet_gives_the_answers_back() {
        let (truth, predictions) = twelve_rows();
        let sheet = AnswerSheet::of(&labels(), &truth, &predictions, Some(2.0));
        assert_eq!((sheet.truth(), sheet.predictions(1.0), sheet.of_rows), (truth, predictions, 12));
        let many = vec![Prediction::from_probabilities(vec![0.4, 0.3, 0.3], false); 250_000];
        let sheet = AnswerSheet::of(&labels(), &vec![0; 250_000], &many, None);
        assert!(sheet.probabilities.len() <= MOST_PROBABILITIES && sheet.truth.len() > 15_000);
        assert!(AnswerSheet::default().predictions(1.0).is_empty());
    }

    #[test]
    fn few_rows_are_called_few() {
        let of = |low, high, rows| sureness(Interval { low, high }, rows);
        assert!(of(0.70, 0.90, 60).contains("very wide"));
        assert!(
            of(0.742, 0.79, 900).starts_with("900 test rows fix it to about \u{b1}2.4 points, which is fairly narrow")
        );
        assert!(of(0.75, 0.755, 100_000).contains("narrow"));
    }

    #[test]
    fn large_test_sets_are_drawn_less_often() {
        assert_eq!(draws_for(900, 3), DRAWS);
        assert_eq!(draws_for(1_000_000, 3), FEWEST_DRAWS);
        assert_eq!(draws_for(0, 0), DRAWS);
    }
}
