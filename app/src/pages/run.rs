//! One run: where it stands, its charts while it trains, what training changed, and how it was set up.

mod calibration;
mod charts;
mod evaluation;
mod exports;
mod log;
mod manifest;
mod results;
mod scores;
mod settings;
mod standing;
mod status;
mod test_rows;

use super::runs::look_again_while;
use crate::api::runs::{CancelRun, ResumeRun, RunPageData, get_run, get_run_summary};
use crate::components::{Button, ButtonKind, ButtonLink, ErrorNotice, Loading, Notice, PageHeader, Tone};
use crate::error::ApiError;
use crate::live::{LiveRun, watch_run};
use crate::while_shown::while_shown;
use charts::RunCharts;
use domain::error::UserError;
use domain::run::{RunId, RunStatus, RunSummary};
use evaluation::RunEvaluationParts;
use exports::RunExports;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use log::RunLog;
use manifest::RunManifest;
use results::RunResults;
use settings::RunSettings;
use status::RunStanding;

#[component]
pub fn RunPage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.read().get("id").and_then(|id| id.parse::<RunId>().ok()));
    let data = Resource::new_blocking(while_shown(id), |id| async move {
        match id {
            Some(id) => get_run(id).await,
            None => Err(ApiError::from(UserError::not_found("A run's address ends in its number; this one does not."))),
        }
    });
    view! {
        <Suspense fallback=|| {
            view! { <Loading what="run" /> }
        }>
            {move || Suspend::new(async move {
                match data.await {
                    Ok(data) => view! { <Run data /> }.into_any(),
                    Err(error) => view! { <NoRun error /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn NoRun(error: ApiError) -> impl IntoView {
    super::not_found::set_status(&error);
    view! {
        <PageHeader title="Run" parent=("/runs", "Runs") />
        <ErrorNotice error>
            <ButtonLink href="/runs">"To the runs"</ButtonLink>
        </ErrorNotice>
    }
    .into_any()
}

#[component]
fn Run(data: RunPageData) -> impl IntoView {
    let RunPageData { detail, picture, base_name, started_from } = data;
    let id = detail.summary.id;
    let first_status = detail.summary.status;
    let live = watch_run(id, picture);
    let status = Memo::new(move |_| live.picture.read().status.unwrap_or(first_status));
    let summary = fresh_summary(detail.summary.clone(), status);
    let before = Memo::new(move |_| live.picture.read().before.clone());
    let after = Memo::new(move |_| live.picture.read().after.clone());
    let is_finished = Signal::derive(move || status.get() == RunStatus::Finished);
    let labels = StoredValue::new(detail.summary.labels.clone());
    let spec = StoredValue::new(detail.spec.clone());
    let failure = detail.summary.failure.clone();
    let reason = move || {
        (status.get() == RunStatus::Failed)
            .then(|| live.picture.read().message.clone().or_else(|| failure.clone()).unwrap_or_default())
    };
    let cancel = ServerAction::<CancelRun>::new();
    let resume = ServerAction::<ResumeRun>::new();
    let refused = move || {
        let error = |result: Option<Result<(), ApiError>>| result.and_then(Result::err);
        error(cancel.value().get()).or_else(|| error(resume.value().get()))
    };
    let subtitle = format!("{} · {}", detail.summary.dataset_name, base_name);
    view! {
        <PageHeader title=detail.summary.name.clone() parent=("/runs", "Runs") subtitle=Some(subtitle)>
            <RunActions id status live cancel resume />
        </PageHeader>
        <div class="stack-loose">
            {move || refused().map(|error| view! { <ErrorNotice error /> })}
            {move || reason().map(|reason| view! { <Failed reason /> })}
            <RunStanding summary live status />
            <RunResults before after summary live is_finished />
            <Show when=move || is_finished.get()>
                <RunEvaluationParts run=id labels=labels.get_value() />
            </Show>
            <RunCharts run=id live />
            <Show when=move || is_finished.get()>
                <RunExports run=id spec=spec.get_value() />
            </Show>
            <RunLog live />
            <RunManifest run=id status />
            <RunSettings detail=detail.clone() base_name started_from />
        </div>
    }
    .into_any()
}

/// The summary that came with the page, looked at again whenever the state changes, and every few seconds while the run
/// waits, since those before it in the queue come to their end without a word to this one.
fn fresh_summary(first: RunSummary, status: Memo<RunStatus>) -> RwSignal<RunSummary> {
    let id = first.id;
    let summary = RwSignal::new(first);
    let look = Action::new(move |(): &()| get_run_summary(id));
    Effect::new(move |before: Option<RunStatus>| {
        let now = status.get();
        if before.is_some_and(|before| before != now) {
            look.dispatch(());
        }
        now
    });
    let waits = move || {
        // After every look, whatever it brought.
        look.version().track();
        status.get() == RunStatus::Queued
    };
    look_again_while(waits, move || {
        look.dispatch(());
    });
    Effect::new(move |_| {
        if let Some(Ok(fresh)) = look.value().get() {
            summary.set(fresh);
        }
    });
    summary
}

/// Why it failed, and what can be done.
#[component]
fn Failed(reason: String) -> impl IntoView {
    view! {
        <Notice tone=Tone::Bad title="This run failed">
            <p>{reason}</p>
            <p>
                "What it reached up to its last checkpoint is kept. Once the cause is gone, resume it; to change a setting, start a new run like this one."
            </p>
        </Notice>
    }
    .into_any()
}

/// What can be done with the run right now. Plain forms: they work without a script.
#[component]
fn RunActions(
    id: RunId,
    status: Memo<RunStatus>,
    live: LiveRun,
    cancel: ServerAction<CancelRun>,
    resume: ServerAction<ResumeRun>,
) -> impl IntoView {
    let can_cancel = move || matches!(status.get(), RunStatus::Queued | RunStatus::Running);
    let can_resume = move || matches!(status.get(), RunStatus::Cancelled | RunStatus::Failed);
    let from_step = move || live.picture.read().checkpoint_step;
    view! {
        <div class="run-actions">
            <Show when=move || status.get() == RunStatus::Finished>
                <ButtonLink href=format!("/classify?run={id}") kind=ButtonKind::Primary>
                    "Classify with it"
                </ButtonLink>
            </Show>
            <Show when=move || status.get() == RunStatus::Finished>
                // A page of its own, not the app's.
                <a class="button" href=format!("/runs/{id}/report") rel="external">
                    "Report"
                </a>
            </Show>
            <Show when=can_resume>
                <ActionForm action=resume>
                    <input type="hidden" name="id" value=id.to_string() />
                    <Button type_="submit" kind=ButtonKind::Primary pending=resume.pending()>
                        {move || match from_step() {
                            Some(step) => format!("Resume from step {step}"),
                            None => "Start it again".to_string(),
                        }}
                    </Button>
                </ActionForm>
            </Show>
            <ButtonLink href=format!("/runs/new?from={id}")>"New run like this"</ButtonLink>
            <Show when=can_cancel>
                <ActionForm action=cancel>
                    <input type="hidden" name="id" value=id.to_string() />
                    <Button type_="submit" kind=ButtonKind::Danger pending=cancel.pending()>
                        "Cancel"
                    </Button>
                </ActionForm>
            </Show>
        </div>
    }
    .into_any()
}
