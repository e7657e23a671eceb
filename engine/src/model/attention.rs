//! Causal attention over a tree of packed sequences, with grouped key-value heads.

use crate::error::EngineError;
use crate::kernels::gemm::gemm_slices;
use crate::kernels::math::{dot, exp, max, sum, vectorised};
use crate::kernels::{Accumulate, Matrix, Rows, edit, empty};
use crate::model::config::LlamaConfig;
use crate::model::plan::{Plan, Sequence};
use candle_core::Tensor;
use rayon::prelude::*;
use std::ops::Range;

/// What attention reads. Row t of `q` belongs to token row `query_rows[t]`, or to token row t where there is no list
/// (the last layer asks only for the tokens whose output counts). `k` and `v` hold one row per key row of the plan.
pub struct AttentionInput<'a> {
    pub plan: &'a Plan,
    pub query_rows: Option<&'a [usize]>,
    /// (queries, heads · head_dim)
    pub q: &'a Tensor,
    /// (keys, key-value heads · head_dim)
    pub k: &'a Tensor,
    pub v: &'a Tensor,
}

/// o (queries, heads · head_dim), and the logarithm of each softmax's denominator, (queries, heads).
pub struct AttentionOutput {
    pub o: Tensor,
    pub log_sum_exp: Tensor,
}

/// The part of the work that shares its keys: one sequence and one key-value head.
struct Task<'a> {
    sequence: &'a Sequence,
    /// Rows of q.
    queries: Range<usize>,
    group: usize,
}

/// One task's operands, gathered so that they lie together. Query row `i * heads_per_group + h` is head h of query i.
struct Gathered {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// Per query row: the first so many keys are seen.
    visible: Vec<usize>,
    keys: usize,
}

struct Shape {
    head_dim: usize,
    heads: usize,
    groups: usize,
    heads_per_group: usize,
    scale: f32,
}

impl Shape {
    fn of(config: &LlamaConfig) -> Self {
        Self {
            head_dim: config.head_dim,
            heads: config.num_attention_heads,
            groups: config.num_key_value_heads,
            heads_per_group: config.num_attention_heads / config.num_key_value_heads,
            scale: 1.0 / (config.head_dim as f32).sqrt(),
        }
    }
}

impl<'a> AttentionInput<'a> {
    fn tasks(&self, shape: &Shape) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for sequence in &self.plan.sequences {
            let queries = match self.query_rows {
                None => sequence.tokens.clone(),
                Some(rows) => {
                    rows.partition_point(|&row| row < sequence.tokens.start)
                        ..rows.partition_point(|&row| row < sequence.tokens.end)
                }
            };
            if !queries.is_empty() {
                tasks.extend((0..shape.groups).map(|group| Task { sequence, queries: queries.clone(), group }));
            }
        }
        tasks
    }

    fn token_of(&self, query: usize) -> usize {
        self.query_rows.map_or(query, |rows| rows[query])
    }
}

impl Task<'_> {
    /// The key rows of this task, in the order in which the keys are gathered: context, then the sequence itself.
    fn key_rows(&self, plan: &Plan) -> impl Iterator<Item = usize> + use<'_> {
        let own = plan.cached + self.sequence.tokens.start..plan.cached + self.sequence.tokens.end;
        self.sequence.context.iter().cloned().chain([own]).flatten()
    }

    fn columns(&self, shape: &Shape) -> Range<usize> {
        self.group * shape.head_dim..(self.group + 1) * shape.head_dim
    }

    fn gather(&self, input: &AttentionInput, shape: &Shape, q: Rows, k: Rows, v: Rows) -> Gathered {
        let gather_keys = |from: Rows| {
            let mut gathered = Vec::new();
            for row in self.key_rows(input.plan) {
                gathered.extend_from_slice(&from.row(row)[self.columns(shape)]);
            }
            gathered
        };
        let (k, v) = (gather_keys(k), gather_keys(v));
        let keys = k.len() / shape.head_dim;
        let before: usize = keys - self.sequence.tokens.len();
        let visible = self
            .queries
            .clone()
            .flat_map(|query| {
                let own = input.token_of(query) - self.sequence.tokens.start + 1;
                std::iter::repeat_n(before + own, shape.heads_per_group)
            })
            .collect();
        Gathered { q: self.gather_queries(shape, q), k, v, visible, keys }
    }

    /// This task's heads of a (queries, heads · head_dim) matrix.
    fn gather_queries(&self, shape: &Shape, from: Rows) -> Vec<f32> {
        let width = shape.heads_per_group * shape.head_dim;
        let mut gathered = Vec::with_capacity(self.queries.len() * width);
        for query in self.queries.clone() {
            gathered.extend_from_slice(&from.row(query)[self.group * width..(self.group + 1) * width]);
        }
        gathered
    }
}

