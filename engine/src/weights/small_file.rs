//! Opening files that come from elsewhere, and reading small ones whole, such as configurations.

use crate::error::EngineError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest JSON file that is read, in bytes; the largest that are known, indexes of checkpoints, take some megabytes.
pub const MAX_JSON_BYTES: u64 = 16 << 20;

/// Opens a file for reading, unless it is a folder, a pipe or a device: opening or reading those may never end.
pub fn open_plain_file(path: &Path) -> Result<File, EngineError> {
    let io = |source| EngineError::io(path, source);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(EngineError::bad_file(path, "is no file"));
    }
    File::open(path).map_err(io)
}

/// The bytes of a file of at most `limit_bytes`.
///
/// # Errors
/// It is missing, is no plain file, or is longer.
pub fn read_at_most(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    let file = open_plain_file(path)?;
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|source| EngineError::io(path, source))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(EngineError::bad_file(path, format!("is longer than {limit_bytes} bytes, which cannot be")));
    }
    Ok(bytes)
}
