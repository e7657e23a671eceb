//! Uploads of large files, in one piece or in parts.

use super::api::check_writer;
use super::store::sha256;
use super::{Answer, Refusal, Shared};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

const CONTENT_TYPE: &str = "application/vnd.git-lfs+json";

#[derive(Deserialize)]
pub struct Batch {
    operation: String,
    hash_algo: String,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
pub struct Object {
    oid: String,
    size: usize,
}

pub async fn batch(
    State(shared): State<Shared>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    check_writer(&headers)?;
    let request: Batch = lfs_json(&headers, &body)?;
    if request.operation != "upload" || request.hash_algo != "sha256" {
        return Err(Refusal::bad_request("uploads by SHA-256 only"));
    }
    let store = shared.store();
    store.visible(&format!("{owner}/{}", name.trim_end_matches(".git")), Some("writer"))?;
    let verify = json!({ "href": shared.hub_url(&format!("/{owner}/{name}/info/lfs/verify")), "header": {} });
    let answer = |Object { oid, size }: &Object| {
        if store.objects.contains_key(oid) {
            return json!({ "oid": oid, "size": size });
        }
        json!({ "oid": oid, "size": size, "actions": { "upload": upload_action(&shared, oid, *size), "verify": verify } })
    };
    let objects: Vec<Value> = request.objects.iter().map(answer).collect();
    let body = json!({ "transfer": "basic", "objects": objects }).to_string();
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response())
}

fn upload_action(shared: &Shared, oid: &str, size: usize) -> Value {
    let options = &shared.0.options;
    if size < options.multipart_from {
        return json!({ "href": shared.cdn_url(&format!("/uploads/{oid}?signature=secret")) });
    }
    let mut header = json!({ "chunk_size": options.part_bytes.to_string() });
    for part in 1..=size.div_ceil(options.part_bytes) {
        header[format!("{part:05}")] = json!(shared.cdn_url(&format!("/uploads/{oid}/{part}?signature=secret")));
    }
    json!({ "href": shared.hub_url(&format!("/api/complete-multipart/{oid}")), "header": header })
}

pub async fn upload(
    State(shared): State<Shared>,
    Path(oid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    check_length(&headers)?;
    take_time(&shared, body.len()).await;
    if sha256(&body) != oid {
        return Err(Refusal::bad_request("the content has another hash"));
    }
    shared.store().objects.insert(oid, body);
    Ok(StatusCode::OK)
}

pub async fn upload_part(
    State(shared): State<Shared>,
    Path((oid, part)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    check_length(&headers)?;
    take_time(&shared, body.len()).await;
    let etag = part_etag(&body);
    shared.store().parts.insert((oid, part), body);
    Ok(([(header::ETAG, HeaderValue::from_str(&etag).unwrap())], StatusCode::OK).into_response())
}

#[derive(Deserialize)]
pub struct Completion {
    oid: String,
    parts: Vec<CompletedPart>,
}

#[derive(Deserialize)]
struct CompletedPart {
    #[serde(rename = "partNumber")]
    number: u64,
    etag: String,
}

pub async fn complete(
    State(shared): State<Shared>,
    Path(oid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    let request: Completion = lfs_json(&headers, &body)?;
    let mut store = shared.store();
    let mut whole = Vec::new();
    for part in request.parts {
        let bytes = store.parts.remove(&(oid.clone(), part.number));
        let bytes = bytes.ok_or_else(|| Refusal::bad_request("a part is missing"))?;
        if part_etag(&bytes) != part.etag {
            return Err(Refusal::bad_request("a part has another ETag"));
        }
        whole.extend_from_slice(&bytes);
    }
    if request.oid != oid || sha256(&whole) != oid {
        return Err(Refusal::bad_request("the content has another hash"));
    }
    store.objects.insert(oid, whole.into());
    Ok(StatusCode::OK)
}

pub async fn verify(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Answer<StatusCode> {
    check_writer(&headers)?;
    let object: Object = serde_json::from_slice(&body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    match shared.store().objects.get(&object.oid) {
        Some(bytes) if bytes.len() == object.size => Ok(StatusCode::OK),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, None, "the object is not there")),
    }
}

fn part_etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256(bytes)[..32])
}

/// Storage wants to know the length beforehand.
fn check_length(headers: &HeaderMap) -> Answer<()> {
    match headers.contains_key(header::CONTENT_LENGTH) {
        true => Ok(()),
        false => Err(Refusal::new(StatusCode::LENGTH_REQUIRED, None, "a length is required")),
    }
}

async fn take_time(shared: &Shared, bytes: usize) {
    if let Some(rate) = shared.0.options.bytes_per_second {
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
    }
}

fn lfs_json<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Answer<T> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != CONTENT_TYPE) {
        return Err(Refusal::bad_request("LFS has its own content type"));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}
