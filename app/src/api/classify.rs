//! Server functions for classifying.

use crate::error::ApiError;
use domain::catalogue::ModelSummary;
use domain::prediction::Classification;
use domain::run::RunSummary;
use leptos::prelude::*;
use leptos::server_fn::codec::Json;
use serde::{Deserialize, Serialize};

/// All that can be classified with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classifiers {
    /// Finished runs, newest first.
    pub runs: Vec<RunSummary>,
    /// Adapters of the catalogue that say what they answer.
    pub adapters: Vec<ModelSummary>,
}

#[server]
pub async fn list_classifiers() -> Result<Classifiers, ApiError> {
    let service = expect_context::<service::Service>();
    let runs = service.runs.finished_runs(None, u64::MAX).await?;
    let mut adapters = service.models.list().await?;
    adapters.retain(|model| model.adapter.as_ref().is_some_and(|adapter| !adapter.labels.is_empty()));
    Ok(Classifiers { runs, adapters })
}

/// What is said of the texts, twice over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub texts: Vec<String>,
    /// With the adapter.
    pub tuned: Classification,
    /// By the base without it, under the same prompt and labels.
    pub base: Classification,
}

/// Both answers to the texts, taken together, so that the page asks once. `with` names the adapter, as in [`source`](super::source).
#[server(input = Json)]
pub async fn classify(with: String, texts: Vec<String>) -> Result<Answer, ApiError> {
    let source = super::source::parse(&with)
        .ok_or_else(|| domain::error::UserError::invalid("Choose what to classify with."))?;
    let classifiers = expect_context::<service::Service>().classifiers;
    let tuned = classifiers.classify(source, texts.clone()).await?;
    let base = classifiers.classify_base(source, texts.clone()).await?;
    Ok(Answer { texts, tuned, base })
}
