//! `GET /datasets/{id}/export.csv?version=N`: the rows of a version as a file, streamed.

use crate::http::errors::HttpError;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::dataset::DatasetId;
use domain::version::VersionNumber;
use serde::Deserialize;
use service::Service;
use tower_http::services::ServeFile;

#[derive(Deserialize)]
pub struct Wanted {
    /// Without it, the newest.
    version: Option<VersionNumber>,
}

pub async fn export(
    Path(id): Path<DatasetId>,
    Query(Wanted { version }): Query<Wanted>,
    State(service): State<Service>,
    request: Request,
) -> Result<Response, HttpError> {
    let dataset = service.datasets.get(id).await?;
    let version = version.unwrap_or(dataset.version);
    let path = service.datasets.export(id, version).await?;
    let served = ServeFile::new(&path).try_call(request).await;
    let mut response =
        served.map_err(|error| HttpError::from(service::ServiceError::io(&path, error)))?.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(CONTENT_DISPOSITION, disposition(&dataset.name, version));
    Ok(response)
}

/// The file is called after the dataset and its version. Names outside of ASCII go by RFC 6266 and 5987, percent-encoded.
fn disposition(name: &str, version: VersionNumber) -> HeaderValue {
    let name = format!("{name}, version {version}.csv");
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || " ,-._()".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        let header = disposition("Ürün \"x\"\r\n; /a", 3);
        assert_eq!(
            header.to_str().unwrap(),
            "attachment; filename=\"_r_n _x____ _a, version 3.csv\"; \
             filename*=UTF-8''%C3%9Cr%C3%BCn%20%22x%22%0D%0A%3B%20%2Fa%2C%20version%203.csv"
        );
    }
}
