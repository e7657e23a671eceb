//! The model on a card: against the reference numbers of PyTorch, PEFT and bitsandbytes, and against the CPU.
//!
//! The card computes in bf16. Every stored value is off by up to 2⁻⁹ of itself, independently of the others, and a
//! result that went through n roundings is off by about sqrt(n) · 2⁻⁹ / sqrt(3) of its size: rounding errors are spread
//! evenly in ± half a unit, and add up as a random walk. The tiny reference model's logits go through about 30 roundings
//! on the way (some 14 per layer), 0.6 %; a gradient passes there and back, about 80, 1.0 %. Differences are measured
//! as the norm of the difference over the norm of the reference, and may be twice and three times that: operands
//! that nearly cancel make some results relatively worse. A wrong formula is off by tens of percent.
#![cfg(feature = "cuda")]

mod common;

use common::{batches, embedded_base, fixtures, hf_name, matrix_values, noise, random_lora, train_request};
use domain::run::RunEvent;
use domain::spec::{LrSchedulerType, Quantization, TargetModule, TrainSpec};
use engine::adapter::{Lora, peft};
use engine::base::{ShapedTensor, Wanted, assemble};
use engine::classify::Scorer;
use engine::cuda::{Card, CudaAdapter, CudaLearner, CudaLlama, CudaPass, KeepExpanded, Replicas};
use engine::model::config::{Family, RopeScaling};
use engine::model::linear::Dropout;
use engine::model::llama::Pass;
use engine::model::plan::Plan;
use engine::model::{Llama, LlamaConfig};
use engine::text::batch::{PackedBatch, TokenRow};
use engine::text::template::{PromptEncoder, PromptSetup};
use engine::train::learner::{Snapshot, loss_and_gradient};
use engine::train::optimizer::clip_coefficient;
use engine::train::schedule::factor;
use engine::train::{TrainOutcome, TrainReport, TrainRequest, train};
use engine::weights::hf;
use engine::weights::safetensors::SafetensorsFile;
use engine::{BaseModel, Device};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const LOGITS: f64 = 0.012;
const GRADIENT: f64 = 0.03;

