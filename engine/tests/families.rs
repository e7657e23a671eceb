//! Every supported family against Transformers and PEFT: logits, loss and the gradient of every LoRA matrix, from each
//! way in which a model can be stored. The numbers come from fixtures/families/make.py.

mod common;

use common::{assert_close, beside, fixtures, hf_name, matrix_values, relative_difference};
use domain::spec::Quantization;
use engine::adapter::{Lora, peft};
use engine::base::{ShapedTensor, Wanted, assemble};
use engine::model::config::{Family, RopeScaling};
use engine::model::llama::{Llama, Pass};
use engine::model::plan::Plan;
use engine::model::rope::frequency_factors;
use engine::text::batch::TokenRow;
use engine::train::learner::loss_and_gradient;
use engine::weights::model_files::ModelFiles;
use engine::weights::safetensors::SafetensorsFile;
use std::path::{Path, PathBuf};

const FAMILIES: [(&str, Family); 5] = [
    ("llama", Family::Llama),
    ("llama31", Family::Llama),
    ("mistral", Family::Mistral),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families").join(name)
}

fn load(path: &Path, quantization: Quantization) -> Llama {
    let files = ModelFiles::open(path).unwrap();
    assemble(files.config().clone(), quantization, &mut |tensor: &ShapedTensor| files.tensor(tensor.wanted)).unwrap()
}

fn reference(name: &str) -> (SafetensorsFile, Vec<TokenRow>) {
    let file = SafetensorsFile::open(&folder(name).join("reference.safetensors")).unwrap();
    let tokens = file.tensor_i64("tokens").unwrap();
    let mut rest = tokens.as_slice();
    let mut rows = Vec::new();
    for length in file.tensor_i64("lengths").unwrap() {
        let (row, after) = rest.split_at(length as usize);
        rows.push(TokenRow { tokens: row.iter().map(|id| *id as u32).collect(), loss_from: 1, weight: 1.0 });
        rest = after;
    }
    (file, rows)
}

fn logits(llama: &Llama, lora: Option<&Lora>, rows: &[TokenRow]) -> Vec<f32> {
    let mut plan = Plan::new(0);
    rows.iter().for_each(|row| {
        plan.push(row.tokens.len(), Vec::new());
    });
    let tokens: Vec<u32> = rows.iter().flat_map(|row| row.tokens.clone()).collect();
    let pass = Pass { tokens: &tokens, plan: &plan, lora, output_rows: None, cache: None, dropout: None };
    matrix_values(&llama.logits(&pass).unwrap())
}

#[test]
fn logits_of_every_family_from_both_formats() {
    for (name, family) in FAMILIES {
        let (file, rows) = reference(name);
        let folder = folder(name);
        for path in [folder.clone(), folder.join("model.gguf")] {
            let llama = load(&path, Quantization::AsStored);
            // llama.cpp stores Mistral as Llama: there is nothing by which to tell.
            let expected = if path != folder && family == Family::Mistral { Family::Llama } else { family };
            assert_eq!(llama.config.family, expected);
            assert_close(name, &logits(&llama, None, &rows), &file.tensor_f32("base_logits").unwrap(), 1e-5);
            let lora = Lora::from_files(&llama.config, &peft::read(&folder.join("adapter")).unwrap()).unwrap();
            assert_close(name, &logits(&llama, Some(&lora), &rows), &file.tensor_f32("logits").unwrap(), 1e-5);
        }
    }
}

#[test]
fn gradients_of_every_family() {
    for (name, _) in FAMILIES {
        let (file, rows) = reference(name);
        let llama = load(&folder(name), Quantization::AsStored);
        let lora = Lora::from_files(&llama.config, &peft::read(&folder(name).join("adapter")).unwrap()).unwrap();
        let gradient = lora.zeros_like(&llama.config).unwrap();
        let rows: Vec<&TokenRow> = rows.iter().collect();
        let loss = loss_and_gradient(&llama, &lora, &rows, 2, None, &gradient).unwrap();
        let expected = f64::from(file.tensor_f32("loss").unwrap()[0]);
        assert!((loss - expected).abs() < 1e-5 * expected, "{name}: {loss} and {expected}");
        let ours = gradient.to_files("tiny").unwrap();
        assert_eq!(ours.tensors.len(), 14, "seven linears in two layers");
        for ((layer, module), weights) in &ours.tensors {
            let linear = hf_name(Wanted::Projection(*layer, *module)).replace(".weight", "");
            for (which, values) in [("lora_A", &weights.a), ("lora_B", &weights.b)] {
                let key = format!("base_model.model.{linear}.{which}.weight");
                assert_close(&format!("{name} {key}"), values, &file.tensor_f32(&key).unwrap(), 1e-4);
            }
        }
    }
}

