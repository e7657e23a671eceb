//! The trained part of a model: the LoRA matrices of every layer.

use crate::adapter::copy_into;
use crate::adapter::peft::{AdapterConfig, AdapterFiles, LoraWeights};
use crate::error::EngineError;
use crate::kernels::{Matrix, edit};
use crate::model::config::LlamaConfig;
use crate::model::linear::{LoraGroup, LoraPart};
use candle_core::{DType, Device, Tensor};
use domain::dataset::mix;
use domain::spec::{TargetModule, TrainSpec};

/// The groups in which a layer's linears are held, in order: the input of attention, its output, the input of the MLP,
/// its output.
pub const GROUPS: [&[TargetModule]; 4] = [
    &[TargetModule::QProj, TargetModule::KProj, TargetModule::VProj],
    &[TargetModule::OProj],
    &[TargetModule::GateProj, TargetModule::UpProj],
    &[TargetModule::DownProj],
];

/// A LoRA on a whole model. Gradients and the optimiser's moments have the same shape and use the same type.
#[derive(Clone)]
pub struct Lora {
    pub layers: Vec<LayerLora>,
    pub r: usize,
    pub lora_alpha: f64,
    pub target_modules: Vec<TargetModule>,
}

/// One layer's LoRA, by group; `None` where no layer of a group has one.
#[derive(Clone, Default)]
pub struct LayerLora {
    pub groups: [Option<LoraGroup>; 4],
}

/// (out, in) of a linear layer.
pub fn module_shape(config: &LlamaConfig, module: TargetModule) -> (usize, usize) {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    match module {
        TargetModule::QProj => (config.query_width(), hidden),
        TargetModule::KProj | TargetModule::VProj => (config.key_value_width(), hidden),
        TargetModule::OProj => (hidden, config.query_width()),
        TargetModule::GateProj | TargetModule::UpProj => (inner, hidden),
        TargetModule::DownProj => (hidden, inner),
    }
}

/// Values that the matrices of `files` hold, and with one rank for all, those that are missing included.
///
/// # Errors
/// It would be far more: a file of some kilobytes must not fill the memory.
fn check_growth(config: &LlamaConfig, files: &AdapterFiles) -> Result<(), EngineError> {
    const MOST_TIMES: usize = 64;
    const ALWAYS_FINE: usize = 64 << 20;
    let held: usize = files.tensors.values().map(|weights| weights.a.len() + weights.b.len()).sum();
    let per_rank: usize = files
        .config
        .target_modules
        .iter()
        .map(|module| module_shape(config, *module))
        .map(|(out_features, in_features)| out_features + in_features)
        .sum();
    let uniform = per_rank.saturating_mul(files.config.r).saturating_mul(config.num_hidden_layers);
    if uniform > ALWAYS_FINE.max(held.saturating_mul(MOST_TIMES)) {
        return Err(EngineError::invalid(format!(
            "the adapter's ranks differ too much: it holds {held} values, and with rank {} for all its modules in all \
             layers it would have {uniform}",
            files.config.r
        )));
    }
    Ok(())
}

/// A stream of uniform numbers from a seed: splitmix64 over a counter.
struct Uniform {
    seed: u64,
    drawn: u64,
}

impl Uniform {
    /// In [-bound, bound).
    fn draw(&mut self, bound: f32) -> f32 {
        self.drawn += 1;
        let unit = (mix(self.seed ^ mix(self.drawn)) >> 40) as f32 / (1u64 << 24) as f32;
        (2.0 * unit - 1.0) * bound
    }
}

impl Lora {
    /// All zeros.
    pub fn zeros(
        config: &LlamaConfig,
        r: usize,
        lora_alpha: f64,
        target_modules: &[TargetModule],
    ) -> Result<Self, EngineError> {
        Self::filled(config, r, lora_alpha, target_modules, |rows, columns| {
            Ok(Tensor::zeros((rows, columns), DType::F32, &Device::Cpu)?)
        })
    }