/// One test at a time has the card: some lower its memory.
fn card() -> Option<(Arc<Card>, MutexGuard<'static, ()>)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match engine::cuda::cards() {
        Ok(_) => Some((Card::open(0).unwrap(), guard)),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// A card that hands out only so much more, until this is dropped.
struct LittleMemory(Arc<Card>);

impl LittleMemory {
    fn of(card: &Arc<Card>, bytes: usize) -> Self {
        card.limit_memory(card.used_bytes() + bytes);
        Self(card.clone())
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        self.0.limit_memory(usize::MAX);
    }
}

/// ‖a - b‖ / ‖b‖
fn relative(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(1e-30)
}

fn assert_near(name: &str, ours: &[f32], theirs: &[f32], tolerance: f64) {
    let difference = relative(ours, theirs);
    eprintln!("{name}: {difference:.2e} of {tolerance:.1e}");
    assert!(difference.is_finite() && difference <= tolerance, "{name}: {difference} is above {tolerance}");
}

fn lora_values(lora: &Lora) -> Vec<f32> {
    lora.tensors().into_iter().flat_map(matrix_values).collect()
}

/// All matrices together, and each that carries a tenth of the norm or more by itself.
fn assert_same_gradient(name: &str, ours: &Lora, theirs: &Lora, tolerance: f64) {
    assert_near(name, &lora_values(ours), &lora_values(theirs), tolerance);
    let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let whole = norm(&lora_values(theirs));
    for (index, (ours, theirs)) in ours.tensors().into_iter().zip(theirs.tensors()).enumerate() {
        let (ours, theirs) = (matrix_values(ours), matrix_values(theirs));
        if norm(&theirs) > 0.1 * whole {
            assert_near(&format!("{name}, matrix {index}"), &ours, &theirs, 1.5 * tolerance);
        }
    }
}

fn tiny_config(directory: &Path) -> LlamaConfig {
    common::tiny_llama(directory, Quantization::AsStored).config
}

fn tiny_on_card(card: &Arc<Card>, directory: &Path, quantization: Quantization) -> CudaLlama {
    let (_, tensors) = hf::open(directory).unwrap();
    let read = &mut |tensor: &ShapedTensor| Ok(tensors.get(&hf_name(tensor.wanted)).cloned().map(Into::into));
    CudaLlama::assemble(card, tiny_config(directory), quantization, read).unwrap()
}

fn replicas(first: CudaLlama) -> Replicas {
    Replicas { first, others: Vec::new() }
}

/// A random model whose sizes the kernels take: heads of 16, an MLP of 136, a head of its own.
fn random_config() -> LlamaConfig {
    LlamaConfig {
        family: Family::Llama,
        vocab_size: 104,
        hidden_size: 72,
        intermediate_size: 136,
        num_hidden_layers: 3,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 16,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        max_position_embeddings: 512,
        tie_word_embeddings: false,
    }
}

/// A quarter of the usual random one: with that, rounding the adapter alone to bf16 changes a gradient by a third, and
/// nothing could be told from it; with this one, by 0.3 %.
fn small_lora(config: &LlamaConfig, r: usize, lora_alpha: f64, modules: &[TargetModule]) -> Lora {
    let lora = random_lora(config, r, lora_alpha, modules);
    for tensor in lora.tensors() {
        engine::kernels::edit(tensor, |values, _| values.iter_mut().for_each(|value| *value *= 0.25)).unwrap();
    }
    lora
}

fn random_values(tensor: &ShapedTensor) -> Vec<f32> {
    let seed = format!("{:?}", tensor.wanted).bytes().fold(7u64, |sum, byte| sum * 31 + u64::from(byte));
    let is_norm = !tensor.wanted.is_matrix() && !matches!(tensor.wanted, Wanted::Bias(..));
    let value = |place| {
        let noise = noise(seed, place);
        if is_norm { 1.0 + 0.3 * noise } else { 0.2 * noise }
    };
    (0..tensor.rows * tensor.columns).map(value).collect()
}

fn random_pair(card: &Arc<Card>, quantization: Quantization) -> (Llama, CudaLlama) {
    pair_of(card, random_config(), quantization)
}

fn pair_of(card: &Arc<Card>, config: LlamaConfig, quantization: Quantization) -> (Llama, CudaLlama) {
    let tied = config.tie_word_embeddings;
    let read =
        &mut |tensor: &ShapedTensor| Ok((!tied || tensor.wanted != Wanted::Head).then(|| random_values(tensor).into()));
    let cpu = assemble(config.clone(), quantization, read).unwrap();
    (cpu, CudaLlama::assemble(card, config, quantization, read).unwrap())
}

/// Rows with a common beginning.
fn token_rows(count: usize, loss_from: usize) -> Vec<TokenRow> {
    let row = |index: usize| {
        let own = 3 + (index * 7) % 30;
        let place = |at: usize| if at < 20 { at } else { at + 1000 * (index + 1) };
        let tokens = (0..20 + own).map(|at| ((noise(5, place(at)) + 1.0) * 51.9) as u32).collect::<Vec<_>>();
        let loss_from = if loss_from == 0 { tokens.len() - 1 } else { loss_from };
        TokenRow { tokens, loss_from, weight: 1.0 }
    };
    (0..count).map(row).collect()
}

fn gradient_on_card(
    llama: CudaLlama,
    lora: &Lora,
    rows: &[&TokenRow],
    micro_batch: usize,
    dropout: Option<Dropout>,
) -> (f64, f64, Lora) {
    let replicas = replicas(llama);
    let start = Snapshot::start(&replicas.first.config, lora.clone()).unwrap();
    let mut learner = CudaLearner::new(&replicas, start, &TrainSpec::default()).unwrap();
    let found = learner.gradient(rows, micro_batch, dropout).unwrap();
    (found.loss, found.norm, learner.last_gradient().unwrap())
}

#[test]
fn reference_logits_losses_and_gradients() {
    let (Some((card, _guard)), Some(fixtures)) = (card(), fixtures()) else { return };
    let batch = batches(&fixtures).swap_remove(0);
    let mut plan = Plan::new(0);
    let mut tokens = Vec::new();
    for row in &batch {
        tokens.extend(&row.tokens);
        plan.push(row.tokens.len(), Vec::new());
    }
    for (quantization, file) in
        [(Quantization::AsStored, "forward.safetensors"), (Quantization::Nf4, "nf4_forward.safetensors")]
    {
        let llama = tiny_on_card(&card, &fixtures.join("tiny-llama"), quantization);
        let lora = Lora::from_files(&llama.config, &peft::read(&fixtures.join("adapter")).unwrap()).unwrap();
        let adapter = CudaAdapter::new(&card, &llama.config, &lora).unwrap();
        let file = SafetensorsFile::open(&fixtures.join(file)).unwrap();
        for (name, adapter) in [("base_logits", None), ("logits", Some(&adapter)), ("base_logits", None)] {
            let pass =
                CudaPass { tokens: &tokens, plan: &plan, adapter, output_rows: None, cache: None, dropout: None };
            let all = file.tensor_f32(name).unwrap();
            let of_row = |(index, row): (usize, &TokenRow)| all[index * 24 * 512..][..row.tokens.len() * 512].to_vec();
            let expected: Vec<f32> = batch.iter().enumerate().flat_map(of_row).collect();
            assert_near(name, &llama.logits(&pass).unwrap(), &expected, LOGITS);
        }
        let rows: Vec<&TokenRow> = batch.iter().collect();
        let (loss, _, gradient) = gradient_on_card(llama, &lora, &rows, 4, None);
        let expected = f64::from(file.tensor_f32("loss").unwrap()[0]);
        assert!((loss - expected).abs() < 2e-3 * expected, "loss {loss} and {expected}");
        if quantization == Quantization::Nf4 {
            continue;
        }
        let cpu = common::tiny_llama(&fixtures.join("tiny-llama"), quantization);
        let exact = lora.zeros_like(&cpu.config).unwrap();
        loss_and_gradient(&cpu, &lora, &rows, 4, None, &exact).unwrap();
        // The CPU's equals PyTorch's within 1e-4 (tests/parity.rs).
        assert_same_gradient("gradient", &gradient, &exact, GRADIENT);
    }
}

#[test]
fn every_family_computes_as_on_the_cpu() {
    let Some((card, _guard)) = card() else { return };
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 32,
    };
    let plain = random_config();
    for config in [
        plain.clone(),
        LlamaConfig { rope_scaling: Some(llama3), tie_word_embeddings: true, ..plain.clone() },
        LlamaConfig { family: Family::Mistral, ..plain.clone() },
        LlamaConfig { family: Family::Qwen2, tie_word_embeddings: true, ..plain.clone() },
        LlamaConfig { family: Family::Qwen3, ..plain.clone() },
    ] {
        for (quantization, loss_from) in [(Quantization::AsStored, 1), (Quantization::Nf4, 0)] {
            let (cpu, llama) = pair_of(&card, config.clone(), quantization);
            let lora = small_lora(&cpu.config, 8, 16.0, &TargetModule::ALL);
            let adapter = CudaAdapter::new(&card, &llama.config, &lora).unwrap();
            let rows = token_rows(6, loss_from);
            let mut plan = Plan::new(0);
            rows.iter().for_each(|row| {
                plan.push(row.tokens.len(), Vec::new());
            });
            let tokens: Vec<u32> = rows.iter().flat_map(|row| row.tokens.clone()).collect();
            let pass =
                Pass { tokens: &tokens, plan: &plan, lora: Some(&lora), output_rows: None, cache: None, dropout: None };
            let expected = matrix_values(&cpu.logits(&pass).unwrap());
            let adapter = Some(&adapter);
            let pass =
                CudaPass { tokens: &tokens, plan: &plan, adapter, output_rows: None, cache: None, dropout: None };
            let name = config.family.as_str();
            assert_near(name, &llama.logits(&pass).unwrap(), &expected, 2.0 * LOGITS);

            let rows: Vec<&TokenRow> = rows.iter().collect();
            let exact = lora.zeros_like(&cpu.config).unwrap();
            let expected = loss_and_gradient(&cpu, &lora, &rows, 6, None, &exact).unwrap();
            let (loss, _, gradient) = gradient_on_card(llama, &lora, &rows, 6, None);
            assert!((loss - expected).abs() < 2e-3 * expected, "{name}: loss {loss} and {expected}");
            assert_same_gradient(name, &gradient, &exact, GRADIENT);
        }
    }
}

