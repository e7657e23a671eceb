//! The activation between the two halves of a Llama's MLP.

use crate::error::EngineError;
use crate::kernels::math::{for_each_rows, sigmoid};
use crate::kernels::{Matrix, edit, empty};
use candle_core::Tensor;

/// SwiGLU: y = silu(gate) ∘ up, silu(z) = z σ(z).
///
/// gate_up (T, 2f) = [gate | up] → y (T, f)
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor, EngineError> {
    let (rows, width) = gate_up.dims2()?;
    let half = width / 2;
    let gate_up = Matrix::of(gate_up)?;
    let gate_up = gate_up.view();
    let y = empty(rows, half)?;
    edit(&y, |y, _| {
        for_each_rows(&mut y[..rows * half], half, |first, y| {
            for (index, y) in y.chunks_exact_mut(half).enumerate() {
                let (gate, up) = gate_up.row(first + index).split_at(half);
                for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                    *y = gate * sigmoid(*gate) * up;
                }
            }
        });
    })?;
    Ok(y)
}

/// d[gate | up] (T, 2f) from dy (T, f).
///
/// silu'(z) = σ(z) (1 + z (1 - σ(z))), so d gate = dy ∘ up ∘ silu'(gate) and d up = dy ∘ silu(gate).
pub fn swiglu_backward(dy: &Tensor, gate_up: &Tensor) -> Result<Tensor, EngineError> {
    let (rows, width) = gate_up.dims2()?;
    let half = width / 2;
    let (gate_up, dy) = (Matrix::of(gate_up)?, Matrix::of(dy)?);
    let (gate_up, dy) = (gate_up.view(), dy.view());
    let d_gate_up = empty(rows, width)?;
    edit(&d_gate_up, |d_gate_up, _| {
        for_each_rows(&mut d_gate_up[..rows * width], width, |first, d_gate_up| {
            for (index, d) in d_gate_up.chunks_exact_mut(width).enumerate() {
                let (gate, up) = gate_up.row(first + index).split_at(half);
                let (d_gate, d_up) = d.split_at_mut(half);
                let dy = dy.row(first + index);
                for i in 0..half {
                    let s = sigmoid(gate[i]);
                    d_gate[i] = dy[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
                    d_up[i] = dy[i] * gate[i] * s;
                }
            }
        });
    })?;
    Ok(d_gate_up)
}
