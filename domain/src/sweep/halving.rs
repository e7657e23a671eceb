//! Successive halving: all runs train to a rung, the better ones go on to the next, the others stop there.
//!
//! Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (2016). A run that
//! goes on is resumed from its checkpoint, so nothing is computed twice.

use crate::error::UserError;
use crate::spec::TrainSpec;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Most rungs of a sweep.
const MOST_RUNGS: usize = 10;

/// What a rung counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RungUnit {
    Epochs,
    Steps,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halving {
    /// Where runs are held against each other, ascending; the end of training is none.
    pub rungs: Vec<u64>,
    pub unit: RungUnit,
    /// Of so many runs, one goes on, rounded up.
    pub keep_one_of: u64,
}

/// Where a trial stands at a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    pub place: usize,
    /// Best macro-F1 on the validation rows up to the rung; `None`: it has not come so far.
    pub macro_f1: Option<f64>,
    /// Of that look, for ties.
    pub loss: f64,
}

impl Halving {
    /// # Errors
    /// The rungs are not ascending, lie at or behind the end of training, or at a step without a look at the validation
    /// rows.
    pub fn check(&self, spec: &TrainSpec) -> Result<(), UserError> {
        let refused = |words: String| Err(UserError::invalid(format!("Successive halving: {words}")));
        if !(2..=10).contains(&self.keep_one_of) {
            return refused(format!("one run of 2 to 10 goes on; {} were given.", self.keep_one_of));
        }
        if self.rungs.is_empty() || self.rungs.len() > MOST_RUNGS {
            return refused(format!(
                "it needs 1 to {MOST_RUNGS} rungs, such as 1, 2; {} were given.",
                self.rungs.len()
            ));
        }
        if self.rungs[0] == 0 || self.rungs.windows(2).any(|pair| pair[0] >= pair[1]) {
            return refused("rungs are whole numbers from 1 on, each larger than the one before.".to_string());
        }
        let last = self.rungs[self.rungs.len() - 1];
        match self.unit {
            RungUnit::Epochs if spec.eval_steps != 0 => refused(format!(
                "rungs in epochs need a look at the validation rows at the end of every epoch: set eval_steps to 0 (it is \
                 {}), or count rungs in steps.",
                spec.eval_steps
            )),
            RungUnit::Epochs if last >= spec.num_train_epochs => refused(format!(
                "a run of {} epochs has no rung at epoch {last}. The last rung lies before the end.",
                spec.num_train_epochs
            )),
            RungUnit::Steps if spec.eval_steps == 0 => refused(
                "rungs in steps need looks at the validation rows by steps: set eval_steps, of which every rung is a \
                 multiple."
                    .to_string(),
            ),
            RungUnit::Steps if self.rungs.iter().any(|rung| rung % spec.eval_steps != 0) => refused(format!(
                "every rung must be a multiple of eval_steps ({}), so that there is a look at the validation rows.",
                spec.eval_steps
            )),
            _ => Ok(()),
        }
    }

    /// Rungs that double from 1 on, for a recipe of so many epochs; `None` where there is no room for one.
    pub fn for_epochs(epochs: u64) -> Option<Self> {
        let rungs: Vec<u64> =
            std::iter::successors(Some(1u64), |rung| rung.checked_mul(2)).take_while(|rung| *rung < epochs).collect();
        (!rungs.is_empty()).then_some(Self { rungs, unit: RungUnit::Epochs, keep_one_of: 2 })
    }

    /// How many of so many go on.
    pub fn keeps(&self, runs: usize) -> usize {
        runs.div_ceil(self.keep_one_of.max(1) as usize).max(runs.min(1))
    }

    /// Whether a step is the last before the rung of this number, counted from 0.
    pub fn is_reached(&self, rung: usize, step: u64, epoch: f64) -> bool {
        let Some(at) = self.rungs.get(rung) else { return false };
        match self.unit {
            RungUnit::Steps => step >= *at,
            // The last step of an epoch is at a whole number: rows done over all rows are 1.
            RungUnit::Epochs => epoch >= *at as f64,
        }
    }

    /// Share of the training of such a run that is done at a rung; 1 behind the last.
    pub fn share(&self, rung: usize, spec: &TrainSpec, train_rows: u64) -> f64 {
        let Some(at) = self.rungs.get(rung) else { return 1.0 };
        let total = match self.unit {
            RungUnit::Epochs => spec.num_train_epochs,
            RungUnit::Steps => train_rows.div_ceil(spec.rows_per_step().max(1)) * spec.num_train_epochs,
        };
        (*at as f64 / total.max(1) as f64).min(1.0)
    }
}

/// Places of those that go on, the best first: by macro-F1 on the validation rows, then by loss there, then by place.
/// Those without a score never do.
pub fn survivors(standings: &[Standing], keep: usize) -> Vec<usize> {
    let mut scored: Vec<&Standing> = standings.iter().filter(|standing| standing.macro_f1.is_some()).collect();
    scored.sort_by(|one, other| better(one, other));
    scored.into_iter().take(keep).map(|standing| standing.place).collect()
}

fn better(one: &Standing, other: &Standing) -> Ordering {
    let score = |standing: &Standing| standing.macro_f1.unwrap_or(f64::NEG_INFINITY);
    score(other).total_cmp(&score(one)).then(one.loss.total_cmp(&other.loss)).then(one.place.cmp(&other.place))
}
