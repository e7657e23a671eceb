//! A model as Hugging Face stores it: what its `config.json` says, and the names of its tensors.

use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::{Family, LlamaConfig, RopeScaling};
use crate::weights::safetensors::SafetensorsFile;
use crate::weights::small_file::{MAX_JSON_BYTES, read_at_most};
use domain::spec::TargetModule;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the file that tells a model's shape.
pub const CONFIG_FILE: &str = "config.json";

/// The fields of `config.json` that change the computation.
#[derive(Clone, Debug, Deserialize)]
pub struct HfConfig {
    /// What kind of model it is, such as `llama`; some old files lack it.
    pub model_type: Option<String>,
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
    pub rope_scaling: Option<RopeParameters>,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    pub hidden_act: Option<String>,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
    pub sliding_window: Option<usize>,
    /// Only Qwen's files have it; without it there, a window that is named is not used.
    pub use_sliding_window: Option<bool>,
    pub quantization_config: Option<QuantizationConfig>,
}

/// How rotary positions are scaled. The kind has two names, of which some files have both.
#[derive(Clone, Debug, Deserialize)]
pub struct RopeParameters {
    pub rope_theta: Option<f64>,
    pub rope_type: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub factor: Option<f64>,
    pub low_freq_factor: Option<f64>,
    pub high_freq_factor: Option<f64>,
    pub original_max_position_embeddings: Option<usize>,
}

/// How the weights of a quantised checkpoint are stored.
#[derive(Clone, Debug, Deserialize)]
pub struct QuantizationConfig {
    pub quant_method: Option<String>,
    #[serde(default)]
    pub load_in_4bit: bool,
    pub bnb_4bit_quant_type: Option<String>,
}

impl HfConfig {
    /// # Errors
    /// The file is no configuration, or one of a model that cannot be computed here; the message says why.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        Self::from_json(&read_at_most(path, MAX_JSON_BYTES)?).map_err(|reason| EngineError::bad_file(path, reason))
    }

    /// As [`HfConfig::read`], from the text of the file; the error says what about it.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        let kind: Kind =
            serde_json::from_slice(text).map_err(|error| format!("is no configuration of a model: {error}"))?;
        // Before all else: another kind of model lacks these fields and would be refused for that.
        kind.check()?;
        let config: Self =
            serde_json::from_slice(text).map_err(|error| format!("is no configuration of a Llama: {error}"))?;
        config.check()?;
        Ok(config)
    }

    /// What would be computed wrongly is refused.
    fn check(&self) -> Result<(), String> {
        if self.num_attention_heads == 0 || self.num_key_value_heads == Some(0) {
            return Err("has no attention heads".to_string());
        }
        if let Some(other) = self.hidden_act.as_deref().filter(|name| *name != "silu") {
            return Err(format!("uses the activation \"{other}\"; silu is supported"));
        }
        // Qwen2 always has its biases, on q, k and v; Llama's would be on the output, too.
        if (self.attention_bias && !self.family().has_attention_bias()) || self.mlp_bias {
            return Err("has biases (attention_bias or mlp_bias), which are not supported for this family".to_string());
        }
        if let Some(quantization) = &self.quantization_config {
            quantization.check()?;
        }
        self.scaling().map(|_| ())
    }

    fn family(&self) -> Family {
        self.model_type.as_deref().and_then(Family::parse).unwrap_or_default()
    }

    /// The weights are stored in NF4, as bitsandbytes does.
    pub fn is_nf4(&self) -> bool {
        self.quantization_config.is_some()
    }

    fn rope(&self) -> impl Iterator<Item = &RopeParameters> {
        self.rope_parameters.iter().chain(&self.rope_scaling)
    }

    /// 10,000 where the file is silent, as in transformers.
    fn theta(&self) -> f64 {
        self.rope().find_map(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0)
    }

    fn scaling(&self) -> Result<Option<RopeScaling>, String> {
        for rope in self.rope() {
            let kind = rope.rope_type.as_deref().or(rope.kind.as_deref()).unwrap_or("default");
            let number = |name: &str, value: Option<f64>| {
                value.map(|value| value as f32).ok_or_else(|| format!("scales RoPE ({kind}) without {name}"))
            };
            match kind {
                "default" => {}
                "linear" => return Ok(Some(RopeScaling::Linear { factor: number("factor", rope.factor)? })),
                "llama3" => {
                    return Ok(Some(RopeScaling::Llama3 {
                        factor: number("factor", rope.factor)?,
                        low_freq_factor: number("low_freq_factor", rope.low_freq_factor)?,
                        high_freq_factor: number("high_freq_factor", rope.high_freq_factor)?,
                        original_max_position_embeddings: rope
                            .original_max_position_embeddings
                            .ok_or("scales RoPE (llama3) without original_max_position_embeddings")?,
                    }));
                }
                other => {
                    return Err(format!(
                        "scales RoPE in the way \"{other}\"; supported are default, linear and llama3"
                    ));
                }
            }
        }
        Ok(None)
    }

    /// The same in the engine's words.
    pub fn llama(&self) -> LlamaConfig {
        let family = self.family();
        // Within the window a model with one computes what a model without one does.
        let uses_window = self.use_sliding_window.unwrap_or(family == Family::Mistral);
        let window = self.sliding_window.filter(|_| uses_window).unwrap_or(usize::MAX);
        LlamaConfig {
            family,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim: self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads),
            rms_norm_eps: self.rms_norm_eps as f32,
            rope_theta: self.theta() as f32,
            // `read` has refused what this would not understand.
            rope_scaling: self.scaling().unwrap_or(None),
            max_position_embeddings: LlamaConfig::offered_context(self.max_position_embeddings.min(window)),
            tie_word_embeddings: self.tie_word_embeddings,
        }
    }
}

