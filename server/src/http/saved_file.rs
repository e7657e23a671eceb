//! Files that the browser saves, and those of them that belong to no run:
//!
//! - `GET /sweeps/{id}/trials.csv`, `trials.json`
//! - `GET /deployments/{name}/figures.csv`, `figures.json`

use crate::http::errors::HttpError;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::sweep::SweepId;
use futures::stream;
use service::Service;
use service::saved_file::{ExportedFile, FileKind};
use std::convert::Infallible;

/// A file that the browser saves; pieces are written when the reader has taken the ones before.
pub fn saved(file: ExportedFile) -> Response {
    let disposition = format!("attachment; filename=\"{}\"", file.file_name);
    let kind = match file.kind {
        FileKind::Csv => "text/csv; charset=utf-8",
        FileKind::Json => "application/json",
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    (headers, Body::from_stream(stream::iter(file.pieces.map(Ok::<_, Infallible>)))).into_response()
}

pub async fn trials_csv(Path(id): Path<SweepId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.sweeps.trials_file(id, FileKind::Csv).await?))
}

pub async fn trials_json(Path(id): Path<SweepId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.sweeps.trials_file(id, FileKind::Json).await?))
}

pub async fn figures_csv(Path(name): Path<String>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.deployments.figures_file(&name, FileKind::Csv).await?))
}

pub async fn figures_json(Path(name): Path<String>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.deployments.figures_file(&name, FileKind::Json).await?))
}
