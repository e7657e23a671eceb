//! Exports: each form is written, loaded again by the engine's own loader, and answers as the run did.

mod common;

use candle_core::quantized::GgmlDType;
use common::{embedded_base, noise, train_request};
use domain::prediction::Prediction;
use domain::spec::{Quantization, TargetModule, TrainSpec};
use engine::adapter::{Lora, peft};
use engine::base::Wanted;
use engine::classify::ClassifierFile;
use engine::export::gguf_writer::GgufValue;
use engine::export::{
    ExportKind, ExportProgress, ExportRequest, Exported, GgufType, MergeInto, ModelCard, ParityReport, ParityRequest,
    export, gguf_tokenizer, gguf_writer, parity,
};
use engine::text::tokenizer::TextTokenizer;
use engine::train::{TrainOutcome, adapter_directory, train};
use engine::weights::gguf::GgufFile;
use engine::weights::model_files::ModelFiles;
use engine::weights::safetensors::{self, SafetensorsFile};
use engine::{BaseModel, Classifier, Device};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

/// Texts that are scored together.
const BATCH_SIZE: usize = 8;

/// A short run on the embedded base, held in 4 bits, with what it answers.
struct Trained {
    folder: TempDir,
    classifier: ClassifierFile,
    texts: Vec<String>,
    reference: Vec<Prediction>,
}

static TRAINED: LazyLock<Trained> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let spec = TrainSpec { r: 4, num_train_epochs: 3, learning_rate: 3e-3, ..TrainSpec::small_base() };
    let request = train_request(folder.path(), spec, 24);
    let base = Arc::new(BaseModel::load(&embedded_base(), Quantization::Nf4, &Device::Cpu).unwrap());
    let outcome = train(&base, &request, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(matches!(outcome, TrainOutcome::Finished(_)));
    let adapter = adapter_directory(folder.path());
    let texts: Vec<String> = request.test.iter().chain(&request.train).map(|row| row.text.clone()).collect();
    let reference = answers(&Classifier::open(base, &adapter).unwrap(), &texts);
    let classifier = ClassifierFile::read(&adapter).unwrap();
    Trained { folder, classifier, texts, reference }
});

fn answers(classifier: &Classifier, texts: &[String]) -> Vec<Prediction> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    classifier.classify(&texts, BATCH_SIZE, &mut |_, _| ControlFlow::Continue(())).unwrap().unwrap()
}

fn card() -> ModelCard {
    ModelCard { name: "A test".to_string(), base_model: "tohum-16m".to_string(), ..ModelCard::default() }
}

impl Trained {
    fn adapter(&self) -> PathBuf {
        adapter_directory(self.folder.path())
    }

    fn export_as(&self, kind: ExportKind, merge_into: MergeInto, out: &Path) -> Exported {
        let (base, adapter, card) = (embedded_base(), self.adapter(), card());
        let classifier = &self.classifier;
        let request = ExportRequest { base: &base, adapter: &adapter, classifier, kind, merge_into, out, card: &card };
        let mut progress: Vec<ExportProgress> = Vec::new();
        let exported = export(&request, &mut |at| {
            progress.push(at);
            ControlFlow::Continue(())
        });
        let exported = exported.unwrap().unwrap();
        let last = progress.last().unwrap();
        assert_eq!(last.done_bytes, last.total_bytes);
        assert!(progress.is_sorted_by_key(|at| at.done_bytes) && exported.bytes > last.total_bytes);
        assert!(!out.with_added_extension("partial").exists());
        exported
    }

    fn parity_of(&self, kind: ExportKind, exported: &Path) -> ParityReport {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let request = ParityRequest {
            exported,
            kind,
            base: &embedded_base(),
            classifier: &self.classifier,
            device: &Device::Cpu,
            texts: &texts,
            reference: &self.reference,
            batch_size: BATCH_SIZE,
        };
        parity::parity(&request, &mut |_| ControlFlow::Continue(())).unwrap().unwrap()
    }
}

