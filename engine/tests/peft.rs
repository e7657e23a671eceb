//! Adapters in PEFT's format.

mod common;

use common::{assert_close, beside, matrix_values, small_config, tiny_llama};
use domain::spec::{Quantization, TargetModule};
use engine::adapter::Lora;
use engine::adapter::peft::{self, AdapterConfig, AdapterFiles, CONFIG_FILE, LoraWeights, TENSOR_FILE};
use engine::adapter::peft_config::{ModuleConfig, PeftConfig};
use engine::model::Llama;
use engine::model::llama::Pass;
use engine::model::plan::Plan;
use engine::weights::safetensors;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

fn small() -> AdapterFiles {
    let (q, down) = (TargetModule::QProj, TargetModule::DownProj);
    let weights = |in_features: usize, out_features: usize| LoraWeights {
        a: (0..2 * in_features).map(|index| index as f32 * 0.5).collect(),
        b: (0..2 * out_features).map(|index| -(index as f32)).collect(),
        r: 2,
        lora_alpha: 16.0,
        in_features,
        out_features,
    };
    AdapterFiles {
        config: AdapterConfig {
            r: 2,
            lora_alpha: 16.0,
            lora_dropout: 0.05,
            target_modules: vec![q, down],
            base_model_name_or_path: Some("tohum-16m".to_string()),
        },
        tensors: BTreeMap::from([
            ((0, q), weights(3, 4)),
            ((0, down), weights(5, 3)),
            ((11, q), weights(3, 4)),
            ((11, down), weights(5, 3)),
        ]),
    }
}

#[test]
fn an_adapter_of_peft_is_read_and_written_unchanged() {
    let Some(folder) = beside("shared/fixtures/adapter") else { return };
    let files = peft::read(&folder).unwrap();
    assert_eq!((files.config.r, files.config.lora_alpha), (8, 16.0));
    assert_eq!(files.config.target_modules, TargetModule::ALL);
    assert_eq!(files.tensors.len(), 14);
    let down = &files.tensors[&(1, TargetModule::DownProj)];
    assert_eq!((down.in_features, down.out_features, down.a.len(), down.b.len()), (128, 64, 1024, 512));

    let temporary = tempfile::tempdir().unwrap();
    let copy = temporary.path().join("copy");
    peft::write(&copy, &files).unwrap();
    assert_eq!(peft::read(&copy).unwrap(), files);
    // Same names and shapes, and the same values under them.
    let (ours, theirs) = (copy.join(TENSOR_FILE), folder.join(TENSOR_FILE));
    let ours = safetensors::SafetensorsFile::open(&ours).unwrap();
    let theirs = safetensors::SafetensorsFile::open(&theirs).unwrap();
    assert_eq!(ours.names(), theirs.names());
    for name in ours.names() {
        assert_eq!(ours.shape(&name), theirs.shape(&name));
        assert_eq!(ours.tensor_f32(&name).unwrap(), theirs.tensor_f32(&name).unwrap());
    }
    assert_eq!(ours.metadata(), theirs.metadata());
    // Every field that is written says what PEFT's own file says.
    let json = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let (ours, theirs) = (json(copy.join(CONFIG_FILE)), json(folder.join(CONFIG_FILE)));
    for (key, value) in ours.as_object().unwrap() {
        if key != "target_modules" {
            assert_eq!(*value, theirs[key], "{key}");
        }
    }
}

#[test]
fn an_adapter_replaces_another_as_a_whole() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("adapter");
    let mut files = small();
    peft::write(&folder, &files).unwrap();
    files.config.lora_alpha = 0.5;
    files.tensors.values_mut().for_each(|weights| weights.lora_alpha = 0.5);
    peft::write(&folder, &files).unwrap();
    assert_eq!(peft::read(&folder).unwrap(), files);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);

    // Killed between the two renames: the old one stands aside and is still found; the next write clears up.
    std::fs::rename(&folder, temporary.path().join("adapter.previous")).unwrap();
    std::fs::create_dir(temporary.path().join("adapter.partial")).unwrap();
    assert_eq!(peft::read(&folder).unwrap(), files);
    peft::write(&folder, &small()).unwrap();
    assert_eq!(peft::read(&folder).unwrap(), small());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[test]
