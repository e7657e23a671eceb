//! Server functions for what a run's answers come to.

use crate::error::ApiError;
use domain::attribution::{Attribution, Method};
use domain::metrics::report::{AnswerSheet, RunReport};
use domain::row_query::{RowQuery, RowsPage};
use domain::run::RunId;
use domain::runs_comparison::RunsComparison;
use leptos::prelude::*;
use leptos::server_fn::codec::Json;
use serde::{Deserialize, Serialize};

/// A run's report, and the answers that the browser works on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEvaluation {
    pub report: RunReport,
    pub sheet: AnswerSheet,
}

/// `None` as long as there are no answers to the test rows.
#[server]
pub async fn get_evaluation(id: RunId) -> Result<Option<RunEvaluation>, ApiError> {
    let evaluated = expect_context::<service::Service>().evaluations.evaluated(id).await?;
    Ok(evaluated.map(|evaluated| RunEvaluation { report: evaluated.report.clone(), sheet: evaluated.answer_sheet() }))
}

/// The test rows with what the run answered before and after.
#[server(input = Json)]
pub async fn list_test_rows(id: RunId, query: RowQuery) -> Result<RowsPage, ApiError> {
    Ok(expect_context::<service::Service>().evaluations.browse(id, query).await?)
}

/// Runs beside each other, against the one that is asked for or else the best.
#[server(input = Json)]
pub async fn compare_runs(runs: Vec<RunId>, against: Option<RunId>) -> Result<RunsComparison, ApiError> {
    Ok(expect_context::<service::Service>().evaluations.compare(&runs, against).await?)
}

/// What each word of the text does for the label, or for the answer where none is named. `with` names the adapter, as in
/// [`source`](super::source).
#[server(input = Json)]
pub async fn explain(
    with: String,
    text: String,
    label: Option<usize>,
    method: Method,
) -> Result<Attribution, ApiError> {
    let source = super::source::parse(&with)
        .ok_or_else(|| domain::error::UserError::invalid("Choose what to classify with."))?;
    let question = service::explanations::Question { source, text, label, method };
    Ok(expect_context::<service::Service>().explanations.explain(question).await?)
}
