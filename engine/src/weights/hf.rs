//! A Llama as Hugging Face stores it: `config.json` and `model.safetensors` in a folder.

use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::weights::safetensors::SafetensorsFile;
use crate::weights::small_file::{MAX_JSON_BYTES, read_at_most};
use domain::spec::TargetModule;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The fields of `config.json` that a Llama's computation needs.
#[derive(Clone, Debug, Deserialize)]
pub struct HfConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// None: as many as attention heads.
    pub num_key_value_heads: Option<usize>,
    /// None: hidden size / attention heads.
    pub head_dim: Option<usize>,
    pub rms_norm_eps: f64,
    /// In older files at the top, in newer ones (transformers 5) within `rope_parameters`.
    pub rope_theta: Option<f64>,
    pub rope_parameters: Option<RopeParameters>,
    /// How older files say that RoPE is scaled.
    pub rope_scaling: Option<RopeScaling>,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    #[serde(default)]
    pub tie_word_embeddings: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RopeParameters {
    pub rope_theta: Option<f64>,
    pub rope_type: Option<String>,
}

/// Its kind has two names, of which some files have both.
#[derive(Clone, Debug, Deserialize)]
pub struct RopeScaling {
    pub rope_type: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl HfConfig {
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let config: Self = serde_json::from_slice(&read_at_most(path, MAX_JSON_BYTES)?)
            .map_err(|error| EngineError::bad_file(path, format!("is no configuration of a Llama: {error}")))?;
        if config.num_attention_heads == 0 || config.num_key_value_heads == Some(0) {
            return Err(EngineError::bad_file(path, "has no attention heads"));
        }
        let parameters = config.rope_parameters.as_ref().and_then(|rope| rope.rope_type.as_deref());
        let scaling = config.rope_scaling.as_ref().and_then(|rope| rope.rope_type.as_deref().or(rope.kind.as_deref()));
        if let Some(other) = parameters.into_iter().chain(scaling).find(|kind| *kind != "default") {
            return Err(EngineError::bad_file(path, format!("scales RoPE in the way \"{other}\", which is not known")));
        }
        Ok(config)
    }

    pub fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub fn head_size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// 10,000 where the file is silent, as in transformers.
    pub fn theta(&self) -> f64 {
        let inner = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        inner.or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// The same in the engine's words.
    pub fn llama(&self) -> LlamaConfig {
        LlamaConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.key_value_heads(),
            head_dim: self.head_size(),
            rms_norm_eps: self.rms_norm_eps as f32,
            rope_theta: self.theta() as f32,
            max_position_embeddings: self.max_position_embeddings,
        }
    }
}

/// Hugging Face's name of a tensor.
pub fn tensor_name(wanted: Wanted) -> String {
    match wanted {
        Wanted::Embedding => "model.embed_tokens.weight".into(),
        Wanted::Head => "lm_head.weight".into(),
        Wanted::Norm => "model.norm.weight".into(),
        Wanted::InputNorm(layer) => format!("model.layers.{layer}.input_layernorm.weight"),
        Wanted::PostAttentionNorm(layer) => format!("model.layers.{layer}.post_attention_layernorm.weight"),
        Wanted::Projection(layer, module) => {
            let part = match module {
                TargetModule::GateProj | TargetModule::UpProj | TargetModule::DownProj => "mlp",
                _ => "self_attn",
            };
            format!("model.layers.{layer}.{part}.{}.weight", module.as_str())
        }
    }
}

/// Configuration and all tensors of a folder, as f32, by their names there. For small models: everything is in memory
/// at once.
pub fn open(directory: &Path) -> Result<(HfConfig, BTreeMap<String, Vec<f32>>), EngineError> {
    let config = HfConfig::read(&directory.join("config.json"))?;
    let file = SafetensorsFile::open(&directory.join("model.safetensors"))?;
    let mut tensors = BTreeMap::new();
    for name in file.names() {
        let values = file.tensor_f32(&name)?;
        tensors.insert(name, values);
    }
    Ok((config, tensors))
}
