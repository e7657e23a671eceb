//! A group's frozen weights on a card, and how products get to read them.
//!
//! Products read a weight with the adapter's B matrices as further columns, [W | B₁ 0 | 0 B₂]: with z = s x Aᵀ behind x,
//! one product gives y = x Wᵀ + z Bᵀ, and in the backward pass dy [W | B] gives dy W and dz at once. That saves a pass
//! over y, and over dy, for every group. The weights are either kept so, dequantised, where memory allows, or written
//! into a scratch buffer for every use: the same numbers.

use crate::cuda::adapter::{CudaAdapter, GroupLayout};
use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use crate::weights::nf4::{self, Absmax, Nf4};
use domain::spec::TargetModule;
use std::ops::Range;
use std::sync::Arc;

/// The linears of a group, one below the other.
pub struct CudaGroup {
    /// Each linear with its rows of the weight, in order.
    pub parts: Vec<(TargetModule, Range<usize>)>,
    pub in_features: usize,
    pub held: Held,
    /// (1, out)
    pub bias: Option<Matrix>,
}

/// How frozen weights are held.
pub enum Held {
    /// (out, in)
    Bf16(Matrix),
    /// One entry per linear.
    Nf4(Vec<CudaNf4>),
}

/// A matrix in NF4; see `weights::nf4`.
pub struct CudaNf4 {
    codes: Buffer,
    scales: Scales,
    rows: usize,
    columns: usize,
}

enum Scales {
    Plain(Buffer),
    Quantized { codes: Buffer, nested: Buffer, map: Buffer, offset: f32 },
}

impl Scales {
    fn of(card: &Arc<Card>, absmax: &Absmax) -> Result<Self, EngineError> {
        Ok(match absmax {
            Absmax::Plain(absmax) => Self::Plain(Buffer::of(card, absmax)?),
            Absmax::Quantized { codes, nested, offset } => Self::Quantized {
                codes: Buffer::of(card, codes)?,
                nested: Buffer::of(card, nested)?,
                map: Buffer::of(card, &nf4::dynamic_levels()[..])?,
                offset: *offset,
            },
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Plain(scales) => scales.bytes,
            Self::Quantized { codes, nested, map, .. } => codes.bytes + nested.bytes + map.bytes,
        }
    }
}

impl CudaNf4 {
    /// Codes that the CPU found.
    pub fn of(card: &Arc<Card>, nf4: &Nf4) -> Result<Self, EngineError> {
        let scales = Scales::of(card, &nf4.absmax)?;
        Ok(Self { codes: Buffer::of(card, &nf4.codes)?, scales, rows: nf4.rows, columns: nf4.cols })
    }

    /// Quantises contiguous bf16 values on the card, their scales too where `double` says so. Their number is a multiple
    /// of 64.
    pub fn quantize(values: &Matrix, double: bool) -> Result<Self, EngineError> {
        let (card, count) = (values.card(), values.rows * values.columns);
        if !count.is_multiple_of(nf4::BLOCK) || values.kind != Kind::Bf16 || !values.is_contiguous() {
            return Err(EngineError::invalid("only contiguous bf16 values in whole blocks can be quantised on a card"));
        }
        let codes = Buffer::new(card, count / 2)?;
        let scales = Buffer::new(card, count / nf4::BLOCK * size_of::<f32>())?;
        card.launch("nf4_quantize", Launch::pieces(count / 8), &[&values, &codes.address, &scales.address, &count])?;
        let plain = Self { codes, scales: Scales::Plain(scales), rows: values.rows, columns: values.columns };
        if !double {
            return Ok(plain);
        }
        // A 64th of the values: the CPU quantises them, by the one function that does.
        let Nf4 { absmax, .. } = plain.read()?;
        let Absmax::Plain(absmax) = absmax else { return Ok(plain) };
        let scales = Scales::of(card, &Absmax::quantize(absmax))?;
        Ok(Self { scales, ..plain })
    }

    /// Codes and plain scales, as the CPU holds them.
    pub fn read(&self) -> Result<Nf4, EngineError> {
        let absmax = match &self.scales {
            Scales::Plain(scales) => Absmax::Plain(scales.read(0, scales.bytes / size_of::<f32>())?),
            Scales::Quantized { codes, nested, offset, .. } => Absmax::Quantized {
                codes: codes.read(0, codes.bytes)?,
                nested: nested.read(0, nested.bytes / size_of::<f32>())?,
                offset: *offset,
            },
        };
        Ok(Nf4 { codes: self.codes.read(0, self.codes.bytes)?, absmax, rows: self.rows, cols: self.columns })
    }

