//! What tells a plain HTML form from the page's own script.

use leptos::prelude::use_context;
use leptos::server_fn::http_export::{header::ACCEPT, request::Parts};

/// Sends a plain form on to this address; the page's own script stays where it is.
pub fn back_to(address: &str) {
    if is_plain_form() {
        leptos_axum::redirect(address);
    }
}

/// Whether the request is a form that the browser sent by itself and whose answer it will show as a page.
fn is_plain_form() -> bool {
    use_context::<Parts>()
        .and_then(|parts| parts.headers.get(ACCEPT)?.to_str().ok().map(|accepts| accepts.contains("text/html")))
        .unwrap_or(false)
}
