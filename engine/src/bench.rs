//! Measuring training and scoring on a model of any size, with random weights: speed does not depend on their values.
//!
//! The loops are those of a run: the learner's gradient and update, and the scorer.

use crate::adapter::lora::Lora;
use crate::base::{ReadTensor, ShapedTensor, Wanted, assemble};
use crate::classify::Scorer;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::device::Device;
use crate::error::EngineError;
use crate::model::config::{Family, LlamaConfig};
use crate::network::{Network, linear_weights};
use crate::text::batch::{PackedBatch, TokenRow};
use crate::text::template::EncodedPrompt;
use crate::train::learner::{Learner, Snapshot};
use crate::train::optimizer::clip_coefficient;
use crate::train::rows::order_of_epoch;
use crate::weights::model_files::ModelFiles;
use crate::weights::safetensors::SafetensorsFile;
use crate::weights::shards::Shards;
use domain::dataset::mix;
use domain::spec::{Quantization, TrainSpec};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Shapes of known models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    Tohum16m,
    Llama32With1b,
    Llama3With8b,
    Llama3With70b,
}

impl Preset {
    pub const ALL: [Self; 4] = [Self::Tohum16m, Self::Llama32With1b, Self::Llama3With8b, Self::Llama3With70b];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tohum16m => "tohum-16m",
            Self::Llama32With1b => "llama-3.2-1b",
            Self::Llama3With8b => "llama-3-8b",
            Self::Llama3With70b => "llama-3-70b",
        }
    }

    pub fn config(self) -> LlamaConfig {
        let (hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim) =
            match self {
                Self::Tohum16m => (384, 1024, 8, 6, 3, 64),
                Self::Llama32With1b => (2048, 8192, 16, 32, 8, 64),
                Self::Llama3With8b => (4096, 14_336, 32, 32, 8, 128),
                Self::Llama3With70b => (8192, 28_672, 80, 64, 8, 128),
            };
        LlamaConfig {
            family: Family::Llama,
            vocab_size: if self == Self::Tohum16m { 8192 } else { 128_256 },
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: 1e-5,
            rope_theta: 500_000.0,
            rope_scaling: None,
            max_position_embeddings: 8192,
            tie_word_embeddings: self == Self::Llama32With1b,
        }
    }
}

/// Rows to train on and prompts to score, as tokens.
pub struct BenchRows {
    pub train: Vec<TokenRow>,
    pub test: Vec<EncodedPrompt>,
    pub labels: Vec<Vec<u32>>,
}

impl BenchRows {
    /// Rows as the notebook's prompts are with Llama 3's tokenizer: 48 tokens that all share, then 31 on average, of
    /// which the last is the label.
    pub fn synthetic(vocabulary: usize) -> Self {
        let token = |place: u64| (mix(place) % vocabulary as u64) as u32;
        let tokens = |row: u64| -> Vec<u32> {
            let own = 14 + mix(row ^ 77) % 34;
            (0..48).map(token).chain((0..own).map(|at| token((row + 1) << 32 | at))).collect()
        };
        let labels: Vec<Vec<u32>> = (0..3).map(|label| vec![token(1 << 60 | label)]).collect();
        let train = |row: u64| {
            let mut tokens = tokens(row);
            tokens.extend(&labels[(mix(row) % 3) as usize]);
            TokenRow { tokens, loss_from: 1, weight: 1.0 }
        };
        Self {
            train: (0..900).map(train).collect(),
            test: (900..1800).map(|row| EncodedPrompt { tokens: tokens(row), cut: false }).collect(),
            labels,
        }
    }

    /// From safetensors files of token numbers: `ids`, with row r at `offsets[r] .. offsets[r + 1]`. Training rows end
    /// in their label, of one token; test rows are prompts.
    pub fn read(train: &Path, test: &Path, vocabulary: usize) -> Result<Self, EngineError> {
        let rows = |path: &Path| -> Result<Vec<Vec<u32>>, EngineError> {
            let file = SafetensorsFile::open(path)?;
            let (ids, offsets) = (file.tensor_integers("ids")?, file.tensor_integers("offsets")?);
            let row = |pair: &[i64]| -> Option<Vec<u32>> {
                let ids = ids.get(usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?)?;
                let token = |id: &i64| u32::try_from(*id).ok().filter(|token| (*token as usize) < vocabulary);
                ids.iter().map(token).collect::<Option<Vec<u32>>>().filter(|row| row.len() > 1)
            };
            let rows: Option<Vec<_>> = offsets.windows(2).map(row).collect();
            rows.ok_or_else(|| EngineError::bad_file(path, "holds rows that are no tokens of this vocabulary"))
        };
        let train = rows(train)?;
        let mut labels: Vec<Vec<u32>> = train.iter().filter_map(|row| row.last().map(|&token| vec![token])).collect();
        labels.sort_unstable();
        labels.dedup();
        Ok(Self {
            train: train.into_iter().map(|tokens| TokenRow { tokens, loss_from: 1, weight: 1.0 }).collect(),
            test: rows(test)?.into_iter().map(|tokens| EncodedPrompt { tokens, cut: false }).collect(),
            labels,
        })
    }
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    pub preset: Preset,
    pub quantization: Quantization,
    pub r: u64,
    /// Per optimiser step, over all cards.
    pub rows_per_step: usize,
    pub steps: usize,
    pub device: Device,
    /// Weights stay in 4 bits and are dequantised for every use.
    pub on_the_fly: bool,
    /// As on a card with so much memory.
    pub memory_bytes: Option<usize>,
}

