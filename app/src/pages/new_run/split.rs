use super::Draft;
use crate::api::runs::{FreezeTest, freeze_test};
use crate::components::{Button, ErrorNotice, Field, TimeStamp};
use crate::format;
use crate::reviewer;
use domain::dataset::DatasetSummary;
use domain::split::{FrozenTest, Split};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// How the rows are dealt to training, validation and test. All ways are in the page; the style sheet shows the one that
/// is chosen, so that the choice works without a script.
#[component]
pub fn SplitFields(draft: Draft) -> impl IntoView {
    let outcome = move || draft.datasets.with_value(|datasets| outcome(draft, datasets));
    view! {
        <fieldset class="split">
            <legend class="field-label">"Split"</legend>
            <div class="segmented" id="run-split" tabindex="-1">
                <Way draft way="percent" words="Percentages" />
                <Way draft way="per_label" words="Rows per label" />
                <Way draft way="own_test" words="Own test set" />
                <Way draft way="column" words="The file's split" />
                <Way draft way="frozen" words="Frozen test set" />
            </div>
            <div class="split-way split-percent">
                <Number draft field="percent_train" label="Training, %" />
                <Number draft field="percent_validation" label="Validation, %" />
                <Number draft field="percent_test" label="Test, %" />
            </div>
            <div class="split-way split-per-label">
                <Number draft field="rows_train" label="Training, rows of every label" />
                <Number draft field="rows_validation" label="Validation" />
                <Number draft field="rows_test" label="Test" />
            </div>
            <div class="split-way split-own-test">
                <OtherDataset draft field="test_dataset" label="Test dataset" none="Choose…" />
                <OtherDataset draft field="validation_dataset" label="Validation dataset" none="A share of this one" />
                <Number draft field="own_validation" label="Validation, % of the dataset" />
            </div>
            <div class="split-way split-column">
                <Number draft field="column_validation" label="Validation, % of training" />
                <p class="field-help split-words">
                    "The column that was chosen as the split when the file was imported says which rows train and which test. The share is taken where it names no validation rows."
                </p>
            </div>
            <div class="split-way split-frozen">
                <Number draft field="frozen_validation" label="Validation, % of the others" />
                <Frozen draft />
            </div>
            <Freeze draft />
            <div class="split-seed">
                <Number draft field="split_seed" label="Seed of the split" />
            </div>
            <p class="field-help number" aria-live="polite">
                {outcome}
            </p>
            <p class="field-error" aria-live="polite">
                {move || draft.error("split").get()}
            </p>
        </fieldset>
    }
    .into_any()
}

#[component]
fn Way(draft: Draft, way: &'static str, words: &'static str) -> impl IntoView {
    let chosen = move || draft.form.read().get("split") == way;
    view! {
        <label class="segment">
            <input
                type="radio"
                name="form[split]"
                value=way
                checked=chosen
                prop:checked=chosen
                on:change=move |_| draft.set("split", way.to_string())
            />
            <span>{words}</span>
        </label>
    }
    .into_any()
}

/// A field for a number.
#[component]
pub fn Number(draft: Draft, field: &'static str, label: &'static str) -> impl IntoView {
    let id = format!("run-{field}");
    view! {
        <Field label id=id.clone() error=draft.error(field)>
            <input
                class="input"
                id=id.clone()
                name=format!("form[{field}]")
                inputmode="decimal"
                autocomplete="off"
                aria-describedby=format!("{id}-error")
                value=draft.form.read_untracked().get(field).to_string()
                prop:value=move || draft.get(field)
                on:input=move |event| draft.set(field, event_target_value(&event))
            />
        </Field>
    }
    .into_any()
}

/// The frozen test set of the chosen dataset, or that there is none.
#[component]
fn Frozen(draft: Draft) -> impl IntoView {
    view! {
        <p class="field-help split-words">
            <Transition>
                {move || Suspend::new(async move {
                    match draft.basis.await.and_then(|basis| basis.frozen) {
                        Some(frozen) => view! { <FrozenWords frozen /> }.into_any(),
                        None => {
                            "This dataset has no frozen test set yet. Choose percentages or rows per label, then freeze the test rows that they give."
                                .into_any()
                        }
                    }
                })}
            </Transition>
        </p>
    }
    .into_any()
}

