use leptos::prelude::*;

/// A link that the browser answers with a saved file.
#[component]
pub fn SaveLink(#[prop(into)] href: Signal<String>, words: &'static str) -> impl IntoView {
    view! {
        <a href=href rel="external" download="">
            {words}
        </a>
    }
}
