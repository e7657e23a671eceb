//! What stands beside a score: whether the test rows deserve to be believed.

use crate::dataset::{Row, normalise};
use crate::metrics::ConfusionMatrix;
use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// What is wrong with one test row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRowFlags {
    /// Its text carries another label elsewhere in the dataset.
    pub is_contradicted: bool,
    /// Its text, or a near duplicate of it, is among the training rows.
    pub is_in_training: bool,
}

impl TestRowFlags {
    pub fn is_clean(self) -> bool {
        !self.is_contradicted && !self.is_in_training
    }
}

/// Accuracy and macro-F1 of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub accuracy: f64,
    pub macro_f1: f64,
}

impl Score {
    /// Of pairs of true and predicted label, by their places in `labels`; `None` without any. Macro-F1 is the mean over the
    /// labels that occur, as truth or as prediction: a label that none of the clean rows has says nothing about them.
    pub fn of(labels: &[String], answers: impl Iterator<Item = (usize, usize)>) -> Option<Self> {
        let mut confusion = ConfusionMatrix::new(labels);
        let mut occurs = vec![false; labels.len()];
        for (truth, predicted) in answers {
            confusion.record(truth, predicted);
            for label in [truth, predicted] {
                if let Some(occurs) = occurs.get_mut(label) {
                    *occurs = true;
                }
            }
        }
        if confusion.total() == 0 {
            return None;
        }
        let f1: Vec<f64> =
            confusion.classes().iter().zip(occurs).filter(|(_, occurs)| *occurs).map(|(class, _)| class.f1).collect();
        Some(Self { accuracy: confusion.accuracy(), macro_f1: f1.iter().sum::<f64>() / f1.len() as f64 })
    }
}

/// The badge that every score of a run carries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cleanliness {
    pub test_rows: u64,
    pub contradicted: u64,
    pub also_in_training: u64,
    /// Test rows with neither.
    pub clean_rows: u64,
    /// On the clean rows alone, once known. `None` as well where there are no clean rows.
    pub before: Option<Score>,
    pub after: Option<Score>,
}

impl Cleanliness {
    /// Of test rows with these flags, before anything is scored.
    pub fn of(flags: &[TestRowFlags]) -> Self {
        let count = |wanted: fn(&TestRowFlags) -> bool| flags.iter().filter(|flags| wanted(flags)).count() as u64;
        Self {
            test_rows: flags.len() as u64,
            contradicted: count(|flags| flags.is_contradicted),
            also_in_training: count(|flags| flags.is_in_training),
            clean_rows: count(|flags| flags.is_clean()),
            before: None,
            after: None,
        }
    }

    /// With the scores that these answers have on the rows that are clean. One flag and one true label per answer.
    pub fn scored(
        self,
        labels: &[String],
        flags: &[TestRowFlags],
        truth: &[usize],
        [before, after]: [&[Prediction]; 2],
    ) -> Self {
        let score = |predictions: &[Prediction]| {
            let rows = flags.iter().zip(truth).zip(predictions);
            let clean = rows.filter(|((flags, _), _)| flags.is_clean());
            Score::of(labels, clean.map(|((_, truth), prediction)| (*truth, prediction.label)))
        };
        Self { before: score(before), after: score(after), ..self }
    }

    pub fn is_clean(&self) -> bool {
        self.clean_rows == self.test_rows
    }

    /// The badge's words: `clean`, or `12 of 1,752 test rows contradicted, 3 also in train`.
    pub fn words(&self) -> String {
        if self.is_clean() {
            return "clean".to_string();
        }
        let mut parts = Vec::new();
        if self.contradicted > 0 {
            parts.push(format!("{} of {} test rows contradicted", grouped(self.contradicted), grouped(self.test_rows)));
        }
        if self.also_in_training > 0 {
            parts.push(if parts.is_empty() {
                format!("{} of {} test rows also in train", grouped(self.also_in_training), grouped(self.test_rows))
            } else {
                format!("{} also in train", grouped(self.also_in_training))
            });
        }
        parts.join(", ")
    }
}

/// The flags of test rows beside the files that they were trained with, by their normalised texts alone: near duplicates
/// are not looked for. `others` are rows that are neither trained nor tested on, such as validation rows.
pub fn flag_test_rows(train: &[Row], others: &[Row], test: &[Row]) -> Vec<TestRowFlags> {
    let mut label_of: HashMap<String, &str> = HashMap::new();
    let mut contradicted: HashSet<String> = HashSet::new();
    for row in train.iter().chain(others).chain(test) {
        let text = normalise(&row.text);
        if *label_of.entry(text.clone()).or_insert(&row.label) != row.label {
            contradicted.insert(text);
        }
    }
    let trained: HashSet<String> = train.iter().map(|row| normalise(&row.text)).collect();
    let flags = |row: &Row| {
        let text = normalise(&row.text);
        TestRowFlags { is_contradicted: contradicted.contains(&text), is_in_training: trained.contains(&text) }
    };
    test.iter().map(flags).collect()
}

/// `1,234,567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut words = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_counted_and_clean_rows_scored() {
        let flags = [(false, false), (true, false), (false, true), (true, true), (false, false)]
            .map(|(is_contradicted, is_in_training)| TestRowFlags { is_contradicted, is_in_training });
        let badge = Cleanliness::of(&flags);
        assert_eq!((badge.test_rows, badge.contradicted, badge.also_in_training, badge.clean_rows), (5, 2, 2, 2));
        let labels = ["a", "b", "c"].map(String::from);
        // Neither truth nor prediction is ever c: F1 of a is 2/3, of b 0.
        let score = Score::of(&labels, [(0, 0), (0, 1)].into_iter()).unwrap();
        assert_eq!(score.accuracy, 0.5);
        assert!((score.macro_f1 - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Score::of(&labels, std::iter::empty()), None);
    }

    #[test]
    fn files_beside_each_other_are_compared_by_their_texts() {
        let rows = |rows: &[(&str, &str)]| -> Vec<Row> {
            rows.iter().map(|(text, label)| Row { line: 0, text: text.to_string(), label: label.to_string() }).collect()
        };
        let (train, others) = (rows(&[("one", "a"), ("two", "b")]), rows(&[("three", "a")]));
        let test = rows(&[(" ONE", "a"), ("Two", "a"), ("three", "b"), ("four", "a"), ("five", "a"), ("five ", "b")]);
        let flags: Vec<(bool, bool)> = flag_test_rows(&train, &others, &test)
            .iter()
            .map(|flags| (flags.is_contradicted, flags.is_in_training))
            .collect();
        let (contradicted, clean) = ((true, false), (false, false));
        assert_eq!(flags, [(false, true), (true, true), contradicted, clean, contradicted, contradicted]);
    }

    #[test]
    fn the_badge_says_what_is_wrong() {
        let clean = Cleanliness {
            test_rows: 1752,
            contradicted: 0,
            also_in_training: 0,
            clean_rows: 1752,
            before: None,
            after: None,
        };
        assert_eq!(clean.words(), "clean");
        let both = Cleanliness { contradicted: 12, also_in_training: 3, clean_rows: 1738, ..clean };
        assert_eq!(both.words(), "12 of 1,752 test rows contradicted, 3 also in train");
        let leak = Cleanliness { also_in_training: 3, clean_rows: 1749, ..clean };
        assert_eq!(leak.words(), "3 of 1,752 test rows also in train");
    }
}
