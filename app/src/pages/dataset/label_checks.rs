use super::open::OpenDataset;
use crate::api::label_checks::{StartLabelCheck, list_label_checks};
use crate::api::versions::FinishedRun;
use crate::components::{Button, ButtonKind, ButtonLink, ErrorNotice, Pill, ProgressBar, TimeStamp, Tone};
use crate::format;
use crate::polled::poll;
use domain::review::{LabelCheck, LabelCheckStatus};
use leptos::prelude::*;

/// Labels checked by classifiers that have not seen them: how to start it, how far it is, and the way to the review.
#[component]
pub fn LabelChecks(dataset: OpenDataset, runs: Vec<FinishedRun>, checks: Vec<LabelCheck>) -> impl IntoView {
    let id = dataset.id;
    let is_working = |checks: &Vec<LabelCheck>| checks.iter().any(|check| check.status == LabelCheckStatus::Working);
    let checks = poll(checks, move || list_label_checks(id), is_working);
    let start = ServerAction::<StartLabelCheck>::new();
    checks.look_after(*start);
    let list = move || {
        let entries = checks.value.get().into_iter().map(|check| view! { <CheckEntry check /> }).collect_view();
        (!checks.value.read().is_empty()).then(|| view! { <ul class="checks">{entries}</ul> })
    };
    view! {
        <section class="card" id="label-checks" aria-labelledby="label-checks-title">
            <header class="card-head">
                <h2 class="card-title" id="label-checks-title">
                    "Check the labels with cross-validation"
                </h2>
            </header>
            <p class="soft">
                "The rows are dealt into parts. Each part is judged by a classifier that was trained on the others, so that \
                every label gets a second opinion from one that has not seen it. The labels that the classifiers doubt come \
                into a queue, to be accepted, changed or dropped, by several people at once."
            </p>
            <StartForm dataset runs start />
            {move || start.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> })}
            {list}
        </section>
    }
    .into_any()
}

#[component]
fn StartForm(dataset: OpenDataset, runs: Vec<FinishedRun>, start: ServerAction<StartLabelCheck>) -> impl IntoView {
    if runs.is_empty() {
        return view! {
            <p class="small">
                "It takes its settings from a finished run of this dataset; there is none yet. "
                <a href=format!("/runs/new?dataset={}", dataset.id)>"Start one"</a>
            </p>
        }
        .into_any();
    }
    let choices = runs
        .into_iter()
        .map(|run| view! { <option value=run.id.to_string()>{format!("{} (run {})", run.name, run.id)}</option> })
        .collect_view();
    let folds = (2..=10)
        .map(|folds: u64| {
            view! {
                <option value=folds.to_string() selected=folds == 5>
                    {folds}
                </option>
            }
        })
        .collect_view();
    view! {
        <ActionForm action=start attr:class="check-form">
            <input type="hidden" name="dataset" value=dataset.id.to_string() />
            <input type="hidden" name="by" prop:value=move || { dataset.reviewer.track(); dataset.by() } value="" />
            <label class="field check-run">
                <span class="field-label">"With the settings of"</span>
                <select class="select" name="run">
                    {choices}
                </select>
            </label>
            <label class="field">
                <span class="field-label">"Parts, each a run"</span>
                <select class="select" name="folds">
                    {folds}
                </select>
            </label>
            <Button type_="submit" kind=ButtonKind::Plain pending=start.pending()>
                "Start the check"
            </Button>
        </ActionForm>
    }
    .into_any()
}

#[component]
fn CheckEntry(check: LabelCheck) -> impl IntoView {
    let (tone, word) = match check.status {
        LabelCheckStatus::Working => (Tone::Info, "working"),
        LabelCheckStatus::Ready => (Tone::Good, "ready"),
        LabelCheckStatus::Applied => (Tone::Neutral, "applied"),
        LabelCheckStatus::Failed => (Tone::Bad, "failed"),
    };
    let folds = check.runs.len();
    let progress = (check.status == LabelCheckStatus::Working).then(|| {
        let share = check.runs_done as f64 / folds.max(1) as f64;
        view! {
            <ProgressBar value=Signal::derive(move || Some(share)) label="Runs of the check" />
        }
    });
    let words = match check.status {
        LabelCheckStatus::Working => format!("{} of {folds} runs done.", check.runs_done),
        LabelCheckStatus::Failed => check.failure.clone().unwrap_or_else(|| "It failed.".to_owned()),
        LabelCheckStatus::Ready | LabelCheckStatus::Applied => {
            let agreement = check.agreement.map_or(String::new(), |share| {
                format!("The classifiers agree with {} of the labels; ", format::percent(share))
            });
            format!(
                "{agreement}{} doubtful, {} decided.",
                format::counted(check.doubtful, "row is", "rows are"),
                format::count(check.decided)
            )
        }
    };
    let runs = check
        .runs
        .iter()
        .enumerate()
        .map(|(index, run)| view! { <a href=format!("/runs/{run}")>{format!("run {}", index + 1)}</a> " " })
        .collect_view();
    let review = matches!(check.status, LabelCheckStatus::Ready | LabelCheckStatus::Applied).then(|| {
        let href = format!("/datasets/{}/review/{}", check.dataset, check.id);
        view! { <ButtonLink href kind=ButtonKind::Primary>"Review the labels"</ButtonLink> }
    });
    view! {
        <li class="check-entry">
            <div class="check-words">
                <p>
                    <strong>{format!("Check {} ", check.id)}</strong>
                    <Pill tone>{word}</Pill>
                </p>
                {progress}
                <p>{words}</p>
                <p class="small soft">
                    {format!("Version {}, by {}, ", check.version, check.by)} <TimeStamp at_ms=check.created_at_ms /> " · " {runs}
                </p>
            </div>
            {review}
        </li>
    }
    .into_any()
}
