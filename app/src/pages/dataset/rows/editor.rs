use super::super::open::OpenDataset;
use crate::api::versions::{edit_row, query_rows};
use crate::components::{Button, ButtonKind, ErrorNotice};
use crate::error::ApiError;
use crate::format;
use domain::error::ErrorKind;
use domain::version::{NumberedRow, RowChange, RowEdit, RowId, RowQuery};
use leptos::prelude::*;
use leptos::{ev, html};

/// One row, open to be changed: its label, its text, or whether it is there at all. What is saved is a version at once.
#[component]
pub fn RowEditor(
    dataset: OpenDataset,
    question: Memo<RowQuery>,
    /// Place of the row among those that match the question.
    place: u64,
    row: NumberedRow,
    labels: Vec<String>,
    on_close: Callback<()>,
) -> impl IntoView {
    let title = format!("Line {}", format::count(row.line));
    let id = row.id;
    // As it stood when it was opened, or as others have left it since: the server compares.
    let seen = RwSignal::new((row.text.clone(), row.label.clone()));
    let text = RwSignal::new(row.text.clone());
    let label = RwSignal::new(row.label.clone());
    let refused = RwSignal::new(None::<ApiError>);
    // Somebody else was faster; what they have made of the row is known now.
    let is_warned = RwSignal::new(false);
    let save = Action::new(move |change: &RowChange| {
        let (seen_text, seen_label) = seen.get_untracked();
        let edit = RowEdit { row: id, seen_text, seen_label, change: change.clone(), by: dataset.by() };
        async move {
            match edit_row(dataset.id, edit).await {
                Ok(version) => {
                    on_close.run(());
                    dataset.take_in(Ok(version));
                }
                Err(error) => {
                    let is_conflict = error.kind() == ErrorKind::Conflict;
                    refused.try_set(Some(error));
                    if !is_conflict {
                        return;
                    }
                    if let Some(row) = row_now(dataset, id, place, question.get_untracked()).await {
                        seen.try_set((row.text, row.label));
                        is_warned.try_set(true);
                    }
                }
            }
        }
    });
    let submit = move || {
        let (seen_text, seen_label) = seen.get_untracked();
        let changed = |now: String, before: String| (now != before).then_some(now);
        let text = changed(text.get_untracked(), seen_text);
        let label = changed(label.get_untracked(), seen_label);
        if text.is_none() && label.is_none() {
            on_close.run(());
            return;
        }
        save.dispatch(RowChange::Edited { text, label });
    };
    let on_key = move |event: ev::KeyboardEvent| match event.key().as_str() {
        "Escape" => on_close.run(()),
        "Enter" if !event.shift_key() && !event.is_composing() && !is_button(&event) => {
            event.prevent_default();
            submit();
        }
        _ => {}
    };
    let field = NodeRef::<html::Textarea>::new();
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            // It fails only where the element is gone.
            request_animation_frame(move || drop(field.focus()));
        }
    });
    let options = labels.iter().map(|name| view! { <option value=name.clone()>{name.clone()}</option> }).collect_view();
    view! {
        <form
            class="row-editor"
            aria-label=format!("Edit: {title}")
            on:keydown=on_key
            on:submit=move |event| {
                event.prevent_default();
                submit();
            }
        >
            <div class="row-editor-fields">
                <label class="field row-editor-text">
                    <span class="field-label">{format!("Text, {}", title.to_lowercase())}</span>
                    <textarea
                        class="textarea"
                        rows="3"
                        node_ref=field
                        prop:value=move || text.get()
                        on:input=move |event| text.set(event_target_value(&event))
                    >
                        {row.text.clone()}
                    </textarea>
                </label>
                <label class="field">
                    <span class="field-label">"Label of the row"</span>
                    <select
                        class="select"
                        prop:value=move || label.get()
                        on:change=move |event| label.set(event_target_value(&event))
                    >
                        {options}
                    </select>
                </label>
            </div>
            {move || refused.get().map(|error| view! { <ErrorNotice error /> })}
            <div class="row">
                <Button type_="submit" kind=ButtonKind::Primary pending=save.pending()>
                    {move || if is_warned.get() { "Save mine all the same" } else { "Save" }}
                </Button>
                <Button on:click=move |_| on_close.run(())>"Cancel"</Button>
                <span class="row-editor-drop">
                    <Button
                        kind=ButtonKind::Danger
                        pending=save.pending()
                        on:click=move |_| {
                            save.dispatch(RowChange::Dropped);
                        }
                    >
                        "Drop the row"
                    </Button>
                </span>
            </div>
            <p class="small soft row-editor-help">"Enter saves, Shift and Enter break the line, Escape cancels."</p>
        </form>
    }
    .into_any()
}

/// The row as somebody else has left it, where it is still among those shown.
async fn row_now(dataset: OpenDataset, id: RowId, place: u64, question: RowQuery) -> Option<NumberedRow> {
    dataset.versions.look();
    // Others may have dropped a row above it.
    let asked = RowQuery { version: None, first: place.saturating_sub(5), count: 11, ..question };
    let slice = query_rows(dataset.id, asked).await.ok()?;
    slice.rows.into_iter().find(|row| row.id == id)
}

/// Enter on a button presses that button.
fn is_button(event: &ev::KeyboardEvent) -> bool {
    use leptos::wasm_bindgen::JsCast;
    let target = event.target().and_then(|target| target.dyn_into::<leptos::web_sys::Element>().ok());
    target.is_some_and(|target| target.tag_name() == "BUTTON")
}
