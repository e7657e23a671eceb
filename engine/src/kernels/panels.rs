//! A frozen matrix, laid out for products with few rows.
//!
//! A product x Wᵀ wants neighbouring rows of W beside each other, column after column; as stored, W has a row's columns
//! beside each other. [`super::gemm`] rearranges it at every call, on one thread, which costs more than the product itself
//! where x has few rows: one text to classify. Here that is done once, and the threads share the panels.

use super::gemm::gemm_raw;
use super::matrix::{Matrix, edit};
use super::{Accumulate, Operand};
use crate::error::EngineError;
use candle_core::Tensor;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of W in a panel: four registers of AVX-512.
const PANEL_ROWS: usize = 64;
/// Rows of x in a task: as many as `gemm` takes without copying the panel first.
const TASK_ROWS: usize = 48;

/// W (out, in) in panels of [`PANEL_ROWS`] rows. Panel p holds element (r, c) at `(c * height + r)`, its height being
/// that of the last panel where there are fewer rows left.
pub struct Panels {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

/// What is added to some columns of a product while they are near: s · z Bᵀ, the second half of a LoRA.
pub struct ThinProduct<'a> {
    /// The rows of W whose outputs it is added to.
    pub rows: Range<usize>,
    /// (T, r)
    pub z: Matrix<'a>,
    /// (rows.len(), r)
    pub b: Matrix<'a>,
    pub scale: f32,
}

impl ThinProduct<'_> {
    fn check(&self, tokens: usize) -> Result<(), EngineError> {
        let (z, b) = (&self.z, &self.b);
        if z.rows != tokens || b.rows != self.rows.len() || z.columns != b.columns {
            return Err(EngineError::invalid("the matrices of a LoRA do not fit its layer"));
        }
        let reach =
            |m: &Matrix| m.rows.saturating_sub(1) * m.row_stride + m.columns.saturating_sub(1) * m.column_stride;
        assert!(reach(z) < z.values().len() && reach(b) < b.values().len());
        Ok(())
    }
}

impl Panels {
    pub fn of(matrix: &Tensor) -> Result<Self, EngineError> {
        let matrix = Matrix::of(matrix)?;
        let (rows, columns, from) = (matrix.rows, matrix.columns, matrix.view());
        let mut values = vec![0f32; rows * columns];
        ask_for_large_pages(&values);
        values.par_chunks_mut((PANEL_ROWS * columns).max(1)).enumerate().for_each(|(panel, to)| {
            let first = panel * PANEL_ROWS;
            let height = PANEL_ROWS.min(rows - first);
            for row in 0..height {
                for (column, value) in from.row(first + row).iter().enumerate() {
                    to[column * height + row] = *value;
                }
            }
        });
        Ok(Self { values, rows, columns })
    }

    /// dst (T, rows.len()) = [dst +] x (T, in) · W[rows]ᵀ
    ///
    /// What comes out for a row of x does not depend on the other rows.
    pub fn product(
        &self,
        dst: &Tensor,
        x: &Tensor,
        rows: &Range<usize>,
        accumulate: Accumulate,
    ) -> Result<(), EngineError> {
        self.product_with(dst, x, rows, accumulate, &[])
    }