#[test]
fn every_form_answers_as_the_run_did() {
    let trained = &*TRAINED;
    let folder = tempfile::tempdir().unwrap();
    for (kind, largest) in [
        (ExportKind::Adapter, 0.0),
        (ExportKind::Safetensors, 0.01),
        (ExportKind::Gguf(GgufType::F16), 0.002),
        (ExportKind::Gguf(GgufType::Q8_0), 0.02),
        (ExportKind::Gguf(GgufType::Q4K), 0.2),
    ] {
        let out = folder.path().join(kind.as_str());
        trained.export_as(kind, MergeInto::AsTrained, &out);
        let report = trained.parity_of(kind, &out);
        eprintln!("{}: {report:?}", kind.as_str());
        assert_eq!(report.rows as usize, trained.texts.len());
        assert!(report.largest_probability_difference <= largest, "{}: {report:?}", kind.as_str());
        let stored = parity::store(&report, &out).unwrap();
        assert_eq!(serde_json::from_slice::<ParityReport>(&std::fs::read(stored).unwrap()).unwrap(), report);
    }
    // What was trained moves the answers far more than any of these roundings: a merge that forgot it would be seen.
    let base = Arc::new(BaseModel::load(&embedded_base(), Quantization::Nf4, &Device::Cpu).unwrap());
    let untrained = Classifier::base_only(base, &trained.classifier.prompt_setup()).unwrap();
    let moved = answers(&untrained, &trained.texts).iter().zip(&trained.reference).fold(0f32, |most, (one, other)| {
        one.probabilities
            .iter()
            .zip(&other.probabilities)
            .fold(most, |most, (one, other)| most.max((one - other).abs()))
    });
    assert!(moved > 0.3, "{moved}");
}

#[test]
fn merging_into_the_stored_weights_differs_from_merging_into_the_trained_ones() {
    let trained = &*TRAINED;
    let folder = tempfile::tempdir().unwrap();
    let values = |merge_into: MergeInto| {
        let out = folder.path().join(merge_into.as_str());
        trained.export_as(ExportKind::Gguf(GgufType::F16), merge_into, &out);
        let read = |wanted| ModelFiles::open(&out).unwrap().tensor(wanted).unwrap().unwrap().into_f32();
        (read(Wanted::Projection(3, TargetModule::UpProj)), read(Wanted::Embedding))
    };
    let (as_trained, embedding) = values(MergeInto::AsTrained);
    let (as_stored, same_embedding) = values(MergeInto::AsStored);
    assert_eq!(embedding, same_embedding, "the embedding is never held in 4 bits");

    // W' = W + (alpha / r) B A, worked out here on its own.
    let base = ModelFiles::open(&embedded_base()).unwrap();
    let stored = base.tensor(Wanted::Projection(3, TargetModule::UpProj)).unwrap().unwrap().into_f32();
    let lora = Lora::from_files(base.config(), &peft::read(&trained.adapter()).unwrap()).unwrap();
    let (a, b) = lora.module(3, TargetModule::UpProj).unwrap().unwrap();
    let (a, b) = (common::matrix_values(&a), common::matrix_values(&b));
    let (rank, columns) = (lora.r, base.config().hidden_size);
    let scale = (lora.lora_alpha / rank as f64) as f32;
    let largest = stored.iter().fold(0f32, |most, value| most.max(value.abs()));
    let mut rounding = 0f32;
    for place in (0..stored.len()).step_by(97) {
        let (row, column) = (place / columns, place % columns);
        let product: f32 = (0..rank).map(|k| b[row * rank + k] * a[k * columns + column]).sum();
        let merged = stored[place] + scale * product;
        assert!((as_stored[place] - merged).abs() <= 1e-3 * largest, "{place}");
        rounding = rounding.max((as_trained[place] - merged).abs());
    }
    assert!(rounding > 0.01 * largest, "4 bits round by more than that: {rounding}");
}

