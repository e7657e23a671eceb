use crate::format;
use leptos::prelude::*;

/// The difference of two shares, in percentage points: `+36.0 pt`.
#[component]
pub fn Change(before: f64, after: f64) -> impl IntoView {
    // Rounded first, so that a change that shows as 0.0 has no sign and no colour.
    let points = (1000.0 * (after - before)).round() / 10.0;
    let (class, words) = match points {
        points if points > 0.0 => ("change is-up", format!("+{points:.1} pt")),
        points if points < 0.0 => ("change is-down", format!("\u{2212}{:.1} pt", -points)),
        _ => ("change", "\u{b1}0.0 pt".to_string()),
    };
    view! {
        <span class=class title="percentage points">
            {words}
        </span>
    }
    .into_any()
}

/// A share before and after training on one line, as far as it is known.
#[component]
pub fn BeforeAfter(before: Option<f64>, after: Option<f64>) -> impl IntoView {
    match (before, after) {
        (None, None) => view! { <span class="soft">"not yet"</span> }.into_any(),
        (Some(before), None) => {
            view! { <span class="before-after soft">{format!("{} before", format::percent(before))}</span> }.into_any()
        }
        (None, Some(after)) => view! { <span class="before-after">{format::percent(after)}</span> }.into_any(),
        (Some(before), Some(after)) => view! {
            <span class="before-after">
                <span class="soft">{format::percent(before)}</span>
                <span class="before-after-arrow" aria-hidden="true">
                    "→"
                </span>
                <strong>{format::percent(after)}</strong>
                <Change before after />
            </span>
        }
        .into_any(),
    }
}

/// A headline figure, large, before and after training.
#[component]
pub fn ChangeTile(
    #[prop(into)] name: String,
    before: Option<f64>,
    after: Option<f64>,
    /// What stands there while there is nothing.
    #[prop(into)]
    empty: String,
) -> impl IntoView {
    let figures = match (before, after) {
        (None, None) => view! { <dd class="change-tile-empty">{empty}</dd> }.into_any(),
        (Some(before), None) => view! {
            <dd class="change-tile-value">{format::percent(before)}</dd>
            <dd class="change-tile-note">"before training"</dd>
        }
        .into_any(),
        (before, Some(after)) => view! {
            <dd class="change-tile-value">{format::percent(after)}</dd>
            {before
                .map(|before| {
                    view! {
                        <dd class="change-tile-note">
                            {format!("{} before", format::percent(before))} " " <Change before after />
                        </dd>
                    }
                })}
        }
        .into_any(),
    };
    view! {
        <div class="change-tile">
            <dt class="change-tile-name">{name}</dt>
            {figures}
        </div>
    }
    .into_any()
}
