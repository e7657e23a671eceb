//! What can go wrong in the engine, in words for the person who sees it.

use domain::error::{ErrorKind, UserError};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file that is not what it should be: truncated, hostile, of another kind.
    #[error("{}: {reason}", path.display())]
    BadFile { path: PathBuf, reason: String },
    /// A model, recipe or data set that cannot be used as asked.
    #[error("{0}")]
    Invalid(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The loss or a gradient is no number any more.
    #[error("{0}")]
    Diverged(String),
    /// Less at a time may fit.
    #[error("{device} is out of memory: {} more were needed", memory_in_words(*wanted_bytes))]
    OutOfMemory { device: String, wanted_bytes: u64 },
    /// A device has stopped answering, or says that nothing it computes can be trusted any more.
    #[error("{0}")]
    DeviceLost(String),
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl EngineError {
    pub fn bad_file(path: &Path, reason: impl Into<String>) -> Self {
        Self::BadFile { path: path.to_path_buf(), reason: reason.into() }
    }

    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

impl From<EngineError> for UserError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::BadFile { .. } | EngineError::Invalid(_) => ErrorKind::Invalid,
            // What fills the memory is other work on the same device, which ends.
            EngineError::OutOfMemory { .. } => ErrorKind::Busy,
            EngineError::Io { .. } | EngineError::Diverged(_) | EngineError::DeviceLost(_) | EngineError::Tensor(_) => {
                ErrorKind::Internal
            }
        };
        UserError::new(kind, error.to_string())
    }
}

/// Such as `1.5 GB` or `200 MB`.
fn memory_in_words(bytes: u64) -> String {
    const MEGABYTE: u64 = 1 << 20;
    const GIGABYTE: u64 = 1 << 30;
    if bytes >= GIGABYTE {
        return format!("{:.1} GB", bytes as f64 / GIGABYTE as f64);
    }
    format!("{} MB", bytes.div_ceil(MEGABYTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_missing_is_told_in_words() {
        let words = |wanted_bytes| EngineError::OutOfMemory { device: "cuda:1".to_string(), wanted_bytes }.to_string();
        assert_eq!(words(1), "cuda:1 is out of memory: 1 MB more were needed");
        assert_eq!(words(3 << 29), "cuda:1 is out of memory: 1.5 GB more were needed");
    }
}
