//! Files that are made of a run when somebody asks for them: its manifest, and an event file for TensorBoard.

use crate::http::errors::HttpError;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::error::UserError;
use domain::run::RunId;
use service::Service;

/// `GET /runs/{id}/manifest.json`
pub async fn manifest(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    let manifest = service.manifests.get(id).await?.ok_or_else(|| {
        HttpError(UserError::not_found(
            "This run has no manifest: it has not been taken up yet, or was made before there were any.",
        ))
    })?;
    let json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| HttpError(UserError::internal(format!("The manifest cannot be written: {error}"))))?;
    Ok(attachment("application/json", &format!("run-{id}-manifest.json"), json))
}

/// `GET /runs/{id}/tensorboard`
pub async fn tensorboard(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    let (name, bytes) = service.tracking.event_file(id).await?;
    Ok(attachment("application/octet-stream", &name, bytes))
}

fn attachment(content_type: &'static str, name: &str, bytes: Vec<u8>) -> Response {
    // Our own names: letters, digits, dots and dashes.
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type)), (CONTENT_DISPOSITION, disposition)];
    (headers, bytes).into_response()
}
