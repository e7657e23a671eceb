//! A merged model as one file for llama.cpp: metadata, tokenizer and tensors under its names and in its layout.

use crate::error::EngineError;
use crate::export::aside::{Halt, Meter, TensorFile};
use crate::export::gguf_tokenizer;
use crate::export::gguf_types::{encode, file_type, stored_type, type_name};
use crate::export::gguf_writer::{GgufTensor, GgufValue, Metadata, header, padding};
use crate::export::merge::{ModelTensor, tensors_of};
use crate::export::request::Source;
use crate::model::config::{LlamaConfig, RopeScaling};
use crate::model::rope::frequency_factors;
use crate::weights::gguf_model::{ROPE_FREQUENCIES, interleaved_heads, tensor_name};
use candle_core::quantized::GgmlDType;
use domain::export::GgufType;
use std::collections::BTreeMap;
use std::path::Path;

/// The architecture for which llama.cpp reads [`ROPE_FREQUENCIES`].
const KNOWS_FREQUENCIES: &str = "llama";
/// Version of ggml's block layouts (`GGML_QNT_VERSION` in ggml.h).
const QUANTIZATION_VERSION: u32 = 2;

pub(super) fn write(source: &Source, kind: GgufType, path: &Path, meter: &mut Meter) -> Result<Vec<String>, Halt> {
    let config = source.model.files.config();
    let factors = match &config.rope_scaling {
        None | Some(RopeScaling::Linear { .. }) => Vec::new(),
        Some(_) if config.family.gguf_architecture() != KNOWS_FREQUENCIES => {
            return Err(Halt::Failed(EngineError::invalid(format!(
                "The base model scales its rotary positions, and llama.cpp knows no such scaling for the architecture \
                 \"{}\". Export it as safetensors.",
                config.family.gguf_architecture()
            ))));
        }
        Some(RopeScaling::Llama3 { .. } | RopeScaling::Factors(_)) => frequency_factors(config),
    };
    let tensors = tensors_of(config);
    let mut directory = Vec::with_capacity(tensors.len() + 1);
    if !factors.is_empty() {
        directory.push(GgufTensor {
            name: ROPE_FREQUENCIES.to_string(),
            shape: vec![factors.len()],
            dtype: GgmlDType::F32,
        });
    }
    directory.extend(tensors.iter().map(|tensor| GgufTensor {
        name: tensor_name(tensor.wanted),
        dtype: stored_type(kind, config, tensor.wanted, &tensor.shape),
        shape: tensor.shape.clone(),
    }));
    let mut metadata = describe(source, kind);
    metadata.extend(gguf_tokenizer::metadata(&source.tokenizer, config.vocab_size)?);

    meter.expect(directory.iter().map(GgufTensor::stored_bytes).sum())?;
    let mut file = TensorFile::create(path, meter)?;
    file.write(&header(&metadata, &directory))?;
    let mut write = |entry: &GgufTensor, values: &[f32]| {
        for piece in encode(values, entry.dtype)? {
            file.write_counted(&piece)?;
        }
        Ok::<(), Halt>(file.write(&vec![0; padding(entry.stored_bytes())])?)
    };
    let (first, rest) = directory.split_at(directory.len() - tensors.len());
    for entry in first {
        write(entry, &factors)?;
    }
    for (entry, tensor) in rest.iter().zip(&tensors) {
        let mut values = source.model.values(tensor.wanted)?;
        permute(config, tensor, &mut values);
        write(entry, &values)?;
    }
    file.close()?;
    Ok(told(kind, &directory))
}

