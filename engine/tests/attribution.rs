//! The gradient at the embeddings against finite differences, and words' weights against what the classifier says.

mod common;

use common::{embedded_base, matrix_values, random_llama, random_lora, train_request};
use domain::attribution::Method;
use domain::prediction::Prediction;
use domain::spec::{Quantization, TargetModule, TrainSpec};
use engine::model::llama::{ActivationBudget, Llama, Pass};
use engine::model::plan::Plan;
use engine::model::table::Table;
use engine::text::batch::LossEntry;
use engine::train::{TrainOutcome, adapter_directory, train};
use engine::{BaseModel, Classifier, Device};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The same model whose embedding of one token has one value changed. Its head is its own.
fn with_embedding(llama: &Llama, token: usize, column: usize, change: f32) -> Llama {
    let Table::F32(table) = &llama.embedding else { panic!("a small table is f32") };
    let mut values = matrix_values(table);
    let width = llama.config.hidden_size;
    values[token * width + column] += change;
    let shape = (llama.config.vocab_size, width);
    let mut other = random_llama(Quantization::AsStored);
    other.embedding = Table::F32(candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap());
    other
}

#[test]
fn the_gradient_at_the_embeddings_agrees_with_finite_differences() {
    let llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 3, 6.0, &TargetModule::ALL);
    // A prompt and two chains behind it, as labels of several tokens have; no token twice.
    let tokens = [3u32, 14, 15, 9, 26, 5, 35, 8, 40];
    let mut plan = Plan::new(0);
    let row = plan.push(5, Vec::new());
    plan.push(2, vec![row.clone()]);
    plan.push(2, vec![row]);
    let target = |row, target, weight| LossEntry { row, target, weight };
    let targets = [target(4, 7, -0.7), target(4, 11, 0.5), target(6, 12, -0.7), target(7, 2, 0.2), target(8, 33, 0.2)];
    for (lora, budget) in [(None, usize::MAX), (Some(&lora), usize::MAX), (Some(&lora), 0)] {
        let pass = Pass { tokens: &tokens, plan: &plan, lora, output_rows: None, cache: None, dropout: None };
        let budget = ActivationBudget(budget);
        let (_, embeddings, gradient) = llama.input_gradient(&pass, &targets, budget).unwrap();
        assert_eq!((embeddings.dims(), gradient.dims()), (&[9, 24][..], &[9, 24][..]));
        let gradient = matrix_values(&gradient);
        let largest = gradient.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(largest > 0.1);
        for (row, column) in [(0, 0), (0, 17), (2, 3), (4, 23), (5, 9), (6, 1), (7, 11), (8, 20)] {
            let step = 5e-3;
            let loss = |change| {
                let changed = with_embedding(&llama, tokens[row] as usize, column, change);
                changed.input_gradient(&pass, &targets, budget).unwrap().0
            };
            let expected = (loss(step) - loss(-step)) / f64::from(2.0 * step);
            let found = f64::from(gradient[row * 24 + column]);
            assert!((found - expected).abs() < 4e-3 * f64::from(largest), "{row} {column}: {found} {expected}");
        }
    }
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn words_weigh_what_their_absence_changes() {
    let base = Arc::new(BaseModel::load(&embedded_base(), Quantization::AsStored, &Device::Cpu).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let spec = TrainSpec { num_train_epochs: 2, r: 4, learning_rate: 2e-3, ..TrainSpec::default() };
    let request = train_request(folder.path(), spec, 24);
    let mut said = Vec::new();
    let outcome = train(&base, &request, &mut |event| {
        said.push(format!("{event:?}"));
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome.unwrap(), TrainOutcome::Finished(_)));
    let adapter = adapter_directory(folder.path());
    // The temperature is that of the best look at the validation rows, and is told.
    let temperature = engine::classify::ClassifierFile::read(&adapter).unwrap().temperature.unwrap();
    assert!((0.05..=20.0).contains(&temperature), "{temperature}");
    assert!(said.iter().any(|event| event.contains(&format!("at a temperature of {temperature:.2}"))));
    assert!(said.iter().any(|event| event.starts_with("ValidationConfusion")));

    let classifier = Classifier::open(base, &adapter).unwrap();
    let text = "  Profit rose sharply\tin the  quarter ";
    let ask = |text: &str, label, method| classifier.attribute(text, label, method, 8, &mut go_on).unwrap().unwrap();
    let classify = |text: &str| -> Prediction {
        classifier.classify(&[text], 8, &mut |_, _| ControlFlow::Continue(())).unwrap().unwrap().remove(0)
    };
    let whole = classify(text);
    for label in [None, Some(0), Some(2)] {
        let wanted = label.unwrap_or(whole.label);
        let occlusion = ask(text, label, Method::Occlusion);
        let joined: String = occlusion.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!((joined.as_str(), occlusion.words.len()), (text, 6));
        assert_eq!(occlusion.label, classifier.labels()[wanted]);
        let p = |answer: &Prediction| f64::from(answer.probabilities[wanted]).ln();
        let expected = p(&whole) - p(&classify("  Profit sharply\tin the  quarter"));
        assert!((occlusion.words[1].weight - expected).abs() < 1e-4, "{occlusion:?} {expected}");

        let gradient = ask(text, label, Method::Gradient);
        assert!(gradient.words.iter().all(|word| word.weight.is_finite()));
        assert!(gradient.words.iter().any(|word| word.weight.abs() > 1e-4), "{gradient:?}");
        assert!((gradient.probability - occlusion.probability).abs() < 1e-5);
    }
    assert!(classifier.attribute(text, Some(9), Method::Gradient, 8, &mut go_on).is_err());
    assert!(ask("", None, Method::Occlusion).words.is_empty());
    assert!(ask(" ", None, Method::Gradient).words.is_empty());
    let long = "profit fell ".repeat(3000);
    let cut = ask(&long, None, Method::Gradient);
    assert!(cut.cut && cut.words.len() <= 120 && cut.words.last().unwrap().weight == 0.0);
    let stopped = classifier.attribute(text, None, Method::Occlusion, 1, &mut || ControlFlow::Break(()));
    assert!(stopped.unwrap().is_none());
}