impl BenchRequest {
    pub fn spec(&self) -> TrainSpec {
        TrainSpec {
            r: self.r,
            quantization: self.quantization,
            per_device_train_batch_size: self.rows_per_step as u64,
            gradient_accumulation_steps: 1,
            ..TrainSpec::default()
        }
    }
}

/// Speed and memory of one thing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    pub rows_per_second: f64,
    /// Tokens of the rows, shared ones counted for every row.
    pub tokens_per_second: f64,
    /// Of a step, or of scoring all rows: the median, the fastest and the slowest.
    pub milliseconds: f64,
    pub fastest_milliseconds: f64,
    pub slowest_milliseconds: f64,
    /// Operations that the tokens which are computed need at least, over those of large products in the same time.
    pub share_of_matmul_rate: f64,
    pub matmul_tflops: f64,
    /// The most that was handed out at once, and what the card as a whole had taken then; 0 on the CPU.
    pub peak_bytes: u64,
    pub taken_bytes: u64,
}

/// A model of random weights.
pub fn random_network(request: &BenchRequest) -> Result<Network, EngineError> {
    let config = request.preset.config();
    match &request.device {
        Device::Cpu => {
            let mut drawn = 0;
            let read = &mut |tensor: &ShapedTensor| {
                drawn += 1;
                Ok(Some(random_values(tensor, drawn).into()))
            };
            Ok(Network::Cpu(assemble(config, request.quantization, read)?.into()))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(cards) => {
            use crate::cuda::{CudaLlama, KeepExpanded, Replicas};
            let keep = if request.on_the_fly { KeepExpanded::Never } else { KeepExpanded::WhenMemoryAllows };
            let replicas = Replicas::load(cards, |card| {
                if let Some(bytes) = request.memory_bytes {
                    card.limit_memory(bytes);
                }
                Ok(CudaLlama::random(card, config.clone(), request.quantization)?.keeping(keep))
            })?;
            Ok(Network::Cuda(Box::new(replicas)))
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(EngineError::invalid("this build of ayar knows the CPU only")),
    }
}

fn random_values(tensor: &ShapedTensor, seed: u64) -> Vec<f32> {
    let is_norm = matches!(tensor.wanted, Wanted::Norm | Wanted::InputNorm(_) | Wanted::PostAttentionNorm(_));
    let width = 1.7 / (tensor.columns as f32).sqrt();
    let value = |place: usize| (mix(mix(seed) ^ place as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..tensor.rows * tensor.columns).map(|place| if is_norm { 1.0 } else { width * value(place) }).collect()
}

/// A learner that has made no step yet.
pub fn learner<'a>(network: &'a Network, request: &BenchRequest) -> Result<Learner<'a>, EngineError> {
    let lora = Lora::initialise(network.config(), &request.spec())?;
    Learner::new(network, Snapshot::start(network.config(), lora)?, &request.spec())
}

/// Trains `steps` steps on full-text loss, after the same steps once untimed: a GPU times its algorithms when it meets a
/// shape for the first time, a second in the life of a process.
pub fn training(
    network: &Network,
    request: &BenchRequest,
    rows: &BenchRows,
    on_step: &mut dyn FnMut(usize, f64),
) -> Result<Speed, EngineError> {
    let mut learner = learner(network, request)?;
    let micro_batch = network.micro_batch(&request.spec());
    let order = order_of_epoch(rows.train.len(), 42, 0);
    let warm_up = request.steps;
    let mut times = Vec::with_capacity(request.steps);
    let (mut seen, mut computed, mut tokens) = (0usize, 0f64, 0usize);
    network.forget_peak();
    for step in 0..warm_up + request.steps {
        let first = step % request.steps.max(1) * request.rows_per_step;
        let chosen: Vec<&TokenRow> =
            (first..first + request.rows_per_step).map(|at| &rows.train[order[at % order.len()]]).collect();
        let began = Instant::now();
        let found = learner.gradient(&chosen, micro_batch, None)?;
        learner.update(clip_coefficient(found.norm, 0.3), 2e-4)?;
        let seconds = began.elapsed().as_secs_f64();
        if !found.loss.is_finite() {
            return Err(EngineError::Diverged("the loss is no number".to_string()));
        }
        on_step(step, found.loss);
        if step < warm_up {
            continue;
        }
        times.push(seconds);
        seen += chosen.len();
        tokens += chosen.iter().map(|row| row.tokens.len()).sum::<usize>();
        computed += PackedBatch::pack(&chosen, true).tokens.len() as f64;
    }
    // The last update is still under way when its call returns.
    let began = Instant::now();
    network.synchronize()?;
    let rest = began.elapsed().as_secs_f64();
    let total: f64 = times.iter().sum::<f64>() + rest;
    let config = network.config();
    let lora = learner.lora()?.parameters() as f64;
    // Forward and the gradient of the input: 2 operations a weight each; the adapter 2 more for its own gradient.
    let head = (config.vocab_size * config.hidden_size) as f64;
    let operations = computed * (4.0 * (linear_weights(config) as f64 + head) + 6.0 * lora);
    Ok(speed(network, &mut times, total, seen, tokens, operations))
}

/// One kernel of a profile, or the products of one shape.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileLine {
    pub name: String,
    pub launches: usize,
    /// Of all launches together.
    pub milliseconds: f64,
}

