//! Server functions for the exports of a run.

use crate::error::ApiError;
use domain::catalogue::{ExportId, ExportSummary, HubAccount};
use domain::model::BaseModelInfo;
use domain::run::RunId;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// What the card of a run's exports shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportsData {
    /// The newest first.
    pub exports: Vec<ExportSummary>,
    pub account: HubAccount,
    /// For the sizes; `None` where the base has been removed since.
    pub base: Option<BaseModelInfo>,
}

#[server]
pub async fn get_exports(run: RunId) -> Result<ExportsData, ApiError> {
    let service = expect_context::<service::Service>();
    let base = service.runs.get(run).await?.base_model;
    Ok(ExportsData {
        exports: service.exports.list(run).await?,
        account: service.models.account().await?,
        base: service.models.info(base).await.ok(),
    })
}

#[server]
pub async fn list_exports(run: RunId) -> Result<Vec<ExportSummary>, ApiError> {
    Ok(expect_context::<service::Service>().exports.list(run).await?)
}

/// Starts an export. `kind` and `merge_into` are the words of [`ExportKind`](domain::export::ExportKind) and
/// [`MergeInto`](domain::export::MergeInto).
#[server]
pub async fn start_export(
    run: RunId,
    kind: String,
    #[server(default)] merge_into: String,
) -> Result<ExportId, ApiError> {
    use domain::error::UserError;
    use domain::export::{ExportKind, MergeInto};
    let kind = ExportKind::parse(&kind).ok_or_else(|| UserError::invalid("Choose what to take with you."))?;
    let merge_into = MergeInto::parse(&merge_into).unwrap_or_default();
    let id = expect_context::<service::Service>().exports.start(run, kind, merge_into).await?;
    super::plain_form::back_to(&format!("/runs/{run}#exports"));
    Ok(id)
}

#[server]
pub async fn remove_export(run: RunId, id: ExportId) -> Result<(), ApiError> {
    expect_context::<service::Service>().exports.remove(id).await?;
    super::plain_form::back_to(&format!("/runs/{run}#exports"));
    Ok(())
}

/// Sends an export to the Hub; a box that is not sent was unchecked.
#[server]
pub async fn push_export(
    run: RunId,
    id: ExportId,
    repo: String,
    #[server(default)] private: bool,
) -> Result<(), ApiError> {
    expect_context::<service::Service>().exports.push(id, repo.trim().to_owned(), private).await?;
    super::plain_form::back_to(&format!("/runs/{run}#exports"));
    Ok(())
}
