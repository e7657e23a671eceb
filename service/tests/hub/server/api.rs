//! Repositories: what is in them, making them, committing to them.

use super::store::{Access, Content, Repository};
use super::{Answer, Refusal, Shared, user_of};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Named = Path<(String, String, String)>;

pub async fn whoami(headers: HeaderMap) -> Answer<Json<Value>> {
    let Some(user) = user_of(&headers)? else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, None, "Invalid username or password."));
    };
    let role = if user == "writer" { "write" } else { "read" };
    let token = json!({ "displayName": "test", "role": role });
    Ok(Json(json!({ "type": "user", "id": user, "name": user, "orgs": [], "auth": { "accessToken": token } })))
}

pub async fn info_of_main(
    state: State<Shared>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    info(state, Path((owner, name, "main".to_owned())), headers).await
}

pub async fn info(
    State(shared): State<Shared>,
    Path((owner, name, revision)): Named,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    describe(&shared, &format!("{owner}/{name}"), &revision, &headers)
}

pub async fn dataset_info(
    State(shared): State<Shared>,
    Path((owner, name, revision)): Named,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    describe(&shared, &format!("datasets/{owner}/{name}"), &revision, &headers)
}

fn describe(shared: &Shared, repo: &str, revision: &str, headers: &HeaderMap) -> Answer<Json<Value>> {
    let store = shared.store();
    let repository = store.visible(repo, user_of(headers)?)?;
    let (commit, files) = repository.at_or_refuse(revision)?;
    let siblings: Vec<Value> = files
        .iter()
        .map(|(name, content)| {
            let mut sibling = json!({ "rfilename": name, "size": content.bytes.len(), "blobId": content.blob });
            if let Some(sha256) = &content.sha256 {
                sibling["lfs"] = json!({ "sha256": sha256, "size": content.bytes.len(), "pointerSize": 134 });
            }
            sibling
        })
        .collect();
    let mut info = json!({
        "_id": "0", "id": repo, "modelId": repo, "sha": commit, "siblings": siblings,
        "private": repository.access == Access::Private,
        "gated": if matches!(repository.access, Access::Gated { .. }) { json!("manual") } else { json!(false) },
        "disabled": false, "downloads": 0, "likes": 0, "tags": ["region:us"],
    });
    if let Some(licence) = licence(files) {
        info["tags"] = json!(["region:us", format!("license:{licence}")]);
        info["cardData"] = json!({ "license": licence });
    }
    Ok(Json(info))
}

/// From the card, as the Hub reads it.
fn licence(files: &BTreeMap<String, Content>) -> Option<String> {
    let card = String::from_utf8(files.get("README.md")?.bytes.to_vec()).ok()?;
    card.lines().find_map(|line| line.strip_prefix("license: ").map(str::to_owned))
}

pub async fn tree(
    State(shared): State<Shared>,
    Path((owner, name, revision)): Named,
    headers: HeaderMap,
) -> Answer<Json<Vec<Value>>> {
    let store = shared.store();
    let repository = store.visible(&format!("{owner}/{name}"), user_of(&headers)?)?;
    let (_, files) = repository.at_or_refuse(&revision)?;
    let entry = |(name, content): (&String, &Content)| {
        let mut entry = json!({ "type": "file", "path": name, "size": content.bytes.len(), "oid": content.blob });
        if let Some(sha256) = &content.sha256 {
            entry["lfs"] = json!({ "oid": sha256, "size": content.bytes.len(), "pointerSize": 134 });
        }
        entry
    };
    Ok(Json(files.iter().map(entry).collect()))
}

/// The Python library has the head of a README.md looked over before it uploads it; here every head will do.
pub async fn validate_card() -> Json<Value> {
    Json(json!({ "errors": [], "warnings": [] }))
}

#[derive(Deserialize)]
pub struct NewRepository {
    name: String,
    organization: Option<String>,
    #[serde(default)]
    private: bool,
    visibility: Option<String>,
}

