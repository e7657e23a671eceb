//! The browser's way in.

use crate::App;

/// Called by the page's script once the WASM is loaded: takes over the server's HTML.
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(App);
    // For `make bench-pages` and for whoever looks at the browser's timeline. A browser that keeps no marks does not
    // matter.
    if let Some(performance) = web_sys::window().and_then(|window| window.performance()) {
        let _ = performance.mark("interactive");
    }
}
