use super::Tone;
use domain::run::RunStatus;
use leptos::prelude::*;

/// A word or two with a dot in the colour of their tone.
#[component]
pub fn Pill(#[prop(optional, into)] tone: Signal<Tone>, children: Children) -> impl IntoView {
    view! { <span class=move || format!("pill {}", tone.get().class())>{children()}</span> }
}

/// Where a run stands.
#[component]
pub fn StatusPill(#[prop(into)] status: Signal<RunStatus>) -> impl IntoView {
    let class = move || {
        let status = status.get();
        let (tone, moving) = match status {
            RunStatus::Queued => (Tone::Neutral, false),
            RunStatus::Running => (Tone::Info, true),
            RunStatus::Cancelling => (Tone::Warning, true),
            RunStatus::Cancelled => (Tone::Warning, false),
            RunStatus::Finished => (Tone::Good, false),
            RunStatus::Failed => (Tone::Bad, false),
        };
        format!("pill {}{}", tone.class(), if moving { " is-moving" } else { "" })
    };
    view! { <span class=class>{move || status.get().as_str()}</span> }
}
