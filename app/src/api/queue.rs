//! Server functions for the queue of runs.

use crate::error::ApiError;
use domain::run::RunId;
use leptos::prelude::*;
#[cfg(feature = "ssr")]
use {
    domain::error::UserError,
    domain::people::Actor,
    domain::queue::{Priority, QueueMove},
};

/// `to`: the word of a [`domain::queue::QueueMove`].
#[server]
pub async fn move_queued_run(id: RunId, to: String) -> Result<(), ApiError> {
    let place = QueueMove::parse(&to).ok_or_else(|| UserError::invalid("A run moves to the front, up or down."))?;
    expect_context::<service::Service>().runs.move_in_queue(id, place).await?;
    leptos_axum::redirect("/runs");
    Ok(())
}

/// `priority`: the word of a [`domain::queue::Priority`].
#[server]
pub async fn set_run_priority(id: RunId, priority: String) -> Result<(), ApiError> {
    let priority =
        Priority::parse(&priority).ok_or_else(|| UserError::invalid("A priority is high, normal or low."))?;
    expect_context::<service::Service>().runs.set_priority(id, priority).await?;
    leptos_axum::redirect("/runs");
    Ok(())
}

/// Nothing new is taken up from now on.
#[server]
pub async fn pause_queue() -> Result<(), ApiError> {
    let by = use_context::<Actor>().unwrap_or_else(Actor::somebody).name;
    expect_context::<service::Service>().runs.pause_queue(&by).await?;
    leptos_axum::redirect("/runs");
    Ok(())
}

#[server]
pub async fn resume_queue() -> Result<(), ApiError> {
    expect_context::<service::Service>().runs.resume_queue().await?;
    leptos_axum::redirect("/runs");
    Ok(())
}
