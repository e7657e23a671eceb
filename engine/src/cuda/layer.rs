//! One block on a card, forward and backward: the arithmetic of `model::llama::Layer`, kernel by kernel.
//!
//! Where a linear has an adapter, its input stands in a wider matrix [x | z] with room for z = s x Aᵀ, so that one
//! product with [W | B] gives y = x Wᵀ + z Bᵀ (see `cuda::weights`).

use crate::cuda::adapter::{CudaAdapter, GroupLayout};
use crate::cuda::attention::AttentionOperands;
use crate::cuda::card::{Card, Launch};
use crate::cuda::gemm::Product;
use crate::cuda::llama::{CudaLayer, CudaLlama, Prepared};
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::weights::{CudaGroup, Expanded};
use crate::error::EngineError;
use crate::model::linear::Dropout;
use domain::dataset::mix;
use std::cell::RefCell;
use std::sync::Arc;

/// What one layer of one pass works with.
pub(super) struct LayerPass<'a> {
    pub llama: &'a CudaLlama,
    pub layer: &'a CudaLayer,
    pub index: usize,
    pub prepared: &'a Prepared,
    pub expanded: &'a Expanded,
    pub adapter: Option<&'a CudaAdapter>,
    /// In the last layer, where only some rows' output is wanted: their number, without and with filling.
    pub asked: Option<(usize, usize)>,
    /// Keys and values of earlier tokens.
    pub cache: Option<&'a (Matrix, Matrix)>,
    pub dropout: Option<Dropout>,
}

/// What a layer's backward needs of its forward. R is the number of output rows.
pub(super) struct Saved {
    /// [norm(x) | z], (T, d + width)
    attention_in: Matrix,
    /// q and k before the norms of their heads, where there are such: (T, q + kv).
    before_head_norms: Option<Matrix>,
    /// After rotation, (T, q + 2 kv).
    pub qkv: Matrix,
    /// (T, q), and (T, heads).
    o: Matrix,
    log_sum_exp: Matrix,
    /// [o | z] at the output rows, (R, q + width)
    attention_out: Matrix,
    /// After attention, (R, d).
    h: Matrix,
    /// [norm(h) | z], (R, d + width)
    mlp_in: Matrix,
    /// (R, 2f)
    gate_up: Matrix,
    /// [swiglu | z], (R, f + width)
    mlp_out: Matrix,
}

/// The groups, in order.
const ATTENTION_IN: usize = 0;
const ATTENTION_OUT: usize = 1;
const MLP_IN: usize = 2;
const MLP_OUT: usize = 3;