/// Where the time of one step goes, after the same step twice untimed: what runs on the first card, the longest first.
///
/// # Errors
/// The model computes on the CPU, which has no such profile.
pub fn profile(network: &Network, request: &BenchRequest, rows: &BenchRows) -> Result<Vec<ProfileLine>, EngineError> {
    let twice = BenchRequest { steps: 1, ..request.clone() };
    training(network, &twice, rows, &mut |_, _| ())?;
    let mut learner = learner(network, request)?;
    let order = order_of_epoch(rows.train.len(), 42, 0);
    let chosen: Vec<&TokenRow> = (0..request.rows_per_step).map(|at| &rows.train[order[at % order.len()]]).collect();
    network.begin_profile()?;
    let found = learner.gradient(&chosen, network.micro_batch(&request.spec()), None);
    let updated = found.and_then(|found| learner.update(clip_coefficient(found.norm, 0.3), 2e-4));
    // Ended in any case: a profile that goes on grows.
    let lines = network.end_profile()?;
    updated.map(|()| lines)
}

/// Scores all test prompts with an adapter, `repeats` times after one to warm up.
pub fn scoring(
    network: &Network,
    request: &BenchRequest,
    rows: &BenchRows,
    repeats: usize,
) -> Result<Speed, EngineError> {
    let lora = Lora::initialise(network.config(), &request.spec())?;
    let adapter = network.place(&lora)?;
    let (mut times, mut total) = (Vec::new(), 0.0);
    let prefix = common_prefix(&rows.test);
    network.forget_peak();
    for repeat in 0..=repeats {
        let began = Instant::now();
        let scorer = Scorer::of_tokens(network, Some(&adapter), prefix.clone(), &rows.labels)?;
        let batch_size = TrainSpec::default().per_device_eval_batch_size as usize;
        let answers = scorer.predict(&rows.test, batch_size, &mut |_, _| ControlFlow::Continue(()))?;
        let seconds = began.elapsed().as_secs_f64();
        if answers.is_none_or(|answers| answers.len() != rows.test.len()) {
            return Err(EngineError::invalid("not every prompt was answered"));
        }
        if repeat > 0 {
            times.push(seconds);
            total += seconds;
        }
    }
    let tokens: usize = rows.test.iter().map(|prompt| prompt.tokens.len()).sum();
    let computed = (tokens - rows.test.len() * prefix.len() + prefix.len()) as f64;
    let config = network.config();
    let per_token = 2.0 * (linear_weights(config) + lora.parameters()) as f64;
    // In the last layer only the prompts' last tokens go on behind attention, and to the output layer.
    let last = (config.vocab_size * config.hidden_size) as f64 * 2.0;
    let operations = repeats as f64 * (computed * per_token + rows.test.len() as f64 * last);
    Ok(speed(network, &mut times, total, repeats * rows.test.len(), repeats * tokens, operations))
}

fn common_prefix(prompts: &[EncodedPrompt]) -> Vec<u32> {
    let Some(first) = prompts.first() else { return Vec::new() };
    let alike = |prompt: &EncodedPrompt| {
        let common = prompt.tokens.iter().zip(&first.tokens).take_while(|(one, other)| one == other).count();
        common.min(prompt.tokens.len() - 1)
    };
    let length = prompts.iter().map(alike).min().unwrap_or(0);
    first.tokens[..length].to_vec()
}

