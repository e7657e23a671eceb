use super::check::CheckResult;
use crate::api::models::{AddModel, check_model};
use crate::components::{Button, ButtonKind, Card, ErrorNotice, Field, Notice, Tone};
use crate::error::ApiError;
use crate::format;
use domain::catalogue::{ModelCheck, ModelId, ModelSummary};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use leptos_router::location::Url;

/// `id` of what the check has found: the focus goes there.
const RESULT: &str = "check-result";

/// The one field for a model that is to come here, and what the check says of it. The source stands in the page's
/// address, so that the check works as a plain form and can be linked to.
#[component]
pub fn AddCard(add: ServerAction<AddModel>, models: RwSignal<Vec<ModelSummary>>) -> impl IntoView {
    let query = use_query_map();
    let navigate = use_navigate();
    let first = query.read_untracked().get("source").unwrap_or_default().trim().to_owned();
    let source = RwSignal::new(first.clone());
    let missing = RwSignal::new(None::<String>);
    let with_page = Resource::new_blocking(
        move || (!first.is_empty()).then(|| first.clone()),
        |source| async move {
            match source {
                Some(source) => Some(check_model(source).await),
                None => None,
            }
        },
    );
    let checking = Action::new(|source: &String| check_model(source.clone()));
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        let asked = source.read_untracked().trim().to_owned();
        if asked.is_empty() {
            missing.set(Some("Type an address on the Hub, or a path on the server.".to_owned()));
            return;
        }
        missing.set(None);
        add.clear();
        navigate(
            &format!("/models?source={}", Url::escape(&asked)),
            NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() },
        );
        checking.dispatch(asked);
    };
    Effect::new(move |before: Option<usize>| {
        let checks = checking.version().get();
        if before.is_some_and(|before| before != checks) {
            request_animation_frame(|| focus_on(RESULT));
        }
        checks
    });
    // Once it is added, what was found before is of no use any more, and the focus goes to its card when that is there.
    Effect::new(move |last: Option<Option<ModelId>>| {
        let last = last.flatten();
        let Some(Ok(id)) = add.value().get() else { return last };
        let is_listed = models.read().iter().any(|model| model.id == id);
        if last == Some(id) || !is_listed {
            return last;
        }
        source.set(String::new());
        request_animation_frame(move || focus_on(&format!("model-{id}")));
        Some(id)
    });
    let added = Memo::new(move |_| matches!(add.value().get(), Some(Ok(_))));
    let shown = move || {
        if added.get() {
            return None;
        }
        checking.value().get().or_else(|| with_page.get().flatten())
    };
    view! {
        <Card title="Add a model">
            <form method="get" action="/models" class="stack" on:submit=submit>
                <Field
                    label="From the Hub or from the server's disk"
                    id="model-source"
                    help="owner/name, owner/name/file.gguf, either with @revision; the URL of a model's page; or a path on the server such as /models/llama or ./models/small.gguf. A model or a LoRA adapter."
                    error=missing
                >
                    <div class="with-button">
                        <input
                            class="input"
                            id="model-source"
                            name="source"
                            required
                            maxlength="2000"
                            autocomplete="off"
                            autocapitalize="off"
                            spellcheck="false"
                            placeholder="meta-llama/Meta-Llama-3-8B-Instruct"
                            aria-describedby="model-source-help model-source-error"
                            value=source.get_untracked()
                            prop:value=move || source.get()
                            on:input=move |event| source.set(event_target_value(&event))
                        />
                        <Button type_="submit" kind=ButtonKind::Primary pending=checking.pending()>
                            "Check"
                        </Button>
                    </div>
                </Field>
                <p class="visually-hidden" role="status">
                    {move || checking.pending().get().then_some("Looking at it…")}
                </p>
            </form>
            <Transition>
                <div id=RESULT class="check-result" tabindex="-1">
                    {move || {
                        shown().map(|check| view! { <Found check add models /> })
                    }}
                </div>
            </Transition>
            {move || added.get().then(|| view! {
                <Notice tone=Tone::Good>
                    <p>"It is in the catalogue below; what is missing of it is being fetched."</p>
                </Notice>
            })}
        </Card>
    }
    .into_any()
}

#[component]
fn Found(
    check: Result<ModelCheck, ApiError>,
    add: ServerAction<AddModel>,
    models: RwSignal<Vec<ModelSummary>>,
) -> impl IntoView {
    let bases = models.with_untracked(|models| {
        let ready = models.iter().filter(|model| model.info.is_some());
        ready.map(|model| (model.id, format::model_name(model))).collect::<Vec<_>>()
    });
    match check {
        Ok(check) => view! { <CheckResult check add bases /> }.into_any(),
        Err(error) => view! { <ErrorNotice error /> }.into_any(),
    }
}

fn focus_on(id: &str) {
    use leptos::wasm_bindgen::JsCast;
    let element = document().get_element_by_id(id);
    if let Some(element) = element.as_ref().and_then(|element| element.dyn_ref::<leptos::web_sys::HtmlElement>()) {
        // It fails for an element that cannot have it, and none here is such.
        let _ = element.focus();
    }
}