impl LayerPass<'_> {
    fn card(&self) -> &Arc<Card> {
        &self.llama.card
    }

    fn matrix(&self, rows: usize, columns: usize) -> Result<Matrix, EngineError> {
        Matrix::new(self.card(), Kind::Bf16, rows, columns)
    }

    fn layout(&self, group: usize) -> Option<&GroupLayout> {
        self.adapter.and_then(|adapter| adapter.layout.layers[self.index][group].as_ref())
    }

    /// Room for a group's input and its z.
    fn input(&self, group: usize, rows: usize) -> Result<Matrix, EngineError> {
        let width = self.layout(group).map_or(0, |layout| layout.width);
        self.matrix(rows, self.layer.groups[group].in_features + width)
    }

    fn x_of(&self, group: usize, input: &Matrix) -> Matrix {
        input.narrow_columns(0..self.layer.groups[group].in_features)
    }

    /// A different mask for each linear of each group.
    fn seed(&self, dropout: Dropout, group: usize, part: usize) -> u64 {
        let of_group = mix(dropout.seed ^ mix(group as u64));
        mix(of_group ^ mix(part as u64))
    }

    /// x (T, d) → y (R, d), and what backward needs.
    pub fn forward(&self, x: &Matrix) -> Result<(Matrix, Saved), EngineError> {
        let (llama, layer, prepared) = (self.llama, self.layer, self.prepared);
        let config = &llama.config;
        let (tokens, eps) = (prepared.tokens, config.rms_norm_eps);
        let (query_width, key_value_width) = (config.query_width(), config.key_value_width());

        let attention_in = self.input(ATTENTION_IN, tokens)?;
        rms_norm(x, &layer.input_norm, &self.x_of(ATTENTION_IN, &attention_in), eps)?;
        let qkv = self.matrix(tokens, query_width + 2 * key_value_width)?;
        self.linear(ATTENTION_IN, &attention_in, None, &qkv)?;
        let mut before_head_norms = None;
        if let Some(norms) = &layer.head_norms {
            let width = query_width + key_value_width;
            let before = self.matrix(tokens, width)?;
            before.copy_from(&qkv.narrow_columns(0..width))?;
            for (weight, columns) in norms.parts(query_width, width) {
                let (from, to) = (before.narrow_columns(columns.clone()), qkv.narrow_columns(columns));
                rms_norm(&from, weight, &to, eps)?;
            }
            before_head_norms = Some(before);
        }
        // q and k lie side by side, so one kernel turns the heads of both.
        let heads = (config.num_attention_heads + config.num_key_value_heads) as i32;
        let half = (config.head_dim / 2) as i32;
        self.card().launch(
            "rope",
            Launch::rows(tokens, 256),
            &[&&qkv, &prepared.positions(), &&llama.cosines, &&llama.sines, &heads, &half, &qkv.stride],
        )?;

        // Where all rows' output is wanted, attention writes beside z at once.
        let output_rows = self.asked.map_or(tokens, |(_, filled)| filled);
        let attention_out = self.input(ATTENTION_OUT, output_rows)?;
        let o = match self.asked {
            None => self.x_of(ATTENTION_OUT, &attention_out),
            Some(_) => self.matrix(tokens, query_width)?,
        };
        let log_sum_exp = Matrix::new(self.card(), Kind::F32, tokens, config.num_attention_heads)?;
        let operands = self.attention_operands(&qkv);
        prepared.attention.forward(&operands, &o, &log_sum_exp)?;

        let residual = match self.asked {
            None => x.clone(),
            Some(_) => {
                self.gather(&o, &self.x_of(ATTENTION_OUT, &attention_out))?;
                let residual = self.matrix(output_rows, config.hidden_size)?;
                self.gather(x, &residual)?;
                residual
            }
        };
        let h = self.matrix(output_rows, config.hidden_size)?;
        self.linear(ATTENTION_OUT, &attention_out, Some(&residual), &h)?;

        let mlp_in = self.input(MLP_IN, output_rows)?;
        rms_norm(&h, &layer.post_attention_norm, &self.x_of(MLP_IN, &mlp_in), eps)?;
        let gate_up = self.matrix(output_rows, 2 * config.intermediate_size)?;
        self.linear(MLP_IN, &mlp_in, None, &gate_up)?;
        let mlp_out = self.input(MLP_OUT, output_rows)?;
        swiglu(&gate_up, &self.x_of(MLP_OUT, &mlp_out))?;
        let y = self.matrix(output_rows, config.hidden_size)?;
        self.linear(MLP_OUT, &mlp_out, Some(&h), &y)?;

        Ok((
            y,
            Saved { attention_in, before_head_norms, qkv, o, log_sum_exp, attention_out, h, mlp_in, gate_up, mlp_out },
        ))
    }

    /// dy (R, d) → dx (T, d), or nothing in the first layer; the adapter's gradient goes where `into` says.
    pub fn backward(&self, x: &Matrix, saved: Saved, dy: Matrix, into: &Into) -> Result<Option<Matrix>, EngineError> {
        let (llama, layer, prepared) = (self.llama, self.layer, self.prepared);
        let config = &llama.config;
        let (tokens, eps, hidden) = (prepared.tokens, config.rms_norm_eps, config.hidden_size);

        // y = h + down(swiglu([gate | up](norm(h)))): the gradient of h is dy plus what comes through the MLP.
        let d_activated = self.linear_backward(MLP_OUT, &saved.mlp_out, &dy, into)?;
        let d_gate_up = saved.gate_up;
        swiglu_backward(&self.x_of(MLP_OUT, &d_activated), &d_gate_up)?;
        drop(d_activated);
        let d_normed = self.linear_backward(MLP_IN, &saved.mlp_in, &d_gate_up, into)?;
        drop(d_gate_up);
        let dh = self.matrix(dy.rows, hidden)?;
        let d_normed = self.x_of(MLP_IN, &d_normed);
        rms_norm_backward(Some(&dy), &d_normed, &saved.h, &layer.post_attention_norm, &dh, eps)?;
        drop((dy, d_normed));

        // h = x + o_proj(attention(norm(x)))
        let d_out = self.linear_backward(ATTENTION_OUT, &saved.attention_out, &dh, into)?;
        let d_out = self.x_of(ATTENTION_OUT, &d_out);
        let (d_o, above) = match self.asked {
            None => (d_out, dh),
            Some((asked, _)) => {
                (self.scatter(&d_out.narrow_rows(0..asked), tokens)?, self.scatter(&dh.narrow_rows(0..asked), tokens)?)
            }
        };
        let d_qkv = self.matrix(tokens, saved.qkv.columns)?;
        let d_keys_values = Matrix::zeros(self.card(), Kind::F32, tokens, 2 * config.key_value_width())?;
        let operands = self.attention_operands(&saved.qkv);
        let dq = d_qkv.narrow_columns(0..config.query_width());
        prepared.attention.backward(&operands, &saved.o, &saved.log_sum_exp, &d_o, &dq, &d_keys_values)?;
        let (heads, half) = (config.num_attention_heads as i32, (config.head_dim / 2) as i32);
        let key_value_heads = config.num_key_value_heads as i32;
        self.card().launch(
            "rope_backward",
            Launch::rows(tokens, 256),
            &[
                &&d_qkv,
                &&d_keys_values,
                &prepared.positions(),
                &&llama.cosines,
                &&llama.sines,
                &heads,
                &key_value_heads,
                &half,
                &d_qkv.stride,
            ],
        )?;
        drop((d_o, d_keys_values));
        if let (Some(norms), Some(before)) = (&layer.head_norms, &saved.before_head_norms) {
            for (weight, columns) in norms.parts(config.query_width(), before.columns) {
                let (x, d) = (before.narrow_columns(columns.clone()), d_qkv.narrow_columns(columns));
                rms_norm_backward(None, &d, &x, weight, &d, eps)?;
            }
        }

        let d_normed = self.linear_backward(ATTENTION_IN, &saved.attention_in, &d_qkv, into)?;
        if self.index == 0 {
            return Ok(None);
        }
        let dx = self.matrix(tokens, hidden)?;
        rms_norm_backward(Some(&above), &self.x_of(ATTENTION_IN, &d_normed), x, &layer.input_norm, &dx, eps)?;
        Ok(Some(dx))
    }

    fn attention_operands<'a>(&'a self, qkv: &Matrix) -> AttentionOperands<'a> {
        let (query_width, width) = (self.llama.config.query_width(), self.llama.config.key_value_width());
        AttentionOperands {
            config: &self.llama.config,
            q: qkv.narrow_columns(0..query_width),
            k: qkv.narrow_columns(query_width..query_width + width),
            v: qkv.narrow_columns(query_width + width..query_width + 2 * width),
            cache: self.cache,
        }
    }

    /// y = [x | z] [W | B]ᵀ (+ residual), after filling z = s x Aᵀ in.
    fn linear(&self, group: usize, input: &Matrix, residual: Option<&Matrix>, y: &Matrix) -> Result<(), EngineError> {
        let own = &self.layer.groups[group];
        if let (Some(adapter), Some(layout)) = (self.adapter, self.layout(group)) {
            let (x, z) = (self.x_of(group, input), z_of(own, input));
            let (a, scale) = (adapter.a(layout), adapter.layout.scale());
            match self.dropout {
                None => Product::transposed(&x, &a, &z).times(scale).run()?,
                Some(dropout) => {
                    let dropped = self.matrix(x.rows, x.columns)?;
                    for (part, columns) in parts_of(layout, adapter.layout.rank()) {
                        drop_out(&x, &dropped, dropout, self.seed(dropout, group, part), false)?;
                        let z = z.narrow_columns(columns.clone());
                        Product::transposed(&dropped, &a.narrow_rows(columns), &z).times(scale).run()?;
                    }
                }
            }
        }
        let weight = self.expanded.weight(own, self.index, group, self.adapter)?;
        let product = Product::transposed(input, &weight, y);
        match residual {
            Some(residual) => product.plus(residual).run()?,
            None => product.run()?,
        }
        match &own.bias {
            Some(bias) => add_to_rows(y, bias),
            None => Ok(()),
        }
    }

    /// Backward of [`Self::linear`]: [dx | s⁻¹ dz], of which only the first columns mean something afterwards.
    ///
    /// With z = s x Aᵀ and y = x Wᵀ + z Bᵀ:
    /// dB = dyᵀ z,  g = dy B,  dA = s gᵀ x,  dx = dy W + s g A, and dy [W | B] = [dy W | g].
    /// Dropout m (a mask over 1 - p) stands between x and A: dA = s gᵀ (m ∘ x), dx = dy W + m ∘ (s g A).
    fn linear_backward(&self, group: usize, input: &Matrix, dy: &Matrix, into: &Into) -> Result<Matrix, EngineError> {
        let own = &self.layer.groups[group];
        let d_input = self.matrix(dy.rows, input.columns)?;
        let weight = self.expanded.weight(own, self.index, group, self.adapter)?;
        // Nothing is trained below the first layer.
        let needs_dx = self.index > 0 || group != ATTENTION_IN;
        if needs_dx {
            Product::plain(dy, &weight, &d_input).run()?;
        }
        let (Some(adapter), Some(layout)) = (self.adapter, self.layout(group)) else { return Ok(d_input) };
        let (x, z, dx, g) =
            (self.x_of(group, input), z_of(own, input), self.x_of(group, &d_input), z_of(own, &d_input));
        if !needs_dx {
            Product::plain(dy, &z_of(own, &weight), &g).run()?;
        }
        let (a, scale, rank) = (adapter.a(layout), adapter.layout.scale(), adapter.layout.rank());
        let Into { gradient, add, read_aside } = *into;
        let da = gradient.part(layout.a, layout.width, layout.in_features);
        match self.dropout {
            None => {
                Product::outer(&g, &x, &da).times(scale).accumulate(add).run_aside()?;
                if needs_dx {
                    Product::plain(&g, &a, &dx).times(scale).accumulate(true).run()?;
                }
            }
            Some(dropout) => {
                let aside = self.matrix(x.rows, x.columns)?;
                for (part, columns) in parts_of(layout, rank) {
                    let seed = self.seed(dropout, group, part);
                    let g = g.narrow_columns(columns.clone());
                    drop_out(&x, &aside, dropout, seed, false)?;
                    Product::outer(&g, &aside, &da.narrow_rows(columns.clone())).times(scale).accumulate(add).run()?;
                    if needs_dx {
                        Product::plain(&g, &a.narrow_rows(columns), &aside).times(scale).run()?;
                        drop_out(&aside, &dx, dropout, seed, true)?;
                    }
                }
            }
        }
        for (part, (_, rows)) in layout.parts.iter().zip(&own.parts) {
            let Some(part) = part else { continue };
            let db = gradient.part(part.b, part.out_features, rank);
            let z = z.narrow_columns(part.column..part.column + rank);
            Product::outer(&dy.narrow_columns(rows.clone()), &z, &db).accumulate(add).run_aside()?;
        }
        read_aside.borrow_mut().extend([input.clone(), dy.clone(), d_input.clone()]);
        Ok(d_input)
    }

    /// to[i] = from[asked row i]
    fn gather(&self, from: &Matrix, to: &Matrix) -> Result<(), EngineError> {
        let width = to.columns as i32;
        let rows = self.prepared.asked_rows();
        self.card().launch(
            "gather_rows",
            Launch::rows(to.rows, 128),
            &[&from, &rows, &to, &width, &from.stride, &to.stride],
        )
    }

    /// (rows, width) whose asked rows are those of `from`, the others zero.
    fn scatter(&self, from: &Matrix, rows: usize) -> Result<Matrix, EngineError> {
        let to = Matrix::zeros(self.card(), Kind::Bf16, rows, from.columns)?;
        let (width, places) = (from.columns as i32, self.prepared.asked_rows());
        self.card().launch(
            "scatter_rows",
            Launch::rows(from.rows, 128),
            &[&from, &places, &&to, &width, &from.stride, &to.stride],
        )?;
        Ok(to)
    }
}

