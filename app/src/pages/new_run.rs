//! The form of a new run. It is a plain form that posts; with the script there, every field is checked while it is
//! typed, one real row is shown as the model will see it, and time and memory are estimated.

mod class_weights;
mod estimate;
mod knobs;
mod model;
mod prompt;
mod split;
mod typed;

use crate::api::run_form::{FieldError, RunForm};
use crate::api::runs::{
    NewRunData, SplitBasis, StartRun, StartingPoint, estimate_run, get_new_run_data, get_split_basis,
};
use crate::api::source;
use crate::components::{
    Button, ButtonKind, ButtonLink, Card, EmptyState, ErrorNotice, Field, Fold, Loading, PageHeader,
};
use crate::error::ApiError;
use crate::format;
use crate::while_shown::while_shown;
use domain::catalogue::{ModelSummary, OWN_MODEL};
use domain::dataset::DatasetSummary;
use domain::run::RunId;
use domain::spec::KnobGroup;
use domain::version::DatasetVersion;
use estimate::EstimateCard;
pub(super) use estimate::after_a_pause;
use knobs::{KnobFields, Recipes};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use model::ModelCard;
use prompt::PromptCard;
use split::{Number, SplitFields};

/// The form as it stands, and what is refused in it.
#[derive(Clone, Copy)]
struct Draft {
    form: RwSignal<RunForm>,
    /// Start has been pressed: from then on missing fields are named as well.
    tried: RwSignal<bool>,
    /// What can be fine-tuned.
    bases: StoredValue<Vec<ModelSummary>>,
    /// What training can go on from.
    starts: StoredValue<Vec<StartingPoint>>,
    datasets: StoredValue<Vec<DatasetSummary>>,
    /// Versions and frozen test of the chosen dataset; `None` where they cannot be had.
    basis: Resource<Option<SplitBasis>>,
}

impl Draft {
    /// The base that is chosen.
    fn base(self) -> Option<ModelSummary> {
        let id = self.form.read().base();
        self.bases.with_value(|bases| bases.iter().find(|base| base.id == id).cloned())
    }

    /// The dataset that is chosen.
    fn dataset(self) -> Option<DatasetSummary> {
        let id = self.form.read().dataset_id()?;
        self.datasets.with_value(|datasets| datasets.iter().find(|dataset| dataset.id == id).cloned())
    }

    /// The adapter that training goes on from, if it does not begin with a new one.
    fn start(self) -> Option<StartingPoint> {
        let source = self.form.read().start()?;
        self.starts.with_value(|starts| starts.iter().find(|start| start.source == source).cloned())
    }

    fn get(self, field: &'static str) -> String {
        self.form.read().get(field).to_string()
    }

    fn set(self, field: &'static str, words: String) {
        self.form.update(|form| form.set(field, words));
    }

    /// What is wrong with a field. A field that was never filled in is not wrong before Start has been pressed.
    fn error(self, field: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || {
            let form = self.form.read();
            if form.get(field).is_empty() && !self.tried.get() {
                return None;
            }
            form.check(field).map(|error| error.message)
        })
    }
}

