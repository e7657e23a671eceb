//! The training rows as tokens, and the order in which they are seen.

use crate::error::EngineError;
use crate::text::batch::TokenRow;
use crate::text::template::{EncodedPrompt, PromptEncoder};
use crate::train::recipe::Example;
use domain::dataset::mix;

/// Prompts with their labels behind them, and the number of texts that were cut to fit.
pub fn training_rows(encoder: &PromptEncoder, examples: &[Example], completion_only: bool) -> (Vec<TokenRow>, usize) {
    let mut cut = 0;
    let row = |example: &Example| {
        let prompt = encoder.encode(&example.text);
        cut += usize::from(prompt.cut);
        let mut tokens = prompt.tokens;
        let loss_from = if completion_only { tokens.len() } else { 1 };
        tokens.extend(&encoder.labels()[example.label]);
        TokenRow { tokens, loss_from }
    };
    let rows = examples.iter().map(row).collect();
    (rows, cut)
}

/// Prompts alone, for scoring.
pub fn prompts(encoder: &PromptEncoder, examples: &[Example]) -> Vec<EncodedPrompt> {
    examples.iter().map(|example| encoder.encode(&example.text)).collect()
}

/// Every example's label is one of the labels.
pub fn check_labels(examples: &[Example], labels: usize) -> Result<(), EngineError> {
    match examples.iter().find(|example| example.label >= labels) {
        Some(example) => Err(EngineError::invalid(format!(
            "a row is labelled {}, and there are only {labels} labels",
            example.label
        ))),
        None => Ok(()),
    }
}

/// The order of an epoch: a Fisher-Yates shuffle whose draws depend on the seed and the epoch alone, so that a resumed
/// run sees the rows that it would have seen.
pub fn order_of_epoch(rows: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let stream = mix(mix(seed) ^ mix(epoch.wrapping_add(0x6570_6f63)));
    let mut order: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        let draw = mix(stream ^ last as u64);
        // Multiply-shift maps 64 random bits onto 0..=last with a bias below 2^-40 for any real number of rows.
        let other = ((u128::from(draw) * (last as u128 + 1)) >> 64) as usize;
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_row_once_and_no_two_epochs_are_alike() {
        let order = order_of_epoch(100, 7, 0);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(order, order_of_epoch(100, 7, 0));
        assert_ne!(order, order_of_epoch(100, 7, 1));
        assert_ne!(order, order_of_epoch(100, 8, 0));
        assert!(order_of_epoch(0, 0, 0).is_empty());
    }
}
