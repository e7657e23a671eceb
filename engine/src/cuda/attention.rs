//! Attention over a tree of packed sequences on a card: what each block works on, and the launches.
//!
//! The kernels and the formulas are in `kernels/attention.cu`; the function of the CPU that computes the same is
//! `model::attention`.

use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::plan::{Plan, Sequence};
use std::sync::Arc;

/// Head sizes that the kernels are compiled for.
pub const HEAD_DIMS: [usize; 5] = [16, 32, 64, 96, 128];

/// Entry points, by head size in the order of [`HEAD_DIMS`].
const FORWARD: [&str; 5] = [
    "attention_forward_d16",
    "attention_forward_d32",
    "attention_forward_d64",
    "attention_forward_d96",
    "attention_forward_d128",
];
const BACKWARD_QUERY: [&str; 5] = [
    "attention_backward_query_d16",
    "attention_backward_query_d32",
    "attention_backward_query_d64",
    "attention_backward_query_d96",
    "attention_backward_query_d128",
];
const BACKWARD_KEY_VALUE: [&str; 5] = [
    "attention_backward_keyvalue_d16",
    "attention_backward_keyvalue_d32",
    "attention_backward_keyvalue_d64",
    "attention_backward_keyvalue_d96",
    "attention_backward_keyvalue_d128",
];

pub(super) const KERNELS: &[&str] = &[
    FORWARD[0],
    FORWARD[1],
    FORWARD[2],
    FORWARD[3],
    FORWARD[4],
    BACKWARD_QUERY[0],
    BACKWARD_QUERY[1],
    BACKWARD_QUERY[2],
    BACKWARD_QUERY[3],
    BACKWARD_QUERY[4],
    BACKWARD_KEY_VALUE[0],
    BACKWARD_KEY_VALUE[1],
    BACKWARD_KEY_VALUE[2],
    BACKWARD_KEY_VALUE[3],
    BACKWARD_KEY_VALUE[4],
];

/// As in the kernels: threads of a block, query rows and keys that it takes, and queries it takes per step where it sums
/// over queries.
const THREADS: usize = 128;
const BLOCK_QUERIES: usize = 64;
const BLOCK_KEYS: usize = 64;
const STEP_QUERIES: usize = 32;

/// Values from one row of shared memory to the next.
fn pitch(head_dim: usize) -> usize {
    head_dim + 8
}

fn backward_query_shared(head_dim: usize) -> usize {
    2 * (BLOCK_QUERIES + BLOCK_KEYS) * pitch(head_dim) * 2
}

fn backward_key_value_shared(head_dim: usize) -> usize {
    2 * (BLOCK_KEYS + 2 * STEP_QUERIES) * pitch(head_dim) * 2 + 2 * 3 * STEP_QUERIES * 4
}

/// As the kernels read it: a sequence's first token row and length, and up to two ranges of key rows before its own.
#[repr(C)]
#[derive(Clone, Copy)]
struct CudaSequence {
    first: i32,
    length: i32,
    context_first: [i32; 2],
    context_length: [i32; 2],
}

/// As the kernels read it: query rows of a sequence, from `first` on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tile {
    sequence: i32,
    first: i32,
}

/// As the kernels read it: keys `first .. first + keys` of a sequence's list, and how many consecutive sequences from
/// it on look at them.
#[repr(C)]
#[derive(Clone, Copy)]
struct KeyTile {
    sequence: i32,
    sequences: i32,
    first: i32,
    keys: i32,
}

/// Blocks that should at least be there for every multiprocessor to have some: with fewer, sequences that share their
/// context are not put together.
const BLOCKS_WANTED: usize = 264;

/// A plan as the kernels read it.
pub(super) struct AttentionPlan {
    sequences: Buffer,
    tiles: Buffer,
    tile_count: usize,
    key_tiles: Buffer,
    key_tile_count: usize,
    cached: usize,
    /// Index into [`HEAD_DIMS`].
    head: usize,
}

