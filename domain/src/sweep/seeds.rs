//! Several seeds of one recipe: what they have in common and how far they lie apart.

use super::{Dimension, Search, Space, Values};
use crate::error::UserError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most seeds of one recipe.
pub const MOST_SEEDS: u64 = 20;

/// Of some numbers: mean and standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub mean: f64,
    /// Of a sample, that is over n - 1; 0 of a single number, of which nothing can be said.
    pub deviation: f64,
    pub count: usize,
}

/// A point of a curve over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandPoint {
    pub step: u64,
    pub mean: f64,
    pub deviation: f64,
    /// That have come so far.
    pub runs: usize,
}

/// `None` of no numbers.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let values: Vec<f64> = values.into_iter().collect();
    if values.is_empty() {
        return None;
    }
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = if count < 2 { 0.0 } else { (squares / (count - 1) as f64).sqrt() };
    Some(Spread { mean, deviation, count })
}

/// The curves of several runs, points of the same step together.
pub fn band(curves: &[Vec<(u64, f64)>]) -> Vec<BandPoint> {
    let mut by_step: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (step, value) in curves.iter().flatten() {
        by_step.entry(*step).or_default().push(*value);
    }
    by_step
        .into_iter()
        .filter_map(|(step, values)| {
            let Spread { mean, deviation, count } = spread(values)?;
            Some(BandPoint { step, mean, deviation, runs: count })
        })
        .collect()
}

/// The space of a recipe's own seed and those that follow it.
///
/// # Errors
/// Fewer than 2 or more than [`MOST_SEEDS`].
pub fn seed_space(first: u64, count: u64) -> Result<Space, UserError> {
    if !(2..=MOST_SEEDS).contains(&count) {
        return Err(UserError::invalid(format!(
            "A recipe is repeated with 2 to {MOST_SEEDS} seeds; {count} were asked for."
        )));
    }
    let most = u64::from(u32::MAX);
    // Round again at the end of what a seed may be.
    let seeds = (0..count).map(|further| ((first + further) % (most + 1)).to_string());
    let seed = Dimension { knob: "seed".to_string(), values: Values::List(seeds.collect()) };
    Ok(Space { dimensions: vec![seed], search: Search::Grid, halving: None })
}
