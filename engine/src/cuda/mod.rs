//! The model on an NVIDIA GPU: the same forward and backward as in `model`, in bf16 with f32 sums, f32 adapters and f32
//! optimiser state.
//!
//! Everything runs in the order in which it is asked for, on one stream per card: a buffer may be dropped as soon as
//! the last kernel that reads it has been *launched*. Nothing waits for the card except a read of results.
//!
//! The driver and cuBLASLt are opened at run time, so a binary with this module starts on machines without either. The
//! kernels lie in `kernels/*.cu`, are compiled by `build.rs`, and each is tested against the function of the CPU that
//! computes the same.

pub mod adapter;
pub mod attention;
pub mod buffer;
pub mod build;
pub mod card;
pub mod gemm;
pub mod layer;
pub mod learner;
pub mod library;
pub mod llama;
pub mod loading;
pub mod loss;
pub mod matrix;
pub mod measure;
pub mod nccl;
pub mod profile;
mod read_plan;
mod readers;
pub mod weights;

#[cfg(test)]
mod twins;

/// Rows below which a batch of rows to score leaves most of a card idle.
pub const LEAST_SCORING_ROWS: usize = 256;

pub use adapter::CudaAdapter;
pub use card::Card;
pub use learner::{CudaLearner, Replicas};
pub use library::cards;
pub use llama::{CudaCache, CudaLlama, CudaPass, KeepExpanded};
