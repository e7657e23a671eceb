//! The training rows as tokens, and the order in which they are seen.

use crate::error::EngineError;
use crate::text::batch::TokenRow;
use crate::text::template::{EncodedPrompt, PromptEncoder};
use crate::train::recipe::Example;
use domain::class_weights::ClassWeights;
use domain::dataset::mix;
use domain::spec::TrainSpec;
use std::collections::BTreeMap;

/// Prompts with their labels behind them, and the number of texts that were cut to fit. `label_weights[l]` is how much a
/// row of label `l` counts in the loss.
pub fn training_rows(
    encoder: &PromptEncoder,
    examples: &[Example],
    completion_only: bool,
    label_weights: &[f32],
) -> (Vec<TokenRow>, usize) {
    let mut cut = 0;
    let row = |example: &Example| {
        let prompt = encoder.encode(&example.text);
        cut += usize::from(prompt.cut);
        let mut tokens = prompt.tokens;
        let loss_from = if completion_only { tokens.len() } else { 1 };
        tokens.extend(&encoder.labels()[example.label]);
        TokenRow { tokens, loss_from, weight: label_weights[example.label] }
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

/// What an epoch goes through: every row once, or every label equally often.
pub fn draws_of_epoch(examples: &[Example], spec: &TrainSpec, epoch: u64) -> Vec<usize> {
    if !spec.balanced_sampling {
        return order_of_epoch(examples.len(), spec.seed, epoch);
    }
    let labels: Vec<usize> = examples.iter().map(|example| example.label).collect();
    balanced_order_of_epoch(&labels, spec.seed, epoch)
}

/// What the recipe makes of the labels, for the log; empty where it treats all rows alike.
pub fn describe_balance(spec: &TrainSpec, labels: &[String], label_weights: &[f32]) -> String {
    let mut words = String::new();
    if spec.balanced_sampling {
        words += " Every label is drawn equally often.";
    }
    if spec.class_weights != ClassWeights::None {
        let weights = labels.iter().zip(label_weights).map(|(label, weight)| format!("{label} {weight:.3}"));
        words += &format!(" Weights in the loss: {}.", weights.collect::<Vec<_>>().join(", "));
    }
    words
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

/// An epoch of as many draws as there are rows, every label equally often; where that does not divide, the first labels
/// once more. `labels[r]` is the label of row `r`.
///
/// Each label's rows come in whole shuffled rounds, one after the other, through all epochs: no row comes a third time
/// before every row of its label has come twice, and a frequent label's rows all have their turn. Which part of the rounds
/// an epoch takes follows from its number alone, so that a resumed run sees the rows that it would have seen.
fn balanced_order_of_epoch(labels: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut rows_of_label: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, label) in labels.iter().enumerate() {
        rows_of_label.entry(*label).or_default().push(row);
    }
    let (rows, label_count) = (labels.len(), rows_of_label.len().max(1));
    let mut drawn = Vec::with_capacity(rows);
    for (place, (label, own)) in rows_of_label.iter().enumerate() {
        let draws = rows / label_count + usize::from(place < rows % label_count);
        let first = u128::from(epoch) * draws as u128;
        let stream = mix(seed ^ mix(*label as u64 + 1));
        let mut round = (first / own.len() as u128) as u64;
        let mut within = (first % own.len() as u128) as usize;
        let mut left = draws;
        while left > 0 {
            let order = order_of_epoch(own.len(), stream, round);
            let taken = left.min(own.len() - within);
            drawn.extend(order[within..within + taken].iter().map(|&at| own[at]));
            (left, within) = (left - taken, 0);
            round = round.wrapping_add(1);
        }
    }
    order_of_epoch(drawn.len(), seed, epoch).into_iter().map(|at| drawn[at]).collect()
}

/// The weight of every label in the loss.
///
/// # Errors
/// The recipe gives a weight to a label that is not there.
pub fn label_weights(spec: &TrainSpec, labels: &[String], examples: &[Example]) -> Result<Vec<f32>, EngineError> {
    let mut rows = vec![0; labels.len()];
    for example in examples {
        rows[example.label] += 1;
    }
    spec.class_weights.per_label(labels, &rows).map_err(|error| EngineError::invalid(error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balanced_epoch_draws_every_label_equally_often_and_rows_in_turns() {
        // 60 rows of label 0, 8 of label 2, 3 of label 5.
        let labels: Vec<usize> = (0..71)
            .map(|row| {
                if row < 60 {
                    0
                } else if row < 68 {
                    2
                } else {
                    5
                }
            })
            .collect();
        let mut times = vec![0; labels.len()];
        for epoch in 0..5 {
            let order = balanced_order_of_epoch(&labels, 7, epoch);
            assert_eq!(order.len(), labels.len());
            let draws = |label| order.iter().filter(|&&row| labels[row] == label).count();
            assert_eq!([draws(0), draws(2), draws(5)], [24, 24, 23]);
            for &row in &order {
                times[row] += 1;
            }
            for label in [0, 2, 5] {
                let of = |(row, times): (usize, &i32)| (labels[row] == label).then_some(*times);
                let times: Vec<i32> = times.iter().enumerate().filter_map(of).collect();
                let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
                assert!(most - least <= 1, "epoch {epoch}, label {label}: {times:?}");
            }
        }
        assert_eq!(balanced_order_of_epoch(&labels, 7, 3), balanced_order_of_epoch(&labels, 7, 3));
        assert_ne!(balanced_order_of_epoch(&labels, 7, 3), balanced_order_of_epoch(&labels, 7, 4));
        assert_ne!(balanced_order_of_epoch(&labels, 7, 3), balanced_order_of_epoch(&labels, 8, 3));
        assert!(balanced_order_of_epoch(&[], 0, 0).is_empty());
    }

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
