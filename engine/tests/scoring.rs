//! One scoring path: a batch answers as its rows would alone, a cached prefix as none, labels of several tokens as the
//! plain model would score them, and merged weights as unmerged ones.

mod common;

use common::{assert_close, embedded_base, random_lora};
use domain::spec::{Quantization, TargetModule, TrainSpec};
use domain::template::PromptTemplate;
use engine::adapter::Lora;
use engine::classify::{ClassifierFile, Part, Scorer, predict_together};
use engine::kernels::{Accumulate, gemm};
use engine::model::linear::FrozenWeight;
use engine::model::plan::Plan;
use engine::network::{Adapter, NetworkPass};
use engine::text::template::{EncodedPrompt, PromptEncoder, PromptSetup};
use engine::{BaseModel, Classifier};
use std::ops::ControlFlow;
use std::sync::Arc;

const TEXTS: [&str; 5] = [
    "Profit rose by a third and the dividend is doubled.",
    "]",
    "",
    "The plant in Turku will close in March , and 240 people lose their jobs .",
    "$ACME to hold its annual meeting on 4 May",
];

fn base() -> Arc<BaseModel> {
    Arc::new(BaseModel::load(&embedded_base(), Quantization::Nf4, &engine::Device::Cpu).unwrap())
}

fn encoder(base: &BaseModel, labels: &[&str]) -> PromptEncoder {
    let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
    let template = PromptTemplate::default();
    let setup = PromptSetup { template: &template, labels: &labels, max_length: 512, use_chat_template: false };
    PromptEncoder::new(base.tokenizer().clone(), &setup).unwrap()
}

fn small_lora(base: &BaseModel) -> Lora {
    let lora = random_lora(base.network().config(), 4, 1.0, &TargetModule::ALL);
    for tensor in lora.tensors() {
        engine::kernels::edit(tensor, |values, _| values.iter_mut().for_each(|value| *value *= 0.2)).unwrap();
    }
    lora
}

fn small_adapter(base: &BaseModel) -> Adapter {
    base.network().place(&small_lora(base)).unwrap()
}

#[test]
fn a_batch_answers_as_its_rows_alone() {
    let base = base();
    let adapter = small_adapter(&base);
    for labels in [&["positive", "neutral", "negative"][..], &["very good", "very bad indeed", "very", "mixed"][..]] {
        let encoder = encoder(&base, labels);
        let prompts: Vec<EncodedPrompt> = TEXTS.iter().map(|text| encoder.encode(text)).collect();
        let scorer = Scorer::new(base.network(), Some(&adapter), &encoder).unwrap();
        let together = scorer.log_likelihoods(&prompts).unwrap();
        let in_twos = Scorer::new(base.network(), Some(&adapter), &encoder).unwrap().at_most(2);
        for (in_twos, together) in in_twos.log_likelihoods_as_they_fit(&prompts).unwrap().iter().zip(&together) {
            assert_close("two at a time and in a batch", in_twos, together, 1e-5);
        }
        for (prompt, together) in prompts.iter().zip(together) {
            let alone = scorer.log_likelihoods(std::slice::from_ref(prompt)).unwrap().remove(0);
            assert_close("alone and in a batch", &alone, &together, 1e-5);
        }
    }
}

