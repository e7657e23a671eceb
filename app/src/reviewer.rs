//! What the person who edits calls themselves: typed once, kept in this browser, and written beside every change.

use domain::version::NOBODY;
use leptos::prelude::*;

const KEY: &str = "reviewer";

/// Longest name; the field takes no more.
pub const MOST_CHARS: usize = 60;

/// The name as it was typed, empty where nobody has said. Use [`by`] for what is sent along.
pub fn remembered_name() -> RwSignal<String> {
    let name = RwSignal::new(String::new());
    // Effects run in the browser only; the server does not know who looks.
    Effect::new(move |before: Option<()>| {
        let kept = storage().and_then(|storage| storage.get_item(KEY).ok().flatten());
        if let Some(kept) = kept.filter(|_| before.is_none()) {
            name.set(kept.chars().take(MOST_CHARS).collect());
        }
    });
    name
}

pub fn remember(name: &str) {
    if let Some(storage) = storage() {
        // Storage may be full or forbidden; the name then holds until the page is left.
        let _ = storage.set_item(KEY, name);
    }
}

/// Who a change is by.
pub fn by(name: RwSignal<String>) -> String {
    let name = name.try_get_untracked().unwrap_or_default();
    match name.trim() {
        "" => NOBODY.to_owned(),
        name => name.to_owned(),
    }
}

fn storage() -> Option<leptos::web_sys::Storage> {
    window().local_storage().ok().flatten()
}
