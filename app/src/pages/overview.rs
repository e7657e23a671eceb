use super::runs::{RunScore, look_again_while};
use crate::api::runs::{OverviewData, get_overview};
use crate::components::{ButtonKind, ButtonLink, Card, ErrorNotice, Loading, PageHeader, ProgressBar, StatusPill};
use crate::format;
use domain::run::{RunStatus, RunSummary};
use leptos::prelude::*;

/// Where a person begins: what Ayar does, the next step, what is under way, and the latest results.
#[component]
pub fn OverviewPage() -> impl IntoView {
    let data = Resource::new(|| (), |()| get_overview());
    let moves = move || {
        // Something is under way, or could not be looked at just now.
        data.get().is_some_and(|data| data.map_or(true, |data| !data.under_way.is_empty()))
    };
    look_again_while(moves, move || data.refetch());
    view! {
        <PageHeader
            title="Overview"
            subtitle=Some("Ayar turns a labelled spreadsheet into a text classifier that you train and run yourself.".to_string())
        />
        <Transition fallback=|| {
            view! { <Loading what="overview" /> }
        }>
            {move || {
                data.get()
                    .map(|data| match data {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok(data) => view! { <Overview data /> }.into_any(),
                    })
            }}
        </Transition>
    }
    .into_any()
}

#[component]
fn Overview(data: OverviewData) -> impl IntoView {
    let OverviewData { datasets, under_way, finished: results, finished_in_all: finished, base, device } = data;
    let newest = results.first().map(|run| run.id);
    let has_result = finished > 0;
    let rows: u64 = datasets.iter().map(|dataset| dataset.rows).sum();
    let memory = device.memory_bytes.map(|bytes| format!(", {} of memory", format::bytes(bytes as f64)));
    let classify = newest.map_or_else(|| "/classify".to_string(), |id| format!("/classify?run={id}"));
    view! {
        <div class="stack-loose">
            <ol class="steps">
                <Step
                    number=1
                    title="Dataset"
                    text="Upload a CSV or TSV file with a column of texts and a column of labels."
                    state=match datasets.len() as u64 {
                        0 => "None yet".to_string(),
                        n => format!("{} with {}", format::counted(n, "dataset", "datasets"), format::counted(rows, "row", "rows")),
                    }
                    href="/datasets/new"
                    action="Upload a file"
                    next=datasets.is_empty()
                    reachable=true
                />
                <Step
                    number=2
                    title="Run"
                    text="Fine-tune the base model on it and watch. Test rows are scored before and after."
                    state=match (finished, under_way.len() as u64) {
                        (0, 0) => "None yet".to_string(),
                        (done, 0) => format!("{} finished", format::counted(done, "run", "runs")),
                        (done, moving) => format!("{} finished, {} under way", format::count(done), format::count(moving)),
                    }
                    href="/runs/new"
                    action="Start a run"
                    next=!datasets.is_empty() && finished == 0 && under_way.is_empty()
                    reachable=!datasets.is_empty()
                />
                <Step
                    number=3
                    title="Classify"
                    text="Type or paste texts and see the label with its probability, beside the base."
                    state=match finished {
                        0 => "Needs a finished run".to_string(),
                        n => format!("{} ready", format::counted(n, "classifier", "classifiers")),
                    }
                    href=classify
                    action="Classify texts"
                    next=has_result
                    reachable=has_result
                />
            </ol>
            {(!under_way.is_empty()).then(|| view! { <UnderWay runs=under_way /> })}
            {(!results.is_empty()).then(|| view! { <Results runs=results /> })}
            <Card title="What it runs on">
                <dl class="facts">
                    <div>
                        <dt>"Base model"</dt>
                        <dd>
                            {base.name.clone()} " "
                            <span class="soft">
                                {format!(
                                    "{} parameters, {} layers, context of {} tokens",
                                    format::parameters(base.parameters),
                                    base.num_hidden_layers,
                                    format::count(base.context_length as u64),
                                )}
                            </span>
                        </dd>
                    </div>
                    <div>
                        <dt>"Device"</dt>
                        <dd>{device.name.clone()}{memory}</dd>
                    </div>
                </dl>
            </Card>
        </div>
    }
    .into_any()
}

#[component]
fn Step(
    number: u8,
    title: &'static str,
    text: &'static str,
    /// What is there already.
    state: String,
    #[prop(into)] href: String,
    action: &'static str,
    /// What a person would do next.
    next: bool,
    /// What it needs is there.
    reachable: bool,
) -> impl IntoView {
    let kind = if next { ButtonKind::Primary } else { ButtonKind::Plain };
    view! {
        <li class="card step" class:is-next=next>
            <div class="step-head">
                <span class="step-number" aria-hidden="true">
                    {number}
                </span>
                <h2 class="step-title">{title}</h2>
            </div>
            <p class="step-text">{text}</p>
            <p class="step-state number">{state}</p>
            {reachable.then(|| view! { <ButtonLink href kind>{action}</ButtonLink> })}
        </li>
    }
    .into_any()
}

#[component]
fn UnderWay(runs: Vec<RunSummary>) -> impl IntoView {
    let runs = runs
        .into_iter()
        .map(|run| {
            let label = format!("Training of {}", run.name);
            let value = (run.status != RunStatus::Running || run.progress > 0.0).then_some(run.progress);
            view! {
                <li class="overview-run">
                    <a class="overview-run-name" href=format!("/runs/{}", run.id)>
                        {run.name}
                    </a>
                    <StatusPill status=run.status />
                    <ProgressBar value=Signal::stored(value) label=Signal::stored(label) />
                </li>
            }
        })
        .collect_view();
    view! {
        <Card title="Under way">
            <ul class="overview-runs">{runs}</ul>
        </Card>
    }
    .into_any()
}

#[component]
fn Results(runs: Vec<RunSummary>) -> impl IntoView {
    let runs = runs
        .into_iter()
        .map(|run| {
            view! {
                <li class="overview-run">
                    <a class="overview-run-name" href=format!("/runs/{}", run.id)>
                        {run.name.clone()}
                    </a>
                    <span class="soft small">{run.dataset_name.clone()}</span>
                    <RunScore run />
                </li>
            }
        })
        .collect_view();
    view! {
        <Card title="Latest results" note="Accuracy on the test rows, before training and after.">
            <ul class="overview-runs">{runs}</ul>
        </Card>
    }
    .into_any()
}