/// The keys that llama.cpp asks for (`llama_model_loader`), and the name and the origin for people.
fn describe(source: &Source, kind: GgufType) -> Metadata {
    let config = source.model.files.config();
    let architecture = config.family.gguf_architecture();
    let size = |value: usize| GgufValue::U32(value as u32);
    let text = |value: &str| GgufValue::String(value.to_string());
    let card = source.request.card;
    let mut metadata = vec![
        ("general.architecture".to_string(), text(architecture)),
        ("general.type".to_string(), text("model")),
        ("general.name".to_string(), text(&card.name)),
        ("general.description".to_string(), GgufValue::String(card.description())),
        ("general.file_type".to_string(), GgufValue::U32(file_type(kind))),
        ("general.quantization_version".to_string(), GgufValue::U32(QUANTIZATION_VERSION)),
    ];
    if let Some(licence) = &card.licence {
        metadata.push(("general.license".to_string(), text(licence)));
    }
    let of_architecture = [
        ("vocab_size", size(config.vocab_size)),
        ("context_length", size(config.max_position_embeddings)),
        ("embedding_length", size(config.hidden_size)),
        ("block_count", size(config.num_hidden_layers)),
        ("feed_forward_length", size(config.intermediate_size)),
        ("attention.head_count", size(config.num_attention_heads)),
        ("attention.head_count_kv", size(config.num_key_value_heads)),
        ("attention.key_length", size(config.head_dim)),
        ("attention.value_length", size(config.head_dim)),
        ("attention.layer_norm_rms_epsilon", GgufValue::F32(config.rms_norm_eps)),
        ("rope.dimension_count", size(config.head_dim)),
        ("rope.freq_base", GgufValue::F32(config.rope_theta)),
    ];
    let scaling = match config.rope_scaling {
        Some(RopeScaling::Linear { factor }) => {
            vec![("rope.scaling.type", text("linear")), ("rope.scaling.factor", GgufValue::F32(factor))]
        }
        _ => Vec::new(),
    };
    let keyed = of_architecture.into_iter().chain(scaling);
    metadata.extend(keyed.map(|(key, value)| (format!("{architecture}.{key}"), value)));
    metadata
}

/// Puts the rows of q and k into the order in which llama.cpp turns them.
fn permute(config: &LlamaConfig, tensor: &ModelTensor, values: &mut [f32]) {
    if interleaved_heads(tensor.wanted, config).is_some() {
        permute_rope(values, config.head_dim, config.hidden_size);
    }
}

/// The way back from [`crate::weights::gguf::unpermute_rope`], where the order is told: row `k * head_dim / 2 + j` of a
/// head becomes row `2 j + k`. `rows` is `[heads * head_dim, row_length]`, row-major.
fn permute_rope(rows: &mut [f32], head_dim: usize, row_length: usize) {
    let half = head_dim / 2;
    let mut original = vec![0f32; head_dim * row_length];
    for head in rows.chunks_exact_mut(head_dim * row_length) {
        original.copy_from_slice(head);
        for (to, row) in head.chunks_exact_mut(row_length).enumerate() {
            let from = to % 2 * half + to / 2;
            row.copy_from_slice(&original[from * row_length..][..row_length]);
        }
    }
}

/// How the matrices are stored where that differs from what was asked for.
fn told(kind: GgufType, directory: &[GgufTensor]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in directory.iter().filter(|tensor| tensor.shape.len() == 2) {
        *counts.entry(type_name(tensor.dtype)).or_default() += 1;
    }
    let asked = match kind {
        GgufType::F16 => "F16",
        GgufType::Q8_0 => "Q8_0",
        GgufType::Q4K => "Q4_K_M",
    };
    if counts.len() == 1 {
        return vec![format!("{asked}: every matrix is stored alike, vectors in F32.")];
    }
    let counts: Vec<String> = counts.into_iter().map(|(dtype, count)| format!("{count} in {dtype}")).collect();
    vec![format!(
        "{asked}: of the matrices {}, vectors in F32. The most sensitive get more bits, and rows that are no multiple of \
         a type's block fall back to a type with smaller blocks, as llama.cpp does.",
        counts.join(", ")
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::gguf::unpermute_rope;

    #[test]
    fn permuting_is_undone_by_the_reader() {
        let (heads, head_dim, row_length) = (3, 8, 5);
        let rows: Vec<f32> = (0..heads * head_dim * row_length).map(|value| value as f32).collect();
        let mut permuted = rows.clone();
        permute_rope(&mut permuted, head_dim, row_length);
        assert_ne!(permuted, rows);
        unpermute_rope(&mut permuted, heads, head_dim, row_length);
        assert_eq!(permuted, rows);
    }
}
