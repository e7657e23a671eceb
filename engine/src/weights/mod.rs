//! Weights on disk and in memory.

pub mod bitsandbytes;
pub mod gguf;
pub mod gguf_header;
pub mod gguf_model;
pub mod hf;
pub mod model_files;
pub mod nf4;
pub mod safetensors;
pub mod shards;

use crate::error::EngineError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest configuration or index that is read, in bytes.
const MAX_SMALL_FILE_BYTES: u64 = 32 << 20;

/// A file that is meant to be small: a configuration, an index.
///
/// # Errors
/// It cannot be read, or is far longer than such a file can be.
pub fn small_file(path: &Path) -> Result<Vec<u8>, EngineError> {
    let io = |source| EngineError::io(path, source);
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(MAX_SMALL_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_SMALL_FILE_BYTES {
        return Err(EngineError::bad_file(path, format!("is longer than {MAX_SMALL_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
