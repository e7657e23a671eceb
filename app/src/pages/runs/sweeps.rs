//! On the page of all runs, those that belong together: one line for each sweep and for several seeds of one recipe.

use crate::components::{Pill, TableScroll, TimeStamp, Tone};
use crate::format;
use domain::run::{RunStatus, RunSummary};
use domain::sweep::{Spread, SweepKind, SweepStatus, SweepSummary, spread};
use leptos::prelude::*;

/// Mean and standard deviation, as in `0.752 ± 0.011`.
pub fn mean_and_deviation(of: Option<Spread>) -> String {
    match of {
        None => "–".to_string(),
        Some(Spread { mean, count: 1, .. }) => format!("{mean:.3}"),
        Some(Spread { mean, deviation, .. }) => format!("{mean:.3} ± {deviation:.3}"),
    }
}

#[component]
pub fn SweepTable(
    /// Each with its runs.
    sweeps: Vec<(SweepSummary, Vec<RunSummary>)>,
) -> impl IntoView {
    let rows = sweeps.into_iter().map(|(sweep, members)| view! { <SweepRow sweep members /> }).collect_view();
    view! {
        <section class="card" aria-labelledby="sweeps-title">
            <header class="card-head">
                <h2 class="card-title" id="sweeps-title">
                    "Sweeps and repeated recipes"
                </h2>
            </header>
            <TableScroll label="Sweeps and repeated recipes">
                <table class="table table-restack run-table">
                    <thead>
                        <tr>
                            <th scope="col">"Name"</th>
                            <th scope="col">"Status"</th>
                            <th scope="col">"Dataset"</th>
                            <th scope="col">"Accuracy, mean ± deviation"</th>
                            <th scope="col">"Macro-F1"</th>
                            <th scope="col">"Asked for"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </section>
    }
    .into_any()
}

/// Of the status of a sweep.
#[component]
pub fn SweepPill(#[prop(into)] status: Signal<SweepStatus>) -> impl IntoView {
    let tone = Signal::derive(move || match status.get() {
        SweepStatus::Working => Tone::Info,
        SweepStatus::Finished => Tone::Good,
        SweepStatus::Cancelled => Tone::Warning,
    });
    view! { <Pill tone>{move || status.get().as_str()}</Pill> }
}

#[component]
fn SweepRow(sweep: SweepSummary, members: Vec<RunSummary>) -> impl IntoView {
    let finished = members.iter().filter(|run| run.status == RunStatus::Finished).count();
    let is_seeds = sweep.kind == SweepKind::Seeds;
    // Of a search, a mean over its runs says nothing.
    let score = |value: fn(&RunSummary) -> Option<f64>| {
        if is_seeds { mean_and_deviation(spread(members.iter().filter_map(value))) } else { "–".to_string() }
    };
    let what = match sweep.kind {
        SweepKind::Search => "sweep of ",
        SweepKind::Seeds => "one recipe, ",
    };
    let many = if is_seeds {
        format::counted(members.len() as u64, "seed", "seeds")
    } else {
        format::counted(members.len() as u64, "run", "runs")
    };
    view! {
        <tr>
            <td class="main">
                <a href=format!("/sweeps/{}", sweep.id)>{sweep.name.clone()}</a>
                <span class="small soft">{format!("{what}{many}, {finished} finished")}</span>
            </td>
            <td>
                <SweepPill status=Signal::stored(sweep.status) />
            </td>
            <td data-name="Dataset">
                <a href=format!("/datasets/{}", sweep.dataset_id)>{sweep.dataset_name.clone()}</a>
            </td>
            <td data-name="Accuracy">
                <span class="figure">{score(|run| run.accuracy_after)}</span>
            </td>
            <td data-name="Macro-F1">
                <span class="figure">{score(|run| run.macro_f1_after)}</span>
            </td>
            <td data-name="Asked for">
                <TimeStamp at_ms=sweep.created_at_ms />
            </td>
        </tr>
    }
    .into_any()
}
