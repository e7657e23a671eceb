use super::address;
use crate::comparing::{probability, verdict};
use crate::components::{Card, SaveLink, ScoreCell, TableScroll};
use crate::format;
use domain::metrics::lines::ScoreLine;
use domain::run::RunId;
use domain::runs_comparison::{ComparedRun, RunsComparison};
use leptos::prelude::*;

/// The scores of all runs, the best of each marked, and each run's test against the one that all are compared with.
#[component]
pub fn ScoreTable(comparison: RunsComparison) -> impl IntoView {
    let RunsComparison { runs, reference, .. } = comparison;
    let ids: Vec<RunId> = runs.iter().map(|run| run.detail.summary.id).collect();
    let heads = runs.iter().enumerate().map(|(index, run)| head(index, run, reference, &ids)).collect_view();
    let lines: Vec<Option<Vec<ScoreLine>>> =
        runs.iter().map(|run| run.report.as_ref().map(|report| report.lines())).collect();
    let rows = match lines.iter().flatten().next() {
        None => Vec::new(),
        Some(first) => (0..first.len()).map(|index| score_row(index, &lines)).collect::<Vec<_>>(),
    };
    let tests = runs.iter().map(|run| test_cell(run, reference)).collect_view();
    let counts = runs.iter().map(|run| view! { <td class="number">{format::count(run.test_rows)}</td> }).collect_view();
    let named = |id: Option<RunId>| runs.iter().find(|run| Some(run.detail.summary.id) == id);
    let reference_name = named(reference).map(|run| run.detail.summary.name.clone());
    let verdicts = runs
        .iter()
        .filter_map(|run| {
            let against = run.against.as_ref()?;
            let what = format!("Against {}, {}", reference_name.clone().unwrap_or_default(), run.detail.summary.name);
            let apart = match against.rows_apart {
                0 => String::new(),
                apart => format!(
                    " Compared on the {} that both have; {} only one of them has.",
                    format::counted(against.comparison.rows, "row", "rows"),
                    format::count(apart)
                ),
            };
            Some(view! { <li>{verdict(&what, &against.comparison)} {apart}</li> })
        })
        .collect_view();
    view! {
        <Card title="Scores" note="On each run's test rows, with 95 % intervals. The best of a line is marked with a star.">
            <div class="stack">
                <TableScroll label="Scores of the runs">
                    <table class="table score-table compare-table">
                        <thead>
                            <tr>
                                <th scope="col">"Score"</th>
                                {heads}
                            </tr>
                        </thead>
                        <tbody>
                            <tr>
                                <th scope="row" class="main">
                                    "Test rows"
                                </th>
                                {counts}
                            </tr>
                            {rows}
                            <tr>
                                <th scope="row" class="main">
                                    "Against the reference"
                                    <span class="score-help">
                                        "McNemar's exact test on the shared test rows: fixed, broken, and the probability of so large a difference by chance."
                                    </span>
                                </th>
                                {tests}
                            </tr>
                        </tbody>
                    </table>
                </TableScroll>
                <ul class="verdicts">{verdicts}</ul>
                <p class="row small save-links">
                    <span class="soft">"Save"</span>
                    <SaveLink href=address("/compare.csv", &ids, reference) words="CSV" />
                    <SaveLink href=address("/compare.json", &ids, reference) words="JSON" />
                </p>
            </div>
        </Card>
    }
    .into_any()
}

fn head(index: usize, run: &ComparedRun, reference: Option<RunId>, all: &[RunId]) -> impl IntoView + use<> {
    let summary = &run.detail.summary;
    let id = summary.id;
    let role = match (reference == Some(id), run.report.is_some()) {
        (true, _) => view! { <span class="soft small">"the reference"</span> }.into_any(),
        (false, true) => view! {
            <a class="small" href=address("/compare", all, Some(id))>
                "compare against this"
            </a>
        }
        .into_any(),
        (false, false) => view! { <span class="soft small">{summary.status.as_str()}</span> }.into_any(),
    };
    view! {
        <th scope="col" class="number compare-head">
            <a class=format!("label-name {}", crate::components::label_class(index)) href=format!("/runs/{id}")>
                {summary.name.clone()}
            </a>
            <span class="soft small">{format!("run {id}")}</span>
            {role}
        </th>
    }
}

fn score_row(index: usize, lines: &[Option<Vec<ScoreLine>>]) -> AnyView {
    let of_runs: Vec<Option<ScoreLine>> =
        lines.iter().map(|lines| lines.as_ref().and_then(|lines| lines.get(index).copied())).collect();
    let Some(line) = of_runs.iter().flatten().next().copied() else { return ().into_any() };
    let values: Vec<Option<f64>> = of_runs.iter().map(|line| line.as_ref().and_then(|line| line.value)).collect();
    let best = line.best_of(&values);
    let cells = of_runs
        .into_iter()
        .map(|of_run| {
            let value = of_run.and_then(|line| line.value);
            let is_best = value.is_some() && value == best;
            view! {
                <td class="number" class:is-best=is_best>
                    {is_best
                        .then(|| {
                            view! {
                                <span class="best-mark" aria-hidden="true">
                                    "★ "
                                </span>
                                <span class="visually-hidden">"best: "</span>
                            }
                        })}
                    <ScoreCell value interval=of_run.and_then(|line| line.interval) is_share=line.is_share />
                </td>
            }
        })
        .collect_view();
    view! {
        <tr>
            <th scope="row" class="main">
                {line.title}
                <span class="score-help">{line.help}</span>
            </th>
            {cells}
        </tr>
    }
    .into_any()
}

fn test_cell(run: &ComparedRun, reference: Option<RunId>) -> AnyView {
    let Some(against) = &run.against else {
        let words = if reference == Some(run.detail.summary.id) { "reference" } else { "–" };
        return view! { <td class="number soft">{words}</td> }.into_any();
    };
    let found = against.comparison;
    let judged = match (found.is_significant(), found.fixed > found.broken) {
        (true, true) => ("change is-up", "significantly better"),
        (true, false) => ("change is-down", "significantly worse"),
        (false, _) => ("change", "not significant"),
    };
    view! {
        <td class="number">
            <span class="score">
                <span class=judged.0>{judged.1}</span>
                <span class="score-range">
                    {format!("+{} −{}, p {}", found.fixed, found.broken, probability(found.p_value))}
                </span>
            </span>
        </td>
    }
    .into_any()
}
