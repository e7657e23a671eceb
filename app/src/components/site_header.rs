use crate::api::people::SignOut;
use domain::people::Me;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;

const PLACES: [(&str, &str); 6] = [
    ("/", "Overview"),
    ("/datasets", "Datasets"),
    ("/models", "Models"),
    ("/runs", "Runs"),
    ("/classify", "Classify"),
    ("/deployments", "Deployments"),
];

/// Name, places and the switch between light and dark: beside the page where there is room, above it where not.
#[component]
pub fn SiteHeader() -> impl IntoView {
    let path = use_location().pathname;
    let me = use_context::<Me>().unwrap_or_default();
    let for_administrators = me.is_administrator().then_some(("/people", "People"));
    let places = PLACES
        .into_iter()
        .chain(for_administrators)
        .map(|(href, name)| {
            let here = move || path.with(|path| path == href || (href != "/" && path.starts_with(&format!("{href}/"))));
            view! {
                <li>
                    <a class="nav-link" href=href aria-current=move || here().then_some("page")>
                        {name}
                    </a>
                </li>
            }
        })
        .collect_view();
    view! {
        <header class="site-header">
            <a class="brand" href="/" aria-label="Ayar, to the overview">
                <svg class="brand-mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
                    <path class="brand-line" d="M5 3v18M12 3v18M19 3v18" />
                    <circle class="brand-knob" cx="5" cy="15" r="3" />
                    <circle class="brand-knob" cx="12" cy="7" r="3" />
                    <circle class="brand-knob is-accent" cx="19" cy="12" r="3" />
                </svg>
                <span>"Ayar"</span>
            </a>
            <nav class="nav" aria-label="Main">
                <ul>{places}</ul>
            </nav>
            {me.signed_in
                .map(|(name, role)| {
                    view! {
                        <div class="signed-in">
                            <a class="nav-link signed-in-name" href="/account">
                                <span>{name}</span>
                                <span class="small">{role.as_str()}</span>
                            </a>
                            <form method="post" action=SignOut::url()>
                                <button type="submit" class="button button-quiet">
                                    "Sign out"
                                </button>
                            </form>
                        </div>
                    }
                })}
            // The click is handled by /theme.js, so that it works before the WASM is there.
            <button type="button" class="theme-toggle" data-theme-toggle="" aria-label="Light / dark, switch between them">
                <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">
                    <circle cx="12" cy="12" r="8.5" />
                    <path class="theme-toggle-half" d="M12 3.5a8.5 8.5 0 0 1 0 17z" />
                </svg>
                <span class="theme-toggle-words">"Light / dark"</span>
            </button>
        </header>
    }
}
