//! The shape of a Llama.

use crate::error::EngineError;

/// Sizes and constants of a Llama; names as in Hugging Face's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    pub max_position_embeddings: usize,
}

impl LlamaConfig {
    /// Largest size of any dimension that is believed; beyond it a file is broken or hostile.
    const MAX_DIMENSION: usize = 1 << 22;

    /// The sizes fit each other.
    pub fn check(&self) -> Result<(), EngineError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (name, size) in sizes {
            if size == 0 || size > Self::MAX_DIMENSION {
                return Err(EngineError::invalid(format!("the model's {name} is {size}, which cannot be")));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(EngineError::invalid(format!(
                "{} attention heads cannot share {} key-value heads evenly",
                self.num_attention_heads, self.num_key_value_heads
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(EngineError::invalid(format!("head_dim is {}; rotary positions need pairs", self.head_dim)));
        }
        if !(self.rms_norm_eps > 0.0 && self.rope_theta > 0.0) {
            return Err(EngineError::invalid("rms_norm_eps and rope_theta must be above zero"));
        }
        Ok(())
    }

    /// Width of the queries of all heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of the keys (or values) of all key-value heads.
    pub fn key_value_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}
