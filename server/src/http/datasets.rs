//! `GET /datasets/{id}/export.csv?version=N`: the rows of a version as a file, streamed.

use crate::http::errors::HttpError;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::dataset::DatasetId;
use domain::version::VersionNumber;
use futures::stream;
use serde::Deserialize;
use service::Service;
use std::convert::Infallible;

#[derive(Deserialize)]
pub struct Wanted {
    /// Without it, the newest.
    version: Option<VersionNumber>,
}

pub async fn export(
    Path(id): Path<DatasetId>,
    Query(Wanted { version }): Query<Wanted>,
    State(service): State<Service>,
) -> Result<Response, HttpError> {
    let export = service.datasets.export(id, version).await?;
    let disposition = format!("attachment; filename=\"{}\"", export.file_name);
    // Pieces are written when the reader has taken the ones before.
    let pieces = stream::iter(export.map(Ok::<_, Infallible>));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
