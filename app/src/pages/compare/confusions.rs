use crate::components::{Card, TableScroll};
use crate::format;
use domain::metrics::ConfusionMatrix;
use domain::runs_comparison::RunsComparison;
use leptos::prelude::*;

/// Each run's confusion matrix less that of the reference, on the rows that both have.
#[component]
pub fn ConfusionDifferences(comparison: RunsComparison) -> impl IntoView {
    let matrices: Vec<_> = comparison
        .runs
        .iter()
        .filter_map(|run| {
            let against = run.against.as_ref()?;
            let title = run.detail.summary.name.clone();
            Some(difference(title, &against.reference_confusion, &against.confusion))
        })
        .collect();
    if matrices.is_empty() {
        return ().into_any();
    }
    view! {
        <Card
            title="Difference of the confusion matrices"
            note="Rows more or fewer than in the reference. On the diagonal more is better, elsewhere fewer."
        >
            <div class="confusions">{matrices}</div>
        </Card>
    }
    .into_any()
}

fn difference(title: String, reference: &ConfusionMatrix, matrix: &ConfusionMatrix) -> AnyView {
    let of = |matrix: &ConfusionMatrix, truth: usize, answer: usize| {
        matrix.counts.get(truth).and_then(|row| row.get(answer)).copied().unwrap_or(0) as i64
    };
    let labels = matrix.labels.clone();
    let largest = (0..labels.len())
        .flat_map(|truth| (0..labels.len()).map(move |answer| (truth, answer)))
        .map(|(truth, answer)| (of(matrix, truth, answer) - of(reference, truth, answer)).unsigned_abs())
        .max()
        .unwrap_or(0)
        .max(1);
    let heads = labels.iter().map(|label| view! { <th scope="col">{label.clone()}</th> }).collect_view();
    let rows = labels
        .iter()
        .enumerate()
        .map(|(truth, label)| {
            let cells = (0..labels.len())
                .map(|answer| {
                    let more = of(matrix, truth, answer) - of(reference, truth, answer);
                    let is_better = (more > 0) == (truth == answer);
                    let share = more.unsigned_abs() as f64 / largest as f64;
                    let class = if is_better { "confusion-cell is-right" } else { "confusion-cell" };
                    let words = match more {
                        0 => "0".to_string(),
                        more if more > 0 => format!("+{}", format::count(more.unsigned_abs())),
                        more => format!("\u{2212}{}", format::count(more.unsigned_abs())),
                    };
                    let note = format!("{} instead of {}", of(matrix, truth, answer), of(reference, truth, answer));
                    view! {
                        <td class=class style=format!("--share:{share:.3}") title=note>
                            <span class="confusion-count">{words}</span>
                        </td>
                    }
                })
                .collect_view();
            view! {
                <tr>
                    <th scope="row">{label.clone()}</th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    view! {
        <figure class="confusion">
            <figcaption class="confusion-head">
                <strong>{title.clone()}</strong>
                <span class="soft number">{format::counted(matrix.total(), "shared row", "shared rows")}</span>
            </figcaption>
            <TableScroll label=format!("{title}: difference of the confusion matrices")>
                <table class="confusion-table is-compact">
                    <thead>
                        <tr>
                            <td class="confusion-corner">"true ↓ answer →"</td>
                            {heads}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </figure>
    }
    .into_any()
}
