//! A matrix on a card: some of the rows and columns of a buffer.

use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Argument, Card, Launch};
use crate::error::EngineError;
use cudarc::driver::sys;
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// How values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Bf16,
    F32,
}

impl Kind {
    pub fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// (rows, columns), row-major, each row `stride` values after the last. Clones and parts share the memory.
#[derive(Clone)]
pub struct Matrix {
    buffer: Arc<Buffer>,
    /// Of the first value, in bytes.
    offset: usize,
    pub rows: usize,
    pub columns: usize,
    /// In values.
    pub stride: usize,
    pub kind: Kind,
}

impl Argument for &Matrix {
    fn word(&self) -> u64 {
        self.address()
    }
}

impl Matrix {
    /// A matrix whose every value is written before it is read.
    pub fn new(card: &Arc<Card>, kind: Kind, rows: usize, columns: usize) -> Result<Self, EngineError> {
        let buffer = Buffer::new(card, rows * columns * kind.bytes())?;
        Ok(Self::over(buffer, kind, rows, columns))
    }

    /// Normal numbers of the given deviation in bf16, for benchmarks.
    pub(super) fn random(
        card: &Arc<Card>,
        rows: usize,
        columns: usize,
        deviation: f32,
        seed: u64,
    ) -> Result<Self, EngineError> {
        let matrix = Self::new(card, Kind::Bf16, rows, columns)?;
        let launch = Launch { grid: (2048, 1), threads: 256, shared_bytes: 0 };
        card.launch("fill_normal", launch, &[&&matrix, &(rows * columns), &deviation, &seed])?;
        Ok(matrix)
    }

    pub fn zeros(card: &Arc<Card>, kind: Kind, rows: usize, columns: usize) -> Result<Self, EngineError> {
        let buffer = Buffer::zeros(card, rows * columns * kind.bytes())?;
        Ok(Self::over(buffer, kind, rows, columns))
    }

    fn over(buffer: Buffer, kind: Kind, rows: usize, columns: usize) -> Self {
        Self { buffer: Arc::new(buffer), offset: 0, rows, columns, stride: columns, kind }
    }

    /// Values of f32, rounded where they are held as bf16.
    pub fn of(card: &Arc<Card>, kind: Kind, rows: usize, columns: usize, values: &[f32]) -> Result<Self, EngineError> {
        if values.len() != rows * columns {
            return Err(EngineError::invalid(format!("{} values are no {rows} x {columns} matrix", values.len())));
        }
        let matrix = Self::new(card, kind, rows, columns)?;
        match kind {
            Kind::F32 => matrix.buffer.write(0, values)?,
            Kind::Bf16 => matrix.buffer.write(0, &rounded(values))?,
        }
        Ok(matrix)
    }

    pub fn card(&self) -> &Arc<Card> {
        &self.buffer.card
    }

    pub(super) fn address(&self) -> u64 {
        self.buffer.address + self.offset as u64
    }

    pub fn is_contiguous(&self) -> bool {
        self.stride == self.columns || self.rows <= 1
    }

    /// Some of the columns.
    pub fn narrow_columns(&self, columns: Range<usize>) -> Self {
        debug_assert!(columns.end <= self.columns);
        Self { offset: self.offset + columns.start * self.kind.bytes(), columns: columns.len(), ..self.clone() }
    }

    /// Some of the rows.
    pub fn narrow_rows(&self, rows: Range<usize>) -> Self {
        debug_assert!(rows.end <= self.rows);
        let offset = self.offset + rows.start * self.stride * self.kind.bytes();
        Self { offset, rows: rows.len(), ..self.clone() }
    }

    /// A (rows, columns) matrix that begins at value `first` of a contiguous one.
    pub fn part(&self, first: usize, rows: usize, columns: usize) -> Self {
        debug_assert!(first + rows * columns <= self.rows * self.columns);
        Self { offset: self.offset + first * self.kind.bytes(), rows, columns, stride: columns, ..self.clone() }
    }

    /// Sets every value to zero.
    pub fn clear(&self) -> Result<(), EngineError> {
        let bytes = self.kind.bytes();
        if self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        // SAFETY: the matrix lies in its buffer.
        let cleared = unsafe {
            let (pitch, width) = (self.stride * bytes, self.columns * bytes);
            sys::cuMemsetD2D8Async(self.address(), pitch, 0, width, self.rows, self.card().stream()).result()
        };
        cleared.map_err(|error| self.card().failed(error))
    }

    /// Copies another matrix of the same shape and kind, whatever the strides of either.
    pub fn copy_from(&self, from: &Self) -> Result<(), EngineError> {
        if (self.rows, self.columns, self.kind) != (from.rows, from.columns, from.kind) {
            return Err(EngineError::invalid("matrices of different shapes cannot be copied"));
        }
        if self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        let bytes = self.kind.bytes();
        if self.is_contiguous() && from.is_contiguous() {
            // Twice as fast as row by row.
            let all = self.rows * self.columns * bytes;
            // SAFETY: both matrices lie in their buffers.
            let copied =
                unsafe { sys::cuMemcpyDtoDAsync_v2(self.address(), from.address(), all, self.card().stream()) };
            return copied.result().map_err(|error| self.card().failed(error));
        }
        let copy = sys::CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_UNIFIED,
            srcHost: std::ptr::null(),
            srcDevice: from.address(),
            srcArray: std::ptr::null_mut(),
            srcPitch: from.stride * bytes,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_UNIFIED,
            dstHost: std::ptr::null_mut(),
            dstDevice: self.address(),
            dstArray: std::ptr::null_mut(),
            dstPitch: self.stride * bytes,
            WidthInBytes: self.columns * bytes,
            Height: self.rows,
        };
        // SAFETY: both matrices lie in their buffers.
        let copied = unsafe { sys::cuMemcpy2DAsync_v2(&copy, self.card().stream()).result() };
        copied.map_err(|error| self.card().failed(error))
    }

    /// Copies a contiguous matrix into memory of the host that the card reads.
    pub(super) fn copy_to_host(&self, host: &Buffer) -> Result<(), EngineError> {
        host.write_from(0, self.address(), self.rows * self.columns * self.kind.bytes())
    }

    /// The reverse.
    pub(super) fn copy_from_host(&self, host: &Buffer) -> Result<(), EngineError> {
        self.buffer.write_from(self.offset, host.address, host.bytes)
    }

    /// Overwrites a contiguous matrix.
    pub fn write(&self, values: &[f32]) -> Result<(), EngineError> {
        debug_assert!(self.is_contiguous() && values.len() == self.rows * self.columns);
        match self.kind {
            Kind::F32 => self.buffer.write(self.offset, values),
            Kind::Bf16 => self.buffer.write(self.offset, &rounded(values)),
        }
    }

    /// Waits for the card, then reads all values, row by row.
    pub fn read(&self) -> Result<Vec<f32>, EngineError> {
        let span = if self.rows == 0 { 0 } else { (self.rows - 1) * self.stride + self.columns };
        let values: Vec<f32> = match self.kind {
            Kind::F32 => self.buffer.read(self.offset, span)?,
            Kind::Bf16 => {
                let values: Vec<bf16> = self.buffer.read(self.offset, span)?;
                values.into_iter().map(bf16::to_f32).collect()
            }
        };
        if self.is_contiguous() {
            return Ok(values);
        }
        Ok(values.chunks(self.stride).flat_map(|row| row[..self.columns].iter().copied()).collect())
    }
}

pub(super) fn rounded(values: &[f32]) -> Vec<bf16> {
    values.par_iter().with_min_len(1 << 16).map(|&value| bf16::from_f32(value)).collect()
}
