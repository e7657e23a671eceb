//! An adapter on a card: all its matrices in one buffer, so that the optimiser is one kernel.
//!
//! Within a group (the linears that read the same input) the A matrices stand one below the other, each padded with
//! rows of zeros to a multiple of eight, and every B is padded with columns of zeros to match: every operand then begins
//! at a multiple of 16 bytes. The padding's gradient is exactly zero, so it stays zero.

use crate::adapter::lora::{GROUPS, Lora, module_shape};
use crate::cuda::card::Card;
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use crate::kernels::{Matrix as HostMatrix, edit};
use crate::model::config::LlamaConfig;
use candle_core::Tensor;
use domain::spec::TargetModule;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where an adapter's matrices lie in its buffer, in values.
#[derive(Debug, PartialEq)]
pub struct Layout {
    pub layers: Vec<[Option<GroupLayout>; 4]>,
    /// All values, padding included.
    pub values: usize,
    r: usize,
    lora_alpha: f64,
    target_modules: Vec<TargetModule>,
}

#[derive(Debug, PartialEq)]
pub struct GroupLayout {
    /// Of the A matrices, (width, in).
    pub a: usize,
    /// Rows of all A matrices with their padding: the columns that the adapter adds to the group's weight.
    pub width: usize,
    pub in_features: usize,
    /// Per linear of the group.
    pub parts: Vec<Option<PartLayout>>,
}

#[derive(Debug, PartialEq)]
pub struct PartLayout {
    /// Of this linear among the group's columns; `rank` of them.
    pub column: usize,
    /// Of B, (out, rank).
    pub b: usize,
    pub out_features: usize,
}

impl Layout {
    pub fn new(config: &LlamaConfig, lora: &Lora) -> Self {
        let Lora { r, lora_alpha, ref target_modules, .. } = *lora;
        let rank = r.next_multiple_of(8);
        let mut values = 0;
        let mut take = |count: usize| {
            values += count;
            values - count
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            layers.push(GROUPS.map(|modules| {
                let targeted = modules.iter().filter(|module| target_modules.contains(module)).count();
                let in_features = module_shape(config, modules[0]).1;
                let width = targeted * rank;
                let a = take(width * in_features);
                let mut column = 0;
                let mut part = |module: &TargetModule| {
                    let out_features = module_shape(config, *module).0;
                    target_modules.contains(module).then(|| {
                        column += rank;
                        PartLayout { column: column - rank, b: take(out_features * rank), out_features }
                    })
                };
                let parts = modules.iter().map(&mut part).collect();
                (targeted > 0).then_some(GroupLayout { a, width, in_features, parts })
            }));
        }
        Self { layers, values, r, lora_alpha, target_modules: target_modules.clone() }
    }

    /// r, padded.
    pub fn rank(&self) -> usize {
        self.r.next_multiple_of(8)
    }

    /// alpha / r
    pub fn scale(&self) -> f32 {
        (self.lora_alpha / self.r as f64) as f32
    }

    /// Columns that the adapter adds to each group's weight.
    pub fn widths(&self) -> [usize; 4] {
        let widths = |group: &Option<GroupLayout>| group.as_ref().map_or(0, |group| group.width);
        self.layers.first().map_or([0; 4], |groups| groups.each_ref().map(widths))
    }

    /// The adapter's values in this layout.
    pub fn flatten(&self, lora: &Lora) -> Result<Vec<f32>, EngineError> {
        let mut values = vec![0f32; self.values];
        self.each(lora, |tensor, at, stride| {
            let matrix = HostMatrix::of(tensor)?;
            let rows = matrix.view();
            for row in 0..matrix.rows {
                values[at + row * stride..][..matrix.columns].copy_from_slice(rows.row(row));
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// The adapter whose values in this layout are `values`.
    pub fn unflatten(&self, config: &LlamaConfig, values: &[f32]) -> Result<Lora, EngineError> {
        let lora = Lora::zeros(config, self.r, self.lora_alpha, &self.target_modules)?;
        self.each(&lora, |tensor, at, stride| {
            let columns = tensor.dim(1)?;
            edit(tensor, |to, layout| {
                let host_stride = layout.stride()[0];
                for (row, to) in to.chunks_mut(host_stride).take(layout.dims()[0]).enumerate() {
                    to[..columns].copy_from_slice(&values[at + row * stride..][..columns]);
                }
            })
        })?;
        Ok(lora)
    }

    /// Every matrix with its place and the distance between its rows.
    fn each(
        &self,
        lora: &Lora,
        mut visit: impl FnMut(&Tensor, usize, usize) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for (layer, groups) in self.layers.iter().enumerate() {
            for (group, modules) in groups.iter().zip(GROUPS) {
                let Some(group) = group else { continue };
                for (part, module) in group.parts.iter().zip(modules) {
                    let (Some(part), Some((a, b))) = (part, lora.module(layer, *module)?) else { continue };
                    visit(&a, group.a + part.column * group.in_features, group.in_features)?;
                    visit(&b, part.b, self.rank())?;
                }
            }
        }
        Ok(())
    }
}

/// Told apart, so that a model knows whose B matrices stand behind its weights.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An adapter as products read it, in bf16.
pub struct CudaAdapter {
    pub(super) layout: Arc<Layout>,
    /// (1, values)
    pub(super) rounded: Matrix,
    id: u64,
    /// Counts the changes of `rounded`.
    changes: AtomicU64,
}

impl CudaAdapter {
    pub fn new(card: &Arc<Card>, config: &LlamaConfig, lora: &Lora) -> Result<Self, EngineError> {
        let _pass = card.begin()?;
        let layout = Arc::new(Layout::new(config, lora));
        let values = layout.flatten(lora)?;
        let rounded = Matrix::of(card, Kind::Bf16, 1, layout.values, &values)?;
        Ok(Self { layout, rounded, id: NEXT_ID.fetch_add(1, Ordering::Relaxed), changes: AtomicU64::new(0) })
    }

    /// Tells this state of this adapter from every other.
    pub(super) fn state(&self) -> (u64, u64) {
        (self.id, self.changes.load(Ordering::Relaxed))
    }

    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The A matrices of a group, (width, in).
    pub(super) fn a(&self, group: &GroupLayout) -> Matrix {
        self.rounded.part(group.a, group.width, group.in_features)
    }
}
