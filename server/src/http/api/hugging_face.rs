//! `POST /models/{id}`: the shape of Hugging Face's text classification, for programs that speak it already.

use super::{ApiRefusal, ErrorBody, read_json, texts};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use domain::deployment::word_of;
use serde::{Deserialize, Serialize};
use service::Service;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
pub struct HuggingFaceRequest {
    inputs: Inputs,
    #[serde(default)]
    parameters: Parameters,
}

/// One text or many.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Inputs {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize, ToSchema)]
pub struct Parameters {
    /// So many labels with the highest scores; all of them without it.
    top_k: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct LabelScore {
    label: String,
    score: f32,
}

/// Classify in the shape of Hugging Face's API
///
/// One list per text, the highest score first.
#[utoipa::path(
    post,
    path = "/models/{id}",
    tag = "classify",
    params(("id" = String, Path, description = "As `model` at /v1/classify")),
    request_body = HuggingFaceRequest,
    responses(
        (status = 200, description = "The answers", body = Vec<Vec<LabelScore>>),
        (status = 404, description = "No such deployment, run or model", body = ErrorBody),
        (status = 429, description = "Too much waits; Retry-After says for how many seconds", body = ErrorBody),
    )
)]
pub async fn classify(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiRefusal> {
    let HuggingFaceRequest { inputs, parameters } = read_json(&headers, body).await?;
    let texts = match inputs {
        Inputs::One(text) => vec![text],
        Inputs::Many(texts) => texts,
    };
    texts::check(&texts)?;
    let served = service.deployments.classify(&id, texts).await?;
    let labels = &served.classification.labels;
    let of_text = |probabilities: &Vec<f32>| {
        let mut scores: Vec<LabelScore> = labels
            .iter()
            .zip(probabilities)
            .map(|(label, score)| LabelScore { label: label.clone(), score: *score })
            .collect();
        scores.sort_by(|one, other| other.score.total_cmp(&one.score));
        scores.truncate(parameters.top_k.unwrap_or(usize::MAX).max(1));
        scores
    };
    let answers: Vec<Vec<LabelScore>> =
        served.classification.predictions.iter().map(|prediction| of_text(&prediction.probabilities)).collect();
    let mut response = Json(answers).into_response();
    if let Ok(version) = HeaderValue::from_str(&word_of(served.version)) {
        response.headers_mut().insert(HeaderName::from_static("x-ayar-version"), version);
    }
    Ok(response)
}