/// Where a backward puts what it finds.
pub(super) struct Into<'a> {
    pub gradient: &'a Matrix,
    /// To what is there, or in its place.
    pub add: bool,
    /// What the products aside read: dropped once they are through.
    pub read_aside: &'a RefCell<Vec<Matrix>>,
}

/// The columns behind a group's own.
fn z_of(group: &CudaGroup, matrix: &Matrix) -> Matrix {
    matrix.narrow_columns(group.in_features..matrix.columns)
}

/// The linears of a group that have an adapter, each with its columns of z.
fn parts_of(layout: &GroupLayout, rank: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    let part = move |(index, part): (usize, &Option<crate::cuda::adapter::PartLayout>)| {
        part.as_ref().map(|part| (index, part.column..part.column + rank))
    };
    layout.parts.iter().enumerate().filter_map(part)
}

/// Threads of a kernel whose block owns a row of so many columns, eight to a thread.
fn threads_for(columns: usize) -> usize {
    (columns / 8).next_multiple_of(32).clamp(32, 512)
}

/// y = weight ∘ x / rms(x), row by row; where the weight is shorter than a row, head by head of its length.
pub(super) fn rms_norm(x: &Matrix, weight: &Matrix, y: &Matrix, eps: f32) -> Result<(), EngineError> {
    x.card().launch(
        "rms_norm",
        heads_of_rows(x, weight),
        &[&x, &weight, &y, &(weight.columns as i32), &x.stride, &y.stride, &eps],
    )
}

