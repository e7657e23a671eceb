use leptos::prelude::*;

/// How much a button asks for attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ButtonKind {
    /// The one thing the page is for.
    Primary,
    #[default]
    Plain,
    /// Ends or removes something.
    Danger,
    /// Beside other things, without a frame.
    Quiet,
}

impl ButtonKind {
    pub fn class(self) -> &'static str {
        match self {
            Self::Primary => "button button-primary",
            Self::Plain => "button",
            Self::Danger => "button button-danger",
            Self::Quiet => "button button-quiet",
        }
    }
}

/// A button. `pending` shows that its action is under way and keeps it from being pressed twice.
/// Attach events as on an element: `<Button on:click=..>`.
#[component]
pub fn Button(
    #[prop(optional)] kind: ButtonKind,
    /// `button`, or `submit` inside a form.
    #[prop(default = "button")]
    type_: &'static str,
    #[prop(optional, into)] disabled: Signal<bool>,
    #[prop(optional, into)] pending: Signal<bool>,
    children: Children,
) -> impl IntoView {
    view! {
        <button
            type=type_
            class=kind.class()
            class:is-pending=pending
            disabled=move || disabled.get() || pending.get()
            aria-busy=move || pending.get().then_some("true")
        >
            {children()}
        </button>
    }
}

/// A link that looks like a button: it leads somewhere, it changes nothing.
#[component]
pub fn ButtonLink(
    #[prop(into)] href: Signal<String>,
    #[prop(optional)] kind: ButtonKind,
    children: Children,
) -> impl IntoView {
    view! {
        <a class=kind.class() href=href>
            {children()}
        </a>
    }
}
