use super::confirm::Draft;
use super::remembered;
use super::text::is_same_column;
use crate::api::import_form::name_of_file;
use crate::api::uploads::{ImportUpload, get_import_progress};
use crate::components::{Button, ButtonKind, Card, ErrorNotice, Field, ProgressBar};
use crate::format;
use crate::reviewer;
use domain::dataset::DatasetSummary;
use domain::reading::ImportProgress;
use leptos::prelude::*;
use std::time::Duration;

/// Between two looks at a running import.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// What becomes of the file: a new dataset with a name, or the next version of one that is there.
#[component]
pub fn Destination(
    draft: Draft,
    datasets: Vec<DatasetSummary>,
    import: ServerAction<ImportUpload>,
    is_scripted: RwSignal<bool>,
) -> impl IntoView {
    let first_name = draft.form.with_untracked(|form| match form.get("name") {
        "" => draft.preview.with_untracked(|preview| name_of_file(&preview.file_name)),
        typed => typed.to_string(),
    });
    // `?into=ID` alone comes from the page of that dataset.
    let first_target = draft.form.with_untracked(|form| match (form.get("target"), form.get("into")) {
        ("", "") => "new".to_string(),
        ("", _) => "add".to_string(),
        (target, _) => target.to_string(),
    });
    draft.form.update_untracked(|form| form.set("target", first_target));
    let has_datasets = !datasets.is_empty();
    let datasets = StoredValue::new(datasets);
    let pending = import.pending();
    let reviewer = reviewer::remembered_name();
    // An upload that becomes a dataset is none to go on with; should the import be refused, it is still at hand here.
    Effect::new(move |_| {
        if pending.get() {
            draft.preview.with_untracked(|preview| remembered::forget(&preview.upload));
        }
    });
    view! {
        <Card title="What becomes of it">
            <div class="stack destination">
                {has_datasets
                    .then(|| {
                        view! {
                            <fieldset class="segmented">
                                <legend class="visually-hidden">"What becomes of the file"</legend>
                                <Target draft target="new" words="A new dataset" />
                                <Target draft target="add" words="Add to a dataset" />
                                <Target draft target="replace" words="Replace a dataset's rows" />
                            </fieldset>
                        }
                    })}
                <input type="hidden" name="form[by]" prop:value=reviewer />
                <div class="destination-new">
                    <Field label="Name of the dataset" id="name">
                        <input
                            class="input"
                            type="text"
                            id="name"
                            name="form[name]"
                            maxlength="120"
                            autocomplete="off"
                            value=first_name
                            on:input:target=move |event| draft.form.update(|form| form.set("name", event.target().value()))
                        />
                    </Field>
                </div>
                {has_datasets.then(|| view! { <IntoDataset draft datasets /> })}
                <div class="row">
                    <Button
                        kind=ButtonKind::Primary
                        type_="submit"
                        pending=pending
                        disabled=Signal::derive(move || is_scripted.get() && is_same_column(draft))
                    >
                        {move || if pending.get() { "Importing…" } else { "Import" }}
                    </Button>
                </div>
                <Show when=move || pending.get()>
                    <Importing upload=draft.preview.with_untracked(|preview| preview.upload.clone()) />
                </Show>
                {move || import.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> })}
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn Target(draft: Draft, target: &'static str, words: &'static str) -> impl IntoView {
    let chosen = move || draft.form.read().get("target") == target;
    view! {
        <label class="segment">
            <input
                type="radio"
                name="form[target]"
                value=target
                checked=chosen
                prop:checked=chosen
                on:change=move |_| draft.form.update(|form| form.set("target", target))
            />
            <span>{words}</span>
        </label>
    }
    .into_any()
}

#[component]
fn IntoDataset(draft: Draft, datasets: StoredValue<Vec<DatasetSummary>>) -> impl IntoView {
    let first = draft.form.with_untracked(|form| form.get("into").to_string());
    let options = datasets.with_value(|datasets| {
        let options = datasets.iter().map(|dataset| {
            let id = dataset.id.to_string();
            let selected = id == first;
            let words = format!("{} ({})", dataset.name, format::counted(dataset.rows, "row", "rows"));
            view! {
                <option value=id selected=selected>
                    {words}
                </option>
            }
        });
        options.collect_view()
    });
    view! {
        <div class="destination-into">
            <Field
                label="Dataset"
                id="into"
                help="It gets a new version; the ones before stay as they are. Rows that it has already keep their place in every split."
            >
                <select
                    class="select"
                    id="into"
                    name="form[into]"
                    aria-describedby="into-help"
                    on:change:target=move |event| draft.form.update(|form| form.set("into", event.target().value()))
                >
                    {options}
                </select>
            </Field>
            <p class="soft small destination-replace">
                "Rows of the dataset that the file does not have are removed in the new version."
            </p>
        </div>
    }
    .into_any()
}

/// How far the import is, looked at again and again while it is under way.
#[component]
fn Importing(upload: String) -> impl IntoView {
    let progress = RwSignal::new(None::<ImportProgress>);
    let look = Action::new(move |(): &()| get_import_progress(upload.clone()));
    Effect::new(move |_| {
        look.version().track();
        if let Some(Ok(Some(fresh))) = look.value().get() {
            progress.set(Some(fresh));
        }
        if let Ok(timer) = set_timeout_with_handle(
            move || {
                look.dispatch(());
            },
            LOOK_EVERY,
        ) {
            on_cleanup(move || timer.clear());
        }
    });
    let words = move || progress.get().map(in_words);
    view! {
        <div class="stack-tight">
            <ProgressBar
                value=Signal::derive(move || progress.get().map(|progress| progress.share))
                label=Signal::stored("Import".to_string())
            />
            <p class="soft small number">{words}</p>
        </div>
    }
    .into_any()
}

fn in_words(progress: ImportProgress) -> String {
    let mut words = format::counted(progress.rows, "row", "rows");
    if progress.rejected > 0 {
        words += &format!(", {} left out", format::count(progress.rejected));
    }
    if progress.share > 0.02 && progress.seconds > 0.5 {
        let left = progress.seconds * (1.0 - progress.share) / progress.share;
        words += &format!(" · {} left", format::duration(left));
    }
    words
}
