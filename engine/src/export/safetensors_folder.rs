//! A merged model as Transformers stores it: bf16 safetensors in shards, configuration, tokenizer and a card.
//!
//! A safetensors file is the length of its header as u64, little-endian, the header as JSON, and the tensors' bytes
//! (<https://github.com/huggingface/safetensors#format>). All sizes follow from the shapes, so the header comes first
//! and the tensors follow one by one.

use crate::error::EngineError;
use crate::export::aside::{Halt, Meter, TensorFile};
use crate::export::card::CARD_FILE;
use crate::export::hf_config::{config_json, generation_config_json};
use crate::export::merge::{ModelTensor, tensors_of};
use crate::export::request::Source;
use crate::weights::hf::tensor_name;
use crate::weights::safetensors::write_atomic;
use domain::spec::Quantization;
use half::bf16;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A file is begun anew before it would be longer than this; no tensor is cut.
pub(super) const SHARD_BYTES: u64 = 4 << 30;

/// The header is padded to a multiple of this, so that the tensors behind it are aligned.
const HEADER_ALIGNMENT: usize = 8;
/// Values that one thread rounds at a time.
const VALUES_PER_PIECE: usize = 64 * 1024;

pub(super) fn write(source: &Source, folder: &Path, shard_bytes: u64, meter: &mut Meter) -> Result<Vec<String>, Halt> {
    let config = source.model.files.config();
    let json = config_json(config, &source.tokenizer)?;
    std::fs::create_dir(folder).map_err(|source| EngineError::io(folder, source))?;
    let shards = into_shards(tensors_of(config), shard_bytes);
    let total_bytes = shards.iter().flatten().map(stored_bytes).sum();
    meter.expect(total_bytes)?;
    let mut weight_map = Map::new();
    for (index, tensors) in shards.iter().enumerate() {
        let name = file_name(index, shards.len());
        write_shard(source, &folder.join(&name), tensors, meter)?;
        weight_map.extend(tensors.iter().map(|tensor| (tensor_name(tensor.wanted), Value::from(name.as_str()))));
    }
    if shards.len() > 1 {
        let index = json!({ "metadata": { "total_size": total_bytes }, "weight_map": weight_map });
        write_json(&folder.join("model.safetensors.index.json"), &index)?;
    }
    write_json(&folder.join("config.json"), &json)?;
    write_json(&folder.join("generation_config.json"), &generation_config_json(&source.tokenizer))?;
    source.tokenizer.write_files(folder)?;
    // What is in the folder needs no 4-bit rounding to be itself.
    let mut classifier = source.request.classifier.clone();
    classifier.quantization = Quantization::AsStored;
    classifier.write(folder)?;
    let card = source.request.card.render(source.request.kind, &source.usage);
    write_atomic(&folder.join(CARD_FILE), card.as_bytes())?;
    Ok(Vec::new())
}

/// One after the other into files of at most `shard_bytes`; a tensor that is longer has one for itself.
fn into_shards(tensors: Vec<ModelTensor>, shard_bytes: u64) -> Vec<Vec<ModelTensor>> {
    let mut shards: Vec<Vec<ModelTensor>> = Vec::new();
    let mut room = 0;
    for tensor in tensors {
        let bytes = stored_bytes(&tensor);
        match shards.last_mut() {
            Some(shard) if bytes <= room => {
                room -= bytes;
                shard.push(tensor);
            }
            _ => {
                room = shard_bytes.saturating_sub(bytes);
                shards.push(vec![tensor]);
            }
        }
    }
    shards
}

/// As Transformers names them.
fn file_name(index: usize, count: usize) -> String {
    if count == 1 {
        return "model.safetensors".to_string();
    }
    format!("model-{:05}-of-{count:05}.safetensors", index + 1)
}

fn stored_bytes(tensor: &ModelTensor) -> u64 {
    (tensor.elements() * size_of::<bf16>()) as u64
}

fn write_shard(source: &Source, path: &Path, tensors: &[ModelTensor], meter: &mut Meter) -> Result<(), Halt> {
    let mut file = TensorFile::create(path, meter)?;
    file.write(&header(tensors))?;
    for tensor in tensors {
        file.write_counted(&rounded(&source.model.values(tensor.wanted)?))?;
    }
    Ok(file.close()?)
}

fn header(tensors: &[ModelTensor]) -> Vec<u8> {
    let mut entries = Map::from_iter([("__metadata__".to_string(), json!({ "format": "pt" }))]);
    let mut start = 0;
    for tensor in tensors {
        let end = start + stored_bytes(tensor);
        let entry = json!({ "dtype": "BF16", "shape": tensor.shape, "data_offsets": [start, end] });
        entries.insert(tensor_name(tensor.wanted), entry);
        start = end;
    }
    let mut text = Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}

/// To the nearest bf16, halves to even.
fn rounded(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(values) / 2];
    bytes.par_chunks_mut(2 * VALUES_PER_PIECE).zip(values.par_chunks(VALUES_PER_PIECE)).for_each(|(bytes, values)| {
        for (bytes, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *bytes = bf16::from_f32(*value).to_le_bytes();
        }
    });
    bytes
}

