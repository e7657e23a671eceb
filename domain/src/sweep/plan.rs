//! From a recipe and a space to the recipes of the trials.

use super::{Dimension, Scale, Search, Space, Values};
use crate::dataset::mix;
use crate::error::UserError;
use crate::spec::{Knob, KnobKind, TrainSpec, find_knob};
use std::collections::HashSet;

/// Most runs of one sweep.
pub const MOST_TRIALS: u64 = 100;
/// Longest list of values of one knob.
const MOST_VALUES: usize = 100;
/// Draws that bring nothing new before a space is taken to be used up.
const VAIN_DRAWS: u64 = 1000;

/// Knobs that decide when a run looks, is scored and is stored: they change no number that is searched for.
const NOT_SEARCHED: [&str; 2] = ["save_steps", "per_device_eval_batch_size"];

/// Whether a search may vary this knob.
pub fn sweepable(knob: &Knob) -> bool {
    !NOT_SEARCHED.contains(&knob.name)
}

/// The recipes of all trials, each another one, in an order that follows from the arguments alone: of a grid, the last
/// dimension changes first.
///
/// # Errors
/// The space is empty, too large, or has a value that its knob refuses; the halving does not fit the recipes.
pub fn plan(spec: &TrainSpec, space: &Space, seed: u64) -> Result<Vec<TrainSpec>, UserError> {
    if space.dimensions.is_empty() {
        return Err(UserError::invalid("Choose at least one setting to vary, and give it several values."));
    }
    let mut names = HashSet::new();
    for dimension in &space.dimensions {
        dimension.check()?;
        if !names.insert(dimension.knob.as_str()) {
            return Err(UserError::invalid(format!("{} is named twice; put all its values together.", dimension.knob)));
        }
    }
    let specs = match space.search {
        Search::Grid => grid(spec, &space.dimensions)?,
        Search::Random { trials } => random(spec, &space.dimensions, trials, seed)?,
    };
    if specs.len() < 2 {
        return Err(UserError::invalid("This is a single run. Give a setting at least two values."));
    }
    for spec in &specs {
        spec.check()?;
        if let Some(halving) = &space.halving {
            halving.check(spec)?;
        }
    }
    Ok(specs)
}

fn grid(spec: &TrainSpec, dimensions: &[Dimension]) -> Result<Vec<TrainSpec>, UserError> {
    let mut count = 1u64;
    for dimension in dimensions {
        let Values::List(values) = &dimension.values else {
            return Err(UserError::invalid(format!(
                "A grid needs single values; {} has a range. Write values between commas, or search at random.",
                dimension.knob
            )));
        };
        count = count.saturating_mul(values.len() as u64);
    }
    if count > MOST_TRIALS {
        return Err(UserError::invalid(format!(
            "This grid has {count} combinations; a sweep has {MOST_TRIALS} runs at most. Leave out values, or search at \
             random."
        )));
    }
    let mut specs = vec![spec.clone()];
    for dimension in dimensions {
        let Values::List(values) = &dimension.values else { continue };
        let mut next = Vec::with_capacity(specs.len() * values.len());
        for spec in &specs {
            for value in values {
                let mut spec = spec.clone();
                spec.set(&dimension.knob, value)?;
                next.push(spec);
            }
        }
        specs = next;
    }
    Ok(specs)
}

fn random(spec: &TrainSpec, dimensions: &[Dimension], trials: u64, seed: u64) -> Result<Vec<TrainSpec>, UserError> {
    if !(2..=MOST_TRIALS).contains(&trials) {
        return Err(UserError::invalid(format!(
            "A random search has 2 to {MOST_TRIALS} runs; {trials} were asked for."
        )));
    }
    let mut specs: Vec<TrainSpec> = Vec::new();
    let mut stream = Draws { state: mix(seed ^ 0x7377_6565_7000) };
    let mut in_vain = 0;
    while (specs.len() as u64) < trials && in_vain < VAIN_DRAWS {
        let mut drawn = spec.clone();
        for dimension in dimensions {
            drawn.set(&dimension.knob, &dimension.draw(&mut stream))?;
        }
        // A small space holds fewer than were asked for: then all of it is tried.
        if specs.contains(&drawn) {
            in_vain += 1;
        } else {
            specs.push(drawn);
        }
    }
    Ok(specs)
}

/// Random numbers that follow from the seed.
struct Draws {
    state: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to below `count`.
    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

impl Dimension {
    /// Each value is one that the knob takes, and there is none twice.
    pub(super) fn check(&self) -> Result<(), UserError> {
        let Some(knob) = find_knob(&self.knob).filter(|knob| sweepable(knob)) else {
            return Err(UserError::invalid(format!("There is no setting called \"{}\" to vary.", self.knob)));
        };
        match &self.values {
            Values::List(values) => check_list(knob, values),
            Values::Range { from, to, scale } => check_range(knob, *from, *to, *scale),
        }
    }

    fn draw(&self, draws: &mut Draws) -> String {
        let (from, to, scale) = match &self.values {
            Values::List(values) => return values.get(draws.below(values.len())).cloned().unwrap_or_default(),
            Values::Range { from, to, scale } => (*from, *to, *scale),
        };
        let whole = find_knob(&self.knob).is_some_and(|knob| matches!(knob.kind, KnobKind::Integer { .. }));
        // Every whole number has as much room as the others, the two ends included.
        let (low, high) = if whole { (from - 0.5, to + 0.5) } else { (from, to) };
        let share = draws.share();
        let value = match scale {
            Scale::Linear => low + share * (high - low),
            // A whole number from 1 on begins at 0.5 here, so there is a logarithm.
            Scale::Log => (low.ln() + share * (high.ln() - low.ln())).exp(),
        };
        if whole { value.round().clamp(from, to).to_string() } else { readable(value).clamp(from, to).to_string() }
    }
}

fn check_list(knob: &Knob, values: &[String]) -> Result<(), UserError> {
    if values.is_empty() || values.len() > MOST_VALUES {
        return Err(UserError::invalid(format!(
            "{} ({}) needs 1 to {MOST_VALUES} values; it has {}.",
            knob.title,
            knob.name,
            values.len()
        )));
    }
    let mut seen = HashSet::new();
    for value in values {
        knob.check(value)?;
        let mut spec = TrainSpec::default();
        spec.set(knob.name, value)?;
        // As the recipe says it: 1e-3 and 0.001 are one value.
        if !seen.insert(spec.get(knob.name)) {
            return Err(UserError::invalid(format!("{} ({}) has the value {value} twice.", knob.title, knob.name)));
        }
    }
    Ok(())
}

fn check_range(knob: &Knob, from: f64, to: f64, scale: Scale) -> Result<(), UserError> {
    let refused = |words: String| Err(UserError::invalid(format!("{} ({}): {words}", knob.title, knob.name)));
    if !matches!(knob.kind, KnobKind::Integer { .. } | KnobKind::Number { .. }) {
        return refused("only a number has a range; write its values one by one.".to_string());
    }
    for end in [from, to] {
        knob.check(&end.to_string())?;
    }
    if from >= to {
        return refused(format!("a range goes from the smaller number to the larger; {from} .. {to} does not."));
    }
    if scale == Scale::Log && from <= 0.0 {
        return refused("a range that is drawn by its logarithm begins above 0.".to_string());
    }
    Ok(())
}

/// With three significant digits: what a person would write.
fn readable(value: f64) -> f64 {
    if value == 0.0 {
        return value;
    }
    format!("{value:.2e}").parse().unwrap_or(value)
}
