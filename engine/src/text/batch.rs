//! Packing: rows side by side without padding, their common beginning only once.

use std::borrow::Borrow;
use std::ops::Range;

/// One row as tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRow {
    pub tokens: Vec<u32>,
    /// The first token that carries loss, at least 1 since nothing predicts token 0. Completion-only: the length of
    /// the prompt; full text: 1; scoring: the length of the row, for none.
    pub loss_from: usize,
    /// How much each of its tokens counts in the loss, above 0; 1 unless its label has a weight of its own.
    pub weight: f32,
}

/// One prediction that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossEntry {
    /// Index into [`PackedBatch::tokens`]: the logits computed there ...
    pub row: usize,
    /// ... should name this token.
    pub target: u32,
    /// The weights of the rows of the batch that share this prediction, added up.
    pub weight: f32,
}

/// Token rows packed without padding: one shared prefix, then every row's own tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedBatch {
    pub tokens: Vec<u32>,
    /// Position of each token within its row, for RoPE.
    pub positions: Vec<u32>,
    /// `tokens[..prefix_len]` begin every row.
    pub prefix_len: usize,
    /// Own tokens of each row in `tokens`, in the order of the rows, none of them empty.
    pub sequences: Vec<Range<usize>>,
    /// Sorted by `row`. Their weights add up to those of the tokens that carry loss in all rows.
    pub losses: Vec<LossEntry>,
}

impl PackedBatch {
    /// Packs rows of at least one token each.
    ///
    /// The prefix is the longest beginning common to all rows, at most one token less than the shortest row, so that
    /// every row keeps a token of its own; there is none for a single row or without `share_prefix`. The loss of a
    /// batch is sum(weight * cross entropy at row against target) / sum(weight), with or without sharing.
    ///
    /// The last token of a row predicts nothing and is left out, unless it is the only one the row has of its own.
    pub fn pack<R: Borrow<TokenRow>>(rows: &[R], share_prefix: bool) -> Self {
        let prefix_len = if share_prefix && rows.len() > 1 { common_prefix(rows) } else { 0 };
        let prefix = rows.first().map_or(&[][..], |row| &row.borrow().tokens[..prefix_len]);
        let mut batch = Self {
            tokens: prefix.to_vec(),
            positions: (0..prefix_len as u32).collect(),
            prefix_len,
            sequences: Vec::with_capacity(rows.len()),
            losses: Vec::new(),
        };
        for row in rows.iter().map(Borrow::borrow) {
            debug_assert!(!row.tokens.is_empty() && row.loss_from >= 1);
            let start = batch.tokens.len();
            let computed = (row.tokens.len() - 1).max(prefix_len + 1).min(row.tokens.len());
            batch.tokens.extend_from_slice(&row.tokens[prefix_len..computed]);
            batch.positions.extend(prefix_len as u32..computed as u32);
            batch.sequences.push(start..batch.tokens.len());
            for index in row.loss_from.max(1)..row.tokens.len() {
                let at = index - 1;
                let packed = if at < prefix_len { at } else { start + at - prefix_len };
                batch.losses.push(LossEntry { row: packed, target: row.tokens[index], weight: row.weight });
            }
        }
        batch.losses.sort_unstable_by_key(|entry| (entry.row, entry.target));
        // Within the prefix all rows predict the same; at its last token, rows that go on alike do.
        batch.losses.dedup_by(|entry, kept| {
            let same = (entry.row, entry.target) == (kept.row, kept.target);
            if same {
                kept.weight += entry.weight;
            }
            same
        });
        batch
    }

    /// Tokens that carry loss, over all rows, each by its row's weight.
    pub fn loss_tokens(&self) -> f32 {
        self.losses.iter().map(|entry| entry.weight).sum()
    }
}

