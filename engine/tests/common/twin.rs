//! The slow twin: the same Llama written with candle's differentiable operations, one row at a time, its gradients by
//! candle's autograd. It shares no arithmetic with the engine.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use domain::spec::TargetModule;
use engine::adapter::Lora;
use engine::model::linear::FrozenWeight;
use engine::model::table::Table;
use engine::model::{Llama, LlamaConfig};
use engine::text::batch::TokenRow;
use std::collections::BTreeMap;

/// A LoRA as autograd's variables: (A, B) by layer and module.
pub struct TwinLora {
    pub variables: BTreeMap<(usize, TargetModule), (Var, Var)>,
    scale: f64,
}

impl TwinLora {
    pub fn of(lora: &Lora) -> Self {
        let mut variables = BTreeMap::new();
        for layer in 0..lora.layers.len() {
            for module in TargetModule::ALL {
                if let Some((a, b)) = lora.module(layer, module).unwrap() {
                    let a = Var::from_tensor(&a.copy().unwrap()).unwrap();
                    variables.insert((layer, module), (a, Var::from_tensor(&b.copy().unwrap()).unwrap()));
                }
            }
        }
        Self { variables, scale: lora.lora_alpha / lora.r as f64 }
    }

    fn linear(&self, llama: &Llama, layer: usize, module: TargetModule, x: &Tensor) -> Tensor {
        let group = llama.layers[layer]
            .groups
            .iter()
            .find(|group| group.parts.iter().any(|(part, _)| *part == module))
            .unwrap();
        let rows = &group.parts.iter().find(|(part, _)| *part == module).unwrap().1;
        let FrozenWeight::Expanded(weight) = &group.weight else { panic!("the twin wants expanded weights") };
        let weight = weight.narrow(0, rows.start, rows.len()).unwrap();
        let y = x.matmul(&weight.t().unwrap()).unwrap();
        let Some((a, b)) = self.variables.get(&(layer, module)) else { return y };
        let z = x.matmul(&a.t().unwrap()).unwrap().matmul(&b.t().unwrap()).unwrap();
        (y + (z * self.scale).unwrap()).unwrap()
    }
}

fn norm(config: &LlamaConfig, x: &Tensor, weight: &Tensor) -> Tensor {
    let mean = x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
    let rms = (mean + f64::from(config.rms_norm_eps)).unwrap().sqrt().unwrap();
    x.broadcast_div(&rms).unwrap().broadcast_mul(weight).unwrap()
}

/// x (heads, T, head_dim)
fn rope(config: &LlamaConfig, x: &Tensor) -> Tensor {
    let (_, tokens, head_dim) = x.dims3().unwrap();
    let half = head_dim / 2;
    let mut cosines = Vec::new();
    let mut sines = Vec::new();
    for position in 0..tokens {
        for pair in 0..half {
            let angle = position as f32 / config.rope_theta.powf(2.0 * pair as f32 / head_dim as f32);
            cosines.push(angle.cos());
            sines.push(angle.sin());
        }
    }
    let cosines = Tensor::from_vec(cosines, (tokens, half), &Device::Cpu).unwrap();
    let sines = Tensor::from_vec(sines, (tokens, half), &Device::Cpu).unwrap();
    let (a, b) = (x.narrow(2, 0, half).unwrap(), x.narrow(2, half, half).unwrap());
    let first = (a.broadcast_mul(&cosines).unwrap() - b.broadcast_mul(&sines).unwrap()).unwrap();
    let second = (b.broadcast_mul(&cosines).unwrap() + a.broadcast_mul(&sines).unwrap()).unwrap();
    Tensor::cat(&[first, second], 2).unwrap()
}

