//! Cross-entropy over the vocabulary, a few rows at a time.

use crate::error::EngineError;
use crate::kernels::math::{exp, max, sum, vectorised};
use crate::kernels::{Matrix, edit, empty};
use crate::model::table::Table;
use crate::text::batch::LossEntry;
use candle_core::Tensor;
use rayon::prelude::*;

/// Logits that are alive at a time: 256 rows of a vocabulary of 128,256 are 125 MiB.
const ROWS_AT_A_TIME: usize = 256;

/// Σ weight · -ln softmax(hidden_row · headᵀ)[token], and its gradient with respect to `hidden` times `scale`.
///
/// hidden (R, d), head (V, d), targets in any order → (sum, d_hidden (R, d))
///
/// For one row with targets e: loss = Σ w_e (lse - z_e), so dz = (Σ w_e) softmax(z) - Σ w_e 1_e, and
/// d hidden = dz · head.
pub fn cross_entropy(
    hidden: &Tensor,
    head: &Table,
    targets: &[LossEntry],
    scale: f32,
) -> Result<(f64, Tensor), EngineError> {
    let (rows, width) = hidden.dims2()?;
    let vocabulary = head.vocabulary()?;
    let mut of_row: Vec<Vec<(usize, f32)>> = vec![Vec::new(); rows];
    for target in targets {
        if target.target as usize >= vocabulary {
            return Err(EngineError::invalid(format!("token {} is not in the vocabulary", target.target)));
        }
        of_row[target.row].push((target.target as usize, target.weight));
    }
    let d_hidden = empty(rows, width)?;
    let mut total = 0.0;
    for first in (0..rows).step_by(ROWS_AT_A_TIME) {
        let count = ROWS_AT_A_TIME.min(rows - first);
        let logits = empty(count, vocabulary)?;
        head.logits(&hidden.narrow(0, first, count)?, &logits)?;
        let losses: Vec<f64> = edit(&logits, |logits, _| {
            logits
                .par_chunks_mut(vocabulary)
                .zip(&of_row[first..first + count])
                .map(|(logits, targets)| vectorised(|| row_loss(logits, targets, scale)))
                .collect()
        })?;
        total += losses.iter().sum::<f64>();
        head.logits_backward(&logits, &d_hidden.narrow(0, first, count)?)?;
    }
    Ok((total, d_hidden))
}

/// One row's loss; its logits become their gradient.
#[inline(always)]
fn row_loss(logits: &mut [f32], targets: &[(usize, f32)], scale: f32) -> f64 {
    let largest = max(logits);
    let asked: Vec<f32> = targets.iter().map(|&(token, _)| logits[token]).collect();
    for value in logits.iter_mut() {
        *value = exp(*value - largest);
    }
    let denominator = sum(logits);
    let log_sum_exp = f64::from(largest) + f64::from(denominator).ln();
    let weight: f32 = targets.iter().map(|(_, weight)| weight).sum();
    let share = scale * weight / denominator;
    for value in logits.iter_mut() {
        *value *= share;
    }
    let mut loss = 0.0;
    for (&(token, weight), logit) in targets.iter().zip(asked) {
        logits[token] -= scale * weight;
        loss += f64::from(weight) * (log_sum_exp - f64::from(logit));
    }
    loss
}

/// ln softmax(hidden_row · headᵀ)[token] for every (row, token) asked for, in order.
pub fn log_probabilities(hidden: &Tensor, head: &Table, asked: &[(usize, u32)]) -> Result<Vec<f32>, EngineError> {
    let rows = hidden.dim(0)?;
    let vocabulary = head.vocabulary()?;
    let mut answers = vec![0f32; asked.len()];
    let mut of_row: Vec<Vec<usize>> = vec![Vec::new(); rows];
    for (index, &(row, _)) in asked.iter().enumerate() {
        of_row[row].push(index);
    }
    for first in (0..rows).step_by(ROWS_AT_A_TIME) {
        let count = ROWS_AT_A_TIME.min(rows - first);
        let logits = empty(count, vocabulary)?;
        head.logits(&hidden.narrow(0, first, count)?, &logits)?;
        let logits = Matrix::of(&logits)?;
        let logits = logits.view();
        let of_rows: Vec<Vec<(usize, f32)>> = (0..count)
            .into_par_iter()
            .map(|row| {
                let logits = logits.row(row);
                let log_sum_exp = vectorised(|| {
                    let largest = max(logits);
                    let mut denominator = 0f64;
                    for chunk in logits.chunks(256) {
                        let mut exponentials = [0f32; 256];
                        for (exponential, value) in exponentials.iter_mut().zip(chunk) {
                            *exponential = exp(*value - largest);
                        }
                        denominator += f64::from(sum(&exponentials));
                    }
                    f64::from(largest) + denominator.ln()
                });
                let indices = &of_row[first + row];
                indices.iter().map(|&i| (i, (f64::from(logits[asked[i].1 as usize]) - log_sum_exp) as f32)).collect()
            })
            .collect();
        for (index, answer) in of_rows.into_iter().flatten() {
            answers[index] = answer;
        }
    }
    Ok(answers)
}