#[test]
fn twenty_reference_steps() {
    let (Some((card, _guard)), Some(fixtures)) = (card(), fixtures()) else { return };
    for (quantization, file) in [(Quantization::AsStored, "train.json"), (Quantization::Nf4, "train_nf4.json")] {
        let reference: Value = serde_json::from_slice(&std::fs::read(fixtures.join(file)).unwrap()).unwrap();
        let number = |path: &str, step: usize| reference[path][step].as_f64().unwrap();
        let replicas = replicas(tiny_on_card(&card, &fixtures.join("tiny-llama"), quantization));
        let config = replicas.first.config.clone();
        let lora = Lora::from_files(&config, &peft::read(&fixtures.join("adapter")).unwrap()).unwrap();
        let spec = TrainSpec { weight_decay: 0.01, ..TrainSpec::default() };
        let mut learner = CudaLearner::new(&replicas, Snapshot::start(&config, lora).unwrap(), &spec).unwrap();
        let batches = batches(&fixtures);
        let mut worst = 0f64;
        for step in 0..20 {
            let rows: Vec<&TokenRow> = batches[step % 4].iter().collect();
            let found = learner.gradient(&rows, 2, None).unwrap();
            worst = worst.max((found.loss - number("loss", step)).abs() / found.loss);
            let norm = number("grad_norm", step);
            assert!((found.norm - norm).abs() < GRADIENT * norm, "norm of step {step}: {} and {norm}", found.norm);
            let rate = 0.001 * factor(LrSchedulerType::Cosine, step as u64, 2, 20);
            learner.update(clip_coefficient(found.norm, 0.3), rate).unwrap();
        }
        eprintln!("losses of twenty steps: {worst:.1e} off at most");
        assert!(worst < 5e-3, "a loss is off by {worst}");
    }
}

