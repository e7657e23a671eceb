use super::{Change, LabelName, TableScroll};
use crate::format;
use domain::metrics::{ClassMetrics, Evaluation};
use leptos::prelude::*;

/// Precision, recall and F1 of every label, before and after training, with the change in each.
#[component]
pub fn ClassTable(before: Option<Evaluation>, after: Option<Evaluation>) -> impl IntoView {
    let both = before.is_some() && after.is_some();
    let of = |evaluation: &Option<Evaluation>| evaluation.as_ref().map(|evaluation| evaluation.classes.clone());
    let (before, after) = (of(&before), of(&after));
    let labels = after.as_ref().or(before.as_ref()).cloned().unwrap_or_default();
    let rows = labels
        .into_iter()
        .enumerate()
        .map(|(index, class)| {
            let before = before.as_ref().and_then(|classes| classes.get(index).cloned());
            let after = after.as_ref().and_then(|classes| classes.get(index).cloned());
            let figures: [fn(&ClassMetrics) -> f64; 3] =
                [|class| class.precision, |class| class.recall, |class| class.f1];
            let cells = figures
                .into_iter()
                .map(|figure| figure_cells(before.as_ref().map(figure), after.as_ref().map(figure), both))
                .collect_view();
            view! {
                <tr>
                    <th scope="row" class="main">
                        <LabelName index=Some(index) name=class.label />
                    </th>
                    <td class="number">{format::count(class.support)}</td>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    let heads = if both { two_rows_of_heads().into_any() } else { one_row_of_heads().into_any() };
    view! {
        <TableScroll label="Precision, recall and F1 per label">
            <table class="table class-table">
                <thead>{heads}</thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
    .into_any()
}

const FIGURES: [&str; 3] = ["Precision", "Recall", "F1"];

fn one_row_of_heads() -> impl IntoView {
    let figures = FIGURES.map(|name| view! { <th scope="col" class="number">{name}</th> }).collect_view();
    view! {
        <tr>
            <th scope="col">"Label"</th>
            <th scope="col" class="number">
                "Test rows"
            </th>
            {figures}
        </tr>
    }
}

fn two_rows_of_heads() -> impl IntoView {
    let figures = FIGURES
        .map(|name| {
            view! {
                <th scope="colgroup" class="number class-table-group" colspan="3">
                    {name}
                </th>
            }
        })
        .collect_view();
    let moments = (0..FIGURES.len())
        .flat_map(|_| ["before", "after", "change"])
        .map(|moment| view! { <th scope="col" class="number">{moment}</th> })
        .collect_view();
    view! {
        <tr>
            <th scope="col" rowspan="2">
                "Label"
            </th>
            <th scope="col" rowspan="2" class="number">
                "Test rows"
            </th>
            {figures}
        </tr>
        <tr>{moments}</tr>
    }
}

fn figure_cells(before: Option<f64>, after: Option<f64>, both: bool) -> impl IntoView + use<> {
    let words = |value: Option<f64>| value.map_or_else(|| "–".to_string(), |value| format!("{value:.3}"));
    if !both {
        return view! { <td class="number">{words(after.or(before))}</td> }.into_any();
    }
    view! {
        <td class="number soft">{words(before)}</td>
        <td class="number">{words(after)}</td>
        <td class="number">{before.zip(after).map(|(before, after)| view! { <Change before after /> })}</td>
    }
    .into_any()
}
