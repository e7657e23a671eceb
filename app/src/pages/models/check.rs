use crate::api::models::AddModel;
use crate::components::{Button, ButtonKind, ErrorNotice, Field, Fold, Notice, Pill, Tone};
use crate::format;
use domain::catalogue::{ModelCheck, ModelId, ModelKind};
use domain::hub::{HubAccess, HubCheck};
use leptos::prelude::*;

/// What is known of a model before anything is fetched, and the form that adds it.
#[component]
pub fn CheckResult(
    check: ModelCheck,
    add: ServerAction<AddModel>,
    /// Numbers and names of those that an adapter can belong on.
    bases: Vec<(ModelId, String)>,
) -> impl IntoView {
    let name = format::source_name(&check.source, check.hub.is_some());
    let problems = problems(&check);
    let can_be_added = problems.is_empty();
    let warnings = check.warnings.iter().map(|words| view! { <li>{words.clone()}</li> }).collect_view();
    let has_warnings = !check.warnings.is_empty();
    let kind = match check.kind {
        ModelKind::Base => "base model",
        ModelKind::Adapter => "LoRA adapter",
    };
    let files = check.hub.as_ref().filter(|hub| !hub.files.is_empty()).map(|hub| view! { <Files hub=hub.clone() /> });
    let access = check.hub.as_ref().map(|hub| hub.access.clone());
    let refused = move || add.value().get().and_then(Result::err);
    view! {
        <section class="stack" aria-labelledby="check-title">
            <div class="row">
                <h3 class="check-name" id="check-title">{name}</h3>
                <span class="small soft">{kind}</span>
                {can_be_added.then(|| view! { <Pill tone=Tone::Good>"can be added"</Pill> })}
            </div>
            {(!can_be_added).then(|| view! { <Problems problems access=access.clone() /> })}
            {(access == Some(HubAccess::Offline))
                .then(|| view! { <p class="soft">"The Hub was not asked: what is said here is what the cache knows."</p> })}
            {has_warnings
                .then(|| {
                    view! {
                        <Notice tone=Tone::Warning title="Good to know">
                            <ul class="plain-list">{warnings}</ul>
                        </Notice>
                    }
                })}
            <dl class="knob-lines">{facts(&check)}</dl>
            {files}
            {move || refused().map(|error| view! { <ErrorNotice error /> })}
            <ActionForm action=add attr:class="stack">
                <input type="hidden" name="source" value=check.source.clone() />
                {(check.kind == ModelKind::Adapter)
                    .then(|| view! { <AdapterFields bases asks_for_labels=!says_its_labels(&check) /> })}
                <div class="row">
                    <Button type_="submit" kind=ButtonKind::Primary pending=add.pending() disabled=!can_be_added>
                        "Add"
                    </Button>
                    {can_be_added.then(|| view! { <span class="small soft">{what_adding_does(&check)}</span> })}
                </div>
            </ActionForm>
        </section>
    }
    .into_any()
}

/// Each once: what the Hub says may be among what the catalogue says already.
fn problems(check: &ModelCheck) -> Vec<String> {
    let mut problems = check.problems.clone();
    for problem in check.hub.iter().flat_map(|hub| &hub.problems) {
        if !problems.contains(problem) {
            problems.push(problem.clone());
        }
    }
    problems
}

fn what_adding_does(check: &ModelCheck) -> String {
    match &check.hub {
        None => "Nothing is copied: the files stay where they are.".to_owned(),
        Some(hub) if hub.missing_bytes == 0 => "All of it is in the cache already.".to_owned(),
        Some(hub) => format!("{} will be fetched. It can be paused.", format::bytes(hub.missing_bytes as f64)),
    }
}

/// Why it cannot be added, with the way to what mends it.
#[component]
fn Problems(problems: Vec<String>, access: Option<HubAccess>) -> impl IntoView {
    let (title, link) = match &access {
        Some(HubAccess::TokenMissing { url }) => ("The Hub asks for a token", Some((url, "Make a token"))),
        Some(HubAccess::TokenInvalid) => ("The Hub does not know the token", None),
        Some(HubAccess::LicenceNotAccepted { url }) => {
            ("Its licence has to be accepted first", Some((url, "Open its page to accept the licence")))
        }
        Some(HubAccess::NotFound) => ("There is no such model", None),
        Some(HubAccess::Open | HubAccess::Granted | HubAccess::Offline) | None => ("It cannot be added", None),
    };
    let link = link.and_then(|(url, words)| Some((format::web_address(url)?, words))).map(|(href, words)| {
        view! {
            <div class="notice-actions">
                <a class="button" href=href rel="external noopener" target="_blank">
                    {words}
                </a>
            </div>
        }
    });
    let lines = problems.into_iter().map(|words| view! { <li>{words}</li> }).collect_view();
    view! {
        <Notice tone=Tone::Bad title>
            <ul class="plain-list">{lines}</ul>
            {link}
        </Notice>
    }
    .into_any()
}