#[test]
fn labels_score_as_the_whole_sequence_does_in_the_plain_model() {
    let base = base();
    let adapter = small_adapter(&base);
    let network = base.network();
    // One label is the beginning of another, so all of them end in the end-of-text token.
    let encoder = encoder(&base, &["very good", "very bad indeed", "very", "mixed"]);
    assert!(encoder.terminated());
    let prompts: Vec<EncodedPrompt> = TEXTS.iter().map(|text| encoder.encode(text)).collect();
    let scores = Scorer::new(network, Some(&adapter), &encoder).unwrap().log_likelihoods(&prompts).unwrap();
    for (prompt, scores) in prompts.iter().zip(scores) {
        let expected: Vec<f32> = encoder
            .labels()
            .iter()
            .map(|label| {
                let tokens: Vec<u32> = prompt.tokens.iter().chain(label).copied().collect();
                let mut plan = Plan::new(0);
                plan.push(tokens.len(), Vec::new());
                let pass = NetworkPass {
                    tokens: &tokens,
                    plan: &plan,
                    adapter: Some(&adapter),
                    output_rows: None,
                    cache: None,
                };
                let logits = network.logits(&pass).unwrap();
                let vocabulary = network.config().vocab_size;
                (prompt.tokens.len()..tokens.len())
                    .map(|at| {
                        let row = &logits[(at - 1) * vocabulary..at * vocabulary];
                        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        let total: f64 = row.iter().map(|value| f64::from(value - largest).exp()).sum();
                        row[tokens[at] as usize] - largest - total.ln() as f32
                    })
                    .sum()
            })
            .collect();
        assert_close("log-likelihoods", &scores, &expected, 1e-4);
    }
}

