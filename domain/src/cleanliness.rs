//! What stands beside a score: whether the test rows deserve to be believed.

use serde::{Deserialize, Serialize};

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
