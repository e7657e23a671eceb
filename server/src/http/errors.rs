//! The one place where an error becomes a status code.

use app::error::{ApiError, OnPageError};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::error::{ErrorKind, UserError};
use leptos::prelude::{provide_context, use_context};
use leptos::server_fn::error::{FromServerFnError, SERVER_FN_ERROR_HEADER};
use leptos_axum::ResponseOptions;
use service::ServiceError;
use std::sync::Arc;

/// More than any error's words need.
const LONGEST_ERROR_BYTES: usize = 64 * 1024;

pub fn status_code(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::SignIn => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// As [`status_code`]; where it can be told when there will be room again, whoever asks has asked too much.
pub fn status_of(error: &UserError) -> StatusCode {
    if error.retry_after_s.is_some() { StatusCode::TOO_MANY_REQUESTS } else { status_code(error.kind) }
}

/// An error as the answer of a plain route: its status code and its words.
pub struct HttpError(pub UserError);

impl From<ServiceError> for HttpError {
    fn from(error: ServiceError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (status_of(&self.0), self.0.retry_after_s);
        let mut response = (status, self.0.message + "\n").into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Lets the page that is about to be rendered say that an error takes its place, for the status code of the answer.
pub fn give_pages_their_status() {
    if let Some(response) = use_context::<ResponseOptions>() {
        provide_context(OnPageError(Arc::new(move |kind| response.set_status(status_code(kind)))));
    }
}

/// Server functions answer every error with 500; this gives their answers the status code of the error in them.
/// Redirects, with which forms sent without scripts are answered, stay as they are.
pub async fn give_server_functions_their_status(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() != StatusCode::INTERNAL_SERVER_ERROR
        || !response.headers().contains_key(HeaderName::from_static(SERVER_FN_ERROR_HEADER))
    {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_ERROR_BYTES).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    head.status = match ApiError::de(body.clone()) {
        ApiError::Said(error) => status_of(&error),
        other => status_code(other.kind()),
    };
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}
