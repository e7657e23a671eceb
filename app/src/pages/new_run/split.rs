use super::Draft;
use crate::components::Field;
use crate::format;
use domain::dataset::DatasetSummary;
use domain::split::Split;
use leptos::prelude::*;

/// How the rows are dealt to training, validation and test. All three ways are in the page; the style sheet shows the
/// one that is chosen, so that the choice works without a script.
#[component]
pub fn SplitFields(draft: Draft, datasets: StoredValue<Vec<DatasetSummary>>) -> impl IntoView {
    let outcome = move || datasets.with_value(|datasets| outcome(draft, datasets));
    view! {
        <fieldset class="split">
            <legend class="field-label">"Split"</legend>
            <div class="segmented" id="run-split" tabindex="-1">
                <Way draft way="percent" words="Percentages" />
                <Way draft way="per_label" words="Rows per label" />
                <Way draft way="own_test" words="Own test set" />
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
                <TestDataset draft datasets />
                <Number draft field="own_validation" label="Validation, % of the dataset" />
            </div>
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

#[component]
fn Number(draft: Draft, field: &'static str, label: &'static str) -> impl IntoView {
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

#[component]
fn TestDataset(draft: Draft, datasets: StoredValue<Vec<DatasetSummary>>) -> impl IntoView {
    let chosen_first = draft.form.read_untracked().get("test_dataset").to_string();
    let options = datasets.with_value(|datasets| {
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
        <Field label="Test dataset" id="run-test_dataset" error=draft.error("test_dataset")>
            <select
                class="select"
                id="run-test_dataset"
                name="form[test_dataset]"
                aria-describedby="run-test_dataset-error"
                prop:value=move || draft.get("test_dataset")
                on:change=move |event| draft.set("test_dataset", event_target_value(&event))
            >
                <option value="">"Choose…"</option>
                {options}
            </select>
        </Field>
    }
    .into_any()
}

/// About how many rows each part gets. Rows are dealt by the hash of their text, so shares come out a little off.
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
        Split::OwnTest { test_dataset, validation, .. } => {
            let test = datasets.iter().find(|dataset| dataset.id == test_dataset)?;
            format!(
                "About {} rows to train, {} to validate; all {} rows of {} to test.",
                share(100.0 - validation),
                share(validation),
                format::count(test.rows),
                test.name
            )
        }
    })
}
