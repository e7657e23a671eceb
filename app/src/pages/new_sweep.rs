//! The form of a new sweep: the settings of a run, each with one value or several, and how they are searched.

use super::new_run::first_form;
use crate::api::run_form::{MODULES_SHOWN, RunForm};
use crate::api::runs::{NewRunData, estimate_run, get_new_run_data};
use crate::api::sweep_form::{SweepForm, first_of};
use crate::api::sweeps::StartSweep;
use crate::components::{
    Button, ButtonKind, ButtonLink, Card, EmptyState, ErrorNotice, Field, Fold, Loading, PageHeader,
};
use crate::error::ApiError;
use crate::format;
use crate::while_shown::while_shown;
use domain::run::RunId;
use domain::spec::{KNOBS, Knob, KnobGroup, KnobKind, TargetModule};
use domain::sweep::{separator, sweepable};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// The form as it stands.
#[derive(Clone, Copy)]
struct Draft {
    form: RwSignal<SweepForm>,
    /// Start has been pressed: from then on what is missing is named as well.
    tried: RwSignal<bool>,
}

impl Draft {
    fn get(self, field: &'static str) -> String {
        self.form.read().get(field).to_string()
    }

    fn set(self, field: &'static str, words: String) {
        self.form.update(|form| form.set(field, words));
    }

    fn error(self, field: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || self.form.read().check(field).map(|error| error.message))
    }
}

