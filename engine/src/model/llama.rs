//! The whole model: layers, their forward and backward, and the loss on top.

use crate::adapter::lora::{LayerLora, Lora};
use crate::error::EngineError;
use crate::kernels::{empty, gather_rows, scatter_rows_add};
use crate::model::attention::{self, AttentionGradient, AttentionInput, AttentionOutput};
use crate::model::config::LlamaConfig;
use crate::model::linear::{Dropout, LinearGradient, LinearGroup, LinearSaved};
use crate::model::loss;
use crate::model::plan::Plan;
use crate::model::rope::{Direction, Rope};
use crate::model::table::Table;
use crate::model::{mlp, norm};
use crate::text::batch::LossEntry;
use candle_core::{DType, Device, Tensor};
use domain::dataset::mix;
use std::ops::Range;

/// One block: attention and MLP, each behind a norm and added to its input.
pub struct Layer {
    /// (1, d)
    pub input_norm: Tensor,
    pub post_attention_norm: Tensor,
    /// q, k, v · o · gate, up · down
    pub groups: [LinearGroup; 4],
    pub head_norms: Option<HeadNorms>,
}

/// The norms of Qwen3, which every head of q and of k goes through before it is turned: (1, head_dim) each.
pub struct HeadNorms {
    pub query: Tensor,
    pub key: Tensor,
}

/// A frozen Llama.
pub struct Llama {
    pub config: LlamaConfig,
    /// (V, d)
    pub embedding: Table,
    pub layers: Vec<Layer>,
    /// (1, d)
    pub norm: Tensor,
    /// (V, d); the embedding itself where the two are tied.
    pub head: Table,
    pub rope: Rope,
}

/// What is computed in one pass.
pub struct Pass<'a> {
    /// One per token of the plan.
    pub tokens: &'a [u32],
    pub plan: &'a Plan,
    pub lora: Option<&'a Lora>,
    /// The token rows whose output is wanted, ascending; `None`: all. The last layer computes no others.
    pub output_rows: Option<&'a [usize]>,
    /// Keys and values of earlier tokens, one entry per layer.
    pub cache: Option<&'a KeyValueCache>,
    pub dropout: Option<Dropout>,
}

/// Several adapters in one pass: the frozen weights see all rows at once, and every adapter its own.
#[derive(Clone, Copy)]
pub struct Shares<'a> {
    /// One after the other, without a gap between them.
    pub shares: &'a [LoraShare<'a>],
}

/// The rows of a pass that one adapter is for.
#[derive(Clone)]
pub struct LoraShare<'a> {
    /// `None`: the base as it is.
    pub lora: Option<&'a Lora>,
    /// Token rows.
    pub tokens: Range<usize>,
    /// Output rows, as indices into the pass's list of them.
    pub outputs: Range<usize>,
}

/// Keys (after rotation) and values of tokens that have been computed, per layer: (tokens, key-value width) each.
#[derive(Clone)]
pub struct KeyValueCache {
    pub layers: Vec<(Tensor, Tensor)>,
    pub tokens: usize,
}

impl KeyValueCache {
    /// One cache after the other, for a pass whose rows continue different ones.
    pub fn joined(caches: &[&Self]) -> Result<Self, EngineError> {
        let tokens = caches.iter().map(|cache| cache.tokens).sum();
        let caches: Vec<&Self> = caches.iter().copied().filter(|cache| cache.tokens > 0).collect();
        let Some(first) = caches.first() else { return Ok(Self { layers: Vec::new(), tokens }) };
        let mut layers = Vec::with_capacity(first.layers.len());
        for layer in 0..first.layers.len() {
            let keys: Vec<&Tensor> = caches.iter().map(|cache| &cache.layers[layer].0).collect();
            let values: Vec<&Tensor> = caches.iter().map(|cache| &cache.layers[layer].1).collect();
            layers.push((Tensor::cat(&keys, 0)?, Tensor::cat(&values, 0)?));
        }
        Ok(Self { layers, tokens })
    }

    /// The first so many tokens alone.
    pub fn narrow(&self, tokens: usize) -> Result<Self, EngineError> {
        let first = |tensor: &Tensor| tensor.narrow(0, 0, tokens);
        let layers = self.layers.iter().map(|(k, v)| Ok((first(k)?, first(v)?))).collect::<Result<_, EngineError>>()?;
        Ok(Self { layers, tokens })
    }
}