/// dx = above + the gradient of [`rms_norm`] with respect to x. dx may be dy.
pub(super) fn rms_norm_backward(
    above: Option<&Matrix>,
    dy: &Matrix,
    x: &Matrix,
    weight: &Matrix,
    dx: &Matrix,
    eps: f32,
) -> Result<(), EngineError> {
    let (address, stride) = above.map_or((0, 0), |above| (above.address(), above.stride));
    x.card().launch(
        "rms_norm_backward",
        heads_of_rows(x, weight),
        &[&address, &dy, &x, &weight, &dx, &(weight.columns as i32), &stride, &dy.stride, &x.stride, &dx.stride, &eps],
    )
}

/// A block for every stretch of a row that is as long as the weight.
fn heads_of_rows(x: &Matrix, weight: &Matrix) -> Launch {
    Launch { grid: (x.rows, x.columns / weight.columns), threads: threads_for(weight.columns), shared_bytes: 0 }
}

/// y += the one row of `row`, to every row.
pub(super) fn add_to_rows(y: &Matrix, row: &Matrix) -> Result<(), EngineError> {
    let launch = Launch::rows(y.rows, threads_for(y.columns));
    y.card().launch("add_to_rows", launch, &[&y, &row, &(y.columns as i32), &y.stride])
}

