//! RMSNorm.

use crate::error::EngineError;
use crate::kernels::math::{dot, for_each_rows};
use crate::kernels::{Matrix, edit, empty};
use candle_core::Tensor;
use rayon::prelude::*;

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

/// [`forward`] on every head of x (T, heads · head_dim) by itself, in place; w (1, head_dim) is shared by the heads.
pub fn normalise_heads(x: &Tensor, weight: &Tensor, eps: f32) -> Result<(), EngineError> {
    let (rows, width) = x.dims2()?;
    let head_dim = weight.dim(1)?;
    let weight = Matrix::of(weight)?;
    let weight = weight.view().row(0);
    edit(x, |x, layout| {
        let stride = layout.stride()[0];
        // The view's last row may end before a whole stride does.
        x.par_chunks_mut(stride).take(rows).with_min_len(64).for_each(|row| {
            for head in row[..width].chunks_exact_mut(head_dim) {
                let inverse_rms = 1.0 / (dot(head, head) / head_dim as f32 + eps).sqrt();
                for (x, w) in head.iter_mut().zip(weight) {
                    *x = w * (*x * inverse_rms);
                }
            }
        });
    })
}

/// The gradient of [`normalise_heads`] with respect to its input: dy (T, heads · head_dim) becomes dx in place. x is
/// what went in. The formula is that of [`backward_add`].
pub fn normalise_heads_backward(dy: &Tensor, x: &Tensor, weight: &Tensor, eps: f32) -> Result<(), EngineError> {
    let (rows, width) = dy.dims2()?;
    let head_dim = weight.dim(1)?;
    let (x, weight) = (Matrix::of(x)?, Matrix::of(weight)?);
    let (x, weight) = (x.view(), weight.view().row(0));
    edit(dy, |dy, layout| {
        let stride = layout.stride()[0];
        dy.par_chunks_mut(stride).take(rows).enumerate().with_min_len(64).for_each(|(row, dy)| {
            let heads = dy[..width].chunks_exact_mut(head_dim).zip(x.row(row).chunks_exact(head_dim));
            for (d, x) in heads {
                let s = 1.0 / (dot(x, x) / head_dim as f32 + eps).sqrt();
                for (d, w) in d.iter_mut().zip(weight) {
                    *d *= w;
                }
                let pull = s * s * s * dot(d, x) / head_dim as f32;
                for (d, x) in d.iter_mut().zip(x) {
                    *d = s * *d - pull * x;
                }
            }
        });
    })
}