#[test]
fn an_adapter_is_exported_with_all_that_others_need() {
    let trained = &*TRAINED;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("adapter");
    let exported = trained.export_as(ExportKind::Adapter, MergeInto::AsTrained, &out);
    assert_eq!((exported.path, exported.notes), (out.clone(), Vec::new()));
    for file in ["adapter_model.safetensors", "classifier.json"] {
        let same = [out.join(file), trained.adapter().join(file)].map(|path| std::fs::read(path).unwrap());
        assert!(same[0] == same[1], "{file}");
    }
    let config: Value = serde_json::from_slice(&std::fs::read(out.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!((config["base_model_name_or_path"].as_str(), config["r"].as_u64()), (Some("tohum-16m"), Some(4)));
    assert!(std::fs::read_to_string(out.join("README.md")).unwrap().contains("library_name: peft\n"));
    assert!(out.join("tokenizer.json").is_file());
}

#[test]
fn a_stop_or_an_error_leaves_nothing() {
    let trained = &*TRAINED;
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter, card) = (embedded_base(), trained.adapter(), card());
    let left = || std::fs::read_dir(folder.path()).unwrap().count();
    let mut calls = 0;
    for kind in ExportKind::ALL {
        let out = folder.path().join(kind.as_str());
        let request = ExportRequest {
            base: &base,
            adapter: &adapter,
            classifier: &trained.classifier,
            kind,
            merge_into: MergeInto::AsTrained,
            out: &out,
            card: &card,
        };
        // Behind the first piece of the first tensor.
        let stopped = export(&request, &mut |at| {
            calls += 1;
            if at.done_bytes > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((stopped.unwrap(), left()), (None, 0), "{}", kind.as_str());

        // The place is taken; what stands there stays.
        std::fs::write(&out, "precious").unwrap();
        let refused = export(&request, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        assert_eq!((std::fs::read(&out).unwrap(), left()), (b"precious".to_vec(), 1));
        std::fs::remove_file(&out).unwrap();

        // A killed export's remains do not stand in the way.
        std::fs::create_dir(out.with_added_extension("partial")).unwrap();
        export(&request, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        assert_eq!(left(), 1);
        if out.is_dir() { std::fs::remove_dir_all(&out) } else { std::fs::remove_file(&out) }.unwrap();
    }
    assert!(calls >= 2 * ExportKind::ALL.len());

    // Labels that the model cannot tell apart: nothing could be classified with the export.
    let classifier = ClassifierFile { labels: vec!["up".to_string(); 2], ..trained.classifier.clone() };
    let out = folder.path().join("refused");
    let request = ExportRequest {
        base: &base,
        adapter: &adapter,
        classifier: &classifier,
        kind: ExportKind::Safetensors,
        merge_into: MergeInto::AsTrained,
        out: &out,
        card: &card,
    };
    assert!(export(&request, &mut |_| ControlFlow::Continue(())).is_err());
    assert_eq!(left(), 0);
}

#[test]
fn a_gguf_file_tells_all_that_its_base_told() {
    let trained = &*TRAINED;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.gguf");
    let exported = trained.export_as(ExportKind::Gguf(GgufType::Q4K), MergeInto::AsTrained, &out);
    let (base, file) = (GgufFile::open(&embedded_base()).unwrap(), GgufFile::open(&out).unwrap());
    for key in [
        "general.architecture",
        "llama.vocab_size",
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.rope.freq_base",
        "llama.rope.dimension_count",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token",
    ] {
        assert!(base.metadata(key).is_some() && file.metadata(key) == base.metadata(key), "{key}");
    }
    assert_eq!(file.require_str("general.name").unwrap(), "A test");
    assert!(file.tensor_names().eq(base.tensor_names()));
    for name in file.tensor_names() {
        assert_eq!(file.shape(name), base.shape(name), "{name}");
    }
    // Rows of 384 values hold no block of 256; those of 1,024 do.
    let dtype = |name: &str| file.dtype(name).unwrap();
    assert_eq!(dtype("blk.3.attn_q.weight"), GgmlDType::Q5_0);
    assert_eq!(dtype("blk.0.ffn_down.weight"), GgmlDType::Q6K);
    assert_eq!(dtype("blk.1.ffn_down.weight"), GgmlDType::Q4K);
    assert_eq!(dtype("token_embd.weight"), GgmlDType::Q8_0);
    assert_eq!(dtype("output_norm.weight"), GgmlDType::F32);
    assert!(exported.notes[0].contains("Q5_0") && exported.notes[0].contains("Q4_K_M"), "{:?}", exported.notes);
}

/// Byte-level tokenizers and SentencePiece's: from a GGUF file's metadata they give texts the same tokens as before.
#[test]
fn tokenizers_survive_the_way_through_a_gguf_file() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
    let texts = ["Profit rose by 9 %", " two  spaces ", "ışık 😀 € \u{0}\t\r\n", "", "it'LL 12345/ok", "<s>[INST]</s>"];
    let temporary = tempfile::tempdir().unwrap();
    for name in ["llama-2", "mistral", "byte-level", "sentencepiece"] {
        let tokenizer = TextTokenizer::from_folder(&fixtures.join(name)).unwrap();
        let rows = tokenizer.vocab_size() + 3;
        let mut metadata = gguf_tokenizer::metadata(&tokenizer, rows).unwrap();
        metadata.push(("general.architecture".to_string(), GgufValue::String("llama".to_string())));
        let path = temporary.path().join(name);
        std::fs::write(&path, gguf_writer::header(&metadata, &[])).unwrap();
        let file = GgufFile::open(&path).unwrap();
        assert_eq!(file.metadata_strings("tokenizer.ggml.tokens").unwrap().len(), rows, "{name}");
        let read = TextTokenizer::from_gguf(&file).unwrap();
        assert_eq!((read.bos(), read.eos()), (tokenizer.bos(), tokenizer.eos()), "{name}");
        // Mistral's sets no space before a text that begins with one; llama.cpp always does.
        for text in texts.iter().filter(|text| name != "mistral" || !text.starts_with(' ')) {
            assert_eq!(read.encode(text), tokenizer.encode(text), "{name}: {text:?}");
        }
        let template = |tokenizer: &TextTokenizer| tokenizer.chat_template().map(|it| it.source().to_string());
        assert_eq!(template(&read), template(&tokenizer), "{name}");
    }
}

/// `config.json` of a very small model of a family, its own tokenizer being the embedded base's.
fn family_config(family: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": family, "vocab_size": 8192, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0, "max_position_embeddings": 512, "tie_word_embeddings": false,
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// Writes a model of random weights into a folder, with an adapter on q and down, and gives the adapter's folder.
fn write_family(folder: &Path, config: &Value, wanted: &[(Wanted, Vec<usize>)]) -> PathBuf {
    let values: Vec<Vec<f32>> = wanted
        .iter()
        .enumerate()
        .map(|(seed, (_, shape))| (0..shape.iter().product()).map(|place| noise(seed as u64, place)).collect())
        .collect();
    let tensors: Vec<safetensors::NamedTensor> = wanted
        .iter()
        .zip(&values)
        .map(|((wanted, shape), values)| (common::hf_name(*wanted), shape.clone(), values.as_slice()))
        .collect();
    safetensors::write(&folder.join("model.safetensors"), &tensors, HashMap::new()).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    ModelFiles::open(&embedded_base()).unwrap().tokenizer().unwrap().write_files(folder).unwrap();
    let files = ModelFiles::open(folder).unwrap();
    let lora = common::random_lora(files.config(), 2, 4.0, &[TargetModule::QProj, TargetModule::DownProj]);
    let adapter = folder.join("adapter");
    peft::write(&adapter, &lora.to_files("small").unwrap()).unwrap();
    adapter
}

/// Every tensor of [`family_config`]'s model, without what only some families have.
fn family_tensors() -> Vec<(Wanted, Vec<usize>)> {
    let mut tensors =
        vec![(Wanted::Embedding, vec![8192, 16]), (Wanted::Norm, vec![16]), (Wanted::Head, vec![8192, 16])];
    for layer in 0..2 {
        tensors.push((Wanted::InputNorm(layer), vec![16]));
        tensors.push((Wanted::PostAttentionNorm(layer), vec![16]));
        for (module, shape) in [
            (TargetModule::QProj, [32, 16]),
            (TargetModule::KProj, [16, 16]),
            (TargetModule::VProj, [16, 16]),
            (TargetModule::OProj, [16, 32]),
            (TargetModule::GateProj, [24, 16]),
            (TargetModule::UpProj, [24, 16]),
            (TargetModule::DownProj, [16, 24]),
        ] {
            tensors.push((Wanted::Projection(layer, module), shape.to_vec()));
        }
    }
    tensors
}

fn export_family(folder: &Path, adapter: &Path, kind: ExportKind, name: &str) -> Result<PathBuf, String> {
    let out = folder.join(name);
    let classifier = ClassifierFile {
        labels: vec!["up".to_string(), "down".to_string()],
        quantization: Quantization::AsStored,
        base_model: "small".to_string(),
        ..TRAINED.classifier.clone()
    };
    let card = card();
    let request = ExportRequest {
        base: folder,
        adapter,
        classifier: &classifier,
        kind,
        merge_into: MergeInto::AsTrained,
        out: &out,
        card: &card,
    };
    let exported = export(&request, &mut |_| ControlFlow::Continue(())).map_err(|error| error.to_string())?;
    Ok(exported.unwrap().path)
}

#[test]
fn families_are_written_under_their_names_and_in_their_layouts() {
    let of_layers = |make: &dyn Fn(usize) -> Vec<(Wanted, Vec<usize>)>| {
        family_tensors().into_iter().chain((0..2).flat_map(make)).collect::<Vec<_>>()
    };
    let biases = |layer| {
        [(TargetModule::QProj, 32), (TargetModule::KProj, 16), (TargetModule::VProj, 16)]
            .map(|(module, rows)| (Wanted::Bias(layer, module), vec![rows]))
            .to_vec()
    };
    let head_norms = |layer| vec![(Wanted::QueryNorm(layer), vec![8]), (Wanted::KeyNorm(layer), vec![8])];
    for (family, architecture, permuted, tensors) in [
        ("llama", "llama", true, family_tensors()),
        ("mistral", "llama", true, family_tensors()),
        ("qwen2", "qwen2", false, of_layers(&biases)),
        ("qwen3", "qwen3", false, of_layers(&head_norms)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let adapter = write_family(folder.path(), &family_config(family, json!({})), &tensors);
        let export_as = |kind, name| export_family(folder.path(), &adapter, kind, name).unwrap();
        let merged = export_as(ExportKind::Safetensors, "merged");
        let config: Value = serde_json::from_slice(&std::fs::read(merged.join("config.json")).unwrap()).unwrap();
        assert_eq!((config["model_type"].as_str(), config["rms_norm_eps"].as_f64()), (Some(family), Some(1e-5)));
        let merged = SafetensorsFile::open(&merged.join("model.safetensors")).unwrap();
        let original = SafetensorsFile::open(&folder.path().join("model.safetensors")).unwrap();
        assert_eq!(merged.names(), original.names(), "{family}");

        let file = GgufFile::open(&export_as(ExportKind::Gguf(GgufType::F16), "model.gguf")).unwrap();
        assert_eq!(file.require_str("general.architecture").unwrap(), architecture);
        assert_eq!(file.require_u32(&format!("{architecture}.attention.head_count_kv")).unwrap(), 2);
        assert_eq!(file.tensor_names().count(), tensors.len());
        assert!(file.shape("output.weight").is_some(), "a head of its own");
        // Row 1 of the first head of k is, where pairs stand beside each other, row 4 of the original's eight.
        let values = |name: &str| file.tensor_f32(name).unwrap();
        let (k, v) = (values("blk.0.attn_k.weight"), values("blk.0.attn_v.weight"));
        let stored = |wanted| original.tensor_f32(&common::hf_name(wanted)).unwrap();
        let original_k = stored(Wanted::Projection(0, TargetModule::KProj));
        let row = if permuted { 4 } else { 1 };
        common::assert_close(family, &k[16..32], &original_k[row * 16..][..16], 1e-3);
        common::assert_close(family, &v, &stored(Wanted::Projection(0, TargetModule::VProj)), 1e-3);
        // q and down carry the adapter.
        let original_down = stored(Wanted::Projection(0, TargetModule::DownProj));
        assert!(common::relative_difference(&values("blk.0.ffn_down.weight"), &original_down) > 0.05);
        if family == "qwen2" {
            let bias = stored(Wanted::Bias(1, TargetModule::KProj));
            assert_eq!(values("blk.1.attn_k.bias"), bias, "vectors stay in F32");
        }
        if family == "qwen3" {
            assert_eq!(values("blk.1.attn_q_norm.weight"), stored(Wanted::QueryNorm(1)));
        }
    }
}

/// Expected numbers: 500000^(-i/4) over `_compute_llama3_parameters` of Transformers 5.17 with the same configuration.
#[test]
fn scaled_rotary_positions_are_kept() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    });
    let folder = tempfile::tempdir().unwrap();
    let config = family_config("llama", json!({ "rope_scaling": scaling.clone() }));
    let adapter = write_family(folder.path(), &config, &family_tensors());
    let merged = export_family(folder.path(), &adapter, ExportKind::Safetensors, "merged").unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(merged.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["rope_scaling"], scaling);
    let out = export_family(folder.path(), &adapter, ExportKind::Gguf(GgufType::F16), "model.gguf").unwrap();
    let factors = GgufFile::open(&out).unwrap().tensor_f32("rope_freqs.weight").unwrap();
    common::assert_close("factors", &factors, &EXPECTED_FACTORS, 1e-5);

    // One factor for all is a number of the metadata, not a tensor.
    let folder = tempfile::tempdir().unwrap();
    let config = family_config("llama", json!({ "rope_scaling": { "rope_type": "linear", "factor": 2.0 } }));
    let adapter = write_family(folder.path(), &config, &family_tensors());
    let out = export_family(folder.path(), &adapter, ExportKind::Gguf(GgufType::F16), "model.gguf").unwrap();
    let file = GgufFile::open(&out).unwrap();
    assert_eq!(file.require_str("llama.rope.scaling.type").unwrap(), "linear");
    assert_eq!(file.require_f32("llama.rope.scaling.factor").unwrap(), 2.0);
    assert!(file.shape("rope_freqs.weight").is_none());

    // llama.cpp reads factors for the architecture "llama" only.
    let folder = tempfile::tempdir().unwrap();
    let config = family_config("qwen2", json!({ "rope_scaling": scaling }));
    let biased = (0..2).flat_map(|layer| {
        [(TargetModule::QProj, 32), (TargetModule::KProj, 16), (TargetModule::VProj, 16)]
            .map(|(module, rows)| (Wanted::Bias(layer, module), vec![rows]))
    });
    let tensors: Vec<_> = family_tensors().into_iter().chain(biased).collect();
    let adapter = write_family(folder.path(), &config, &tensors);
    let refused = export_family(folder.path(), &adapter, ExportKind::Gguf(GgufType::F16), "model.gguf").unwrap_err();
    assert!(refused.contains("qwen2") && refused.contains("safetensors"), "{refused}");
}

const EXPECTED_FACTORS: [f32; 4] = [1.0, 3.568_533_7, 8.0, 8.0];
