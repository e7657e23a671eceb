//! What several tests need: the reference numbers, small models, and the slow twin.

#![allow(dead_code)] // every test file uses its own part

pub mod twin;

use candle_core::{Device, Tensor};
use domain::dataset::mix;
use domain::spec::{Quantization, TargetModule, TrainSpec};
use engine::adapter::Lora;
use engine::base::{ShapedTensor, Wanted, assemble};
use engine::kernels::Matrix;
use engine::model::config::Family;
use engine::model::{Llama, LlamaConfig};
use engine::text::batch::TokenRow;
use engine::train::{Example, TrainRequest};
use engine::weights::hf;
pub use engine::weights::hf::tensor_name as hf_name;
use engine::weights::safetensors::SafetensorsFile;
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

/// The fixtures' tiny Llama.
pub fn tiny_llama(directory: &Path, quantization: Quantization) -> Llama {
    let (config, tensors) = hf::open(directory).unwrap();
    let read = &mut |tensor: &ShapedTensor| Ok(tensors.get(&hf_name(tensor.wanted)).cloned().map(Into::into));
    assemble(config.llama(), quantization, read).unwrap()
}

/// A number in [-1, 1) from a seed and a place.
pub fn noise(seed: u64, place: usize) -> f32 {
    (mix(seed ^ mix(place as u64)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

pub fn small_config() -> LlamaConfig {
    LlamaConfig {
        family: Family::Llama,
        vocab_size: 61,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        max_position_embeddings: 64,
        tie_word_embeddings: false,
    }
}

/// A Llama of random weights. `head_dim` is not hidden / heads, and the head is its own.
pub fn random_llama(quantization: Quantization) -> Llama {
    random_model(small_config(), quantization)
}

/// Random weights in any shape.
pub fn random_model(config: LlamaConfig, quantization: Quantization) -> Llama {
    let mut drawn = 0;
    assemble(config, quantization, &mut |tensor: &ShapedTensor| {
        drawn += 1;
        let is_norm = !tensor.wanted.is_matrix() && !matches!(tensor.wanted, Wanted::Bias(..));
        let value = |place| {
            let noise = noise(drawn, place);
            if is_norm { 1.0 + 0.3 * noise } else { 0.35 * noise }
        };
        Ok(Some((0..tensor.rows * tensor.columns).map(value).collect::<Vec<f32>>().into()))
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

/// Of the reference: batches, rows of each, tokens of a row with its padding.
pub const BATCHES: usize = 4;
pub const ROWS: usize = 4;
pub const WIDTH: usize = 24;

/// The reference batches as rows: padding removed, loss where the labels say.
pub fn batches(directory: &Path) -> Vec<Vec<TokenRow>> {
    let file = SafetensorsFile::open(&directory.join("batches.safetensors")).unwrap();
    let read = |name: &str| file.tensor_i64(name).unwrap();
    let (ids, labels, mask) = (read("input_ids"), read("labels"), read("attention_mask"));
    let row = |at: usize| {
        let span = at * WIDTH..(at + 1) * WIDTH;
        let length = mask[span.clone()].iter().filter(|kept| **kept == 1).count();
        let labels = &labels[span.clone()][..length];
        let loss_from = labels.iter().position(|label| *label != -100).unwrap().max(1);
        assert!(labels[loss_from..].iter().all(|label| *label != -100), "loss runs to the end of a row");
        let tokens = ids[span][..length].iter().map(|id| *id as u32).collect();
        TokenRow { tokens, loss_from, weight: 1.0 }
    };
    (0..BATCHES).map(|batch| (0..ROWS).map(|index| row(batch * ROWS + index)).collect()).collect()
}

fn examples(count: usize) -> Vec<Example> {
    let texts = [
        ("Profit rose sharply", 0),
        ("The company has 200 employees", 1),
        ("Sales fell and jobs are cut", 2),
        ("Orders doubled over the year", 0),
        ("The meeting is on Tuesday", 1),
        ("The loss widened again", 2),
    ];
    (0..count)
        .map(|at| {
            let (text, label) = texts[at % texts.len()];
            Example { text: format!("{text} in quarter {at}"), label }
        })
        .collect()
}

/// A small run of three labels in a folder of its own.
pub fn train_request(directory: &Path, spec: TrainSpec, train_rows: usize) -> TrainRequest {
    TrainRequest {
        spec,
        labels: ["positive", "neutral", "negative"].map(String::from).to_vec(),
        train: examples(train_rows),
        validation: examples(6),
        test: examples(9),
        start_from: None,
        directory: directory.to_path_buf(),
    }
}
