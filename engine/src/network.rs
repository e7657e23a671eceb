//! A model, an adapter and a cache of keys and values, each where it computes.
//!
//! Training, scoring and estimates go through these types and know nothing of devices; every difference between devices
//! is an arm of a `match` here or in `train::learner`.

use crate::adapter::lora::{Lora, module_shape};
use crate::bench::ProfileLine;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::device::{self, Device};
use crate::error::EngineError;
use crate::kernels::Matrix;
use crate::model::config::LlamaConfig;
use crate::model::llama::{ActivationBudget, KeyValueCache, Llama, LoraShare, Pass, Shares};
use crate::model::loss;
use crate::model::plan::Plan;
use crate::text::batch::LossEntry;
#[cfg(feature = "cuda")]
use domain::spec::Quantization;
use domain::spec::{TargetModule, TrainSpec};
use std::ops::Range;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// A model where it computes.
pub enum Network {
    Cpu(Box<Llama>),
    #[cfg(feature = "cuda")]
    Cuda(Box<cuda::Replicas>),
}

/// An adapter beside its model.
pub enum Adapter {
    Cpu(Lora),
    #[cfg(feature = "cuda")]
    Cuda(Arc<cuda::CudaAdapter>),
}

/// Keys and values beside the model that computed them. A clone shares them.
#[derive(Clone)]
pub enum Cache {
    Cpu(KeyValueCache),
    #[cfg(feature = "cuda")]
    Cuda(cuda::CudaCache),
}

/// What is computed in one pass, as [`Pass`] without a training's dropout.
#[derive(Clone, Copy)]
pub struct NetworkPass<'a> {
    /// One per token of the plan.
    pub tokens: &'a [u32],
    pub plan: &'a Plan,
    pub adapter: Option<&'a Adapter>,
    /// The token rows whose output is wanted, ascending; `None`: all.
    pub output_rows: Option<&'a [usize]>,
    /// Keys and values of earlier tokens.
    pub cache: Option<&'a Cache>,
}

/// The rows of a pass that one adapter is for.
pub struct Share<'a> {
    /// `None`: the base as it is.
    pub adapter: Option<&'a Adapter>,
    /// Token rows.
    pub tokens: Range<usize>,
    /// Indices into the pass's output rows.
    pub outputs: Range<usize>,
}

impl Network {
    pub fn config(&self) -> &LlamaConfig {
        match self {
            Self::Cpu(llama) => &llama.config,
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => &replicas.first.config,
        }
    }

    /// The adapter as it is now, brought to where the model computes.
    ///
    /// Nobody may train `lora` on and use what was placed before: on the CPU the two share their tensors.
    pub fn place(&self, lora: &Lora) -> Result<Adapter, EngineError> {
        match self {
            Self::Cpu(_) => Ok(Adapter::Cpu(lora.clone())),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => {
                let cuda::CudaLlama { card, config, .. } = &replicas.first;
                Ok(Adapter::Cuda(Arc::new(cuda::CudaAdapter::new(card, config, lora)?)))
            }
        }
    }

