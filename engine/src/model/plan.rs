//! Who sees whom: the sequences of a packed batch as a tree.

use std::ops::Range;

/// Packed tokens and what each of them may attend to.
///
/// Every sequence sees its own tokens causally and, in whole, the sequences it continues: a row continues the shared
/// prefix, a label that is being scored continues its row. Keys may come from a cache; a *key row* is then counted from
/// the beginning of the cache, while a *token row* counts the tokens computed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Position of every token computed now, for the rotary embedding.
    pub positions: Vec<u32>,
    pub sequences: Vec<Sequence>,
    /// Key rows that come from a cache, ahead of those computed now.
    pub cached: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Token rows.
    pub tokens: Range<usize>,
    /// Key rows of what it continues, each seen in whole by every one of its tokens.
    pub context: Vec<Range<usize>>,
}

impl Plan {
    /// No tokens yet, on top of a cache of `cached` key rows.
    pub fn new(cached: usize) -> Self {
        Self { positions: Vec::new(), sequences: Vec::new(), cached }
    }

    /// Appends a sequence of `length` tokens that continues `context`; returns its key rows.
    pub fn push(&mut self, length: usize, context: Vec<Range<usize>>) -> Range<usize> {
        let start = self.positions.len();
        let seen: usize = context.iter().map(Range::len).sum();
        self.positions.extend((0..length).map(|offset| (seen + offset) as u32));
        self.sequences.push(Sequence { tokens: start..start + length, context });
        self.cached + start..self.cached + start + length
    }

    /// Rows first, each continuing a shared prefix of `prefix` tokens that is computed now.
    pub fn for_rows(prefix: usize, rows: &[Range<usize>]) -> Self {
        let mut plan = Self::new(0);
        let context = if prefix == 0 { Vec::new() } else { vec![plan.push(prefix, Vec::new())] };
        for row in rows {
            plan.push(row.len(), context.clone());
        }
        plan
    }

    pub fn tokens(&self) -> usize {
        self.positions.len()
    }
}
