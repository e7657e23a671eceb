//! A Llama on one card: whole passes, forward and backward.

use crate::cuda::adapter::CudaAdapter;
use crate::cuda::attention::AttentionPlan;
use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::layer::{Into, LayerPass, Saved, rms_norm, rms_norm_backward};
use crate::cuda::loss::{self, RowTargets};
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::weights::{CudaGroup, Expanded};
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::linear::Dropout;
use crate::model::plan::Plan;
use crate::text::batch::LossEntry;
use domain::dataset::mix;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Share of the free memory that dequantised weights may take: activations, gradients and other users need the rest.
const SHARE_FOR_EXPANDED: f64 = 0.6;

/// Packed tokens are filled up to a multiple of this, so that every operand begins at a multiple of 16 bytes.
const TOKENS_AT_ONCE: usize = 8;

/// Whether weights are kept dequantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepExpanded {
    WhenMemoryAllows,
    /// For measuring, and for tests of the other way.
    Never,
}

/// A frozen Llama on a card.
pub struct CudaLlama {
    pub card: Arc<Card>,
    pub config: LlamaConfig,
    /// (V, d)
    pub(super) embedding: Table,
    pub(super) layers: Vec<CudaLayer>,
    /// (1, d)
    pub(super) norm: Matrix,
    /// (V, d); the embedding itself where the two are tied.
    pub(super) head: Matrix,
    /// (positions, head_dim / 2)
    pub(super) cosines: Matrix,
    pub(super) sines: Matrix,
    pub(super) expanded: Mutex<Option<Expanded>>,
    pub(super) keep: KeepExpanded,
}

pub(super) enum Table {
    Card(Matrix),
    /// Read over the bus where the card's memory is short.
    Host(Buffer),
}

/// One block's weights.
pub(super) struct CudaLayer {
    pub input_norm: Matrix,
    pub post_attention_norm: Matrix,
    /// q, k, v · o · gate, up · down
    pub groups: [CudaGroup; 4],
    pub head_norms: Option<CudaHeadNorms>,
}

/// See `model::llama::HeadNorms`.
pub(super) struct CudaHeadNorms {
    pub query: Matrix,
    pub key: Matrix,
}

impl CudaHeadNorms {
    /// Each with the columns of [q | k] that it norms: q's end where k's begin.
    pub fn parts(&self, query_width: usize, width: usize) -> [(&Matrix, Range<usize>); 2] {
        [(&self.query, 0..query_width), (&self.key, query_width..width)]
    }
}

/// What is computed in one pass; see `model::llama::Pass`.
#[derive(Clone, Copy)]
pub struct CudaPass<'a> {
    pub tokens: &'a [u32],
    pub plan: &'a Plan,
    pub adapter: Option<&'a CudaAdapter>,
    pub output_rows: Option<&'a [usize]>,
    pub cache: Option<&'a CudaCache>,
    pub dropout: Option<Dropout>,
}

/// Keys and values of tokens that have been computed, (tokens, key-value width) each, per layer.
#[derive(Clone, Default)]
pub struct CudaCache {
    layers: Vec<(Matrix, Matrix)>,
    pub tokens: usize,
}

impl CudaCache {
    /// The first so many tokens alone.
    pub fn narrow(&self, tokens: usize) -> Self {
        let first = |(k, v): &(Matrix, Matrix)| (k.narrow_rows(0..tokens), v.narrow_rows(0..tokens));
        Self { layers: self.layers.iter().map(first).collect(), tokens }
    }
}

/// A pass brought to the card.
pub(super) struct Prepared {
    /// With their filling.
    pub tokens: usize,
    /// Token ids, positions, and the rows whose output is wanted.
    numbers: Buffer,
    pub attention: AttentionPlan,
    /// How many rows' output is wanted, and how many they are with their filling; `None`: all tokens'.
    pub asked: Option<(usize, usize)>,
}

