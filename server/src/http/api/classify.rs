//! `POST /v1/classify`: one text or many.

use super::{ApiRefusal, ErrorBody, media_type, read_json, stream, texts};
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::deployment::word_of;
use domain::prediction::Prediction;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use service::Service;
use service::deployments::Served;
use utoipa::ToSchema;

/// What is to be classified, and by what. Either `text` or `texts`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifyRequest {
    /// The name of a deployment, or a run as `run-3`, or an adapter of the catalogue as `model-4`.
    #[schema(example = "headlines")]
    model: String,
    #[schema(example = "Profit rose by a third and the dividend is doubled.")]
    text: Option<String>,
    /// At most 1000, of at most 20,000 bytes each.
    texts: Option<Vec<String>>,
    /// From 0 to 1: a text whose best label has a lower probability gets none. A run's page shows what each threshold
    /// would have answered, and how often rightly.
    #[schema(example = 0.6, minimum = 0, maximum = 1)]
    abstain_below: Option<f32>,
}

/// The least confidence that an answer needs; none, unless somebody asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threshold(f32);

impl Threshold {
    /// `None` lets every answer through.
    pub fn parse(abstain_below: Option<f32>) -> Result<Self, ApiRefusal> {
        let least = abstain_below.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&least) {
            let message = format!("\"abstain_below\" is {least}; a probability from 0 to 1 is needed.");
            return Err(ApiRefusal::new(StatusCode::BAD_REQUEST, message));
        }
        Ok(Self(least))
    }

    pub fn lets_through(self, prediction: &Prediction) -> bool {
        prediction.confidence() >= self.0
    }
}

#[derive(Serialize, ToSchema)]
pub struct ClassifyResponse {
    /// As it was asked for.
    model: String,
    /// The run or adapter that answered.
    #[schema(example = "run-3")]
    version: String,
    /// Whether the probabilities were calibrated on the validation rows.
    calibrated: bool,
    /// The temperature of that calibration.
    temperature: Option<f64>,
    /// One per text, in their order.
    results: Vec<LabelledText>,
    /// From the request's arrival to its answer.
    latency_ms: f64,
    /// Of that, passes of the model which these texts took part in.
    model_ms: f64,
}

#[derive(Serialize, ToSchema)]
pub struct LabelledText {
    /// `null` where the confidence is below `abstain_below`.
    label: Option<String>,
    /// The probability of the best label.
    confidence: f32,
    #[schema(value_type = std::collections::HashMap<String, f32>)]
    probabilities: Probabilities,
    /// The text was longer than the model's context, and its end was not read.
    cut: bool,
}

/// Each label's probability, in the order of the labels; together one.
pub struct Probabilities(Vec<(String, f32)>);

impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (label, probability) in &self.0 {
            map.serialize_entry(label, probability)?;
        }
        map.end()
    }
}

impl LabelledText {
    pub fn new(labels: &[String], prediction: &Prediction, threshold: Threshold) -> Self {
        Self {
            label: labels.get(prediction.label).filter(|_| threshold.lets_through(prediction)).cloned(),
            confidence: prediction.confidence(),
            probabilities: Probabilities(
                labels.iter().cloned().zip(prediction.probabilities.iter().copied()).collect(),
            ),
            cut: prediction.cut,
        }
    }
}

impl ClassifyResponse {
    pub fn new(model: String, served: &Served, threshold: Threshold) -> Self {
        let answer = &served.classification;
        let results =
            answer.predictions.iter().map(|prediction| LabelledText::new(&answer.labels, prediction, threshold));
        Self {
            model,
            version: word_of(served.version),
            calibrated: answer.temperature.is_some(),
            temperature: answer.temperature,
            results: results.collect(),
            latency_ms: served.latency_ms,
            model_ms: answer.duration_ms,
        }
    }
}

/// Classify one text or many
///
/// Bodies of CSV and JSON lines are taken as streams, as at `/v1/classify/stream`.
#[utoipa::path(
    post,
    path = "/v1/classify",
    tag = "classify",
    request_body = ClassifyRequest,
    responses(
        (status = 200, description = "The answers", body = ClassifyResponse),
        (status = 400, description = "Not UTF-8, not JSON, or JSON of another shape", body = ErrorBody),
        (status = 404, description = "No such deployment, run or model", body = ErrorBody),
        (status = 408, description = "The body did not come to an end in time", body = ErrorBody),
        (status = 409, description = "It cannot classify: a run that is not finished, an adapter for another base", body = ErrorBody),
        (status = 413, description = "Too many texts, a text or a body that is too long", body = ErrorBody),
        (status = 415, description = "Another content type", body = ErrorBody),
        (status = 422, description = "No text, or an empty one", body = ErrorBody),
        (status = 429, description = "Too much waits; Retry-After says for how many seconds", body = ErrorBody,
            headers(("retry-after" = u32, description = "Seconds"))),
    )
)]
pub async fn classify(
    State(service): State<Service>,
    query: Query<stream::StreamQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if stream::Format::of(&media_type(&headers)).is_some() {
        return stream::stream(State(service), query, headers, body).await;
    }
    match classify_json(&service, &headers, body).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn classify_json(service: &Service, headers: &HeaderMap, body: Body) -> Result<ClassifyResponse, ApiRefusal> {
    let ClassifyRequest { model, text, texts, abstain_below } = read_json(headers, body).await?;
    let threshold = Threshold::parse(abstain_below)?;
    let texts = match (text, texts) {
        (Some(text), None) => vec![text],
        (None, Some(texts)) => texts,
        _ => return Err(ApiRefusal::new(StatusCode::BAD_REQUEST, "Send either \"text\" or \"texts\".")),
    };
    texts::check(&texts)?;
    let served = service.deployments.classify(&model, texts).await?;
    Ok(ClassifyResponse::new(model, &served, threshold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_sure_enough_has_no_label() {
        let labels = ["sunny", "rainy"].map(String::from);
        let prediction = Prediction::from_probabilities(vec![0.4, 0.6], false);
        let label = |abstain_below| {
            let threshold = Threshold::parse(abstain_below).ok()?;
            let told = LabelledText::new(&labels, &prediction, threshold);
            assert_eq!((told.confidence, told.probabilities.0.len()), (0.6, 2));
            told.label
        };
        assert_eq!(
            [None, Some(0.0), Some(0.6), Some(0.61)].map(label),
            [Some("rainy".to_string()), Some("rainy".to_string()), Some("rainy".to_string()), None]
        );
        for odd in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            assert!(Threshold::parse(Some(odd)).is_err());
        }
    }
}
