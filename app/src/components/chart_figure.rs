use leptos::prelude::*;

#[cfg(feature = "hydrate")]
use crate::charts::save::save;

#[cfg(not(feature = "hydrate"))]
fn save(_id: &str, _kind: &str, _file_name: &str) {}

/// A chart with its title, its words for those who do not see it, and the way to save it. Who uses it draws into `id`.
#[component]
pub fn ChartFigure(
    id: &'static str,
    #[prop(into)] title: String,
    /// What the chart shows.
    #[prop(into)]
    words: Signal<String>,
    #[prop(optional)] is_wide: bool,
) -> impl IntoView {
    view! {
        <figure class="chart-panel" class:is-wide=is_wide>
            <figcaption class="chart-head">
                <h3 class="chart-title">{title.clone()}</h3>
                <ChartSaves id title />
            </figcaption>
            <div class="chart" id=id role="img" aria-label=words></div>
        </figure>
    }
    .into_any()
}

/// Saves the chart in the element `id` as a picture.
#[component]
pub fn ChartSaves(id: &'static str, #[prop(into)] title: String) -> impl IntoView {
    let buttons = ["png", "svg"]
        .map(|kind| {
            let label = format!("Save the chart {title} as {}", kind.to_uppercase());
            view! {
                <button type="button" class="chart-save" aria-label=label on:click=move |_| save(id, kind, id)>
                    {kind.to_uppercase()}
                </button>
            }
        })
        .collect_view();
    view! { <span class="chart-saves no-script-hidden">{buttons}</span> }
}