#[test]
fn what_makes_a_family_matters() {
    for (name, change) in [("llama31", "rope_parameters"), ("mistral", "head_dim")] {
        let text = std::fs::read_to_string(folder(name).join("config.json")).unwrap();
        assert!(text.contains(change), "{name} tests {change}");
    }
    // Without its scaling Llama 3.1 would be another model: the test above could not pass by chance.
    let (file, rows) = reference("llama31");
    let mut llama = load(&folder("llama31"), Quantization::AsStored);
    let scaled = llama.config.rope_scaling.take();
    assert!(matches!(scaled, Some(RopeScaling::Llama3 { .. })));
    llama.rope = engine::model::rope::Rope::new(&llama.config);
    let unscaled = logits(&llama, None, &rows);
    assert!(relative_difference(&unscaled, &file.tensor_f32("base_logits").unwrap()) > 1e-2);
    // The two ways of telling the scaling are one.
    let by_formula = frequency_factors(ModelFiles::open(&folder("llama31")).unwrap().config());
    let by_table = frequency_factors(ModelFiles::open(&folder("llama31").join("model.gguf")).unwrap().config());
    assert_close("frequency factors", &by_formula, &by_table, 1e-6);
}

#[test]
fn a_checkpoint_in_nf4_is_loaded_as_it_is() {
    let Some(fixtures) = fixtures() else { return };
    let expected = load(&fixtures.join("tiny-llama"), Quantization::Nf4);
    let doubled = load(&fixtures.join("tiny-llama"), Quantization::Nf4DoubleQuant);
    let rows = [TokenRow { tokens: (0..24).map(|place| place * 19 % 512).collect(), loss_from: 1, weight: 1.0 }];
    for (folder, expected) in [("tiny-llama-nf4", expected), ("tiny-llama-nf4-dq", doubled)] {
        let path = beside("shared/fixtures").unwrap().join(folder);
        let expected = logits(&expected, None, &rows);
        for quantization in [Quantization::AsStored, Quantization::Nf4, Quantization::Nf4DoubleQuant] {
            let found = logits(&load(&path, quantization), None, &rows);
            assert!(relative_difference(&found, &expected) < 1e-6, "{folder} as {quantization:?}");
        }
    }
}

type Change = dyn Fn(&mut serde_json::Value);

#[test]
fn what_is_no_such_model_is_refused_by_name() {
    let original = std::fs::read_to_string(folder("qwen3").join("config.json")).unwrap();
    let original: serde_json::Value = serde_json::from_str(&original).unwrap();
    let refused = |change: &Change| {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(folder("qwen3").join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
        let mut config = original.clone();
        change(&mut config);
        std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        let files = ModelFiles::open(copy.path());
        let error = files.and_then(|files| {
            assemble(files.config().clone(), Quantization::Nf4, &mut |tensor: &ShapedTensor| {
                files.tensor(tensor.wanted)
            })
        });
        error.err().expect("such a model is refused").to_string()
    };
    let cases: [(&Change, &str); 11] = [
        (&|c| c["model_type"] = "gemma3".into(), "supported are the text models of: llama, mistral, qwen2, qwen3"),
        (&|c| c["architectures"] = vec!["LlamaForSequenceClassification"].into(), "LlamaForSequenceClassification"),
        (&|c| c["hidden_act"] = "gelu".into(), "gelu"),
        (&|c| c["rope_scaling"] = serde_json::json!({ "type": "yarn", "factor": 4.0 }), "yarn"),
        (&|c| c["rope_scaling"] = serde_json::json!({ "rope_type": "llama3", "factor": 4.0 }), "low_freq_factor"),
        (&|c| c["quantization_config"] = serde_json::json!({ "quant_method": "gptq" }), "gptq"),
        (&|c| c["mlp_bias"] = true.into(), "mlp_bias"),
        (&|c| c["hidden_size"] = 40.into(), "was expected"),
        (&|c| c["num_hidden_layers"] = 3.into(), "model.layers.2."),
        (&|c| c["num_hidden_layers"] = 1_000_000_000_u64.into(), "num_hidden_layers is 1000000000"),
        (&|c| c["model_type"] = "qwen2".into(), "q_proj.bias"),
    ];
    for (change, words) in cases {
        let error = refused(change);
        assert!(error.contains(words), "{words}: {error}");
    }
}
