//! The embedding and the output layer: a row per token of the vocabulary.
//!
//! They are a large part of a small model, and in most files they have 16 bits a value. Large ones stay so in memory and
//! become f32 piece by piece, where they are used: the same numbers.

use crate::error::EngineError;
use crate::kernels::{Accumulate, Matrix, Panels, gather_rows, gemm};
use candle_core::{Device, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use std::sync::Arc;

/// Values that become f32 at a time: 64 MiB of them.
const TILE_VALUES: usize = 16 << 20;

/// (V, d). A clone shares the values.
#[derive(Clone)]
pub enum Table {
    F32(Tensor),
    /// The same, and laid out for [`Table::logits`].
    WithPanels(Tensor, Arc<Panels>),
    Half(HalfTable),
}

#[derive(Clone)]
pub struct HalfTable {
    values: Arc<HalfValues>,
    rows: usize,
    columns: usize,
}

/// Row-major.
pub enum HalfValues {
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl HalfValues {
    pub fn len(&self) -> usize {
        match self {
            Self::Bf16(values) => values.len(),
            Self::F16(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them as f32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0f32; self.len()];
        self.write_f32(0, &mut values);
        values
    }

    /// Those from `first` on.
    fn write_f32(&self, first: usize, to: &mut [f32]) {
        const PIECE: usize = 1 << 16;
        to.par_chunks_mut(PIECE).enumerate().for_each(|(piece, to)| {
            let from = first + piece * PIECE..first + piece * PIECE + to.len();
            match self {
                Self::Bf16(values) => values[from].convert_to_f32_slice(to),
                Self::F16(values) => values[from].convert_to_f32_slice(to),
            }
        });
    }
}

impl Table {
    /// # Errors
    /// There are not `rows · columns` values.
    pub fn of_half(values: HalfValues, rows: usize, columns: usize) -> Result<Self, EngineError> {
        if values.len() != rows * columns {
            return Err(EngineError::invalid(format!("{} values are no table of {rows} x {columns}", values.len())));
        }
        Ok(Self::Half(HalfTable { values: Arc::new(values), rows, columns }))
    }

    /// The table with panels beside it, where it is held in f32.
    pub fn with_panels(self) -> Result<Self, EngineError> {
        match self {
            Self::F32(table) => {
                let panels = Panels::of(&table)?;
                Ok(Self::WithPanels(table, Arc::new(panels)))
            }
            other => Ok(other),
        }
    }

    /// Rows: tokens of the vocabulary.
    pub fn vocabulary(&self) -> Result<usize, EngineError> {
        match self {
            Self::F32(table) | Self::WithPanels(table, _) => Ok(table.dim(0)?),
            Self::Half(table) => Ok(table.rows),
        }
    }

    /// The rows of these tokens, (rows, d).
    pub fn gather(&self, rows: &[usize]) -> Result<Tensor, EngineError> {
        match self {
            Self::F32(table) | Self::WithPanels(table, _) => gather_rows(table, rows),
            Self::Half(HalfTable { values, columns, .. }) => {
                let mut gathered = vec![0f32; rows.len() * columns];
                for (row, to) in rows.iter().zip(gathered.chunks_exact_mut(*columns)) {
                    values.write_f32(row * columns, to);
                }
                Ok(Tensor::from_vec(gathered, (rows.len(), *columns), &Device::Cpu)?)
            }
        }
    }

    /// logits (R, V) = hidden (R, d) · tableᵀ
    pub fn logits(&self, hidden: &Tensor, logits: &Tensor) -> Result<(), EngineError> {
        if let Self::WithPanels(table, panels) = self {
            return panels.product(logits, hidden, &(0..table.dim(0)?), Accumulate::Replace);
        }
        self.each_tile(|first, tile| {
            let part = logits.narrow(1, first, tile.dim(0)?)?;
            gemm(&part, hidden, &tile.t()?, 1.0, Accumulate::Replace)
        })
    }

    /// The backward of [`Self::logits`]: d hidden (R, d) = d logits (R, V) · table
    pub fn logits_backward(&self, d_logits: &Tensor, d_hidden: &Tensor) -> Result<(), EngineError> {
        self.each_tile(|first, tile| {
            let part = d_logits.narrow(1, first, tile.dim(0)?)?;
            let accumulate = if first == 0 { Accumulate::Replace } else { Accumulate::Add };
            gemm(d_hidden, &part, tile, 1.0, accumulate)
        })
    }

    /// All of it as f32, row-major.
    pub fn to_f32(&self) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::F32(table) | Self::WithPanels(table, _) => {
                let matrix = Matrix::of(table)?;
                Ok(matrix.values()[..matrix.rows * matrix.columns].to_vec())
            }
            Self::Half(table) => Ok(table.values.to_f32()),
        }
    }

    /// In f32, some rows at a time, each piece with the number of its first row.
    fn each_tile(&self, mut visit: impl FnMut(usize, &Tensor) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let HalfTable { values, rows, columns } = match self {
            Self::F32(table) | Self::WithPanels(table, _) => return visit(0, table),
            Self::Half(table) => table,
        };
        let at_a_time = (TILE_VALUES / columns).max(1);
        for first in (0..*rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - first);
            let mut tile = vec![0f32; count * columns];
            values.write_f32(first * columns, &mut tile);
            visit(first, &Tensor::from_vec(tile, (count, *columns), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::empty;

    #[test]
    fn a_table_in_16_bits_computes_as_one_in_32() {
        // More than one tile, the last of them shorter.
        let (vocabulary, width, rows) = (5, TILE_VALUES / 2, 3);
        let values: Vec<f32> = (0..vocabulary * width).map(|place| ((place * 37 % 101) as f32 - 50.0) / 64.0).collect();
        let tensor = |values: Vec<f32>, rows, columns| Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        let exact = Table::F32(tensor(values.clone(), vocabulary, width));
        let hidden = tensor((0..rows * width).map(|place| (place % 7) as f32 / 8.0 - 0.4).collect(), rows, width);
        let d_logits = tensor((0..rows * vocabulary).map(|place| place as f32 - 4.0).collect(), rows, vocabulary);
        for half in [
            HalfValues::Bf16(values.iter().map(|value| bf16::from_f32(*value)).collect()),
            HalfValues::F16(values.iter().map(|value| f16::from_f32(*value)).collect()),
        ] {
            let table = Table::of_half(half, vocabulary, width).unwrap();
            assert!(table.to_f32().unwrap() == values, "these values fit into 16 bits");
            let gathered = |table: &Table| table.gather(&[4, 0, 4]).unwrap().flatten_all().unwrap().to_vec1::<f32>();
            assert!(gathered(&table).unwrap() == gathered(&exact).unwrap());
            let run = |table: &Table| {
                let (logits, d_hidden) = (empty(rows, vocabulary).unwrap(), empty(rows, width).unwrap());
                table.logits(&hidden, &logits).unwrap();
                table.logits_backward(&d_logits, &d_hidden).unwrap();
                [logits, d_hidden].map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            for (ours, expected) in run(&table).iter().zip(run(&exact)) {
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                assert!(ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
            }
        }
        assert!(Table::of_half(HalfValues::Bf16(Vec::new()), 1, 1).is_err());
    }
}
