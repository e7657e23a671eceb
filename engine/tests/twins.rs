//! The fast way against the slow: hand-written backward against candle's autograd and against finite differences,
//! shared against unshared prefixes, packed against one by one, recomputed against kept activations.

mod common;

use common::{assert_close, matrix_values, noise, random_llama, random_lora, small_config, twin, values};
use domain::spec::{Quantization, TargetModule};
use engine::adapter::Lora;
use engine::adapter::lora::module_shape;
use engine::model::linear::Dropout;
use engine::model::llama::{ActivationBudget, Llama, Pass};
use engine::model::plan::Plan;
use engine::text::batch::{PackedBatch, TokenRow};
use engine::train::learner::loss_and_gradient;

const KEEP_ALL: ActivationBudget = ActivationBudget(usize::MAX);

/// Rows with a common beginning of `shared` tokens and ends of different lengths.
fn rows(shared: usize, lengths: &[usize], completion_only: bool) -> Vec<TokenRow> {
    lengths
        .iter()
        .enumerate()
        .map(|(row, &own)| {
            let token = |place: usize| ((noise(77, place) + 1.0) * 30.0) as u32;
            let mut tokens: Vec<u32> = (0..shared).map(token).collect();
            tokens.extend((0..own).map(|place| token(1000 * (row + 1) + place)));
            let loss_from = if completion_only { tokens.len() - 2 } else { 1 };
            TokenRow { tokens, loss_from, weight: 1.0 }
        })
        .collect()
}

/// Loss and gradient of a batch through the engine's own packing.
fn packed(llama: &Llama, lora: &Lora, rows: &[TokenRow], share: bool, budget: ActivationBudget) -> (f64, Lora) {
    let batch = PackedBatch::pack(rows, share);
    let plan = Plan::for_rows(batch.prefix_len, &batch.sequences);
    let gradient = lora.zeros_like(&llama.config).unwrap();
    let scale = 1.0 / batch.loss_tokens();
    let pass =
        Pass { tokens: &batch.tokens, plan: &plan, lora: Some(lora), output_rows: None, cache: None, dropout: None };
    let total = llama.loss_and_gradient(&pass, &batch.losses, scale, &gradient, budget).unwrap();
    (total * f64::from(scale), gradient)
}

fn assert_same(name: &str, (loss, gradient): &(f64, Lora), (other_loss, other): &(f64, Lora), tolerance: f32) {
    assert!((loss - other_loss).abs() <= f64::from(tolerance) * other_loss.abs(), "{name}: {loss} and {other_loss}");
    for (index, (a, b)) in gradient.tensors().into_iter().zip(other.tensors()).enumerate() {
        assert_close(&format!("{name}, matrix {index}"), &matrix_values(a), &matrix_values(b), tolerance);
    }
}

#[test]
fn hand_written_backward_equals_autograd() {
    let llama = random_llama(Quantization::AsStored);
    for (modules, completion_only) in [
        (&TargetModule::ALL[..], true),
        (&TargetModule::ALL[..], false),
        (&[TargetModule::QProj, TargetModule::VProj][..], true),
        (&[TargetModule::KProj, TargetModule::UpProj, TargetModule::DownProj][..], false),
        (&[TargetModule::OProj][..], true),
    ] {
        let lora = random_lora(&llama.config, 4, 8.0, modules);
        let rows = rows(5, &[6, 3, 9], completion_only);
        let (loss, gradient) = packed(&llama, &lora, &rows, true, KEEP_ALL);
        let twin_lora = twin::TwinLora::of(&lora);
        let (twin_loss, twin_gradients) = twin::gradients(&llama, &twin_lora, &rows);
        assert!((loss - f64::from(twin_loss)).abs() < 1e-5 * loss, "{loss} and {twin_loss}");
        let mut compared = 0;
        for ((layer, module), (a, b)) in &twin_lora.variables {
            let (ours_a, ours_b) = gradient.module(*layer, *module).unwrap().unwrap();
            for (name, ours, theirs) in [("A", ours_a, a), ("B", ours_b, b)] {
                let theirs = twin_gradients.get(theirs.as_tensor()).expect("autograd reaches every LoRA matrix");
                let name = format!("layer {layer} {module:?} {name}");
                assert_close(&name, &matrix_values(&ours), &values(theirs), 2e-4);
                compared += 1;
            }
        }
        assert_eq!(compared, llama.config.num_hidden_layers * modules.len() * 2);
    }
}

