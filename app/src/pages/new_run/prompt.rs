use super::{Draft, estimate::after_a_pause};
use crate::api::run_form::RunForm;
use crate::api::runs::preview_prompt;
use crate::components::{Button, Card, ErrorNotice, Field, Fold};
use domain::dataset::Row;
use domain::model::{PreviewToken, PromptPreview, TokenRole};
use domain::spec::find_knob;
use leptos::prelude::*;

/// The words around a text, and one real row in tokens as the model will see it.
#[component]
pub fn PromptCard(draft: Draft) -> impl IntoView {
    let row = RwSignal::new(0_u64);
    let preview = Action::new(|(form, row): &(RunForm, u64)| preview_prompt(form.clone(), *row));
    // Only what the preview depends on: a change in another field, or nonsense in it, does not touch it.
    let asked = Memo::new(move |_| {
        let form = draft.form.read();
        let mut asked = RunForm::default();
        for field in ["dataset", "prompt_template", "use_chat_template", "max_length", "completion_only_loss"] {
            if form.check(field).is_some() {
                return None;
            }
            asked.set(field, form.get(field));
        }
        Some(asked)
    });
    let ask = move |form: Option<RunForm>| {
        if let Some(form) = form {
            preview.dispatch((form, row.get_untracked()));
        }
    };
    after_a_pause(move || asked.get(), ask);
    let another = move |_| {
        row.update(|row| *row += 1);
        ask(asked.get_untracked());
    };
    let knob = find_knob("prompt_template");
    let help = knob.map(|knob| knob.help).unwrap_or_default();
    let first = draft.form.read_untracked().get("prompt_template").to_string();
    view! {
        <Card title="Prompt" note="What the model reads; the label is what it learns to answer.">
            <div class="stack">
                <Fold summary="Edit the template">
                    <Field label="Template" id="run-prompt_template" help=help error=draft.error("prompt_template")>
                        <textarea
                            class="textarea is-mono"
                            id="run-prompt_template"
                            name="form[prompt_template]"
                            rows="7"
                            spellcheck="false"
                            aria-describedby="run-prompt_template-help run-prompt_template-error"
                            prop:value=move || draft.get("prompt_template")
                            on:input=move |event| draft.set("prompt_template", event_target_value(&event))
                        >
                            {first}
                        </textarea>
                    </Field>
                </Fold>
                <div class="stack no-script-hidden" aria-busy=move || preview.pending().get().to_string()>
                    <Legend />
                    {move || {
                        preview
                            .value()
                            .get()
                            .map(|result| match result {
                                Ok((row, preview)) => view! { <Preview row preview /> }.into_any(),
                                Err(error) => view! { <ErrorNotice error /> }.into_any(),
                            })
                    }}
                    <div>
                        <Button on:click=another pending=preview.pending()>
                            "Another row"
                        </Button>
                    </div>
                </div>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn Legend() -> impl IntoView {
    view! {
        <ul class="token-legend">
            <li>
                <span class="token token-shared">"shared"</span>
                " the same for every row, computed once a step"
            </li>
            <li>
                <span class="token token-row">"row"</span>
                " this row's own"
            </li>
            <li>
                <span class="token token-label">"label"</span>
                " the answer"
            </li>
            <li>
                <span class="token has-loss">"underlined"</span>
                " carries loss"
            </li>
        </ul>
    }
    .into_any()
}

#[component]
fn Preview(row: Row, preview: PromptPreview) -> impl IntoView {
    let count = |role: TokenRole| preview.tokens.iter().filter(|token| token.role == role).count();
    let with_loss = preview.tokens.iter().filter(|token| token.loss).count();
    let words = format!(
        "Line {} of the file: {} tokens, {} shared, {} of the row, {} of the label; {with_loss} carry loss.",
        row.line,
        preview.tokens.len(),
        count(TokenRole::Shared),
        count(TokenRole::Row),
        count(TokenRole::Label)
    );
    let cut = preview
        .cut
        .then(|| view! { <p class="small soft">"This text is longer than the context and was cut at its end."</p> });
    let tokens = preview.tokens.into_iter().map(chip).collect_view();
    view! {
        <p class="tokens" tabindex="0" role="group" aria-label=format!("One row in tokens. {words}")>
            {tokens}
        </p>
        <p class="small soft number" aria-live="polite">
            {words}
        </p>
        {cut}
    }
    .into_any()
}

/// White space is made visible; after a line break the chips go on in the next line, as the prompt does.
fn chip(token: PreviewToken) -> impl IntoView {
    let role = match token.role {
        TokenRole::Shared => "token token-shared",
        TokenRole::Row => "token token-row",
        TokenRole::Label => "token token-label",
    };
    let breaks = token.text.contains('\n');
    let visible = token.text.replace('\n', "↵").replace([' ', '\u{a0}'], "·").replace('\t', "⇥");
    view! {
        <span class=role class:has-loss=token.loss>
            {visible}
        </span>
        {breaks.then(|| view! { <br /> })}
    }
}