/// q, k and v after rotation, with the keys and values of earlier tokens.
pub(super) struct AttentionOperands<'a> {
    pub config: &'a LlamaConfig,
    pub q: Matrix,
    pub k: Matrix,
    pub v: Matrix,
    pub cache: Option<&'a (Matrix, Matrix)>,
}

impl AttentionPlan {
    pub fn new(card: &Arc<Card>, config: &LlamaConfig, plan: &Plan, backward: bool) -> Result<Self, EngineError> {
        let head = HEAD_DIMS
            .iter()
            .position(|&head_dim| head_dim == config.head_dim)
            .ok_or_else(|| EngineError::invalid(format!("no attention for heads of {}", config.head_dim)))?;
        if backward {
            // Said once per plan: setting it again costs less than remembering it.
            card.allow_shared_memory(BACKWARD_QUERY[head], backward_query_shared(config.head_dim))?;
            card.allow_shared_memory(BACKWARD_KEY_VALUE[head], backward_key_value_shared(config.head_dim))?;
        }
        let heads_per_group = config.num_attention_heads / config.num_key_value_heads;
        let sequences = plan.sequences.iter().map(cuda_sequence).collect::<Result<Vec<_>, _>>()?;
        let mut tiles = Vec::new();
        for (index, sequence) in sequences.iter().enumerate() {
            let rows = sequence.length as usize * heads_per_group;
            tiles
                .extend((0..rows).step_by(BLOCK_QUERIES).map(|row| Tile { sequence: index as i32, first: row as i32 }));
        }
        let key_tiles = if backward { key_tiles(&sequences, config.num_key_value_heads) } else { Vec::new() };
        Ok(Self {
            sequences: Buffer::of(card, &sequences)?,
            tiles: Buffer::of(card, &tiles)?,
            tile_count: tiles.len(),
            key_tiles: Buffer::of(card, &key_tiles)?,
            key_tile_count: key_tiles.len(),
            cached: plan.cached,
            head,
        })
    }

    fn launch(&self, tiles: usize, config: &LlamaConfig, shared_bytes: usize) -> Launch {
        Launch { grid: (tiles, config.num_key_value_heads), threads: THREADS, shared_bytes }
    }

    /// o (T, q width), and the logarithm of each softmax's denominator, (T, heads) f32.
    pub fn forward(&self, operands: &AttentionOperands, o: &Matrix, log_sum_exp: &Matrix) -> Result<(), EngineError> {
        let AttentionOperands { config, q, k, v, .. } = operands;
        let (cache_k, cache_v, cache_stride) = self.cache(operands)?;
        let (heads, key_value_heads) = (config.num_attention_heads as i32, config.num_key_value_heads as i32);
        q.card().launch(
            FORWARD[self.head],
            self.launch(self.tile_count, config, 0),
            &[
                &q,
                &k,
                &v,
                &cache_k,
                &cache_v,
                &o,
                &log_sum_exp,
                &self.sequences.address,
                &self.tiles.address,
                &(q.stride as i32),
                &(k.stride as i32),
                &cache_stride,
                &(o.stride as i32),
                &(self.cached as i32),
                &heads,
                &key_value_heads,
                &scale(config),
            ],
        )
    }

