//! The base with the adapter in its weights, tensor by tensor.
//!
//! A linear with LoRA computes y = x W^T + (alpha / r) (x A^T) B^T = x W'^T with W' = W + (alpha / r) B A: W is
//! (out, in), A (r, in), B (out, r). The sum is computed in f32; rounding to what is stored comes after it, once.

use crate::adapter::lora::{Lora, module_shape};
use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::weights::model_files::{ModelFiles, TensorValues};
use crate::weights::nf4::Nf4;
use candle_core::{Device, Tensor};
use domain::spec::{Quantization, TargetModule};
use rayon::prelude::*;

/// Values that one thread adds at a time.
const VALUES_PER_PIECE: usize = 64 * 1024;

/// A base and the adapter that is added to it.
pub(super) struct MergedModel<'a> {
    pub files: &'a ModelFiles,
    pub lora: Lora,
    /// What the linears' weights go through before the adapter is added.
    pub held: Quantization,
}

/// A tensor of a model with its shape, slowest dimension first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelTensor {
    pub wanted: Wanted,
    pub shape: Vec<usize>,
}

impl ModelTensor {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every tensor that a model of this shape has, from the embedding to the output.
pub(super) fn tensors_of(config: &LlamaConfig) -> Vec<ModelTensor> {
    const INPUTS: [TargetModule; 3] = [TargetModule::QProj, TargetModule::KProj, TargetModule::VProj];
    let mut all = vec![Wanted::Embedding];
    for layer in 0..config.num_hidden_layers {
        all.push(Wanted::InputNorm(layer));
        all.extend(TargetModule::ALL.map(|module| Wanted::Projection(layer, module)));
        if config.family.has_attention_bias() {
            all.extend(INPUTS.map(|module| Wanted::Bias(layer, module)));
        }
        if config.family.has_query_key_norm() {
            all.extend([Wanted::QueryNorm(layer), Wanted::KeyNorm(layer)]);
        }
        all.push(Wanted::PostAttentionNorm(layer));
    }
    all.push(Wanted::Norm);
    if !config.tie_word_embeddings {
        all.push(Wanted::Head);
    }
    let with_shape = |wanted: Wanted| {
        let (rows, columns) = wanted.shape(config);
        ModelTensor { wanted, shape: if wanted.is_matrix() { vec![rows, columns] } else { vec![columns] } }
    };
    all.into_iter().map(with_shape).collect()
}

impl MergedModel<'_> {
    /// The values of a tensor, row-major, in Hugging Face's layout.
    pub fn values(&self, wanted: Wanted) -> Result<Vec<f32>, EngineError> {
        let stored = self.files.tensor(wanted)?.ok_or_else(|| {
            EngineError::invalid(format!("The base model {} has no tensor for {wanted:?}.", self.files.name()))
        })?;
        let Wanted::Projection(layer, module) = wanted else { return Ok(stored.into_f32()) };
        let mut weight = match stored {
            // Stored in 4 bits, it was trained on as it is.
            TensorValues::Nf4(codes) => codes.dequantize(),
            values => {
                let mut values = values.into_f32();
                if self.held != Quantization::AsStored {
                    let (rows, columns) = module_shape(self.files.config(), module);
                    let codes = Nf4::quantize(&values, rows, columns, self.held == Quantization::Nf4DoubleQuant);
                    codes.dequantize_into(&mut values);
                }
                values
            }
        };
        if let Some((a, b)) = self.lora.module(layer, module)? {
            add_product(&mut weight, &a, &b, (self.lora.lora_alpha / self.lora.r as f64) as f32)?;
        }
        Ok(weight)
    }
}

/// weight += scale * B A. Weight is (out, in), A (r, in), B (out, r).
fn add_product(weight: &mut [f32], a: &Tensor, b: &Tensor, scale: f32) -> Result<(), EngineError> {
    let on_cpu = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.contiguous();
    let product = on_cpu(b)?.matmul(&on_cpu(a)?)?.flatten_all()?.to_vec1::<f32>()?;
    weight.par_chunks_mut(VALUES_PER_PIECE).zip(product.par_chunks(VALUES_PER_PIECE)).for_each(|(weight, product)| {
        weight.iter_mut().zip(product).for_each(|(weight, product)| *weight += scale * product);
    });
    Ok(())
}
