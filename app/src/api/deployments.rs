//! Server functions for deployments and the links to their demos.

use super::classify::Classifiers;
use crate::error::ApiError;
use domain::deployment::Deployment;
use domain::deployment::demo::Demo;
use domain::deployment::figures::DeploymentFigures;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// All deployments, and what a new one can answer with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentsData {
    pub deployments: Vec<Deployment>,
    pub classifiers: Classifiers,
}

/// What a deployment's page shows, but for what it can be moved to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentData {
    pub deployment: Deployment,
    pub figures: DeploymentFigures,
    /// The newest first.
    pub demos: Vec<Demo>,
    /// The server's time, by which links expire.
    pub now_ms: i64,
}

#[server]
pub async fn get_deployments() -> Result<DeploymentsData, ApiError> {
    let deployments = expect_context::<service::Service>().deployments.list().await?;
    Ok(DeploymentsData { deployments, classifiers: super::classify::list_classifiers().await? })
}

#[server]
pub async fn get_deployment(name: String) -> Result<DeploymentData, ApiError> {
    let deployments = expect_context::<service::Service>().deployments;
    Ok(DeploymentData {
        deployment: deployments.get(&name).await?,
        figures: deployments.figures(&name).await?,
        demos: deployments.demos(&name).await?,
        now_ms: deployments.now_ms(),
    })
}

/// `with` names the version, as in [`source`](super::source).
#[server]
pub async fn create_deployment(name: String, with: String, #[server(default)] by: String) -> Result<(), ApiError> {
    let name = name.trim();
    expect_context::<service::Service>().deployments.create(name, chosen::version(&with)?, &by).await?;
    leptos_axum::redirect(&format!("/deployments/{name}"));
    Ok(())
}

#[server]
pub async fn move_deployment(name: String, with: String, #[server(default)] by: String) -> Result<(), ApiError> {
    expect_context::<service::Service>().deployments.move_to(&name, chosen::version(&with)?, &by).await?;
    super::plain_form::back_to(&format!("/deployments/{name}"));
    Ok(())
}

/// To the version that the move with that number went to; without one, to the version before the present.
#[server]
pub async fn roll_back_deployment(
    name: String,
    to: Option<i64>,
    #[server(default)] by: String,
) -> Result<(), ApiError> {
    expect_context::<service::Service>().deployments.roll_back(&name, to, &by).await?;
    super::plain_form::back_to(&format!("/deployments/{name}"));
    Ok(())
}

#[server]
pub async fn start_canary(
    name: String,
    with: String,
    percent: u32,
    #[server(default)] by: String,
) -> Result<(), ApiError> {
    expect_context::<service::Service>().deployments.start_canary(&name, chosen::version(&with)?, percent, &by).await?;
    super::plain_form::back_to(&format!("/deployments/{name}"));
    Ok(())
}

#[server]
pub async fn stop_canary(name: String, #[server(default)] by: String) -> Result<(), ApiError> {
    expect_context::<service::Service>().deployments.stop_canary(&name, &by).await?;
    super::plain_form::back_to(&format!("/deployments/{name}"));
    Ok(())
}

#[server]
pub async fn remove_deployment(name: String) -> Result<(), ApiError> {
    expect_context::<service::Service>().deployments.remove(&name).await?;
    leptos_axum::redirect("/deployments");
    Ok(())
}

/// Empty `days`: until the link is revoked.
#[server]
pub async fn create_demo(
    name: String,
    #[server(default)] title: String,
    #[server(default)] logo_text: String,
    #[server(default)] colour: String,
    #[server(default)] days: String,
) -> Result<(), ApiError> {
    use domain::deployment::demo::Brand;
    use domain::error::UserError;
    let brand = Brand::parse(&title, &logo_text, &colour, &name)?;
    let days = match days.trim() {
        "" => None,
        days => Some(days.parse().map_err(|_| UserError::invalid("Days are a whole number, or nothing for no end."))?),
    };
    expect_context::<service::Service>().deployments.create_demo(&name, brand, days).await?;
    super::plain_form::back_to(&format!("/deployments/{name}#demos"));
    Ok(())
}

#[server]
pub async fn revoke_demo(name: String, token: String) -> Result<(), ApiError> {
    expect_context::<service::Service>().deployments.revoke_demo(&token).await?;
    super::plain_form::back_to(&format!("/deployments/{name}#demos"));
    Ok(())
}

#[cfg(feature = "ssr")]
mod chosen {
    use crate::api::source;
    use domain::catalogue::AdapterSource;
    use domain::error::UserError;

    pub fn version(with: &str) -> Result<AdapterSource, UserError> {
        source::parse(with).ok_or_else(|| UserError::invalid("Choose the version that is to answer."))
    }
}
