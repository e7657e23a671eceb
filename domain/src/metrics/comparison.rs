//! Two classifiers on the same rows: what one gets right that the other does not, and whether that can be chance.

use crate::prediction::Prediction;
use serde::{Deserialize, Serialize};

/// What became of a row from the first classifier to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    StaysRight,
    /// Wrong before, right after.
    Fixed,
    /// Right before, wrong after.
    Broken,
    StaysWrong,
}

/// McNemar's test on two classifiers' answers to the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub rows: u64,
    pub fixed: u64,
    pub broken: u64,
    /// If neither were better, a row that flips would be fixed or broken with equal chance; this is the probability of
    /// a difference at least as large as the one seen (exact, two-sided).
    pub p_value: f64,
}

impl Comparison {
    /// Below 5 %, as is customary: the difference is hardly chance.
    pub fn is_significant(&self) -> bool {
        self.p_value < 0.05
    }
}

/// What became of each row.
pub fn flips(truth: &[usize], before: &[Prediction], after: &[Prediction]) -> Vec<Flip> {
    let pairs = before.iter().zip(after);
    truth
        .iter()
        .zip(pairs)
        .map(|(truth, (before, after))| match (before.label == *truth, after.label == *truth) {
            (true, true) => Flip::StaysRight,
            (false, true) => Flip::Fixed,
            (true, false) => Flip::Broken,
            (false, false) => Flip::StaysWrong,
        })
        .collect()
}

pub fn compare(flips: &[Flip]) -> Comparison {
    let count = |wanted: Flip| flips.iter().filter(|flip| **flip == wanted).count() as u64;
    let (fixed, broken) = (count(Flip::Fixed), count(Flip::Broken));
    Comparison { rows: flips.len() as u64, fixed, broken, p_value: mcnemar(fixed, broken) }
}

/// Twice the probability that of n = b + c fair coins at most min(b, c) fall on one side, at most 1.
///
/// ln C(n, k) grows by ln((n - k) / (k + 1)) from k to k + 1; the sum is kept relative to its largest term, the last.
pub fn mcnemar(fixed: u64, broken: u64) -> f64 {
    let (n, fewer) = (fixed + broken, fixed.min(broken));
    if n == 0 {
        return 1.0;
    }
    let mut ln_choose = 0.0;
    let mut terms = Vec::with_capacity(fewer.min(100_000) as usize + 1);
    for k in 0..=fewer {
        terms.push(ln_choose);
        ln_choose += (((n - k) as f64) / ((k + 1) as f64)).ln();
    }
    let largest = terms.last().copied().unwrap_or_default();
    let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
    (2.0 * (largest + sum.ln() - n as f64 * std::f64::consts::LN_2).exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from scipy.stats.binomtest(b, b + c, 0.5).
    #[test]
    fn agrees_with_scipy() {
        for (fixed, broken, expected) in [(3, 11, 0.057373046875), (71, 40, 0.004195534185394861), (5, 5, 1.0)] {
            assert!((mcnemar(fixed, broken) - expected).abs() < 1e-12, "{fixed} {broken}");
            assert_eq!(mcnemar(fixed, broken), mcnemar(broken, fixed));
        }
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!(mcnemar(100_000, 90_000) < 1e-100);
    }

    #[test]
    fn rows_are_counted_by_what_became_of_them() {
        let say = |label: usize| {
            Prediction::from_probabilities((0..2).map(|l| if l == label { 0.8 } else { 0.2 }).collect(), false)
        };
        let flips = flips(&[0, 0, 1, 1], &[say(0), say(1), say(1), say(0)], &[say(0), say(0), say(0), say(0)]);
        assert_eq!(flips, [Flip::StaysRight, Flip::Fixed, Flip::Broken, Flip::StaysWrong]);
        let comparison = compare(&flips);
        assert_eq!((comparison.rows, comparison.fixed, comparison.broken), (4, 1, 1));
        assert!(!comparison.is_significant());
    }
}
