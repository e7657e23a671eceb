//! What people see: rendered on the server (feature `ssr`) and brought to life in the browser (feature `hydrate`).
//!
//! `api` holds the server functions, one file per noun; `pages` one file per route; `components` the parts that pages
//! share, which take props and fetch nothing; `live` the one websocket hook; `polled` what is fetched again and again.
//! Every page works as plain HTML: links are links, forms post to the server functions and are sent on from there.

#![recursion_limit = "512"]

pub mod api;
pub mod charts;
pub mod comparing;
pub mod components;
pub mod difference;
pub mod error;
pub mod format;
#[cfg(feature = "hydrate")]
mod hydrate;
pub mod live;
pub mod pages;
pub mod polled;
pub mod refused;
#[cfg(feature = "ssr")]
pub mod report;
pub mod reviewer;
#[cfg(feature = "ssr")]
pub mod session_cookie;
pub mod theme;
pub mod while_shown;
pub mod why;

use components::SiteHeader;
use domain::people::Me;
use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{Route, Router, Routes};
use leptos_router::{SsrMode, path};

/// The document around the app, written by the server only.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <meta name="description" content="Ayar turns a labelled spreadsheet into a text classifier." />
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
                // Not deferred: it sets the chosen theme before anything is painted.
                <script src="/theme.js" nonce=use_nonce()></script>
                <link rel="stylesheet" href="/pkg/app.css" />
                // Deferred and module scripts run in document order, so the charts find `echarts` in place.
                <script defer src="/vendor/echarts.min.js" nonce=use_nonce()></script>
                <AutoReload options=options.clone() />
                <HydrationScripts options />
                <MetaTags />
            </head>
            <body>
                <App />
            </body>
        </html>
    }
}

/// The whole app. Pages are sent when their data is there (`SsrMode::Async`), so that a page needs no script to be
/// complete and its status code is known before its first byte.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    // The server knows who looks; it tells the browser with the page.
    let me = SharedValue::new(|| use_context::<Me>().unwrap_or_default()).into_inner();
    provide_context(me);
    view! {
        <Router>
            // Left to the browser, which moves the focus as well; the router would only scroll.
            <a class="skip-link" href="#content" rel="external">
                "Skip to content"
            </a>
            <div class="site">
                <SiteHeader />
                <main id="content" class="site-main" tabindex="-1">
                    <Routes fallback=pages::not_found::NotFoundPage>
                        <Route path=path!("/") view=pages::overview::OverviewPage ssr=SsrMode::Async />
                        <Route path=path!("/datasets") view=pages::datasets::DatasetsPage ssr=SsrMode::Async />
                        <Route path=path!("/datasets/new") view=pages::new_dataset::NewDatasetPage ssr=SsrMode::Async />
                        <Route path=path!("/datasets/:id") view=pages::dataset::DatasetPage ssr=SsrMode::Async />
                        <Route path=path!("/datasets/:id/review/:check") view=pages::review::ReviewPage ssr=SsrMode::Async />
                        <Route path=path!("/models") view=pages::models::ModelsPage ssr=SsrMode::Async />
                        <Route path=path!("/runs") view=pages::runs::RunsPage ssr=SsrMode::Async />
                        <Route path=path!("/runs/new") view=pages::new_run::NewRunPage ssr=SsrMode::Async />
                        <Route path=path!("/runs/:id") view=pages::run::RunPage ssr=SsrMode::Async />
                        <Route path=path!("/compare") view=pages::compare::ComparePage ssr=SsrMode::Async />
                        <Route path=path!("/deployments") view=pages::deployments::DeploymentsPage ssr=SsrMode::Async />
                        <Route path=path!("/deployments/:name") view=pages::deployment::DeploymentPage ssr=SsrMode::Async />
                        <Route path=path!("/sweeps/new") view=pages::new_sweep::NewSweepPage ssr=SsrMode::Async />
                        <Route path=path!("/sweeps/:id") view=pages::sweep::SweepPage ssr=SsrMode::Async />
                        <Route path=path!("/sign-in") view=pages::sign_in::SignInPage ssr=SsrMode::Async />
                        <Route path=path!("/setup/:token") view=pages::setup::SetupPage ssr=SsrMode::Async />
                        <Route path=path!("/reset/:token") view=pages::reset::ResetPage ssr=SsrMode::Async />
                        <Route path=path!("/invitations/:token") view=pages::invitation::InvitationPage ssr=SsrMode::Async />
                        <Route path=path!("/account") view=pages::account::AccountPage ssr=SsrMode::Async />
                        <Route path=path!("/people") view=pages::people::PeoplePage ssr=SsrMode::Async />
                        <Route path=path!("/classify") view=pages::classify::ClassifyPage ssr=SsrMode::Async />
                    </Routes>
                </main>
            </div>
        </Router>
    }
}
