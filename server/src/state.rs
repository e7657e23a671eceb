//! What every handler can get at.

use crate::http::access::Access;
use axum::extract::FromRef;
use leptos::config::LeptosOptions;
use service::Service;

#[derive(Clone, FromRef)]
pub struct AppState {
    pub leptos: LeptosOptions,
    pub service: Service,
    pub access: Access,
}
