//! The shape of a Llama, or of one of its relatives.

use crate::error::EngineError;
use domain::model::BaseModelInfo;

/// Models that are Llamas but for a detail or two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Llama 2, 3, 3.1, 3.2.
    #[default]
    Llama,
    /// A Llama under another name.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Every head of q and k goes through a norm of its own.
    Qwen3,
}

impl Family {
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// `model_type` in Hugging Face's `config.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// `general.architecture` in a GGUF file: llama.cpp stores Mistral as Llama.
    pub fn gguf_architecture(self) -> &'static str {
        match self {
            Self::Llama | Self::Mistral => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// By the name that `config.json` or a GGUF file has for it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }

    /// Biases on q, k and v.
    pub fn has_attention_bias(self) -> bool {
        self == Self::Qwen2
    }

    /// A norm on every head of q and k.
    pub fn has_query_key_norm(self) -> bool {
        self == Self::Qwen3
    }

    /// All of them, for messages.
    pub fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

/// How a context longer than the one first trained on is made of the rotary frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Every frequency is divided by the factor.
    Linear { factor: f32 },
    /// Llama 3.1: low frequencies are divided by the factor, high ones are not, those between in part
    /// (`_compute_llama3_parameters` in transformers).
    Llama3 { factor: f32, low_freq_factor: f32, high_freq_factor: f32, original_max_position_embeddings: usize },
    /// What each frequency is divided by: the tensor `rope_freqs` of a GGUF file, head_dim / 2 of them.
    Factors(Vec<f32>),
}

/// Sizes and constants of a Llama; names as in Hugging Face's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    pub rope_scaling: Option<RopeScaling>,
    pub max_position_embeddings: usize,
    /// The output layer is the embedding.
    pub tie_word_embeddings: bool,
}

impl RopeScaling {
    fn is_sound(&self, head_dim: usize) -> bool {
        let positive = |value: f32| value.is_finite() && value > 0.0;
        match self {
            Self::Linear { factor } => positive(*factor),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                positive(*factor)
                    && positive(*low_freq_factor)
                    && high_freq_factor.is_finite()
                    && high_freq_factor > low_freq_factor
                    && *original_max_position_embeddings > 0
            }
            Self::Factors(factors) => factors.len() == head_dim / 2 && factors.iter().all(|factor| positive(*factor)),
        }
    }
}

impl LlamaConfig {
    /// Largest size of any dimension that is believed; beyond it a file is broken or hostile.
    const MAX_DIMENSION: usize = 1 << 22;
    /// Longest context that is offered, in tokens; longer ones are cut to this. Cosines and sines are kept for each of
    /// its positions.
    const LONGEST_CONTEXT: usize = 1 << 17;

    /// The context that is offered of the one that a file states; what cannot be stays, for [`Self::check`] to refuse.
    pub fn offered_context(stated: usize) -> usize {
        if stated > Self::MAX_DIMENSION { stated } else { stated.min(Self::LONGEST_CONTEXT) }
    }

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
        if let Some(scaling) = &self.rope_scaling
            && !scaling.is_sound(self.head_dim)
        {
            return Err(EngineError::invalid(format!(
                "the scaling of the rotary positions makes no sense: {scaling:?}"
            )));
        }
        Ok(())
    }

    /// Width of the queries of all heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// The same for people and estimates.
    pub fn info(&self, name: &str) -> BaseModelInfo {
        BaseModelInfo {
            name: name.to_string(),
            architecture: self.family.as_str().to_string(),
            parameters: self.parameters(),
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            vocab_size: self.vocab_size,
            context_length: self.max_position_embeddings,
        }
    }

    /// Values of all weights, biases and norms together.
    pub fn parameters(&self) -> u64 {
        let (query, key_value) = (self.query_width(), self.key_value_width());
        let linears = 2 * self.hidden_size * (query + key_value) + 3 * self.hidden_size * self.intermediate_size;
        let biases = if self.family.has_attention_bias() { query + 2 * key_value } else { 0 };
        let head_norms = if self.family.has_query_key_norm() { 2 * self.head_dim } else { 0 };
        let layer = linears + biases + head_norms + 2 * self.hidden_size;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        (layer * self.num_hidden_layers + tables * self.vocab_size * self.hidden_size + self.hidden_size) as u64
    }

    /// Numbers in the keys and values of so many tokens.
    pub fn key_value_weights(&self, tokens: usize) -> usize {
        2 * tokens * self.key_value_width() * self.num_hidden_layers
    }

    /// Width of the keys (or values) of all key-value heads.
    pub fn key_value_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}