/// Rows of different weights, through the engine's packing and one row at a time, against autograd.
#[test]
fn the_backward_of_a_weighted_loss_equals_autograd() {
    let llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 4, 8.0, &TargetModule::ALL);
    for completion_only in [true, false] {
        let mut rows = rows(5, &[6, 3, 9], completion_only);
        for (row, weight) in rows.iter_mut().zip([0.25, 3.0, 1.5]) {
            row.weight = weight;
        }
        let twin_lora = twin::TwinLora::of(&lora);
        let (twin_loss, twin_gradients) = twin::gradients(&llama, &twin_lora, &rows);
        let references: Vec<&TokenRow> = rows.iter().collect();
        for micro_batch in [3, 1] {
            let gradient = lora.zeros_like(&llama.config).unwrap();
            let loss = loss_and_gradient(&llama, &lora, &references, micro_batch, None, &gradient).unwrap();
            assert!((loss - f64::from(twin_loss)).abs() < 1e-5 * loss, "{loss} and {twin_loss}");
            for ((layer, module), (a, b)) in &twin_lora.variables {
                let (ours_a, ours_b) = gradient.module(*layer, *module).unwrap().unwrap();
                for (name, ours, theirs) in [("A", ours_a, a), ("B", ours_b, b)] {
                    let theirs = twin_gradients.get(theirs.as_tensor()).expect("autograd reaches every LoRA matrix");
                    let name = format!("layer {layer} {module:?} {name}");
                    assert_close(&name, &matrix_values(&ours), &values(theirs), 2e-4);
                }
            }
        }
    }
}

/// The mean is weighted: a row of weight 2 is the row twice, and weights that are all the same change nothing.
#[test]
fn a_row_of_weight_two_is_the_row_twice() {
    let llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 4, 8.0, &TargetModule::ALL);
    for completion_only in [true, false] {
        let of = |rows: &[TokenRow]| {
            let gradient = lora.zeros_like(&llama.config).unwrap();
            let rows: Vec<&TokenRow> = rows.iter().collect();
            let loss = loss_and_gradient(&llama, &lora, &rows, 4, None, &gradient).unwrap();
            (loss, gradient)
        };
        let plain = rows(5, &[6, 3, 9], completion_only);
        let mut twice = plain.clone();
        twice.push(plain[1].clone());
        let mut heavy = plain.clone();
        heavy[1].weight = 2.0;
        assert_same("heavy and twice", &of(&heavy), &of(&twice), 1e-4);

        // A power of two scales without rounding.
        let mut all_heavy = plain.clone();
        all_heavy.iter_mut().for_each(|row| row.weight = 4.0);
        assert_same("all alike", &of(&all_heavy), &of(&plain), 1e-6);
        assert_ne!(of(&heavy).0, of(&plain).0);
    }
}

#[test]
fn hand_written_backward_equals_finite_differences() {
    let llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 3, 6.0, &TargetModule::ALL);
    let rows = rows(4, &[5, 7], false);
    let (_, gradient) = packed(&llama, &lora, &rows, true, KEEP_ALL);
    let step = 4e-3f32;
    for (index, (parameter, gradient)) in lora.tensors().into_iter().zip(gradient.tensors()).enumerate() {
        let gradient = matrix_values(gradient);
        // The element with the largest gradient: the one a difference quotient resolves best in f32.
        let place = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
        let shifted = |by: f32| {
            engine::kernels::edit(parameter, |values, _| values[place] += by).unwrap();
            let loss = packed(&llama, &lora, &rows, true, KEEP_ALL).0;
            engine::kernels::edit(parameter, |values, _| values[place] -= by).unwrap();
            loss
        };
        let quotient = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
        let difference = (quotient - f64::from(gradient[place])).abs();
        assert!(
            difference < 0.02 * quotient.abs() + 2e-4,
            "matrix {index} at {place}: {quotient} by differences, {} by backward",
            gradient[place]
        );
    }
}

#[test]
fn a_shared_prefix_changes_nothing() {
    let llama = random_llama(Quantization::Nf4);
    let lora = random_lora(&llama.config, 4, 8.0, &TargetModule::ALL);
    for completion_only in [true, false] {
        // Two equal rows and one that ends inside another: the hard cases of sharing.
        let mut rows = rows(7, &[4, 8, 3, 5], completion_only);
        rows.push(rows[1].clone());
        let shared = packed(&llama, &lora, &rows, true, KEEP_ALL);
        let unshared = packed(&llama, &lora, &rows, false, KEEP_ALL);
        assert_same("shared and unshared", &shared, &unshared, 1e-4);
    }
}