#[component]
fn FrozenWords(frozen: FrozenTest) -> impl IntoView {
    view! {
        {format!(
            "{}, frozen from version {} by {} on ",
            format::counted(frozen.rows, "test row", "test rows"),
            frozen.version,
            frozen.by,
        )}
        <TimeStamp at_ms=frozen.at_ms />
        ". Later versions keep them as their test; texts that are alike are used nowhere."
    }
}

/// Keeps the test rows of the split that is chosen for all later runs and versions. A second way out of the same form.
#[component]
fn Freeze(draft: Draft) -> impl IntoView {
    let reviewer = reviewer::remembered_name();
    let freeze = Action::new(move |(): &()| freeze_test(draft.form.get_untracked(), reviewer::by(reviewer)));
    Effect::new(move |_| {
        if let Some(Ok(_)) = freeze.value().get() {
            draft.basis.refetch();
            draft.set("split", "frozen".to_string());
        }
    });
    let submit = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        freeze.dispatch(());
    };
    view! {
        <div class="split-freeze">
            <Button
                type_="submit"
                pending=freeze.pending()
                attr:formaction=FreezeTest::url()
                attr:formmethod="post"
                attr:formnovalidate=true
                on:click=submit
            >
                "Freeze this test set"
            </Button>
            <span class="field-help">
                "Every later run can then be tested on the same rows, whatever becomes of the others."
            </span>
        </div>
        {move || freeze.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> })}
    }
    .into_any()
}

#[component]
fn OtherDataset(
    draft: Draft,
    field: &'static str,
    label: &'static str,
    /// What it is called that none is chosen.
    none: &'static str,
) -> impl IntoView {
    let id = format!("run-{field}");
    let chosen_first = draft.form.read_untracked().get(field).to_string();
    let options = draft.datasets.with_value(|datasets| {
        datasets
            .iter()
            .map(|dataset| {
                let id = dataset.id.to_string();
                let chosen = id == chosen_first;
                view! {
                    <option value=id selected=chosen>
                        {format!("{} ({})", dataset.name, format::counted(dataset.rows, "row", "rows"))}
                    </option>
                }
            })
            .collect_view()
    });
    view! {
        <Field label id=id.clone() error=draft.error(field)>
            <select
                class="select"
                id=id.clone()
                name=format!("form[{field}]")
                aria-describedby=format!("{id}-error")
                prop:value=move || draft.get(field)
                on:change=move |event| draft.set(field, event_target_value(&event))
            >
                <option value="">{none}</option>
                {options}
            </select>
        </Field>
    }
    .into_any()
}

/// How many rows each part gets, but for the few by which texts that are alike and stay together move a share.
fn outcome(draft: Draft, datasets: &[DatasetSummary]) -> Option<String> {
    let form = draft.form.read();
    let run = form.read().ok()?;
    let dataset = datasets.iter().find(|dataset| dataset.id == run.dataset_id)?;
    let share = |percent: f64| format::count((dataset.rows as f64 * percent / 100.0).round() as u64);
    Some(match run.split {
        Split::Percent { train, validation, test, .. } => format!(
            "About {} rows to train, {} to validate, {} to test. Texts that are alike stay on one side.",
            share(train),
            share(validation),
            share(test)
        ),
        Split::PerLabel { train, validation, test, .. } => {
            let labels = dataset.labels.len() as u64;
            let [train, validation, test] =
                [train, validation, test].map(|rows| format::count(rows.saturating_mul(labels)));
            format!("{train} rows to train, {validation} to validate, {test} to test, the same number of each label.")
        }
        Split::OwnTest { test_dataset, validation_dataset, validation, .. } => {
            let find = |id| datasets.iter().find(|dataset| dataset.id == id);
            let test = find(test_dataset)?;
            let learnt = match validation_dataset {
                Some(id) => {
                    let other = find(id)?;
                    format!(
                        "All {} rows to train; {} rows of {} to validate",
                        share(100.0),
                        format::count(other.rows),
                        other.name
                    )
                }
                None => format!("About {} rows to train, {} to validate", share(100.0 - validation), share(validation)),
            };
            format!("{learnt}; all {} rows of {} to test.", format::count(test.rows), test.name)
        }
        // Only the rows themselves tell.
        Split::Column { .. } | Split::Frozen { .. } | Split::Fold { .. } => return None,
    })
}
