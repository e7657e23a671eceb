//! The trained part of a run where it computes: the adapter, its gradient and its optimiser.

use crate::adapter::lora::Lora;
#[cfg(feature = "cuda")]
use crate::cuda::CudaLearner;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::linear::Dropout;
use crate::model::llama::{ActivationBudget, Llama, Pass};
use crate::model::plan::Plan;
use crate::network::{Adapter, Network};
use crate::text::batch::{PackedBatch, TokenRow};
use crate::train::optimizer::{AdamW, clear, gradient_norm};
use domain::dataset::mix;
use domain::spec::TrainSpec;

/// Activations kept for the backward pass; a batch that needs more computes them again.
const ACTIVATION_BUDGET: ActivationBudget = ActivationBudget(384 << 20);

/// What a step has found before it changes anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient {
    /// Weighted mean over the tokens that carry loss, in nats.
    pub loss: f64,
    /// L2 norm over all matrices together, before clipping.
    pub norm: f64,
}

/// A learner as a checkpoint holds it, on the CPU.
#[derive(Clone)]
pub struct Snapshot {
    pub lora: Lora,
    /// First and second moments of the gradient.
    pub m: Lora,
    pub v: Lora,
    /// Updates done.
    pub step: u64,
}

impl Snapshot {
    /// Before the first update.
    pub fn start(config: &LlamaConfig, lora: Lora) -> Result<Self, EngineError> {
        Ok(Self { m: lora.zeros_like(config)?, v: lora.zeros_like(config)?, lora, step: 0 })
    }
}

