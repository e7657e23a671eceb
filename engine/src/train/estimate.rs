//! Before a run: how a row looks to the model, and what the run will cost.

use crate::adapter::lora::Lora;
use crate::base::{BaseModel, BaseReader};
use crate::classify::prompt_encoder;
use crate::error::EngineError;
use crate::network::linear_weights;
use crate::text::template::PromptEncoder;
use crate::train::recipe::{Example, TrainRequest};
use domain::model::{Estimate, PromptPreview};
use domain::spec::TrainSpec;

/// Rows that are tokenised for an estimate; of more, evenly spaced ones stand for all.
const SAMPLED_ROWS: usize = 500;

/// How one row looks to the model.
pub fn preview(
    base: &BaseReader,
    spec: &TrainSpec,
    labels: &[String],
    example: &Example,
) -> Result<PromptPreview, EngineError> {
    let encoder = prompt_encoder(base, spec, labels)?;
    Ok(encoder.preview(&example.text, example.label, spec.completion_only_loss))
}

/// What a run will cost on this machine: its tokens from a sample of its rows, its time from the tokens and the
/// machine's measured rate of matrix products.
pub fn estimate(base: &BaseModel, request: &TrainRequest) -> Result<Estimate, EngineError> {
    let spec = &request.spec;
    let encoder = prompt_encoder(base.reader(), spec, &request.labels)?;
    let shared = encoder.shared_tokens();
    let train = sample(&encoder, &request.train);
    let score = sample(&encoder, &request.test);

    // A trained token costs a forward (2 operations per weight) and a backward to its input (2 more); a scored one the
    // forward. LoRA adds 6 operations per parameter in training.
    let network = base.network();
    let config = network.config();
    let weights = linear_weights(config) as f64;
    let lora = match request.start_from {
        Some(_) => request.start(config)?,
        None => Lora::zeros(config, spec.r as usize, spec.lora_alpha, &spec.target_modules)?,
    };
    let trainable = lora.parameters() as f64;
    let vocabulary = (config.vocab_size * config.hidden_size) as f64;
    let loss_share = if spec.completion_only_loss { 0.0 } else { 1.0 };
    let per_trained_token = 4.0 * weights + 6.0 * trainable + loss_share * 4.0 * vocabulary;
    let per_scored_token = 2.0 * weights + 2.0 * trainable;

    let rows = request.train.len() as f64;
    let micro_batch = network.micro_batch(spec) as f64;
    let batches = (rows / micro_batch).ceil();
    let shared_rows = if micro_batch > 1.0 { shared as f64 } else { 0.0 };
    let tokens_per_epoch = rows * (train.mean_tokens - shared_rows) + batches * shared_rows;
    let scored_rows = 2.0 * request.test.len() as f64
        + request.validation.len() as f64 * looks_at_validation(spec, request.train.len() as u64);
    let scored_tokens = scored_rows * (score.mean_tokens - shared as f64);

    let rate = network.matmul_gflops() * 1e9;
    let micro_batch_tokens = (micro_batch * (train.mean_tokens - shared_rows) + shared_rows) as usize;
    let steps = (request.train.len() as u64).div_ceil(spec.rows_per_step()) * spec.num_train_epochs;
    let share = network.share_of_matmul_rate(micro_batch_tokens);
    let train_seconds = spec.num_train_epochs as f64 * tokens_per_epoch * per_trained_token / (rate * share);
    let batch = (spec.per_device_eval_batch_size as usize).max(network.least_scoring_rows()) as f64;
    let share = network.share_of_matmul_rate((batch * (score.mean_tokens - shared as f64)) as usize);
    let evaluate_seconds = scored_tokens * per_scored_token / (rate * share);
    let passes = batches * spec.num_train_epochs as f64;
    // Adapter with gradient and two moments in f32.
    let peak = network.memory_bytes(micro_batch_tokens) as f64 + 4.0 * trainable * size_of::<f32>() as f64;
    Ok(Estimate {
        train_seconds: train_seconds.max(passes * network.least_seconds_of_a_step()),
        evaluate_seconds,
        peak_memory_bytes: peak as u64,
        optimizer_steps: steps,
        trainable_parameters: trainable as u64,
        shared_tokens: shared,
        mean_tokens: train.mean_tokens,
        longest_tokens: train.longest_tokens,
        cut_rows: train.cut_rows,
    })
}

fn looks_at_validation(spec: &TrainSpec, train_rows: u64) -> f64 {
    if spec.eval_steps == 0 {
        return spec.num_train_epochs as f64;
    }
    let steps = train_rows.div_ceil(spec.rows_per_step()) * spec.num_train_epochs;
    (steps / spec.eval_steps) as f64
}

struct Sample {
    mean_tokens: f64,
    longest_tokens: usize,
    cut_rows: usize,
}

/// Token counts of prompts with their labels, from at most [`SAMPLED_ROWS`] rows.
fn sample(encoder: &PromptEncoder, examples: &[Example]) -> Sample {
    let every = examples.len().div_ceil(SAMPLED_ROWS).max(1);
    let sampled: Vec<_> = examples.iter().step_by(every).collect();
    let (mut tokens, mut longest_tokens, mut cut) = (0, 0, 0);
    for example in &sampled {
        let prompt = encoder.encode(&example.text);
        let length = prompt.tokens.len() + encoder.labels().get(example.label).map_or(0, Vec::len);
        tokens += length;
        longest_tokens = longest_tokens.max(length);
        cut += usize::from(prompt.cut);
    }
    let count = sampled.len().max(1);
    Sample { mean_tokens: tokens as f64 / count as f64, longest_tokens, cut_rows: cut * examples.len() / count }
}
