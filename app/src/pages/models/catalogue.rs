use super::card::ModelCard;
use crate::api::models::{PauseModel, RemoveModel, ResumeModel};
use crate::components::{EmptyState, ErrorNotice, Notice, Tone};
use crate::error::ApiError;
use crate::format;
use crate::polled::Polled;
use domain::catalogue::{ModelId, ModelStatus, ModelSummary};
use leptos::prelude::*;

/// What can be done with a model; one of each for the whole list, so that what was refused is said once.
#[derive(Clone, Copy)]
pub struct ModelActions {
    pub pause: ServerAction<PauseModel>,
    pub resume: ServerAction<ResumeModel>,
    pub remove: ServerAction<RemoveModel>,
}

/// All models as cards. A card stays the same element as long as its model is there, so that what is unfolded in it
/// and what has the focus stay so while the figures change.
#[component]
pub fn Catalogue(models: Polled<Vec<ModelSummary>>, endpoint: Signal<String>) -> impl IntoView {
    let actions = ModelActions { pause: ServerAction::new(), resume: ServerAction::new(), remove: ServerAction::new() };
    models.look_after(*actions.pause);
    models.look_after(*actions.resume);
    models.look_after(*actions.remove);
    let refused = move || {
        let error = |result: Option<Result<(), ApiError>>| result.and_then(Result::err);
        error(actions.pause.value().get())
            .or_else(|| error(actions.resume.value().get()))
            .or_else(|| error(actions.remove.value().get()))
    };
    let ids = Memo::new(move |_| models.value.read().iter().map(|model| model.id).collect::<Vec<_>>());
    let only_the_own = move || ids.read().len() < 2;
    view! {
        <section class="stack" aria-labelledby="catalogue-title">
            <h2 id="catalogue-title" tabindex="-1">
                "Catalogue"
            </h2>
            <Announcement models=models.value />
            {move || refused().map(|error| view! { <ErrorNotice error /> })}
            {move || {
                models
                    .lost
                    .get()
                    .map(|error| {
                        view! {
                            <Notice tone=Tone::Warning title="What is shown may be out of date">
                                <p>{error.message()}</p>
                            </Notice>
                        }
                    })
            }}
            <ul class="model-cards">
                <For each=move || ids.get() key=|id| *id let:id>
                    <ModelCard models=models.value model=one_of(models.value, id) endpoint actions />
                </For>
            </ul>
            <Show when=only_the_own>
                <EmptyState
                    title="Only the server's own model so far"
                    text="Add a larger one from the Hub above: Llama 2 to 3.2, Mistral, Qwen2 and Qwen3 can be fine-tuned, from safetensors or GGUF."
                />
            </Show>
        </section>
    }
    .into_any()
}

/// One model as it stands now; as it stood last once it is no longer in the list.
fn one_of(models: RwSignal<Vec<ModelSummary>>, id: ModelId) -> Memo<Option<ModelSummary>> {
    Memo::new(move |before: Option<&Option<ModelSummary>>| {
        let now = models.read().iter().find(|model| model.id == id).cloned();
        now.or_else(|| before.cloned().flatten())
    })
}

/// Says to screen readers which model has come to another state. The figures, which change every second, are not read.
#[component]
fn Announcement(models: RwSignal<Vec<ModelSummary>>) -> impl IntoView {
    let words = RwSignal::new(String::new());
    Effect::new(move |before: Option<Vec<(ModelId, ModelStatus)>>| {
        let models = models.read();
        let now: Vec<_> = models.iter().map(|model| (model.id, model.status)).collect();
        if let Some(before) = before {
            let changed = models.iter().filter(|model| !before.contains(&(model.id, model.status)));
            let said = changed.map(|model| format!("{}: {}.", format::model_name(model), model.status.as_str()));
            let said = said.collect::<Vec<_>>().join(" ");
            if !said.is_empty() {
                words.set(said);
            }
        }
        now
    });
    view! {
        <p class="visually-hidden" role="status">
            {words}
        </p>
    }
    .into_any()
}