    /// Writes all values, (rows, columns) with any stride.
    pub fn dequantize_into(&self, to: &Matrix) -> Result<(), EngineError> {
        if (to.rows, to.columns, to.kind) != (self.rows, self.columns, Kind::Bf16) {
            return Err(EngineError::invalid("a matrix of another shape cannot take the dequantised weights"));
        }
        let (plain, codes, nested, map, offset) = match &self.scales {
            Scales::Plain(scales) => (scales.address, 0, 0, 0, 0.0),
            Scales::Quantized { codes, nested, map, offset } => {
                (0, codes.address, nested.address, map.address, *offset)
            }
        };
        to.card().launch(
            "nf4_dequantize",
            Launch::rows(self.rows, 128),
            &[&self.codes.address, &plain, &codes, &nested, &map, &offset, &to, &(self.columns as i32), &to.stride],
        )
    }
}

impl CudaGroup {
    pub fn out_features(&self) -> usize {
        self.parts.last().map_or(0, |(_, rows)| rows.end)
    }

    /// Bytes of the weights as they are held.
    pub fn held_bytes(&self) -> usize {
        match &self.held {
            Held::Bf16(weight) => 2 * weight.rows * weight.columns,
            Held::Nf4(linears) => linears.iter().map(|linear| linear.codes.bytes + linear.scales.bytes()).sum(),
        }
    }

    /// Writes the weights, (out, in) with any stride.
    fn write_into(&self, to: &Matrix) -> Result<(), EngineError> {
        match &self.held {
            Held::Bf16(weight) => to.copy_from(weight),
            Held::Nf4(linears) => linears
                .iter()
                .zip(&self.parts)
                .try_for_each(|(linear, (_, rows))| linear.dequantize_into(&to.narrow_rows(rows.clone()))),
        }
    }
}

/// One B into the columns behind its weight, as the kernel `copy_columns` reads it.
#[repr(C)]
#[derive(Clone, Copy)]
struct CopyColumns {
    from: u64,
    to: u64,
    to_stride: i64,
    rows: i32,
    width: i32,
}

/// Blocks that share one copy.
const BLOCKS_PER_COPY: usize = 16;

fn copies(weight: &Matrix, group: &CudaGroup, layout: &GroupLayout, adapter: &CudaAdapter) -> Vec<CopyColumns> {
    let rank = adapter.layout.rank();
    let parts = layout.parts.iter().zip(&group.parts);
    let copy = |(part, (_, rows)): (&Option<crate::cuda::adapter::PartLayout>, &(TargetModule, Range<usize>))| {
        let part = part.as_ref()?;
        let first = group.in_features + part.column;
        let to = weight.narrow_rows(rows.clone()).narrow_columns(first..first + rank);
        Some(CopyColumns {
            from: adapter.rounded.part(part.b, part.out_features, rank).address(),
            to: to.address(),
            to_stride: to.stride as i64,
            rows: part.out_features as i32,
            width: rank as i32,
        })
    };
    parts.filter_map(copy).collect()
}

/// The copies of one adapter's B matrices, on the card.
pub struct Copies {
    table: Buffer,
    /// First and number of each group's copies.
    of_group: Vec<[(usize, usize); 4]>,
    /// The adapter's.
    id: u64,
}

impl Copies {
    /// `weight` names the place behind which a group's B matrices go.
    fn new(
        card: &Arc<Card>,
        groups: Groups,
        adapter: &CudaAdapter,
        weight: impl Fn(usize, usize, usize) -> Matrix,
    ) -> Result<Self, EngineError> {
        let mut all = Vec::new();
        let mut of_group = vec![[(0, 0); 4]; groups.len()];
        for (layer, (groups, layouts)) in groups.iter().zip(&adapter.layout.layers).enumerate() {
            for (index, (group, layout)) in groups.iter().zip(layouts).enumerate() {
                let Some(layout) = layout else { continue };
                let first = all.len();
                all.extend(copies(&weight(layer, index, layout.width), group, layout, adapter));
                of_group[layer][index] = (first, all.len() - first);
            }
        }
        Ok(Self { table: Buffer::of(card, &all)?, of_group, id: adapter.state().0 })
    }

    fn run(&self, first: usize, count: usize) -> Result<(), EngineError> {
        let launch = Launch { grid: (BLOCKS_PER_COPY, count), threads: 256, shared_bytes: 0 };
        let from = self.table.address + (first * size_of::<CopyColumns>()) as u64;
        self.table.card.launch("copy_columns", launch, &[&from])
    }

