//! AdamW with gradient clipping, as PyTorch computes them.

use crate::adapter::lora::Lora;
use crate::error::EngineError;
use crate::kernels::math::{dot, for_each_rows, vectorised};
use crate::kernels::{Matrix, edit};
use crate::model::config::LlamaConfig;
use domain::spec::TrainSpec;

/// `torch.optim.AdamW`: first and second moments of the gradient, in the shape of the LoRA.
pub struct AdamW {
    pub m: Lora,
    pub v: Lora,
    /// Updates done.
    pub step: u64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
}

impl AdamW {
    pub fn new(config: &LlamaConfig, lora: &Lora, spec: &TrainSpec) -> Result<Self, EngineError> {
        Ok(Self::going_on(lora.zeros_like(config)?, lora.zeros_like(config)?, 0, spec))
    }

    /// From the moments that `step` updates have left.
    pub fn going_on(m: Lora, v: Lora, step: u64, spec: &TrainSpec) -> Self {
        Self {
            m,
            v,
            step,
            beta1: spec.adam_beta1,
            beta2: spec.adam_beta2,
            epsilon: spec.adam_epsilon,
            weight_decay: spec.weight_decay,
        }
    }

    /// One update with `coefficient` times the gradient:
    ///
    /// θ ← θ - lr λ θ;  m ← β₁ m + (1-β₁) g;  v ← β₂ v + (1-β₂) g²;
    /// θ ← θ - lr / (1-β₁ᵗ) · m / (sqrt(v) / sqrt(1-β₂ᵗ) + ε)
    pub fn update(&mut self, lora: &Lora, gradient: &Lora, coefficient: f32, lr: f64) -> Result<(), EngineError> {
        self.step += 1;
        let (beta1, beta2) = (self.beta1 as f32, self.beta2 as f32);
        let step_size = (lr / (1.0 - self.beta1.powf(self.step as f64))) as f32;
        let inverse_root = (1.0 / (1.0 - self.beta2.powf(self.step as f64)).sqrt()) as f32;
        let (epsilon, keep) = (self.epsilon as f32, (1.0 - lr * self.weight_decay) as f32);
        let moments = self.m.tensors().into_iter().zip(self.v.tensors());
        for ((parameter, gradient), (m, v)) in lora.tensors().into_iter().zip(gradient.tensors()).zip(moments) {
            let gradient = Matrix::of(gradient)?;
            let g = gradient.values();
            edit(m, |m, _| {
                for_each_rows(&mut m[..parameter.elem_count()], 1, |first, m| {
                    for (m, g) in m.iter_mut().zip(&g[first..]) {
                        *m = beta1 * *m + (1.0 - beta1) * (coefficient * g);
                    }
                });
            })?;
            edit(v, |v, _| {
                for_each_rows(&mut v[..parameter.elem_count()], 1, |first, v| {
                    for (v, g) in v.iter_mut().zip(&g[first..]) {
                        let g = coefficient * g;
                        *v = beta2 * *v + (1.0 - beta2) * (g * g);
                    }
                });
            })?;
            let (m, v) = (Matrix::of(m)?, Matrix::of(v)?);
            let (m, v) = (m.values(), v.values());
            edit(parameter, |parameter, layout| {
                for_each_rows(&mut parameter[..layout.shape().elem_count()], 1, |first, parameter| {
                    for ((parameter, m), v) in parameter.iter_mut().zip(&m[first..]).zip(&v[first..]) {
                        let denominator = v.sqrt() * inverse_root + epsilon;
                        *parameter = *parameter * keep - step_size * (m / denominator);
                    }
                });
            })?;
        }
        Ok(())
    }
}

/// L2 norm over all gradients together.
pub fn gradient_norm(gradient: &Lora) -> Result<f64, EngineError> {
    let mut squares = 0.0;
    for tensor in gradient.tensors() {
        let matrix = Matrix::of(tensor)?;
        let values = &matrix.values()[..tensor.elem_count()];
        // Short sums in f32, their sum in f64.
        squares += vectorised(|| values.chunks(4096).map(|chunk| f64::from(dot(chunk, chunk))).sum::<f64>());
    }
    Ok(squares.sqrt())
}

/// `torch.nn.utils.clip_grad_norm_`: the factor that brings a gradient of this norm to `max_norm`; 0 clips nothing.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f32 {
    if max_norm == 0.0 { 1.0 } else { (max_norm / (norm + 1e-6)).min(1.0) as f32 }
}

/// All gradients to zero, for the next step.
pub fn clear(gradient: &Lora) -> Result<(), EngineError> {
    for tensor in gradient.tensors() {
        edit(tensor, |values, layout| values[..layout.shape().elem_count()].fill(0.0))?;
    }
    Ok(())
}
