//! Server functions for runs.

use super::run_form::RunForm;
use crate::error::ApiError;
use domain::catalogue::{AdapterSource, ModelId, ModelSummary};
use domain::dataset::{DatasetId, DatasetSummary, Row};
use domain::model::{BaseModelInfo, DeviceInfo, Estimate, PromptPreview};
use domain::run::{RunDetail, RunId, RunPicture, RunSummary};
use domain::split::FrozenTest;
use domain::version::DatasetVersion;
use leptos::prelude::*;
use leptos::server_fn::codec::Json;
use serde::{Deserialize, Serialize};

/// A run as its page needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPageData {
    pub detail: RunDetail,
    /// Of a long run without the steps that do not stand out.
    pub picture: RunPicture,
    /// What the catalogue calls the base; what its file did, where it has been removed.
    pub base_name: String,
    /// The name of what training started from, where that is still there.
    pub started_from: Option<String>,
}

/// An adapter that training can start from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartingPoint {
    pub source: AdapterSource,
    pub name: String,
    /// The model that it belongs on.
    pub base: ModelId,
    pub r: u64,
}

/// What the form of a new run chooses from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRunData {
    pub datasets: Vec<DatasetSummary>,
    /// Those that are ready, the server's own first.
    pub bases: Vec<ModelSummary>,
    /// Finished runs, then adapters of the catalogue.
    pub starts: Vec<StartingPoint>,
    pub device: DeviceInfo,
    /// The run whose settings are to be taken over.
    pub from: Option<RunDetail>,
}

/// Finished runs that the overview shows.
#[cfg(feature = "ssr")]
const LATEST: u64 = 5;

/// What the overview shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverviewData {
    pub datasets: Vec<DatasetSummary>,
    /// The newest first.
    pub under_way: Vec<RunSummary>,
    /// The newest of those that have finished.
    pub finished: Vec<RunSummary>,
    /// How many have finished in all.
    pub finished_in_all: u64,
    pub base: BaseModelInfo,
    pub device: DeviceInfo,
}

/// What the choice of a split depends on, of one dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitBasis {
    /// The newest first.
    pub versions: Vec<DatasetVersion>,
    pub frozen: Option<FrozenTest>,
}

#[server]
pub async fn get_overview() -> Result<OverviewData, ApiError> {
    let service = expect_context::<service::Service>();
    Ok(OverviewData {
        datasets: service.datasets.list().await?,
        under_way: service.runs.moving().await?,
        finished: service.runs.finished_runs(None, LATEST).await?,
        finished_in_all: service.runs.count_finished().await?,
        base: service.models.info(domain::catalogue::OWN_MODEL).await?,
        device: service.models.device(),
    })
}

#[server]
pub async fn get_run(id: RunId) -> Result<RunPageData, ApiError> {
    let service = expect_context::<service::Service>();
    let detail = service.runs.get(id).await?;
    let started_from = match detail.start_from {
        Some(AdapterSource::Run(run)) => service.runs.get(run).await.ok().map(|run| run.summary.name),
        Some(AdapterSource::Model(model)) => {
            service.models.get(model).await.ok().map(|model| crate::format::model_name(&model))
        }
        None => None,
    };
    let base = service.models.get(detail.base_model).await.ok();
    let base_name = base.map_or_else(|| detail.summary.base_model.clone(), |base| crate::format::model_name(&base));
    Ok(RunPageData { detail, base_name, picture: service.runs.thinned_picture(id).await?, started_from })
}

/// What of a run its events do not tell: its place in the queue, and when it was started and ended.
#[server]
pub async fn get_run_summary(id: RunId) -> Result<RunSummary, ApiError> {
    Ok(expect_context::<service::Service>().runs.get(id).await?.summary)
}

#[server]
pub async fn get_new_run_data(from: Option<RunId>) -> Result<NewRunData, ApiError> {
    let service = expect_context::<service::Service>();
    let from = match from {
        Some(id) => Some(service.runs.get(id).await?),
        None => None,
    };
    let (bases, adapters) = ready_models(&service).await?;
    let mut starts = finished_runs(&service).await?;
    starts.extend(adapters);
    Ok(NewRunData { datasets: service.datasets.list().await?, bases, starts, device: service.models.device(), from })
}

/// The versions of a dataset and its frozen test set.
#[server]
pub async fn get_split_basis(dataset: DatasetId) -> Result<SplitBasis, ApiError> {
    let datasets = expect_context::<service::Service>().datasets;
    Ok(SplitBasis { versions: datasets.versions(dataset).await?, frozen: datasets.frozen_test(dataset).await? })
}

/// Freezes the test rows that the form's split gives, and turns the form to them.
#[server]
pub async fn freeze_test(form: RunForm, #[server(default)] by: String) -> Result<FrozenTest, ApiError> {
    let mut form = form;
    form.settle_modules();
    let split = form.split()?;
    split.check()?;
    let dataset =
        form.dataset_id().ok_or_else(|| domain::error::UserError::invalid("Choose a dataset, then freeze."))?;
    let by = if by.is_empty() { domain::version::NOBODY } else { &by };
    let frozen = expect_context::<service::Service>().datasets.freeze_test(dataset, &split, by).await?;
    form.set("split", "frozen");
    super::plain_form::back_to(&format!("/runs/new?{}", form.query()));
    Ok(frozen)
}

