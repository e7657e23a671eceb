//! Frozen linear layers that read the same input, with their LoRA.
//!
//! y = x Wᵀ + b + s · (x Aᵀ) Bᵀ,  s = alpha / r.  W (out, in) and b, which few models have, are frozen; A (r, in) and
//! B (out, r) are trained.
//!
//! Layers that read the same input (q, k, v; gate, up) are held as one group: their weights stand one below the other,
//! so that one product serves all of them. Their A matrices stand one below the other too.

use crate::error::EngineError;
use crate::kernels::math::for_each_rows;
use crate::kernels::{Accumulate, Matrix, Panels, ThinProduct, edit, empty, gemm};
use crate::weights::nf4::Nf4;
use candle_core::{Device, Tensor};
use domain::dataset::mix;
use domain::spec::TargetModule;
use std::ops::Range;

/// The weights of a group, held as the run's quantisation says.
pub enum FrozenWeight {
    /// f32, (out, in): as stored in the file, or dequantised once because memory allows.
    Expanded(Tensor),
    /// 4-bit, one entry per layer of the group; dequantised for every use.
    Nf4(Vec<Nf4>),
}

impl FrozenWeight {
    /// (out, in)
    fn matrix(&self) -> Result<Tensor, EngineError> {
        match self {
            Self::Expanded(matrix) => Ok(matrix.clone()),
            Self::Nf4(layers) => {
                let columns = layers.first().map_or(0, |codes| codes.cols);
                let rows: usize = layers.iter().map(|codes| codes.rows).sum();
                let mut values = vec![0f32; rows * columns];
                let mut rest = values.as_mut_slice();
                for codes in layers {
                    let (own, after) = rest.split_at_mut(codes.rows * columns);
                    codes.dequantize_into(own);
                    rest = after;
                }
                Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
            }
        }
    }
}

/// Frozen layers that read the same input.
pub struct LinearGroup {
    pub weight: FrozenWeight,
    /// The same, laid out for the forward pass, where memory allows. Whoever changes the weight takes them away.
    pub panels: Option<Panels>,
    /// Each layer with its rows of the weight, in order.
    pub parts: Vec<(TargetModule, Range<usize>)>,
    pub in_features: usize,
    /// (1, out). It moves no gradient: backward does not know of it.
    pub bias: Option<Tensor>,
}

/// The LoRA of a group.
#[derive(Clone)]
pub struct LoraGroup {
    /// The A matrices of the layers that have a LoRA, one below the other: (Σ r, in).
    pub a: Tensor,
    /// Per layer of the group: its rows of `a`, and B (out, r).
    pub parts: Vec<Option<LoraPart>>,
    /// alpha / r
    pub scale: f32,
}

#[derive(Clone)]
pub struct LoraPart {
    pub a_rows: Range<usize>,
    pub b: Tensor,
}

/// Dropout on a LoRA's input, drawn from a counter: the same seed gives the same mask in forward, in backward and
/// after a resume, and nothing need be kept.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    pub probability: f32,
    /// Differs between steps and between groups.
    pub seed: u64,
}

impl Dropout {
    /// x with dropped values zero and the others divided by 1 - p. Element i of layer `part` is dropped by a hash of
    /// (seed, part, i).
    fn apply(&self, x: &Tensor, part: usize) -> Result<Tensor, EngineError> {
        let (rows, width) = x.dims2()?;
        let keep = 1.0 - self.probability;
        let threshold = (f64::from(keep) * (1u64 << 32) as f64) as u64;
        let seed = mix(self.seed ^ mix(part as u64));
        let x = Matrix::of(x)?;
        let x = x.view();
        let dropped = empty(rows, width)?;
        edit(&dropped, |values, _| {
            for_each_rows(&mut values[..rows * width], width, |first, values| {
                for (index, values) in values.chunks_exact_mut(width).enumerate() {
                    let row = first + index;
                    for (column, (value, x)) in values.iter_mut().zip(x.row(row)).enumerate() {
                        let draw = mix(seed ^ (row * width + column) as u64) >> 32;
                        *value = if draw < threshold { x / keep } else { 0.0 };
                    }
                }
            });
        })?;
        Ok(dropped)
    }
}

/// What a group's backward needs of its forward.
pub struct LinearSaved {
    pub x: Tensor,
    /// x Aᵀ, (T, Σ r); after dropout of x where there is dropout.
    z: Option<Tensor>,
}

/// Where a backward puts what it finds.
pub struct LinearGradient<'a> {
    /// (T, in), written; `None` where nothing below needs it.
    pub dx: Option<&'a Tensor>,
    /// Added to; shaped as the LoRA. `None` where only what is below is asked for.
    pub lora: Option<&'a LoraGroup>,
}

impl LinearGroup {
    pub fn out_features(&self) -> usize {
        self.parts.last().map_or(0, |(_, rows)| rows.end)
    }

