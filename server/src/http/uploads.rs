//! `/uploads`: files that are sent in pieces, so that a connection that breaks costs only what was under way.
//!
//! - `POST /uploads` with `{"file_name": "rows.csv", "bytes": 123}` announces a file and answers an `UploadStatus`
//! - `GET /uploads/{id}` says how much of it is there
//! - `PUT /uploads/{id}?offset=N` appends the body, which begins at byte N of the file; N must be what is there

use crate::http::errors::HttpError;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::error::UserError;
use domain::reading::UploadStatus;
use http_body_util::BodyExt;
use serde::Deserialize;
use service::Service;
use std::time::Duration;
use tokio::time::timeout;

/// A sender that is silent for so long is taken for gone; what came is kept, and the upload is free for its return.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
pub struct Announcement {
    file_name: String,
    bytes: u64,
}

#[derive(Deserialize)]
pub struct Position {
    offset: u64,
}

pub async fn announce(
    State(service): State<Service>,
    Json(Announcement { file_name, bytes }): Json<Announcement>,
) -> Result<Response, HttpError> {
    let status = service.datasets.reserve_upload(&file_name, bytes).await?;
    Ok((StatusCode::CREATED, Json(status)).into_response())
}

pub async fn status(
    Path(upload): Path<String>,
    State(service): State<Service>,
) -> Result<Json<UploadStatus>, HttpError> {
    Ok(Json(service.datasets.upload_status(&upload).await?))
}

pub async fn append(
    Path(upload): Path<String>,
    Query(Position { offset }): Query<Position>,
    State(service): State<Service>,
    body: Body,
) -> Result<Json<UploadStatus>, HttpError> {
    // On a task of its own: what has come is to be stored also where the connection, and this request with it, goes.
    let appending = tokio::spawn(append_body(service, upload, offset, body));
    match appending.await {
        Ok(appended) => appended,
        Err(error) => Err(HttpError(UserError::internal(format!("The upload broke off ({error}). Try it again.")))),
    }
}

async fn append_body(
    service: Service,
    upload: String,
    offset: u64,
    mut body: Body,
) -> Result<Json<UploadStatus>, HttpError> {
    let mut append = service.datasets.append_upload(&upload, offset).await?;
    let broken = loop {
        match timeout(LONGEST_SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    append.write(&bytes).await?;
                }
            }
            Ok(None) => break None,
            Ok(Some(Err(error))) => break Some(error.to_string()),
            Err(_) => break Some(format!("nothing came for {} s", LONGEST_SILENCE.as_secs())),
        }
    };
    let status = append.finish().await?;
    match broken {
        None => Ok(Json(status)),
        // Seldom heard by anybody: the connection is gone.
        Some(reason) => Err(HttpError(UserError::invalid(format!(
            "The connection broke at byte {} ({reason}). Go on from there.",
            status.received
        )))),
    }
}