#[test]
fn gradients_are_the_cpus_shared_packed_picked_and_dropped() {
    let Some((card, _guard)) = card() else { return };
    for (modules, r) in
        [(&TargetModule::ALL[..], 8), (&[TargetModule::QProj, TargetModule::VProj, TargetModule::UpProj], 5)]
    {
        for loss_from in [1, 0] {
            let mut rows = token_rows(6, loss_from);
            if r == 5 {
                // As class weights make them.
                let weights = [0.25, 1.0, 3.0].into_iter().cycle();
                rows.iter_mut().zip(weights).for_each(|(row, weight)| row.weight = weight);
            }
            let rows: Vec<&TokenRow> = rows.iter().collect();
            let (cpu, _) = random_pair(&card, Quantization::Nf4);
            let lora = small_lora(&cpu.config, r, 16.0, modules);
            let exact = lora.zeros_like(&cpu.config).unwrap();
            let loss = loss_and_gradient(&cpu, &lora, &rows, 6, None, &exact).unwrap();
            for (name, micro_batch, keep) in [
                ("all rows at once", 6, KeepExpanded::WhenMemoryAllows),
                ("rows in twos", 2, KeepExpanded::WhenMemoryAllows),
                ("one by one, nothing shared", 1, KeepExpanded::WhenMemoryAllows),
                ("dequantised for every use", 6, KeepExpanded::Never),
            ] {
                let llama = random_pair(&card, Quantization::Nf4).1.keeping(keep);
                let (found, _, gradient) = gradient_on_card(llama, &lora, &rows, micro_batch, None);
                assert!((found - loss).abs() < 5e-3 * loss, "{name}: loss {found} and {loss}");
                assert_same_gradient(name, &gradient, &exact, GRADIENT);
            }
            if loss_from == 1 {
                // Where no rows are picked out, the masks are the CPU's too.
                let dropout = Some(Dropout { probability: 0.2, seed: 11 });
                let exact = lora.zeros_like(&cpu.config).unwrap();
                let loss = loss_and_gradient(&cpu, &lora, &rows, 6, dropout, &exact).unwrap();
                let llama = random_pair(&card, Quantization::Nf4).1;
                let (found, _, gradient) = gradient_on_card(llama, &lora, &rows, 6, dropout);
                assert!((found - loss).abs() < 5e-3 * loss, "dropout: loss {found} and {loss}");
                assert_same_gradient("dropout", &gradient, &exact, GRADIENT);
            }
        }
    }
}

