use super::Tone;
use domain::catalogue::{ExportStatus, ModelStatus};
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
        pill_class(tone, moving)
    };
    view! { <span class=class>{move || status.get().as_str()}</span> }
}

/// Where a model of the catalogue stands.
#[component]
pub fn ModelPill(#[prop(into)] status: Signal<ModelStatus>) -> impl IntoView {
    let class = move || {
        let tone = match status.get() {
            ModelStatus::Waiting => Tone::Neutral,
            ModelStatus::Downloading => Tone::Info,
            ModelStatus::Paused => Tone::Warning,
            ModelStatus::Ready => Tone::Good,
            ModelStatus::Failed => Tone::Bad,
        };
        pill_class(tone, status.get() == ModelStatus::Downloading)
    };
    view! { <span class=class>{move || status.get().as_str()}</span> }
}

/// Where an export stands.
#[component]
pub fn ExportPill(#[prop(into)] status: Signal<ExportStatus>) -> impl IntoView {
    let class = move || {
        let tone = match status.get() {
            ExportStatus::Waiting => Tone::Neutral,
            ExportStatus::Writing | ExportStatus::Checking => Tone::Info,
            ExportStatus::Ready => Tone::Good,
            ExportStatus::Failed => Tone::Bad,
        };
        pill_class(tone, tone == Tone::Info)
    };
    view! { <span class=class>{move || status.get().as_str()}</span> }
}

fn pill_class(tone: Tone, moving: bool) -> String {
    format!("pill {}{}", tone.class(), if moving { " is-moving" } else { "" })
}
