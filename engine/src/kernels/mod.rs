//! The ground that the model's arithmetic stands on: matrices over tensors, products, and loops that use the
//! processor's widest registers.

pub mod gemm;
pub mod math;
pub mod matrix;
pub mod panels;

pub use gemm::{Accumulate, Operand, gemm};
pub use matrix::{Matrix, Rows, edit, empty, gather_rows, scatter_rows_add};
pub use panels::{Panels, ThinProduct};
