//! The texts of a request, with a status code for each way in which they cannot be classified.

use super::ApiRefusal;
use axum::http::StatusCode;
use service::classifiers::{MAX_TEXT_BYTES, MAX_TEXTS, check_text};

/// # Errors
/// None (422) or too many (413); one that is empty (422) or too long (413).
pub fn check(texts: &[String]) -> Result<(), ApiRefusal> {
    if texts.is_empty() {
        return Err(ApiRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, "There is no text to classify."));
    }
    if texts.len() > MAX_TEXTS {
        return Err(ApiRefusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "{} texts are more than the {MAX_TEXTS} of one request. Send them in parts, or all of them as a stream to \
                 /v1/classify/stream.",
                texts.len()
            ),
        ));
    }
    for (number, text) in (1..).zip(texts) {
        if let Err(error) = check_text(&format!("Text {number}"), text) {
            let status = if text.len() > MAX_TEXT_BYTES {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::UNPROCESSABLE_ENTITY
            };
            return Err(ApiRefusal::new(status, error.message));
        }
    }
    Ok(())
}
