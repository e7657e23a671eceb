//! One error for people: what happened, where, and what to do about it.

use serde::{Deserialize, Serialize};

/// What kind of trouble it is; the server turns it into a status code, the browser into a tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// What was asked for cannot be done as asked; the message says how to ask.
    Invalid,
    /// No such dataset, run or file.
    NotFound,
    /// It exists, but not in a state in which this can be done.
    Conflict,
    /// Nobody knows who asks: sign in, or send a key.
    SignIn,
    /// Whoever asks may not.
    Forbidden,
    /// Too much is waiting already; try again in a moment.
    Busy,
    /// Something broke on our side: a disk, a database, a bug.
    Internal,
}

/// An error whose message is written for the person who sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct UserError {
    pub kind: ErrorKind,
    /// A sentence or two: what happened, where, what to do.
    pub message: String,
    /// With [`ErrorKind::Busy`]: in about so many seconds there will be room, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

impl UserError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_s: None }
    }

    /// Too much waits; it will take about so long until there is room.
    pub fn busy_for(seconds: f64, message: impl Into<String>) -> Self {
        let seconds = seconds.ceil().clamp(1.0, 3600.0) as u32;
        Self { retry_after_s: Some(seconds), ..Self::new(ErrorKind::Busy, message) }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub fn sign_in(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::SignIn, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}