    /// As PEFT starts: A uniform in ±1/sqrt(in) (`kaiming_uniform_` with a = sqrt 5), B zero, so that the model is
    /// the base to begin with.
    pub fn initialise(config: &LlamaConfig, spec: &TrainSpec) -> Result<Self, EngineError> {
        let mut uniform = Uniform { seed: mix(spec.seed ^ 0x4c6f_5241), drawn: 0 };
        Self::filled(config, spec.r as usize, spec.lora_alpha, &spec.target_modules, |rows, columns| {
            let bound = 1.0 / (columns as f32).sqrt();
            let values: Vec<f32> = (0..rows * columns).map(|_| uniform.draw(bound)).collect();
            Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
        })
    }

    fn filled(
        config: &LlamaConfig,
        r: usize,
        lora_alpha: f64,
        target_modules: &[TargetModule],
        mut a: impl FnMut(usize, usize) -> Result<Tensor, EngineError>,
    ) -> Result<Self, EngineError> {
        let scale = (lora_alpha / r as f64) as f32;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            let mut layer = LayerLora::default();
            for (group, modules) in layer.groups.iter_mut().zip(GROUPS) {
                let targeted = modules.iter().filter(|module| target_modules.contains(module)).count();
                if targeted == 0 {
                    continue;
                }
                let in_features = module_shape(config, modules[0]).1;
                let mut first = 0;
                let mut parts = Vec::with_capacity(modules.len());
                for module in modules {
                    if !target_modules.contains(module) {
                        parts.push(None);
                        continue;
                    }
                    let b = Tensor::zeros((module_shape(config, *module).0, r), DType::F32, &Device::Cpu)?;
                    parts.push(Some(LoraPart { a_rows: first..first + r, b }));
                    first += r;
                }
                *group = Some(LoraGroup { a: a(first, in_features)?, parts, scale });
            }
            layers.push(layer);
        }
        Ok(Self { layers, r, lora_alpha, target_modules: target_modules.to_vec() })
    }

    /// Zeros in the shape of this one, for gradients and moments.
    pub fn zeros_like(&self, config: &LlamaConfig) -> Result<Self, EngineError> {
        Self::zeros(config, self.r, self.lora_alpha, &self.target_modules)
    }

    /// Another of this shape, its matrices made by `make` from this one's, in the order of [`Lora::tensors`].
    pub fn map(&self, mut make: impl FnMut(&Tensor) -> Result<Tensor, EngineError>) -> Result<Self, EngineError> {
        let mut other = self.clone();
        for group in other.layers.iter_mut().flat_map(|layer| layer.groups.iter_mut().flatten()) {
            group.a = make(&group.a)?;
            for part in group.parts.iter_mut().flatten() {
                part.b = make(&part.b)?;
            }
        }
        Ok(other)
    }

    /// Every trained matrix, in an order that never changes: by layer, by group, A before the Bs.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let groups = self.layers.iter().flat_map(|layer| layer.groups.iter().flatten());
        groups
            .flat_map(|group| std::iter::once(&group.a).chain(group.parts.iter().flatten().map(|part| &part.b)))
            .collect()
    }

    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.elem_count()).sum()
    }

    /// One module's A (r, in), a view, and B (out, r).
    pub fn module(&self, layer: usize, module: TargetModule) -> Result<Option<(Tensor, Tensor)>, EngineError> {
        for (group, modules) in self.layers[layer].groups.iter().zip(GROUPS) {
            let (Some(group), Some(index)) = (group, modules.iter().position(|other| *other == module)) else {
                continue;
            };
            let Some(part) = &group.parts[index] else { return Ok(None) };
            let a = group.a.narrow(0, part.a_rows.start, part.a_rows.len())?;
            return Ok(Some((a, part.b.clone())));
        }
        Ok(None)
    }

    /// A copy that training does not change.
    pub fn snapshot(&self, config: &LlamaConfig) -> Result<Self, EngineError> {
        let copy = self.zeros_like(config)?;
        for (to, from) in copy.tensors().into_iter().zip(self.tensors()) {
            copy_into(to, from)?;
        }
        Ok(copy)
    }

    /// From an adapter's files, whose modules may differ in rank and scale: the same function with one rank, the
    /// largest, and one scale.
    ///
    /// A module of a smaller rank gets rows of zeros in A and columns of zeros in B. Training leaves them zero: with
    /// s the scale, g the gradient of the output, dB = s gᵀ (x Aᵀ) has zero columns where A has zero rows, dA = s (g B)ᵀ x
    /// has zero rows where B has zero columns, and AdamW moves no zero whose gradients have all been zero. Another
    /// scale goes into B. A module that the files lack is all zeros, and stays so.
    ///
    /// # Errors
    /// The adapter was made for a model of another shape, or its modules differ so much that together they would not be
    /// of a reasonable size.
    pub fn from_files(config: &LlamaConfig, files: &AdapterFiles) -> Result<Self, EngineError> {
        let AdapterConfig { r, lora_alpha, target_modules, .. } = &files.config;
        for ((layer, module), weights) in &files.tensors {
            let (out_features, in_features) = module_shape(config, *module);
            if !target_modules.contains(module) || weights.r > *r {
                return Err(EngineError::invalid("the adapter's modules and ranks are not those that it names itself"));
            }
            let fits = *layer < config.num_hidden_layers
                && (weights.in_features, weights.out_features) == (in_features, out_features);
            if !fits {
                return Err(EngineError::invalid(format!(
                    "the adapter's {} of layer {layer} is {}x{}, and this base has {} layers of {out_features}x{in_features}: \
                     it was made for another base",
                    module.as_str(),
                    weights.out_features,
                    weights.in_features,
                    config.num_hidden_layers,
                )));
            }
        }
        check_growth(config, files)?;
        let lora = Self::zeros(config, *r, *lora_alpha, target_modules)?;
        for ((layer, module), weights) in &files.tensors {
            let Some((a, b)) = lora.module(*layer, *module)? else { continue };
            // One where the scales are the same, to the bit.
            let factor = weights.scale() / (lora_alpha / *r as f64);
            edit(&a, |a, _| {
                for (to, from) in a.iter_mut().zip(&weights.a) {
                    *to = *from;
                }
            })?;
            edit(&b, |b, _| {
                for (to, from) in b.chunks_mut(*r).zip(weights.b.chunks(weights.r)) {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = (f64::from(*from) * factor) as f32;
                    }
                }
            })?;
        }
        Ok(lora)
    }

    /// As an adapter's files hold it.
    pub fn to_files(&self, base_model: &str) -> Result<AdapterFiles, EngineError> {
        let mut files = AdapterFiles {
            config: AdapterConfig {
                r: self.r,
                lora_alpha: self.lora_alpha,
                lora_dropout: 0.0,
                target_modules: self.target_modules.clone(),
                base_model_name_or_path: Some(base_model.to_string()),
            },
            tensors: Default::default(),
        };
        for layer in 0..self.layers.len() {
            for &module in &self.target_modules {
                let Some((a, b)) = self.module(layer, module)? else { continue };
                let (in_features, out_features) = (a.dim(1)?, b.dim(0)?);
                let values = |tensor: &Tensor| -> Result<Vec<f32>, EngineError> {
                    let matrix = Matrix::of(tensor)?;
                    Ok(matrix.values()[..matrix.rows * matrix.columns].to_vec())
                };
                let (r, lora_alpha) = (self.r, self.lora_alpha);
                let weights = LoraWeights { a: values(&a)?, b: values(&b)?, r, lora_alpha, in_features, out_features };
                files.tensors.insert((layer, module), weights);
            }
        }
        Ok(files)
    }
}