/// Names and values, as far as they are known.
fn facts(check: &ModelCheck) -> impl IntoView + use<> {
    let hub = check.hub.as_ref();
    let mut lines: Vec<(&str, String)> = Vec::new();
    let architecture = check.info.as_ref().map(|info| info.architecture.clone());
    if let Some(architecture) = architecture.or_else(|| hub.and_then(|hub| hub.architecture.clone())) {
        lines.push(("Architecture", architecture));
    }
    if let Some(info) = &check.info {
        let shape = format!("{}, {}", format::parameters(info.parameters), layers(info.num_hidden_layers));
        lines.push(("Parameters", shape));
        lines.push(("Context", format::counted(info.context_length as u64, "token", "tokens")));
    }
    if !check.labels.is_empty() {
        lines.push(("Answers", check.labels.join(", ")));
    } else if check.kind == ModelKind::Adapter && says_its_labels(check) {
        lines.push(("Answers", "what its classifier.json says".to_owned()));
    }
    if let Some(hub) = hub {
        // Of what may not be seen nothing is known.
        if hub.commit.is_some() {
            lines.push(("Licence", hub.licence.clone().unwrap_or_else(|| "not stated".to_owned())));
        }
        lines.push(("Access", access_in_words(&hub.access).to_owned()));
        lines.push(("Asked as", hub.user.clone().unwrap_or_else(|| "nobody, without a token".to_owned())));
        if let Some(commit) = &hub.commit {
            lines.push(("Commit", commit.chars().take(10).collect()));
        }
        if hub.total_bytes > 0 {
            lines.push(("Size", size_in_words(hub)));
        }
        if let Some(free) = hub.disk_free_bytes {
            lines.push(("Free on the disk", format::bytes(free as f64)));
        }
    }
    if let Some(needed) = check.memory_bytes {
        let of = check.device.memory_bytes.map_or_else(
            || format!(" on {}", check.device.name),
            |memory| format!(" of the {} of {}", format::bytes(memory as f64), check.device.name),
        );
        lines.push(("Memory to train it in 4 bits", format!("about {}{of}", format::bytes(needed as f64))));
    }
    lines
        .into_iter()
        .map(|(name, value)| {
            view! {
                <div class="knob-line">
                    <dt>{name}</dt>
                    <dd class="number">{value}</dd>
                </div>
            }
        })
        .collect_view()
}

fn layers(layers: usize) -> String {
    format::counted(layers as u64, "layer", "layers")
}

fn size_in_words(hub: &HubCheck) -> String {
    let total = format::bytes(hub.total_bytes as f64);
    match hub.missing_bytes {
        0 => format!("{total}, all of it in the cache"),
        missing if missing < hub.total_bytes => format!("{total}, of which {} to fetch", format::bytes(missing as f64)),
        _ => format!("{total} to fetch"),
    }
}

fn access_in_words(access: &HubAccess) -> &'static str {
    match access {
        HubAccess::Open => "open to all",
        HubAccess::Granted => "granted to this account",
        HubAccess::TokenMissing { .. } => "with a token only",
        HubAccess::TokenInvalid => "the token is not known",
        HubAccess::LicenceNotAccepted { .. } => "licence not accepted yet",
        HubAccess::NotFound => "not found",
        HubAccess::Offline => "not asked",
    }
}

#[component]
fn Files(hub: HubCheck) -> impl IntoView {
    let summary = format::counted(hub.files.len() as u64, "file", "files");
    let files = hub
        .files
        .into_iter()
        .map(|file| {
            view! {
                <li class="file-line">
                    <span class="file-name mono">{file.name}</span>
                    <span class="soft small">{file.cached.then_some("in the cache")}</span>
                    <span class="number">{format::bytes(file.bytes as f64)}</span>
                </li>
            }
        })
        .collect_view();
    view! {
        <Fold summary>
            <ul class="file-lines">{files}</ul>
        </Fold>
    }
    .into_any()
}

/// An adapter that Ayar has written brings a file with its labels and its prompt.
fn says_its_labels(check: &ModelCheck) -> bool {
    let files = check.hub.iter().flat_map(|hub| &hub.files);
    !check.labels.is_empty() || files.into_iter().any(|file| file.name == "classifier.json")
}

/// What an adapter does not say itself.
#[component]
fn AdapterFields(bases: Vec<(ModelId, String)>, asks_for_labels: bool) -> impl IntoView {
    let options =
        bases.into_iter().map(|(id, name)| view! { <option value=id.to_string()>{name}</option> }).collect_view();
    view! {
        <Field label="The base that it belongs on" id="add-base" help="One of the catalogue that is ready. Its shape is compared with the adapter's.">
            <select class="select" id="add-base" name="base" aria-describedby="add-base-help">
                {options}
            </select>
        </Field>
        {asks_for_labels
            .then(|| {
                view! {
                    <Field
                        label="What it answers"
                        id="add-labels"
                        help="Its labels, one on each line or with commas between. Left empty, it can be trained further but not classified with."
                    >
                        <textarea
                            class="textarea"
                            id="add-labels"
                            name="labels"
                            rows="3"
                            spellcheck="false"
                            aria-describedby="add-labels-help"
                        ></textarea>
                    </Field>
                    <Fold summary="Its prompt">
                        <Field
                            label="Template"
                            id="add-prompt"
                            help="The words around a text, with {text} where it stands, as the adapter was trained with. Left empty, the usual one."
                        >
                            <textarea
                                class="textarea is-mono"
                                id="add-prompt"
                                name="prompt_template"
                                rows="5"
                                spellcheck="false"
                                aria-describedby="add-prompt-help"
                            ></textarea>
                        </Field>
                    </Fold>
                }
            })}
    }
    .into_any()
}
