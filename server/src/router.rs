//! Every route on one page.

use crate::http::api::{classify, document, hugging_face, stream};
use crate::http::{
    access, datasets, demo, docs, errors, evaluations, events, exports, guard, health, metrics, observe, runs,
    saved_file, uploads,
};
use crate::state::AppState;
use app::{App, shell};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use leptos::prelude::provide_context;
use leptos_axum::{LeptosRoutes, generate_route_list};
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// The whole of what the process answers. Who may ask for what stands in `domain::people::access`.
///
/// - `/healthz`, `/readyz`, `/metrics`: for those who watch over the server
/// - `/runs/{id}/events`: a run's events over a websocket
/// - `/runs/{id}/report`, `curves.csv`, `rows.csv`, `scores.csv`, `confusion.csv` (and `.json`), `/compare.csv` (and
///   `.json`): evaluations to be printed and saved
/// - `/sweeps/{id}/trials.csv`, `/deployments/{name}/figures.csv` (and `.json`): the same of sweeps and deployments
/// - `/runs/{run}/exports/{id}/{file}`: a file of an export, to be saved
/// - `/runs/{id}/manifest.json`: what a run was made of, `/runs/{id}/tensorboard`: its curves, both to be saved
/// - `/uploads`, `/uploads/{id}`: files that are sent in pieces
/// - `/datasets/{id}/export.csv`: the rows of a dataset, to be saved
/// - `/v1/classify`, `/v1/classify/stream`, `/models/{id}`: the API for programs
/// - `/openapi.json`, `/docs`: what the API is, and a page to try it
/// - `/demo/{token}`: a page for everybody who has its link
/// - `/api/...`: the app's server functions
/// - `/`, `/datasets`, `/models`, `/runs`, `/sweeps`, `/classify` and what is below them: the app's pages
/// - `/sign-in`, `/setup/{token}`, `/reset/{token}`, `/invitations/{token}`, `/account`, `/people`: pages for accounts
/// - anything else: a file of the site, or the app's page that says there is nothing here
pub fn router(state: AppState) -> Router {
    let context = {
        let service = state.service.clone();
        move || {
            provide_context(service.clone());
            access::give_caller();
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
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .leptos_routes_with_context(&state, generate_route_list(App), context, page)
        .route("/datasets/{id}/export.csv", get(datasets::export))
        .route("/runs/{id}/report", get(evaluations::report))
        .route("/runs/{id}/rows.csv", get(evaluations::rows_csv))
        .route("/runs/{id}/rows.json", get(evaluations::rows_json))
        .route("/runs/{id}/curves.csv", get(evaluations::curves_csv))
        .route("/runs/{id}/curves.json", get(evaluations::curves_json))
        .route("/runs/{id}/scores.csv", get(evaluations::scores_csv))
        .route("/runs/{id}/scores.json", get(evaluations::scores_json))
        .route("/runs/{id}/confusion.csv", get(evaluations::confusion_csv))
        .route("/runs/{id}/confusion.json", get(evaluations::confusion_json))
        .route("/compare.csv", get(evaluations::comparison_csv))
        .route("/compare.json", get(evaluations::comparison_json))
        .route("/sweeps/{id}/trials.csv", get(saved_file::trials_csv))
        .route("/sweeps/{id}/trials.json", get(saved_file::trials_json))
        .route("/deployments/{name}/figures.csv", get(saved_file::figures_csv))
        .route("/deployments/{name}/figures.json", get(saved_file::figures_json))
        .route("/openapi.json", get(document::openapi))
        .route("/docs", get(docs::page))
        .route("/docs/{file}", get(docs::file))
        .route("/demo/{token}", get(demo::page).post(demo::answer_form))
        .route("/demo/{token}/brand.css", get(demo::brand))
        .route("/demo-files/{file}", get(demo::file))
        .route("/runs/{id}/manifest.json", get(runs::manifest))
        .route("/runs/{id}/tensorboard", get(runs::tensorboard))
        .layer(from_fn(errors::give_server_functions_their_status))
        .layer(CompressionLayer::new())
        // After the compression: nothing is gained by it on a websocket or on weights, and the files are compressed
        // already.
        .route("/v1/classify", post(classify::classify))
        .route("/v1/classify/stream", post(stream::stream))
        .route("/models/{id}", post(hugging_face::classify))
        .route("/demo/{token}/classify", post(demo::answer))
        .route("/runs/{id}/events", get(events::events))
        .route("/runs/{run}/exports/{id}/{*file}", get(exports::file))
        .route("/uploads", post(uploads::announce))
        .route("/uploads/{id}", get(uploads::status).put(uploads::append))
        .fallback_service(files)
        .layer(from_fn(observe::name_route))
        .layer(from_fn(guard::limit_body))
        // A body may take as long as it needs, but not stand still.
        .layer(RequestBodyTimeoutLayer::new(guard::BODY_STANDS_STILL))
        .layer(from_fn_with_state(state.clone(), access::require))
        .layer(from_fn(guard::require_same_origin))
        .layer(from_fn_with_state(state.hosts.clone(), guard::require_known_host))
        .layer(from_fn_with_state(state.https, guard::set_headers))
        .layer(from_fn_with_state(state.metrics.clone(), observe::observe))
        .with_state(state)
}
