//! Training on one card or several: the adapter, its gradient and its optimiser, all on the card.
//!
//! With several cards every one holds the whole model, takes its share of a step's rows, and all sum their gradients
//! before each makes the same update.

use crate::adapter::lora::Lora;
use crate::cuda::adapter::CudaAdapter;
use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::llama::{CudaLlama, CudaPass};
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::nccl::Communicator;
use crate::error::EngineError;
use crate::model::linear::Dropout;
use crate::text::batch::TokenRow;
use crate::train::learner::{Gradient, MicroBatch, Snapshot, loss_tokens, micro_batches};
use domain::dataset::mix;
use domain::spec::TrainSpec;
use std::sync::Arc;

/// Blocks that each sum up a share of the gradient's squares.
const NORM_BLOCKS: usize = 1024;

/// The same model on every card that trains together.
pub struct Replicas {
    /// The one that scores.
    pub first: CudaLlama,
    pub others: Vec<CudaLlama>,
}

impl Replicas {
    /// Loads the model once for every card.
    pub fn load(
        cards: &[usize],
        mut load: impl FnMut(&Arc<Card>) -> Result<CudaLlama, EngineError>,
    ) -> Result<Self, EngineError> {
        let mut loaded = cards.iter().map(|&card| load(&Card::open(card)?));
        let first = loaded.next().unwrap_or_else(|| Err(EngineError::invalid("no card was named")))?;
        Ok(Self { first, others: loaded.collect::<Result<_, _>>()? })
    }

    pub fn all(&self) -> impl Iterator<Item = &CudaLlama> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Trains an adapter beside its model; see `train::learner::Learner`.
pub struct CudaLearner<'a> {
    first: Replica<'a>,
    others: Vec<Replica<'a>>,
    spec: TrainSpec,
    /// Updates done.
    step: u64,
}

/// One card's part.
struct Replica<'a> {
    llama: &'a CudaLlama,
    adapter: Arc<CudaAdapter>,
    /// (1, values) f32, in the adapter's layout.
    parameters: Matrix,
    gradient: Matrix,
    m: Matrix,
    v: Matrix,
    communicator: Option<Communicator>,
}

/// One step's factors of AdamW; see the kernel `adamw`.
#[derive(Clone, Copy)]
struct Factors {
    coefficient: f32,
    beta1: f32,
    beta2: f32,
    keep: f32,
    step_size: f32,
    inverse_root: f32,
    epsilon: f32,
}

impl<'a> CudaLearner<'a> {
    pub fn new(replicas: &'a Replicas, start: Snapshot, spec: &TrainSpec) -> Result<Self, EngineError> {
        let made: Vec<Replica> = replicas.all().map(|llama| Replica::new(llama, &start)).collect::<Result<_, _>>()?;
        let mut made = join_group(made)?.into_iter();
        let first = made.next().ok_or_else(|| EngineError::invalid("training needs a card"))?;
        Ok(Self { first, others: made.collect(), spec: spec.clone(), step: start.step })
    }

    /// The mean loss over the rows and the gradient's norm; the gradient stays on the cards.
    pub fn gradient(
        &mut self,
        rows: &[&TokenRow],
        micro_batch: usize,
        dropout: Option<Dropout>,
    ) -> Result<Gradient, EngineError> {
        let loss_tokens = loss_tokens(rows);
        let scale = 1.0 / loss_tokens as f32;
        let cards = 1 + self.others.len();
        let share = |card: usize| &rows[card * rows.len() / cards..(card + 1) * rows.len() / cards];
        let losses = self.on_every_card(|card, replica| {
            // The first card's masks are those of a single card.
            let of_card = if card == 0 { 0 } else { mix(card as u64) };
            let dropout = dropout.map(|dropout| Dropout { seed: dropout.seed ^ of_card, ..dropout });
            replica.backward(share(card), micro_batch, dropout, scale)
        })?;
        if !self.others.is_empty() {
            // Only once every card has its gradient: one that failed would leave the others waiting for it.
            if let Err(error) = self.on_every_card(|_, replica| replica.sum_over_cards()) {
                for replica in std::iter::once(&mut self.first).chain(&mut self.others) {
                    replica.communicator.iter_mut().for_each(Communicator::abort);
                }
                return Err(error);
            }
        }
        let norm = self.first.gradient_norm()?;
        let mut total = 0.0;
        for (replica, losses) in self.all().zip(losses) {
            replica.llama.card.bind()?;
            for losses in losses {
                total += losses.read()?.into_iter().map(f64::from).sum::<f64>();
            }
        }
        Ok(Gradient { loss: total / loss_tokens, norm })
    }

    /// One step of AdamW with `coefficient` times the gradient.
    pub fn update(&mut self, coefficient: f32, learning_rate: f64) -> Result<(), EngineError> {
        self.step += 1;
        let (spec, step) = (&self.spec, self.step as f64);
        let factors = Factors {
            coefficient,
            beta1: spec.adam_beta1 as f32,
            beta2: spec.adam_beta2 as f32,
            keep: (1.0 - learning_rate * spec.weight_decay) as f32,
            step_size: (learning_rate / (1.0 - spec.adam_beta1.powf(step))) as f32,
            inverse_root: (1.0 / (1.0 - spec.adam_beta2.powf(step)).sqrt()) as f32,
            epsilon: spec.adam_epsilon as f32,
        };
        self.all().try_for_each(|replica| replica.update(factors))
    }

    /// The adapter as it is now, on the first card.
    pub fn adapter(&self) -> Arc<CudaAdapter> {
        self.first.adapter.clone()
    }

    /// A copy of the adapter as it is now.
    pub fn lora(&self) -> Result<Lora, EngineError> {
        self.first.read(&self.first.parameters)
    }

