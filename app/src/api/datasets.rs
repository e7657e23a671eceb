//! Server functions for datasets.

use crate::error::ApiError;
use domain::dataset::{DatasetId, DatasetSummary, RejectedRow};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// One page of the rows that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejectedPage {
    pub rows: Vec<RejectedRow>,
    /// On all pages.
    pub total: u64,
    pub page: u64,
    pub page_size: u64,
}

#[server]
pub async fn list_datasets() -> Result<Vec<DatasetSummary>, ApiError> {
    Ok(expect_context::<service::Service>().datasets.list().await?)
}

#[server]
pub async fn get_dataset(id: DatasetId) -> Result<DatasetSummary, ApiError> {
    Ok(expect_context::<service::Service>().datasets.get(id).await?)
}

/// Some of the rows that could not be used; pages count from 0.
#[server]
pub async fn rejected_rows(id: DatasetId, page: u64) -> Result<RejectedPage, ApiError> {
    let (rows, total) = expect_context::<service::Service>().datasets.rejected(id, page).await?;
    Ok(RejectedPage { rows, total, page, page_size: service::datasets::PAGE_SIZE })
}
