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
    let tensor = |wanted, shape: &[usize]| ModelTensor { wanted, shape: shape.to_vec() };
    let (hidden, table) = (config.hidden_size, [config.vocab_size, config.hidden_size]);
    let mut tensors = vec![tensor(Wanted::Embedding, &table)];
    for layer in 0..config.num_hidden_layers {
        tensors.push(tensor(Wanted::InputNorm(layer), &[hidden]));
        for module in TargetModule::ALL {
            let (rows, columns) = module_shape(config, module);
            tensors.push(tensor(Wanted::Projection(layer, module), &[rows, columns]));
            let is_input = matches!(module, TargetModule::QProj | TargetModule::KProj | TargetModule::VProj);
            if config.family.has_attention_bias() && is_input {
                tensors.push(tensor(Wanted::Bias(layer, module), &[rows]));
            }
        }
        if config.family.has_query_key_norm() {
            tensors.push(tensor(Wanted::QueryNorm(layer), &[config.head_dim]));
            tensors.push(tensor(Wanted::KeyNorm(layer), &[config.head_dim]));
        }
        tensors.push(tensor(Wanted::PostAttentionNorm(layer), &[hidden]));
    }
    tensors.push(tensor(Wanted::Norm, &[hidden]));
    if !config.tie_word_embeddings {
        tensors.push(tensor(Wanted::Head, &table));
    }
    tensors
}

impl MergedModel<'_> {
    /// The values of a tensor, row-major, in Hugging Face's layout.
    pub fn values(&self, tensor: &ModelTensor) -> Result<Vec<f32>, EngineError> {
        let stored = self.files.tensor(tensor.wanted)?.ok_or_else(|| {
            EngineError::invalid(format!("the base model {} has no tensor for {:?}", self.files.name(), tensor.wanted))
        })?;
        let Wanted::Projection(layer, module) = tensor.wanted else {
            return self.checked(tensor, stored.into_f32());
        };
        let mut weight = match (stored, self.held) {
            (TensorValues::F32(values), Quantization::AsStored) => self.checked(tensor, values)?,
            (TensorValues::F32(values), held) => {
                let mut values = self.checked(tensor, values)?;
                let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
                let codes = Nf4::quantize(&values, rows, columns, held == Quantization::Nf4DoubleQuant);
                codes.dequantize_into(&mut values);
                values
            }
            // Stored in 4 bits, it was trained on as it is.
            (TensorValues::Nf4(codes), _) => self.checked(tensor, codes.dequantize())?,
        };
        if let Some((a, b)) = self.lora.module(layer, module)? {
            add_product(&mut weight, &a, &b, (self.lora.lora_alpha / self.lora.r as f64) as f32)?;
        }
        Ok(weight)
    }

    fn checked(&self, tensor: &ModelTensor, values: Vec<f32>) -> Result<Vec<f32>, EngineError> {
        if values.len() == tensor.elements() {
            return Ok(values);
        }
        Err(EngineError::invalid(format!(
            "the base model {} has {} values for {:?}, and its shape {:?} asks for {}",
            self.files.name(),
            values.len(),
            tensor.wanted,
            tensor.shape,
            tensor.elements()
        )))
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
