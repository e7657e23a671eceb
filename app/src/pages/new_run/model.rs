use super::Draft;
use crate::api::runs::StartingPoint;
use crate::api::source;
use crate::components::{Card, Field};
use crate::format;
use domain::catalogue::{AdapterSource, ModelId, ModelSummary};
use leptos::prelude::*;

/// Which base is fine-tuned, and whether from a new adapter or from one that is there.
#[component]
pub fn ModelCard(draft: Draft) -> impl IntoView {
    // Without a script all starting points stay in the list: nothing could bring them back for another base.
    let is_scripted = RwSignal::new(false);
    Effect::new(move |_| is_scripted.set(true));
    let base_words = move || draft.base().map(|base| in_words(&base));
    let start_words = move || {
        draft.start().map(|start| {
            format!(
                "Training goes on from {} (rank {}). The rank, alpha and the layers that LoRA is on are the adapter's.",
                start.name, start.r
            )
        })
    };
    let choose_base = move |event| {
        draft.set("base", event_target_value(&event));
        if draft.start().is_some_and(|start| start.base != draft.form.read_untracked().base()) {
            draft.set("start", String::new());
        }
    };
    let choose_start = move |event| {
        draft.set("start", event_target_value(&event));
        if let Some(start) = draft.start() {
            draft.set("base", start.base.to_string());
            draft.set("r", start.r.to_string());
        }
    };
    let chosen_base = draft.form.read_untracked().base();
    let bases = draft.bases.with_value(|bases| bases.iter().map(|base| base_option(base, chosen_base)).collect_view());
    let (runs, adapters): (Vec<_>, Vec<_>) =
        draft.starts.get_value().into_iter().partition(|start| matches!(start.source, AdapterSource::Run(_)));
    let groups = [("What a finished run left", runs), ("Adapters of the catalogue", adapters)]
        .into_iter()
        .filter(|(_, starts)| !starts.is_empty())
        .map(|(name, starts)| view! { <Group draft name starts is_scripted /> })
        .collect_view();
    view! {
        <Card title="Model">
            <div class="stack">
                <div class="grid-2">
                    <Field label="Base model" id="run-base" error=draft.error("base")>
                        <select
                            class="select"
                            id="run-base"
                            name="form[base]"
                            aria-describedby="run-base-words run-base-error"
                            prop:value=move || draft.get("base")
                            on:change=choose_base
                        >
                            {bases}
                        </select>
                    </Field>
                    <Field label="Start from" id="run-start" error=draft.error("start")>
                        <select
                            class="select"
                            id="run-start"
                            name="form[start]"
                            aria-describedby="run-start-words run-start-error"
                            prop:value=move || draft.get("start")
                            on:change=choose_start
                        >
                            <option value="">"A new adapter"</option>
                            {groups}
                        </select>
                    </Field>
                </div>
                <p class="field-help number" id="run-base-words" aria-live="polite">
                    {base_words}
                    " "
                    <a href="/models">"Add another model"</a>
                </p>
                <p class="field-help" id="run-start-words" aria-live="polite">
                    {start_words}
                </p>
            </div>
        </Card>
    }
    .into_any()
}

fn base_option(base: &ModelSummary, chosen: ModelId) -> impl IntoView + use<> {
    let size = base.info.as_ref().map(|info| format!(" ({})", format::parameters(info.parameters))).unwrap_or_default();
    let words = format!("{}{size}", format::model_name(base));
    let is_chosen = base.id == chosen;
    view! {
        <option value=base.id.to_string() selected=is_chosen>
            {words}
        </option>
    }
}

/// Starting points of one kind. With a script, those on other bases are out of the way.
#[component]
fn Group(draft: Draft, name: &'static str, starts: Vec<StartingPoint>, is_scripted: RwSignal<bool>) -> impl IntoView {
    let chosen_first = draft.form.read_untracked().get("start").to_owned();
    let options = starts
        .into_iter()
        .map(|start| {
            let word = source::word_of(start.source);
            let is_chosen = word == chosen_first;
            let is_elsewhere = move || is_scripted.get() && draft.form.read().base() != start.base;
            let on = draft.bases.with_value(|bases| {
                bases.iter().find(|base| base.id == start.base).map(format::model_name).unwrap_or_default()
            });
            view! {
                <option value=word selected=is_chosen hidden=is_elsewhere disabled=is_elsewhere>
                    {format!("{} (rank {}, on {on})", start.name, start.r)}
                </option>
            }
        })
        .collect_view();
    view! { <optgroup label=name>{options}</optgroup> }.into_any()
}

/// What is to be known of a base before training on it.
fn in_words(base: &ModelSummary) -> String {
    let Some(info) = &base.info else { return String::new() };
    format!(
        "{}, {} parameters, {}, context of {} tokens, {}.",
        info.architecture,
        format::parameters(info.parameters),
        format::counted(info.num_hidden_layers as u64, "layer", "layers"),
        format::count(info.context_length as u64),
        if base.has_chat_template { "with a chat template" } else { "no chat template" }
    )
}