fn what_would_be_computed_wrongly_is_refused_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("adapter");
    peft::write(&folder, &small()).unwrap();
    let path = folder.join(CONFIG_FILE);
    let good: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value, reason) in [
        ("use_dora", serde_json::json!(true), "use_dora"),
        ("use_rslora", "yes".into(), "use_rslora"),
        ("lora_bias", true.into(), "lora_bias"),
        ("kasa_config", serde_json::json!({ "beta": 1 }), "kasa_config"),
        ("trainable_token_indices", vec![1].into(), "trainable_token_indices"),
        ("bias", "lora_only".into(), "lora_only"),
        ("modules_to_save", vec!["lm_head"].into(), "modules_to_save"),
        ("rank_pattern", serde_json::json!({ "q_proj": 4 }), "by adapter_config.json it is 4"),
        ("rank_pattern", serde_json::json!({ "q_proj": 2.5 }), "rank_pattern"),
        ("rank_pattern", serde_json::json!({ "q_(proj": 2 }), "rank_pattern"),
        ("rank_pattern", 2.into(), "expressions"),
        ("alpha_pattern", serde_json::json!({ "q_proj": -1 }), "alpha_pattern"),
        ("fan_in_fan_out", true.into(), "fan_in_fan_out"),
        ("init_lora_weights", "pissa_niter_4".into(), "pissa"),
        ("init_lora_weights", "loftq".into(), "loftq"),
        ("peft_type", "IA3".into(), "IA3"),
        ("task_type", "SEQ_CLS".into(), "SEQ_CLS"),
        ("target_modules", vec!["q_proj", "lm_head"].into(), "lm_head"),
        ("target_modules", "q_proj".into(), "target_modules"),
        ("target_modules", vec!["q_proj"].into(), "down_proj"),
        ("target_modules", ".*(q_proj|down_proj|lm_head)".into(), "lm_head"),
        ("target_modules", "(?:".into(), "target_modules"),
        ("target_modules", Vec::<String>::new().into(), "target_modules"),
        ("exclude_modules", vec!["layers.11.mlp.down_proj"].into(), "down_proj"),
        ("layers_to_transform", vec![0].into(), "layers.11"),
        ("layers_to_transform", vec!["0"].into(), "layers_to_transform"),
        ("r", 0.into(), "rank"),
        ("r", 3.into(), "rank"),
        ("lora_alpha", "big".into(), "lora_alpha"),
    ] {
        let mut json = good.clone();
        json[key] = value;
        std::fs::write(&path, json.to_string()).unwrap();
        let error = peft::read(&folder).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("adapter_"), "{key}: {error}");
    }
    std::fs::write(&path, "[").unwrap();
    assert!(peft::read(&folder).unwrap_err().to_string().contains("JSON"));
    std::fs::write(&path, good.to_string()).unwrap();

    let name = |rest: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{rest}.weight");
    let embedding = |rest: &str| format!("base_model.model.model.embed_tokens.{rest}");
    let (three, two) = ([0.0f32; 6], [0.0f32; 4]);
    let write = |tensors: &[safetensors::NamedTensor]| {
        safetensors::write(&folder.join(TENSOR_FILE), tensors, HashMap::new()).unwrap();
        peft::read(&folder).err().map(|error| error.to_string())
    };
    let a = (name("lora_A"), vec![2, 3], &three[..]);
    let b = (name("lora_B"), vec![2, 2], &two[..]);
    assert_eq!(write(&[a.clone(), b.clone()]), None);
    for (tensors, reason) in [
        (vec![], "nothing"),
        (vec![a.clone()], "without"),
        (vec![b.clone()], "without"),
        (vec![(name("lora_A"), vec![3, 2], &three[..]), b.clone()], "rank 3"),
        (vec![(name("lora_A"), vec![6], &three[..]), b.clone()], "matrices"),
        (vec![a.clone(), b.clone(), (name("lora_magnitude_vector"), vec![2, 2], &two[..])], "DoRA"),
        (vec![a.clone(), b.clone(), (name("lora_A.default"), vec![2, 3], &three[..])], "second time"),
        (vec![a.clone(), b.clone(), (embedding("lora_embedding_A"), vec![2, 2], &two[..])], "adapted embedding"),
        (
            vec![a.clone(), b.clone(), ("base_model.model.lm_head.lora_A.weight".into(), vec![2, 2], &two[..])],
            "lm_head",
        ),
        (vec![(name("lora_A"), vec![2, 3], &[f32::NAN; 6][..]), b.clone()], "finite"),
    ] {
        let error = write(&tensors).expect(reason);
        assert!(error.contains(reason) && error.contains(TENSOR_FILE), "{reason}: {error}");
    }
}