/// o = softmax(scale · q kᵀ, over the keys a query sees) v, scale = 1 / sqrt(head_dim).
pub fn forward(config: &LlamaConfig, input: &AttentionInput) -> Result<AttentionOutput, EngineError> {
    let shape = Shape::of(config);
    let queries = input.q.dim(0)?;
    let (q, k, v) = (Matrix::of(input.q)?, Matrix::of(input.k)?, Matrix::of(input.v)?);
    let (q, k, v) = (q.view(), k.view(), v.view());
    let tasks = input.tasks(&shape);
    let answers: Vec<(Vec<f32>, Vec<f32>)> = tasks
        .par_iter()
        .map(|task| {
            let gathered = task.gather(input, &shape, q, k, v);
            let rows = gathered.visible.len();
            let mut p = scores(&gathered, &shape);
            let log_sum_exp = vectorised(|| softmax_rows(&mut p, &gathered));
            let mut o = vec![0f32; rows * shape.head_dim];
            let sizes = (rows, gathered.keys, shape.head_dim);
            gemm_slices(&mut o, &p, false, &gathered.v, false, sizes, 1.0, Accumulate::Replace);
            (o, log_sum_exp)
        })
        .collect();

    let output =
        AttentionOutput { o: empty(queries, shape.heads * shape.head_dim)?, log_sum_exp: empty(queries, shape.heads)? };
    edit(&output.o, |o, _| {
        for (task, (answer, _)) in tasks.iter().zip(&answers) {
            put_queries(o, task, &shape, shape.head_dim, answer);
        }
    })?;
    edit(&output.log_sum_exp, |log_sum_exp, _| {
        for (task, (_, answer)) in tasks.iter().zip(&answers) {
            put_queries(log_sum_exp, task, &shape, 1, answer);
        }
    })?;
    Ok(output)
}

/// The gradients of q (queries, heads · head_dim), written, and of k and v (keys, groups · head_dim), added to.
pub struct AttentionGradient<'a> {
    pub dq: &'a Tensor,
    pub dk: &'a Tensor,
    pub dv: &'a Tensor,
}