/// What a training step costs in memory: activations above this are computed again in the backward pass.
#[derive(Clone, Copy, Debug)]
pub struct ActivationBudget(pub usize);

/// What a layer's backward needs of its forward.
struct LayerSaved {
    /// Layers of the first group with what they saved: q, k, v together, or k, v apart from q.
    projections: Projections,
    /// q and k before the norms of their heads, where there are such.
    before_head_norms: Option<(Tensor, Tensor)>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attention: AttentionOutput,
    attention_out: LinearSaved,
    /// After attention.
    h: Tensor,
    mlp_in: LinearSaved,
    gate_up: Tensor,
    mlp_out: LinearSaved,
}

/// What a backward pass is to find on its way down.
struct Below<'a> {
    /// Per layer what its LoRA's gradient is added to; no groups: not asked for.
    layers: Vec<&'a LayerLora>,
    /// Down to the embeddings, and not only to the lowest LoRA.
    reaches_input: bool,
}

/// What it has found.
struct Backward {
    loss: f64,
    /// The embeddings and their gradient, where it reached them.
    input: Option<(Tensor, Tensor)>,
}

enum Projections {
    Together(LinearSaved),
    /// Only some rows ask: keys and values of all, queries of those.
    Apart {
        keys_values: LinearSaved,
        queries: LinearSaved,
    },
}

/// What one layer of one pass works with.
struct LayerPass<'a> {
    config: &'a LlamaConfig,
    rope: &'a Rope,
    plan: &'a Plan,
    lora: Option<&'a LayerLora>,
    output_rows: Option<&'a [usize]>,
    /// The positions of `output_rows`.
    output_positions: Option<&'a [u32]>,
    cache: Option<&'a (Tensor, Tensor)>,
    dropout: Option<Dropout>,
    /// Instead of `lora`.
    shares: Option<(Shares<'a>, usize)>,
}

/// Which rows a product of a layer is computed for.
#[derive(Clone, Copy)]
enum RowsOf {
    Tokens,
    /// The output rows, where the layer is asked for them alone.
    Outputs,
}

impl LayerPass<'_> {
    /// A different mask for each group of each layer.
    fn dropout(&self, group: u64) -> Option<Dropout> {
        self.dropout.map(|dropout| Dropout { seed: mix(dropout.seed ^ mix(group)), ..dropout })
    }

    fn group_lora(&self, group: usize) -> Option<&crate::model::linear::LoraGroup> {
        self.lora.and_then(|lora| lora.groups[group].as_ref())
    }

    /// Adds to `y`, the frozen output of `layers` of a group for the input `x`, what the adapters of a shared pass say,
    /// each to its own rows.
    fn add_shares(
        &self,
        linears: &LinearGroup,
        (group, layers): (usize, Range<usize>),
        rows: RowsOf,
        x: &Tensor,
        y: &Tensor,
    ) -> Result<(), EngineError> {
        let Some((Shares { shares }, layer)) = self.shares else { return Ok(()) };
        for share in shares {
            let Some(lora) = share.lora.and_then(|lora| lora.layers[layer].groups[group].as_ref()) else { continue };
            let rows = match rows {
                RowsOf::Outputs if self.output_rows.is_some() => &share.outputs,
                _ => &share.tokens,
            };
            if rows.is_empty() {
                continue;
            }
            let (x, y) = (x.narrow(0, rows.start, rows.len())?, y.narrow(0, rows.start, rows.len())?);
            linears.add_lora(lora, layers.clone(), &x, None, &y)?;
        }
        Ok(())
    }
}

