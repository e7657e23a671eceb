//! The API for programs: texts in, labels out. `/openapi.json` describes it, `/docs` is a page to try it.
//!
//! Every body is read within limits of its own: so many bytes, in so much time, and not many large ones at once.

pub mod classify;
pub mod document;
pub mod hugging_face;
pub mod stream;
mod texts;

use crate::http::errors::status_of;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::error::{ErrorKind, UserError};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use service::ServiceError;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

/// Longest body of a request that is no stream.
pub const LONGEST_BODY_BYTES: usize = 4 << 20;
/// What is longer than this counts as large.
const SMALL_BODY_BYTES: usize = 64 << 10;
/// Large bodies that are held in memory at the same time.
static LARGE_BODIES: Semaphore = Semaphore::const_new(16);
/// A body has to be there after this time.
const BODY_WITHIN: Duration = Duration::from_secs(20);

/// An answer that is none: a status code, and why.
#[derive(Debug)]
pub struct ApiRefusal {
    status: StatusCode,
    error: UserError,
}

/// What stands in the body of such an answer.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What happened, and what to do about it.
    error: String,
    /// One word: `invalid`, `not_found`, `conflict`, `sign_in`, `forbidden`, `busy` or `internal`.
    kind: String,
}

impl ApiRefusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::CONFLICT => ErrorKind::Conflict,
            _ => ErrorKind::Invalid,
        };
        Self { status, error: UserError::new(kind, message) }
    }

    fn busy(seconds: f64, message: &str) -> Self {
        Self::from(UserError::busy_for(seconds, message))
    }
}

impl From<UserError> for ApiRefusal {
    fn from(error: UserError) -> Self {
        Self { status: status_of(&error), error }
    }
}

impl From<ServiceError> for ApiRefusal {
    fn from(error: ServiceError) -> Self {
        UserError::from(error).into()
    }
}

impl ApiRefusal {
    /// What happened, and what to do about it.
    pub fn words(&self) -> &str {
        &self.error.message
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        let Self { status, error } = self;
        let kind = match error.kind {
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::SignIn => "sign_in",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Busy => "busy",
            ErrorKind::Internal => "internal",
        };
        let mut response = (status, Json(ErrorBody { error: error.message, kind: kind.to_string() })).into_response();
        if let Some(seconds) = error.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // What is left of the body is not listened to.
        if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The media type of a body, without its parameters, in small letters; empty where none is given.
fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a body of JSON.
///
/// # Errors
/// It is of another type (415), too long (413), too slow (408), not UTF-8, no JSON or JSON of another shape (400), or too
/// many large ones are being read (429).
async fn read_json<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, ApiRefusal> {
    let media_type = media_type(headers);
    if media_type != "application/json" {
        let given = if media_type.is_empty() { "none".to_string() } else { format!("\"{media_type}\"") };
        return Err(ApiRefusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "The content type is {given}. Send application/json; streams of rows are text/csv or application/x-ndjson \
                 and go to /v1/classify/stream."
            ),
        ));
    }
    let bytes = read_body(headers, body, LONGEST_BODY_BYTES).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let place = error.valid_up_to();
        ApiRefusal::new(StatusCode::BAD_REQUEST, format!("The body is not UTF-8: byte {place} begins no letter."))
    })?;
    serde_json::from_str(text).map_err(|error| {
        ApiRefusal::new(StatusCode::BAD_REQUEST, format!("The body is not the JSON that is expected here: {error}."))
    })
}

/// A whole body of at most `longest` bytes.
///
/// # Errors
/// It is too long (413), too slow (408) or breaks off (400), or too many large ones are being read (429).
pub async fn read_body(headers: &HeaderMap, mut body: Body, longest: usize) -> Result<Vec<u8>, ApiRefusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > longest as u64) {
        return Err(too_long(longest));
    }
    let deadline = Instant::now() + BODY_WITHIN;
    let mut bytes = Vec::new();
    let mut place = None;
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(error))) => {
                return Err(ApiRefusal::new(StatusCode::BAD_REQUEST, format!("The body broke off: {error}.")));
            }
            Err(_) => {
                let message =
                    format!("The body was not complete after {} s; {} bytes came.", BODY_WITHIN.as_secs(), bytes.len());
                return Err(ApiRefusal::new(StatusCode::REQUEST_TIMEOUT, message));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > longest {
            return Err(too_long(longest));
        }
        if place.is_none() && bytes.len() + data.len() > SMALL_BODY_BYTES {
            let Ok(permit) = LARGE_BODIES.try_acquire() else {
                return Err(ApiRefusal::busy(1.0, "Too many large requests are being read. Try again in a moment."));
            };
            place = Some(permit);
        }
        bytes.extend_from_slice(&data);
    }
}

fn too_long(longest: usize) -> ApiRefusal {
    ApiRefusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "The body is longer than {} KB. Send fewer texts at once, or all of them as a stream to /v1/classify/stream.",
            longest >> 10
        ),
    )
}
