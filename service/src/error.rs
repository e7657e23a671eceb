//! What can go wrong in the service: mistakes of the person, told in full, and troubles of ours, logged.

use crate::hub::HubError;
use domain::error::{ErrorKind, UserError};
use engine::EngineError;
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, ServiceError>;

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Written for the person who asked.
    #[error(transparent)]
    User(#[from] UserError),
    #[error("the database said: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the tables could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Something that we stored does not read back.
    #[error("what is stored as {what} cannot be read: {source}")]
    Stored { what: String, source: serde_json::Error },
    /// A run that was ours is another process's by now: this one was not heard of for too long.
    #[error("another server has taken the run over")]
    LeaseLost,
    /// A piece of our own code broke; the words are those of the panic.
    #[error("an internal error: {0}")]
    Panicked(String),
}

impl ServiceError {
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub fn stored(what: impl Into<String>, source: serde_json::Error) -> Self {
        Self::Stored { what: what.into(), source }
    }

    fn is_full_disk(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Engine(EngineError::Io { source, .. }) => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            // SQLite's SQLITE_FULL, PostgreSQL's disk_full
            Self::Database(sqlx::Error::Database(error)) => matches!(error.code().as_deref(), Some("13" | "53100")),
            _ => false,
        }
    }

    /// The words that a failed run keeps: the team that runs the server reads them, so nothing is left out.
    pub(crate) fn reason(&self) -> String {
        if self.is_full_disk() {
            return format!("{FULL_DISK} ({self})");
        }
        self.to_string()
    }
}

const FULL_DISK: &str = "The disk is full: nothing more could be written. Make room in the data folder, then try again; what was stored \
     before is still there.";

impl From<ServiceError> for UserError {
    fn from(error: ServiceError) -> Self {
        if error.is_full_disk() {
            tracing::error!(%error, "the disk is full");
            return Self::internal(FULL_DISK);
        }
        let error = match error {
            ServiceError::User(error) => return error,
            ServiceError::Hub(error) => return error.into(),
            ServiceError::Engine(error) => {
                let told = Self::from(error);
                if told.kind != ErrorKind::Internal {
                    return told;
                }
                tracing::error!(error = %told, "the engine failed");
                return Self::internal(SOMETHING_BROKE);
            }
            other => other,
        };
        tracing::error!(%error, "a request failed");
        Self::internal(SOMETHING_BROKE)
    }
}

const SOMETHING_BROKE: &str =
    "Something went wrong on the server; its log says what. Nothing that was stored before is lost. Try again.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_other_troubles_of_ours_are_not() {
        let full = ServiceError::io(Path::new("/data/x"), std::io::ErrorKind::StorageFull.into());
        assert!(full.reason().contains("/data/x"));
        let told = UserError::from(full);
        assert_eq!(told.kind, ErrorKind::Internal);
        assert!(told.message.contains("disk is full"));

        let secret = ServiceError::io(Path::new("/data/secret"), std::io::ErrorKind::PermissionDenied.into());
        assert!(!UserError::from(secret).message.contains("secret"));

        let person = ServiceError::User(UserError::invalid("Choose another column."));
        assert_eq!(UserError::from(person).message, "Choose another column.");
    }
}