fn common_prefix<R: Borrow<TokenRow>>(rows: &[R]) -> usize {
    let Some(first) = rows.first().map(Borrow::borrow) else { return 0 };
    let shortest = rows.iter().map(|row| row.borrow().tokens.len()).min().unwrap_or(0);
    let mut length = shortest.saturating_sub(1);
    for row in &rows[1..] {
        let common = row.borrow().tokens.iter().zip(&first.tokens).take_while(|(one, other)| one == other).count();
        length = length.min(common);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tokens: &[u32], loss_from: usize) -> TokenRow {
        TokenRow { tokens: tokens.to_vec(), loss_from, weight: 1.0 }
    }

    /// Tokens of a row as its computation sees them.
    fn unpack(batch: &PackedBatch, index: usize) -> Vec<u32> {
        let own = batch.sequences[index].clone();
        assert!(!own.is_empty());
        let mut tokens = batch.tokens[..batch.prefix_len].to_vec();
        tokens.extend(&batch.tokens[own.clone()]);
        let mut positions = batch.positions[..batch.prefix_len].to_vec();
        positions.extend(&batch.positions[own]);
        assert!(positions.iter().copied().eq(0..tokens.len() as u32));
        tokens
    }

    fn check(rows: &[TokenRow]) {
        for share in [false, true] {
            let batch = PackedBatch::pack(rows, share);
            let carrying: usize = rows.iter().map(|row| row.tokens.len().saturating_sub(row.loss_from)).sum();
            assert_eq!(batch.loss_tokens(), carrying as f32);
            for (index, row) in rows.iter().enumerate() {
                let tokens = unpack(&batch, index);
                assert!(row.tokens.starts_with(&tokens));
                assert!(tokens.len() + 1 >= row.tokens.len());
            }
            // Every target of every row is found where its row's previous token stands.
            let mut weights: Vec<f32> = batch.losses.iter().map(|entry| entry.weight).collect();
            for (index, row) in rows.iter().enumerate() {
                for target in row.loss_from..row.tokens.len() {
                    let at = target - 1;
                    let packed = match at.checked_sub(batch.prefix_len) {
                        None => at,
                        Some(own) => batch.sequences[index].start + own,
                    };
                    let entry = batch
                        .losses
                        .iter()
                        .position(|entry| (entry.row, entry.target) == (packed, row.tokens[target]))
                        .expect("an entry for every target");
                    weights[entry] -= 1.0;
                }
            }
            assert!(weights.iter().all(|weight| *weight == 0.0));
        }
    }

    #[test]
    fn packs_and_unpacks_all_kinds_of_rows() {
        check(&[row(&[1, 2, 3, 4, 5], 4), row(&[1, 2, 3, 9, 5], 4), row(&[1, 2, 3, 4, 6, 7], 4)]);
        check(&[row(&[1, 2, 3, 4, 5], 1), row(&[1, 2, 3, 9, 5], 1), row(&[1, 2, 3], 1)]);
        check(&[row(&[1, 2, 3], 2), row(&[1, 2, 3], 2), row(&[1, 2, 3], 3)]);
        check(&[row(&[1, 2], 1), row(&[1, 2, 3, 4], 1)]);
        check(&[row(&[7], 1), row(&[7, 8], 1)]);
        check(&[row(&[7, 8, 9], 1)]);
        check(&[row(&[1, 2, 3], 1), row(&[4, 2, 3], 1)]);
    }

    #[test]
    fn the_prefix_is_shared_and_its_losses_are_merged() {
        let batch = PackedBatch::pack(&[row(&[1, 2, 3, 4], 1), row(&[1, 2, 5, 6], 1), row(&[1, 2, 3, 7], 1)], true);
        assert_eq!(batch.prefix_len, 2);
        assert_eq!(batch.tokens, [1, 2, 3, 5, 3]);
        assert_eq!(batch.positions, [0, 1, 2, 2, 2]);
        assert_eq!(batch.sequences, [2..3, 3..4, 4..5]);
        let losses: Vec<_> = batch.losses.iter().map(|entry| (entry.row, entry.target, entry.weight)).collect();
        assert_eq!(losses, [(0, 2, 3.0), (1, 3, 2.0), (1, 5, 1.0), (2, 4, 1.0), (3, 6, 1.0), (4, 7, 1.0)]);
    }

    #[test]
    fn rows_that_share_a_prediction_add_up_their_weights() {
        let weighted = |tokens: &[u32], weight| TokenRow { weight, ..row(tokens, 1) };
        let batch = PackedBatch::pack(&[weighted(&[1, 2, 3], 0.5), weighted(&[1, 2, 4], 3.0)], true);
        let losses: Vec<_> = batch.losses.iter().map(|entry| (entry.row, entry.target, entry.weight)).collect();
        assert_eq!(losses, [(0, 2, 3.5), (1, 3, 0.5), (1, 4, 3.0)]);
        assert_eq!(batch.loss_tokens(), 7.0);
    }

    #[test]
    fn a_single_row_shares_nothing_and_drops_its_last_token() {
        let batch = PackedBatch::pack(&[row(&[1, 2, 3], 2)], true);
        assert_eq!((batch.prefix_len, batch.tokens.as_slice()), (0, &[1, 2][..]));
        assert_eq!(batch.losses, [LossEntry { row: 1, target: 3, weight: 1.0 }]);
    }

    #[test]
    fn no_rows_make_an_empty_batch() {
        assert_eq!(PackedBatch::pack::<TokenRow>(&[], true).tokens.len(), 0);
    }
}
