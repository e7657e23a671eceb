//! The whole of an experiment, timed part by part.

use super::{BenchRequest, BenchRows, common_prefix, learner};
use crate::classify::Scorer;
use crate::error::EngineError;
use crate::memory::with_fitting_rows;
use crate::network::{Adapter, Network};
use crate::text::batch::TokenRow;
use crate::train::optimizer::clip_coefficient;
use crate::train::rows::order_of_epoch;
use crate::train::schedule::learning_rate;
use domain::spec::TrainSpec;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// Seconds of each part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    pub before_seconds: f64,
    pub training_seconds: f64,
    pub after_seconds: f64,
    pub steps: usize,
    /// Of training, over all epochs.
    pub rows_per_second: f64,
}

/// Scores all test prompts without an adapter, trains one for so many epochs over all training rows, and scores again
/// with it. Unlike [`super::training`] nothing runs before the clock does: what a process pays once is part of this.
///
/// `on_step` gets the steps done, all steps and the loss; as training begins 0 steps, whose loss is no number.
pub fn experiment(
    network: &Network,
    request: &BenchRequest,
    rows: &BenchRows,
    epochs: usize,
    on_step: &mut dyn FnMut(usize, usize, f64),
) -> Result<Experiment, EngineError> {
    let spec = request.spec();
    let before_seconds = seconds_of_scoring(network, None, rows)?;

    let began = Instant::now();
    let mut learner = learner(network, request)?;
    let mut micro_batch = network.micro_batch(&spec).max(1);
    let rows_per_step = request.rows_per_step.max(1);
    let total = epochs * rows.train.len().div_ceil(rows_per_step);
    on_step(0, total, f64::NAN);
    let mut step = 0;
    for epoch in 0..epochs {
        let order = order_of_epoch(rows.train.len(), spec.seed, epoch as u64);
        for chosen in order.chunks(rows_per_step) {
            let chosen: Vec<&TokenRow> = chosen.iter().map(|&row| &rows.train[row]).collect();
            let (found, fitting) =
                with_fitting_rows(micro_batch, |micro_batch| learner.gradient(&chosen, micro_batch, None))?;
            micro_batch = fitting;
            if !found.loss.is_finite() {
                return Err(EngineError::Diverged("the loss is no number".to_string()));
            }
            let coefficient = clip_coefficient(found.norm, spec.max_grad_norm);
            learner.update(coefficient, learning_rate(&spec, step as u64, total as u64))?;
            step += 1;
            on_step(step, total, found.loss);
        }
    }
    // The last update is still under way when its call returns.
    network.synchronize()?;
    let training_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let adapter = network.place(&learner.lora()?)?;
    let placing_seconds = began.elapsed().as_secs_f64();
    let after_seconds = placing_seconds + seconds_of_scoring(network, Some(&adapter), rows)?;
    let rows_per_second = (epochs * rows.train.len()) as f64 / training_seconds.max(1e-9);
    Ok(Experiment { before_seconds, training_seconds, after_seconds, steps: step, rows_per_second })
}

fn seconds_of_scoring(network: &Network, adapter: Option<&Adapter>, rows: &BenchRows) -> Result<f64, EngineError> {
    let began = Instant::now();
    let scorer = Scorer::of_tokens(network, adapter, common_prefix(&rows.test), &rows.labels)?;
    let batch_size = TrainSpec::default().per_device_eval_batch_size as usize;
    let answers = scorer.predict(&rows.test, batch_size, &mut |_, _| ControlFlow::Continue(()))?;
    if answers.is_none_or(|answers| answers.len() != rows.test.len()) {
        return Err(EngineError::invalid("not every prompt was answered"));
    }
    Ok(began.elapsed().as_secs_f64())
}
