//! Why a text gets its label: asked for, and shown as shading.

use crate::api::evaluations::explain;
use crate::api::source;
use crate::components::{ErrorNotice, ShadedText};
use domain::attribution::Method;
use domain::catalogue::AdapterSource;
use leptos::prelude::*;

/// Folded away until asked for; then each word is shaded by what it does for a label. `id` tells it from others on the page.
#[component]
pub fn Why(
    source: AdapterSource,
    #[prop(into)] text: String,
    labels: Vec<String>,
    #[prop(into)] id: String,
) -> impl IntoView {
    let text = StoredValue::new(text);
    // Nothing: the label that is predicted.
    let label = RwSignal::new(None::<usize>);
    let method = RwSignal::new(Method::default());
    let asking = Action::new(move |(): &()| {
        explain(source::word_of(source), text.get_value(), label.get_untracked(), method.get_untracked())
    });
    let opened = move |_| {
        if asking.version().get_untracked() == 0 && !asking.pending().get_untracked() {
            asking.dispatch(());
        }
    };
    let choices = labels
        .into_iter()
        .enumerate()
        .map(|(index, name)| view! { <option value=index.to_string()>{name}</option> })
        .collect_view();
    let (label_id, method_id) = (format!("why-label-{id}"), format!("why-method-{id}"));
    view! {
        <details class="why no-script-hidden" on:toggle=opened>
            <summary class="fold-summary">"Why"</summary>
            <div class="stack why-body">
                <div class="row why-choices">
                    <label class="small" for=label_id.clone()>
                        "Label"
                    </label>
                    <select
                        class="select select-small"
                        id=label_id
                        on:change=move |event| {
                            label.set(event_target_value(&event).parse().ok());
                            asking.dispatch(());
                        }
                    >
                        <option value="">"the answer"</option>
                        {choices}
                    </select>
                    <label class="small" for=method_id.clone()>
                        "How"
                    </label>
                    <select
                        class="select select-small"
                        id=method_id
                        on:change=move |event| {
                            method.set(Method::parse(&event_target_value(&event)).unwrap_or_default());
                            asking.dispatch(());
                        }
                    >
                        <option value=Method::Occlusion.as_str()>"word by word"</option>
                        <option value=Method::Gradient.as_str()>"by gradient, fast"</option>
                    </select>
                </div>
                <div aria-live="polite">
                    {move || asking.pending().get().then(|| view! { <p class="small soft">"The model is reading…"</p> })}
                    {move || {
                        asking
                            .value()
                            .get()
                            .map(|found| match found {
                                Ok(attribution) => view! { <ShadedText attribution /> }.into_any(),
                                Err(error) => view! { <ErrorNotice error /> }.into_any(),
                            })
                    }}
                </div>
            </div>
        </details>
    }
    .into_any()
}
