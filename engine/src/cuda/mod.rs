//! The model on an NVIDIA GPU: the same forward and backward as in `model`, in bf16 with f32 sums, f32 adapters and f32
//! optimiser state.
//!
//! Things run in the order in which they are asked for, on one stream per card: a buffer may be dropped as soon as the
//! last kernel that reads it has been *launched*. The one exception are the products of the adapter's gradients, which
//! run on a second stream: what they read and write must stay until the card has been joined (`Card::join`). Nothing in a
//! step waits for the card except the read of its results.
//!
//! The driver and cuBLASLt are opened at run time, so a binary with this module starts on machines without either. The
//! kernels lie in `kernels/*.cu`, are compiled by `build.rs`, and each is tested against the function of the CPU that
//! computes the same.

mod adapter;
mod attention;
mod buffer;
pub(crate) mod build;
mod card;
mod gemm;
mod layer;
mod learner;
mod library;
mod llama;
pub(crate) mod loading;
mod loss;
mod matrix;
pub(crate) mod measure;
mod nccl;
mod profile;
mod read_plan;
mod readers;
mod weights;

#[cfg(test)]
mod twins;

/// Rows below which a batch of rows to score leaves most of a card idle.
pub const LEAST_SCORING_ROWS: usize = 256;

pub use adapter::CudaAdapter;
pub use card::Card;
pub use learner::{CudaLearner, Replicas};
pub use library::cards;
pub use llama::{CudaCache, CudaLlama, CudaPass, KeepExpanded};
