//! The adapter: its matrices in memory, and its files in PEFT's format.

pub mod lora;
pub mod peft;
pub mod peft_config;

pub use lora::Lora;

use crate::error::EngineError;
use crate::kernels::{Matrix, edit};
use candle_core::Tensor;

/// to = from, both contiguous and of one shape.
pub fn copy_into(to: &Tensor, from: &Tensor) -> Result<(), EngineError> {
    let from = Matrix::of(from)?;
    let count = from.rows * from.columns;
    edit(to, |to, _| to[..count].copy_from_slice(&from.values()[..count]))
}
