use crate::error::ApiError;
use domain::error::ErrorKind;
use leptos::prelude::*;

/// What a notice or a pill is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Neutral,
    /// Under way, or worth a look.
    Info,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// The class that sets `--tone` and `--tone-soft`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Neutral => "tone-neutral",
            Self::Info => "tone-info",
            Self::Good => "tone-good",
            Self::Warning => "tone-warning",
            Self::Bad => "tone-bad",
        }
    }
}

/// Something the person should know, where it matters.
#[component]
pub fn Notice(
    #[prop(optional)] tone: Tone,
    #[prop(optional, into)] title: Option<String>,
    children: Children,
) -> impl IntoView {
    let role = if tone == Tone::Bad { "alert" } else { "status" };
    view! {
        <div class=format!("notice {}", tone.class()) role=role>
            {title.map(|title| view! { <p class="notice-title">{title}</p> })}
            <div class="notice-text">{children()}</div>
        </div>
    }
}

/// An error in words. The children are what can be done about it: a link or a button.
#[component]
pub fn ErrorNotice(error: ApiError, #[prop(optional)] children: Option<Children>) -> impl IntoView {
    let tone = match error.kind() {
        ErrorKind::Busy | ErrorKind::Conflict | ErrorKind::SignIn => Tone::Warning,
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::Internal => Tone::Bad,
    };
    view! {
        <Notice tone title=error.title()>
            <p>{error.message()}</p>
            {children.map(|children| view! { <div class="notice-actions">{children()}</div> })}
        </Notice>
    }
}

/// Stands in for what is still being fetched.
#[component]
pub fn Loading(
    /// Such as `runs`.
    #[prop(into)]
    what: String,
) -> impl IntoView {
    view! {
        <p class="loading" role="status">
            {format!("Loading {what}…")}
        </p>
    }
}
