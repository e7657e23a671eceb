//! 4-bit NormalFloat in blocks of 64, as QLoRA (Dettmers et al. 2023, <https://arxiv.org/abs/2305.14314>) defines it
//! and bitsandbytes stores it: codes and scales of either can be read by the other.
//!
//! A block of 64 values w is divided by m = max |w|; each w / m in [-1, 1] becomes the index of the nearest of 16
//! levels; w is read back as level * m. With double quantisation the m of all blocks are themselves held in 8 bits:
//! their mean is taken away, and in blocks of 256 each (m - mean) / max |m - mean| becomes the index of the nearest of
//! 256 levels (`create_dynamic_map`). That is 4.5 bits a value, and 4.127 with double quantisation.

use rayon::prelude::*;
use std::sync::LazyLock;

/// Values that share a scale.
pub const BLOCK: usize = 64;
/// Scales that share a scale, with double quantisation.
pub const NESTED_BLOCK: usize = 256;
/// Blocks that one thread takes at a time.
const BLOCKS_PER_PIECE: usize = 256;

/// The levels: quantiles of a normal distribution with 0 among them (`get_4bit_type("nf4")` in bitsandbytes).
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Where one level's range ends and the next one's begins: the midpoints, in the digits of bitsandbytes
/// (`dQuantizeNF4` in csrc/kernels.cu). A value exactly on one goes to the lower level.
const BOUNDARIES: [f32; 15] = [
    -0.848_096_4,
    -0.610_632_9,
    -0.459_995_27,
    -0.339_679_43,
    -0.234_607_4,
    -0.137_911_73,
    -0.045_525_018,
    0.039_790_15,
    0.120_255_25,
    0.203_521_25,
    0.292_013_77,
    0.389_312_53,
    0.501_663_4,
    0.642_786_9,
    0.861_478_4,
];

/// Both levels of a byte: the high nibble comes first.
static PAIRS: LazyLock<[[f32; 2]; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| [LEVELS[byte >> 4], LEVELS[byte & 15]]));

/// The 256 levels of double quantisation.
static DYNAMIC_MAP: LazyLock<[f32; 256]> = LazyLock::new(dynamic_map);

/// A matrix in NF4.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4 {
    /// Two codes a byte, row-major: value 2i in the high nibble of byte i, value 2i + 1 in the low one.
    pub codes: Vec<u8>,
    pub absmax: Absmax,
    pub rows: usize,
    pub cols: usize,
}

/// The scale of every block, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Absmax {
    Plain(Vec<f32>),
    /// Double quantisation: scale = dynamic_map[code] * nested of its block of 256 + offset.
    Quantized {
        codes: Vec<u8>,
        nested: Vec<f32>,
        offset: f32,
    },
}

impl Nf4 {
    /// Quantises a row-major matrix. Blocks run on over the ends of rows; the last may be shorter.
    ///
    /// # Panics
    /// If `values` is not `rows * cols` long.
    pub fn quantize(values: &[f32], rows: usize, cols: usize, double: bool) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix of {rows} x {cols}");
        let mut codes = vec![0u8; values.len().div_ceil(2)];
        let mut absmax = vec![0f32; values.len().div_ceil(BLOCK)];
        codes
            .par_chunks_mut(BLOCKS_PER_PIECE * BLOCK / 2)
            .zip(absmax.par_chunks_mut(BLOCKS_PER_PIECE))
            .zip(values.par_chunks(BLOCKS_PER_PIECE * BLOCK))
            .for_each(|((codes, absmax), values)| {
                let blocks = codes.chunks_mut(BLOCK / 2).zip(absmax).zip(values.chunks(BLOCK));
                blocks.for_each(|((codes, absmax), values)| *absmax = quantize_block(values, codes));
            });
        let absmax = if double { Absmax::quantize(absmax) } else { Absmax::Plain(absmax) };
        Self { codes, absmax, rows, cols }
    }

    /// Writes all values, row-major: level times scale, rounded once, as f32.
    ///
    /// # Panics
    /// If `out` is not `rows * cols` long.
    pub fn dequantize_into(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.rows * self.cols, "a matrix of {} x {}", self.rows, self.cols);
        let pairs = &*PAIRS;
        out.par_chunks_mut(BLOCKS_PER_PIECE * BLOCK)
            .zip(self.codes.par_chunks(BLOCKS_PER_PIECE * BLOCK / 2))
            .enumerate()
            .for_each(|(piece, (out, codes))| {
                let blocks = out.chunks_mut(BLOCK).zip(codes.chunks(BLOCK / 2)).enumerate();
                for (index, (out, codes)) in blocks {
                    let absmax = self.absmax.get(piece * BLOCKS_PER_PIECE + index);
                    let (whole, rest) = out.as_chunks_mut::<2>();
                    for (pair, code) in whole.iter_mut().zip(codes) {
                        let levels = pairs[usize::from(*code)];
                        *pair = [levels[0] * absmax, levels[1] * absmax];
                    }
                    if let [last] = rest {
                        *last = LEVELS[usize::from(codes[codes.len() - 1] >> 4)] * absmax;
                    }
                }
            });
    }

    /// All values as f32, row-major.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut values = vec![0f32; self.rows * self.cols];
        self.dequantize_into(&mut values);
        values
    }

    /// Memory that the matrix takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        let scales = match &self.absmax {
            Absmax::Plain(absmax) => 4 * absmax.len(),
            Absmax::Quantized { codes, nested, .. } => codes.len() + 4 * nested.len() + 4,
        };
        self.codes.len() + scales
    }
}

