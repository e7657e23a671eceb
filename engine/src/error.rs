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
            EngineError::Io { .. } | EngineError::Diverged(_) | EngineError::Tensor(_) => ErrorKind::Internal,
        };
        UserError::new(kind, error.to_string())
    }
}
