//! Who asks, and from where, as the server has found out.

use leptos::prelude::{expect_context, use_context};
use leptos::server_fn::http_export::header::USER_AGENT;
use leptos::server_fn::http_export::request::Parts;
use service::people::{Caller, ClientAddress, NewSession, People};

pub fn people() -> People {
    expect_context::<service::Service>().people
}

pub fn caller() -> Caller {
    use_context().unwrap_or_else(Caller::nobody)
}

pub fn address() -> ClientAddress {
    let address = use_context::<Parts>().and_then(|parts| parts.extensions.get::<ClientAddress>().cloned());
    address.unwrap_or_else(|| ClientAddress("unknown".to_string()))
}

pub fn browser() -> String {
    let name = |parts: Parts| Some(parts.headers.get(USER_AGENT)?.to_str().ok()?.to_string());
    use_context::<Parts>().and_then(name).unwrap_or_default()
}

/// Signs the browser in and sends it on.
pub fn enter(session: &NewSession, address: &str) {
    crate::session_cookie::keep(&session.token.0, session.lasts_s);
    leptos_axum::redirect(address);
}