impl Prepared {
    fn new(llama: &CudaLlama, pass: &CudaPass, backward: bool) -> Result<Self, EngineError> {
        if let Some(token) = pass.tokens.iter().find(|&&token| token as usize >= llama.config.vocab_size) {
            return Err(EngineError::invalid(format!("token {token} is not in the model's vocabulary")));
        }
        if let Some(position) = pass.plan.positions.iter().find(|&&position| position as usize >= llama.cosines.rows) {
            return Err(EngineError::invalid(format!(
                "position {position} lies beyond the context of {} tokens",
                llama.cosines.rows
            )));
        }
        if pass.tokens.len() != pass.plan.tokens() {
            return Err(EngineError::invalid("a pass has other tokens than its plan"));
        }
        if pass.output_rows.is_some_and(|rows| rows.iter().any(|&row| row >= pass.tokens.len())) {
            return Err(EngineError::invalid("a row that is asked for does not exist"));
        }
        let mut plan = pass.plan.clone();
        let filling = plan.tokens().next_multiple_of(TOKENS_AT_ONCE) - plan.tokens();
        if filling > 0 {
            // Tokens that nobody sees and that carry no loss: their gradients are zero.
            plan.push(filling, Vec::new());
        }
        let tokens = plan.tokens();
        let mut numbers: Vec<i32> = pass.tokens.iter().map(|&token| token as i32).collect();
        numbers.resize(tokens, 0);
        numbers.extend(plan.positions.iter().map(|&position| position as i32));
        let asked = pass.output_rows.map(|rows| {
            let filled = rows.len().next_multiple_of(TOKENS_AT_ONCE);
            numbers.extend(rows.iter().map(|&row| row as i32));
            // The filling repeats a row; nothing reads what comes of it.
            numbers.resize(2 * tokens + filled, rows.first().map_or(0, |&row| row as i32));
            (rows.len(), filled)
        });
        let numbers = Buffer::of(&llama.card, &numbers)?;
        let attention = AttentionPlan::new(&llama.card, &llama.config, &plan, backward)?;
        Ok(Self { tokens, numbers, attention, asked })
    }

    fn token_ids(&self) -> u64 {
        self.numbers.address
    }

    pub fn positions(&self) -> u64 {
        self.numbers.address + (self.tokens * size_of::<i32>()) as u64
    }

    pub fn asked_rows(&self) -> u64 {
        self.numbers.address + (2 * self.tokens * size_of::<i32>()) as u64
    }

    /// Rows that come out of the last layer.
    fn rows_out(&self) -> usize {
        self.asked.map_or(self.tokens, |(_, filled)| filled)
    }
}

impl CudaLlama {
    /// The same model with its weights kept in another way.
    pub fn keeping(mut self, keep: KeepExpanded) -> Self {
        self.keep = keep;
        self.expanded = Mutex::new(None);
        self
    }

    /// ln softmax(hidden · headᵀ)[token] for every (output row, token) asked for, in order.
    pub fn log_probabilities(&self, pass: &CudaPass, asked: &[(usize, u32)]) -> Result<Vec<f32>, EngineError> {
        let _pass = self.card.begin()?;
        let hidden = self.hidden(pass)?;
        loss::log_probabilities(&hidden, &self.head, asked)
    }

    /// Logits over the whole vocabulary at the output rows, row by row: for tests and tools.
    pub fn logits(&self, pass: &CudaPass) -> Result<Vec<f32>, EngineError> {
        let _pass = self.card.begin()?;
        let hidden = self.hidden(pass)?;
        let rows = pass.output_rows.map_or(pass.tokens.len(), <[usize]>::len);
        let logits = loss::logits(&hidden, &self.head)?;
        logits.narrow_rows(0..rows).read()
    }

    /// The keys and values of a pass's tokens, for later passes to continue from.
    pub fn key_value_cache(&self, pass: &CudaPass) -> Result<CudaCache, EngineError> {
        let _pass = self.card.begin()?;
        let prepared = Prepared::new(self, pass, false)?;
        let expanded = self.expanded_for(pass.adapter)?;
        let (query_width, width) = (self.config.query_width(), self.config.key_value_width());
        let tokens = pass.tokens.len();
        let mut x = self.embed(&prepared)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for index in 0..self.layers.len() {
            let layer = self.layer_pass(pass, &prepared, self.kept(&expanded)?, index);
            let (y, saved) = layer.forward(&x)?;
            let copy = |first: usize| -> Result<Matrix, EngineError> {
                let copy = Matrix::new(&self.card, Kind::Bf16, tokens, width)?;
                copy.copy_from(&saved.qkv.narrow_columns(first..first + width).narrow_rows(0..tokens))?;
                Ok(copy)
            };
            layers.push((copy(query_width)?, copy(query_width + width)?));
            x = y;
        }
        Ok(CudaCache { layers, tokens: pass.plan.cached + tokens })
    }

    /// Output of the last layer after the final norm, at the output rows with their filling.
    fn hidden(&self, pass: &CudaPass) -> Result<Matrix, EngineError> {
        let prepared = Prepared::new(self, pass, false)?;
        let expanded = self.expanded_for(pass.adapter)?;
        let mut x = self.embed(&prepared)?;
        for index in 0..self.layers.len() {
            x = self.layer_pass(pass, &prepared, self.kept(&expanded)?, index).forward(&x)?.0;
        }
        self.final_norm(&x)
    }

