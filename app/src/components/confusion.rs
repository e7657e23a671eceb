use crate::format;
use domain::metrics::ConfusionMatrix;
use leptos::prelude::*;

/// Labels up to which a cell has room for its percentage beside its count.
const ROOMY: usize = 8;

/// A confusion matrix as a table: one row per true label, shaded by the share of the row. What is right is shaded in
/// one colour and what is wrong in another; every cell also says its numbers.
#[component]
pub fn Confusion(
    #[prop(into)] title: String,
    /// A remark under the title, such as how far the scoring is.
    #[prop(optional, into)]
    note: Option<String>,
    matrix: ConfusionMatrix,
) -> impl IntoView {
    let accuracy = format!("{} of {} rows right", format::percent(matrix.accuracy()), format::count(matrix.total()));
    let roomy = matrix.labels.len() <= ROOMY;
    let head = matrix.labels.iter().map(|label| view! { <th scope="col">{label.clone()}</th> }).collect_view();
    let rows = matrix
        .labels
        .iter()
        .zip(&matrix.counts)
        .enumerate()
        .map(|(truth, (label, counts))| {
            let rows: u64 = counts.iter().sum();
            let cells = counts
                .iter()
                .enumerate()
                .map(|(answer, &count)| cell(truth == answer, count, rows, roomy))
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
                <span class="soft number">{note.unwrap_or(accuracy)}</span>
            </figcaption>
            <div class="confusion-scroll" role="region" aria-label=format!("{title}: confusion matrix") tabindex="0">
                <table class="confusion-table" class:is-compact=!roomy>
                    <caption class="visually-hidden">
                        {format!("{title}: rows are true labels, columns are answers.")}
                    </caption>
                    <thead>
                        <tr>
                            <td class="confusion-corner">"true ↓ answer →"</td>
                            {head}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </figure>
    }
    .into_any()
}

fn cell(right: bool, count: u64, rows: u64, roomy: bool) -> impl IntoView + use<> {
    let share = count as f64 / rows.max(1) as f64;
    let percent = format!("{:.0} %", 100.0 * share);
    let share_words = roomy.then(|| percent.clone());
    let class = if right { "confusion-cell is-right" } else { "confusion-cell" };
    view! {
        <td class=class style=format!("--share:{share:.3}") title=percent>
            <span class="confusion-count">{format::count(count)}</span>
            {share_words.map(|words| view! { <span class="confusion-share">{words}</span> })}
        </td>
    }
}
