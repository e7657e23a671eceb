use crate::components::{Fold, TableScroll};
use crate::format;
use domain::metrics::comparison::Flip;
use domain::runs_comparison::{AgainstReference, FlippedRow, MOST_FLIPS, RunsComparison};
use leptos::prelude::*;

/// The rows on which each run and the reference differ, folded away per run.
#[component]
pub fn FlippedRows(comparison: RunsComparison) -> impl IntoView {
    let reference = comparison.runs.iter().find(|run| Some(run.detail.summary.id) == comparison.reference);
    let reference = reference.map(|run| run.detail.summary.name.clone()).unwrap_or_default();
    let folds: Vec<_> = comparison
        .runs
        .iter()
        .filter_map(|run| {
            let against = run.against.clone()?;
            let name = run.detail.summary.name.clone();
            let found = against.comparison;
            let summary =
                format!("{name}: {} fixed, {} broken", format::count(found.fixed), format::count(found.broken));
            let reference = reference.clone();
            Some(view! {
                <Fold summary>
                    <Flips against name reference />
                </Fold>
            })
        })
        .collect();
    if folds.is_empty() {
        return view! { <p class="soft">"There are no two runs with answers yet."</p> }.into_any();
    }
    view! { <div class="stack">{folds}</div> }.into_any()
}

#[component]
fn Flips(against: AgainstReference, name: String, reference: String) -> impl IntoView {
    let AgainstReference { comparison, flips, .. } = against;
    if flips.is_empty() {
        return view! { <p class="soft">"Both get the same rows right."</p> }.into_any();
    }
    let all = comparison.fixed + comparison.broken;
    let more = (all > flips.len() as u64).then(|| {
        format!("The first {MOST_FLIPS} of {}; the saved rows of the runs have them all.", format::count(all))
    });
    let rows = flips.into_iter().map(line).collect_view();
    view! {
        {more.map(|more| view! { <p class="small soft">{more}</p> })}
        <TableScroll label=format!("Rows that differ between {name} and {reference}")>
            <table class="table table-restack test-rows">
                <thead>
                    <tr>
                        <th scope="col">"Text"</th>
                        <th scope="col">"True label"</th>
                        <th scope="col">{reference}</th>
                        <th scope="col">{name}</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
    .into_any()
}

fn line(row: FlippedRow) -> impl IntoView {
    let is_fixed = row.flip == Flip::Fixed;
    let answer = |name: String, confidence: f64, is_right: bool| {
        let (class, mark, word) =
            if is_right { ("answer is-right", "✓", "right") } else { ("answer is-wrong", "✗", "wrong") };
        view! {
            <span class=class>
                <span aria-hidden="true">{mark}</span>
                <span class="visually-hidden">{word}</span>
                {name}
                <span class="soft number">{format::percent(confidence)}</span>
            </span>
        }
    };
    view! {
        <tr>
            <td class="text wide">{row.text}</td>
            <td data-name="True">{row.truth}</td>
            <td data-name="Reference">{answer(row.reference, row.reference_confidence, !is_fixed)}</td>
            <td data-name="This run">{answer(row.answer, row.confidence, is_fixed)}</td>
        </tr>
    }
}
