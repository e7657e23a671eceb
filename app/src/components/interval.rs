use crate::format;
use domain::metrics::interval::Interval;
use leptos::prelude::*;

/// A score as it is written: shares in percent, others with three digits.
pub fn score_words(value: f64, is_share: bool) -> String {
    if is_share { format::percent(value) } else { format!("{value:.3}") }
}

/// A score with the interval that it lies in.
#[component]
pub fn ScoreCell(value: Option<f64>, interval: Option<Interval>, is_share: bool) -> impl IntoView {
    let Some(value) = value else { return view! { <span class="soft">"–"</span> }.into_any() };
    let range = interval.map(|Interval { low, high }| {
        let words = if is_share {
            format!("{:.1} – {:.1}", 100.0 * low, 100.0 * high)
        } else {
            format!("{low:.3} – {high:.3}")
        };
        view! {
            <span class="score-range" title="95 % interval">
                <span class="visually-hidden">", between "</span>
                {words}
            </span>
        }
    });
    view! {
        <span class="score">
            <span class="score-value">{score_words(value, is_share)}</span>
            {range}
        </span>
    }
    .into_any()
}