#[test]
fn what_is_computed_again_has_the_same_gradient() {
    let Some((card, _guard)) = card() else { return };
    let rows = token_rows(6, 1);
    let rows: Vec<&TokenRow> = rows.iter().collect();
    let lora = small_lora(&random_config(), 8, 16.0, &TargetModule::ALL);
    let (_, _, kept) = gradient_on_card(random_pair(&card, Quantization::Nf4).1, &lora, &rows, 6, None);
    let llama = random_pair(&card, Quantization::Nf4).1;
    // Too little to keep the activations of all layers (half a gigabyte is set aside for logits), enough for one.
    let little = LittleMemory::of(&card, 200 << 20);
    let (_, _, again) = gradient_on_card(llama, &lora, &rows, 6, None);
    drop(little);
    // The same kernels on the same operands; only the order of sums over shared keys may differ.
    assert_near("computed again", &lora_values(&again), &lora_values(&kept), 2e-3);
}

#[test]
fn two_adapters_of_different_ranks_take_turns() {
    let Some((card, _guard)) = card() else { return };
    let (cpu, llama) = random_pair(&card, Quantization::Nf4);
    let row = &token_rows(1, 1)[0];
    let mut plan = Plan::new(0);
    plan.push(row.tokens.len(), Vec::new());
    let loras = [
        small_lora(&cpu.config, 4, 8.0, &TargetModule::ALL),
        small_lora(&cpu.config, 24, 8.0, &[TargetModule::VProj, TargetModule::DownProj]),
    ];
    let adapters = loras.each_ref().map(|lora| CudaAdapter::new(&card, &cpu.config, lora).unwrap());
    for turn in [0, 1, 0, 1, 1, 0] {
        let pass = engine::model::llama::Pass {
            tokens: &row.tokens,
            plan: &plan,
            lora: Some(&loras[turn]),
            output_rows: None,
            cache: None,
            dropout: None,
        };
        let expected = matrix_values(&cpu.logits(&pass).unwrap());
        let adapter = Some(&adapters[turn]);
        let pass =
            CudaPass { tokens: &row.tokens, plan: &plan, adapter, output_rows: None, cache: None, dropout: None };
        assert_near(&format!("adapter {turn}"), &llama.logits(&pass).unwrap(), &expected, 1.5 * LOGITS);
    }
}

fn embedded(device: &Device) -> Arc<BaseModel> {
    Arc::new(BaseModel::load(&embedded_base(), Quantization::Nf4, device).unwrap())
}

#[test]
fn scores_are_the_cpus_alone_and_in_a_batch() {
    let Some((_card, _guard)) = card() else { return };
    let (cpu, gpu) = (embedded(&Device::Cpu), embedded(&Device::Cuda(vec![0])));
    let texts =
        ["Profit rose by a third.", "]", "", "The plant in Turku will close , and 240 people lose their jobs ."];
    for labels in [&["positive", "neutral", "negative"][..], &["very good", "very bad indeed", "very", "mixed"][..]] {
        let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        let template = TrainSpec::default().prompt_template;
        let encoder = PromptEncoder::new(
            cpu.tokenizer().clone(),
            &PromptSetup { template: &template, labels: &labels, max_length: 512, use_chat_template: false },
        )
        .unwrap();
        let prompts: Vec<_> = texts.iter().map(|text| encoder.encode(text)).collect();
        let expected = Scorer::new(cpu.network(), None, &encoder).unwrap().log_likelihoods(&prompts).unwrap();
        let scorer = Scorer::new(gpu.network(), None, &encoder).unwrap();
        let together = scorer.log_likelihoods(&prompts).unwrap();
        for ((prompt, together), expected) in prompts.iter().zip(&together).zip(&expected) {
            let alone = scorer.log_likelihoods(std::slice::from_ref(prompt)).unwrap().remove(0);
            assert_near("alone and in a batch", &alone, together, LOGITS);
            assert_near("log-likelihoods", together, expected, LOGITS);
        }
    }
}

