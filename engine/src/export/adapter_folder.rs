//! The adapter as a folder for PEFT, with the tokenizer, the classifier's labels and prompt, and a card beside it.

use crate::adapter::peft::{CONFIG_FILE, TENSOR_FILE};
use crate::error::EngineError;
use crate::export::aside::{Halt, Meter, TensorFile};
use crate::export::card::CARD_FILE;
use crate::export::request::Source;
use crate::weights::safetensors::write_atomic;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Longest `adapter_config.json` that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// The matrices are copied as they are: whatever a LoRA by others can express stays as it was. That the adapter can be
/// read and fits the base has been found out before.
pub(super) fn write(source: &Source, folder: &Path, meter: &mut Meter) -> Result<Vec<String>, Halt> {
    let request = source.request;
    std::fs::create_dir(folder).map_err(|source| EngineError::io(folder, source))?;
    let from = request.adapter.join(TENSOR_FILE);
    let io = |error| EngineError::io(&from, error);
    let mut tensors = File::open(&from).map_err(io)?;
    meter.expect(tensors.metadata().map_err(io)?.len())?;
    let mut copy = TensorFile::create(&folder.join(TENSOR_FILE), meter)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = tensors.read(&mut piece).map_err(io)?;
        if length == 0 {
            break;
        }
        copy.write_counted(&piece[..length])?;
    }
    copy.close()?;

    let config = config_with_base(&request.adapter.join(CONFIG_FILE), &request.card.base_model)?;
    write_atomic(&folder.join(CONFIG_FILE), &config)?;
    source.tokenizer.write_files(folder)?;
    request.classifier.write(folder)?;
    write_atomic(&folder.join(CARD_FILE), request.card.render(request.kind, &source.usage).as_bytes())?;
    Ok(Vec::new())
}

/// The adapter's configuration with the name under which the base can be had.
fn config_with_base(path: &Path, base_model: &str) -> Result<Vec<u8>, EngineError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_CONFIG_BYTES).read_to_end(&mut text))
        .map_err(|source| EngineError::io(path, source))?;
    let bad = |error: serde_json::Error| EngineError::bad_file(path, format!("is no JSON: {error}"));
    let mut config: Value = serde_json::from_slice(&text).map_err(bad)?;
    let Some(fields) = config.as_object_mut() else {
        return Err(EngineError::bad_file(path, "is no JSON object"));
    };
    fields.insert("base_model_name_or_path".to_string(), base_model.into());
    serde_json::to_vec_pretty(&config).map_err(bad)
}
