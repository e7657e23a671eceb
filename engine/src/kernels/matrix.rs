//! A tensor seen as rows of f32, for reading and for writing in place.

use crate::error::EngineError;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor};
use std::cell::RefCell;
use std::ops::Deref;

/// Read access to a two-dimensional f32 tensor on the CPU. The tensor may be a view: a transposed one, or some of the
/// columns of a wider one.
pub struct Matrix<'a> {
    // candle's read guard; its type has no public name.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    offset: usize,
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub fn of(tensor: &'a Tensor) -> Result<Self, EngineError> {
        let (rows, columns) = tensor.dims2()?;
        let (storage, layout) = tensor.storage_and_layout();
        let (row_stride, column_stride) = (layout.stride()[0], layout.stride()[1]);
        let offset = layout.start_offset();
        let matrix = Self { storage: Box::new(storage), offset, rows, columns, row_stride, column_stride };
        matrix.all()?;
        Ok(matrix)
    }

    fn all(&self) -> Result<&[f32], EngineError> {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[self.offset..]),
            _ => Err(EngineError::invalid("this operation needs an f32 tensor on the CPU")),
        }
    }

    /// The values from the first element on; element (i, j) is at `i * row_stride + j * column_stride`.
    pub fn values(&self) -> &[f32] {
        self.all().unwrap_or_default()
    }

    /// The rows, for loops on several threads. The columns of a row must lie together.
    pub fn view(&self) -> Rows<'_> {
        debug_assert!(self.column_stride == 1 || self.columns <= 1);
        Rows { values: self.values(), stride: self.row_stride, width: self.columns }
    }
}

/// Rows of f32 with a common distance between them.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    width: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride..][..self.width]
    }
}

/// Write access to a tensor's values, from its first element on, with its layout.
///
/// No other view of the same storage may be held while `change` runs: the storage is locked.
pub fn edit<R>(tensor: &Tensor, change: impl FnOnce(&mut [f32], &Layout) -> R) -> Result<R, EngineError> {
    let op = Edit { change: RefCell::new(Some(change)), result: RefCell::new(None) };
    tensor.inplace_op1(&op)?;
    op.result.into_inner().ok_or_else(|| EngineError::invalid("an in-place operation did not run"))
}

struct Edit<F, R> {
    change: RefCell<Option<F>>,
    result: RefCell<Option<R>>,
}

impl<F: FnOnce(&mut [f32], &Layout) -> R, R> InplaceOp1 for Edit<F, R> {
    fn name(&self) -> &'static str {
        "edit"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else { candle_core::bail!("edit needs f32 values") };
        let Some(change) = self.change.borrow_mut().take() else { candle_core::bail!("edit runs once") };
        *self.result.borrow_mut() = Some(change(&mut values[layout.start_offset()..], layout));
        Ok(())
    }
}

/// A new (rows, columns) tensor on the CPU whose every element the caller writes before it is read.
pub fn empty(rows: usize, columns: usize) -> Result<Tensor, EngineError> {
    // SAFETY: f32 has no invalid bit patterns, and every caller fills the tensor before reading it: a product
    // without accumulation, or a loop over all rows.
    Ok(unsafe { Tensor::empty((rows, columns), DType::F32, &Device::Cpu) }?)
}

/// (rows.len(), columns): the named rows of `from`, in that order.
pub fn gather_rows(from: &Tensor, rows: &[usize]) -> Result<Tensor, EngineError> {
    let from = Matrix::of(from)?;
    let mut values = Vec::with_capacity(rows.len() * from.columns);
    let view = from.view();
    for &row in rows {
        values.extend_from_slice(view.row(row));
    }
    Ok(Tensor::from_vec(values, (rows.len(), from.columns), &Device::Cpu)?)
}

/// to[rows[i]] += from[i], the backward of [`gather_rows`].
pub fn scatter_rows_add(to: &Tensor, rows: &[usize], from: &Tensor) -> Result<(), EngineError> {
    let matrix = Matrix::of(from)?;
    let (width, from) = (matrix.columns, matrix.view());
    edit(to, |to, layout| {
        let stride = layout.stride()[0];
        for (index, &row) in rows.iter().enumerate() {
            for (to, from) in to[row * stride..][..width].iter_mut().zip(from.row(index)) {
                *to += from;
            }
        }
    })
}
