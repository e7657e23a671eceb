//! Server functions for a dataset's versions: what its page starts from, its rows, and changes to them.

use crate::error::ApiError;
use domain::dataset::{DatasetId, DatasetSummary};
use domain::finding::ExaminationState;
use domain::review::LabelCheck;
use domain::run::RunId;
use domain::version::{DatasetVersion, RowEdit, RowQuery, RowSlice, VersionNumber};
use leptos::prelude::*;
use leptos::server_fn::codec::Json;
use serde::{Deserialize, Serialize};

/// What the page of a dataset starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetPageData {
    pub summary: DatasetSummary,
    /// Newest first.
    pub versions: Vec<DatasetVersion>,
    /// Of the version that is looked at.
    pub examination: ExaminationState,
    /// Finished runs of this dataset, newest first.
    pub runs: Vec<FinishedRun>,
    pub checks: Vec<LabelCheck>,
}

/// A run whose settings can be used to check labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRun {
    pub id: RunId,
    pub name: String,
}

/// `version` is the one that is looked at; `None`: the newest.
#[server]
pub async fn get_dataset_page(id: DatasetId, version: Option<VersionNumber>) -> Result<DatasetPageData, ApiError> {
    let service = expect_context::<service::Service>();
    let mut versions = service.datasets.versions(id).await?;
    let shown = version.or(versions.first().map(|newest| newest.number));
    // Of very many versions the first ones are not listed.
    if let Some(asked) = version.filter(|asked| versions.iter().all(|listed| listed.number != *asked)) {
        versions.push(service.datasets.version(id, asked).await?);
    }
    let runs = service.runs.finished_runs(Some(id), u64::MAX).await?.into_iter();
    Ok(DatasetPageData {
        summary: service.datasets.get(id).await?,
        versions,
        examination: service.datasets.examination(id, shown).await?,
        runs: runs.map(|run| FinishedRun { id: run.id, name: run.name }).collect(),
        checks: service.label_checks.list(id).await?,
    })
}

/// Those that were made after version `after`, newest first.
#[server]
pub async fn newer_versions(id: DatasetId, after: VersionNumber) -> Result<Vec<DatasetVersion>, ApiError> {
    let mut versions = expect_context::<service::Service>().datasets.versions(id).await?;
    versions.retain(|version| version.number > after);
    Ok(versions)
}

#[server(input = Json)]
pub async fn query_rows(id: DatasetId, query: RowQuery) -> Result<RowSlice, ApiError> {
    Ok(expect_context::<service::Service>().datasets.rows(id, &query).await?)
}

/// Changes one row; the answer is the version that it made.
#[server(input = Json)]
pub async fn edit_row(id: DatasetId, edit: RowEdit) -> Result<DatasetVersion, ApiError> {
    Ok(expect_context::<service::Service>().datasets.edit(id, edit).await?)
}

/// Takes back what that version changed; the answer is the version that this made.
#[server]
pub async fn undo_version(id: DatasetId, version: VersionNumber, by: String) -> Result<DatasetVersion, ApiError> {
    Ok(expect_context::<service::Service>().datasets.undo(id, version, &by).await?)
}

/// Makes a version that has the rows of an earlier one.
#[server]
pub async fn restore_version(id: DatasetId, version: VersionNumber, by: String) -> Result<DatasetVersion, ApiError> {
    Ok(expect_context::<service::Service>().datasets.restore(id, version, &by).await?)
}