    fn final_norm(&self, x: &Matrix) -> Result<Matrix, EngineError> {
        let hidden = Matrix::new(&self.card, Kind::Bf16, x.rows, x.columns)?;
        rms_norm(x, &self.norm, &hidden, self.config.rms_norm_eps)?;
        Ok(hidden)
    }

    /// Σ weight · -ln p over the targets, one sum per row, to be read when the step is through; writes `scale` times its
    /// gradient to `gradient` (f32, in the adapter's layout), or adds it.
    pub fn loss_and_gradient(
        &self,
        pass: &CudaPass,
        targets: &[LossEntry],
        scale: f32,
        gradient: &Matrix,
        add: bool,
    ) -> Result<Matrix, EngineError> {
        let _pass = self.card.begin()?;
        let tokens = pass.tokens.len();
        let mut rows: Vec<usize> = targets.iter().map(|target| target.row).collect();
        rows.sort_unstable();
        rows.dedup();
        // Where most rows are asked for, picking them out costs more than it saves.
        let pick = rows.len() * 2 < tokens;
        let pass = CudaPass { output_rows: pick.then_some(rows.as_slice()), ..*pass };
        let prepared = Prepared::new(self, &pass, true)?;
        let row_of = |row: usize| if pick { rows.partition_point(|&asked| asked < row) } else { row };
        let targets = RowTargets::new(
            &self.card,
            self.config.vocab_size,
            prepared.rows_out(),
            targets.iter().map(|target| (row_of(target.row), target.target, target.weight)),
        )?;

        let expanded = self.expanded_for(pass.adapter)?;
        let expanded = self.kept(&expanded)?;
        let keeps_everything = self.bytes_to_keep(prepared.tokens) <= self.card.free_bytes()?;
        let mut inputs = vec![self.embed(&prepared)?];
        let mut saved: Vec<Option<Saved>> = Vec::with_capacity(self.layers.len());
        for index in 0..self.layers.len() {
            let (y, layer_saved) = self.layer_pass(&pass, &prepared, expanded, index).forward(&inputs[index])?;
            inputs.push(y);
            saved.push(keeps_everything.then_some(layer_saved));
        }

        let last = &inputs[self.layers.len()];
        let hidden = self.final_norm(last)?;
        let (losses, d_hidden) = loss::cross_entropy(&hidden, &self.head, &targets, scale)?;
        let mut d = Matrix::new(&self.card, Kind::Bf16, last.rows, last.columns)?;
        rms_norm_backward(None, &d_hidden, last, &self.norm, &d, self.config.rms_norm_eps)?;
        drop((hidden, d_hidden));

        // What the adapter's gradients are made of is kept for one layer longer than all else: they are computed aside,
        // and nothing waits for them before the next layer is through. Two layers take turns.
        let read_aside = [RefCell::default(), RefCell::default()];
        let mut down = || -> Result<(), EngineError> {
            for index in (0..self.layers.len()).rev() {
                let layer = self.layer_pass(&pass, &prepared, expanded, index);
                let layer_saved = match saved[index].take() {
                    Some(layer_saved) => layer_saved,
                    None => layer.forward(&inputs[index])?.1,
                };
                let into = Into { gradient, add, read_aside: &read_aside[index % 2] };
                let below = layer.backward(&inputs[index], layer_saved, d.clone(), &into)?;
                self.card.mark_aside(index)?;
                if index + 1 < self.layers.len() {
                    self.card.join(index + 1)?;
                    read_aside[(index + 1) % 2].borrow_mut().clear();
                }
                inputs.truncate(index + 1);
                if let Some(below) = below {
                    d = below;
                }
            }
            Ok(())
        };
        let outcome = down();
        // Also where it failed: what is read and written aside must not be freed before.
        self.card.mark_aside(0)?;
        self.card.join(0)?;
        drop(read_aside);
        outcome?;
        Ok(losses)
    }

