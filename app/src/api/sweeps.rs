//! Server functions for sweeps.

use super::sweep_form::SweepForm;
use crate::error::ApiError;
use domain::queue::QueueView;
use domain::run::RunSummary;
use domain::sweep::{BandPoint, SweepDetail, SweepId, SweepSummary};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// Runs on one page of the list.
pub const RUNS_ON_A_PAGE: u64 = 50;
/// Sweeps on one page of theirs.
pub const SWEEPS_ON_A_PAGE: u64 = 10;

#[cfg(feature = "ssr")]
const LAST_PAGE: u64 = 1_000_000;

/// What the page of all runs shows: a page of those that belong to no sweep, and a page of the sweeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunsPageData {
    /// Of the runs, counted from 0.
    pub page: u64,
    pub runs: Vec<RunSummary>,
    /// On all pages.
    pub total_runs: u64,
    /// Of the sweeps, counted from 0.
    pub sweeps_page: u64,
    /// Each with its runs.
    pub sweeps: Vec<(SweepSummary, Vec<RunSummary>)>,
    /// On all pages.
    pub total_sweeps: u64,
    pub queue: QueueView,
}

/// The curves of several seeds as one: mean and deviation at each step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeedCurves {
    pub loss: Vec<BandPoint>,
    pub macro_f1: Vec<BandPoint>,
}

/// Pages count from 0.
#[server]
pub async fn list_runs_and_sweeps(page: u64, sweeps_page: u64) -> Result<RunsPageData, ApiError> {
    let service = expect_context::<service::Service>();
    // Anybody can type a number into the address: what is too large is the last page.
    let (mut page, mut sweeps_page) = (page.min(LAST_PAGE), sweeps_page.min(LAST_PAGE));
    let (mut runs, total_runs) = service.runs.page_of_single(page * RUNS_ON_A_PAGE, RUNS_ON_A_PAGE).await?;
    if runs.is_empty() && total_runs > 0 {
        page = (total_runs - 1) / RUNS_ON_A_PAGE;
        runs = service.runs.page_of_single(page * RUNS_ON_A_PAGE, RUNS_ON_A_PAGE).await?.0;
    }
    let (mut found, total_sweeps) = service.sweeps.page(sweeps_page * SWEEPS_ON_A_PAGE, SWEEPS_ON_A_PAGE).await?;
    if found.is_empty() && total_sweeps > 0 {
        sweeps_page = (total_sweeps - 1) / SWEEPS_ON_A_PAGE;
        found = service.sweeps.page(sweeps_page * SWEEPS_ON_A_PAGE, SWEEPS_ON_A_PAGE).await?.0;
    }
    let mut sweeps = Vec::with_capacity(found.len());
    for sweep in found {
        let members = service.runs.of_sweep(sweep.id).await?;
        sweeps.push((sweep, members));
    }
    let queue = service.runs.queue().await?;
    Ok(RunsPageData { page, runs, total_runs, sweeps_page, sweeps, total_sweeps, queue })
}

#[server]
pub async fn get_sweep(id: SweepId) -> Result<SweepDetail, ApiError> {
    Ok(expect_context::<service::Service>().sweeps.get(id).await?)
}

#[server]
pub async fn get_seed_curves(id: SweepId) -> Result<SeedCurves, ApiError> {
    let service = expect_context::<service::Service>();
    let (mut losses, mut looks) = (Vec::new(), Vec::new());
    for run in service.sweeps.get(id).await?.summary.runs {
        let picture = service.runs.picture(run).await?;
        losses.push(loss_points(&picture));
        looks.push(picture.validations.iter().map(|point| (point.step, point.macro_f1)).collect());
    }
    Ok(SeedCurves { loss: domain::sweep::band(&losses), macro_f1: domain::sweep::band(&looks) })
}

/// Starts the sweep that the form asks for and leads to its page. A plain form that is refused comes back as it was
/// typed, in the address.
#[server]
pub async fn start_sweep(form: SweepForm) -> Result<SweepId, ApiError> {
    let started = match form.read() {
        Ok(new) => named(new).await,
        Err(errors) => Err(super::sweep_form::first_of(errors).into()),
    };
    match started {
        Ok(id) => {
            leptos_axum::redirect(&format!("/sweeps/{id}"));
            Ok(id)
        }
        Err(error) => {
            super::plain_form::back_to(&format!("/sweeps/new?{}&refused=1", form.query()));
            Err(error)
        }
    }
}

#[server]
pub async fn cancel_sweep(id: SweepId) -> Result<(), ApiError> {
    expect_context::<service::Service>().sweeps.cancel(id).await?;
    super::plain_form::back_to(&format!("/sweeps/{id}"));
    Ok(())
}

#[server]
pub async fn resume_sweep(id: SweepId) -> Result<(), ApiError> {
    expect_context::<service::Service>().sweeps.resume(id).await?;
    super::plain_form::back_to(&format!("/sweeps/{id}"));
    Ok(())
}

#[cfg(feature = "ssr")]
use on_the_server::{loss_points, named};

#[cfg(feature = "ssr")]
mod on_the_server {
    use super::*;
    use crate::charts::curve::smooth;
    use domain::run::RunPicture;
    use domain::sweep::NewSweep;

    /// Points of a curve that are sent at most.
    const MOST_POINTS: usize = 400;
    /// Weight of the past, as the charts of a run begin with.
    const SMOOTHING: f64 = 0.6;

    pub async fn named(mut new: NewSweep) -> Result<SweepId, ApiError> {
        let service = expect_context::<service::Service>();
        if new.run.name.is_empty() {
            let knobs: Vec<&str> = new.space.dimensions.iter().map(|dimension| dimension.knob.as_str()).collect();
            new.run.name = format!("{}, {}", service.datasets.get(new.run.dataset_id).await?.name, knobs.join(" × "));
        }
        Ok(service.sweeps.start(new).await?)
    }

    /// The smoothed loss at the same steps in every run of a recipe.
    pub fn loss_points(picture: &RunPicture) -> Vec<(u64, f64)> {
        let total = picture.last_step().map_or(0, |point| point.total_steps) as usize;
        let every = total.div_ceil(MOST_POINTS).max(1) as u64;
        let smooth = smooth(picture.steps.iter().map(|point| point.loss), SMOOTHING);
        let points = picture.steps.iter().map(|point| point.step).zip(smooth);
        points.filter(|(step, _)| step.is_multiple_of(every) || *step == 1).collect()
    }
}
