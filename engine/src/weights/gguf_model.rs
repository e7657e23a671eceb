//! A model in a GGUF file: its shape from the metadata, its tensors under llama.cpp's names.

use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::{Family, LlamaConfig, RopeScaling};
use crate::weights::gguf::{GgufFile, unpermute_rope};
use domain::spec::TargetModule;

/// What each rotary frequency is divided by, where the model scales them.
pub const ROPE_FREQUENCIES: &str = "rope_freqs.weight";

/// llama.cpp's name of a tensor.
pub fn tensor_name(wanted: Wanted) -> String {
    match wanted {
        Wanted::Embedding => "token_embd.weight".to_string(),
        Wanted::Head => "output.weight".to_string(),
        Wanted::Norm => "output_norm.weight".to_string(),
        Wanted::InputNorm(layer) => format!("blk.{layer}.attn_norm.weight"),
        Wanted::PostAttentionNorm(layer) => format!("blk.{layer}.ffn_norm.weight"),
        Wanted::QueryNorm(layer) => format!("blk.{layer}.attn_q_norm.weight"),
        Wanted::KeyNorm(layer) => format!("blk.{layer}.attn_k_norm.weight"),
        Wanted::Projection(layer, module) => format!("blk.{layer}.{}.weight", linear_name(module)),
        Wanted::Bias(layer, module) => format!("blk.{layer}.{}.bias", linear_name(module)),
    }
}

fn linear_name(module: TargetModule) -> &'static str {
    match module {
        TargetModule::QProj => "attn_q",
        TargetModule::KProj => "attn_k",
        TargetModule::VProj => "attn_v",
        TargetModule::OProj => "attn_output",
        TargetModule::GateProj => "ffn_gate",
        TargetModule::UpProj => "ffn_up",
        TargetModule::DownProj => "ffn_down",
    }
}

/// Heads of a tensor whose rows llama.cpp stores in the order of interleaved RoPE pairs: q and k of architecture llama.
pub fn interleaved_heads(wanted: Wanted, config: &LlamaConfig) -> Option<usize> {
    if config.family.gguf_architecture() != "llama" {
        return None;
    }
    match wanted {
        Wanted::Projection(_, TargetModule::QProj) => Some(config.num_attention_heads),
        Wanted::Projection(_, TargetModule::KProj) => Some(config.num_key_value_heads),
        _ => None,
    }
}

/// A tensor of a shape, row-major, in Hugging Face's order of rows.
pub fn read_tensor(
    file: &GgufFile,
    config: &LlamaConfig,
    wanted: Wanted,
    shape: &[usize],
) -> Result<Vec<f32>, EngineError> {
    let mut values = file.tensor_of_shape(&tensor_name(wanted), shape)?;
    if let Some(heads) = interleaved_heads(wanted, config) {
        unpermute_rope(&mut values, heads, config.head_dim, config.hidden_size);
    }
    Ok(values)
}

/// The model's shape.
///
/// # Errors
/// Another architecture, or one of a kind that is not supported; a number that is missing.
pub fn config_of(file: &GgufFile) -> Result<LlamaConfig, EngineError> {
    let architecture = file.require_str("general.architecture")?;
    let family = Family::parse(architecture).filter(|family| family.gguf_architecture() == architecture);
    let Some(family) = family else {
        return Err(file.bad(format!(
            "is a model of the architecture \"{architecture}\"; supported are: {} (Mistral is stored as llama)",
            Family::list()
        )));
    };
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| file.require_u32(&key(name)).map(|value| value as usize);
    if file.metadata_u32(&key("expert_count")).is_some_and(|experts| experts > 0) {
        return Err(file.bad("is a mixture of experts, which is not supported"));
    }
    if let Some(name) = file.tensor_names().find(|name| name.ends_with(".bias") && !family.has_attention_bias()) {
        return Err(file.bad(format!("has biases (\"{name}\"), which are not supported for {architecture}")));
    }
    let hidden_size = size("embedding_length")?;
    let num_attention_heads = size("attention.head_count")?;
    if num_attention_heads == 0 {
        return Err(file.bad(format!("{} is 0", key("attention.head_count"))));
    }
    let embedding =
        file.shape("token_embd.weight").ok_or_else(|| file.bad("the tensor token_embd.weight is missing"))?;
    let head_dim = file
        .metadata_u32(&key("attention.key_length"))
        .map_or(hidden_size / num_attention_heads, |width| width as usize);
    let window = file.metadata_u32(&key("attention.sliding_window")).filter(|window| *window > 0);
    let context = size("context_length")?.min(window.map_or(usize::MAX, |window| window as usize));
    Ok(LlamaConfig {
        family,
        vocab_size: embedding.first().copied().unwrap_or(0),
        hidden_size,
        intermediate_size: size("feed_forward_length")?,
        num_hidden_layers: size("block_count")?,
        num_attention_heads,
        num_key_value_heads: file
            .metadata_u32(&key("attention.head_count_kv"))
            .map_or(num_attention_heads, |heads| heads as usize),
        head_dim,
        rms_norm_eps: file.require_f32(&key("attention.layer_norm_rms_epsilon"))?,
        rope_theta: file.metadata_f32(&key("rope.freq_base")).unwrap_or(10_000.0),
        rope_scaling: scaling_of(file, architecture, head_dim)?,
        max_position_embeddings: LlamaConfig::offered_context(context),
        tie_word_embeddings: file.shape("output.weight").is_none(),
    })
}

fn scaling_of(file: &GgufFile, architecture: &str, head_dim: usize) -> Result<Option<RopeScaling>, EngineError> {
    if file.shape(ROPE_FREQUENCIES).is_some() {
        return Ok(Some(RopeScaling::Factors(file.tensor_of_shape(ROPE_FREQUENCIES, &[head_dim / 2])?)));
    }
    let kind = file.metadata_str(&format!("{architecture}.rope.scaling.type")).unwrap_or("none");
    match kind {
        "none" => Ok(None),
        "linear" => {
            Ok(Some(RopeScaling::Linear { factor: file.require_f32(&format!("{architecture}.rope.scaling.factor"))? }))
        }
        other => {
            Err(file.bad(format!("scales RoPE in the way \"{other}\"; supported are none, linear and rope_freqs")))
        }
    }
}