    /// Columns of the output that belong to these layers.
    fn columns(&self, layers: &Range<usize>) -> Range<usize> {
        self.parts[layers.start].1.start..self.parts[layers.end - 1].1.end
    }

    /// x (T, in) → y (T, out of `layers`)
    pub fn forward(
        &self,
        lora: Option<&LoraGroup>,
        layers: Range<usize>,
        x: &Tensor,
        dropout: Option<Dropout>,
    ) -> Result<(Tensor, LinearSaved), EngineError> {
        let columns = self.columns(&layers);
        let y = empty(x.dim(0)?, columns.len())?;
        let z = self.forward_into(lora, layers, x, dropout, &y, Accumulate::Replace)?;
        Ok((y, LinearSaved { x: x.clone(), z }))
    }

    /// y = x + the group's output: the residual sum costs no pass of its own.
    pub fn forward_residual(
        &self,
        lora: Option<&LoraGroup>,
        x: &Tensor,
        residual: &Tensor,
        dropout: Option<Dropout>,
    ) -> Result<(Tensor, LinearSaved), EngineError> {
        let y = residual.copy()?;
        let z = self.forward_into(lora, 0..self.parts.len(), x, dropout, &y, Accumulate::Add)?;
        Ok((y, LinearSaved { x: x.clone(), z }))
    }

    fn forward_into(
        &self,
        lora: Option<&LoraGroup>,
        layers: Range<usize>,
        x: &Tensor,
        dropout: Option<Dropout>,
        y: &Tensor,
        accumulate: Accumulate,
    ) -> Result<Option<Tensor>, EngineError> {
        let columns = self.columns(&layers);
        let Some(panels) = &self.panels else {
            let weight = self.weight.matrix()?.narrow(0, columns.start, columns.len())?;
            gemm(y, x, &weight.t()?, 1.0, accumulate)?;
            self.add_bias(&columns, y)?;
            return lora.map(|lora| self.add_lora(lora, layers, x, dropout, y)).transpose();
        };
        let z = lora.map(|lora| lora.down(&layers, x, dropout)).transpose()?;
        match (lora, &z) {
            (Some(lora), Some(z)) => {
                let parts: Vec<(Range<usize>, Tensor, &LoraPart)> = lora
                    .parts_of(&layers)
                    .map(|(layer, part)| Ok((self.parts[layer].1.clone(), narrow_columns(z, &part.a_rows)?, part)))
                    .collect::<Result<_, EngineError>>()?;
                let thin: Vec<ThinProduct> = parts
                    .iter()
                    .map(|(rows, z, part)| {
                        let (z, b) = (Matrix::of(z)?, Matrix::of(&part.b)?);
                        Ok(ThinProduct { rows: rows.clone(), z, b, scale: lora.scale })
                    })
                    .collect::<Result<_, EngineError>>()?;
                panels.product_with(y, x, &columns, accumulate, &thin)?;
            }
            _ => panels.product(y, x, &columns, accumulate)?,
        }
        self.add_bias(&columns, y)?;
        Ok(z)
    }

    fn add_bias(&self, columns: &Range<usize>, y: &Tensor) -> Result<(), EngineError> {
        match &self.bias {
            Some(bias) => add_to_rows(y, &narrow_columns(bias, columns)?),
            None => Ok(()),
        }
    }

    /// y += s · (x Aᵀ) Bᵀ; returns x Aᵀ. `x` and `y` may be some rows of larger matrices.
    pub fn add_lora(
        &self,
        lora: &LoraGroup,
        layers: Range<usize>,
        x: &Tensor,
        dropout: Option<Dropout>,
        y: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let columns = self.columns(&layers);
        let z = lora.down(&layers, x, dropout)?;
        for (layer, part) in lora.parts_of(&layers) {
            let own = &self.parts[layer].1;
            let y = y.narrow(1, own.start - columns.start, own.len())?;
            gemm(&y, &narrow_columns(&z, &part.a_rows)?, &part.b.t()?, lora.scale, Accumulate::Add)?;
        }
        Ok(z)
    }

