//! What can go wrong with the Hub, in words for the person who asked.

use domain::error::{ErrorKind, UserError};
use std::io;
use std::path::{Path, PathBuf};

/// No message holds a token, nor an address that the Hub handed out for one use.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// What was asked for is no address, no name of a file, no message of a commit.
    #[error(transparent)]
    Invalid(#[from] UserError),
    #[error(
        "This is not in the cache, and the Hub may not be asked, since HF_HUB_OFFLINE is set. Unset it, or bring the files from the cache of a machine that has them."
    )]
    Offline,
    #[error(
        "{what} may be had with an access token only, or does not exist (the Hub does not tell which). Check the name, or make a token at {url} and enter it here or as HF_TOKEN."
    )]
    TokenMissing { what: String, url: String },
    #[error(
        "The Hub does not know the access token: it has been mistyped, has run out, or was revoked. Make a new one at {url}."
    )]
    TokenInvalid { url: String },
    #[error(
        "The licence of {repo} has to be accepted first. Open {url} as the person whose token it is, accept it (some authors then take a while to agree), and try again."
    )]
    LicenceNotAccepted { repo: String, url: String },
    #[error("{0}")]
    NotFound(String),
    /// It is there, and cannot be used: weights in pickle files, names that lead out of the cache.
    #[error("{0}")]
    Unsuitable(String),
    /// The Hub understood, and will not do it.
    #[error("The Hub refused ({status}): {message}")]
    Refused { status: u16, message: String },
    #[error("The Hub at {endpoint} could not be reached: {reason}.")]
    Network { endpoint: String, reason: String },
    /// The Hub is there, but in trouble.
    #[error("The Hub at {endpoint} is in trouble or busy (it answered {status}). Try again in a while.")]
    Trouble { endpoint: String, status: u16 },
    #[error(
        "{file} came to {done_bytes} of {bytes} bytes, then: {reason} What is here stays; the next attempt goes on from there."
    )]
    Interrupted { file: String, done_bytes: u64, bytes: u64, reason: String },
    #[error(
        "{file} was transferred, but its content is not what the Hub says it is (its hash differs). It has been deleted; try again, and if that gives the same, something between here and the Hub changes files."
    )]
    WrongHash { file: String },
    #[error("The disk is full: {} are still to be written below {}, and {} are free. Make room, or set HF_HUB_CACHE to a folder on another disk; what has been fetched stays.", in_words(*needed_bytes), path.display(), in_words(*free_bytes))]
    DiskFull { path: PathBuf, needed_bytes: u64, free_bytes: u64 },
    #[error("The Hub at {endpoint} answered what cannot be understood: {reason}. Is it a Hub?")]
    BadAnswer { endpoint: String, reason: String },
    #[error(
        "{repo} changed while this was uploaded, so nothing was committed. Try again: what the Hub has already is not sent twice."
    )]
    Moved { repo: String },
    #[error("{repo} is being downloaded. Stop that first.")]
    InUse { repo: String },
    /// The caller wanted it to stop.
    #[error("It was stopped; nothing in the repository has changed.")]
    Stopped,
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl HubError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    /// True where the same request may well succeed in a moment.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Trouble { .. })
    }
}

impl From<HubError> for UserError {
    fn from(error: HubError) -> Self {
        let kind = match &error {
            HubError::Invalid(error) => error.kind,
            HubError::NotFound(_) => ErrorKind::NotFound,
            HubError::TokenMissing { .. }
            | HubError::TokenInvalid { .. }
            | HubError::LicenceNotAccepted { .. }
            | HubError::Unsuitable(_)
            | HubError::Refused { .. } => ErrorKind::Invalid,
            HubError::Offline | HubError::Moved { .. } | HubError::InUse { .. } | HubError::Stopped => {
                ErrorKind::Conflict
            }
            HubError::Network { .. } | HubError::Trouble { .. } | HubError::Interrupted { .. } => ErrorKind::Busy,
            HubError::WrongHash { .. }
            | HubError::DiskFull { .. }
            | HubError::BadAnswer { .. }
            | HubError::Io { .. } => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

/// Such as `4.9 GB` or `310 kB`.
pub(super) fn in_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes < 10 * unit => format!("{:.1} {name}", bytes as f64 / unit as f64),
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn bytes_are_told_in_units_that_fit() {
        assert_eq!(in_words(999), "999 bytes");
        assert_eq!(in_words(1_500), "1.5 kB");
        assert_eq!(in_words(16_100_000_000), "16 GB");
    }
}
