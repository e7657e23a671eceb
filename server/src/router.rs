//! Every route on one page.

use crate::http::{datasets, errors, events, exports, guard, health, uploads};
use crate::state::AppState;
use app::{App, shell};
use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use leptos::prelude::provide_context;
use leptos_axum::{LeptosRoutes, generate_route_list};
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;

/// The whole of what the process answers.
///
/// - `/healthz`
/// - `/runs/{id}/events`: a run's events over a websocket
/// - `/runs/{run}/exports/{id}/{file}`: a file of an export, to be saved
/// - `/uploads`, `/uploads/{id}`: files that are sent in pieces
/// - `/datasets/{id}/export.csv`: the rows of a dataset, to be saved
/// - `/api/...`: the app's server functions
/// - `/`, `/datasets`, `/models`, `/runs`, `/classify` and what is below them: the app's pages
/// - anything else: a file of the site, or the app's page that says there is nothing here
pub fn router(state: AppState) -> Router {
    let context = {
        let service = state.service.clone();
        move || {
            provide_context(service.clone());
            errors::give_pages_their_status();
        }
    };
    let page = {
        let options = state.leptos.clone();
        move || {
            guard::set_page_policy();
            shell(options.clone())
        }
    };
    let not_found = get(leptos_axum::render_app_async_with_context(context.clone(), page.clone()));
    let files = ServeDir::new(&*state.leptos.site_root)
        .append_index_html_on_directories(false)
        .precompressed_br()
        .precompressed_gzip()
        .fallback(not_found);

    Router::new()
        .route("/healthz", get(health::health))
        .leptos_routes_with_context(&state, generate_route_list(App), context, page)
        .route("/datasets/{id}/export.csv", get(datasets::export))
        .layer(from_fn(errors::give_server_functions_their_status))
        .layer(CompressionLayer::new())
        // After the compression: nothing is gained by it on a websocket or on weights, and the files are compressed
        // already.
        .route("/runs/{id}/events", get(events::events))
        .route("/runs/{run}/exports/{id}/{*file}", get(exports::file))
        .route("/uploads", post(uploads::announce))
        .route("/uploads/{id}", get(uploads::status).put(uploads::append))
        .fallback_service(files)
        .layer(from_fn(guard::limit_body))
        .layer(from_fn(guard::require_same_origin))
        .layer(from_fn(guard::set_headers))
        .with_state(state)
}