/// Starts the run that the form asks for and leads to its page. A plain form that is refused comes back as it was
/// typed, in the address; the page then finds the same errors in it again.
#[server]
pub async fn start_run(form: RunForm) -> Result<RunId, ApiError> {
    let mut form = form;
    form.settle_modules();
    match start(&form).await {
        Ok(Started { run, page }) => {
            leptos_axum::redirect(&page);
            Ok(run)
        }
        Err(error) => {
            super::plain_form::back_to(&format!("/runs/new?{}&refused=1", form.query()));
            Err(error)
        }
    }
}

/// Time, memory and numbers of what the form asks for.
#[server(input = Json)]
pub async fn estimate_run(form: RunForm) -> Result<Estimate, ApiError> {
    let run = form.read().map_err(first_refused)?;
    Ok(expect_context::<service::Service>().runs.estimate(&run).await?)
}

/// The `row`-th row of the dataset, counted from 0 and round again at its end, as the model will see it.
#[server(input = Json)]
pub async fn preview_prompt(form: RunForm, row: u64) -> Result<(Row, PromptPreview), ApiError> {
    let dataset = form
        .dataset_id()
        .ok_or_else(|| domain::error::UserError::invalid("Choose a dataset to see one of its rows."))?;
    Ok(expect_context::<service::Service>().runs.preview(form.base(), dataset, &form.spec()?, row).await?)
}

#[server]
pub async fn cancel_run(id: RunId) -> Result<(), ApiError> {
    expect_context::<service::Service>().runs.cancel(id).await?;
    super::plain_form::back_to(&format!("/runs/{id}"));
    Ok(())
}

#[server]
pub async fn resume_run(id: RunId) -> Result<(), ApiError> {
    expect_context::<service::Service>().runs.resume(id).await?;
    super::plain_form::back_to(&format!("/runs/{id}"));
    Ok(())
}

#[cfg(feature = "ssr")]
use on_the_server::{Started, finished_runs, first_refused, ready_models, start};

#[cfg(feature = "ssr")]
mod on_the_server {
    use super::*;
    use crate::api::run_form::{FieldError, automatic_name};
    use domain::catalogue::{ModelKind, ModelStatus};
    use domain::error::UserError;
    use domain::people::Actor;

    /// Finished runs that are offered as starting points: the newest.
    const RUNS_OFFERED: u64 = 50;

    pub async fn finished_runs(service: &service::Service) -> Result<Vec<StartingPoint>, ApiError> {
        let mut points = Vec::new();
        for run in service.runs.finished_runs(None, RUNS_OFFERED).await? {
            let detail = service.runs.get(run.id).await?;
            points.push(StartingPoint {
                source: AdapterSource::Run(run.id),
                name: run.name,
                base: detail.base_model,
                r: detail.spec.r,
            });
        }
        Ok(points)
    }

    /// The bases and the adapters that a run can begin from now.
    pub async fn ready_models(service: &service::Service) -> Result<(Vec<ModelSummary>, Vec<StartingPoint>), ApiError> {
        let mut models = service.models.list().await?;
        models.retain(|model| model.status == ModelStatus::Ready);
        let (bases, adapters): (Vec<_>, Vec<_>) = models.into_iter().partition(|model| model.kind == ModelKind::Base);
        let points = adapters.iter().filter_map(|model| {
            let adapter = model.adapter.as_ref()?;
            Some(StartingPoint {
                source: AdapterSource::Model(model.id),
                name: crate::format::model_name(model),
                base: adapter.base,
                r: adapter.r as u64,
            })
        });
        Ok((bases, points.collect()))
    }

    /// The first run that was started, and the page that shows what was.
    pub struct Started {
        pub run: RunId,
        pub page: String,
    }

    pub async fn start(form: &RunForm) -> Result<Started, ApiError> {
        let service = expect_context::<service::Service>();
        let mut run = form.read().map_err(first_refused)?;
        if run.name.is_empty() {
            run.name = automatic_name(&service.datasets.get(run.dataset_id).await?.name, &run.spec);
        }
        let seeds = form.seeds()?;
        if seeds == 1 {
            let by = use_context::<Actor>().filter(|actor| actor.user_id.is_some()).map(|actor| actor.name);
            let run = service.runs.start_once(run, by.as_deref().unwrap_or_default()).await?;
            return Ok(Started { run, page: format!("/runs/{run}") });
        }
        let sweep = service.sweeps.start_seeds(run, seeds).await?;
        let run = service.sweeps.get(sweep).await?.summary.runs.first().copied().unwrap_or_default();
        Ok(Started { run, page: format!("/sweeps/{sweep}") })
    }

    pub fn first_refused(errors: Vec<FieldError>) -> UserError {
        let message = errors.into_iter().next().map_or_else(String::new, |error| error.message);
        UserError::invalid(message)
    }
}
