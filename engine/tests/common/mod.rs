//! What several tests need: the reference numbers, small models, and the slow twin.

#![allow(dead_code)] // every test file uses its own part

pub mod twin;

use candle_core::{Device, Tensor};
use domain::dataset::mix;
use domain::spec::{Quantization, TargetModule};
use engine::adapter::Lora;
use engine::base::{ShapedTensor, Wanted, assemble};
use engine::kernels::Matrix;
use engine::model::{Llama, LlamaConfig};
use engine::weights::hf;
use std::path::{Path, PathBuf};

/// Reference numbers, if this checkout has them beside it; prints why a test is skipped where it has not.
pub fn fixtures() -> Option<PathBuf> {
    beside("shared/fixtures")
}

pub fn beside(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

pub fn embedded_base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf")
}

/// Hugging Face's name of a tensor.
pub fn hf_name(wanted: Wanted) -> String {
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

/// The fixtures' tiny Llama.
pub fn tiny_llama(directory: &Path, quantization: Quantization) -> Llama {
    let (config, tensors) = hf::open(directory).unwrap();
    let config = LlamaConfig {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        num_key_value_heads: config.key_value_heads(),
        head_dim: config.head_size(),
        rms_norm_eps: config.rms_norm_eps as f32,
        rope_theta: config.theta() as f32,
        max_position_embeddings: config.max_position_embeddings,
    };
    assemble(config, quantization, &mut |tensor: &ShapedTensor| Ok(tensors.get(&hf_name(tensor.wanted)).cloned()))
        .unwrap()
}

/// A number in [-1, 1) from a seed and a place.
pub fn noise(seed: u64, place: usize) -> f32 {
    (mix(seed ^ mix(place as u64)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

pub fn small_config() -> LlamaConfig {
    LlamaConfig {
        vocab_size: 61,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        max_position_embeddings: 64,
    }
}

/// A Llama of random weights. `head_dim` is not hidden / heads, and the head is its own.
pub fn random_llama(quantization: Quantization) -> Llama {
    let mut drawn = 0;
    assemble(small_config(), quantization, &mut |tensor: &ShapedTensor| {
        drawn += 1;
        let is_norm = matches!(tensor.wanted, Wanted::Norm | Wanted::InputNorm(_) | Wanted::PostAttentionNorm(_));
        let value = |place| {
            let noise = noise(drawn, place);
            if is_norm { 1.0 + 0.3 * noise } else { 0.35 * noise }
        };
        Ok(Some((0..tensor.rows * tensor.columns).map(value).collect()))
    })
    .unwrap()
}

/// A LoRA whose every matrix is random, B too.
pub fn random_lora(config: &LlamaConfig, r: usize, lora_alpha: f64, modules: &[TargetModule]) -> Lora {
    let lora = Lora::zeros(config, r, lora_alpha, modules).unwrap();
    for (index, tensor) in lora.tensors().into_iter().enumerate() {
        let (rows, columns) = tensor.dims2().unwrap();
        let values: Vec<f32> = (0..rows * columns).map(|place| 0.4 * noise(1000 + index as u64, place)).collect();
        let values = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        engine::adapter::copy_into(tensor, &values).unwrap();
    }
    lora
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn matrix_values(tensor: &Tensor) -> Vec<f32> {
    let matrix = Matrix::of(tensor).unwrap();
    (0..matrix.rows).flat_map(|row| matrix.view().row(row).to_vec()).collect()
}

/// Largest difference over the largest value.
pub fn relative_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
    let difference = a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(a.iter().chain(b).all(|value| value.is_finite()));
    difference / largest.max(f32::MIN_POSITIVE)
}

pub fn assert_close(name: &str, a: &[f32], b: &[f32], tolerance: f32) {
    let difference = relative_difference(a, b);
    assert!(difference <= tolerance, "{name}: relative difference {difference} is above {tolerance}");
}