/// The adapters beside `make.py`, made and computed by PEFT itself.
fn made_by_peft() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters")
}

fn logits(llama: &Llama, lora: Option<&Lora>, tokens: &[u32]) -> Vec<f32> {
    let mut plan = Plan::new(0);
    plan.push(tokens.len(), Vec::new());
    let pass = Pass { tokens, plan: &plan, lora, output_rows: None, cache: None, dropout: None };
    matrix_values(&llama.logits(&pass).unwrap())
}

#[test]
fn every_kind_of_plain_lora_computes_what_peft_computes() {
    let folder = made_by_peft();
    let reference = safetensors::SafetensorsFile::open(&folder.join("logits.safetensors")).unwrap();
    let tokens: Vec<u32> = reference.tensor_i64("tokens").unwrap().iter().map(|token| *token as u32).collect();
    let llama = tiny_llama(&folder.join("base"), Quantization::AsStored);
    assert_close("base", &logits(&llama, None, &tokens), &reference.tensor_f32("base").unwrap(), 1e-5);
    for (name, r, modules) in [
        ("patterns", 4, "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"),
        ("rslora", 3, "q_proj v_proj"),
        ("regex", 2, "q_proj o_proj gate_proj down_proj"),
        ("layers", 2, "q_proj up_proj"),
        ("places", 2, "k_proj gate_proj"),
        ("bf16", 2, "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"),
        ("f16-default", 2, "o_proj"),
    ] {
        let files = peft::read(&folder.join(name)).unwrap();
        let found: Vec<&str> = files.config.target_modules.iter().map(|module| module.as_str()).collect();
        assert_eq!((files.config.r, found.join(" ").as_str()), (r, modules), "{name}");
        let lora = Lora::from_files(&llama.config, &files).unwrap();
        let expected = reference.tensor_f32(name).unwrap();
        assert_close(name, &logits(&llama, Some(&lora), &tokens), &expected, 1e-5);

        // Written again, it has one rank and one scale, and computes the same.
        let temporary = tempfile::tempdir().unwrap();
        let copy = temporary.path().join("copy");
        peft::write(&copy, &lora.to_files("tiny").unwrap()).unwrap();
        let files = peft::read(&copy).unwrap();
        assert!(files.tensors.values().all(|weights| weights.r == r), "{name}");
        let again = Lora::from_files(&llama.config, &files).unwrap();
        assert_eq!(logits(&llama, Some(&again), &tokens), logits(&llama, Some(&lora), &tokens), "{name}");
    }
}

