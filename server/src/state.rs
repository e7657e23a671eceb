//! What every handler can get at.

use crate::http::access::Access;
use crate::http::guard::{Hosts, Https};
use crate::http::metrics::Metrics;
use axum::extract::FromRef;
use leptos::config::LeptosOptions;
use service::Service;

/// As it was given to the server; never written anywhere.
pub type MetricsToken = std::sync::Arc<str>;

#[derive(Clone, FromRef)]
pub struct AppState {
    pub leptos: LeptosOptions,
    pub service: Service,
    pub access: Access,
    pub metrics: Metrics,
    /// Lets programs elsewhere read the metrics.
    pub metrics_token: Option<MetricsToken>,
    /// The names under which the server is reached.
    pub hosts: Hosts,
    pub https: Https,
}

impl AppState {
    /// As on one's own machine: everybody may everything, over plain HTTP.
    pub fn open(leptos: LeptosOptions, service: Service) -> Self {
        Self {
            leptos,
            service,
            access: Access::Open,
            metrics: Metrics::default(),
            metrics_token: None,
            hosts: Hosts::all(),
            https: Https(false),
        }
    }
}