fn speed(network: &Network, seconds: &mut [f64], total: f64, rows: usize, tokens: usize, operations: f64) -> Speed {
    seconds.sort_by(f64::total_cmp);
    let at = |index: usize| seconds.get(index).copied().unwrap_or(0.0) * 1e3;
    let (peak_bytes, taken_bytes) = network.card_memory().unwrap_or_default();
    let rate = network.matmul_gflops() * 1e9;
    Speed {
        rows_per_second: rows as f64 / total,
        tokens_per_second: tokens as f64 / total,
        milliseconds: at(seconds.len() / 2),
        fastest_milliseconds: at(0),
        slowest_milliseconds: at(seconds.len().saturating_sub(1)),
        share_of_matmul_rate: operations / total / rate,
        matmul_tflops: rate / 1e12,
        peak_bytes,
        taken_bytes,
    }
}

mod experiment;

pub use experiment::{Experiment, experiment};

/// A checkpoint's way into memory, or onto a card.
#[derive(Clone, Debug, Serialize)]
pub struct Loading {
    /// Of the files.
    pub bytes: u64,
    pub seconds: f64,
    /// Reading the same files and doing nothing with them.
    pub plain_read_seconds: f64,
}

/// Reads a checkpoint to a quantised model, on a card straight from the files.
///
/// # Errors
/// It is no checkpoint, or does not fit the device; straight onto a card only a folder of safetensors files can be read.
pub fn loading(path: &Path, quantization: Quantization, device: &Device) -> Result<Loading, EngineError> {
    match device {
        Device::Cpu => {
            let (bytes, plain_read_seconds) = plain_read(path)?;
            let began = Instant::now();
            let files = ModelFiles::open(path)?;
            let read: ReadTensor = &mut |tensor| files.tensor(tensor.wanted);
            let llama = assemble(files.config().clone(), quantization, read)?;
            let seconds = began.elapsed().as_secs_f64();
            drop(llama);
            Ok(Loading { bytes, seconds, plain_read_seconds })
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(cards) => {
            let card = cuda::Card::open(cards.first().copied().unwrap_or(0))?;
            let plain = cuda::loading::plain_read(&card, path)?;
            let (_, loaded) = cuda::loading::load_shards(&card, path, quantization)?;
            Ok(Loading { bytes: loaded.bytes, seconds: loaded.seconds, plain_read_seconds: plain.seconds })
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(EngineError::invalid("loading straight onto a card needs a build with `make cuda`")),
    }
}

/// Reads the weights' files and does nothing with them: their bytes, and the seconds that it took.
fn plain_read(path: &Path) -> Result<(u64, f64), EngineError> {
    let files: BTreeSet<PathBuf> = if path.is_dir() {
        let shards = Shards::open(path)?;
        shards.tensors().filter_map(|name| Some(shards.place(name)?.path.to_path_buf())).collect()
    } else {
        BTreeSet::from([path.to_path_buf()])
    };
    let began = Instant::now();
    let mut buffer = vec![0; 4 << 20];
    let mut bytes = 0;
    for path in &files {
        let mut file = File::open(path).map_err(|source| EngineError::io(path, source))?;
        loop {
            let read = file.read(&mut buffer).map_err(|source| EngineError::io(path, source))?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
        }
    }
    Ok((bytes, began.elapsed().as_secs_f64()))
}

/// How near one kernel comes to what limits it.
#[derive(Clone, Debug, Serialize)]
pub struct KernelSpeed {
    pub name: String,
    pub shape: String,
    pub microseconds: f64,
    /// In words, with its size.
    pub limit: String,
    pub share_of_limit: f64,
}

/// Every kernel of a training step on a card. On the CPU the product that all else is held against, alone.
pub fn kernels(device: &Device) -> Result<Vec<KernelSpeed>, EngineError> {
    match device {
        Device::Cpu => {
            let gflops = crate::device::matmul_gflops();
            Ok(vec![KernelSpeed {
                name: "f32 product".to_string(),
                shape: "768 x 384 x 2048".to_string(),
                microseconds: 2.0 * (768 * 384 * 2048) as f64 / gflops / 1e3,
                limit: format!("itself, {gflops:.0} GFLOP/s"),
                share_of_limit: 1.0,
            }])
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(cards) => {
            let first = cards.first().copied().unwrap_or(0);
            crate::cuda::measure::kernels(&crate::cuda::Card::open(first)?)
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(EngineError::invalid("this build of ayar knows the CPU only")),
    }
}