impl Layer {
    /// x (T, d) → y (output rows, d), what backward needs, and this pass's keys and values.
    fn forward(&self, pass: &LayerPass, x: &Tensor) -> Result<(Tensor, LayerSaved), EngineError> {
        let config = pass.config;
        let (query_width, key_value_width) = (config.query_width(), config.key_value_width());
        let [attention_in, attention_out, mlp_in, mlp_out] = &self.groups;
        let normed = norm::forward(x, &self.input_norm, config.rms_norm_eps)?;

        let (q, keys_values, projections) = match pass.output_rows {
            None => {
                let (y, saved) = attention_in.forward(pass.group_lora(0), 0..3, &normed, pass.dropout(0))?;
                pass.add_shares(attention_in, (0, 0..3), RowsOf::Tokens, &normed, &y)?;
                let (q, keys_values) = (y.narrow(1, 0, query_width)?, y.narrow(1, query_width, 2 * key_value_width)?);
                (q, keys_values, Projections::Together(saved))
            }
            Some(rows) => {
                let (y, keys_values) = attention_in.forward(pass.group_lora(0), 1..3, &normed, pass.dropout(0))?;
                pass.add_shares(attention_in, (0, 1..3), RowsOf::Tokens, &normed, &y)?;
                let asking = gather_rows(&normed, rows)?;
                let (q, queries) = attention_in.forward(pass.group_lora(0), 0..1, &asking, pass.dropout(4))?;
                pass.add_shares(attention_in, (0, 0..1), RowsOf::Outputs, &asking, &q)?;
                (q, y, Projections::Apart { keys_values, queries })
            }
        };
        let mut k = keys_values.narrow(1, 0, key_value_width)?;
        let mut v = keys_values.narrow(1, key_value_width, key_value_width)?;
        let mut before_head_norms = None;
        if let Some(norms) = &self.head_norms {
            before_head_norms = Some((q.copy()?, k.copy()?));
            norm::normalise_heads(&q, &norms.query, config.rms_norm_eps)?;
            norm::normalise_heads(&k, &norms.key, config.rms_norm_eps)?;
        }
        pass.rope.turn(&q, pass.output_positions.unwrap_or(&pass.plan.positions), Direction::Forward)?;
        pass.rope.turn(&k, &pass.plan.positions, Direction::Forward)?;
        if let Some((cached_k, cached_v)) = pass.cache {
            k = Tensor::cat(&[cached_k, &k], 0)?;
            v = Tensor::cat(&[cached_v, &v], 0)?;
        }

        let input = AttentionInput { plan: pass.plan, query_rows: pass.output_rows, q: &q, k: &k, v: &v };
        let attention = attention::forward(config, &input)?;
        let residual = match pass.output_rows {
            None => x.clone(),
            Some(rows) => gather_rows(x, rows)?,
        };
        let (h, saved_out) =
            attention_out.forward_residual(pass.group_lora(1), &attention.o, &residual, pass.dropout(1))?;
        pass.add_shares(attention_out, (1, 0..1), RowsOf::Outputs, &attention.o, &h)?;

        let normed = norm::forward(&h, &self.post_attention_norm, config.rms_norm_eps)?;
        let (gate_up, saved_mlp_in) = mlp_in.forward(pass.group_lora(2), 0..2, &normed, pass.dropout(2))?;
        pass.add_shares(mlp_in, (2, 0..2), RowsOf::Outputs, &normed, &gate_up)?;
        let activated = mlp::swiglu(&gate_up)?;
        let (y, saved_mlp_out) = mlp_out.forward_residual(pass.group_lora(3), &activated, &h, pass.dropout(3))?;
        pass.add_shares(mlp_out, (3, 0..1), RowsOf::Outputs, &activated, &y)?;

        let saved = LayerSaved {
            projections,
            before_head_norms,
            q,
            k,
            v,
            attention,
            attention_out: saved_out,
            h,
            mlp_in: saved_mlp_in,
            gate_up,
            mlp_out: saved_mlp_out,
        };
        Ok((y, saved))
    }

