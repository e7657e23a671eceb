use super::calibration::CalibrationCard;
use super::scores::ScoresCard;
use super::test_rows::TestRows;
use crate::api::evaluations::get_evaluation;
use crate::components::{ErrorNotice, Loading};
use domain::run::RunId;
use leptos::prelude::*;

/// What a finished run's answers come to: every score, whether its confidence is honest, and its rows one by one.
#[component]
pub fn RunEvaluationParts(run: RunId, labels: Vec<String>) -> impl IntoView {
    let evaluation = Resource::new(move || run, get_evaluation);
    view! {
        <Suspense fallback=|| {
            view! { <Loading what="scores" /> }
        }>
            {move || Suspend::new(async move {
                match evaluation.await {
                    Ok(Some(evaluation)) => view! {
                        <ScoresCard run report=evaluation.report.clone() />
                        <CalibrationCard report=evaluation.report sheet=evaluation.sheet />
                    }
                    .into_any(),
                    Ok(None) => view! { <p class="soft">"This run's answers to its test rows are not stored."</p> }.into_any(),
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                }
            })}
        </Suspense>
        <TestRows run labels />
    }
    .into_any()
}
