//! Several runs beside each other: curves, scores, settings, and the rows on which they differ.

mod confusions;
mod curves;
mod flips;
mod scores;
mod settings;

use crate::api::evaluations::compare_runs;
use crate::components::{ButtonLink, Card, EmptyState, ErrorNotice, Loading, Notice, PageHeader, Tone};
use crate::while_shown::while_shown;
use confusions::ConfusionDifferences;
use curves::CurvesCard;
use domain::run::RunId;
use domain::runs_comparison::{FEWEST_RUNS, MOST_RUNS, RunsComparison, runs_asked_for};
use flips::FlippedRows;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use scores::ScoreTable;
use settings::SettingsDifference;

/// What the address asks for: `runs=1,2,3` or, as a form sends it, `runs=1&runs=2`, and `against=2`.
fn asked_for() -> Memo<(Vec<RunId>, Option<RunId>)> {
    let fields = use_query_map();
    Memo::new(move |_| {
        let fields = fields.read();
        let runs = fields.get_all("runs").unwrap_or_default().join(",");
        (runs_asked_for(&runs), fields.get("against").and_then(|id| id.parse().ok()))
    })
}

/// The address of a comparison.
fn address(path: &str, runs: &[RunId], against: Option<RunId>) -> String {
    let runs: Vec<String> = runs.iter().map(RunId::to_string).collect();
    let against = against.map_or_else(String::new, |id| format!("&against={id}"));
    format!("{path}?runs={}{against}", runs.join(","))
}

#[component]
pub fn ComparePage() -> impl IntoView {
    let asked = asked_for();
    let is_possible = move || (FEWEST_RUNS..=MOST_RUNS).contains(&asked.read().0.len());
    let comparison = Resource::new(while_shown(asked), |(runs, against)| async move {
        if !(FEWEST_RUNS..=MOST_RUNS).contains(&runs.len()) {
            return None;
        }
        Some(compare_runs(runs, against).await)
    });
    view! {
        <PageHeader
            title="Compare runs"
            parent=("/runs", "Runs")
            subtitle=Some("What differs between them, and whether that can be chance.".to_string())
        />
        <Show when=move || !is_possible()>
            <EmptyState
                title="Choose two to eight runs"
                text="Tick them in the list of runs, then press Compare."
            >
                <ButtonLink href="/runs">"To the runs"</ButtonLink>
            </EmptyState>
        </Show>
        <Suspense fallback=|| {
            view! { <Loading what="runs" /> }
        }>
            {move || Suspend::new(async move {
                match comparison.await {
                    None => ().into_any(),
                    Some(Ok(comparison)) => view! { <Comparison comparison /> }.into_any(),
                    Some(Err(error)) => view! { <ErrorNotice error /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn Comparison(comparison: RunsComparison) -> impl IntoView {
    let unscored: Vec<String> =
        comparison.runs.iter().filter(|run| run.report.is_none()).map(|run| run.detail.summary.name.clone()).collect();
    let unscored = (!unscored.is_empty()).then(|| {
        view! {
            <Notice tone=Tone::Info>
                <p>{format!("Not finished, or without stored answers, and so without scores: {}.", unscored.join(", "))}</p>
            </Notice>
        }
    });
    let apart = (!comparison.same_test_rows).then(|| {
        view! {
            <Notice tone=Tone::Warning title="The test rows differ">
                <p>
                    "Not all of these runs were tested on the same rows, so their scores are not measured alike. Significance, confusion matrices and flipped rows are of the rows that a run shares with the one it is compared against."
                </p>
            </Notice>
        }
    });
    let runs = comparison.runs.clone();
    view! {
        <div class="stack-loose">
            {unscored}
            {apart}
            <ScoreTable comparison=comparison.clone() />
            <CurvesCard runs=runs.clone() />
            <SettingsDifference runs />
            <ConfusionDifferences comparison=comparison.clone() />
            <Card title="Flipped rows" note="Rows that one run gets right and the other does not.">
                <FlippedRows comparison />
            </Card>
        </div>
    }
    .into_any()
}