    /// Backward of [`Self::forward`] for the same `layers`.
    ///
    /// With z = x Aᵀ and y = x Wᵀ + s z Bᵀ:
    /// dB = s dyᵀ z,  dz = s dy B,  dA = dzᵀ x,  dx = dy W + dz A.
    /// Dropout m (a mask over 1 - p) stands between x and A: z = (m ∘ x) Aᵀ, dA = dzᵀ (m ∘ x), dx = dy W + m ∘ (dz A).
    pub fn backward(
        &self,
        lora: Option<&LoraGroup>,
        layers: Range<usize>,
        saved: &LinearSaved,
        dy: &Tensor,
        dropout: Option<Dropout>,
        gradient: LinearGradient,
    ) -> Result<(), EngineError> {
        let columns = self.columns(&layers);
        if let Some(dx) = gradient.dx {
            let weight = self.weight.matrix()?.narrow(0, columns.start, columns.len())?;
            gemm(dx, dy, &weight, 1.0, Accumulate::Replace)?;
        }
        let (Some(lora), Some(z)) = (lora, &saved.z) else { return Ok(()) };
        if gradient.dx.is_none() && gradient.lora.is_none() {
            return Ok(());
        }

        let dz = empty(dy.dim(0)?, lora.a.dim(0)?)?;
        for (layer, part) in lora.parts_of(&layers) {
            let own = &self.parts[layer].1;
            let dy = dy.narrow(1, own.start - columns.start, own.len())?;
            if let Some(part_into) = gradient.lora.and_then(|into| into.parts[layer].as_ref()) {
                gemm(&part_into.b, &dy.t()?, &narrow_columns(z, &part.a_rows)?, lora.scale, Accumulate::Add)?;
            }
            gemm(&narrow_columns(&dz, &part.a_rows)?, &dy, &part.b, lora.scale, Accumulate::Replace)?;
        }
        let rows = lora.a_rows(&layers);
        match dropout {
            None => {
                let dz = narrow_columns(&dz, &rows)?;
                if let Some(into) = gradient.lora {
                    gemm(&narrow_rows(&into.a, &rows)?, &dz.t()?, &saved.x, 1.0, Accumulate::Add)?;
                }
                if let Some(dx) = gradient.dx {
                    gemm(dx, &dz, &narrow_rows(&lora.a, &rows)?, 1.0, Accumulate::Add)?;
                }
            }
            Some(dropout) => {
                for (layer, part) in lora.parts_of(&layers) {
                    let dz = narrow_columns(&dz, &part.a_rows)?;
                    if let Some(into) = gradient.lora {
                        let x = dropout.apply(&saved.x, layer)?;
                        gemm(&narrow_rows(&into.a, &part.a_rows)?, &dz.t()?, &x, 1.0, Accumulate::Add)?;
                    }
                    if let Some(dx) = gradient.dx {
                        let before_mask = empty(dx.dim(0)?, self.in_features)?;
                        gemm(&before_mask, &dz, &narrow_rows(&lora.a, &part.a_rows)?, 1.0, Accumulate::Replace)?;
                        add(dx, &dropout.apply(&before_mask, layer)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl LoraGroup {
    /// z = x Aᵀ for the layers' rows of A, (T, Σ r); other columns are left as they are.
    fn down(&self, layers: &Range<usize>, x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor, EngineError> {
        let z = empty(x.dim(0)?, self.a.dim(0)?)?;
        let product = |rows: &Range<usize>, x: &Tensor| {
            let a = narrow_rows(&self.a, rows)?;
            gemm(&narrow_columns(&z, rows)?, x, &a.t()?, 1.0, Accumulate::Replace)
        };
        match dropout {
            None => product(&self.a_rows(layers), x)?,
            Some(dropout) => {
                for (layer, part) in self.parts_of(layers) {
                    product(&part.a_rows, &dropout.apply(x, layer)?)?;
                }
            }
        }
        Ok(z)
    }

    /// The rows of `a` that belong to these layers.
    fn a_rows(&self, layers: &Range<usize>) -> Range<usize> {
        let mut rows = self.parts_of(layers).map(|(_, part)| part.a_rows.clone());
        let Some(first) = rows.next() else { return 0..0 };
        first.start..rows.last().unwrap_or(first).end
    }

    fn parts_of(&self, layers: &Range<usize>) -> impl Iterator<Item = (usize, &LoraPart)> {
        layers.clone().filter_map(|layer| self.parts[layer].as_ref().map(|part| (layer, part)))
    }
}

fn narrow_rows(tensor: &Tensor, rows: &Range<usize>) -> Result<Tensor, EngineError> {
    Ok(tensor.narrow(0, rows.start, rows.len())?)
}

fn narrow_columns(tensor: &Tensor, columns: &Range<usize>) -> Result<Tensor, EngineError> {
    Ok(tensor.narrow(1, columns.start, columns.len())?)
}

/// Every row of `to` += the one row of `from`.
fn add_to_rows(to: &Tensor, from: &Tensor) -> Result<(), EngineError> {
    let (rows, width) = to.dims2()?;
    let from = Matrix::of(from)?;
    let from = from.view().row(0);
    edit(to, |to, layout| {
        for to in to.chunks_mut(layout.stride()[0]).take(rows) {
            to[..width].iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    })
}

/// to += from
pub fn add(to: &Tensor, from: &Tensor) -> Result<(), EngineError> {
    let (rows, width) = to.dims2()?;
    let from = Matrix::of(from)?;
    let from = from.view();
    edit(to, |to, layout| {
        debug_assert_eq!(layout.stride(), [width, 1]);
        for_each_rows(&mut to[..rows * width], width, |first, to| {
            for (index, to) in to.chunks_exact_mut(width).enumerate() {
                for (to, from) in to.iter_mut().zip(from.row(first + index)) {
                    *to += from;
                }
            }
        });
    })
}
