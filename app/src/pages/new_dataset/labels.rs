use super::confirm::Draft;
use crate::api::import_form::{merge_field, merge_words, named_field};
use crate::components::{Card, Field};
use crate::format;
use domain::dataset::LabelCount;
use domain::reading::{LabelMerge, UploadPreview};
use leptos::prelude::*;

/// Labels that are listed; of more only the number is.
const MOST_SHOWN: usize = 24;
/// Labels that can be named here.
const MOST_NAMED: usize = 50;

/// The labels that the file has, which of them may be one, and names for those that are only numbers. Nothing is merged
/// unless the person checks it.
#[component]
pub fn Labels(draft: Draft) -> impl IntoView {
    let labels = Memo::new(move |_| draft.preview.read().labels.clone());
    let merges = Memo::new(move |_| draft.preview.read().merges.clone());
    let names = Memo::new(move |_| names_to_give(&draft.preview.read()));
    let note = move || {
        let preview = draft.preview.read();
        format!(
            "{} in the first {}.",
            format::counted(preview.labels.len() as u64, "label", "labels"),
            format::counted(preview.rows_looked_at, "row", "rows")
        )
    };
    let counts = move || {
        let labels = labels.read();
        let more = labels.len().saturating_sub(MOST_SHOWN);
        let shown = labels.iter().take(MOST_SHOWN).map(|count| view! { <LabelCountChip count=count.clone() /> });
        view! {
            {shown.collect_view()}
            {(more > 0).then(|| view! { <li class="soft">{format!("and {more} more")}</li> })}
        }
    };
    view! {
        <Card title="Labels">
            <div class="stack">
                <p class="card-note number">{note}</p>
                <ul class="label-counts" aria-label="Labels of the file">
                    {counts}
                </ul>
                <Show when=move || !merges.read().is_empty()>
                    <fieldset class="merges">
                        <legend class="field-label">"These look like one label. Merge them?"</legend>
                        {move || {
                            merges
                                .get()
                                .into_iter()
                                .enumerate()
                                .map(|(place, merge)| view! { <MergeBox draft place merge /> })
                                .collect_view()
                        }}
                    </fieldset>
                </Show>
                <Show when=move || !names.read().is_empty()>
                    <fieldset class="merges">
                        <legend class="field-label">
                            {move || {
                                if draft.preview.read().labels_are_integers {
                                    "The labels are numbers. What do they stand for?"
                                } else {
                                    "Names of the labels, as the file gives them"
                                }
                            }}
                        </legend>
                        <div class="grid-3">
                            {move || {
                                names
                                    .get()
                                    .into_iter()
                                    .map(|(label, name)| view! { <LabelNameField draft label name /> })
                                    .collect_view()
                            }}
                        </div>
                    </fieldset>
                </Show>
            </div>
        </Card>
    }
    .into_any()
}

/// Labels with the names that the file gives them; those that are numbers without one as well.
fn names_to_give(preview: &UploadPreview) -> Vec<(String, String)> {
    // A name that only takes away blanks is none that a person wants to see.
    let given = |label: &str| preview.options.label_names.get(label).filter(|name| *name != label.trim()).cloned();
    let mut names: Vec<(String, String)> = preview
        .labels
        .iter()
        .map(|count| (count.label.clone(), given(&count.label)))
        .filter(|(_, name)| preview.labels_are_integers || name.is_some())
        .take(MOST_NAMED)
        .map(|(label, name)| (label, name.unwrap_or_default()))
        .collect();
    names.sort_by_key(|(label, _)| (label.parse::<i64>().ok(), label.clone()));
    names
}

#[component]
fn LabelCountChip(count: LabelCount) -> impl IntoView {
    // A label of blanks, or with blanks around it, is to be seen as what it is.
    let shown = if count.label.trim() == count.label { count.label.clone() } else { format!("“{}”", count.label) };
    view! {
        <li class="label-count">
            <span>{shown}</span>
            <span class="soft number">{format::count(count.rows)}</span>
        </li>
    }
}

#[component]
fn MergeBox(draft: Draft, place: usize, merge: LabelMerge) -> impl IntoView {
    let from: Vec<String> =
        merge.from.iter().map(|count| format!("“{}” ({})", count.label, format::count(count.rows))).collect();
    let (words, value) = (format!("{} → “{}”", from.join(", "), merge.into), merge_words(&merge));
    let reason = merge.reason.clone();
    view! {
        <label class="check merge">
            <input
                type="checkbox"
                name=format!("form[{}]", merge_field(place))
                value=value
                prop:checked=move || draft.form.read().has_agreed(place)
                on:change=move |event| {
                    let agreed = event_target_checked(&event);
                    draft.form.update(|form| form.agree(place, &merge, agreed));
                }
            />
            <span>
                {words}
                <span class="soft small merge-reason">{reason}</span>
            </span>
        </label>
    }
    .into_any()
}

#[component]
fn LabelNameField(draft: Draft, label: String, name: String) -> impl IntoView {
    let field = named_field(&label);
    let typed = draft.form.with_untracked(|form| form.name_of(&label).to_string());
    let first = if typed.is_empty() { name } else { typed };
    let id = format!("named-{label}");
    view! {
        <Field label=format!("Label {label}") id=id.clone()>
            <input
                class="input"
                id=id
                name=format!("form[{field}]")
                maxlength="100"
                autocomplete="off"
                placeholder=label.clone()
                value=first
                on:input:target=move |event| {
                    let words = event.target().value();
                    draft.form.update(|form| form.set(&field, words));
                }
            />
        </Field>
    }
    .into_any()
}