impl Absmax {
    /// Double quantisation of the blocks' scales.
    pub fn quantize(absmax: Vec<f32>) -> Self {
        let offset = sum(&absmax) / absmax.len().max(1) as f32;
        let mut codes = Vec::with_capacity(absmax.len());
        let mut nested = Vec::with_capacity(absmax.len().div_ceil(NESTED_BLOCK));
        for block in absmax.chunks(NESTED_BLOCK) {
            let scale = block.iter().fold(0f32, |largest, value| largest.max((value - offset).abs()));
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            codes.extend(block.iter().map(|value| nearest_dynamic((value - offset) * inverse)));
            nested.push(scale);
        }
        Self::Quantized { codes, nested, offset }
    }

    /// The scale of one block.
    pub fn get(&self, block: usize) -> f32 {
        match self {
            Self::Plain(absmax) => absmax[block],
            Self::Quantized { codes, nested, offset } => {
                DYNAMIC_MAP[usize::from(codes[block])] * nested[block / NESTED_BLOCK] + offset
            }
        }
    }
}

/// Codes of up to 64 values; returns their scale.
fn quantize_block(values: &[f32], codes: &mut [u8]) -> f32 {
    let absmax = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let inverse = 1.0 / absmax;
    let code = |value: f32| {
        // In a block of zeros this is 0 * infinity, no number, above no boundary, and the code is 0: as in
        // bitsandbytes. The scale makes it 0 again.
        let scaled = value * inverse;
        BOUNDARIES.iter().map(|boundary| u8::from(scaled > *boundary)).sum::<u8>()
    };
    for (packed, pair) in codes.iter_mut().zip(values.chunks(2)) {
        let low = pair.get(1).map_or(code(0.0), |value| code(*value));
        *packed = code(pair[0]) << 4 | low;
    }
    absmax
}

/// Sum in the order of torch's reduction on a GPU, so that means agree with bitsandbytes' to the last bit: 512 partial
/// sums, folded in halves down to a warp of 32, which is folded by neighbours.
fn sum(values: &[f32]) -> f32 {
    let mut partial = [0f32; 512];
    for (index, value) in values.iter().enumerate() {
        partial[index % 512] += value;
    }
    for width in [256, 128, 64, 32] {
        let (low, high) = partial.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
    }
    for stride in [1, 2, 4, 8, 16] {
        for index in (0..32).step_by(2 * stride) {
            partial[index] += partial[index + stride];
        }
    }
    partial[0]
}

/// The 256 levels of double quantisation, for a GPU's copy of them.
#[cfg(feature = "cuda")]
pub(crate) fn dynamic_levels() -> &'static [f32; 256] {
    &DYNAMIC_MAP
}

/// Index of the level nearest to a value in [-1, 1]; the lower of two that are equally near.
fn nearest_dynamic(value: f32) -> u8 {
    let map = &*DYNAMIC_MAP;
    let above = map.partition_point(|level| *level < value).min(255);
    if above > 0 && value - map[above - 1] <= map[above] - value { above as u8 - 1 } else { above as u8 }
}

/// The levels of bitsandbytes' `create_dynamic_map(signed=True, max_exponent_bits=7, total_bits=8)`: for every power of
/// ten from 1e-6 to 1 the midpoints between 2^i + 1 evenly spaced points from 0.1 to 1 times that power, with both
/// signs; 0; and 1. Sorted. The arithmetic is torch's in f32, so that the levels are the same to the last bit.
fn dynamic_map() -> [f32; 256] {
    let mut levels = vec![0.0, 1.0];
    for exponent in 0..7 {
        let power = 10f64.powi(exponent - 6) as f32;
        let intervals = 1usize << exponent;
        let points: Vec<f32> = (0..=intervals).map(|index| linspace_point(index, intervals)).collect();
        for pair in points.windows(2) {
            let level = power * ((pair[0] + pair[1]) / 2.0);
            levels.extend([level, -level]);
        }
    }
    levels.sort_unstable_by(f32::total_cmp);
    levels.try_into().unwrap_or([0.0; 256])
}

/// `torch.linspace(0.1, 1, intervals + 1)[index]`: counted from the nearer end, rounded once.
fn linspace_point(index: usize, intervals: usize) -> f32 {
    let (start, end) = (0.1f32, 1.0f32);
    let step = (end - start) / intervals as f32;
    if index < intervals.div_ceil(2) {
        step.mul_add(index as f32, start)
    } else {
        (-step).mul_add((intervals - index) as f32, end)
    }
}