    fn run_all(&self) -> Result<(), EngineError> {
        self.run(0, self.table.bytes / size_of::<CopyColumns>())
    }
}

/// All layers' groups.
pub type Groups<'a> = &'a [&'a [CudaGroup; 4]];

/// Where products read the weights of all layers.
pub enum Expanded {
    /// Dequantised once, (out, in + width) for every group of every layer.
    Kept {
        layers: Vec<[Matrix; 4]>,
        /// Room for so many columns of an adapter, by group.
        widths: [usize; 4],
        /// Whose B matrices stand there, and how they are laid out.
        holds: Option<(u64, u64)>,
        laid_out: Option<Arc<crate::cuda::adapter::Layout>>,
        /// What brings them there.
        copies: Option<Copies>,
    },
    /// Dequantised for every use into one place, large enough for any group.
    Scratch { place: Matrix, widths: [usize; 4], copies: Option<Copies> },
}

impl Expanded {
    /// Dequantises all layers, with room for an adapter of these widths.
    pub fn kept(card: &Arc<Card>, groups: Groups, widths: [usize; 4]) -> Result<Self, EngineError> {
        let mut layers = Vec::with_capacity(groups.len());
        for layer in groups {
            let expand = |index: usize| -> Result<Matrix, EngineError> {
                let group = &layer[index];
                let columns = group.in_features + widths[index];
                let weight = Matrix::new(card, Kind::Bf16, group.out_features(), columns)?;
                group.write_into(&weight.narrow_columns(0..group.in_features))?;
                Ok(weight)
            };
            layers.push([expand(0)?, expand(1)?, expand(2)?, expand(3)?]);
        }
        Ok(Self::Kept { layers, widths, holds: None, laid_out: None, copies: None })
    }

    pub fn kept_bytes(groups: Groups, widths: [usize; 4]) -> usize {
        let group = |(group, width): (&CudaGroup, usize)| 2 * group.out_features() * (group.in_features + width);
        groups.iter().flat_map(|layer| layer.iter().zip(widths)).map(group).sum()
    }

    pub fn scratch(card: &Arc<Card>, groups: Groups, widths: [usize; 4]) -> Result<Self, EngineError> {
        let size = |(group, width): (&CudaGroup, usize)| group.out_features() * (group.in_features + width);
        let largest = groups.iter().flat_map(|layer| layer.iter().zip(widths)).map(size).max().unwrap_or(0);
        Ok(Self::Scratch { place: Matrix::new(card, Kind::Bf16, 1, largest)?, widths, copies: None })
    }

    /// The columns of an adapter that there is room for, by group.
    pub fn widths(&self) -> [usize; 4] {
        match self {
            Self::Kept { widths, .. } | Self::Scratch { widths, .. } => *widths,
        }
    }

    /// Before a pass: brings this adapter's B matrices behind the weights, unless they stand there already.
    pub fn take_up(&mut self, card: &Arc<Card>, groups: Groups, adapter: &CudaAdapter) -> Result<(), EngineError> {
        let (layers, holds, laid_out, copies) = match self {
            Self::Kept { layers, holds, laid_out, copies, .. } => (layers, holds, laid_out, copies),
            Self::Scratch { place, copies, .. } => {
                if copies.as_ref().is_none_or(|copies| copies.id != adapter.state().0) {
                    let weight = |layer: usize, index: usize, width: usize| {
                        let group = &groups[layer][index];
                        place.part(0, group.out_features(), group.in_features + width)
                    };
                    *copies = Some(Copies::new(card, groups, adapter, weight)?);
                }
                return Ok(());
            }
        };
        if *holds == Some(adapter.state()) {
            return Ok(());
        }
        if holds.is_none_or(|(id, _)| id != adapter.state().0) {
            *holds = None;
            if laid_out.as_ref().is_none_or(|layout| **layout != *adapter.layout) {
                // Another layout leaves something where this one has zeros.
                for (weights, groups) in layers.iter().zip(groups) {
                    for (weight, group) in weights.iter().zip(groups.iter()) {
                        weight.narrow_columns(group.in_features..weight.columns).clear()?;
                    }
                }
            }
            let weight = |layer: usize, index: usize, _: usize| layers[layer][index].clone();
            *copies = Some(Copies::new(card, groups, adapter, weight)?);
            *laid_out = Some(adapter.layout.clone());
        }
        if let Some(copies) = copies {
            copies.run_all()?;
        }
        *holds = Some(adapter.state());
        Ok(())
    }

    /// The weight of a group with the adapter's columns, (out, in + width), to be read before the next is asked for.
    pub fn weight(
        &self,
        group: &CudaGroup,
        layer: usize,
        index: usize,
        adapter: Option<&CudaAdapter>,
    ) -> Result<Matrix, EngineError> {
        let layout = adapter.and_then(|adapter| adapter.layout.layers[layer][index].as_ref());
        let columns = group.in_features + layout.map_or(0, |layout| layout.width);
        let (place, copies) = match self {
            Self::Kept { layers, .. } => return Ok(layers[layer][index].narrow_columns(0..columns)),
            Self::Scratch { place, copies, .. } => (place, copies),
        };
        let weight = place.part(0, group.out_features(), columns);
        group.write_into(&weight.narrow_columns(0..group.in_features))?;
        if let (Some(copies), Some(_)) = (copies, layout) {
            if group.parts.len() > 1 {
                weight.narrow_columns(group.in_features..columns).clear()?;
            }
            let (first, count) = copies.of_group[layer][index];
            copies.run(first, count)?;
        }
        Ok(weight)
    }
}
