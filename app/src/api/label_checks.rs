//! Server functions for label checks and the review of doubtful rows.

use crate::error::ApiError;
use domain::dataset::DatasetId;
use domain::review::{Decision, DoubtfulRow, LabelCheck, LabelCheckId};
use domain::run::RunId;
use domain::version::{DatasetVersion, RowId};
use leptos::prelude::*;
use leptos::server_fn::codec::Json;
use serde::{Deserialize, Serialize};

/// What the page of a review starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewPageData {
    pub dataset_name: String,
    /// In the dataset's order, which gives the colours and the keys.
    pub labels: Vec<String>,
    pub review: Review,
}

/// A part of the queue as everybody's decisions have made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    pub check: LabelCheck,
    /// Place of the first of `rows` in the queue, from 0.
    pub first: u64,
    pub rows: Vec<DoubtfulRow>,
}

#[server]
pub async fn list_label_checks(dataset: DatasetId) -> Result<Vec<LabelCheck>, ApiError> {
    Ok(expect_context::<service::Service>().label_checks.list(dataset).await?)
}

/// Trains `folds` classifiers with the settings of that run, each without one part of the rows. The arguments are the
/// fields of the form.
#[server]
pub async fn start_label_check(
    dataset: DatasetId,
    run: RunId,
    folds: u64,
    #[server(default)] by: String,
) -> Result<LabelCheck, ApiError> {
    let by = if by.trim().is_empty() { domain::version::NOBODY.to_owned() } else { by };
    let check = expect_context::<service::Service>().label_checks.start(run, folds, &by).await?;
    super::plain_form::back_to(&format!("/datasets/{dataset}#label-checks"));
    Ok(check)
}

#[server]
pub async fn get_review_page(dataset: DatasetId, check: LabelCheckId) -> Result<ReviewPageData, ApiError> {
    let service = expect_context::<service::Service>();
    let found = service.label_checks.get(check).await?;
    if found.dataset != dataset {
        return Err(domain::error::UserError::not_found(format!(
            "Dataset {dataset} has no label check {check}. Its page lists those that there are."
        ))
        .into());
    }
    let version = service.datasets.version(dataset, found.version).await?;
    Ok(ReviewPageData {
        dataset_name: service.datasets.get(dataset).await?.name,
        labels: version.labels.into_iter().map(|count| count.label).collect(),
        review: on_the_server::first_rows(&service, check).await?,
    })
}

#[server]
pub async fn get_review(check: LabelCheckId, first: u64, count: u64) -> Result<Review, ApiError> {
    on_the_server::review(&expect_context::<service::Service>(), check, first, count).await
}

/// Tells the others who looks at that row.
#[server]
pub async fn hold_row(check: LabelCheckId, row: RowId, by: String) -> Result<(), ApiError> {
    expect_context::<service::Service>().label_checks.hold(check, row, &by).await?;
    Ok(())
}

/// Refused, with who it was, where somebody else has decided.
#[server(input = Json)]
pub async fn decide_row(
    check: LabelCheckId,
    row: RowId,
    decision: Decision,
    by: String,
) -> Result<DoubtfulRow, ApiError> {
    Ok(expect_context::<service::Service>().label_checks.decide(check, row, decision, &by).await?)
}

/// Takes one's own decision back; the row is open again.
#[server]
pub async fn withdraw_decision(check: LabelCheckId, row: RowId, by: String) -> Result<DoubtfulRow, ApiError> {
    Ok(expect_context::<service::Service>().label_checks.withdraw(check, row, &by).await?)
}

/// Makes a version of all decisions so far.
#[server]
pub async fn apply_review(check: LabelCheckId, by: String) -> Result<DatasetVersion, ApiError> {
    Ok(expect_context::<service::Service>().label_checks.apply(check, &by).await?)
}

#[cfg(feature = "ssr")]
mod on_the_server {
    use super::Review;
    use crate::error::ApiError;
    use domain::review::LabelCheckId;

    /// Rows of the queue that come with the page.
    const FIRST_ROWS: u64 = 40;

    pub async fn first_rows(service: &service::Service, check: LabelCheckId) -> Result<Review, ApiError> {
        review(service, check, 0, FIRST_ROWS).await
    }

    pub async fn review(
        service: &service::Service,
        check: LabelCheckId,
        first: u64,
        count: u64,
    ) -> Result<Review, ApiError> {
        let rows = service.label_checks.doubtful(check, first, count).await?;
        Ok(Review { check: service.label_checks.get(check).await?, first, rows })
    }
}