/// Logits of one row, (T, V).
pub fn logits(llama: &Llama, lora: &TwinLora, tokens: &[u32]) -> Tensor {
    let config = &llama.config;
    let ids = Tensor::new(tokens, &Device::Cpu).unwrap();
    let mut x = table(&llama.embedding).index_select(&ids, 0).unwrap();
    let count = tokens.len();
    let heads = |x: Tensor, heads: usize| {
        x.reshape((count, heads, config.head_dim)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
    };
    let mut mask = vec![0f32; count * count];
    for (at, value) in mask.iter_mut().enumerate() {
        if at % count > at / count {
            *value = f32::NEG_INFINITY;
        }
    }
    let mask = Tensor::from_vec(mask, (count, count), &Device::Cpu).unwrap();
    for (index, layer) in llama.layers.iter().enumerate() {
        let linear = |module, x: &Tensor| lora.linear(llama, index, module, x);
        let normed = norm(config, &x, &layer.input_norm);
        let q = rope(config, &heads(linear(TargetModule::QProj, &normed), config.num_attention_heads));
        let k = rope(config, &heads(linear(TargetModule::KProj, &normed), config.num_key_value_heads));
        let v = heads(linear(TargetModule::VProj, &normed), config.num_key_value_heads);
        let repeat = config.num_attention_heads / config.num_key_value_heads;
        let spread = |x: Tensor| {
            let heads: Vec<Tensor> =
                (0..config.num_attention_heads).map(|head| x.narrow(0, head / repeat, 1).unwrap()).collect();
            Tensor::cat(&heads, 0).unwrap()
        };
        let (k, v) = (spread(k), spread(v));
        let scores = (q.matmul(&k.transpose(1, 2).unwrap()).unwrap() / (config.head_dim as f64).sqrt()).unwrap();
        let scores = scores.broadcast_add(&mask).unwrap();
        let largest = scores.max_keepdim(D::Minus1).unwrap().detach();
        let exponentials = scores.broadcast_sub(&largest).unwrap().exp().unwrap();
        let p = exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1).unwrap()).unwrap();
        let o = p.matmul(&v).unwrap().transpose(0, 1).unwrap().contiguous().unwrap();
        let o = o.reshape((count, config.query_width())).unwrap();
        x = (x + linear(TargetModule::OProj, &o)).unwrap();
        let normed = norm(config, &x, &layer.post_attention_norm);
        let gate = linear(TargetModule::GateProj, &normed);
        let up = linear(TargetModule::UpProj, &normed);
        let activated = (gate.silu().unwrap() * up).unwrap();
        x = (x + linear(TargetModule::DownProj, &activated)).unwrap();
    }
    norm(config, &x, &llama.norm).matmul(&table(&llama.head).t().unwrap()).unwrap()
}

/// Weighted mean of the loss over the tokens of all rows that carry it: sum(w l) / sum(w), as torch.nn.CrossEntropyLoss
/// with weights and the reduction "mean".
pub fn loss(llama: &Llama, lora: &TwinLora, rows: &[TokenRow]) -> Tensor {
    let mut total = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
    let mut weights = 0.0;
    for row in rows {
        let logits = logits(llama, lora, &row.tokens);
        let largest = logits.max_keepdim(D::Minus1).unwrap().detach();
        let shifted = logits.broadcast_sub(&largest).unwrap();
        let denominators = shifted.exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
        let log_p = shifted.broadcast_sub(&denominators).unwrap();
        for target in row.loss_from..row.tokens.len() {
            let token = row.tokens[target] as usize;
            let value = log_p.narrow(0, target - 1, 1).unwrap().narrow(1, token, 1).unwrap();
            let weight = f64::from(row.weight);
            total = (total - (value.reshape(()).unwrap() * weight).unwrap()).unwrap();
            weights += weight;
        }
    }
    (total / weights).unwrap()
}

pub fn gradients(llama: &Llama, lora: &TwinLora, rows: &[TokenRow]) -> (f32, GradStore) {
    let loss = loss(llama, lora, rows);
    (loss.to_scalar::<f32>().unwrap(), loss.backward().unwrap())
}

fn table(table: &Table) -> Tensor {
    let rows = table.vocabulary().unwrap();
    let values = table.to_f32().unwrap();
    let columns = values.len() / rows;
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}