/// What is read first of a configuration.
#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
}

impl Kind {
    fn check(&self) -> Result<(), String> {
        let known = self.model_type.as_deref().is_none_or(|name| Family::parse(name).is_some());
        let writes = self.architectures.iter().all(|name| name.ends_with("ForCausalLM") || name.ends_with("Model"));
        if known && writes {
            return Ok(());
        }
        let name = self.architectures.first().or(self.model_type.as_ref()).map_or("", String::as_str);
        Err(format!("is a model of the architecture \"{name}\"; supported are the text models of: {}", Family::list()))
    }
}

impl QuantizationConfig {
    fn check(&self) -> Result<(), String> {
        let method = self.quant_method.as_deref().unwrap_or("bitsandbytes");
        let kind = self.bnb_4bit_quant_type.as_deref().unwrap_or("fp4");
        if method == "bitsandbytes" && self.load_in_4bit && kind == "nf4" {
            return Ok(());
        }
        let named = if method == "bitsandbytes" {
            format!("bitsandbytes ({})", if self.load_in_4bit { kind } else { "8 bit" })
        } else {
            method.to_string()
        };
        Err(format!("is quantised with {named}; supported are unquantised models and bitsandbytes' nf4"))
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
        Wanted::QueryNorm(layer) => format!("model.layers.{layer}.self_attn.q_norm.weight"),
        Wanted::KeyNorm(layer) => format!("model.layers.{layer}.self_attn.k_norm.weight"),
        Wanted::Projection(layer, module) => format!("{}.weight", linear_name(layer, module)),
        Wanted::Bias(layer, module) => format!("{}.bias", linear_name(layer, module)),
    }
}

fn linear_name(layer: usize, module: TargetModule) -> String {
    let part = match module {
        TargetModule::GateProj | TargetModule::UpProj | TargetModule::DownProj => "mlp",
        _ => "self_attn",
    };
    format!("model.layers.{layer}.{part}.{}", module.as_str())
}

/// Configuration and all tensors of a folder, as f32, by their names there. For small models: everything is in memory
/// at once.
pub fn open(directory: &Path) -> Result<(HfConfig, BTreeMap<String, Vec<f32>>), EngineError> {
    let config = HfConfig::read(&directory.join(CONFIG_FILE))?;
    let file = SafetensorsFile::open(&directory.join("model.safetensors"))?;
    let mut tensors = BTreeMap::new();
    for name in file.names() {
        let values = file.tensor_f32(&name)?;
        tensors.insert(name, values);
    }
    Ok((config, tensors))
}
