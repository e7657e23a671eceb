use crate::format;
use domain::dataset::LabelCount;
use leptos::prelude::*;

/// Colours of the palette; label number 8 begins again at the first.
const PALETTE: usize = 8;

/// The class that sets the custom property `--label` to the colour of a label, by its place in the list of labels.
pub fn label_class(index: usize) -> String {
    format!("label-{}", index % PALETTE)
}

/// A label's name behind a dot in its colour. The name always stands there, so nothing is told by colour alone.
#[component]
pub fn LabelName(
    /// Place in the dataset's or run's list of labels; `None` where that is not known.
    index: Option<usize>,
    #[prop(into)] name: String,
) -> impl IntoView {
    let class = index.map_or_else(|| "label-name".to_string(), |index| format!("label-name {}", label_class(index)));
    view! { <span class=class>{name}</span> }
}

/// The shares of the labels as one thin bar. Decoration: the numbers stand in its title.
#[component]
pub fn LabelBar(labels: Vec<LabelCount>) -> impl IntoView {
    let total = labels.iter().map(|count| count.rows).sum::<u64>().max(1);
    let words = labels
        .iter()
        .map(|count| format!("{} {}", count.label, format::count(count.rows)))
        .collect::<Vec<_>>()
        .join(", ");
    let parts = labels
        .iter()
        .enumerate()
        .map(|(index, count)| {
            let width = format!("width:{:.3}%", 100.0 * count.rows as f64 / total as f64);
            view! { <span class=format!("label-bar-part {}", label_class(index)) style=width></span> }
        })
        .collect_view();
    view! {
        <span class="label-bar" role="img" aria-label=words.clone() title=words>
            {parts}
        </span>
    }
}

/// Rows per label as horizontal bars with their numbers.
#[component]
pub fn LabelChart(labels: Vec<LabelCount>) -> impl IntoView {
    let total = labels.iter().map(|count| count.rows).sum::<u64>().max(1);
    let most = labels.iter().map(|count| count.rows).max().unwrap_or(1).max(1);
    let bars = labels
        .into_iter()
        .enumerate()
        .map(|(index, count)| {
            let width = format!("width:{:.3}%", 100.0 * count.rows as f64 / most as f64);
            let share = format::percent(count.rows as f64 / total as f64);
            view! {
                <li class=format!("label-chart-row {}", label_class(index))>
                    <span class="label-chart-name" title=count.label.clone()>
                        {count.label.clone()}
                    </span>
                    <span class="label-chart-track" aria-hidden="true">
                        <span class="label-chart-fill" style=width></span>
                    </span>
                    <span class="label-chart-count">{format::count(count.rows)}</span>
                    <span class="label-chart-share">{share}</span>
                </li>
            }
        })
        .collect_view();
    view! { <ul class="label-chart">{bars}</ul> }
}