    pub fn snapshot(&self) -> Result<Snapshot, EngineError> {
        let first = &self.first;
        Ok(Snapshot { lora: self.lora()?, m: first.read(&first.m)?, v: first.read(&first.v)?, step: self.step })
    }

    /// The gradient that was computed last, for tests.
    pub fn last_gradient(&self) -> Result<Lora, EngineError> {
        self.first.read(&self.first.gradient)
    }

    /// Every card holds the same adapter, to the last bit: they made the same updates of the same gradient.
    pub fn replicas_agree(&self) -> Result<bool, EngineError> {
        let first = self.first.parameters.read()?;
        for other in &self.others {
            other.llama.card.bind()?;
            if other.parameters.read()? != first {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn all(&self) -> impl Iterator<Item = &Replica<'a>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Does the same on every card at once; the answers come in the cards' order.
    fn on_every_card<T: Send>(
        &self,
        work: impl Fn(usize, &Replica<'a>) -> Result<T, EngineError> + Sync,
    ) -> Result<Vec<T>, EngineError> {
        if self.others.is_empty() {
            return Ok(vec![work(0, &self.first)?]);
        }
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> =
                self.all().enumerate().map(|(card, replica)| scope.spawn(move || work(card, replica))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(EngineError::DeviceLost("a card's thread has died".to_string())))
            });
            // All of them, before the first error is reported.
            joined.collect::<Vec<_>>().into_iter().collect()
        })
    }
}

/// Brings the replicas' cards together where there are several.
fn join_group<'a>(mut replicas: Vec<Replica<'a>>) -> Result<Vec<Replica<'a>>, EngineError> {
    if replicas.len() < 2 {
        return Ok(replicas);
    }
    let cards: Vec<_> = replicas.iter().map(|replica| replica.llama.card.clone()).collect();
    for (replica, communicator) in replicas.iter_mut().zip(Communicator::join(&cards)?) {
        replica.communicator = Some(communicator);
    }
    Ok(replicas)
}

impl<'a> Replica<'a> {
    fn new(llama: &'a CudaLlama, start: &Snapshot) -> Result<Self, EngineError> {
        let card = &llama.card;
        let adapter = Arc::new(CudaAdapter::new(card, &llama.config, &start.lora)?);
        let _pass = card.begin()?;
        let layout = &adapter.layout;
        let matrix = |lora: &Lora| Matrix::of(card, Kind::F32, 1, layout.values, &layout.flatten(lora)?);
        let moment = |lora: &Lora| match start.step {
            0 => Matrix::zeros(card, Kind::F32, 1, layout.values),
            _ => matrix(lora),
        };
        Ok(Self {
            llama,
            parameters: matrix(&start.lora)?,
            gradient: Matrix::zeros(card, Kind::F32, 1, layout.values)?,
            m: moment(&start.m)?,
            v: moment(&start.v)?,
            communicator: None,
            adapter,
        })
    }

    /// Σ -ln p over the rows' tokens, in parts, and `scale` times its gradient, micro-batch by micro-batch.
    fn backward(
        &self,
        rows: &[&TokenRow],
        micro_batch: usize,
        dropout: Option<Dropout>,
        scale: f32,
    ) -> Result<Vec<Matrix>, EngineError> {
        self.llama.card.bind()?;
        if rows.is_empty() {
            self.gradient.clear()?;
        }
        let mut losses = Vec::new();
        for (index, micro_batch) in micro_batches(rows, micro_batch, dropout).enumerate() {
            let MicroBatch { batch, plan, dropout } = micro_batch;
            let pass = CudaPass {
                tokens: &batch.tokens,
                plan: &plan,
                adapter: Some(&self.adapter),
                output_rows: None,
                cache: None,
                dropout,
            };
            losses.push(self.llama.loss_and_gradient(&pass, &batch.losses, scale, &self.gradient, index > 0)?);
        }
        Ok(losses)
    }

    fn sum_over_cards(&self) -> Result<(), EngineError> {
        self.llama.card.bind()?;
        self.communicator.as_ref().map_or(Ok(()), |communicator| communicator.sum(&self.gradient))
    }

    fn gradient_norm(&self) -> Result<f64, EngineError> {
        let card = &self.llama.card;
        card.bind()?;
        let partial = Buffer::new(card, NORM_BLOCKS * size_of::<f64>())?;
        let launch = Launch { grid: (NORM_BLOCKS, 1), threads: 256, shared_bytes: 0 };
        card.launch("sum_of_squares", launch, &[&&self.gradient, &partial.address, &self.gradient.columns])?;
        let partial: Vec<f64> = partial.read(0, NORM_BLOCKS)?;
        Ok(partial.into_iter().sum::<f64>().sqrt())
    }

    fn update(&self, factors: Factors) -> Result<(), EngineError> {
        let _pass = self.llama.card.begin()?;
        let fours = self.gradient.columns / 4;
        let Factors { coefficient, beta1, beta2, keep, step_size, inverse_root, epsilon } = factors;
        self.llama.card.launch(
            "adamw",
            Launch::pieces(fours),
            &[
                &&self.parameters,
                &&self.gradient,
                &&self.m,
                &&self.v,
                &&self.adapter.rounded,
                &fours,
                &coefficient,
                &beta1,
                &beta2,
                &keep,
                &step_size,
                &inverse_root,
                &epsilon,
            ],
        )?;
        self.adapter.changed();
        Ok(())
    }

    fn read(&self, values: &Matrix) -> Result<Lora, EngineError> {
        let _pass = self.llama.card.begin()?;
        self.adapter.layout.unflatten(&self.llama.config, &values.read()?)
    }
}