#[component]
pub fn NewSweepPage() -> impl IntoView {
    let query = use_query_map();
    let from = Memo::new(move |_| query.read().get_str("from").and_then(|id| id.parse::<RunId>().ok()));
    let data = Resource::new_blocking(while_shown(from), get_new_run_data);
    view! {
        <PageHeader
            title="New sweep"
            parent=("/runs", "Runs")
            subtitle=Some("Many runs of one recipe; the best by the validation rows wins.".to_string())
        />
        <Suspense fallback=|| {
            view! { <Loading what="form" /> }
        }>
            {move || Suspend::new(async move {
                match data.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(data) if data.datasets.is_empty() => view! { <NoDatasets /> }.into_any(),
                    Ok(data) => view! { <SweepFields data /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn NoDatasets() -> impl IntoView {
    view! {
        <EmptyState title="A sweep needs a dataset" text="Upload texts with labels first; then come back.">
            <ButtonLink href="/datasets/new" kind=ButtonKind::Primary>
                "Upload a file"
            </ButtonLink>
        </EmptyState>
    }
    .into_any()
}

/// Fields of a run that a sweep takes as they are; they are set on the page of a new run.
fn is_taken_over(field: &str) -> bool {
    let is_module = TargetModule::ALL.iter().any(|module| module.as_str() == field);
    let is_knob = KNOBS.iter().any(|knob| knob.name == field);
    !is_module && !is_knob && !["dataset", "name", "seeds", MODULES_SHOWN].contains(&field)
}

#[component]
fn SweepFields(data: NewRunData) -> impl IntoView {
    let query = use_query_map();
    let asked = query.read_untracked();
    let refused = asked.get_str("refused").is_some();
    let run = first_form(&data, |field| asked.get(field));
    let first = SweepForm::new(run, |field| asked.get(field));
    drop(asked);
    let draft = Draft { form: RwSignal::new(first.clone()), tried: RwSignal::new(refused) };
    let start = ServerAction::<StartSweep>::new();
    let submit = move |event: leptos::ev::MouseEvent| {
        draft.tried.set(true);
        if draft.form.with_untracked(|form| form.read().is_err()) {
            event.prevent_default();
        }
    };
    let error_action = move || start.value().get().and_then(Result::err);
    let hidden = RunForm::fields()
        .filter(|field| is_taken_over(field))
        .map(|field| {
            let value = first.get(field).to_string();
            view! { <input type="hidden" name=format!("form[{field}]") value=value prop:value=move || draft.get(field) /> }
        })
        .collect_view();
    let datasets = data
        .datasets
        .iter()
        .map(|dataset| {
            let id = dataset.id.to_string();
            let chosen = id == first.get("dataset");
            view! {
                <option value=id selected=chosen>
                    {dataset.name.clone()}
                </option>
            }
        })
        .collect_view();
    view! {
        <ActionForm action=start attr:id="new-sweep" attr:class="new-run" attr:novalidate="">
            <div class="new-run-fields stack-loose">
                {move || error_action().map(|error: ApiError| view! { <ErrorNotice error /> })}
                {hidden}
                <Card title="Data" note="Split, base model and adapter are those of the recipe that the sweep began with.">
                    <div class="grid-3">
                        <Field label="Dataset" id="run-dataset" error=draft.error("dataset")>
                            <select
                                class="select"
                                id="run-dataset"
                                name="form[dataset]"
                                prop:value=move || draft.get("dataset")
                                on:change=move |event| {
                                    draft.set("dataset", event_target_value(&event));
                                    draft.set("dataset_version", String::new());
                                }
                            >
                                {datasets}
                            </select>
                        </Field>
                        <Field label="Name of the sweep" id="run-name" help="Left empty, it is named after what it varies.">
                            <input
                                class="input"
                                id="run-name"
                                name="form[name]"
                                maxlength="100"
                                autocomplete="off"
                                value=first.get("name").to_string()
                                prop:value=move || draft.get("name")
                                on:input=move |event| draft.set("name", event_target_value(&event))
                            />
                        </Field>
                    </div>
                </Card>
                <SearchCard draft />
                <Card
                    title="Settings"
                    note="One value is set in all runs; several values between commas are searched. At random, a range such as 1e-4 .. 1e-2 log may be given, too."
                >
                    <div class="stack">
                        <KnobList draft group=KnobGroup::Main />
                        <Fold summary="More settings">
                            <KnobList draft group=KnobGroup::More />
                        </Fold>
                    </div>
                </Card>
            </div>
            <aside class="new-run-side">
                <PlanCard draft>
                    <Button type_="submit" kind=ButtonKind::Primary pending=start.pending() on:click=submit>
                        "Start the sweep"
                    </Button>
                </PlanCard>
            </aside>
        </ActionForm>
    }
    .into_any()
}

#[component]
fn SearchCard(draft: Draft) -> impl IntoView {
    let choice = move |field: &'static str, label: &'static str, options: &'static [(&'static str, &'static str)]| {
        let first = draft.form.read_untracked().get(field).to_string();
        let options = options
            .iter()
            .map(|(value, words)| {
                view! {
                    <option value=*value selected=first == *value>
                        {*words}
                    </option>
                }
            })
            .collect_view();
        view! {
            <Field label id=format!("run-{field}") error=draft.error(field)>
                <select
                    class="select"
                    id=format!("run-{field}")
                    name=format!("form[{field}]")
                    prop:value=move || draft.get(field)
                    on:change=move |event| draft.set(field, event_target_value(&event))
                >
                    {options}
                </select>
            </Field>
        }
    };
    let words = move |field: &'static str, label: &'static str, help: &'static str| {
        view! {
            <Field label id=format!("run-{field}") help error=draft.error(field)>
                <input
                    class="input"
                    id=format!("run-{field}")
                    name=format!("form[{field}]")
                    inputmode="numeric"
                    autocomplete="off"
                    aria-describedby=format!("run-{field}-help run-{field}-error")
                    value=draft.form.read_untracked().get(field).to_string()
                    prop:value=move || draft.get(field)
                    on:input=move |event| draft.set(field, event_target_value(&event))
                />
            </Field>
        }
    };
    let is_random = Memo::new(move |_| draft.form.read().is_random());
    let halves = Memo::new(move |_| draft.form.read().halves());
    view! {
        <Card title="Search">
            <div class="stack">
                <div class="grid-3">
                    {choice("search", "How", &[("grid", "Every combination"), ("random", "At random")])}
                    <div hidden=move || !is_random.get()>{words("trials", "Runs", "Drawn from the settings below.")}</div>
                    <div hidden=move || !is_random.get()>
                        {words("search_seed", "Seed of the search", "The same seed draws the same runs.")}
                    </div>
                </div>
                <div class="grid-3">
                    {choice(
                        "halving",
                        "Stop the worse runs early",
                        &[("on", "Successive halving"), ("off", "Every run to its end")],
                    )}
                    <div hidden=move || !halves.get()>
                        {words("rungs", "Rungs", "Where runs are compared, such as 1, 2.")}
                    </div>
                    <div hidden=move || !halves.get()>
                        {choice("rung_unit", "Rungs count", &[("epochs", "Epochs"), ("steps", "Steps")])}
                    </div>
                    <div hidden=move || !halves.get()>
                        {words("keep_one_of", "Of how many one goes on", "2: the better half.")}
                    </div>
                </div>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn KnobList(draft: Draft, group: KnobGroup) -> impl IntoView {
    let fields =
        KNOBS.iter().filter(|knob| knob.group == group).map(|knob| view! { <KnobValues draft knob /> }).collect_view();
    view! { <div class="knobs">{fields}</div> }.into_any()
}

/// One setting with its values, and whether it is searched.
#[component]
fn KnobValues(draft: Draft, knob: &'static Knob) -> impl IntoView {
    let id = format!("run-{}", knob.name);
    let varies = Memo::new(move |_| draft.form.read().varies(knob));
    let value = draft.form.read_untracked().get(knob.name).to_string();
    let help = match knob.kind {
        _ if !sweepable(knob) => knob.help.to_string(),
        KnobKind::Choice(choices) => format!("{} Of {}.", knob.help, choices.join(", ")),
        KnobKind::Switch => format!("{} Of true, false.", knob.help),
        KnobKind::Template => format!("{} Between two prompts stands a line with ---.", knob.help),
        kind if separator(kind) == "|" => format!("{} Several are separated by |.", knob.help),
        _ => knob.help.to_string(),
    };
    let name = format!("form[{}]", knob.name);
    let described = format!("{id}-help {id}-error");
    let wide = matches!(knob.kind, KnobKind::Modules | KnobKind::ClassWeights | KnobKind::Template);
    let control = if knob.kind == KnobKind::Template {
        view! {
            <textarea
                class="textarea"
                id=id.clone()
                name=name
                rows="6"
                aria-describedby=described
                prop:value=move || draft.get(knob.name)
                on:input=move |event| draft.set(knob.name, event_target_value(&event))
            >
                {value}
            </textarea>
        }
        .into_any()
    } else {
        view! {
            <input
                class="input"
                id=id.clone()
                name=name
                autocomplete="off"
                aria-describedby=described
                value=value
                prop:value=move || draft.get(knob.name)
                on:input=move |event| draft.set(knob.name, event_target_value(&event))
            />
        }
        .into_any()
    };
    view! {
        <div class="knob-field" class:is-wide=wide class:is-varied=varies>
            <Field label=knob.title id=id help error=draft.error(knob.name)>
                {control}
            </Field>
        </div>
    }
    .into_any()
}

/// How many runs it is and about how long they take; the child is the way to start.
#[component]
fn PlanCard(draft: Draft, children: Children) -> impl IntoView {
    let read = Memo::new(move |_| {
        let form = draft.form.read();
        form.read().map_err(|errors| first_of(errors).message).map(|new| {
            let rungs = new.space.halving.as_ref().map(|halving| halving.rungs.len());
            (form.runs().unwrap_or_default() as u64, rungs)
        })
    });
    let estimate = Action::new(|form: &RunForm| estimate_run(form.clone()));
    // Of the recipe that the sweep begins with: the others take about as long.
    super::new_run::after_a_pause(
        move || draft.form.read().first_run(),
        move |run| {
            if let Some(run) = run {
                estimate.dispatch(run);
            }
        },
    );
    let words = move || match read.get() {
        Err(message) if draft.tried.get() => view! { <p class="field-error" role="alert">{message}</p> }.into_any(),
        Err(message) => view! { <p class="soft">{message}</p> }.into_any(),
        Ok((runs, rungs)) => {
            let rungs =
                rungs.map(|rungs| format!(", stopped early at {}", format::counted(rungs as u64, "rung", "rungs")));
            view! { <p class="plan-count">{format!("{}{}", format::counted(runs, "run", "runs"), rungs.unwrap_or_default())}</p> }
                .into_any()
        }
    };
    let seconds = move || {
        let estimate = estimate.value().get()?.ok()?;
        let (runs, rungs) = read.get().ok()?;
        let all = runs as f64 * (estimate.train_seconds + estimate.evaluate_seconds);
        let most = if rungs.is_some() { "at most about " } else { "about " };
        Some(format!("{most}{}", format::duration(all)))
    };
    view! {
        <Card title="Plan">
            <div class="stack">
                <div aria-live="polite">
                    {words} {move || seconds().map(|words| view! { <p class="soft">{words}</p> })}
                </div>
                {children()}
            </div>
        </Card>
    }
    .into_any()
}