#[test]
fn modules_are_matched_as_peft_matches_them() {
    use TargetModule::{DownProj, GateProj, KProj, OProj, QProj, UpProj};
    let config = |more: &str| {
        let json = format!(r#"{{"peft_type": "LORA", "r": 2, "lora_alpha": 8, {more}}}"#);
        PeftConfig::parse(json.as_bytes())
    };
    let module = |more: &str, layer, module| config(more).unwrap().module(layer, module).unwrap();
    let plain = Some(ModuleConfig { r: 2, lora_alpha: 8.0 });

    // A list names whole keys or their ends from a dot on; an expression, whole keys.
    assert_eq!(module(r#""target_modules": ["q_proj", "nothing.of.a.llama"]"#, 3, QProj), plain);
    assert_eq!(module(r#""target_modules": ["proj"]"#, 3, QProj), None);
    assert_eq!(module(r#""target_modules": ["1.mlp.up_proj"]"#, 1, UpProj), plain);
    assert_eq!(module(r#""target_modules": ["1.mlp.up_proj"]"#, 11, UpProj), None);
    assert_eq!(module(r#""target_modules": "q_proj""#, 0, QProj), None);
    assert_eq!(module(r#""target_modules": ".*q_proj""#, 0, QProj), plain);
    assert_eq!(module(r#""target_modules": ".*self_attn""#, 0, QProj), None);
    assert_eq!(module(r#""target_modules": "ALL-linear", "exclude_modules": ".*mlp.*""#, 0, GateProj), None);

    // The first entry that matches, in the order of the file, and with nothing before the match but what ends in a dot.
    let patterns = r#""target_modules": "all-linear", "rank_pattern": {"o_proj": 5, "k_proj": 6, ".*_proj": 7, "q_proj": 8},
        "alpha_pattern": {"^q_proj": 1, "n_proj": 1, "layers\\.[12]\\..*": 3}"#;
    let ranks = [OProj, KProj, QProj, DownProj].map(|own| module(patterns, 0, own).unwrap().r);
    assert_eq!(ranks, [5, 6, 7, 7]);
    assert_eq!([0, 1, 12].map(|layer| module(patterns, layer, DownProj).unwrap().lora_alpha), [8.0, 3.0, 8.0]);
    assert_eq!(module(patterns, 0, QProj).unwrap().lora_alpha, 8.0);

    let layers = r#""target_modules": ["q_proj"], "layers_to_transform": 2"#;
    assert_eq!([1, 2, 22].map(|layer| module(layers, layer, QProj)), [None, plain, None]);
    let other = r#""target_modules": ["q_proj"], "layers_to_transform": [2], "layers_pattern": ["h", "blocks"]"#;
    assert_eq!(module(other, 2, QProj), None);
    assert!(config(r#""target_modules": "all-linear", "layers_to_transform": [2]"#).is_err());

    // Stabilised: alpha / sqrt(r), here with r = 4.
    let stable = module(r#""target_modules": ["q_proj"], "use_rslora": true, "rank_pattern": {"q_proj": 4}"#, 0, QProj);
    assert_eq!(stable.unwrap().lora_alpha / 4.0, 8.0 / 2.0);
}

#[test]
fn expressions_of_a_stranger_cost_neither_time_nor_memory() {
    let config = |expression: &str| {
        let target = serde_json::json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 8, "target_modules": expression });
        PeftConfig::parse(target.to_string().as_bytes())
    };
    for (expression, reason) in [
        (format!("({}", "(?:".repeat(1000)), "too involved"),
        ("a".repeat(100_000), "too long"),
        (r"\w{1000}".repeat(100), "compiled"),
    ] {
        assert!(config(&expression).unwrap_err().contains(reason), "{reason}");
    }
    let slow = config(r"(?:(?:[\w.](?=.))+)+!").map(|config| config.module(0, TargetModule::QProj));
    assert!(matches!(slow, Err(ref error) | Ok(Err(ref error)) if error.contains("cannot be matched")), "{slow:?}");
}

#[test]
fn what_does_not_fit_the_base_is_refused() {
    let config = small_config();
    let q = |layer: usize, r: usize, in_features: usize| {
        let (out_features, lora_alpha) = (config.query_width(), 8.0);
        let (a, b) = (vec![0.5; r * in_features], vec![0.25; out_features * r]);
        ((layer, TargetModule::QProj), LoraWeights { a, b, r, lora_alpha, in_features, out_features })
    };
    let adapter = |tensors: BTreeMap<_, _>, r| AdapterFiles {
        config: AdapterConfig {
            r,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: vec![TargetModule::QProj],
            base_model_name_or_path: None,
        },
        tensors,
    };
    assert!(Lora::from_files(&config, &adapter(BTreeMap::from([q(2, 4, 24)]), 4)).is_ok());
    for files in [adapter(BTreeMap::from([q(3, 4, 24)]), 4), adapter(BTreeMap::from([q(0, 4, 25)]), 4)] {
        let error = Lora::from_files(&config, &files).err().unwrap().to_string();
        assert!(error.contains("q_proj of layer") && error.contains("another base"), "{error}");
    }
    // One small matrix beside a rank that no memory holds.
    let error = Lora::from_files(&config, &adapter(BTreeMap::from([q(0, 1, 24)]), 1 << 20)).err().unwrap().to_string();
    assert!(error.contains("differ too much"), "{error}");
}
