//! The scores of a classifier one under the other, as tables and files list them.

use super::interval::{Interval, ScoreIntervals};
use super::report::ModelReport;

/// One score with what is to be known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreLine {
    /// As files call it.
    pub name: &'static str,
    /// As pages do.
    pub title: &'static str,
    pub help: &'static str,
    /// `None` where it cannot be worked out.
    pub value: Option<f64>,
    pub interval: Option<Interval>,
    /// A share from 0 to 1.
    pub is_share: bool,
    pub less_is_better: bool,
}

impl ModelReport {
    /// In the same order for all classifiers.
    pub fn lines(&self) -> Vec<ScoreLine> {
        let scores = &self.scores;
        let interval = |of: fn(&ScoreIntervals) -> Interval| self.intervals.as_ref().map(of);
        let line = |name, title, help, value, interval| ScoreLine {
            name,
            title,
            help,
            value: Some(value),
            interval,
            is_share: true,
            less_is_better: false,
        };
        let (by_label, by_row) = (&scores.macro_average, &scores.weighted_average);
        vec![
            line(
                "accuracy",
                "Accuracy",
                "Share of rows with the right answer.",
                scores.accuracy,
                interval(|all| all.accuracy),
            ),
            line(
                "balanced_accuracy",
                "Balanced accuracy",
                "Mean recall over the labels: rare ones count as much as frequent ones.",
                scores.balanced_accuracy,
                interval(|all| all.balanced_accuracy),
            ),
            ScoreLine {
                is_share: false,
                ..line(
                    "mcc",
                    "Matthews correlation",
                    "Agreement of answers and truth beyond chance, from -1 to 1; 0 is guessing.",
                    scores.mcc,
                    interval(|all| all.mcc),
                )
            },
            ScoreLine {
                is_share: false,
                less_is_better: true,
                ..line(
                    "log_loss",
                    "Log-loss",
                    "Mean surprise at the true label, in nats: it punishes being sure and wrong. Less is better.",
                    scores.log_loss,
                    interval(|all| all.log_loss),
                )
            },
            ScoreLine {
                value: scores.auroc,
                interval: self.intervals.as_ref().and_then(|all| all.auroc),
                ..line(
                    "auroc",
                    "AUROC",
                    "How well probabilities put rows of a label ahead of others, mean over the labels; 50 % is guessing.",
                    0.0,
                    None,
                )
            },
            line(
                "macro_precision",
                "Precision, macro",
                "Of the rows given a label, the share that has it; mean over the labels.",
                by_label.precision,
                interval(|all| all.macro_precision),
            ),
            line(
                "macro_recall",
                "Recall, macro",
                "Of the rows that have a label, the share given it; mean over the labels.",
                by_label.recall,
                interval(|all| all.macro_recall),
            ),
            line(
                "macro_f1",
                "F1, macro",
                "Harmonic mean of precision and recall; mean over the labels.",
                by_label.f1,
                interval(|all| all.macro_f1),
            ),
            line(
                "weighted_precision",
                "Precision, weighted",
                "As above; labels count by their rows.",
                by_row.precision,
                interval(|all| all.weighted_precision),
            ),
            line(
                "weighted_recall",
                "Recall, weighted",
                "As above; labels count by their rows.",
                by_row.recall,
                interval(|all| all.weighted_recall),
            ),
            line(
                "weighted_f1",
                "F1, weighted",
                "As above; labels count by their rows.",
                by_row.f1,
                interval(|all| all.weighted_f1),
            ),
            ScoreLine {
                less_is_better: true,
                ..line(
                    "expected_calibration_error",
                    "Calibration error",
                    "Mean distance of confidence and accuracy (ECE, ten bins). Less is better.",
                    self.calibration.ece,
                    None,
                )
            },
        ]
    }
}

impl ScoreLine {
    /// Which of several values of this score is best; `None` where all are alike.
    pub fn best_of(&self, values: &[Option<f64>]) -> Option<f64> {
        let known = || values.iter().flatten().copied();
        let least = known().min_by(f64::total_cmp)?;
        let most = known().max_by(f64::total_cmp)?;
        (least < most).then_some(if self.less_is_better { least } else { most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::twelve_rows;

    #[test]
    fn the_best_is_the_least_surprised_and_the_most_right() {
        let (truth, predictions) = twelve_rows();
        let lines = ModelReport::of(&["a", "b", "c"].map(String::from), &truth, &predictions).lines();
        let line = |name| *lines.iter().find(|line| line.name == name).unwrap();
        assert_eq!(line("accuracy").value, Some(8.0 / 12.0));
        assert_eq!(line("accuracy").best_of(&[Some(0.5), None, Some(0.7)]), Some(0.7));
        assert_eq!(line("log_loss").best_of(&[Some(0.5), Some(0.7)]), Some(0.5));
        assert_eq!(line("auroc").best_of(&[Some(0.5), Some(0.5)]), None);
        assert_eq!(line("auroc").best_of(&[]), None);
        for line in &lines {
            let inside = line.value.zip(line.interval).is_none_or(|(value, i)| i.low <= value && value <= i.high);
            assert!(inside, "{line:?}");
        }
    }
}
