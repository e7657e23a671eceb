//! What can go wrong between the browser and the service, and the one place where it becomes words for people.

use domain::error::{ErrorKind, UserError};
use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The error of every server function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiError {
    /// The service said no, in words for people.
    Said(UserError),
    /// The server could not be reached or answered with something that is no answer; the detail is technical.
    Unreachable(String),
    /// The request did not arrive as the server expects it: a form with a field missing, or an old page that talks to a
    /// newer server; the detail is technical.
    NotUnderstood(String),
}

impl ApiError {
    /// What happened and what to do, for the person who looks at the page.
    pub fn message(&self) -> String {
        match self {
            Self::Said(error) => error.message.clone(),
            Self::Unreachable(_) => {
                "The server cannot be reached. Check the connection and try again; nothing was lost.".to_string()
            }
            Self::NotUnderstood(detail) => {
                format!("The server did not understand this request ({detail}). Reload the page and try again.")
            }
        }
    }

    /// A heading for the message.
    pub fn title(&self) -> &'static str {
        match self.kind() {
            ErrorKind::Invalid => "That does not work yet",
            ErrorKind::NotFound => "Not found",
            ErrorKind::Conflict => "Not possible right now",
            ErrorKind::SignIn => "Not signed in",
            ErrorKind::Forbidden => "Not allowed",
            ErrorKind::Busy => "Busy",
            ErrorKind::Internal => "Something broke",
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Said(error) => error.kind,
            Self::Unreachable(_) => ErrorKind::Busy,
            Self::NotUnderstood(_) => ErrorKind::Invalid,
        }
    }
}

/// Provided by the server around the rendering of a page: hears of an error that takes the place of the whole page, so
/// that the answer can carry its status code.
#[derive(Clone)]
pub struct OnPageError(pub Arc<dyn Fn(ErrorKind) + Send + Sync>);

/// Everything that knows its words for people: `UserError` itself and, on the server, the service's error.
impl<E: Into<UserError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::Said(error.into())
    }
}

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Request(detail) | ServerFnErrorErr::Deserialization(detail) => Self::Unreachable(detail),
            ServerFnErrorErr::Args(detail) | ServerFnErrorErr::MissingArg(detail) => Self::NotUnderstood(detail),
            other => Self::Said(UserError::internal(format!(
                "The server could not answer ({other}). Try again; if it stays so, look into the server's log."
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says_reaches_people_word_for_word() {
        let error = ApiError::from(UserError::invalid("The file has no usable rows."));
        let over_the_wire = ApiError::de(error.ser());
        assert_eq!(over_the_wire, error);
        assert_eq!(over_the_wire.message(), "The file has no usable rows.");
    }

    #[test]
    fn an_answer_that_is_no_answer_says_so_without_technical_words() {
        let error = ApiError::de("<html>Bad gateway</html>".as_bytes().to_vec().into());
        assert!(error.message().contains("cannot be reached"), "{}", error.message());
    }
}
