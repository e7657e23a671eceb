use leptos::prelude::*;

/// A control with its label, its help and what is wrong with it. The control is the child: give it `id=id`,
/// a class (`input`, `select` or `textarea`) and, where help or error are used, `aria-describedby="{id}-help {id}-error"`.
#[component]
pub fn Field(
    #[prop(into)] label: String,
    /// `id` of the control.
    #[prop(into)]
    id: String,
    #[prop(optional, into)] help: Option<String>,
    /// Shown under the control and read out when it appears.
    #[prop(optional, into)]
    error: Signal<Option<String>>,
    children: Children,
) -> impl IntoView {
    let help_id = format!("{id}-help");
    let error_id = format!("{id}-error");
    view! {
        <div class="field" class:has-error=move || error.read().is_some()>
            <label class="field-label" for=id>
                {label}
            </label>
            {children()}
            {help
                .map(|help| {
                    view! {
                        <p class="field-help" id=help_id>
                            {help}
                        </p>
                    }
                })}
            <p class="field-error" id=error_id aria-live="polite">
                {move || error.get()}
            </p>
        </div>
    }
}

/// One choice of a few, all in sight: radio buttons that look like one control.
#[component]
pub fn Segmented(
    /// What is chosen, for screen readers.
    #[prop(into)]
    legend: String,
    /// Name of the form field.
    name: &'static str,
    /// Value and words of each choice.
    options: Vec<(&'static str, &'static str)>,
    value: RwSignal<String>,
) -> impl IntoView {
    let choices = options
        .into_iter()
        .map(|(choice, words)| {
            view! {
                <label class="segment">
                    <input
                        type="radio"
                        name=name
                        value=choice
                        checked=move || value.get() == choice
                        prop:checked=move || value.get() == choice
                        on:change=move |_| value.set(choice.to_string())
                    />
                    <span>{words}</span>
                </label>
            }
        })
        .collect_view();
    view! {
        <fieldset class="segmented">
            <legend class="visually-hidden">{legend}</legend>
            {choices}
        </fieldset>
    }
}
