//! The rows of a scoring pass side by side, and which of the pass's answers belong to which label of which row.

use crate::model::plan::Plan;
use crate::network::{Cache, NetworkPass};
use crate::text::template::EncodedPrompt;
use std::ops::Range;

/// The labels as paths of tokens. The first token of every label is asked for where the prompt ends; of longer labels
/// the tokens before the last are appended behind each row, a path that is the beginning of another only once.
pub struct LabelPaths {
    pub labels: Vec<Vec<u32>>,
    pub chains: Vec<Vec<u32>>,
    /// Per label of several tokens, the chain that it runs along.
    pub chain_of: Vec<usize>,
}

impl LabelPaths {
    pub fn new(labels: &[Vec<u32>]) -> Self {
        let mut inner: Vec<&[u32]> = labels.iter().map(|label| &label[..label.len() - 1]).collect();
        inner.sort_by_key(|path| std::cmp::Reverse(path.len()));
        let mut chains: Vec<Vec<u32>> = Vec::new();
        for path in inner {
            if !path.is_empty() && !chains.iter().any(|chain| chain.starts_with(path)) {
                chains.push(path.to_vec());
            }
        }
        let chain_of = labels
            .iter()
            .map(|label| chains.iter().position(|chain| chain.starts_with(&label[..label.len() - 1])).unwrap_or(0))
            .collect();
        Self { labels: labels.to_vec(), chains, chain_of }
    }
}

/// What a pass computes: prompts, each continuing a beginning whose keys and values are cached, and behind them the
/// labels.
pub struct Layout {
    plan: Plan,
    tokens: Vec<u32>,
    output_rows: Vec<usize>,
    /// (output row, token) for every token of every label of every row.
    pub asked: Vec<(usize, u32)>,
    /// Per row, in the order in which rows were pushed: tokens of each label.
    label_lengths: Vec<Vec<usize>>,
}

/// What one call of [`Layout::push`] has taken.
pub struct Pushed {
    pub tokens: Range<usize>,
    /// Indices into the list of output rows.
    pub outputs: Range<usize>,
}

impl Layout {
    /// Nothing yet, on top of a cache of so many tokens.
    pub fn new(cached: usize) -> Self {
        let plan = Plan::new(cached);
        Self { plan, tokens: Vec::new(), output_rows: Vec::new(), asked: Vec::new(), label_lengths: Vec::new() }
    }

    /// Adds prompts, each with the key rows of the cache that hold its beginning.
    pub fn push<'p>(
        &mut self,
        labels: &LabelPaths,
        prompts: impl Iterator<Item = (&'p EncodedPrompt, Range<usize>)>,
    ) -> Pushed {
        let (first_token, first_output, cached) = (self.tokens.len(), self.output_rows.len(), self.plan.cached);
        let lengths: Vec<usize> = labels.labels.iter().map(Vec::len).collect();
        let mut rows = Vec::new();
        for (prompt, prefix) in prompts {
            let own = &prompt.tokens[prefix.len()..];
            let context = if prefix.is_empty() { Vec::new() } else { vec![prefix] };
            self.tokens.extend_from_slice(own);
            let keys = self.plan.push(own.len(), context.clone());
            rows.push((keys, context));
            self.label_lengths.push(lengths.clone());
        }
        let mut chains = Vec::with_capacity(rows.len() * labels.chains.len());
        for (keys, context) in &rows {
            let context: Vec<Range<usize>> = context.iter().chain([keys]).cloned().collect();
            for chain in &labels.chains {
                self.tokens.extend_from_slice(chain);
                let keys = self.plan.push(chain.len(), context.clone());
                chains.push(keys.start - cached..keys.end - cached);
            }
        }

        // Output rows: the end of each prompt, then every token of every chain.
        self.output_rows.extend(rows.iter().map(|(keys, _)| keys.end - cached - 1));
        self.output_rows.extend(chains.iter().cloned().flatten());
        for row in 0..rows.len() {
            for (label, tokens) in labels.labels.iter().enumerate() {
                self.asked.push((first_output + row, tokens[0]));
                if tokens.len() > 1 {
                    let chain = &chains[row * labels.chains.len() + labels.chain_of[label]];
                    let first = self.output_rows.partition_point(|&output| output < chain.start);
                    self.asked.extend(tokens[1..].iter().enumerate().map(|(offset, &token)| (first + offset, token)));
                }
            }
        }
        Pushed { tokens: first_token..self.tokens.len(), outputs: first_output..self.output_rows.len() }
    }

    /// The pass, without an adapter.
    pub fn pass<'a>(&'a self, cache: Option<&'a Cache>) -> NetworkPass<'a> {
        NetworkPass {
            tokens: &self.tokens,
            plan: &self.plan,
            adapter: None,
            output_rows: Some(&self.output_rows),
            cache,
        }
    }

    /// From the answers to what is asked: ln p(label | prompt) for every row, each the sum over the label's tokens.
    pub fn scores(&self, answers: Vec<f32>) -> Vec<Vec<f32>> {
        let mut answers = answers.into_iter();
        let of_row = |lengths: &Vec<usize>| lengths.iter().map(|&length| answers.by_ref().take(length).sum()).collect();
        self.label_lengths.iter().map(of_row).collect()
    }
}
