//! Server functions for classifying.

use crate::error::ApiError;
use domain::prediction::Classification;
use domain::run::{RunId, RunSummary};
use leptos::prelude::*;
use leptos::server_fn::codec::Json;
use serde::{Deserialize, Serialize};

/// Runs whose result can be classified with, newest first.
#[server]
pub async fn list_classifiers() -> Result<Vec<RunSummary>, ApiError> {
    let runs = expect_context::<service::Service>().runs.list().await?;
    Ok(runs.into_iter().filter(|run| run.status == domain::run::RunStatus::Finished).collect())
}

/// What is said of the texts, twice over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub texts: Vec<String>,
    /// By the run's adapter.
    pub tuned: Classification,
    /// By the base without it, under the same prompt and labels.
    pub base: Classification,
}

/// Both answers to the texts, taken together, so that the page asks once.
#[server(input = Json)]
pub async fn classify(run: RunId, texts: Vec<String>) -> Result<Answer, ApiError> {
    let classifiers = expect_context::<service::Service>().classifiers;
    let tuned = classifiers.classify(run, texts.clone()).await?;
    let base = classifiers.classify_base(run, texts.clone()).await?;
    Ok(Answer { texts, tuned, base })
}
