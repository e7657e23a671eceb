use leptos::prelude::*;

/// Holds a `<table class="table">` and scrolls it sideways where it is wider than the page, by keyboard as well.
#[component]
pub fn TableScroll(
    /// What the table shows, for screen readers.
    #[prop(into)]
    label: String,
    children: Children,
) -> impl IntoView {
    view! {
        <div class="table-scroll" role="region" aria-label=label tabindex="0">
            {children()}
        </div>
    }
}
