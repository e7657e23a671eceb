use leptos::prelude::*;

/// How far something is. `value` goes from 0 to 1; `None`: under way, nobody knows how far.
#[component]
pub fn ProgressBar(
    #[prop(into)] value: Signal<Option<f64>>,
    /// What is under way, for screen readers.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    let percent = move || value.get().map(|value| 100.0 * value.clamp(0.0, 1.0));
    view! {
        <div
            class="progress"
            class:is-unknown=move || value.get().is_none()
            role="progressbar"
            aria-label=label
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=move || percent().map(|percent| format!("{percent:.0}"))
        >
            <div class="progress-fill" style=move || format!("width:{:.2}%", percent().unwrap_or(100.0))></div>
        </div>
    }
}