/// Opens what a run would have left: an adapter of random values, its labels and template beside it.
fn opened(base: &Arc<BaseModel>, seed: f32, labels: &[&str], template: &str) -> Classifier {
    let lora = small_lora(base);
    for tensor in lora.tensors() {
        engine::kernels::edit(tensor, |values, _| values.iter_mut().for_each(|value| *value *= seed)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    engine::adapter::peft::write(folder.path(), &lora.to_files("base").unwrap()).unwrap();
    let file = ClassifierFile {
        labels: labels.iter().map(|label| label.to_string()).collect(),
        prompt_template: PromptTemplate::parse(template).unwrap(),
        max_length: 512,
        quantization: Quantization::Nf4,
        base_model: "base".to_string(),
        use_chat_template: false,
        temperature: None,
    };
    Classifier::open_as(base.clone(), folder.path(), file).unwrap()
}

#[test]
fn classifiers_that_share_a_pass_answer_as_alone() {
    let base = base();
    let setup = ["good", "bad"].map(String::from);
    let template = PromptTemplate::default();
    let setup = PromptSetup { template: &template, labels: &setup, max_length: 512, use_chat_template: false };
    let classifiers = [
        opened(&base, 1.0, &["positive", "neutral", "negative"], PromptTemplate::default().as_str()),
        opened(&base, -1.5, &["very good", "very bad indeed", "very", "mixed"], "Say how this is: {text} It is"),
        // Nothing before the text, so that nothing is shared.
        opened(&base, 0.5, &["up", "down"], "{text} ="),
        Classifier::base_only(base.clone(), &setup).unwrap(),
    ];
    let prompts: Vec<Vec<EncodedPrompt>> =
        classifiers.iter().map(|classifier| TEXTS.iter().map(|text| classifier.encode(text)).collect()).collect();
    // All of them, in two orders, and with shares of different sizes.
    for order in [[0, 1, 2, 3], [3, 2, 0, 1]] {
        let parts: Vec<Part> = order
            .iter()
            .map(|&which| Part { classifier: &classifiers[which], prompts: &prompts[which][..5 - which] })
            .collect();
        let together = predict_together(&parts).unwrap();
        for (&which, together) in order.iter().zip(together) {
            let texts = &TEXTS[..5 - which];
            let alone = classifiers[which].classify(texts, 2, &mut |_, _| ControlFlow::Continue(())).unwrap().unwrap();
            assert_eq!(together.len(), alone.len());
            for (together, alone) in together.iter().zip(&alone) {
                assert_close("together and alone", &together.probabilities, &alone.probabilities, 1e-5);
            }
        }
    }
    // Another copy of the base is another base, however alike.
    let other = Classifier::base_only(self::base(), &setup).unwrap();
    let parts =
        [Part { classifier: &classifiers[0], prompts: &prompts[0] }, Part { classifier: &other, prompts: &prompts[3] }];
    assert!(predict_together(&parts).is_err());
}

#[test]
fn merged_weights_answer_as_unmerged_ones() {
    let base = base();
    let lora = small_lora(&base);
    let encoder = encoder(&base, &["positive", "neutral", "negative"]);
    let prompts: Vec<EncodedPrompt> = TEXTS.iter().map(|text| encoder.encode(text)).collect();
    let adapter = base.network().place(&lora).unwrap();
    let unmerged = Scorer::new(base.network(), Some(&adapter), &encoder).unwrap().log_likelihoods(&prompts).unwrap();

    // W + alpha / r · B A, in a base of its own.
    let mut merged = self::base();
    let llama = Arc::get_mut(&mut merged).unwrap().cpu_llama_mut().unwrap();
    for (index, layer) in llama.layers.iter_mut().enumerate() {
        for group in &mut layer.groups {
            let FrozenWeight::Expanded(weight) = &group.weight else { panic!("a small base is kept expanded") };
            for (module, rows) in &group.parts {
                let (a, b) = lora.module(index, *module).unwrap().unwrap();
                let rows = weight.narrow(0, rows.start, rows.len()).unwrap();
                let scale = (lora.lora_alpha / lora.r as f64) as f32;
                gemm(&rows, &b, &a, scale, Accumulate::Add).unwrap();
            }
            // They hold the weights as they were.
            group.panels = None;
        }
    }
    let merged = Scorer::new(merged.network(), None, &encoder).unwrap().log_likelihoods(&prompts).unwrap();
    for (merged, unmerged) in merged.iter().zip(&unmerged) {
        assert_close("merged and unmerged", merged, unmerged, 1e-4);
    }
}

#[test]
fn probabilities_sum_to_one_and_a_long_text_is_cut_at_the_text_alone() {
    let base = base();
    let spec = TrainSpec::default();
    let labels = ["positive", "neutral", "negative"].map(String::from);
    let template = &spec.prompt_template;
    let setup = PromptSetup { template, labels: &labels, max_length: 512, use_chat_template: false };
    let classifier = Classifier::base_only(base, &setup).unwrap();
    let long = "profit ".repeat(5000);
    let texts = [TEXTS[0], long.as_str()];
    let mut seen = 0;
    let predictions = classifier
        .classify(&texts, 1, &mut |done, new| {
            seen += new.len();
            assert_eq!(done, seen);
            ControlFlow::Continue(())
        })
        .unwrap()
        .unwrap();
    assert_eq!((seen, predictions.len()), (2, 2));
    assert_eq!([predictions[0].cut, predictions[1].cut], [false, true]);
    for prediction in &predictions {
        assert!((prediction.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert!(classifier.classify(&texts, 1, &mut |_, _| ControlFlow::Break(())).unwrap().is_none());
}

#[test]
fn the_base_knows_english() {
    // The mean surprise per token of plain sentences: a wrong order of heads or rows in the file would put it near
    // ln 8192 = 9.0.
    let base = base();
    let text = "The Federal Reserve raised interest rates in March, and the price of oil fell by three percent.";
    let tokens: Vec<u32> = base.tokenizer().bos().into_iter().chain(base.tokenizer().encode(text)).collect();
    let mut plan = Plan::new(0);
    plan.push(tokens.len(), Vec::new());
    let pass = NetworkPass { tokens: &tokens, plan: &plan, adapter: None, output_rows: None, cache: None };
    let logits = base.network().logits(&pass).unwrap();
    let vocabulary = base.network().config().vocab_size;
    let surprise: f64 = (1..tokens.len())
        .map(|at| {
            let row = &logits[(at - 1) * vocabulary..at * vocabulary];
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = row.iter().map(|value| f64::from(value - largest).exp()).sum();
            f64::from(largest - row[tokens[at] as usize]) + total.ln()
        })
        .sum::<f64>()
        / (tokens.len() - 1) as f64;
    assert!(surprise < 4.5, "{surprise} nats per token");
}