    /// As [`Panels::product`], with thin products added.
    pub fn product_with(
        &self,
        dst: &Tensor,
        x: &Tensor,
        rows: &Range<usize>,
        accumulate: Accumulate,
        thin: &[ThinProduct],
    ) -> Result<(), EngineError> {
        let (tokens, width) = dst.dims2()?;
        let x = Matrix::of(x)?;
        if (x.rows, x.columns, width) != (tokens, self.columns, rows.len()) || rows.end > self.rows {
            return Err(EngineError::invalid(format!(
                "a product of {}x{} and rows {rows:?} of {}x{} does not fit into {tokens}x{width}",
                x.rows, x.columns, self.rows, self.columns
            )));
        }
        if tokens == 0 || width == 0 {
            return Ok(());
        }
        thin.iter().try_for_each(|thin| thin.check(tokens))?;
        // Guards of tensors stay on this thread; what they guard goes to the others.
        let thin: Vec<_> = thin
            .iter()
            .map(|thin| (&thin.rows, operand(&thin.z), operand(&thin.b), thin.z.columns, thin.scale))
            .collect();
        let blocks = tokens.div_ceil(TASK_ROWS);
        let panels = rows.start / PANEL_ROWS..rows.end.div_ceil(PANEL_ROWS);
        edit(dst, |dst, layout| {
            let (row_stride, column_stride) = (layout.stride()[0], layout.stride()[1]);
            assert!((tokens - 1) * row_stride + (width - 1) * column_stride < dst.len());
            assert!((tokens - 1) * x.row_stride + (x.columns - 1) * x.column_stride < x.values().len());
            let (dst, values) = (Destination(dst.as_mut_ptr()), x.values());
            // Panel by panel: a thread keeps its own ones near while it goes through x.
            (0..panels.len() * blocks).into_par_iter().for_each(|task| {
                let panel = panels.start + task / blocks;
                let token = (task % blocks) * TASK_ROWS;
                let count = TASK_ROWS.min(tokens - token);
                let first = panel * PANEL_ROWS;
                let height = PANEL_ROWS.min(self.rows - first);
                let own = rows.start.max(first)..rows.end.min(first + height);
                let w = &self.values[first * self.columns..][..height * self.columns];
                let w = Operand { values: &w[own.start - first..], row_stride: height, column_stride: 1 };
                let x = Operand {
                    values: &values[token * x.row_stride..],
                    row_stride: x.row_stride,
                    column_stride: x.column_stride,
                };
                let place = |row: usize| token * row_stride + (row - rows.start) * column_stride;
                // SAFETY: tasks write to places of their own, all within `dst` by the assertion above; x reaches as far
                // as the other one says, w as far as its panel, and the thin operands as far as they were checked.
                unsafe {
                    let to = dst.at(place(own.start));
                    let sizes = (count, self.columns, own.len());
                    gemm_raw(to, (row_stride, column_stride), x, w, sizes, 1.0, accumulate);
                    for (rows_of, z, b, rank, scale) in &thin {
                        let own = own.start.max(rows_of.start)..own.end.min(rows_of.end);
                        if own.is_empty() || *rank == 0 {
                            continue;
                        }
                        let z = Operand { values: &z.values[token * z.row_stride..], ..*z };
                        // Bᵀ
                        let b = Operand {
                            values: &b.values[(own.start - rows_of.start) * b.row_stride..],
                            row_stride: b.column_stride,
                            column_stride: b.row_stride,
                        };
                        let to = dst.at(place(own.start));
                        let sizes = (count, *rank, own.len());
                        gemm_raw(to, (row_stride, column_stride), z, b, sizes, *scale, Accumulate::Add);
                    }
                }
            });
        })
    }
}

/// All of a model goes by at every pass. In pages of 4 KB looking up their places takes a good part of the time, with
/// more of it inside a virtual machine; the system gives larger ones to whoever asks before the memory is first touched.
fn ask_for_large_pages(values: &[f32]) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        const PAGE: usize = 4096;
        let bytes = std::mem::size_of_val(values);
        let inset = values.as_ptr().cast::<u8>().align_offset(PAGE);
        let whole = bytes.saturating_sub(inset) / PAGE * PAGE;
        if whole > 0 {
            // SAFETY: the range lies within `values`; this advice changes how memory is held and nothing that it holds.
            // Where it is refused, all works as before.
            let _ = unsafe {
                madvise(values.as_ptr().cast::<u8>().add(inset).cast_mut().cast(), whole, Advice::LinuxHugepage)
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}

fn operand<'a>(matrix: &'a Matrix) -> Operand<'a> {
    Operand { values: matrix.values(), row_stride: matrix.row_stride, column_stride: matrix.column_stride }
}

/// Where tasks write, each to places of its own.
#[derive(Clone, Copy)]
struct Destination(*mut f32);

// SAFETY: see the one place that writes.
unsafe impl Send for Destination {}
unsafe impl Sync for Destination {}

