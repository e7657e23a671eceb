use leptos::prelude::*;
use leptos_meta::Title;

/// The head of a page: where it belongs, its name, and what can be done here (the children). Names the tab as well.
#[component]
pub fn PageHeader(
    #[prop(into)] title: Signal<String>,
    /// The page above: address and name.
    #[prop(optional)]
    parent: Option<(&'static str, &'static str)>,
    /// A sentence, or a few facts, under the title.
    #[prop(optional, into)]
    subtitle: Signal<Option<String>>,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    // The tab is named by the page on top of those not yet taken down, which for a moment may be one that is being left.
    let of_tab = move || title.try_get().map_or_else(|| "Ayar".to_string(), |title| format!("{title} · Ayar"));
    view! {
        <Title text=of_tab />
        <header class="page-header">
            <div class="page-header-words">
                {parent
                    .map(|(href, name)| {
                        view! {
                            <nav class="page-header-parent" aria-label="Breadcrumb">
                                <a href=href>{name}</a>
                            </nav>
                        }
                    })}
                <h1>{title}</h1>
                {move || subtitle.get().map(|subtitle| view! { <p class="page-header-subtitle">{subtitle}</p> })}
            </div>
            {children.map(|children| view! { <div class="page-header-actions">{children()}</div> })}
        </header>
    }
}
