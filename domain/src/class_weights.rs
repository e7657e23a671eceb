//! How much a row counts in the loss, by its label.

use crate::error::UserError;
use serde::{Deserialize, Serialize};

/// Smallest and largest weight that a person can give a label.
pub const WEIGHT_RANGE: std::ops::RangeInclusive<f64> = 1e-3..=1e3;
/// Longest list of weights, in bytes: more than any list of labels needs.
const MAX_BYTES: usize = 64 * 1024;

/// The weight of every label in the loss. In JSON and on the command line one word or list: `none`, `balanced`, or
/// `spam=2,ham=0.5`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClassWeights {
    /// Every row counts the same.
    #[default]
    None,
    /// By inverse frequency among the training rows: `rows / (labels * rows of the label)`, which is scikit-learn's
    /// `compute_class_weight("balanced")`.
    Balanced,
    /// As a person has set them, in the order given; a label that is not named weighs 1.
    Named(Vec<(String, f64)>),
}

impl ClassWeights {
    /// An item ends at the comma behind its number, so a label may itself hold commas and equals signs: in
    /// `a, b=2,c=1` the labels are `a, b` and `c`.
    ///
    /// # Errors
    /// An item without a number, a weight out of [`WEIGHT_RANGE`], a label named twice.
    pub fn parse(words: &str) -> Result<Self, UserError> {
        let words = words.trim();
        match words {
            "" | "none" => return Ok(Self::None),
            "balanced" => return Ok(Self::Balanced),
            _ if words.len() > MAX_BYTES => {
                return Err(UserError::invalid(format!(
                    "The list is {} bytes long; {MAX_BYTES} is the most.",
                    words.len()
                )));
            }
            _ => {}
        }
        let mut named: Vec<(String, f64)> = Vec::new();
        let mut item = String::new();
        for piece in words.split(',') {
            if !item.is_empty() {
                item.push(',');
            }
            item.push_str(piece);
            let Some((label, weight)) = item.rsplit_once('=') else { continue };
            let Ok(weight) = weight.trim().parse::<f64>() else { continue };
            let label = label.trim().to_string();
            if !WEIGHT_RANGE.contains(&weight) {
                return Err(UserError::invalid(format!(
                    "The weight of \"{label}\" is {weight}; it must be from {} to {}.",
                    WEIGHT_RANGE.start(),
                    WEIGHT_RANGE.end()
                )));
            }
            if named.iter().any(|(other, _)| *other == label) {
                return Err(UserError::invalid(format!("Label \"{label}\" has two weights; keep one.")));
            }
            named.push((label, weight));
            item.clear();
        }
        if !item.is_empty() {
            return Err(UserError::invalid(format!(
                "\"{}\" is no weight. Write none, balanced, or a list such as spam=2,ham=0.5.",
                item.trim().chars().take(80).collect::<String>()
            )));
        }
        Ok(Self::Named(named))
    }

    /// One weight per label, from the number of training rows of each. A label without rows weighs 1: no row asks.
    ///
    /// # Errors
    /// A weight is given to a label that is not there.
    pub fn per_label(&self, labels: &[String], rows: &[u64]) -> Result<Vec<f32>, UserError> {
        match self {
            Self::None => Ok(vec![1.0; labels.len()]),
            Self::Balanced => {
                let with_rows = rows.iter().filter(|rows| **rows > 0).count() as f64;
                let all = rows.iter().sum::<u64>() as f64;
                let weight = |rows: &u64| if *rows == 0 { 1.0 } else { (all / (with_rows * *rows as f64)) as f32 };
                Ok(rows.iter().map(weight).collect())
            }
            Self::Named(named) => {
                let mut weights = vec![1.0; labels.len()];
                for (label, weight) in named {
                    let Some(place) = labels.iter().position(|other| other == label) else {
                        return Err(UserError::invalid(format!(
                            "Class weights (class_weights) name the label \"{label}\", which the data do not have; they \
                             have {}.",
                            labels.join(", ")
                        )));
                    };
                    weights[place] = *weight as f32;
                }
                Ok(weights)
            }
        }
    }
}

impl std::fmt::Display for ClassWeights {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => out.write_str("none"),
            Self::Balanced => out.write_str("balanced"),
            Self::Named(named) => {
                for (place, (label, weight)) in named.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(out, "{comma}{label}={weight}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<ClassWeights> for String {
    fn from(weights: ClassWeights) -> Self {
        weights.to_string()
    }
}

impl TryFrom<String> for ClassWeights {
    type Error = UserError;

    fn try_from(words: String) -> Result<Self, UserError> {
        Self::parse(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_is_shown() {
        for (words, shown) in [
            ("none", "none"),
            ("", "none"),
            (" balanced ", "balanced"),
            (" spam = 2 , ham=0.5", "spam=2,ham=0.5"),
            ("a, b=2,x=y=1e2", "a, b=2,x=y=100"),
        ] {
            let weights = ClassWeights::parse(words).unwrap();
            assert_eq!(weights.to_string(), shown);
            assert_eq!(ClassWeights::parse(shown).unwrap(), weights);
            let json = serde_json::to_string(&weights).unwrap();
            assert_eq!(serde_json::from_str::<ClassWeights>(&json).unwrap(), weights);
        }
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (words, part) in [
            ("heavy", "heavy"),
            ("a=1,b", "\"b\""),
            ("a=0", "\"a\""),
            ("a=-1", "\"a\""),
            ("a=inf", "\"a\""),
            ("a=NaN", "\"a\""),
            ("a=1,a=2", "two weights"),
        ] {
            let error = ClassWeights::parse(words).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    /// `compute_class_weight("balanced", classes=[0, 1, 2], y=[0]*6 + [1]*3 + [2])` of scikit-learn.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let labels = ["a", "b", "c", "d"].map(String::from);
        let weights = ClassWeights::Balanced.per_label(&labels, &[6, 3, 1, 0]).unwrap();
        for (weight, expected) in weights.iter().zip([0.555_556, 1.111_111, 3.333_333, 1.0]) {
            assert!((weight - expected).abs() < 1e-6, "{weights:?}");
        }
        let named = ClassWeights::parse("c=3").unwrap();
        assert_eq!(named.per_label(&labels, &[1; 4]).unwrap(), [1.0, 1.0, 3.0, 1.0]);
        assert!(named.per_label(&labels[..2], &[1; 2]).unwrap_err().message.contains("a, b"));
    }
}