#[test]
fn packed_rows_equal_rows_one_by_one() {
    let llama = random_llama(Quantization::Nf4);
    let lora = random_lora(&llama.config, 4, 8.0, &TargetModule::ALL);
    for completion_only in [true, false] {
        let rows = rows(3, &[4, 9, 2, 6], completion_only);
        let rows: Vec<&TokenRow> = rows.iter().collect();
        let of = |micro_batch| {
            let gradient = lora.zeros_like(&llama.config).unwrap();
            let loss = loss_and_gradient(&llama, &lora, &rows, micro_batch, None, &gradient).unwrap();
            (loss, gradient)
        };
        let together = of(4);
        assert_same("one by one", &of(1), &together, 1e-4);
        assert_same("in threes", &of(3), &together, 1e-4);
    }
}

#[test]
fn recomputed_activations_equal_kept_ones_bit_for_bit() {
    let llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 4, 8.0, &TargetModule::ALL);
    let rows = rows(5, &[6, 3], true);
    let kept = packed(&llama, &lora, &rows, true, KEEP_ALL);
    let recomputed = packed(&llama, &lora, &rows, true, ActivationBudget(0));
    assert_same("recomputed", &recomputed, &kept, 0.0);
}

#[test]
fn dropout_drops_its_share_and_its_backward_matches_finite_differences() {
    let llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 3, 6.0, &TargetModule::ALL);
    let rows = rows(4, &[5, 7], true);
    let references: Vec<&TokenRow> = rows.iter().collect();
    let dropout = Some(Dropout { probability: 0.3, seed: 5 });
    let of = |dropout| {
        let gradient = lora.zeros_like(&llama.config).unwrap();
        let loss = loss_and_gradient(&llama, &lora, &references, 2, dropout, &gradient).unwrap();
        (loss, gradient)
    };
    let (loss, gradient) = of(dropout);
    assert_ne!(loss, of(None).0);
    assert_ne!(loss, of(Some(Dropout { probability: 0.3, seed: 6 })).0);
    assert_same("the same seed", &of(dropout), &(loss, gradient.clone()), 0.0);
    let step = 4e-3f32;
    for (parameter, gradient) in lora.tensors().into_iter().zip(gradient.tensors()) {
        let gradient = matrix_values(gradient);
        let place = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
        let shifted = |by: f32| {
            engine::kernels::edit(parameter, |values, _| values[place] += by).unwrap();
            let loss = of(dropout).0;
            engine::kernels::edit(parameter, |values, _| values[place] -= by).unwrap();
            loss
        };
        let quotient = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
        let difference = (quotient - f64::from(gradient[place])).abs();
        assert!(difference < 0.02 * quotient.abs() + 2e-4, "{quotient} and {}", gradient[place]);
    }
}

#[test]
fn weights_dequantised_at_every_use_equal_weights_kept_expanded() {
    use engine::model::linear::FrozenWeight;
    use engine::weights::nf4::Nf4;
    let mut llama = random_llama(Quantization::AsStored);
    let lora = random_lora(&llama.config, 4, 8.0, &TargetModule::ALL);
    let rows = rows(5, &[6, 3, 9], false);
    let config = small_config();
    let expanded = random_llama(Quantization::Nf4);
    for layer in &mut llama.layers {
        for group in &mut layer.groups {
            let FrozenWeight::Expanded(weight) = &group.weight else { panic!("as stored is expanded") };
            let codes = group
                .parts
                .iter()
                .map(|(module, rows)| {
                    let (out, input) = module_shape(&config, *module);
                    let part = weight.narrow(0, rows.start, rows.len()).unwrap().copy().unwrap();
                    Nf4::quantize(&matrix_values(&part), out, input, false)
                })
                .collect();
            group.weight = FrozenWeight::Nf4(codes);
            group.panels = None;
        }
    }
    let at_every_use = packed(&llama, &lora, &rows, true, KEEP_ALL);
    assert_same("dequantised at every use", &at_every_use, &packed(&expanded, &lora, &rows, true, KEEP_ALL), 0.0);
}

#[test]
fn tokens_outside_the_vocabulary_or_the_context_are_errors() {
    let llama = random_llama(Quantization::AsStored);
    let run = |tokens: Vec<u32>| {
        let mut plan = Plan::new(0);
        plan.push(tokens.len(), Vec::new());
        let pass = Pass { tokens: &tokens, plan: &plan, lora: None, output_rows: None, cache: None, dropout: None };
        llama.hidden(&pass).map(|_| ())
    };
    assert!(run(vec![1, 2, 3]).is_ok());
    assert!(run(vec![1, 61]).unwrap_err().to_string().contains("61"));
    assert!(run(vec![1; 65]).unwrap_err().to_string().contains("context"));
}
