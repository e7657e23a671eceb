//! Several runs beside each other: which is better, whether that can be chance, and on which rows they differ.

use crate::metrics::ConfusionMatrix;
use crate::metrics::comparison::{Comparison, Flip, compare};
use crate::metrics::report::ModelReport;
use crate::prediction::Prediction;
use crate::run::{RunDetail, RunId};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Runs that are compared at once.
pub const FEWEST_RUNS: usize = 2;
pub const MOST_RUNS: usize = 8;

/// Rows with differing answers that a page shows.
pub const MOST_FLIPS: usize = 200;

/// A test row as runs are compared on it: by its text and the name of its true label, since runs may number rows and
/// labels differently. Rows that are alike in both get the same answer, so it does not matter which is matched to which.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredRow<'a> {
    pub text: &'a str,
    pub truth: &'a str,
    /// The name of the label that was predicted.
    pub answer: &'a str,
    pub confidence: f64,
}

/// A row that one of two runs gets right and the other does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlippedRow {
    pub text: String,
    pub truth: String,
    /// What the run that is compared against answers, and how sure it is.
    pub reference: String,
    pub reference_confidence: f64,
    pub answer: String,
    pub confidence: f64,
    pub flip: Flip,
}

/// A run against the one that all are compared against, on the test rows that both have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgainstReference {
    pub comparison: Comparison,
    /// Test rows that only one of the two has.
    pub rows_apart: u64,
    /// Of the shared rows, over the labels of both.
    pub reference_confusion: ConfusionMatrix,
    pub confusion: ConfusionMatrix,
    /// Fixed and broken ones; the first of them.
    pub flips: Vec<FlippedRow>,
}

/// One of the runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedRun {
    pub detail: RunDetail,
    /// `None`: it has no answers to its test rows yet.
    pub report: Option<ModelReport>,
    pub test_rows: u64,
    /// `None` for the reference itself, and for a run without answers.
    pub against: Option<AgainstReference>,
    pub curves: RunCurves,
}

/// The lines of a run that are laid over those of others, thinned out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunCurves {
    pub loss: Vec<CurvePoint>,
    pub validation_loss: Vec<CurvePoint>,
    pub accuracy: Vec<CurvePoint>,
    pub macro_f1: Vec<CurvePoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub step: u64,
    pub epoch: f64,
    pub seconds: f64,
    pub value: f64,
}

/// Runs beside each other, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunsComparison {
    pub runs: Vec<ComparedRun>,
    /// What the others are compared against: what was asked for, or the one with the best accuracy.
    pub reference: Option<RunId>,
    /// All have the same test rows.
    pub same_test_rows: bool,
}

/// The runs that an address asks for: `1,2,3`, each once, in that order.
pub fn runs_asked_for(words: &str) -> Vec<RunId> {
    let mut runs = Vec::new();
    for id in words.split(',').filter_map(|word| word.trim().parse::<RunId>().ok()).filter(|id| *id > 0) {
        if !runs.contains(&id) && runs.len() <= MOST_RUNS {
            runs.push(id);
        }
    }
    runs
}

impl<'a> AnsweredRow<'a> {
    pub fn new(labels: &'a [String], text: &'a str, truth: usize, prediction: &Prediction) -> Self {
        let name = |label: usize| labels.get(label).map_or("", String::as_str);
        Self {
            text,
            truth: name(truth),
            answer: name(prediction.label),
            confidence: f64::from(prediction.confidence()),
        }
    }

    fn is_right(&self) -> bool {
        self.truth == self.answer
    }
}

