//! The matrix product, with accumulation into a view.

use super::matrix::{Matrix, edit};
use crate::error::EngineError;
use candle_core::Tensor;
use gemm::Parallelism;

/// Whether a product replaces what the destination holds or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    Replace,
    Add,
}

/// dst (m, n) = [dst +] alpha · a (m, k) · b (k, n)
///
/// Any of the three may be a view with strides of its own, so transposes and column slices cost nothing.
pub fn gemm(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f32, accumulate: Accumulate) -> Result<(), EngineError> {
    let (m, n) = dst.dims2()?;
    let (a, b) = (Matrix::of(a)?, Matrix::of(b)?);
    if (a.rows, a.columns, b.columns) != (m, b.rows, n) {
        return Err(EngineError::invalid(format!(
            "a product of {}x{} and {}x{} does not fit into {m}x{n}",
            a.rows, a.columns, b.rows, b.columns
        )));
    }
    edit(dst, |dst, layout| {
        let (row_stride, column_stride) = (layout.stride()[0], layout.stride()[1]);
        let extent = |rows: usize, columns: usize, row_stride: usize, column_stride: usize| {
            rows.saturating_sub(1) * row_stride + columns.saturating_sub(1) * column_stride
        };
        if m == 0 || n == 0 {
            return;
        }
        assert!(extent(m, n, row_stride, column_stride) < dst.len());
        assert!(extent(a.rows, a.columns, a.row_stride, a.column_stride) < a.values().len() || a.columns == 0);
        assert!(extent(b.rows, b.columns, b.row_stride, b.column_stride) < b.values().len() || b.rows == 0);
        // SAFETY: the three assertions above keep every access inside its slice; `edit` holds the only write access.
        unsafe {
            gemm::gemm(
                m,
                n,
                a.columns,
                dst.as_mut_ptr(),
                column_stride as isize,
                row_stride as isize,
                accumulate == Accumulate::Add,
                a.values().as_ptr(),
                a.column_stride as isize,
                a.row_stride as isize,
                b.values().as_ptr(),
                b.column_stride as isize,
                b.row_stride as isize,
                1.0,
                alpha,
                false,
                false,
                false,
                Parallelism::Rayon(0),
            );
        }
    })
}

/// A matrix in memory: element (i, j) at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    pub values: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// dst (m, n) = [dst +] alpha · a (m, k) · b (k, n) on the calling thread.
///
/// # Safety
/// Every element that the sizes and strides name lies within its slice or what `dst` points to, and nothing else reads or
/// writes those of `dst` meanwhile.
pub unsafe fn gemm_raw(
    dst: *mut f32,
    (row_stride, column_stride): (usize, usize),
    a: Operand,
    b: Operand,
    (m, k, n): (usize, usize, usize),
    alpha: f32,
    accumulate: Accumulate,
) {
    // SAFETY: the caller's.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            column_stride as isize,
            row_stride as isize,
            accumulate == Accumulate::Add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// dst (m, n) = alpha · a (m, k) · b (k, n) over plain slices on the calling thread: for the many small products of
/// attention, which are spread over threads by their caller. `b_transposed`: b is stored as (n, k).
#[allow(clippy::too_many_arguments)] // the operands of a product are what they are
pub fn gemm_slices(
    dst: &mut [f32],
    a: &[f32],
    a_transposed: bool,
    b: &[f32],
    b_transposed: bool,
    (m, k, n): (usize, usize, usize),
    alpha: f32,
    accumulate: Accumulate,
) {
    assert!(dst.len() >= m * n && a.len() >= m * k && b.len() >= k * n);
    let (a_row, a_column) = if a_transposed { (1, m) } else { (k, 1) };
    let (b_row, b_column) = if b_transposed { (1, k) } else { (n, 1) };
    // SAFETY: the assertion keeps every access inside its slice.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            n as isize,
            accumulate == Accumulate::Add,
            a.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn equals_candles_product_through_views() {
        let device = Device::Cpu;
        let a = Tensor::randn(0f32, 1.0, (5, 7), &device).unwrap();
        let b = Tensor::randn(0f32, 1.0, (9, 7), &device).unwrap();
        let wide = Tensor::ones((5, 20), candle_core::DType::F32, &device).unwrap();
        let view = wide.narrow(1, 3, 9).unwrap();
        gemm(&view, &a, &b.t().unwrap(), 0.5, Accumulate::Add).unwrap();
        let expected = (a.matmul(&b.t().unwrap()).unwrap() * 0.5)
            .unwrap()
            .broadcast_add(&Tensor::ones((1, 1), candle_core::DType::F32, &device).unwrap())
            .unwrap();
        let difference = (view - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-5, "{difference}");
        // Columns outside the view keep what they held.
        assert_eq!(wide.narrow(1, 0, 3).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(), 15.0);
        assert!(gemm(&wide, &a, &b, 1.0, Accumulate::Replace).is_err());
    }
}