#[component]
pub fn NewRunPage() -> impl IntoView {
    let query = use_query_map();
    let from = Memo::new(move |_| query.read().get_str("from").and_then(|id| id.parse::<RunId>().ok()));
    let data = Resource::new_blocking(while_shown(from), get_new_run_data);
    view! {
        <PageHeader title="New run" parent=("/runs", "Runs") />
        <Suspense fallback=|| {
            view! { <Loading what="form" /> }
        }>
            {move || Suspend::new(async move {
                match data.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(data) if data.datasets.is_empty() => view! { <NoDatasets /> }.into_any(),
                    Ok(data) => view! { <NewRunForm data /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn NoDatasets() -> impl IntoView {
    view! {
        <EmptyState title="A run needs a dataset" text="Upload texts with labels first; then come back and start a run on them.">
            <ButtonLink href="/datasets/new" kind=ButtonKind::Primary>
                "Upload a file"
            </ButtonLink>
        </EmptyState>
    }
    .into_any()
}

#[component]
fn NewRunForm(data: NewRunData) -> impl IntoView {
    let query = use_query_map();
    let asked = query.read_untracked();
    let refused = asked.get_str("refused").is_some();
    let first = first_form(&data, |field| asked.get(field));
    drop(asked);
    let form = RwSignal::new(first.clone());
    let dataset = Memo::new(move |_| form.read().dataset_id());
    let basis = Resource::new(while_shown(dataset), |dataset| async move { get_split_basis(dataset?).await.ok() });
    let draft = Draft {
        form,
        tried: RwSignal::new(refused),
        bases: StoredValue::new(data.bases),
        starts: StoredValue::new(data.starts),
        datasets: StoredValue::new(data.datasets),
        basis,
    };
    // What was typed before the script arrived is not lost. Effects run in the browser only.
    let typed = typed::typed_before_the_script(&first);
    Effect::new(move |_| {
        if let Some(typed) = typed.clone() {
            draft.form.set(typed);
        }
    });

    let start = ServerAction::<StartRun>::new();
    let why_refused = Resource::new_blocking(
        move || refused.then(|| first.clone()),
        |form| async move {
            match form {
                Some(form) => estimate_run(form).await.err(),
                None => None,
            }
        },
    );
    let errors = move || draft.form.read().read().err().unwrap_or_default();
    // Pressing Enter in a field clicks the button as well.
    let submit = move |event: leptos::ev::MouseEvent| {
        draft.tried.set(true);
        if let Some(first_error) =
            draft.form.with_untracked(|form| form.read().err()).and_then(|mut e| e.drain(..1).next())
        {
            event.prevent_default();
            reveal(first_error.field);
        }
    };
    let error_action = move || start.value().get().and_then(Result::err);
    view! {
        <ActionForm action=start attr:id="new-run" attr:class="new-run" attr:novalidate="">
            <div class="new-run-fields stack-loose">
                <Transition>
                    {move || Suspend::new(async move { why_refused.await.map(|error| view! { <ErrorNotice error /> }) })}
                </Transition>
                {move || error_action().map(|error: ApiError| view! { <ErrorNotice error /> })}
                <Card title="Data">
                    <div class="stack">
                        <DatasetFields draft />
                        <SplitFields draft />
                    </div>
                </Card>
                <ModelCard draft />
                <PromptCard draft />
                <Card title="Training" note="Start from a recipe; change what you like.">
                    <div class="stack">
                        <Recipes draft />
                        <KnobFields draft group=KnobGroup::Main />
                        <Fold summary="More settings">
                            <KnobFields draft group=KnobGroup::More />
                            <Number draft field="time_limit" label="Time limit in minutes, or nothing" />
                        </Fold>
                    </div>
                </Card>
            </div>
            <aside class="new-run-side">
                <EstimateCard draft>
                    <ErrorSummary errors=Signal::derive(errors) tried=draft.tried />
                    <SeedsField draft />
                    <Button type_="submit" kind=ButtonKind::Primary pending=start.pending() on:click=submit>
                        "Start the run"
                    </Button>
                    <a class="button button-quiet" href=move || format!("/sweeps/new?{}", draft.form.read().query())>
                        "Search around it: a sweep"
                    </a>
                </EstimateCard>
            </aside>
        </ActionForm>
    }
    .into_any()
}

/// The form as it first stands: what the address says, then a run to take over, then the newest dataset.
pub(super) fn first_form(data: &NewRunData, asked: impl Fn(&str) -> Option<String>) -> RunForm {
    let mut basis = RunForm::default();
    if let Some(from) = &data.from {
        basis.set("dataset", from.summary.dataset_id.to_string());
        // The same rows, so that the two runs can be held against each other.
        basis.set("dataset_version", from.summary.dataset_version.to_string());
        basis.fill(&from.spec);
        basis.fill_split(&from.split);
        basis.set("base", from.base_model.to_string());
        basis.set("start", from.start_from.map(source::word_of).unwrap_or_default());
    }
    let named = asked("dataset").or_else(|| Some(basis.get("dataset").to_string()));
    let dataset = data.datasets.iter().find(|dataset| Some(dataset.id.to_string()) == named).or(data.datasets.first());
    if let Some(dataset) = dataset {
        basis.set("dataset", dataset.id.to_string());
        if basis.get("split") != "per_label" {
            basis.fit_rows_per_label(&dataset.labels);
        }
    }
    let mut form = RunForm::from_lookup(basis, asked);
    // A base or an adapter that has been removed since cannot be chosen.
    if !data.bases.iter().any(|base| base.id == form.base()) {
        form.set("base", OWN_MODEL.to_string());
    }
    let start = data.starts.iter().find(|start| Some(start.source) == form.start() && start.base == form.base());
    match start.map(|start| start.r) {
        Some(r) => form.set("r", r.to_string()),
        None => form.set("start", ""),
    }
    form
}

/// Moves to a field that is refused, unfolding what hides it.
fn reveal(field: &str) {
    let Some(element) = document().get_element_by_id(&format!("run-{field}")) else { return };
    if let Ok(Some(fold)) = element.closest("details") {
        // Setting an attribute of an element that is there cannot fail.
        let _ = fold.set_attribute("open", "");
    }
    use leptos::wasm_bindgen::JsCast;
    if let Some(element) = element.dyn_ref::<leptos::web_sys::HtmlElement>() {
        let _ = element.focus();
    }
}

/// Several seeds of the recipe become one line with a mean and a deviation.
#[component]
fn SeedsField(draft: Draft) -> impl IntoView {
    view! {
        <Field
            label="Repeat with so many seeds"
            id="run-seeds"
            help="1: a single run. More show how much of a score is chance."
            error=draft.error("seeds")
        >
            <input
                class="input"
                id="run-seeds"
                name="form[seeds]"
                inputmode="numeric"
                autocomplete="off"
                aria-describedby="run-seeds-help run-seeds-error"
                value=draft.form.read_untracked().get("seeds").to_string()
                prop:value=move || draft.get("seeds")
                on:input=move |event| draft.set("seeds", event_target_value(&event))
            />
        </Field>
    }
    .into_any()
}

/// Names what is refused beside the button that did not start anything.
#[component]
fn ErrorSummary(errors: Signal<Vec<FieldError>>, tried: RwSignal<bool>) -> impl IntoView {
    let shown = move || errors.get().into_iter().filter(|_| tried.get()).collect::<Vec<_>>();
    view! {
        <div role="alert">
        <ul class="error-summary">
            {move || {
                shown()
                    .into_iter()
                    .map(|error| {
                        let href = format!("#run-{}", error.field);
                        view! {
                            <li>
                                <a href=href on:click=move |_| reveal(error.field)>
                                    {title_of(error.field)}
                                    {error.message}
                                </a>
                            </li>
                        }
                    })
                    .collect_view()
            }}
        </ul>
        </div>
    }
    .into_any()
}

/// Where the refused words stand. What is said of a knob names it already.
fn title_of(field: &str) -> &'static str {
    match field {
        "percent_train" | "rows_train" => "Training: ",
        "percent_validation" | "rows_validation" | "own_validation" | "column_validation" | "frozen_validation" => {
            "Validation: "
        }
        "percent_test" | "rows_test" => "Test: ",
        "split_seed" => "Seed of the split: ",
        "seeds" => "Repeat: ",
        _ => "",
    }
}

#[component]
fn DatasetFields(draft: Draft) -> impl IntoView {
    let options = move || {
        draft.datasets.with_value(|datasets| {
            datasets
                .iter()
                .map(|dataset| {
                    let id = dataset.id.to_string();
                    let chosen = id == draft.form.read_untracked().get("dataset");
                    let words = format!(
                        "{} ({}, {})",
                        dataset.name,
                        format::counted(dataset.rows, "row", "rows"),
                        format::counted(dataset.labels.len() as u64, "label", "labels")
                    );
                    view! {
                        <option value=id selected=chosen>
                            {words}
                        </option>
                    }
                })
                .collect_view()
        })
    };
    let choose = move |event| {
        let chosen = event_target_value(&event);
        draft.datasets.with_value(|datasets| {
            let dataset = datasets.iter().find(|dataset| dataset.id.to_string() == chosen);
            draft.form.update(|form| {
                form.set("dataset", chosen);
                form.set("dataset_version", "");
                // Counts that the person has in sight are left alone.
                if let Some(dataset) = dataset.filter(|_| form.get("split") != "per_label") {
                    form.fit_rows_per_label(&dataset.labels);
                }
            });
        });
    };
    view! {
        <div class="grid-3">
            <Field label="Dataset" id="run-dataset" error=draft.error("dataset")>
                <select
                    class="select"
                    id="run-dataset"
                    name="form[dataset]"
                    prop:value=move || draft.get("dataset")
                    on:change=choose
                >
                    {options()}
                </select>
            </Field>
            <VersionField draft />
            <Field label="Name of the run" id="run-name" help="Left empty, it is named after its dataset and settings.">
                <input
                    class="input"
                    id="run-name"
                    name="form[name]"
                    maxlength="120"
                    autocomplete="off"
                    aria-describedby="run-name-help"
                    value=draft.form.read_untracked().get("name").to_string()
                    prop:value=move || draft.get("name")
                    on:input=move |event| draft.set("name", event_target_value(&event))
                />
            </Field>
        </div>
    }
    .into_any()
}

/// The version whose rows the run pins; the newest unless another is chosen.
#[component]
fn VersionField(draft: Draft) -> impl IntoView {
    let options = move || {
        Suspend::new(async move {
            let versions = draft.basis.await.map(|basis| basis.versions).unwrap_or_default();
            let chosen = draft.form.read_untracked().get("dataset_version").to_string();
            let options = versions.into_iter().enumerate().map(|(place, version)| {
                let value = version.number.to_string();
                let selected = value == chosen;
                view! {
                    <option value=value selected=selected>
                        {version_words(&version, place == 0)}
                    </option>
                }
            });
            options.collect_view()
        })
    };
    view! {
        <Field label="Version" id="run-dataset_version" error=draft.error("dataset_version")>
            <select
                class="select"
                id="run-dataset_version"
                name="form[dataset_version]"
                aria-describedby="run-dataset_version-error"
                prop:value=move || draft.get("dataset_version")
                on:change=move |event| draft.set("dataset_version", event_target_value(&event))
            >
                <option value="">"The newest"</option>
                <Transition>{options}</Transition>
            </select>
        </Field>
    }
    .into_any()
}

fn version_words(version: &DatasetVersion, is_newest: bool) -> String {
    let newest = if is_newest { ", the newest now" } else { "" };
    format!("Version {} ({}{newest})", version.number, format::counted(version.rows, "row", "rows"))
}