impl Destination {
    /// # Safety
    /// The offset lies within what is pointed to.
    unsafe fn at(self, offset: usize) -> *mut f32 {
        unsafe { self.0.add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{empty, gemm};
    use super::*;
    use candle_core::Device;

    fn largest_difference(one: &Tensor, other: &Tensor) -> f32 {
        (one - other).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn equals_the_product_of_the_matrix_as_stored() {
        let device = Device::Cpu;
        for (out, width, tokens) in [(640, 384, 45), (130, 1024, 1), (64, 8, 100), (7, 5, 3)] {
            let w = Tensor::randn(0f32, 1.0, (out, width), &device).unwrap();
            let x = Tensor::randn(0f32, 1.0, (tokens, width), &device).unwrap();
            let panels = Panels::of(&w).unwrap();
            for rows in [0..out, out / 3..out, 0..out / 2 + 1] {
                let part = w.narrow(0, rows.start, rows.len()).unwrap();
                for accumulate in [Accumulate::Replace, Accumulate::Add] {
                    let expected = Tensor::ones((tokens, rows.len()), candle_core::DType::F32, &device).unwrap();
                    let found = expected.copy().unwrap();
                    gemm(&expected, &x, &part.t().unwrap(), 1.0, accumulate).unwrap();
                    panels.product(&found, &x, &rows, accumulate).unwrap();
                    let difference = largest_difference(&found, &expected);
                    assert!(difference < 1e-5 * width as f32, "{out} {width} {tokens} {rows:?}: {difference}");
                }
            }
        }
    }

    #[test]
    fn a_row_comes_out_the_same_whatever_stands_beside_it() {
        let device = Device::Cpu;
        let w = Tensor::randn(0f32, 1.0, (200, 700), &device).unwrap();
        let x = Tensor::randn(0f32, 1.0, (101, 700), &device).unwrap();
        let panels = Panels::of(&w).unwrap();
        let product = |x: &Tensor| {
            let y = empty(x.dim(0).unwrap(), 200).unwrap();
            panels.product(&y, x, &(0..200), Accumulate::Replace).unwrap();
            y
        };
        let all = product(&x);
        // From two rows on: a single one is computed as a product with a vector.
        for (first, count) in [(0, 48), (60, 41), (99, 2)] {
            let alone = product(&x.narrow(0, first, count).unwrap());
            assert_eq!(largest_difference(&alone, &all.narrow(0, first, count).unwrap()), 0.0);
        }
    }

    #[test]
    fn a_thin_product_is_added_to_its_rows() {
        let device = Device::Cpu;
        let w = Tensor::randn(0f32, 1.0, (300, 32), &device).unwrap();
        let x = Tensor::randn(0f32, 1.0, (70, 32), &device).unwrap();
        let z = Tensor::randn(0f32, 1.0, (70, 12), &device).unwrap();
        let b = Tensor::randn(0f32, 1.0, (150, 4), &device).unwrap();
        // Rows 100 to 250 of W, in the outputs of rows 80 to 300; z is some columns of a wider matrix.
        let z = z.narrow(1, 5, 4).unwrap();
        let expected = empty(70, 220).unwrap();
        gemm(&expected, &x, &w.narrow(0, 80, 220).unwrap().t().unwrap(), 1.0, Accumulate::Replace).unwrap();
        gemm(&expected.narrow(1, 20, 150).unwrap(), &z, &b.t().unwrap(), 0.5, Accumulate::Add).unwrap();
        let found = empty(70, 220).unwrap();
        let thin = ThinProduct { rows: 100..250, z: Matrix::of(&z).unwrap(), b: Matrix::of(&b).unwrap(), scale: 0.5 };
        let panels = Panels::of(&w).unwrap();
        panels.product_with(&found, &x, &(80..300), Accumulate::Replace, &[thin]).unwrap();
        assert!(largest_difference(&found, &expected) < 1e-4);
        let wrong = ThinProduct { rows: 0..10, z: Matrix::of(&z).unwrap(), b: Matrix::of(&b).unwrap(), scale: 0.5 };
        assert!(panels.product_with(&found, &x, &(80..300), Accumulate::Replace, &[wrong]).is_err());
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let device = Device::Cpu;
        let panels = Panels::of(&Tensor::ones((10, 4), candle_core::DType::F32, &device).unwrap()).unwrap();
        let x = Tensor::ones((3, 4), candle_core::DType::F32, &device).unwrap();
        assert!(panels.product(&empty(3, 11).unwrap(), &x, &(0..11), Accumulate::Replace).is_err());
        assert!(panels.product(&empty(2, 10).unwrap(), &x, &(0..10), Accumulate::Replace).is_err());
        assert!(panels.product(&empty(0, 10).unwrap(), &x.narrow(0, 0, 0).unwrap(), &(0..10), Accumulate::Add).is_ok());
    }
}