    /// dy (output rows, d), used up → dx (T, d), or nothing where nothing below needs it.
    fn backward(
        &self,
        pass: &LayerPass,
        x: &Tensor,
        saved: &LayerSaved,
        dy: Tensor,
        gradient: &LayerLora,
        needs_dx: bool,
    ) -> Result<Option<Tensor>, EngineError> {
        let config = pass.config;
        let (query_width, key_value_width) = (config.query_width(), config.key_value_width());
        let [attention_in, attention_out, mlp_in, mlp_out] = &self.groups;
        let asked = dy.dim(0)?;
        let into = |group: usize| gradient.groups[group].as_ref();

        // y = h + down(swiglu([gate | up](norm(h)))): the gradient of h is dy plus what comes through the MLP.
        let d_activated = empty(asked, config.intermediate_size)?;
        let target = LinearGradient { dx: Some(&d_activated), lora: into(3) };
        mlp_out.backward(pass.group_lora(3), 0..1, &saved.mlp_out, &dy, pass.dropout(3), target)?;
        let d_gate_up = mlp::swiglu_backward(&d_activated, &saved.gate_up)?;
        drop(d_activated);
        let d_normed = empty(asked, config.hidden_size)?;
        let target = LinearGradient { dx: Some(&d_normed), lora: into(2) };
        mlp_in.backward(pass.group_lora(2), 0..2, &saved.mlp_in, &d_gate_up, pass.dropout(2), target)?;
        drop(d_gate_up);
        let dh = dy;
        norm::backward_add(&dh, &d_normed, &saved.h, &self.post_attention_norm, config.rms_norm_eps)?;

        // h = x + o_proj(attention(norm(x)))
        let d_o = empty(asked, query_width)?;
        let target = LinearGradient { dx: Some(&d_o), lora: into(1) };
        attention_out.backward(pass.group_lora(1), 0..1, &saved.attention_out, &dh, pass.dropout(1), target)?;

        let tokens = pass.plan.tokens();
        let (dq, d_keys_values, d_qkv) = match &saved.projections {
            Projections::Together(_) => {
                let all = Tensor::zeros((tokens, query_width + 2 * key_value_width), DType::F32, &Device::Cpu)?;
                let dq = all.narrow(1, 0, query_width)?;
                (dq, all.narrow(1, query_width, 2 * key_value_width)?, Some(all))
            }
            Projections::Apart { .. } => {
                let d_keys_values = Tensor::zeros((tokens, 2 * key_value_width), DType::F32, &Device::Cpu)?;
                (empty(asked, query_width)?, d_keys_values, None)
            }
        };
        let dk = d_keys_values.narrow(1, 0, key_value_width)?;
        let dv = d_keys_values.narrow(1, key_value_width, key_value_width)?;
        let input =
            AttentionInput { plan: pass.plan, query_rows: pass.output_rows, q: &saved.q, k: &saved.k, v: &saved.v };
        let gradients = AttentionGradient { dq: &dq, dk: &dk, dv: &dv };
        attention::backward(config, &input, &saved.attention, &d_o, &gradients)?;
        pass.rope.turn(&dq, pass.output_positions.unwrap_or(&pass.plan.positions), Direction::Backward)?;
        pass.rope.turn(&dk, &pass.plan.positions, Direction::Backward)?;
        if let (Some(norms), Some((q, k))) = (&self.head_norms, &saved.before_head_norms) {
            norm::normalise_heads_backward(&dq, q, &norms.query, config.rms_norm_eps)?;
            norm::normalise_heads_backward(&dk, k, &norms.key, config.rms_norm_eps)?;
        }

        let d_normed = if needs_dx { Some(empty(tokens, config.hidden_size)?) } else { None };
        let target = LinearGradient { dx: d_normed.as_ref(), lora: into(0) };
        match (&saved.projections, d_qkv) {
            (Projections::Together(projections), Some(d_qkv)) => {
                attention_in.backward(pass.group_lora(0), 0..3, projections, &d_qkv, pass.dropout(0), target)?;
            }
            (Projections::Apart { keys_values, queries }, None) => {
                attention_in.backward(
                    pass.group_lora(0),
                    1..3,
                    keys_values,
                    &d_keys_values,
                    pass.dropout(0),
                    target,
                )?;
                let d_asking = if needs_dx { Some(empty(asked, config.hidden_size)?) } else { None };
                let target = LinearGradient { dx: d_asking.as_ref(), lora: into(0) };
                attention_in.backward(pass.group_lora(0), 0..1, queries, &dq, pass.dropout(4), target)?;
                if let (Some(d_normed), Some(d_asking), Some(rows)) = (&d_normed, &d_asking, pass.output_rows) {
                    scatter_rows_add(d_normed, rows, d_asking)?;
                }
            }
            _ => unreachable!("gradients are laid out as the projections were"),
        }
        let Some(d_normed) = d_normed else { return Ok(None) };

        let dx = match pass.output_rows {
            None => dh,
            Some(rows) => {
                let dx = Tensor::zeros((tokens, config.hidden_size), DType::F32, &Device::Cpu)?;
                scatter_rows_add(&dx, rows, &dh)?;
                dx
            }
        };
        norm::backward_add(&dx, &d_normed, x, &self.input_norm, config.rms_norm_eps)?;
        Ok(Some(dx))
    }
}

