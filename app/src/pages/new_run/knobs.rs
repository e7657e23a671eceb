use super::Draft;
use super::class_weights::ClassWeightsKnob;
use crate::api::run_form::{MODULES_SHOWN, Recipe};
use crate::components::Field;
use crate::format;
use domain::spec::{KNOBS, Knob, KnobGroup, KnobKind, TargetModule};
use leptos::prelude::*;

/// Bases with fewer parameters learn best with the recipe for small ones.
const SMALL_BASE: u64 = 200_000_000;

/// Knobs that an adapter brings with it: out of sight while training goes on from one.
const OF_THE_ADAPTER: [&str; 3] = ["r", "lora_alpha", "target_modules"];
/// The knob that needs a chat template in the base.
const CHAT_TEMPLATE: &str = "use_chat_template";

/// Ready-made fillings. They are links, so that they work without a script; with it they fill the fields in place.
#[component]
pub fn Recipes(draft: Draft) -> impl IntoView {
    let current = Memo::new(move |_| draft.form.read().recipe());
    // The recipe that the chosen base learns best with, and that base's name.
    let fitting = Memo::new(move |_| {
        let base = draft.base()?;
        let info = base.info.as_ref()?;
        let recipe = if info.parameters < SMALL_BASE { Recipe::SmallBase } else { Recipe::Notebook };
        Some((recipe, format::model_name(&base)))
    });
    let recipes = Recipe::ALL
        .into_iter()
        .map(|recipe| {
            let href = move || {
                let [dataset, base, start] = ["dataset", "base", "start"].map(|field| draft.get(field));
                format!("/runs/new?recipe={}&dataset={dataset}&base={base}&start={start}", recipe.as_str())
            };
            let fits =
                move || fitting.get().filter(|(fits, _)| *fits == recipe).map(|(_, base)| format!("fits {base}"));
            let fill = move |event: leptos::ev::MouseEvent| {
                event.prevent_default();
                // The router must not follow the link either.
                event.stop_propagation();
                draft.form.update(|form| {
                    let of_the_adapter: &[&str] = if form.start().is_some() { &OF_THE_ADAPTER } else { &[] };
                    let kept = ["prompt_template", CHAT_TEMPLATE].iter().chain(of_the_adapter);
                    let kept: Vec<_> = kept.map(|field| (*field, form.get(field).to_string())).collect();
                    form.fill(&recipe.spec());
                    kept.into_iter().for_each(|(field, words)| form.set(field, words));
                });
            };
            view! {
                <a
                    class="recipe"
                    href=href
                    aria-current=move || (current.get() == Some(recipe)).then_some("true")
                    on:click=fill
                >
                    <strong>{recipe.title()}</strong>
                    {move || fits().map(|words| view! { <span class="recipe-fits">{words}</span> })}
                    <span class="soft small">{recipe.help()}</span>
                </a>
            }
        })
        .collect_view();
    view! { <nav class="recipes" aria-label="Recipes">{recipes}</nav> }.into_any()
}

/// The knobs of a group, the prompt left out: it has a card of its own.
#[component]
pub fn KnobFields(draft: Draft, group: KnobGroup) -> impl IntoView {
    let fields = KNOBS
        .iter()
        .filter(|knob| knob.group == group && knob.kind != KnobKind::Template)
        .map(|knob| view! { <KnobField draft knob /> })
        .collect_view();
    view! { <div class="knobs">{fields}</div> }.into_any()
}