    /// Bytes that training on passes of so many tokens takes, the adapter apart: the weights as they lie there and
    /// dequantised, activations, logits, and the driver's own part, as far as the card's memory allows.
    pub fn memory_bytes(&self, tokens: usize) -> usize {
        /// The driver's part, measured on an H200.
        const DRIVER_BYTES: usize = 600 << 20;
        let frozen = self.layers.iter().flat_map(|layer| &layer.groups).map(CudaGroup::held_bytes).sum::<usize>()
            + 4 * self.config.vocab_size * self.config.hidden_size;
        let groups: Vec<&[CudaGroup; 4]> = self.layers.iter().map(|layer| &layer.groups).collect();
        let there = self.card.total_bytes();
        let mut taken = frozen + DRIVER_BYTES;
        for wanted in [Expanded::kept_bytes(&groups, [0; 4]), self.bytes_to_keep(tokens)] {
            if wanted as f64 <= SHARE_FOR_EXPANDED * there.saturating_sub(taken) as f64 {
                taken += wanted;
            }
        }
        taken
    }

    /// Bytes that a training pass over so many tokens needs when nothing is computed twice: what every layer keeps, what
    /// the backward of one layer works in, and a piece of the logits.
    fn bytes_to_keep(&self, tokens: usize) -> usize {
        let config = &self.config;
        let twice =
            if config.family.has_query_key_norm() { config.query_width() + config.key_value_width() } else { 0 };
        let per_layer = 6 * config.hidden_size
            + 3 * config.query_width()
            + 2 * config.key_value_width()
            + 3 * config.intermediate_size
            + twice;
        2 * tokens * per_layer * (config.num_hidden_layers + 3) + loss::piece_bytes(config.vocab_size)
    }

    fn embed(&self, prepared: &Prepared) -> Result<Matrix, EngineError> {
        let width = self.config.hidden_size;
        let x = Matrix::new(&self.card, Kind::Bf16, prepared.tokens, width)?;
        let table = match &self.embedding {
            Table::Card(table) => table.address(),
            Table::Host(table) => table.address,
        };
        self.card.launch(
            "gather_rows",
            Launch::rows(prepared.tokens, 128),
            &[&table, &prepared.token_ids(), &&x, &(width as i32), &width, &x.stride],
        )?;
        Ok(x)
    }

    fn lock_expanded(&self) -> MutexGuard<'_, Option<Expanded>> {
        self.expanded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The weights as products read them, with this adapter's columns in place.
    fn expanded_for(&self, adapter: Option<&CudaAdapter>) -> Result<MutexGuard<'_, Option<Expanded>>, EngineError> {
        let widths = adapter.map_or([0; 4], |adapter| adapter.layout.widths());
        let groups: Vec<&[CudaGroup; 4]> = self.layers.iter().map(|layer| &layer.groups).collect();
        let mut expanded = self.lock_expanded();
        // Room for this adapter and for all before it: two that take turns must not drive each other out.
        let had = expanded.as_ref().map_or([0; 4], Expanded::widths);
        let room: [usize; 4] = std::array::from_fn(|group| had[group].max(widths[group]));
        if expanded.is_none() || room != had {
            *expanded = None;
            *expanded = Some(self.expand(&groups, room)?);
        }
        if let (Some(expanded), Some(adapter)) = (expanded.as_mut(), adapter) {
            expanded.take_up(&self.card, &groups, adapter)?;
        }
        Ok(expanded)
    }

    fn expand(&self, groups: &[&[CudaGroup; 4]], widths: [usize; 4]) -> Result<Expanded, EngineError> {
        let needed = Expanded::kept_bytes(groups, widths) as f64;
        let fits = needed <= SHARE_FOR_EXPANDED * self.card.free_bytes()? as f64;
        if fits && self.keep == KeepExpanded::WhenMemoryAllows {
            match Expanded::kept(&self.card, groups, widths) {
                // Somebody else has taken the memory in between.
                Err(EngineError::OutOfMemory { .. }) => {}
                other => return other,
            }
        }
        Expanded::scratch(&self.card, groups, widths)
    }

    fn kept<'a>(&self, expanded: &'a MutexGuard<'_, Option<Expanded>>) -> Result<&'a Expanded, EngineError> {
        expanded.as_ref().ok_or_else(|| EngineError::invalid("the weights have not been brought to the card"))
    }

    fn layer_pass<'a>(
        &'a self,
        pass: &CudaPass<'a>,
        prepared: &'a Prepared,
        expanded: &'a Expanded,
        index: usize,
    ) -> LayerPass<'a> {
        let is_last = index + 1 == self.layers.len();
        LayerPass {
            llama: self,
            layer: &self.layers[index],
            index,
            prepared,
            expanded,
            adapter: pass.adapter,
            asked: if is_last { prepared.asked } else { None },
            cache: pass.cache.and_then(|cache| cache.layers.get(index)),
            dropout: pass.dropout.map(|dropout| Dropout { seed: mix(dropout.seed ^ mix(index as u64)), ..dropout }),
        }
    }
}
