//! The page's colours as scripts need them. The colours themselves live in `style/tokens.css`.

use leptos::prelude::*;

/// What a colour token such as `--accent` is right now, as `rgb(...)`. Empty outside the browser.
///
/// The token is read through a throw-away element, because a custom property that holds `light-dark(...)` is only
/// resolved where it is used.
pub fn token_color(token: &str) -> String {
    read_color(token).unwrap_or_default()
}

fn read_color(token: &str) -> Option<String> {
    let body = document().body()?;
    let probe = document().create_element("span").ok()?;
    probe.set_attribute("hidden", "").ok()?;
    body.append_child(&probe).ok()?;
    let color = probe_color(&probe, token);
    probe.remove();
    color
}

fn probe_color(probe: &leptos::web_sys::Element, token: &str) -> Option<String> {
    use leptos::wasm_bindgen::JsCast;
    let style = probe.dyn_ref::<leptos::web_sys::HtmlElement>()?.style();
    style.set_property("color", &format!("var({token})")).ok()?;
    window().get_computed_style(probe).ok()??.get_property_value("color").ok()
}

/// Calls `changed` whenever the person or the system switches between light and dark, until the current owner is
/// cleaned up. Browser only: call it from an `Effect`.
pub fn on_theme_change(changed: impl Fn() + 'static) {
    let listener = window_event_listener_untyped("themechange", move |_| changed());
    on_cleanup(move || listener.remove());
}
