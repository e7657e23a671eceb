//! What the GPU (or, here, the CPU) does: tokens, a Llama with LoRA, its loss and its gradients, and the recipe that
//! trains it. No network, no database, no async runtime, no printing.

pub mod adapter;
pub mod base;
pub mod bench;
pub mod classify;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
pub mod error;
pub mod export;
pub mod kernels;
mod memory;
pub mod model;
pub mod network;
pub mod text;
pub mod train;
pub mod weights;

pub use base::{BaseModel, BaseReader};
pub use classify::Classifier;
pub use device::Device;
pub use error::EngineError;