impl Llama {
    /// Output of the last layer, after the final norm, at the output rows: (rows, d).
    pub fn hidden(&self, pass: &Pass) -> Result<Tensor, EngineError> {
        self.hidden_of(pass, None)
    }

    /// As [`Llama::hidden`], every row through the adapter of its share; `pass.lora` is `None`.
    ///
    /// The frozen products, which are nearly all of the work, are computed for all rows together; only the thin
    /// products of the adapters are computed share by share.
    pub fn hidden_shared(&self, pass: &Pass, shares: Shares) -> Result<Tensor, EngineError> {
        debug_assert!(pass.lora.is_none() && pass.dropout.is_none());
        self.hidden_of(pass, Some(shares))
    }

    fn hidden_of(&self, pass: &Pass, shares: Option<Shares>) -> Result<Tensor, EngineError> {
        let mut x = self.embed(pass.tokens)?;
        let positions = self.output_positions(pass);
        for index in 0..self.layers.len() {
            let layer_pass = self.layer_pass(pass, index, positions.as_deref());
            let layer_pass = LayerPass { shares: shares.map(|shares| (shares, index)), ..layer_pass };
            x = self.layers[index].forward(&layer_pass, &x)?.0;
        }
        norm::forward(&x, &self.norm, self.config.rms_norm_eps)
    }

    /// The keys and values of a pass's tokens, for later passes to continue from.
    pub fn key_value_cache(&self, pass: &Pass) -> Result<KeyValueCache, EngineError> {
        let mut x = self.embed(pass.tokens)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for index in 0..self.layers.len() {
            let (y, saved) = self.layers[index].forward(&self.layer_pass(pass, index, None), &x)?;
            // Copies: views would keep the queries beside them alive.
            layers.push((saved.k.copy()?, saved.v.copy()?));
            x = y;
        }
        Ok(KeyValueCache { layers, tokens: pass.plan.cached + pass.plan.tokens() })
    }

    /// Logits over the whole vocabulary, (output rows, V): for tests and tools, not for training.
    pub fn logits(&self, pass: &Pass) -> Result<Tensor, EngineError> {
        let hidden = self.hidden(pass)?;
        let logits = empty(hidden.dim(0)?, self.config.vocab_size)?;
        self.head.logits(&hidden, &logits)?;
        Ok(logits)
    }

    /// Σ weight · -ln p over the targets, whose rows are token rows; adds `scale` times its gradient to `gradient`.
    ///
    /// `pass.output_rows` is not read: the rows that the targets name are asked for.
    pub fn loss_and_gradient(
        &self,
        pass: &Pass,
        targets: &[LossEntry],
        scale: f32,
        gradient: &Lora,
        budget: ActivationBudget,
    ) -> Result<f64, EngineError> {
        let layers = gradient.layers.iter().collect();
        Ok(self.forward_and_backward(pass, targets, scale, &Below { layers, reaches_input: false }, budget)?.loss)
    }

    /// The same loss, with its gradient at the embeddings of the pass's tokens: both (T, d), the embeddings first. The
    /// LoRA takes part and gets no gradient of its own.
    pub fn input_gradient(
        &self,
        pass: &Pass,
        targets: &[LossEntry],
        budget: ActivationBudget,
    ) -> Result<(f64, Tensor, Tensor), EngineError> {
        let none = LayerLora::default();
        let below = Below { layers: vec![&none; self.layers.len()], reaches_input: true };
        let Backward { loss, input } = self.forward_and_backward(pass, targets, 1.0, &below, budget)?;
        let (embeddings, gradient) = input.ok_or_else(|| EngineError::invalid("a model without layers"))?;
        Ok((loss, embeddings, gradient))
    }

