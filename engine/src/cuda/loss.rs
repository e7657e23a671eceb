//! Cross-entropy over the vocabulary on a card, a few rows of logits at a time.

use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::gemm::Product;
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use std::sync::Arc;

/// Bytes of logits that are alive at a time: the more rows, the fewer times the output layer is read.
const PIECE_BYTES: usize = 512 << 20;

/// Of the free memory, as much at most.
const SHARE_OF_FREE: usize = 4;

/// Threads that own a row of logits.
const THREADS: usize = 512;

/// Bytes of a piece: logits in f32 and their gradient in bf16.
pub(super) fn piece_bytes(vocabulary: usize) -> usize {
    PIECE_BYTES.max(vocabulary * 6 * 8)
}

/// Rows of logits that are alive at a time, a multiple of eight.
fn rows_at_a_time(card: &Card, vocabulary: usize) -> Result<usize, EngineError> {
    let bytes = piece_bytes(vocabulary).min(card.free_bytes()? / SHARE_OF_FREE);
    Ok((bytes / (vocabulary * 6) / 8 * 8).max(8))
}

/// What each row should predict: for row r the entries `first[r] .. first[r + 1]`.
pub(super) struct RowTargets {
    first: Buffer,
    tokens: Buffer,
    weights: Buffer,
}

impl RowTargets {
    /// From (row, token, weight) in any order.
    pub fn new(
        card: &Arc<Card>,
        vocabulary: usize,
        rows: usize,
        targets: impl Iterator<Item = (usize, u32, f32)>,
    ) -> Result<Self, EngineError> {
        let mut targets: Vec<_> = targets.collect();
        if let Some((_, token, _)) = targets.iter().find(|(_, token, _)| *token as usize >= vocabulary) {
            return Err(EngineError::invalid(format!("token {token} is not in the vocabulary")));
        }
        targets.sort_unstable_by_key(|(row, token, _)| (*row, *token));
        let first: Vec<i32> = (0..=rows).map(|row| targets.partition_point(|target| target.0 < row) as i32).collect();
        let tokens: Vec<i32> = targets.iter().map(|target| target.1 as i32).collect();
        let weights: Vec<f32> = targets.iter().map(|target| target.2).collect();
        Ok(Self {
            first: Buffer::of(card, &first)?,
            tokens: Buffer::of(card, &tokens)?,
            weights: Buffer::of(card, &weights)?,
        })
    }

    /// Where the entries' beginnings for the rows from `row` on are.
    fn first_of(&self, row: usize) -> u64 {
        self.first.address + (row * size_of::<i32>()) as u64
    }
}

/// Σ weight · -ln softmax(hidden · headᵀ)[token] row by row, (1, R) f32, and its gradient with respect to `hidden` times
/// `scale`, (R, d).
pub(super) fn cross_entropy(
    hidden: &Matrix,
    head: &Matrix,
    targets: &RowTargets,
    scale: f32,
) -> Result<(Matrix, Matrix), EngineError> {
    let (card, rows, vocabulary) = (hidden.card(), hidden.rows, head.rows);
    let losses = Matrix::new(card, Kind::F32, 1, rows)?;
    let d_hidden = Matrix::new(card, Kind::Bf16, rows, hidden.columns)?;
    let at_a_time = rows_at_a_time(card, vocabulary)?.min(rows);
    let logits = Matrix::new(card, Kind::F32, at_a_time, vocabulary)?;
    let d_logits = Matrix::new(card, Kind::Bf16, at_a_time, vocabulary)?;
    for first in (0..rows).step_by(at_a_time.max(1)) {
        let own = first..(first + at_a_time).min(rows);
        let (logits, d_logits) = (logits.narrow_rows(0..own.len()), d_logits.narrow_rows(0..own.len()));
        Product::transposed(&hidden.narrow_rows(own.clone()), head, &logits).run()?;
        let losses = losses.narrow_columns(own.clone());
        let launch = Launch::rows(own.len(), THREADS);
        card.launch(
            "cross_entropy",
            launch,
            &[
                &&logits,
                &&d_logits,
                &&losses,
                &targets.first_of(first),
                &targets.tokens.address,
                &targets.weights.address,
                &(vocabulary as i32),
                &scale,
            ],
        )?;
        Product::plain(&d_logits, head, &d_hidden.narrow_rows(own)).run()?;
    }
    Ok((losses, d_hidden))
}

/// ln softmax(hidden row · headᵀ)[token] for every (row, token) asked for, in order.
pub(super) fn log_probabilities(
    hidden: &Matrix,
    head: &Matrix,
    asked: &[(usize, u32)],
) -> Result<Vec<f32>, EngineError> {
    let (card, rows, vocabulary) = (hidden.card(), hidden.rows, head.rows);
    let mut order: Vec<usize> = (0..asked.len()).collect();
    order.sort_by_key(|&index| asked[index].0);
    let entries = order.iter().map(|&index| (asked[index].0, asked[index].1));
    let tokens: Vec<i32> = entries.clone().map(|(_, token)| token as i32).collect();
    let of_rows: Vec<usize> = entries.map(|(row, _)| row).collect();
    if tokens.iter().any(|&token| token as usize >= vocabulary) || of_rows.last().is_some_and(|&row| row >= rows) {
        return Err(EngineError::invalid("a token or a row that is asked for does not exist"));
    }
    let first: Vec<i32> = (0..=rows).map(|row| of_rows.partition_point(|&of| of < row) as i32).collect();
    let (first, tokens) = (Buffer::of(card, &first)?, Buffer::of(card, &tokens)?);
    let answers = Matrix::new(card, Kind::F32, 1, asked.len())?;
    let at_a_time = rows_at_a_time(card, vocabulary)?.min(rows);
    let logits = Matrix::new(card, Kind::F32, at_a_time, vocabulary)?;
    for begin in (0..rows).step_by(at_a_time.max(1)) {
        let own = begin..(begin + at_a_time).min(rows);
        let logits = logits.narrow_rows(0..own.len());
        Product::transposed(&hidden.narrow_rows(own.clone()), head, &logits).run()?;
        let first = first.address + (begin * size_of::<i32>()) as u64;
        card.launch(
            "log_probabilities",
            Launch::rows(own.len(), THREADS),
            &[&&logits, &&answers, &first, &tokens.address, &(vocabulary as i32)],
        )?;
    }
    let sorted = answers.read()?;
    let mut answers = vec![0f32; asked.len()];
    for (&index, answer) in order.iter().zip(sorted) {
        answers[index] = answer;
    }
    Ok(answers)
}

/// (R, V) f32, for tests and tools.
pub(super) fn logits(hidden: &Matrix, head: &Matrix) -> Result<Matrix, EngineError> {
    let logits = Matrix::new(hidden.card(), Kind::F32, hidden.rows, head.rows)?;
    Product::transposed(hidden, head, &logits).run()?;
    Ok(logits)
}
