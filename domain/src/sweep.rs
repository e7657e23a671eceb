//! Sweeps: many runs of one recipe with some knobs set otherwise, and which of them go on.
//!
//! All of it is pure: the same recipe, space and seed plan the same runs. What is best is decided by the macro-F1 on the
//! validation rows, never by the test rows, which no function here is given.

mod halving;
mod plan;
mod seeds;

pub use halving::{Halving, RungUnit, Standing, survivors};
pub use plan::{MOST_TRIALS, plan, sweepable};
pub use seeds::{BandPoint, MOST_SEEDS, Spread, band, seed_space, spread};

use crate::dataset::DatasetId;
use crate::error::UserError;
use crate::run::{NewRun, RunId, RunStatus};
use crate::spec::{KnobKind, find_knob};
use serde::{Deserialize, Serialize};

pub type SweepId = i64;

/// Why the runs belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepKind {
    /// To find the best knobs.
    Search,
    /// One recipe with several seeds, to see how much chance there is in its scores.
    Seeds,
}

/// How trials are chosen from the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Search {
    /// Every combination.
    Grid,
    /// So many, drawn.
    Random { trials: u64 },
}

/// What one knob is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// PEFT's or TRL's name of the knob.
    pub knob: String,
    pub values: Values,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// In the knob's own words.
    List(Vec<String>),
    /// Anything between the two, which are possible; for random search.
    Range { from: f64, to: f64, scale: Scale },
}

/// What is drawn evenly: the number or its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    Linear,
    Log,
}

/// What is searched, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    pub dimensions: Vec<Dimension>,
    pub search: Search,
    /// `None`: every run goes to its end.
    pub halving: Option<Halving>,
}

/// What a person asks for when starting a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSweep {
    /// The name, the data and the recipe that the space varies.
    pub run: NewRun,
    pub space: Space,
    /// Of the draws of a random search.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepStatus {
    /// Some of its runs wait or train.
    Working,
    /// No run will go on by itself.
    Finished,
    /// A person stopped it.
    Cancelled,
}

impl SweepStatus {
    /// The word in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Working, Self::Finished, Self::Cancelled].into_iter().find(|status| status.as_str() == word)
    }
}

/// A sweep as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSummary {
    pub id: SweepId,
    pub kind: SweepKind,
    pub name: String,
    pub status: SweepStatus,
    pub dataset_id: DatasetId,
    pub dataset_name: String,
    /// Its runs, in the order of their trials.
    pub runs: Vec<RunId>,
    pub created_at_ms: i64,
}

/// A sweep with all its trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepDetail {
    pub summary: SweepSummary,
    pub space: Space,
    pub seed: u64,
    /// Rungs that have been decided.
    pub rungs_done: u64,
    pub trials: Vec<Trial>,
    /// Place of the best trial so far, by validation macro-F1.
    pub best: Option<usize>,
    /// Share of the training that is expected to be done, from 0 to 1.
    pub progress: f64,
    /// Of all its runs together, once it can be told.
    pub seconds_left: Option<f64>,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Counted from 0.
    pub place: usize,
    pub run: RunId,
    pub name: String,
    pub status: RunStatus,
    /// One per dimension, in the knob's words.
    pub values: Vec<String>,
    /// The rung, counted from 1, at which it was stopped in favour of better ones.
    pub dropped_at: Option<u64>,
    /// Why it was dropped, where it was not for its score.
    pub note: Option<String>,
    /// Best macro-F1 on the validation rows so far.
    pub validation_macro_f1: Option<f64>,
    /// On the test rows, once it is through. Nothing is chosen by these.
    pub test_accuracy: Option<f64>,
    pub test_macro_f1: Option<f64>,
    /// Share of its training that is done, from 0 to 1.
    pub progress: f64,
}

/// Between values that are written in a field; those of some knobs hold commas themselves.
pub fn separator(kind: KnobKind) -> &'static str {
    match kind {
        KnobKind::Modules | KnobKind::ClassWeights => "|",
        KnobKind::Template => "\n---\n",
        _ => ",",
    }
}

impl Dimension {
    /// From the words of a field: values such as `8, 16, 32`, or a range such as `1e-4 .. 1e-2 log`.
    ///
    /// # Errors
    /// No such knob, no value, or one that the knob refuses.
    pub fn parse(name: &str, words: &str) -> Result<Self, UserError> {
        let knob =
            find_knob(name).ok_or_else(|| UserError::invalid(format!("There is no setting called \"{name}\".")))?;
        let is_number = matches!(knob.kind, KnobKind::Integer { .. } | KnobKind::Number { .. });
        if is_number && let Some((from, to)) = words.split_once("..") {
            let (to, scale) = match to.trim().strip_suffix("log") {
                Some(to) => (to, Scale::Log),
                None => (to, Scale::Linear),
            };
            knob.check(from)?;
            knob.check(to)?;
            let number = |words: &str| words.trim().parse::<f64>().unwrap_or_default();
            let dimension = Self {
                knob: knob.name.to_string(),
                values: Values::Range { from: number(from), to: number(to), scale },
            };
            dimension.check()?;
            return Ok(dimension);
        }
        let values = words.split(separator(knob.kind));
        // White space around a prompt is the person's own.
        let values = values.map(|value| if knob.kind == KnobKind::Template { value } else { value.trim() });
        let values: Vec<String> = values.filter(|value| !value.is_empty()).map(str::to_string).collect();
        let dimension = Self { knob: knob.name.to_string(), values: Values::List(values) };
        dimension.check()?;
        Ok(dimension)
    }

    /// The words that [`Dimension::parse`] reads back.
    pub fn in_words(&self) -> String {
        match &self.values {
            Values::List(values) => match find_knob(&self.knob).map_or(",", |knob| separator(knob.kind)) {
                "," => values.join(", "),
                "|" => values.join(" | "),
                other => values.join(other),
            },
            Values::Range { from, to, scale } => {
                let scale = if *scale == Scale::Log { " log" } else { "" };
                format!("{} .. {}{scale}", crate::spec::scientific(*from), crate::spec::scientific(*to))
            }
        }
    }
}

#[cfg(test)]
mod tests;