fn write_json(path: &Path, value: &Value) -> Result<(), EngineError> {
    write_atomic(path, format!("{value:#}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::lora::Lora;
    use crate::base::Wanted;
    use crate::classify::ClassifierFile;
    use crate::export::card::{ModelCard, Usage};
    use crate::export::merge::MergedModel;
    use crate::export::request::ExportRequest;
    use crate::weights::model_files::ModelFiles;
    use domain::export::{ExportKind, MergeInto};
    use domain::spec::TargetModule;
    use domain::template::PromptTemplate;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    fn tensor(layer: usize, values: usize) -> ModelTensor {
        ModelTensor { wanted: Wanted::InputNorm(layer), shape: vec![values] }
    }

    #[test]
    fn shards_are_full_but_never_over_full() {
        let lengths = |limit| {
            let tensors = (0..5).map(|layer| tensor(layer, [10, 20, 30, 100, 10][layer])).collect();
            let shards = into_shards(tensors, limit);
            shards.iter().map(|shard| shard.iter().map(|tensor| tensor.elements()).collect()).collect::<Vec<Vec<_>>>()
        };
        assert_eq!(lengths(120), [vec![10, 20, 30], vec![100], vec![10]]);
        assert_eq!(lengths(1000), [vec![10, 20, 30, 100, 10]]);
        assert_eq!(
            (file_name(0, 1), file_name(1, 12)),
            ("model.safetensors".to_string(), "model-00002-of-00012.safetensors".to_string())
        );
    }

    /// With an adapter that changes nothing, every tensor is the base's, rounded.
    #[test]
    fn a_model_in_several_shards_is_read_back_whole() {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf");
        let files = ModelFiles::open(&base).unwrap();
        let prompt_template = PromptTemplate::default();
        let classifier = ClassifierFile {
            labels: vec!["up".to_string()],
            prompt_template: prompt_template.clone(),
            use_chat_template: false,
            temperature: None,
            max_length: 64,
            quantization: Quantization::Nf4,
            base_model: "base".to_string(),
        };
        let temporary = tempfile::tempdir().unwrap();
        let out = temporary.path().join("model");
        let request = ExportRequest {
            base: &base,
            adapter: Path::new("not read here"),
            classifier: &classifier,
            kind: ExportKind::Safetensors,
            merge_into: MergeInto::AsStored,
            out: &out,
            card: &ModelCard::default(),
        };
        let lora = Lora::zeros(files.config(), 1, 1.0, &[TargetModule::QProj]).unwrap();
        let source = Source {
            request: &request,
            model: MergedModel { files: &files, lora, held: Quantization::AsStored },
            tokenizer: Arc::new(files.tokenizer().unwrap()),
            usage: Usage {
                prompt: prompt_template.render(&classifier.labels),
                labels: classifier.labels.clone(),
                bos: None,
                use_chat_template: false,
                answers: vec![vec![1]],
                held: Quantization::Nf4,
            },
        };
        let mut on_progress = |_| ControlFlow::Continue(());
        assert!(write(&source, &out, 8 << 20, &mut Meter::start(&mut on_progress)).is_ok());

        let index: Value =
            serde_json::from_slice(&std::fs::read(out.join("model.safetensors.index.json")).unwrap()).unwrap();
        let shards: std::collections::BTreeSet<&str> =
            index["weight_map"].as_object().unwrap().values().filter_map(Value::as_str).collect();
        assert!(
            shards.len() > 3
                && shards.iter().all(|name| name.ends_with(&format!("-of-{:05}.safetensors", shards.len())))
        );
        for name in shards {
            assert!(std::fs::metadata(out.join(name)).unwrap().len() < (8 << 20) + 65_536, "{name}");
        }
        let written = ModelFiles::open(&out).unwrap();
        assert_eq!(written.config(), files.config());
        for tensor in tensors_of(files.config()) {
            let values = |files: &ModelFiles| files.tensor(tensor.wanted).unwrap().unwrap().into_f32();
            let expected: Vec<f32> = values(&files).iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            assert!(values(&written) == expected, "{:?}", tensor.wanted);
        }
    }

    #[test]
    fn a_header_is_aligned_and_places_tensors_side_by_side() {
        let header = header(&[tensor(0, 3), tensor(1, 5)]);
        assert!(header.len().is_multiple_of(8));
        let json: Value = serde_json::from_slice(&header[8..]).unwrap();
        assert_eq!(json["model.layers.1.input_layernorm.weight"]["data_offsets"], json!([6, 16]));
    }

    #[test]
    fn values_are_rounded_to_even() {
        // 1 + 2^-8 lies between 1 and 1 + 2^-7; 1 + 3 * 2^-8 between 1 + 2^-7 and 1 + 2^-6.
        let bytes = rounded(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]);
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect();
        assert_eq!(values, [1.0, 1.0 + 1.0 / 64.0]);
    }
}
