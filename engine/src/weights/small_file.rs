//! Files that are read whole, such as configurations: never more of them than is believed.

use crate::error::EngineError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest JSON file that is read, in bytes; the largest that are known, indexes of checkpoints, take some megabytes.
pub const MAX_JSON_BYTES: u64 = 16 << 20;

/// The bytes of a file of at most `limit_bytes`.
///
/// # Errors
/// It is missing, is no plain file (a pipe or a device may never end), or is longer.
pub fn read_at_most(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, EngineError> {
    let io = |source| EngineError::io(path, source);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(EngineError::bad_file(path, "is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(EngineError::bad_file(path, format!("is longer than {limit_bytes} bytes, which cannot be")));
    }
    Ok(bytes)
}
