//! Adapters in PEFT's format.

mod common;

use common::beside;
use domain::spec::TargetModule;
use engine::adapter::peft::{self, AdapterConfig, AdapterFiles, CONFIG_FILE, LoraWeights, TENSOR_FILE};
use engine::weights::safetensors;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

fn small() -> AdapterFiles {
    let (q, down) = (TargetModule::QProj, TargetModule::DownProj);
    let weights = |in_features: usize, out_features: usize| LoraWeights {
        a: (0..2 * in_features).map(|index| index as f32 * 0.5).collect(),
        b: (0..2 * out_features).map(|index| -(index as f32)).collect(),
        r: 2,
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
        ("use_rslora", true.into(), "use_rslora"),
        ("bias", "lora_only".into(), "lora_only"),
        ("modules_to_save", vec!["lm_head"].into(), "modules_to_save"),
        ("rank_pattern", serde_json::json!({ "q_proj": 4 }), "rank_pattern"),
        ("alpha_pattern", serde_json::json!({ "q_proj": 4 }), "alpha_pattern"),
        ("fan_in_fan_out", true.into(), "fan_in_fan_out"),
        ("init_lora_weights", "pissa_niter_4".into(), "pissa"),
        ("peft_type", "IA3".into(), "IA3"),
        ("task_type", "SEQ_CLS".into(), "SEQ_CLS"),
        ("target_modules", vec!["q_proj", "lm_head"].into(), "lm_head"),
        ("target_modules", "q_proj".into(), "target_modules"),
        ("target_modules", vec!["q_proj"].into(), "down_proj"),
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
        (vec![a.clone(), b.clone(), (name("lora_magnitude_vector"), vec![2, 2], &two[..])], "magnitude"),
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
