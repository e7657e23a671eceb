//! `config.json` and `generation_config.json` of a merged model, as Transformers reads them.

use crate::error::EngineError;
use crate::model::config::{Family, LlamaConfig, RopeScaling};
use crate::model::rope::frequency_factors;
use crate::text::tokenizer::TextTokenizer;
use serde_json::{Value, json};

/// Llama 3.1's and 3.2's scaling, but for the factor: what a GGUF file's factors are held against.
const LLAMA3_LOW: f32 = 1.0;
const LLAMA3_HIGH: f32 = 4.0;
const LLAMA3_CONTEXT: usize = 8192;
/// Relative difference up to which factors from a file are the same as computed ones: both are f32, computed in
/// another order.
const SAME_FACTOR: f32 = 1e-4;

/// The fields that differ from the defaults of `LlamaConfig`, `MistralConfig`, `Qwen2Config` and `Qwen3Config`, and the
/// sizes. RoPE is told in the way of Transformers 4, which 5 reads too.
///
/// # Errors
/// RoPE is scaled in a way that `config.json` has no name for.
pub(super) fn config_json(config: &LlamaConfig, tokenizer: &TextTokenizer) -> Result<Value, EngineError> {
    let architecture = match config.family {
        Family::Llama => "LlamaForCausalLM",
        Family::Mistral => "MistralForCausalLM",
        Family::Qwen2 => "Qwen2ForCausalLM",
        Family::Qwen3 => "Qwen3ForCausalLM",
    };
    let mut json = json!({
        "architectures": [architecture],
        "model_type": config.family.as_str(),
        "torch_dtype": "bfloat16",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": as_written(config.rms_norm_eps),
        "rope_theta": as_written(config.rope_theta),
        "rope_scaling": rope_scaling(config)?,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": tokenizer.bos(),
        "eos_token_id": tokenizer.eos(),
    });
    // Mistral's default is a window of 4,096 tokens, which is not what is computed here.
    if config.family == Family::Mistral {
        json["sliding_window"] = Value::Null;
    }
    Ok(json)
}

pub(super) fn generation_config_json(tokenizer: &TextTokenizer) -> Value {
    json!({ "bos_token_id": tokenizer.bos(), "eos_token_id": tokenizer.eos(), "do_sample": false })
}

fn rope_scaling(config: &LlamaConfig) -> Result<Value, EngineError> {
    let (factor, low, high, context) = match &config.rope_scaling {
        None => return Ok(Value::Null),
        Some(RopeScaling::Linear { factor }) => {
            return Ok(json!({ "rope_type": "linear", "factor": as_written(*factor) }));
        }
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings: context,
        }) => (*factor, *low_freq_factor, *high_freq_factor, *context),
        Some(RopeScaling::Factors(factors)) => {
            let factor = factors.iter().copied().fold(1.0, f32::max);
            let guess = RopeScaling::Llama3 {
                factor,
                low_freq_factor: LLAMA3_LOW,
                high_freq_factor: LLAMA3_HIGH,
                original_max_position_embeddings: LLAMA3_CONTEXT,
            };
            let computed = frequency_factors(&LlamaConfig { rope_scaling: Some(guess), ..config.clone() });
            let same = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME_FACTOR * b.abs();
            if computed.len() != factors.len() || !computed.iter().zip(factors).all(same) {
                return Err(EngineError::invalid(
                    "The base model scales its rotary positions with factors of its own (rope_freqs.weight), and \
                     config.json has a name for those of Llama 3.1 and 3.2 only. Export it as GGUF, which can hold them.",
                ));
            }
            (factor, LLAMA3_LOW, LLAMA3_HIGH, LLAMA3_CONTEXT)
        }
    };
    Ok(json!({
        "rope_type": "llama3",
        "factor": as_written(factor),
        "low_freq_factor": as_written(low),
        "high_freq_factor": as_written(high),
        "original_max_position_embeddings": context,
    }))
}

/// The shortest number that is this f32: 1e-5, not 9.999999747378752e-6.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rope_scaling: Option<RopeScaling>) -> LlamaConfig {
        LlamaConfig {
            vocab_size: 128_256,
            hidden_size: 2048,
            intermediate_size: 8192,
            num_hidden_layers: 16,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: 64,
            rms_norm_eps: 1e-5,
            rope_theta: 500_000.0,
            max_position_embeddings: 131_072,
            family: Family::Llama,
            tie_word_embeddings: true,
            rope_scaling,
        }
    }

    #[test]
    fn factors_of_a_file_are_told_by_the_name_of_what_made_them() {
        let scaling = RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let told = rope_scaling(&config(Some(scaling.clone()))).unwrap();
        let factors = frequency_factors(&config(Some(scaling)));
        assert_eq!(rope_scaling(&config(Some(RopeScaling::Factors(factors.clone())))).unwrap(), told);
        assert_eq!((told["factor"].as_f64(), told["rope_type"].as_str()), (Some(32.0), Some("llama3")));

        let mut others = factors;
        others[20] *= 1.1;
        let refused = rope_scaling(&config(Some(RopeScaling::Factors(others)))).unwrap_err().to_string();
        assert!(refused.contains("rope_freqs.weight"), "{refused}");
        assert_eq!(rope_scaling(&config(None)).unwrap(), Value::Null);
        let linear = rope_scaling(&config(Some(RopeScaling::Linear { factor: 2.0 }))).unwrap();
        assert_eq!(linear, json!({ "rope_type": "linear", "factor": 2.0 }));
    }

    #[test]
    fn numbers_are_written_as_people_wrote_them() {
        assert_eq!(as_written(1e-5), 1e-5);
        assert_eq!(as_written(500_000.0), 500_000.0);
    }
}