/// Trains an adapter beside its model. A step is [`Learner::gradient`], then [`Learner::update`].
pub enum Learner<'a> {
    Cpu(Box<CpuLearner<'a>>),
    #[cfg(feature = "cuda")]
    Cuda(Box<CudaLearner<'a>>),
}

impl<'a> Learner<'a> {
    /// Goes on from `start`, whose matrices are the learner's from here on.
    pub fn new(network: &'a Network, start: Snapshot, spec: &TrainSpec) -> Result<Self, EngineError> {
        match network {
            Network::Cpu(llama) => Ok(Self::Cpu(Box::new(CpuLearner::new(llama, start, spec)?))),
            #[cfg(feature = "cuda")]
            Network::Cuda(replicas) => Ok(Self::Cuda(Box::new(CudaLearner::new(replicas, start, spec)?))),
        }
    }

    /// The mean loss over the rows, by their weights, and its gradient, which takes the place of the one before. `micro_batch` rows at a
    /// time go through the model.
    ///
    /// Adapter and optimiser stay as they are, so a call that fails may be repeated with a smaller micro-batch.
    pub fn gradient(
        &mut self,
        rows: &[&TokenRow],
        micro_batch: usize,
        dropout: Option<Dropout>,
    ) -> Result<Gradient, EngineError> {
        match self {
            Self::Cpu(learner) => learner.gradient(rows, micro_batch, dropout),
            #[cfg(feature = "cuda")]
            Self::Cuda(learner) => learner.gradient(rows, micro_batch, dropout),
        }
    }

    /// One step of the optimiser with `coefficient` times the gradient that was computed last. Not to be repeated: a
    /// call that fails may have changed some of the matrices.
    pub fn update(&mut self, coefficient: f32, learning_rate: f64) -> Result<(), EngineError> {
        match self {
            Self::Cpu(learner) => {
                learner.optimizer.update(&learner.lora, &learner.gradient, coefficient, learning_rate)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(learner) => learner.update(coefficient, learning_rate),
        }
    }

    /// The adapter as it is now, for scoring. Good until the next update: on the CPU it shares the learner's tensors.
    pub fn adapter(&self) -> Result<Adapter, EngineError> {
        match self {
            Self::Cpu(learner) => Ok(Adapter::Cpu(learner.lora.clone())),
            #[cfg(feature = "cuda")]
            Self::Cuda(learner) => Ok(Adapter::Cuda(learner.adapter())),
        }
    }

    /// The adapter as it is now, on the CPU. Good until the next update, as [`Learner::adapter`].
    pub fn lora(&self) -> Result<Lora, EngineError> {
        match self {
            Self::Cpu(learner) => Ok(learner.lora.clone()),
            #[cfg(feature = "cuda")]
            Self::Cuda(learner) => learner.lora(),
        }
    }

    /// All that a learner needs to go on from here. Good until the next update, as [`Learner::adapter`].
    pub fn snapshot(&self) -> Result<Snapshot, EngineError> {
        match self {
            Self::Cpu(learner) => {
                let CpuLearner { lora, optimizer, .. } = learner.as_ref();
                let AdamW { m, v, step, .. } = optimizer;
                Ok(Snapshot { lora: lora.clone(), m: m.clone(), v: v.clone(), step: *step })
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(learner) => learner.snapshot(),
        }
    }
}

pub struct CpuLearner<'a> {
    llama: &'a Llama,
    lora: Lora,
    optimizer: AdamW,
    gradient: Lora,
}

impl<'a> CpuLearner<'a> {
    fn new(llama: &'a Llama, start: Snapshot, spec: &TrainSpec) -> Result<Self, EngineError> {
        let Snapshot { lora, m, v, step } = start;
        let gradient = lora.zeros_like(&llama.config)?;
        Ok(Self { llama, lora, optimizer: AdamW::going_on(m, v, step, spec), gradient })
    }

    fn gradient(
        &self,
        rows: &[&TokenRow],
        micro_batch: usize,
        dropout: Option<Dropout>,
    ) -> Result<Gradient, EngineError> {
        clear(&self.gradient)?;
        let loss = loss_and_gradient(self.llama, &self.lora, rows, micro_batch, dropout, &self.gradient)?;
        Ok(Gradient { loss, norm: gradient_norm(&self.gradient)? })
    }
}

/// Tokens of the rows that carry loss, each by its row's weight: what a step's sums are divided by, however the rows are
/// cut into micro-batches. With weights w, the loss of a step is sum(w l) / sum(w): that of torch.nn.CrossEntropyLoss
/// with class weights and the reduction "mean". 1 where no token carries loss.
pub(crate) fn loss_tokens(rows: &[&TokenRow]) -> f64 {
    let weight = |row: &&TokenRow| f64::from(row.weight) * (row.tokens.len() - row.loss_from) as f64;
    let sum: f64 = rows.iter().map(weight).sum();
    if sum > 0.0 { sum } else { 1.0 }
}

/// Rows that go through the model together.
pub(crate) struct MicroBatch {
    pub batch: PackedBatch,
    pub plan: Plan,
    /// With a seed of its own.
    pub dropout: Option<Dropout>,
}

/// A step's rows, `size` at a time.
pub(crate) fn micro_batches(
    rows: &[&TokenRow],
    size: usize,
    dropout: Option<Dropout>,
) -> impl Iterator<Item = MicroBatch> {
    rows.chunks(size.max(1)).enumerate().map(move |(index, rows)| {
        let batch = PackedBatch::pack(rows, true);
        let plan = Plan::for_rows(batch.prefix_len, &batch.sequences);
        let dropout = dropout.map(|dropout| Dropout { seed: mix(dropout.seed ^ index as u64), ..dropout });
        MicroBatch { batch, plan, dropout }
    })
}

/// The mean loss over the rows and its gradient, micro-batch by micro-batch.
pub fn loss_and_gradient(
    llama: &Llama,
    lora: &Lora,
    rows: &[&TokenRow],
    micro_batch: usize,
    dropout: Option<Dropout>,
    gradient: &Lora,
) -> Result<f64, EngineError> {
    let loss_tokens = loss_tokens(rows);
    let scale = 1.0 / loss_tokens as f32;
    let mut total = 0.0;
    for MicroBatch { batch, plan, dropout } in micro_batches(rows, micro_batch, dropout) {
        let pass =
            Pass { tokens: &batch.tokens, plan: &plan, lora: Some(lora), output_rows: None, cache: None, dropout };
        total += llama.loss_and_gradient(&pass, &batch.losses, scale, gradient, ACTIVATION_BUDGET)?;
    }
    Ok(total / loss_tokens)
}