pub async fn create(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Json(new): Json<NewRepository>,
) -> Answer<Json<Value>> {
    let writer = check_writer(&headers)?;
    let repo = format!("{}/{}", new.organization.as_deref().unwrap_or(writer), new.name);
    let private = new.private || new.visibility.as_deref() == Some("private");
    let access = if private { Access::Private } else { Access::Open };
    if !shared.store().create(&repo, access) {
        return Err(Refusal::new(StatusCode::CONFLICT, None, "You already created this model repo"));
    }
    Ok(Json(json!({ "url": shared.hub_url(&format!("/{repo}")), "name": repo, "private": private })))
}

#[derive(Deserialize)]
pub struct Preupload {
    files: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    path: String,
    size: usize,
    sample: String,
}

pub async fn preupload(
    State(shared): State<Shared>,
    Path((owner, name, revision)): Named,
    headers: HeaderMap,
    Json(request): Json<Preupload>,
) -> Answer<Json<Value>> {
    check_writer(&headers)?;
    let store = shared.store();
    let repository = store.visible(&format!("{owner}/{name}"), Some("writer"))?;
    let (commit, files) = repository.at_or_refuse(&revision)?;
    let mut told = Vec::new();
    for candidate in &request.files {
        let sample = BASE64.decode(&candidate.sample).map_err(|error| Refusal::bad_request(error.to_string()))?;
        if sample.len() != candidate.size.min(512) {
            return Err(Refusal::bad_request("the sample is not the first 512 bytes"));
        }
        let large = Content::is_large(&candidate.path, candidate.size);
        let present = files.get(&candidate.path);
        told.push(json!({
            "path": candidate.path, "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": false,
            "oid": present.map(|content| content.sha256.as_ref().unwrap_or(&content.blob)),
        }));
    }
    Ok(Json(json!({ "commitOid": commit, "files": told })))
}

pub async fn commit(
    State(shared): State<Shared>,
    Path((owner, name, revision)): Named,
    headers: HeaderMap,
    body: String,
) -> Answer<Json<Value>> {
    check_writer(&headers)?;
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-ndjson") {
        return Err(Refusal::bad_request("a commit is application/x-ndjson"));
    }
    let repo = format!("{owner}/{name}");
    let mut store = shared.store();
    let mut added = BTreeMap::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_str(line).map_err(|error| Refusal::bad_request(error.to_string()))?;
        let value = &line["value"];
        let path = || value["path"].as_str().map(str::to_owned).ok_or_else(|| Refusal::bad_request("no path"));
        match line["key"].as_str() {
            Some("header") => check_parent(store.visible(&repo, Some("writer"))?, &revision, value)?,
            Some("file") => {
                let bytes = BASE64.decode(value["content"].as_str().unwrap_or_default());
                let bytes = bytes.map_err(|error| Refusal::bad_request(error.to_string()))?;
                added.insert(path()?, Content::small(bytes.into()));
            }
            Some("lfsFile") => {
                let object = store.objects.get(value["oid"].as_str().unwrap_or_default()).cloned();
                let missing = || Refusal::bad_request("LFS pointer pointed to a file that does not exist");
                added.insert(path()?, Content::large(object.ok_or_else(missing)?));
            }
            _ => return Err(Refusal::bad_request("a line that is not known")),
        }
    }
    let commit = store.commit(&repo, &revision, added);
    let url = shared.hub_url(&format!("/{repo}/commit/{commit}"));
    Ok(Json(json!({ "success": true, "commitOid": commit, "commitUrl": url, "hookOutput": "" })))
}

fn check_parent(repository: &Repository, revision: &str, header: &Value) -> Answer<()> {
    if header["summary"].as_str().is_none_or(str::is_empty) {
        return Err(Refusal::bad_request("a commit has a summary"));
    }
    let (head, _) = repository.at_or_refuse(revision)?;
    match header["parentCommit"].as_str() {
        Some(parent) if parent != head => Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            None,
            "A commit has happened since. Please refresh and try again.",
        )),
        _ => Ok(()),
    }
}

/// The name of who may write.
pub fn check_writer(headers: &HeaderMap) -> Answer<&'static str> {
    match user_of(headers)? {
        Some("writer") => Ok("writer"),
        Some(_) => Err(Refusal::new(StatusCode::FORBIDDEN, None, "You don't have the rights to write here.")),
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, None, "Invalid username or password.")),
    }
}
