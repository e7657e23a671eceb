use leptos::prelude::*;

/// A framed part of a page. With a title it is a section of its own for screen readers.
#[component]
pub fn Card(
    #[prop(optional, into)] title: Option<String>,
    /// A sentence under the title.
    #[prop(optional, into)]
    note: Option<String>,
    children: Children,
) -> impl IntoView {
    let head = title.map(|title| {
        view! {
            <header class="card-head">
                <h2 class="card-title">{title}</h2>
                {note.map(|note| view! { <p class="card-note">{note}</p> })}
            </header>
        }
    });
    view! {
        <section class="card">
            {head}
            {children()}
        </section>
    }
}

/// What stands where there is nothing yet: what this place is for, and the way to fill it (the children).
#[component]
pub fn EmptyState(
    #[prop(into)] title: String,
    #[prop(into)] text: String,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="empty">
            <p class="empty-title">{title}</p>
            <p class="empty-text">{text}</p>
            {children.map(|children| view! { <div class="empty-actions">{children()}</div> })}
        </div>
    }
}

/// Something folded away until asked for.
#[component]
pub fn Fold(#[prop(into)] summary: String, #[prop(optional)] open: bool, children: Children) -> impl IntoView {
    view! {
        <details class="fold" open=open>
            <summary class="fold-summary">{summary}</summary>
            <div class="fold-body">{children()}</div>
        </details>
    }
}
