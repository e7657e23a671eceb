//! Against reference numbers from PyTorch, PEFT and bitsandbytes.

mod common;

use common::{BATCHES, ROWS, WIDTH, assert_close, batches, fixtures, matrix_values, tiny_llama};
use domain::spec::{LrSchedulerType, Quantization, TrainSpec};
use engine::adapter::{Lora, peft};
use engine::model::llama::{Llama, Pass};
use engine::model::plan::Plan;
use engine::text::batch::TokenRow;
use engine::train::learner::loss_and_gradient;
use engine::train::optimizer::{AdamW, clear, clip_coefficient, gradient_norm};
use engine::train::schedule::factor;
use engine::weights::safetensors::SafetensorsFile;
use serde_json::Value;
use std::path::Path;

fn lora(llama: &Llama, directory: &Path) -> Lora {
    Lora::from_files(&llama.config, &peft::read(directory).unwrap()).unwrap()
}

/// Logits of the first batch, row after row, padding positions left out.
fn logits(llama: &Llama, lora: Option<&Lora>, rows: &[TokenRow]) -> Vec<f32> {
    let mut plan = Plan::new(0);
    let mut tokens = Vec::new();
    for row in rows {
        tokens.extend(&row.tokens);
        plan.push(row.tokens.len(), Vec::new());
    }
    let pass = Pass { tokens: &tokens, plan: &plan, lora, output_rows: None, cache: None, dropout: None };
    matrix_values(&llama.logits(&pass).unwrap())
}

fn reference_logits(directory: &Path, file: &str, name: &str, rows: &[TokenRow]) -> Vec<f32> {
    let file = SafetensorsFile::open(&directory.join(file)).unwrap();
    let all = file.tensor_f32(name).unwrap();
    let vocabulary = all.len() / (ROWS * WIDTH);
    let of_row =
        |(index, row): (usize, &TokenRow)| all[index * WIDTH * vocabulary..][..row.tokens.len() * vocabulary].to_vec();
    rows.iter().enumerate().flat_map(of_row).collect()
}

#[test]
fn logits_and_loss() {
    let Some(fixtures) = fixtures() else { return };
    let batches = batches(&fixtures);
    let rows: Vec<&TokenRow> = batches[0].iter().collect();
    for (quantization, file) in
        [(Quantization::AsStored, "forward.safetensors"), (Quantization::Nf4, "nf4_forward.safetensors")]
    {
        let llama = tiny_llama(&fixtures.join("tiny-llama"), quantization);
        let lora = lora(&llama, &fixtures.join("adapter"));
        let expected = reference_logits(&fixtures, file, "logits", &batches[0]);
        assert_close("logits", &logits(&llama, Some(&lora), &batches[0]), &expected, 1e-5);
        let expected = reference_logits(&fixtures, file, "base_logits", &batches[0]);
        assert_close("base logits", &logits(&llama, None, &batches[0]), &expected, 1e-5);

        let gradient = lora.zeros_like(&llama.config).unwrap();
        let loss = loss_and_gradient(&llama, &lora, &rows, ROWS, None, &gradient).unwrap();
        let expected = SafetensorsFile::open(&fixtures.join(file)).unwrap().tensor_f32("loss").unwrap()[0];
        assert!((loss - f64::from(expected)).abs() < 1e-5 * loss, "{loss} and {expected}");
    }
}

#[test]
fn every_lora_gradient() {
    let Some(fixtures) = fixtures() else { return };
    let llama = tiny_llama(&fixtures.join("tiny-llama"), Quantization::AsStored);
    let lora = lora(&llama, &fixtures.join("adapter"));
    let rows: Vec<TokenRow> = batches(&fixtures).swap_remove(0);
    let rows: Vec<&TokenRow> = rows.iter().collect();
    let gradient = lora.zeros_like(&llama.config).unwrap();
    loss_and_gradient(&llama, &lora, &rows, ROWS, None, &gradient).unwrap();
    let file = SafetensorsFile::open(&fixtures.join("grads.safetensors")).unwrap();
    let ours = gradient.to_files("tiny").unwrap();
    assert_eq!(file.names().len(), 2 * ours.tensors.len());
    for ((layer, module), weights) in &ours.tensors {
        for (which, values) in [("lora_A", &weights.a), ("lora_B", &weights.b)] {
            let suffix = format!("layers.{layer}.");
            let infix = format!(".{}.{which}.", module.as_str());
            let names = file.names();
            let name = names.iter().find(|name| name.contains(&suffix) && name.contains(&infix)).unwrap();
            assert_close(name, values, &file.tensor_f32(name).unwrap(), 1e-4);
        }
    }
}

#[test]
fn twenty_steps() {
    let Some(fixtures) = fixtures() else { return };
    for (quantization, file, adapter) in
        [(Quantization::AsStored, "train.json", Some("adapter_step20")), (Quantization::Nf4, "train_nf4.json", None)]
    {
        let reference: Value = serde_json::from_slice(&std::fs::read(fixtures.join(file)).unwrap()).unwrap();
        let number = |path: &str, step: usize| reference[path][step].as_f64().unwrap();
        let llama = tiny_llama(&fixtures.join("tiny-llama"), quantization);
        let lora = lora(&llama, &fixtures.join("adapter"));
        let spec = TrainSpec { weight_decay: 0.01, ..TrainSpec::default() };
        let mut optimizer = AdamW::new(&llama.config, &lora, &spec).unwrap();
        let gradient = lora.zeros_like(&llama.config).unwrap();
        let batches = batches(&fixtures);
        for step in 0..20 {
            clear(&gradient).unwrap();
            let rows: Vec<&TokenRow> = batches[step % BATCHES].iter().collect();
            // Two micro-batches: accumulation must not show.
            let loss = loss_and_gradient(&llama, &lora, &rows, 2, None, &gradient).unwrap();
            let norm = gradient_norm(&gradient).unwrap();
            let lr = 0.001 * factor(LrSchedulerType::Cosine, step as u64, 2, 20);
            assert!((loss - number("loss", step)).abs() < 1e-4 * loss, "loss of step {step}: {loss}");
            assert!((norm - number("grad_norm", step)).abs() < 1e-3 * norm, "norm of step {step}: {norm}");
            assert!((lr - number("lr", step)).abs() < 1e-9, "rate of step {step}: {lr}");
            optimizer.update(&lora, &gradient, clip_coefficient(norm, 0.3), lr).unwrap();
        }
        let Some(adapter) = adapter else { continue };
        let expected = self::lora(&llama, &fixtures.join(adapter));
        for (ours, theirs) in lora.tensors().into_iter().zip(expected.tensors()) {
            assert_close("the adapter after twenty steps", &matrix_values(ours), &matrix_values(theirs), 2e-3);
        }
    }
}
