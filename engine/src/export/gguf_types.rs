//! In which of ggml's types each tensor of a GGUF file is stored, and the way there from f32.
//!
//! Vectors stay in F32. F16 and Q8_0 store every matrix alike. Q4_K is llama.cpp's mixture Q4_K_M
//! (`llama_tensor_get_type_impl` in llama-quant.cpp): v and down of the layers that suffer most in Q6_K, the output (or
//! the embedding that is tied to it) in Q6_K, all else in Q4_K. Rows that are no multiple of the block of 256 fall back
//! as there (`tensor_type_fallback`): Q4_K to Q5_0, Q6_K to Q8_0, and to F16 where a block of 32 does not fit either.

use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use domain::export::GgufType;
use domain::spec::TargetModule;
use half::f16;
use rayon::prelude::*;

/// Values that one thread stores at a time: a multiple of every type's block.
const VALUES_PER_PIECE: usize = 64 * 1024;

/// `general.file_type` (`enum llama_ftype` in llama.h).
pub fn file_type(kind: GgufType) -> u32 {
    match kind {
        GgufType::F16 => 1,
        GgufType::Q8_0 => 7,
        GgufType::Q4K => 15,
    }
}

/// ggml's name of a type that is written here.
pub fn type_name(dtype: GgmlDType) -> &'static str {
    match dtype {
        GgmlDType::F32 => "F32",
        GgmlDType::F16 => "F16",
        GgmlDType::Q5_0 => "Q5_0",
        GgmlDType::Q8_0 => "Q8_0",
        GgmlDType::Q4K => "Q4_K",
        GgmlDType::Q6K => "Q6_K",
        _ => "another type",
    }
}

/// How a tensor of this shape (slowest dimension first) is stored.
pub fn stored_type(kind: GgufType, config: &LlamaConfig, wanted: Wanted, shape: &[usize]) -> GgmlDType {
    let &[_, row_length] = shape else { return GgmlDType::F32 };
    match kind {
        GgufType::F16 => GgmlDType::F16,
        GgufType::Q8_0 => fallback(GgmlDType::Q8_0, row_length),
        GgufType::Q4K => fallback(mixed(config, wanted), row_length),
    }
}

/// Q4_K_M, where every block fits.
fn mixed(config: &LlamaConfig, wanted: Wanted) -> GgmlDType {
    let more_bits = match wanted {
        Wanted::Head => true,
        Wanted::Embedding => config.tie_word_embeddings,
        Wanted::Projection(layer, TargetModule::VProj | TargetModule::DownProj) => {
            uses_more_bits(layer, config.num_hidden_layers)
        }
        _ => false,
    };
    if more_bits { GgmlDType::Q6K } else { GgmlDType::Q4K }
}

/// The first and the last eighth of the layers, and every third between them (`use_more_bits`).
fn uses_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

fn fallback(dtype: GgmlDType, row_length: usize) -> GgmlDType {
    let fits = |dtype: &GgmlDType| row_length.is_multiple_of(dtype.block_size());
    let smaller = match dtype {
        GgmlDType::Q4K => GgmlDType::Q5_0,
        GgmlDType::Q6K => GgmlDType::Q8_0,
        _ => GgmlDType::F16,
    };
    [dtype, smaller].into_iter().find(fits).unwrap_or(GgmlDType::F16)
}

/// Values as blocks of a type, in pieces that follow each other.
///
/// # Errors
/// A value that F16 cannot hold.
pub fn encode(values: &[f32], dtype: GgmlDType) -> Result<Vec<Vec<u8>>, EngineError> {
    values.par_chunks(VALUES_PER_PIECE).map(|piece| encode_piece(piece, dtype)).collect()
}

fn encode_piece(values: &[f32], dtype: GgmlDType) -> Result<Vec<u8>, EngineError> {
    match dtype {
        GgmlDType::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        GgmlDType::F16 => {
            if let Some(value) = values.iter().find(|value| value.is_finite() && f16::from_f32(**value).is_infinite()) {
                return Err(EngineError::invalid(format!(
                    "A weight is {value}, more than F16 can hold. Export it as safetensors, which is bf16."
                )));
            }
            Ok(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect())
        }
        quantized => {
            let values = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
            Ok(QTensor::quantize(&values, quantized)?.data()?.into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Family;

    fn config() -> LlamaConfig {
        LlamaConfig {
            vocab_size: 512,
            hidden_size: 256,
            intermediate_size: 512,
            num_hidden_layers: 16,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 64,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            max_position_embeddings: 64,
            family: Family::Llama,
            tie_word_embeddings: true,
            rope_scaling: None,
        }
    }

    #[test]
    fn sensitive_matrices_get_more_bits() {
        let config = config();
        let stored = |wanted, shape: &[usize]| stored_type(GgufType::Q4K, &config, wanted, shape);
        let down = |layer| stored(Wanted::Projection(layer, TargetModule::DownProj), &[256, 512]);
        let more: Vec<usize> = (0..16).filter(|layer| down(*layer) == GgmlDType::Q6K).collect();
        assert_eq!(more, [0, 1, 4, 7, 10, 13, 14, 15]);
        assert_eq!(stored(Wanted::Projection(0, TargetModule::QProj), &[256, 256]), GgmlDType::Q4K);
        assert_eq!(stored(Wanted::Embedding, &[512, 256]), GgmlDType::Q6K);
        assert_eq!(stored(Wanted::Norm, &[256]), GgmlDType::F32);
        let untied = LlamaConfig { tie_word_embeddings: false, ..config.clone() };
        assert_eq!(stored_type(GgufType::Q4K, &untied, Wanted::Embedding, &[512, 256]), GgmlDType::Q4K);
        assert_eq!(stored_type(GgufType::Q4K, &untied, Wanted::Head, &[512, 256]), GgmlDType::Q6K);
    }

    #[test]
    fn rows_that_do_not_fit_fall_back() {
        let config = config();
        let (q, v) = (Wanted::Projection(0, TargetModule::QProj), Wanted::Projection(0, TargetModule::VProj));
        for (kind, wanted, row_length, expected) in [
            (GgufType::Q4K, q, 384, GgmlDType::Q5_0),
            (GgufType::Q4K, v, 384, GgmlDType::Q8_0),
            (GgufType::Q4K, q, 40, GgmlDType::F16),
            (GgufType::Q8_0, q, 384, GgmlDType::Q8_0),
            (GgufType::Q8_0, q, 40, GgmlDType::F16),
            (GgufType::F16, q, 40, GgmlDType::F16),
        ] {
            assert_eq!(stored_type(kind, &config, wanted, &[8, row_length]), expected, "{kind:?} {row_length}");
        }
    }

    #[test]
    fn pieces_are_the_whole_and_too_large_a_value_is_refused() {
        let values: Vec<f32> = (0..VALUES_PER_PIECE + 512).map(|index| (index as f32).sin()).collect();
        for dtype in [GgmlDType::F32, GgmlDType::F16, GgmlDType::Q5_0, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K]
        {
            let pieces = encode(&values, dtype).unwrap();
            assert_eq!(pieces.len(), 2);
            let whole = encode_piece(&values, dtype).unwrap();
            assert_eq!(pieces.concat(), whole, "{dtype:?}");
            assert_eq!(whole.len(), values.len() / dtype.block_size() * dtype.type_size());
        }
        let refused = encode(&[1.0, 70_000.0], GgmlDType::F16).unwrap_err().to_string();
        assert!(refused.contains("70000"), "{refused}");
    }
}