    /// Writes dq (T, q width), and adds dk and dv to the zeros of `d_keys_values` (T, 2 · key-value width) f32.
    pub fn backward(
        &self,
        operands: &AttentionOperands,
        o: &Matrix,
        log_sum_exp: &Matrix,
        d_o: &Matrix,
        dq: &Matrix,
        d_keys_values: &Matrix,
    ) -> Result<(), EngineError> {
        let AttentionOperands { config, q, k, v, .. } = operands;
        if self.cached > 0 {
            return Err(EngineError::invalid("there is no gradient through keys that come from a cache"));
        }
        let card = q.card();
        let delta = Matrix::new(card, Kind::F32, o.rows, config.num_attention_heads)?;
        let (cache_k, cache_v, cache_stride) = (0u64, 0u64, 0i32);
        let (heads, key_value_heads) = (config.num_attention_heads as i32, config.num_key_value_heads as i32);
        card.launch(
            BACKWARD_QUERY[self.head],
            self.launch(self.tile_count, config, backward_query_shared(config.head_dim)),
            &[
                &q,
                &k,
                &v,
                &cache_k,
                &cache_v,
                &o,
                &d_o,
                &log_sum_exp,
                &&delta,
                &dq,
                &self.sequences.address,
                &self.tiles.address,
                &(q.stride as i32),
                &(k.stride as i32),
                &cache_stride,
                &(o.stride as i32),
                &(d_o.stride as i32),
                &(dq.stride as i32),
                &0i32,
                &heads,
                &key_value_heads,
                &scale(config),
            ],
        )?;
        card.launch(
            BACKWARD_KEY_VALUE[self.head],
            self.launch(self.key_tile_count, config, backward_key_value_shared(config.head_dim)),
            &[
                &q,
                &k,
                &v,
                &d_o,
                &log_sum_exp,
                &&delta,
                &d_keys_values,
                &self.sequences.address,
                &self.key_tiles.address,
                &(q.stride as i32),
                &(k.stride as i32),
                &(d_o.stride as i32),
                &heads,
                &key_value_heads,
                &scale(config),
            ],
        )
    }

    fn cache(&self, operands: &AttentionOperands) -> Result<(u64, u64, i32), EngineError> {
        match operands.cache {
            _ if self.cached == 0 => Ok((0, 0, 0)),
            Some((k, v)) if k.rows >= self.cached => Ok((k.address(), v.address(), k.stride as i32)),
            _ => Err(EngineError::invalid("the plan continues more tokens than are cached")),
        }
    }
}

fn scale(config: &LlamaConfig) -> f32 {
    1.0 / (config.head_dim as f32).sqrt()
}

/// Ranges that follow each other are one; the kernels know two.
fn cuda_sequence(sequence: &Sequence) -> Result<CudaSequence, EngineError> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for range in sequence.context.iter().filter(|range| !range.is_empty()) {
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range.clone()),
        }
    }
    if ranges.len() > 2 {
        return Err(EngineError::invalid("a sequence continues more than two others"));
    }
    let part = |index: usize| ranges.get(index).cloned().unwrap_or(0..0);
    let (one, other) = (part(0), part(1));
    Ok(CudaSequence {
        first: sequence.tokens.start as i32,
        length: sequence.tokens.len() as i32,
        context_first: [one.start as i32, other.start as i32],
        context_length: [one.len() as i32, other.len() as i32],
    })
}

/// Pieces of keys with the sequences that look at them. A context that consecutive sequences share is taken once for
/// several of them, as long as enough blocks remain; each sequence's own keys are its own.
fn key_tiles(sequences: &[CudaSequence], key_value_heads: usize) -> Vec<KeyTile> {
    let pieces = |from: usize, to: usize| {
        (from..to).step_by(BLOCK_KEYS).map(move |first| (first as i32, BLOCK_KEYS.min(to - first) as i32))
    };
    let context_of = |sequence: &CudaSequence| (sequence.context_first, sequence.context_length);
    let together = (sequences.len() * key_value_heads / BLOCKS_WANTED).clamp(1, 16);
    let mut tiles = Vec::new();
    let mut begin = 0;
    while begin < sequences.len() {
        let shared = context_of(&sequences[begin]);
        let alike = sequences[begin..].iter().take(together).take_while(|other| context_of(other) == shared).count();
        let context = (shared.1[0] + shared.1[1]) as usize;
        tiles.extend(pieces(0, context).map(|(first, keys)| KeyTile {
            sequence: begin as i32,
            sequences: alike as i32,
            first,
            keys,
        }));
        for (index, sequence) in sequences.iter().enumerate().skip(begin).take(alike) {
            tiles.extend(pieces(context, context + sequence.length as usize).map(|(first, keys)| KeyTile {
                sequence: index as i32,
                sequences: 1,
                first,
                keys,
            }));
        }
        begin += alike;
    }
    tiles
}
