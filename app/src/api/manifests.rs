//! Server functions for what a run was made of, and for making it again.

use crate::error::ApiError;
use domain::manifest::{Manifest, Reproduction};
use domain::run::RunId;
use domain::sweep::SweepSummary;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// Where a run comes from, beside its own settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// `None` until the run has been taken up.
    pub manifest: Option<Manifest>,
    /// Of a run that was started from another's manifest.
    pub reproduction: Option<Reproduction>,
    /// The sweep that it belongs to.
    pub sweep: Option<SweepSummary>,
}

#[server]
pub async fn get_origin(id: RunId) -> Result<Origin, ApiError> {
    let service = expect_context::<service::Service>();
    Ok(Origin {
        manifest: service.manifests.get(id).await?,
        reproduction: service.manifests.reproduction(id).await?,
        sweep: service.sweeps.of_run(id).await?,
    })
}

/// Starts the run again from its manifest and leads to the new run's page.
#[server]
pub async fn reproduce_run(id: RunId) -> Result<RunId, ApiError> {
    match expect_context::<service::Service>().manifests.reproduce(id).await {
        Ok(run) => {
            leptos_axum::redirect(&format!("/runs/{run}"));
            Ok(run)
        }
        Err(error) => {
            super::plain_form::back_to(&format!("/runs/{id}"));
            Err(error.into())
        }
    }
}