#[component]
fn KnobField(draft: Draft, knob: &'static Knob) -> impl IntoView {
    let field = match knob.kind {
        KnobKind::Choice(choices) => view! { <ChoiceKnob draft knob choices /> }.into_any(),
        KnobKind::Switch => view! { <ChoiceKnob draft knob choices=&["true", "false"] /> }.into_any(),
        KnobKind::Modules => view! { <ModulesKnob draft knob /> }.into_any(),
        KnobKind::ClassWeights => view! { <ClassWeightsKnob draft knob /> }.into_any(),
        KnobKind::Integer { .. } | KnobKind::Number { .. } | KnobKind::Template => {
            view! { <NumberKnob draft knob /> }.into_any()
        }
    };
    // Hidden fields are sent as well, so that a plain form stays whole.
    let error = draft.error(knob.name);
    let is_hidden = move || OF_THE_ADAPTER.contains(&knob.name) && draft.start().is_some() && error.read().is_none();
    let wide = matches!(knob.kind, KnobKind::Modules | KnobKind::ClassWeights);
    let needs_template = move || {
        let lacks = knob.name == CHAT_TEMPLATE && draft.base().is_some_and(|base| !base.has_chat_template);
        lacks.then(|| {
            view! { <p class="field-help">"The chosen base brings no chat template: leave this off with it."</p> }
        })
    };
    view! {
        <div class="knob-field" class:is-wide=wide hidden=is_hidden>
            {field}
            {needs_template}
        </div>
    }
    .into_any()
}

#[component]
fn NumberKnob(draft: Draft, knob: &'static Knob) -> impl IntoView {
    let id = format!("run-{}", knob.name);
    let whole = matches!(knob.kind, KnobKind::Integer { .. });
    view! {
        <Field label=knob.title id=id.clone() help=knob.help error=draft.error(knob.name)>
            <input
                class="input"
                id=id.clone()
                name=format!("form[{}]", knob.name)
                inputmode=if whole { "numeric" } else { "text" }
                autocomplete="off"
                aria-describedby=format!("{id}-help {id}-error")
                value=draft.form.read_untracked().get(knob.name).to_string()
                prop:value=move || draft.get(knob.name)
                on:input=move |event| draft.set(knob.name, event_target_value(&event))
            />
        </Field>
    }
    .into_any()
}

#[component]
fn ChoiceKnob(draft: Draft, knob: &'static Knob, choices: &'static [&'static str]) -> impl IntoView {
    let id = format!("run-{}", knob.name);
    let first = draft.form.read_untracked().get(knob.name).to_string();
    let options = choices
        .iter()
        .map(|choice| {
            view! {
                <option value=*choice selected=first == *choice>
                    {words_of(choice)}
                </option>
            }
        })
        .collect_view();
    view! {
        <Field label=knob.title id=id.clone() help=knob.help error=draft.error(knob.name)>
            <select
                class="select"
                id=id.clone()
                name=format!("form[{}]", knob.name)
                aria-describedby=format!("{id}-help {id}-error")
                prop:value=move || draft.get(knob.name)
                on:change=move |event| draft.set(knob.name, event_target_value(&event))
            >
                {options}
            </select>
        </Field>
    }
    .into_any()
}

fn words_of(choice: &'static str) -> &'static str {
    match choice {
        "true" => "on",
        "false" => "off",
        "nf4" => "4-bit NF4",
        "nf4_double_quant" => "4-bit NF4, double quantised",
        "as_stored" => "as the file has them",
        choice => choice,
    }
}

#[component]
fn ModulesKnob(draft: Draft, knob: &'static Knob) -> impl IntoView {
    let boxes = TargetModule::ALL
        .into_iter()
        .map(|module| {
            let on = move || draft.form.read().has_module(module);
            view! {
                <label class="check">
                    <input
                        type="checkbox"
                        name=format!("form[{}]", module.as_str())
                        checked=on
                        prop:checked=on
                        on:change=move |event| {
                            let on = event_target_checked(&event);
                            draft.form.update(|form| form.set_module(module, on));
                        }
                    />
                    <code>{module.as_str()}</code>
                </label>
            }
        })
        .collect_view();
    view! {
        <fieldset class="field modules" id="run-target_modules" tabindex="-1">
            <legend class="field-label">{knob.title}</legend>
            // Says that the boxes were there: a box that is not sent was unchecked.
            <input type="hidden" name=format!("form[{MODULES_SHOWN}]") value="1" />
            <div class="row">{boxes}</div>
            <p class="field-help">{knob.help}</p>
            <p class="field-error" aria-live="polite">
                {move || draft.error(knob.name).get()}
            </p>
        </fieldset>
    }
    .into_any()
}