#[test]
fn merged_weights_answer_as_unmerged_ones() {
    let Some((card, _guard)) = card() else { return };
    let config = random_config();
    let lora = small_lora(&config, 8, 16.0, &TargetModule::ALL);
    let adapter = CudaAdapter::new(&card, &config, &lora).unwrap();
    let unmerged = random_pair(&card, Quantization::AsStored).1;
    // W + alpha / r · B A, as another model.
    let read = &mut |tensor: &ShapedTensor| {
        let mut values = random_values(tensor);
        if let Wanted::Projection(layer, module) = tensor.wanted {
            let (a, b) = lora.module(layer, module)?.unwrap();
            let (a, b) = (matrix_values(&a), matrix_values(&b));
            for row in 0..tensor.rows {
                for column in 0..tensor.columns {
                    let sum: f32 = (0..8).map(|at| b[row * 8 + at] * a[at * tensor.columns + column]).sum();
                    values[row * tensor.columns + column] += 2.0 * sum;
                }
            }
        }
        Ok(Some(values.into()))
    };
    let merged = CudaLlama::assemble(&card, config, Quantization::AsStored, read).unwrap();
    let row = &token_rows(1, 1)[0];
    let mut plan = Plan::new(0);
    plan.push(row.tokens.len(), Vec::new());
    let logits = |llama: &CudaLlama, adapter| {
        let pass =
            CudaPass { tokens: &row.tokens, plan: &plan, adapter, output_rows: None, cache: None, dropout: None };
        llama.logits(&pass).unwrap()
    };
    // Both are rounded, in different places.
    assert_near("merged", &logits(&merged, None), &logits(&unmerged, Some(&adapter)), 1.5 * LOGITS);
}

fn spec() -> TrainSpec {
    TrainSpec { r: 8, num_train_epochs: 3, per_device_train_batch_size: 6, save_steps: 4, ..TrainSpec::small_base() }
}

/// Trains, stopping after the step `stop_at`; the losses of the steps.
fn run(base: &Arc<BaseModel>, request: &TrainRequest, stop_at: u64) -> (Option<TrainReport>, Vec<f64>, Vec<String>) {
    let (mut losses, mut words) = (Vec::new(), Vec::new());
    let outcome = train(base, request, &mut |event| {
        match &event {
            RunEvent::Step(point) => losses.push(point.loss),
            RunEvent::Log { message, .. } => words.push(message.clone()),
            _ => {}
        }
        match event {
            RunEvent::Step(point) if point.step == stop_at => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })
    .unwrap();
    match outcome {
        TrainOutcome::Finished(report) => (Some(*report), losses, words),
        TrainOutcome::Stopped { .. } => (None, losses, words),
    }
}

#[test]
fn a_run_overlays_the_cpus_and_a_resumed_one_the_whole() {
    let Some((_card, _guard)) = card() else { return };
    let (cpu, gpu) = (embedded(&Device::Cpu), embedded(&Device::Cuda(vec![0])));
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (_, on_cpu, _) = run(&cpu, &train_request(folders[0].path(), spec(), 60), u64::MAX);
    let (report, on_card, _) = run(&gpu, &train_request(folders[1].path(), spec(), 60), u64::MAX);
    assert_eq!(on_cpu.len(), 30);
    let compare = |name: &str, ours: &[f64], theirs: &[f64]| {
        let far = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0f64, f64::max);
        eprintln!("{name}: {far:.1e} nats apart at most; first {:.4}, last {:.4}", ours[0], ours[ours.len() - 1]);
        // Thirty steps of AdamW, whose first updates have the size of the rate whatever the gradient's, spread
        // differences of bf16: a few hundredths of the first loss.
        assert!(far < 0.03 * theirs[0] + 0.03, "{name}: {far}");
    };
    compare("card and CPU", &on_card, &on_cpu);
    assert!(on_card[29] < 0.5 * on_card[0]);

    let partly = train_request(folders[2].path(), spec(), 60);
    let (none, mut parts, _) = run(&gpu, &partly, 13);
    assert!(none.is_none());
    let (resumed, rest, _) = run(&gpu, &partly, u64::MAX);
    parts.extend(rest);
    compare("resumed and whole", &parts, &on_card);
    let (report, resumed) = (report.unwrap(), resumed.unwrap());
    assert_eq!(report.before_predictions.len(), resumed.before_predictions.len());
    assert!((report.after.accuracy - resumed.after.accuracy).abs() < 0.12);
}