/// The probabilities are computed again from `log_sum_exp`: p_ij = exp(scale · q_i·k_j - lse_i).
///
/// With o = p v:  dv = pᵀ do,  dp = do vᵀ, and through the softmax ds_ij = p_ij (dp_ij - Σ_j p_ij dp_ij), where
/// Σ_j p_ij dp_ij = do_i · o_i.  Then dq = scale · ds k and dk = scale · dsᵀ q.
///
/// Tasks run on all threads; what they add to shared keys is summed afterwards in the order of the sequences, so
/// that the result does not depend on which thread was first.
pub fn backward(
    config: &LlamaConfig,
    input: &AttentionInput,
    output: &AttentionOutput,
    d_o: &Tensor,
    gradient: &AttentionGradient,
) -> Result<(), EngineError> {
    let shape = Shape::of(config);
    let (q, k, v) = (Matrix::of(input.q)?, Matrix::of(input.k)?, Matrix::of(input.v)?);
    let (q, k, v) = (q.view(), k.view(), v.view());
    let (o, d_o) = (Matrix::of(&output.o)?, Matrix::of(d_o)?);
    let (o, d_o) = (o.view(), d_o.view());
    let log_sum_exp = Matrix::of(&output.log_sum_exp)?;
    let log_sum_exp = log_sum_exp.view();
    let tasks = input.tasks(&shape);
    let answers: Vec<[Vec<f32>; 3]> = tasks
        .par_iter()
        .map(|task| {
            let gathered = task.gather(input, &shape, q, k, v);
            let (rows, keys, head_dim) = (gathered.visible.len(), gathered.keys, shape.head_dim);
            let (o, d_o) = (task.gather_queries(&shape, o), task.gather_queries(&shape, d_o));
            let log_sum_exp: Vec<f32> = task
                .queries
                .clone()
                .flat_map(|query| {
                    &log_sum_exp.row(query)[task.group * shape.heads_per_group..][..shape.heads_per_group]
                })
                .copied()
                .collect();

            let mut p = scores(&gathered, &shape);
            vectorised(|| probability_rows(&mut p, &gathered, &log_sum_exp));
            let mut dv = vec![0f32; keys * head_dim];
            gemm_slices(&mut dv, &p, true, &d_o, false, (keys, rows, head_dim), 1.0, Accumulate::Replace);

            let mut ds = vec![0f32; rows * keys];
            gemm_slices(&mut ds, &d_o, false, &gathered.v, true, (rows, head_dim, keys), 1.0, Accumulate::Replace);
            vectorised(|| {
                for (row, (ds, p)) in ds.chunks_exact_mut(keys).zip(p.chunks_exact(keys)).enumerate() {
                    let at = row * head_dim..(row + 1) * head_dim;
                    let pull = dot(&d_o[at.clone()], &o[at]);
                    for (ds, p) in ds.iter_mut().zip(p) {
                        *ds = p * (*ds - pull);
                    }
                }
            });

            let mut dq = vec![0f32; rows * head_dim];
            let scale = shape.scale;
            gemm_slices(&mut dq, &ds, false, &gathered.k, false, (rows, keys, head_dim), scale, Accumulate::Replace);
            let mut dk = vec![0f32; keys * head_dim];
            gemm_slices(&mut dk, &ds, true, &gathered.q, false, (keys, rows, head_dim), scale, Accumulate::Replace);
            [dq, dk, dv]
        })
        .collect();

    edit(gradient.dq, |dq, layout| {
        let stride = layout.stride()[0];
        let width = shape.heads_per_group * shape.head_dim;
        for (task, [answer, _, _]) in tasks.iter().zip(&answers) {
            for (query, answer) in task.queries.clone().zip(answer.chunks_exact(width)) {
                dq[query * stride + task.group * width..][..width].copy_from_slice(answer);
            }
        }
    })?;
    for (tensor, which) in [(gradient.dk, 1), (gradient.dv, 2)] {
        edit(tensor, |sum, layout| {
            let stride = layout.stride()[0];
            for (task, answers) in tasks.iter().zip(&answers) {
                let columns = task.columns(&shape);
                for (key, answer) in task.key_rows(input.plan).zip(answers[which].chunks_exact(shape.head_dim)) {
                    for (sum, answer) in sum[key * stride + columns.start..][..shape.head_dim].iter_mut().zip(answer) {
                        *sum += answer;
                    }
                }
            }
        })?;
    }
    Ok(())
}

/// scale · q kᵀ, (query rows, keys)
fn scores(gathered: &Gathered, shape: &Shape) -> Vec<f32> {
    let rows = gathered.visible.len();
    let mut scores = vec![0f32; rows * gathered.keys];
    let sizes = (rows, shape.head_dim, gathered.keys);
    gemm_slices(&mut scores, &gathered.q, false, &gathered.k, true, sizes, shape.scale, Accumulate::Replace);
    scores
}

/// Scores to probabilities, zero where a key is not seen; returns each row's log of the sum of exponentials.
#[inline(always)]
fn softmax_rows(scores: &mut [f32], gathered: &Gathered) -> Vec<f32> {
    let mut log_sum_exp = Vec::with_capacity(gathered.visible.len());
    for (row, &visible) in scores.chunks_exact_mut(gathered.keys).zip(&gathered.visible) {
        let (seen, unseen) = row.split_at_mut(visible);
        let largest = max(seen);
        for value in seen.iter_mut() {
            *value = exp(*value - largest);
        }
        let total = sum(seen);
        let share = 1.0 / total;
        for value in seen.iter_mut() {
            *value *= share;
        }
        unseen.fill(0.0);
        log_sum_exp.push(largest + total.ln());
    }
    log_sum_exp
}

/// Scores to probabilities, with the denominators known.
#[inline(always)]
fn probability_rows(scores: &mut [f32], gathered: &Gathered, log_sum_exp: &[f32]) {
    for ((row, &visible), &log_sum_exp) in
        scores.chunks_exact_mut(gathered.keys).zip(&gathered.visible).zip(log_sum_exp)
    {
        let (seen, unseen) = row.split_at_mut(visible);
        for value in seen.iter_mut() {
            *value = exp(*value - log_sum_exp);
        }
        unseen.fill(0.0);
    }
}

/// Writes a task's answer, `width` values per head, to its place in a contiguous (queries, heads · width) matrix.
fn put_queries(matrix: &mut [f32], task: &Task, shape: &Shape, width: usize, answer: &[f32]) {
    let group_width = shape.heads_per_group * width;
    for (query, answer) in task.queries.clone().zip(answer.chunks_exact(group_width)) {
        matrix[query * shape.heads * width + task.group * group_width..][..group_width].copy_from_slice(answer);
    }
}