    /// The keys and values of tokens that rows begin with; of no tokens, an empty cache.
    pub fn key_value_cache(&self, tokens: &[u32], adapter: Option<&Adapter>) -> Result<Cache, EngineError> {
        let mut plan = Plan::new(0);
        plan.push(tokens.len(), Vec::new());
        let pass = NetworkPass { tokens, plan: &plan, adapter, output_rows: None, cache: None };
        match self {
            Self::Cpu(_) if tokens.is_empty() => Ok(Cache::Cpu(KeyValueCache { layers: Vec::new(), tokens: 0 })),
            Self::Cpu(llama) => Ok(Cache::Cpu(llama.key_value_cache(&pass.on_cpu()?)?)),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) if tokens.is_empty() => Ok(Cache::Cuda(cuda::CudaCache::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => Ok(Cache::Cuda(replicas.first.key_value_cache(&pass.on_card()?)?)),
        }
    }

    /// ln p(token) for every (row, token) that is asked for, in order. A row is an index into the pass's output rows.
    pub fn log_probabilities(&self, pass: &NetworkPass, asked: &[(usize, u32)]) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::Cpu(llama) => loss::log_probabilities(&llama.hidden(&pass.on_cpu()?)?, &llama.head, asked),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.first.log_probabilities(&pass.on_card()?, asked),
        }
    }

    /// Per token of the pass: the gradient of Σ weight · ln p over the targets at its embedding, times that embedding. The
    /// targets' rows are token rows; the pass's output rows are not read.
    ///
    /// # Errors
    /// The model computes on a GPU, where nothing goes further down than the adapter.
    pub fn input_times_gradient(&self, pass: &NetworkPass, targets: &[LossEntry]) -> Result<Vec<f64>, EngineError> {
        /// What a text's pass keeps at most; more is computed again.
        const BUDGET: ActivationBudget = ActivationBudget(384 << 20);
        match self {
            Self::Cpu(llama) => {
                let (_, embeddings, gradient) = llama.input_gradient(&pass.on_cpu()?, targets, BUDGET)?;
                let (embeddings, gradient) = (Matrix::of(&embeddings)?, Matrix::of(&gradient)?);
                let (embeddings, gradient) = (embeddings.view(), gradient.view());
                let product = |row: usize| -> f64 {
                    let pairs = embeddings.row(row).iter().zip(gradient.row(row));
                    pairs.map(|(value, slope)| f64::from(*value) * f64::from(*slope)).sum()
                };
                // The loss is of -ln p.
                Ok((0..pass.tokens.len()).map(|row| -product(row)).collect())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => Err(EngineError::invalid(
                "Gradients reach the words on the CPU alone; on a GPU ask for occlusion, which is fast there.",
            )),
        }
    }

    /// Whether [`Network::log_probabilities_shared`] can be asked. On a GPU an adapter's matrices stand beside the weights
    /// they belong to, so that one product serves both: a pass has one adapter.
    pub fn mixes_adapters(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => false,
        }
    }

    /// As [`Network::log_probabilities`], every row through the adapter of its share; the pass itself has none.
    pub fn log_probabilities_shared(
        &self,
        pass: &NetworkPass,
        shares: &[Share],
        asked: &[(usize, u32)],
    ) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::Cpu(llama) => {
                let mut on_cpu = Vec::with_capacity(shares.len());
                for Share { adapter, tokens, outputs } in shares {
                    let lora = adapter.map(Adapter::on_cpu).transpose()?;
                    on_cpu.push(LoraShare { lora, tokens: tokens.clone(), outputs: outputs.clone() });
                }
                let hidden = llama.hidden_shared(&pass.on_cpu()?, Shares { shares: &on_cpu })?;
                loss::log_probabilities(&hidden, &llama.head, asked)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => Err(EngineError::invalid("a pass on a GPU has one adapter")),
        }
    }

    /// Logits over the whole vocabulary, output row after output row: for tests and tools.
    pub fn logits(&self, pass: &NetworkPass) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::Cpu(llama) => {
                let logits = llama.logits(&pass.on_cpu()?)?;
                let matrix = Matrix::of(&logits)?;
                Ok(matrix.values()[..matrix.rows * matrix.columns].to_vec())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.first.logits(&pass.on_card()?),
        }
    }

    /// Rows below which a batch of rows to score wastes the device.
    pub fn least_scoring_rows(&self) -> usize {
        match self {
            Self::Cpu(_) => 1,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => cuda::LEAST_SCORING_ROWS,
        }
    }

    /// Rows of a step that go through the model together. On a GPU all of them do as long as memory allows: cutting a
    /// step into micro-batches gives the same gradient, only slower.
    pub fn micro_batch(&self, spec: &TrainSpec) -> usize {
        match self {
            Self::Cpu(_) => spec.per_device_train_batch_size as usize,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => spec.rows_per_step() as usize,
        }
    }

    /// Bytes that training on passes of so many tokens takes, the adapter apart: weights, activations as far as they are
    /// kept, and what the process itself takes.
    pub fn memory_bytes(&self, tokens: usize) -> usize {
        match self {
            Self::Cpu(llama) => {
                held_on_cpu(&llama.config) + llama.activation_bytes(tokens).min(512 << 20) + (120 << 20)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.first.memory_bytes(tokens),
        }
    }

    /// The share of [`Self::matmul_gflops`] that a whole pass over so many tokens reaches: norms, attention, the LoRA's
    /// thin products and the optimiser take the rest. From `ayar bench`: on the CPU on the embedded base; on a GPU from
    /// the shape of Llama 3 8B, 0.37 with 300 tokens and 0.66 with 4,000.
    pub fn share_of_matmul_rate(&self, tokens: usize) -> f64 {
        // What very many tokens reach, and the tokens that reach half of it.
        let (most, half_at) = match self {
            Self::Cpu(_) => (0.6, 0.0),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => (0.7, 270.0),
        };
        let tokens = tokens.max(1) as f64;
        most * tokens / (tokens + half_at)
    }

    /// What a training step takes however small it is, in seconds. On a GPU every layer has some forty launches, of about
    /// ten microseconds each (`ayar bench training --preset tohum-16m`).
    pub fn least_seconds_of_a_step(&self) -> f64 {
        match self {
            Self::Cpu(_) => 0.0,
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => 4e-4 * replicas.first.config.num_hidden_layers as f64,
        }
    }

    /// Waits until everything that was asked for is done. The CPU does things at once.
    pub fn synchronize(&self) -> Result<(), EngineError> {
        match self {
            Self::Cpu(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.all().try_for_each(|llama| llama.card.synchronize()),
        }
    }

    /// The most bytes of a card that this process has had at once since [`Self::forget_peak`], and all that is taken of
    /// the card now; of the first card where there are several.
    pub fn card_memory(&self) -> Option<(u64, u64)> {
        match self {
            Self::Cpu(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => {
                let card = &replicas.first.card;
                Some((card.peak_bytes() as u64, card.taken_bytes().unwrap_or(0) as u64))
            }
        }
    }

    /// From now on the most is counted anew.
    pub fn forget_peak(&self) {
        match self {
            Self::Cpu(_) => {}
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.all().for_each(|llama| llama.card.forget_peak()),
        }
    }

    /// From now on everything that runs on the first card is timed.
    ///
    /// # Errors
    /// The model computes on the CPU, which has no such profile.
    pub fn begin_profile(&self) -> Result<(), EngineError> {
        match self {
            Self::Cpu(_) => Err(no_profile()),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => {
                replicas.first.card.begin_profile();
                Ok(())
            }
        }
    }

    /// What ran since then, the longest first.
    pub fn end_profile(&self) -> Result<Vec<ProfileLine>, EngineError> {
        match self {
            Self::Cpu(_) => Err(no_profile()),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.first.card.end_profile(),
        }
    }

    /// Billions of floating-point operations per second of large matrix products where the model computes.
    pub fn matmul_gflops(&self) -> f64 {
        match self {
            Self::Cpu(_) => device::matmul_gflops(),
            #[cfg(feature = "cuda")]
            Self::Cuda(replicas) => replicas.all().map(|llama| llama.card.matmul_gflops()).sum(),
        }
    }
}

fn no_profile() -> EngineError {
    EngineError::invalid("a profile can be made on a GPU only")
}

/// What training a model in 4 bits takes on a device, about, before anything of it is loaded: its weights as they are
/// held, and about as much again as a small step needs.
pub fn memory_to_train(config: &LlamaConfig, device: &Device) -> u64 {
    /// A step's activations, the adapter and its optimiser, the process itself.
    const BESIDE: usize = 1 << 30;
    let weights = match device {
        Device::Cpu => held_on_cpu(config),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => cuda::build::frozen_bytes(config, Quantization::Nf4),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => held_on_cpu(config),
    };
    (weights + BESIDE) as u64
}

/// Bytes of a model's weights in 4 bits on the CPU, dequantised where memory allows.
fn held_on_cpu(config: &LlamaConfig) -> usize {
    let (linears, table) = (linear_weights(config), config.vocab_size * config.hidden_size);
    let tables = if config.tie_word_embeddings { table } else { 2 * table };
    let panels = if has_panels(config) { 4 * (linears + table) } else { 0 };
    let linears = if is_expanded(config) { 4 * linears } else { linears / 2 + linears / 16 };
    panels + linears + if is_large_table(config) { 2 * tables } else { 4 * tables }
}

/// Whether embedding and output layer stay in the 16 bits that most files have, and become f32 where they are used. Small
/// ones are f32 throughout: faster.
pub fn is_large_table(config: &LlamaConfig) -> bool {
    /// Of a table in f32.
    const AT_LEAST_BYTES: usize = 256 << 20;
    config.vocab_size * config.hidden_size * size_of::<f32>() >= AT_LEAST_BYTES
}

/// Whether 4-bit weights are dequantised once, when they are loaded, and kept so: the same numbers, faster. Larger models
/// are dequantised group by group at every use.
pub fn is_expanded(config: &LlamaConfig) -> bool {
    /// Of dequantised weights.
    const AT_MOST_BYTES: usize = 2 << 30;
    linear_weights(config) * size_of::<f32>() <= AT_MOST_BYTES
}

/// Whether the weights are held twice on the CPU, for the backward pass and laid out for the forward pass: faster, above
/// all for few texts.
pub fn has_panels(config: &LlamaConfig) -> bool {
    /// Of the second copy.
    const AT_MOST_BYTES: usize = 1 << 30;
    let weights = linear_weights(config) + config.vocab_size * config.hidden_size;
    weights * size_of::<f32>() <= AT_MOST_BYTES && !is_large_table(config)
}

/// Weights of the linears that every token goes through.
pub fn linear_weights(config: &LlamaConfig) -> usize {
    let of_layer = TargetModule::ALL.iter().map(|module| {
        let (rows, columns) = module_shape(config, *module);
        rows * columns
    });
    of_layer.sum::<usize>() * config.num_hidden_layers
}

impl Adapter {
    fn on_cpu(&self) -> Result<&Lora, EngineError> {
        match self {
            Self::Cpu(lora) => Ok(lora),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => Err(of_another_device()),
        }
    }
}

impl Cache {
    /// One after the other, where [`Network::mixes_adapters`].
    pub fn joined(caches: &[&Self]) -> Result<Self, EngineError> {
        let caches = caches.iter().map(|cache| cache.on_cpu()).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::Cpu(KeyValueCache::joined(&caches)?))
    }

    pub fn tokens(&self) -> usize {
        match self {
            Self::Cpu(cache) => cache.tokens,
            #[cfg(feature = "cuda")]
            Self::Cuda(cache) => cache.tokens,
        }
    }

    /// The first so many tokens alone.
    pub fn narrow(&self, tokens: usize) -> Result<Self, EngineError> {
        match self {
            Self::Cpu(cache) => Ok(Self::Cpu(cache.narrow(tokens)?)),
            #[cfg(feature = "cuda")]
            Self::Cuda(cache) => Ok(Self::Cuda(cache.narrow(tokens))),
        }
    }

    fn on_cpu(&self) -> Result<&KeyValueCache, EngineError> {
        match self {
            Self::Cpu(cache) => Ok(cache),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => Err(of_another_device()),
        }
    }
}

impl<'a> NetworkPass<'a> {
    /// # Errors
    /// The adapter or the cache is of another device than the model.
    fn on_cpu(&self) -> Result<Pass<'a>, EngineError> {
        Ok(Pass {
            tokens: self.tokens,
            plan: self.plan,
            lora: self.adapter.map(Adapter::on_cpu).transpose()?,
            output_rows: self.output_rows,
            cache: self.cache.map(Cache::on_cpu).transpose()?,
            dropout: None,
        })
    }

    #[cfg(feature = "cuda")]
    fn on_card(&self) -> Result<cuda::CudaPass<'a>, EngineError> {
        let adapter = |adapter: &'a Adapter| match adapter {
            Adapter::Cuda(adapter) => Ok(adapter.as_ref()),
            Adapter::Cpu(_) => Err(of_another_device()),
        };
        let cache = |cache: &'a Cache| match cache {
            Cache::Cuda(cache) => Ok(cache),
            Cache::Cpu(_) => Err(of_another_device()),
        };
        Ok(cuda::CudaPass {
            tokens: self.tokens,
            plan: self.plan,
            adapter: self.adapter.map(adapter).transpose()?,
            output_rows: self.output_rows,
            cache: self.cache.map(cache).transpose()?,
            dropout: None,
        })
    }
}

#[cfg(feature = "cuda")]
fn of_another_device() -> EngineError {
    EngineError::invalid("an adapter or a cache of another device than the model's")
}