/// [gate | up] (R, 2f) → silu(gate) ∘ up (R, f)
pub(super) fn swiglu(gate_up: &Matrix, y: &Matrix) -> Result<(), EngineError> {
    let launch = Launch { grid: (y.rows, y.columns.div_ceil(8 * 256)), threads: 256, shared_bytes: 0 };
    y.card().launch("swiglu", launch, &[&gate_up, &y, &(y.columns as i32), &y.stride])
}

/// [gate | up] (R, 2f) becomes its own gradient.
pub(super) fn swiglu_backward(dy: &Matrix, gate_up: &Matrix) -> Result<(), EngineError> {
    let launch = Launch { grid: (dy.rows, dy.columns.div_ceil(8 * 256)), threads: 256, shared_bytes: 0 };
    dy.card().launch("swiglu_backward", launch, &[&dy, &gate_up, &(dy.columns as i32), &dy.stride])
}

/// y = x with some values dropped, or y += that.
fn drop_out(x: &Matrix, y: &Matrix, dropout: Dropout, seed: u64, add: bool) -> Result<(), EngineError> {
    let keep = 1.0 - dropout.probability;
    let threshold = (f64::from(keep) * (1u64 << 32) as f64) as u64;
    x.card().launch(
        "dropout",
        Launch::rows(x.rows, threads_for(x.columns)),
        &[&x, &y, &(x.columns as i32), &x.stride, &y.stride, &keep, &threshold, &seed, &i32::from(add)],
    )
}