    fn forward_and_backward(
        &self,
        pass: &Pass,
        targets: &[LossEntry],
        scale: f32,
        below: &Below,
        budget: ActivationBudget,
    ) -> Result<Backward, EngineError> {
        let tokens = pass.tokens.len();
        let mut rows: Vec<usize> = targets.iter().map(|target| target.row).collect();
        rows.sort_unstable();
        rows.dedup();
        // Where most rows are asked for, picking them out costs more than it saves.
        let pick = rows.len() * 2 < tokens;
        let pass = Pass { output_rows: pick.then_some(rows.as_slice()), ..*pass };
        let targets: Vec<LossEntry> = targets
            .iter()
            .map(|target| {
                let row = if pick { rows.partition_point(|&row| row < target.row) } else { target.row };
                LossEntry { row, ..*target }
            })
            .collect();
        let positions = self.output_positions(&pass);

        let keeps_everything = self.activation_bytes(tokens) <= budget.0;
        let mut inputs = vec![self.embed(pass.tokens)?];
        let mut saved = Vec::with_capacity(self.layers.len());
        for index in 0..self.layers.len() {
            let (y, layer_saved) =
                self.layers[index].forward(&self.layer_pass(&pass, index, positions.as_deref()), &inputs[index])?;
            inputs.push(y);
            saved.push(keeps_everything.then_some(layer_saved));
        }

        let last = &inputs[self.layers.len()];
        let hidden = norm::forward(last, &self.norm, self.config.rms_norm_eps)?;
        let (total, d_hidden) = loss::cross_entropy(&hidden, &self.head, &targets, scale)?;
        let mut d = Tensor::zeros(last.shape(), DType::F32, &Device::Cpu)?;
        norm::backward_add(&d, &d_hidden, last, &self.norm, self.config.rms_norm_eps)?;

        for index in (0..self.layers.len()).rev() {
            let layer_pass = self.layer_pass(&pass, index, positions.as_deref());
            let x = &inputs[index];
            let layer_saved = match saved[index].take() {
                Some(layer_saved) => layer_saved,
                None => self.layers[index].forward(&layer_pass, x)?.1,
            };
            let needs_dx = index > 0 || below.reaches_input;
            let dx = self.layers[index].backward(&layer_pass, x, &layer_saved, d, below.layers[index], needs_dx)?;
            inputs.truncate(index + 1);
            match dx {
                Some(dx) => d = dx,
                None => return Ok(Backward { loss: total, input: None }),
            }
        }
        Ok(Backward { loss: total, input: inputs.into_iter().next().map(|embeddings| (embeddings, d)) })
    }

    /// Bytes of activations that a training pass over so many tokens keeps for its backward pass.
    pub fn activation_bytes(&self, tokens: usize) -> usize {
        let config = &self.config;
        let twice =
            if config.family.has_query_key_norm() { config.query_width() + config.key_value_width() } else { 0 };
        let per_layer = 5 * config.hidden_size
            + 2 * config.query_width()
            + 2 * config.key_value_width()
            + 3 * config.intermediate_size
            + twice;
        tokens * per_layer * config.num_hidden_layers * size_of::<f32>()
    }

    fn embed(&self, tokens: &[u32]) -> Result<Tensor, EngineError> {
        let rows: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
        if let Some(token) = rows.iter().find(|&&token| token >= self.config.vocab_size) {
            return Err(EngineError::invalid(format!("token {token} is not in the model's vocabulary")));
        }
        self.embedding.gather(&rows)
    }

    fn output_positions(&self, pass: &Pass) -> Option<Vec<u32>> {
        pass.output_rows.map(|rows| rows.iter().map(|&row| pass.plan.positions[row]).collect())
    }

    fn layer_pass<'a>(&'a self, pass: &Pass<'a>, index: usize, positions: Option<&'a [u32]>) -> LayerPass<'a> {
        let is_last = index + 1 == self.layers.len();
        LayerPass {
            config: &self.config,
            rope: &self.rope,
            plan: pass.plan,
            lora: pass.lora.map(|lora| &lora.layers[index]),
            output_rows: if is_last { pass.output_rows } else { None },
            output_positions: if is_last { positions } else { None },
            cache: pass.cache.map(|cache| &cache.layers[index]),
            dropout: pass.dropout.map(|dropout| Dropout { seed: mix(dropout.seed ^ mix(index as u64)), ..dropout }),
            shares: None,
        }
    }
}