impl AgainstReference {
    pub fn of(reference: &[AnsweredRow], run: &[AnsweredRow]) -> Self {
        let mut there: HashMap<(&str, &str), Vec<&AnsweredRow>> = HashMap::new();
        // The last one first, since they are taken from the end.
        for row in reference.iter().rev() {
            there.entry((row.text, row.truth)).or_default().push(row);
        }
        let mut pairs = Vec::new();
        for row in run {
            if let Some(matching) = there.get_mut(&(row.text, row.truth)).and_then(Vec::pop) {
                pairs.push((matching, row));
            }
        }
        let mut labels: Vec<String> = Vec::new();
        for name in pairs.iter().flat_map(|(one, other)| [one.truth, one.answer, other.answer]) {
            if !labels.iter().any(|label| label == name) {
                labels.push(name.to_string());
            }
        }
        labels.sort();
        let place = |name: &str| labels.iter().position(|label| label == name).unwrap_or(usize::MAX);
        let (mut reference_confusion, mut confusion) = (ConfusionMatrix::new(&labels), ConfusionMatrix::new(&labels));
        let (mut all, mut flips) = (Vec::with_capacity(pairs.len()), Vec::new());
        for (one, other) in &pairs {
            reference_confusion.record(place(one.truth), place(one.answer));
            confusion.record(place(other.truth), place(other.answer));
            let flip = match (one.is_right(), other.is_right()) {
                (true, true) => Flip::StaysRight,
                (false, true) => Flip::Fixed,
                (true, false) => Flip::Broken,
                (false, false) => Flip::StaysWrong,
            };
            all.push(flip);
            if matches!(flip, Flip::Fixed | Flip::Broken) && flips.len() < MOST_FLIPS {
                flips.push(FlippedRow {
                    text: one.text.to_string(),
                    truth: one.truth.to_string(),
                    reference: one.answer.to_string(),
                    reference_confidence: one.confidence,
                    answer: other.answer.to_string(),
                    confidence: other.confidence,
                    flip,
                });
            }
        }
        let apart = reference.len() + run.len() - 2 * pairs.len();
        Self { comparison: compare(&all), rows_apart: apart as u64, reference_confusion, confusion, flips }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(text: &'a str, truth: &'a str, answer: &'a str) -> AnsweredRow<'a> {
        AnsweredRow { text, truth, answer, confidence: 0.5 }
    }

    #[test]
    fn runs_are_compared_on_the_rows_that_both_have() {
        let one = [row("a", "x", "x"), row("b", "x", "y"), row("c", "y", "y"), row("d", "y", "y")];
        // In another order, with a row of its own, and with d labelled otherwise.
        let other =
            [row("c", "y", "x"), row("e", "x", "x"), row("b", "x", "x"), row("a", "x", "x"), row("d", "x", "x")];
        let against = AgainstReference::of(&one, &other);
        assert_eq!((against.comparison.rows, against.rows_apart), (3, 3));
        assert_eq!((against.comparison.fixed, against.comparison.broken), (1, 1));
        assert_eq!(
            against.flips.iter().map(|flip| (&flip.text[..], flip.flip)).collect::<Vec<_>>(),
            [("c", Flip::Broken), ("b", Flip::Fixed)]
        );
        assert_eq!(against.reference_confusion.counts, [[1, 1], [0, 1]]);
        assert_eq!(against.confusion.counts, [[2, 0], [1, 0]]);
    }

    #[test]
    fn repeated_rows_are_matched_as_often_as_both_have_them() {
        let (twice, thrice) = (vec![row("a", "x", "x"); 2], vec![row("a", "x", "y"); 3]);
        let against = AgainstReference::of(&twice, &thrice);
        assert_eq!((against.comparison.rows, against.comparison.broken, against.rows_apart), (2, 2, 1));
        assert_eq!(AgainstReference::of(&[], &twice).comparison.p_value, 1.0);
    }

    #[test]
    fn an_address_names_each_run_once() {
        assert_eq!(runs_asked_for("3, 1,3,x,-2,0,7"), [3, 1, 7]);
        assert!(runs_asked_for("").is_empty());
        // One more than allowed is kept, so that it can be said.
        assert_eq!(runs_asked_for("1,2,3,4,5,6,7,8,9,10,11").len(), MOST_RUNS + 1);
    }
}
