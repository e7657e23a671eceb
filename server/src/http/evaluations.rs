//! What an evaluation is saved as, and the report on one page:
//!
//! - `GET /runs/{id}/rows.csv`, `rows.json`: the test rows that the fields of the address ask for, as the page's do
//! - `GET /runs/{id}/curves.csv`, `curves.json`: loss and scores over the steps
//! - `GET /runs/{id}/scores.csv`, `scores.json`, `confusion.csv`, `confusion.json`
//! - `GET /runs/{id}/report`: a page without scripts that prints well
//! - `GET /compare.csv`, `/compare.json`: `?runs=1,2,3&against=2`

use crate::http::errors::HttpError;
use crate::http::saved_file::saved;
use axum::extract::{Path, Query, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::row_query::RowQuery;
use domain::run::RunId;
use domain::runs_comparison::runs_asked_for;
use service::Service;
use service::saved_file::FileKind;
use std::collections::HashMap;

type Fields = Query<HashMap<String, String>>;

pub async fn rows_csv(path: Path<RunId>, fields: Fields, service: State<Service>) -> Result<Response, HttpError> {
    rows(path, fields, service, FileKind::Csv).await
}

pub async fn rows_json(path: Path<RunId>, fields: Fields, service: State<Service>) -> Result<Response, HttpError> {
    rows(path, fields, service, FileKind::Json).await
}

async fn rows(
    Path(id): Path<RunId>,
    Query(fields): Fields,
    State(service): State<Service>,
    kind: FileKind,
) -> Result<Response, HttpError> {
    let query = RowQuery::from_fields(|name| fields.get(name).cloned());
    Ok(saved(service.evaluations.rows_file(id, query, kind).await?))
}

pub async fn curves_csv(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.evaluations.curves_file(id, FileKind::Csv).await?))
}

pub async fn curves_json(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.evaluations.curves_file(id, FileKind::Json).await?))
}

pub async fn scores_csv(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.evaluations.scores_file(id, FileKind::Csv).await?))
}

pub async fn scores_json(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.evaluations.scores_file(id, FileKind::Json).await?))
}

pub async fn confusion_csv(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.evaluations.confusion_file(id, FileKind::Csv).await?))
}

pub async fn confusion_json(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    Ok(saved(service.evaluations.confusion_file(id, FileKind::Json).await?))
}

pub async fn comparison_csv(fields: Fields, service: State<Service>) -> Result<Response, HttpError> {
    comparison(fields, service, FileKind::Csv).await
}

pub async fn comparison_json(fields: Fields, service: State<Service>) -> Result<Response, HttpError> {
    comparison(fields, service, FileKind::Json).await
}

async fn comparison(
    Query(fields): Fields,
    State(service): State<Service>,
    kind: FileKind,
) -> Result<Response, HttpError> {
    let runs = runs_asked_for(fields.get("runs").map_or("", String::as_str));
    let against = fields.get("against").and_then(|id| id.parse().ok());
    Ok(saved(service.evaluations.comparison_file(&runs, against, kind).await?))
}

pub async fn report(Path(id): Path<RunId>, State(service): State<Service>) -> Result<Response, HttpError> {
    let detail = service.runs.get(id).await?;
    let picture = service.runs.picture(id).await?;
    let evaluated = service.evaluations.evaluated(id).await?;
    let page = app::report::page(&detail, &picture, evaluated.as_ref().map(|evaluated| &evaluated.report));
    // All that the page needs is in it, and nothing in it is a script.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'";
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ];
    Ok((headers, page).into_response())
}
