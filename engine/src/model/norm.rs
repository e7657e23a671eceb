//! RMSNorm.

use crate::error::EngineError;
use crate::kernels::math::{dot, for_each_rows};
use crate::kernels::{Matrix, edit, empty};
use candle_core::Tensor;

/// y = w ∘ x / rms(x), rms(x) = sqrt(mean(x²) + eps), row by row.
///
/// x (T, d), w (1, d) → y (T, d)
pub fn forward(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor, EngineError> {
    let (rows, width) = x.dims2()?;
    let (x, weight) = (Matrix::of(x)?, Matrix::of(weight)?);
    let (x, weight) = (x.view(), weight.view().row(0));
    let y = empty(rows, width)?;
    edit(&y, |y, _| {
        for_each_rows(&mut y[..rows * width], width, |first, y| {
            for (index, y) in y.chunks_exact_mut(width).enumerate() {
                let x = x.row(first + index);
                let inverse_rms = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
                for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                    *y = w * (x * inverse_rms);
                }
            }
        });
    })?;
    Ok(y)
}

/// dx += the gradient of [`forward`] with respect to x; w is frozen.
///
/// With s = 1 / rms(x) and g = w ∘ dy:  y_i = w_i x_i s,  ∂s/∂x_j = -s³ x_j / d, so
/// dx_j = s g_j - s³ x_j (g · x) / d.
pub fn backward_add(dx: &Tensor, dy: &Tensor, x: &Tensor, weight: &Tensor, eps: f32) -> Result<(), EngineError> {
    let (rows, width) = x.dims2()?;
    let (x, weight, dy) = (Matrix::of(x)?, Matrix::of(weight)?, Matrix::of(dy)?);
    let (x, weight, dy) = (x.view(), weight.view().row(0), dy.view());
    edit(dx, |dx, layout| {
        debug_assert_eq!(layout.stride(), [width, 1]);
        for_each_rows(&mut dx[..rows * width], width, |first, dx| {
            let mut g = vec![0f32; width];
            for (index, dx) in dx.chunks_exact_mut(width).enumerate() {
                let (x, dy) = (x.row(first + index), dy.row(first + index));
                let s = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
                for ((g, dy), w) in g.iter_mut().zip(dy).zip(weight) {
                    *g = w * dy;
                }
                let pull = s * s * s * dot(&g, x) / width as f32;
                for ((dx, g), x) in dx.iter_mut().zip(&g).zip(x) {
                    *dx += s * g - pull * x;
                }
            }
        });
    })
}
