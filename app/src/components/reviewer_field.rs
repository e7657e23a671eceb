use crate::reviewer::{MOST_CHARS, remember};
use leptos::prelude::*;

/// Where a person says under which name their changes are kept.
#[component]
pub fn ReviewerField(name: RwSignal<String>) -> impl IntoView {
    view! {
        <label class="reviewer no-script-hidden">
            <span class="small soft">"Your name"</span>
            <input
                class="input"
                type="text"
                autocomplete="nickname"
                placeholder="someone"
                maxlength=MOST_CHARS.to_string()
                title="Stands beside every change that you make"
                prop:value=move || name.get()
                on:input=move |event| {
                    let typed = event_target_value(&event);
                    remember(&typed);
                    name.set(typed);
                }
            />
        </label>
    }
    .into_any()
}
