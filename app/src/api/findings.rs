//! Server functions for the examination of a dataset: where it stands, what it found, and the repairs.

use crate::error::ApiError;
use domain::dataset::DatasetId;
use domain::finding::{ExaminationState, FindingKind, FindingPage, Repair, RepairPreview};
use domain::version::{DatasetVersion, VersionNumber};
use leptos::prelude::*;
use leptos::server_fn::codec::Json;

/// Starts the examination where there is none yet.
#[server]
pub async fn get_examination(id: DatasetId, version: VersionNumber) -> Result<ExaminationState, ApiError> {
    Ok(expect_context::<service::Service>().datasets.examination(id, Some(version)).await?)
}

/// Some groups of one finding, counted from 0.
#[server(input = Json)]
pub async fn get_finding(
    id: DatasetId,
    version: VersionNumber,
    kind: FindingKind,
    first: u64,
    count: u64,
) -> Result<FindingPage, ApiError> {
    Ok(expect_context::<service::Service>().datasets.finding(id, Some(version), kind, first, count).await?)
}

/// What a repair would do to the newest version.
#[server(input = Json)]
pub async fn preview_repair(id: DatasetId, kind: FindingKind, repair: Repair) -> Result<RepairPreview, ApiError> {
    Ok(expect_context::<service::Service>().datasets.preview_repair(id, kind, &repair).await?)
}

/// Makes a version of what was previewed on `version`; refused where that is not the newest any more.
#[server(input = Json)]
pub async fn apply_repair(
    id: DatasetId,
    version: VersionNumber,
    kind: FindingKind,
    repair: Repair,
    by: String,
) -> Result<DatasetVersion, ApiError> {
    Ok(expect_context::<service::Service>().datasets.apply_repair(id, version, kind, &repair, &by).await?)
}