#[test]
fn too_little_memory_halves_the_micro_batch_and_says_so() {
    let Some((card, _guard)) = card() else { return };
    let gpu = embedded(&Device::Cuda(vec![0]));
    let directory = tempfile::tempdir().unwrap();
    let spec = TrainSpec { num_train_epochs: 1, per_device_train_batch_size: 60, ..spec() };
    let request = train_request(directory.path(), spec, 60);
    // The first run brings the weights to the card; what the second may take is then counted from there.
    let whole = tempfile::tempdir().unwrap();
    let (_, losses, _) =
        run(&gpu, &TrainRequest { directory: whole.path().to_path_buf(), ..request.clone() }, u64::MAX);
    let little_memory = LittleMemory::of(&card, 14 << 20);
    let (_, little, words) = run(&gpu, &request, u64::MAX);
    drop(little_memory);
    assert!(words.iter().any(|words| words.contains("memory")), "{words:?}");
    for (little, whole) in little.iter().zip(&losses) {
        assert!((little - whole).abs() < 0.01 * whole, "{little} and {whole}");
    }
}

#[test]
fn packed_rows_answer_as_rows_alone() {
    let Some((card, _guard)) = card() else { return };
    let (_, llama) = random_pair(&card, Quantization::Nf4DoubleQuant);
    let rows = token_rows(7, 1);
    let lora = small_lora(&llama.config, 8, 16.0, &TargetModule::ALL);
    let adapter = CudaAdapter::new(&card, &llama.config, &lora).unwrap();
    let batch = PackedBatch::pack(&rows, true);
    let plan = Plan::for_rows(batch.prefix_len, &batch.sequences);
    let logits = |tokens: &[u32], plan: &Plan| {
        let adapter = Some(&adapter);
        llama.logits(&CudaPass { tokens, plan, adapter, output_rows: None, cache: None, dropout: None }).unwrap()
    };
    let packed = logits(&batch.tokens, &plan);
    let vocabulary = llama.config.vocab_size;
    for (row, own) in rows.iter().zip(&batch.sequences) {
        let tokens = &row.tokens[..batch.prefix_len + own.len()];
        let mut plan = Plan::new(0);
        plan.push(tokens.len(), Vec::new());
        let alone = logits(tokens, &plan);
        let span = own.start * vocabulary..own.end * vocabulary;
        assert_near("packed and alone", &packed[span], &alone[batch.prefix_len * vocabulary..], LOGITS);
    }
}

#[test]
fn two_cards_find_the_gradient_of_one() {
    let Some((_card, _guard)) = card() else { return };
    if engine::cuda::cards().unwrap().len() < 2 {
        eprintln!("skipped: there is one card");
        return;
    }
    let load = |cards: &[usize]| {
        Replicas::load(cards, |card| {
            let read = &mut |tensor: &ShapedTensor| Ok(Some(random_values(tensor).into()));
            CudaLlama::assemble(card, random_config(), Quantization::Nf4, read)
        })
        .unwrap()
    };
    let (one, two) = (load(&[0]), load(&[0, 1]));
    let lora = small_lora(&random_config(), 8, 16.0, &TargetModule::ALL);
    let learner = |replicas| {
        let start = Snapshot::start(&random_config(), lora.clone()).unwrap();
        CudaLearner::new(replicas, start, &TrainSpec::default()).unwrap()
    };
    let (mut one, mut two) = (learner(&one), learner(&two));
    // Seven rows: the cards get different numbers of them.
    let rows = token_rows(7, 1);
    let rows: Vec<&TokenRow> = rows.iter().collect();
    for step in 0..3 {
        let (alone, together) = (one.gradient(&rows, 7, None).unwrap(), two.gradient(&rows, 7, None).unwrap());
        assert!((alone.loss - together.loss).abs() < 2e-3 * alone.loss, "step {step}: {alone:?} and {together:?}");
        let gradients = (one.last_gradient().unwrap(), two.last_gradient().unwrap());
        assert_same_gradient("two cards", &gradients.1, &gradients.0, GRADIENT);
        one.update(1.0, 1e-3).unwrap();
        two.update(1.0, 1e-3).unwrap();
        assert!(two.replicas_agree().unwrap(), "every card holds the same adapter");
    }
}
