//! Rotary positions, in the half-split layout of Hugging Face's Llama.

use crate::error::EngineError;
use crate::kernels::edit;
use crate::kernels::math::vectorised;
use crate::model::config::{LlamaConfig, RopeScaling};
use candle_core::Tensor;
use rayon::prelude::*;
use std::f32::consts::TAU;

/// Cosines and sines for every position of a context.
pub struct Rope {
    half: usize,
    /// (positions, half)
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// By what a position turns each pair of a head, in radians: theta^(-2 i / head_dim), scaled. In f32, as transformers
/// computes it: the reference numbers come from there.
fn frequencies(config: &LlamaConfig) -> Vec<f32> {
    let plain = |pair: usize| 1.0 / config.rope_theta.powf(2.0 * pair as f32 / config.head_dim as f32);
    let scaled = |pair: usize| {
        let frequency = plain(pair);
        match &config.rope_scaling {
            None => frequency,
            Some(RopeScaling::Linear { factor }) => frequency / factor,
            Some(RopeScaling::Factors(factors)) => frequency / factors.get(pair).copied().unwrap_or(1.0),
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            }) => {
                // How often the pair turns within the original context: seldom, it is slowed down; often, it is left.
                let turns = *original_max_position_embeddings as f32 * frequency / TAU;
                if turns < *low_freq_factor {
                    frequency / factor
                } else if turns > *high_freq_factor {
                    frequency
                } else {
                    let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    };
    (0..config.head_dim / 2).map(scaled).collect()
}

/// What each plain frequency is divided by: how a GGUF file holds Llama 3.1's scaling.
pub fn frequency_factors(config: &LlamaConfig) -> Vec<f32> {
    let unscaled = LlamaConfig { rope_scaling: None, ..config.clone() };
    frequencies(&unscaled).iter().zip(frequencies(config)).map(|(plain, scaled)| plain / scaled).collect()
}

/// Which way to turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    /// A rotation's transpose is the rotation back: this is its backward pass.
    Backward,
}

impl Rope {
    pub fn new(config: &LlamaConfig) -> Self {
        let half = config.head_dim / 2;
        let positions = config.max_position_embeddings;
        let frequencies = frequencies(config);
        let mut cosines = Vec::with_capacity(positions * half);
        let mut sines = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for frequency in &frequencies {
                let angle = position as f32 * frequency;
                cosines.push(angle.cos());
                sines.push(angle.sin());
            }
        }
        Self { half, cosines, sines }
    }

    /// Cosines and sines, (positions, head_dim / 2) each.
    pub fn tables(&self) -> (&[f32], &[f32]) {
        (&self.cosines, &self.sines)
    }

    pub fn positions(&self) -> usize {
        self.cosines.len() / self.half
    }

    /// Turns every head of x (T, heads · head_dim) in place, row t by `positions[t]`.
    ///
    /// For the pair (a, b) = (x_i, x_{i + half}) and the angle θ of position and i:
    /// a' = a cos θ - b sin θ,  b' = b cos θ + a sin θ.
    pub fn turn(&self, x: &Tensor, positions: &[u32], direction: Direction) -> Result<(), EngineError> {
        let (rows, width) = x.dims2()?;
        let head_dim = 2 * self.half;
        if positions.len() != rows || !width.is_multiple_of(head_dim) {
            return Err(EngineError::invalid("rotary positions do not fit their rows"));
        }
        if let Some(position) = positions.iter().find(|&&position| position as usize >= self.positions()) {
            return Err(EngineError::invalid(format!(
                "position {position} lies beyond the context of {} tokens",
                self.positions()
            )));
        }
        let sign = if direction == Direction::Forward { 1.0 } else { -1.0 };
        edit(x, |values, layout| {
            let stride = layout.stride()[0];
            // The view's last row may end before a whole stride does.
            values.par_chunks_mut(stride).take(rows).zip(positions).with_min_len(64).for_each(|(row, &position)| {
                let at = position as usize * self.half;
                let (cosines, sines) = (&self.cosines[at..at + self.half], &self.sines[at..at + self.half]);
                vectorised(|| {
                    for head in row[..width].chunks_exact_mut(head_dim) {
                        let (a, b) = head.split_at_mut(self.half);
                        for i in 0..cosines.len() {
                            let (x, y) = (a[i], b[i]);
                            let sine = sign * sines[i];
                            a[i] = x * cosines[i] - y * sine;
                            b[i] = y * cosines[i] + x * sine;
                        }
                    }
                });
            });
        })
    }
}
