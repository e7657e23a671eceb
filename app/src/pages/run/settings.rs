use crate::components::{Card, Fold};
use crate::format;
use domain::catalogue::AdapterSource;
use domain::run::RunDetail;
use domain::spec::{KNOBS, KnobKind, TrainSpec};
use domain::split::Split;
use leptos::prelude::*;

/// How the run was set up: data, split, and every knob; what differs from the default stands out.
#[component]
pub fn RunSettings(
    detail: RunDetail,
    base_name: String,
    /// The name of what training started from, where that is still there.
    started_from: Option<String>,
) -> impl IntoView {
    let defaults = TrainSpec::default();
    let spec = &detail.spec;
    let (changed, same): (Vec<_>, Vec<_>) = KNOBS
        .iter()
        .filter(|knob| knob.kind != KnobKind::Template)
        .map(|knob| (knob, spec.get(knob.name).unwrap_or_default(), defaults.get(knob.name).unwrap_or_default()))
        .partition(|(_, value, default)| value != default);
    let line = |(knob, value, default): (&domain::spec::Knob, String, String)| {
        let differs = value != default;
        let name = knob.name;
        view! {
            <div class="knob-line" class:is-changed=differs>
                <dt title=knob.help>{knob.title} " " <code class="soft">{name}</code></dt>
                <dd class="number">
                    {value.replace(',', ", ")}
                    {differs.then(|| view! { <span class="soft">{format!(" (default {})", default.replace(',', ", "))}</span> })}
                </dd>
            </div>
        }
    };
    let none_changed = changed.is_empty();
    let changed = changed.into_iter().map(line).collect_view();
    let same = same.into_iter().map(line).collect_view();
    let prompt = spec.prompt_template.as_str().to_string();
    let (dataset, version) = (detail.summary.dataset_id, detail.summary.dataset_version);
    view! {
        <Card title="Set up">
            <div class="stack">
                <dl class="knob-lines">
                    <div class="knob-line">
                        <dt>"Dataset"</dt>
                        <dd>
                            <a href=format!("/datasets/{dataset}?version={version}")>
                                {detail.summary.dataset_name.clone()}
                            </a>
                            {format!(", version {version}")}
                        </dd>
                    </div>
                    <div class="knob-line">
                        <dt>"Split"</dt>
                        <dd>{split_in_words(&detail.split)}</dd>
                    </div>
                    <div class="knob-line">
                        <dt>"Rows"</dt>
                        <dd class="number">
                            {format!(
                                "{} to train, {} to validate, {} to test",
                                format::count(detail.train_rows),
                                format::count(detail.validation_rows),
                                format::count(detail.test_rows),
                            )}
                        </dd>
                    </div>
                    <div class="knob-line">
                        <dt>"Base model"</dt>
                        <dd>
                            <a href=format!("/models#model-{}", detail.base_model) rel="external">
                                {base_name}
                            </a>
                        </dd>
                    </div>
                    <div class="knob-line">
                        <dt>"Started from"</dt>
                        <dd>{start_in_words(detail.start_from, started_from)}</dd>
                    </div>
                </dl>
                <h3 class="run-subhead">"Settings that differ from the notebook's"</h3>
                {none_changed.then(|| view! { <p class="soft">"None: every setting is the notebook's."</p> })}
                <dl class="knob-lines">{changed}</dl>
                <Fold summary="All other settings">
                    <dl class="knob-lines">{same}</dl>
                </Fold>
                <Fold summary="Prompt">
                    <pre class="prompt-text">{prompt}</pre>
                </Fold>
            </div>
        </Card>
    }
    .into_any()
}

/// What training went on from, with the way there. Without a name it has been removed since.
fn start_in_words(source: Option<AdapterSource>, name: Option<String>) -> AnyView {
    let Some(source) = source else { return "a new adapter".into_any() };
    let (href, words) = match source {
        AdapterSource::Run(id) => (format!("/runs/{id}"), format!("run {id}")),
        AdapterSource::Model(id) => (format!("/models#model-{id}"), format!("adapter {id} of the catalogue")),
    };
    match name {
        Some(name) => view! { <a href=href rel="external">{name}</a> {format!(" ({words})")} }.into_any(),
        None => format!("{words}, which has been removed").into_any(),
    }
}

fn split_in_words(split: &Split) -> AnyView {
    match *split {
        Split::Percent { train, validation, test, seed } => {
            format!("{train} % to train, {validation} % to validate, {test} % to test; seed {seed}").into_any()
        }
        Split::PerLabel { train, validation, test, seed } => {
            format!("of every label {train} rows to train, {validation} to validate, {test} to test; seed {seed}")
                .into_any()
        }
        Split::OwnTest { test_dataset, validation_dataset, validation, seed } => view! {
            "tested on "
            <a href=format!("/datasets/{test_dataset}")>{format!("dataset {test_dataset}")}</a>
            {match validation_dataset {
                Some(dataset) => view! {
                    ", validated on "
                    <a href=format!("/datasets/{dataset}")>{format!("dataset {dataset}")}</a>
                }
                .into_any(),
                None => format!("; {validation} % to validate; seed {seed}").into_any(),
            }}
        }
        .into_any(),
        Split::Column { validation, seed } => {
            format!("as the file's split column says; {validation} % to validate where it names none; seed {seed}")
                .into_any()
        }
        Split::Frozen { validation, seed } => {
            format!("tested on the frozen test set; {validation} % of the others to validate; seed {seed}").into_any()
        }
        Split::Fold { fold, folds, .. } => format!("fold {} of {folds} of a label check", fold + 1).into_any(),
    }
}
