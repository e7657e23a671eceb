//! `GET /runs/{run}/exports/{id}/{file}`: a file of an export, which may be large: streamed, and in parts where a browser
//! goes on with a download.

use crate::http::errors::HttpError;
use axum::extract::{Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::{IntoResponse, Response};
use domain::catalogue::ExportId;
use domain::run::RunId;
use service::Service;
use tower_http::services::ServeFile;

pub async fn file(
    Path((run, export, name)): Path<(RunId, ExportId, String)>,
    State(service): State<Service>,
    request: Request,
) -> Response {
    let path = match service.exports.file(run, export, &name).await {
        Ok(path) => path,
        Err(error) => return HttpError::from(error).into_response(),
    };
    let mut response = match ServeFile::new(&path).try_call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => return HttpError::from(service::ServiceError::io(&path, error)).into_response(),
    };
    // Saved, never shown: what a file holds came from elsewhere.
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    response
}
