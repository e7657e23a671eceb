use crate::format;
use leptos::prelude::*;

/// A moment: the server writes it in UTC, the browser then in the person's own time zone.
#[component]
pub fn TimeStamp(
    /// Milliseconds since 1970, UTC.
    at_ms: i64,
) -> impl IntoView {
    let words = RwSignal::new(format!("{} UTC", format::date_time(at_ms)));
    // Effects run in the browser only.
    Effect::new(move |_| {
        let offset_minutes =
            js_sys::Date::new(&leptos::wasm_bindgen::JsValue::from_f64(at_ms as f64)).get_timezone_offset();
        words.set(format::date_time(at_ms - (offset_minutes * 60_000.0) as i64));
    });
    view! { <time datetime=format::iso(at_ms) title=format!("{} UTC", format::date_time(at_ms))>{words}</time> }
}
