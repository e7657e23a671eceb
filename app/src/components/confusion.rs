use crate::format;
use domain::metrics::ConfusionMatrix;
use leptos::prelude::*;
use std::sync::Arc;

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
    /// Where a cell leads, by true and predicted label: to its rows.
    #[prop(optional, into)]
    cell_href: Option<CellHref>,
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
                .map(|(answer, &count)| {
                    let href = cell_href.as_ref().filter(|_| count > 0).map(|href| (href.0)(truth, answer));
                    let name = format!("true {label}, answered {}", matrix.labels[answer]);
                    cell(Cell { is_right: truth == answer, count, rows, is_roomy: roomy, href, name })
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

/// The address of a cell's rows, by true and predicted label.
#[derive(Clone)]
pub struct CellHref(Arc<dyn Fn(usize, usize) -> String + Send + Sync>);

impl<F: Fn(usize, usize) -> String + Send + Sync + 'static> From<F> for CellHref {
    fn from(href: F) -> Self {
        Self(Arc::new(href))
    }
}

struct Cell {
    is_right: bool,
    count: u64,
    /// Of the true label.
    rows: u64,
    /// There is room for the percentage.
    is_roomy: bool,
    href: Option<String>,
    name: String,
}

fn cell(cell: Cell) -> impl IntoView + use<> {
    let Cell { is_right, count, rows, is_roomy, href, name } = cell;
    let share = count as f64 / rows.max(1) as f64;
    let percent = format!("{:.0} %", 100.0 * share);
    let class = if is_right { "confusion-cell is-right" } else { "confusion-cell" };
    let numbers = view! {
        <span class="confusion-count">{format::count(count)}</span>
        {is_roomy.then(|| view! { <span class="confusion-share">{percent.clone()}</span> })}
    };
    let numbers = match href {
        None => numbers.into_any(),
        Some(href) => view! {
            <a class="confusion-link" href=href>
                <span class="visually-hidden">{format!("{name}, rows: ")}</span>
                {numbers}
            </a>
        }
        .into_any(),
    };
    view! {
        <td class=class style=format!("--share:{share:.3}") title=percent>
            {numbers}
        </td>
    }
}
