use super::catalogue::ModelActions;
use super::download::Download;
use crate::components::{Ask, Button, ButtonKind, ButtonLink, ModelPill, Notice, TimeStamp, Tone};
use crate::format;
use domain::catalogue::{ModelKind, ModelStatus, ModelSummary, OWN_MODEL};
use domain::hub::{DEFAULT_REVISION, HubAddress};
use leptos::prelude::*;

/// One model of the catalogue: what it is, how far its download is, and what can be done with it.
#[component]
pub fn ModelCard(
    /// The whole list, for the name of an adapter's base.
    models: RwSignal<Vec<ModelSummary>>,
    /// As it stands now; `None` never, for a card that is there.
    model: Memo<Option<ModelSummary>>,
    endpoint: Signal<String>,
    actions: ModelActions,
) -> impl IntoView {
    let Some(first) = model.get_untracked() else { return ().into_any() };
    let id = first.id;
    let status = Memo::new(move |_| model.read().as_ref().map_or(ModelStatus::Waiting, |model| model.status));
    let failure = Memo::new(move |_| {
        let model = model.read();
        model.as_ref().filter(|model| model.status == ModelStatus::Failed).and_then(|model| model.failure.clone())
    });
    let kind = match first.kind {
        ModelKind::Base if id == OWN_MODEL => "base model, the server's own",
        ModelKind::Base => "base model",
        ModelKind::Adapter => "adapter",
    };
    let name = Memo::new(move |_| model.read().as_ref().map(format::model_name).unwrap_or_default());
    // The whole of it, but for what changes every second while it downloads.
    let facts = Memo::new(move |_| {
        let mut model = model.get()?;
        model.done_bytes = 0;
        model.download = None;
        Some(model)
    });
    let base_name = Memo::new(move |_| {
        let base = model.read().as_ref()?.adapter.as_ref()?.base;
        models.read().iter().find(|model| model.id == base).map(format::model_name)
    });
    let shows_download =
        move || matches!(status.get(), ModelStatus::Downloading | ModelStatus::Paused | ModelStatus::Failed);
    view! {
        <li>
            <article class="card model-card" id=format!("model-{id}") tabindex="-1" aria-label=move || name.get()>
                <header class="row-between">
                    <div class="row">
                        <h3 class="model-name">{name}</h3>
                        <ModelPill status />
                        <span class="small soft">{kind}</span>
                    </div>
                    <Actions model status name actions />
                </header>
                {move || failure.get().map(|reason| view! {
                    <Notice tone=Tone::Bad title="The download failed">
                        <p>{reason}</p>
                        <p>"What has come is kept: Resume goes on from there."</p>
                    </Notice>
                })}
                <Show when=shows_download>
                    <Download model status />
                </Show>
                <Show when=move || status.get() == ModelStatus::Waiting>
                    <p class="soft">"Waits for an earlier download to end."</p>
                </Show>
                {move || facts.get().map(|model| view! { <Facts model base_name=base_name.get() endpoint=endpoint.get() /> })}
            </article>
        </li>
    }
    .into_any()
}

/// What the model is, in words.
#[component]
fn Facts(model: ModelSummary, base_name: Option<String>, endpoint: String) -> impl IntoView {
    let mut facts: Vec<(&str, AnyView)> = vec![("Source", source(&model, &endpoint))];
    if let Some(info) = &model.info {
        let shape = format!(
            "{} parameters, {}, context of {} tokens",
            format::parameters(info.parameters),
            format::counted(info.num_hidden_layers as u64, "layer", "layers"),
            format::count(info.context_length as u64)
        );
        facts.push(("Shape", shape.into_any()));
        let chat = if model.has_chat_template { "yes" } else { "no" };
        facts.push(("Chat template", chat.into_any()));
    }
    if let Some(adapter) = &model.adapter {
        let href = format!("#model-{}", adapter.base);
        let base_name = base_name.unwrap_or_else(|| adapter.base_name.clone());
        facts.push(("On", view! { <a href=href rel="external">{base_name}</a> }.into_any()));
        facts.push(("Rank", adapter.r.to_string().into_any()));
        let answers = match adapter.labels.is_empty() {
            true => "not known; it can be trained further".to_owned(),
            false => adapter.labels.join(", "),
        };
        facts.push(("Answers", answers.into_any()));
    }
    if model.total_bytes > 0 {
        let name = if model.status == ModelStatus::Ready { "On the disk" } else { "Size" };
        facts.push((name, format::bytes(model.total_bytes as f64).into_any()));
    }
    if let Some(commit) = &model.commit {
        let short: String = commit.chars().take(10).collect();
        facts.push(("Commit", view! { <span class="mono" title=commit.clone()>{short}</span> }.into_any()));
    }
    let runs = match model.runs {
        0 => "none yet".to_owned(),
        runs => format::count(runs),
    };
    facts.push(("Runs", runs.into_any()));
    if model.id != OWN_MODEL {
        facts.push(("Added", view! { <TimeStamp at_ms=model.added_at_ms /> }.into_any()));
    }
    let facts = facts
        .into_iter()
        .map(|(name, value)| {
            view! {
                <div>
                    <dt>{name}</dt>
                    <dd>{value}</dd>
                </div>
            }
        })
        .collect_view();
    view! { <dl class="facts model-facts">{facts}</dl> }.into_any()
}

/// Where it comes from: a link to its page, or its path.
fn source(model: &ModelSummary, endpoint: &str) -> AnyView {
    let words = model.source.clone();
    let address = HubAddress::parse(&model.source).ok().filter(|_| model.from_hub);
    let page = address.and_then(|address| {
        let endpoint = format::web_address(endpoint)?;
        let page = format!("{}/{}", endpoint.trim_end_matches('/'), address.repo);
        Some(match address.revision.as_str() {
            DEFAULT_REVISION => page,
            revision => format!("{page}/tree/{}", revision.replace('/', "%2F")),
        })
    });
    match page {
        Some(href) => view! {
            <a class="mono" href=href rel="external noopener" target="_blank">
                {words}
            </a>
        }
        .into_any(),
        None => view! { <span class="mono">{words}</span> }.into_any(),
    }
}

/// What can be done with the model right now. Plain forms and links: they work without a script.
#[component]
fn Actions(
    model: Memo<Option<ModelSummary>>,
    status: Memo<ModelStatus>,
    name: Memo<String>,
    actions: ModelActions,
) -> impl IntoView {
    let Some(first) = model.get_untracked() else { return ().into_any() };
    let id = first.id;
    let ModelActions { pause, resume, remove } = actions;
    let pausing = Signal::derive(move || pause.input().read().as_ref().is_some_and(|asked| asked.id == id));
    let resuming = Signal::derive(move || resume.input().read().as_ref().is_some_and(|asked| asked.id == id));
    let removing = Signal::derive(move || remove.input().read().as_ref().is_some_and(|asked| asked.id == id));
    let can_pause = move || status.get().is_moving();
    let can_resume = move || matches!(status.get(), ModelStatus::Paused | ModelStatus::Failed);
    let id_field = move || view! { <input type="hidden" name="id" value=id.to_string() /> };
    let needed = Memo::new(move |_| model.read().as_ref().and_then(why_needed));
    let remove_button = (id != OWN_MODEL).then(|| {
        let warning = removal_in_words(&first);
        view! {
            <Ask
                id=format!("remove-model-{id}")
                button="Remove"
                button_label=format!("Remove {}", name.get_untracked())
                title=format!("Remove {}?", name.get_untracked())
            >
                <p>{move || needed.get().unwrap_or_else(|| warning.to_owned())}</p>
                {move || {
                    remove
                        .value()
                        .get()
                        .and_then(Result::err)
                        .map(|error| view! { <p class="field-error" role="alert">{error.message()}</p> })
                }}
                <Show when=move || needed.read().is_none()>
                    <ActionForm action=remove>
                        {id_field()}
                        <Button type_="submit" kind=ButtonKind::Danger pending=removing>
                            "Remove it"
                        </Button>
                    </ActionForm>
                </Show>
            </Ask>
        }
    });
    view! {
        <div class="row model-actions">
            {move || {
                let model = model.get().filter(|model| model.status == ModelStatus::Ready)?;
                Some(ways_on(&model))
            }}
            <Show when=can_pause>
                <ActionForm action=pause>
                    {id_field()}
                    <Button type_="submit" pending=pausing>
                        "Pause"
                    </Button>
                </ActionForm>
            </Show>
            <Show when=can_resume>
                <ActionForm action=resume>
                    {id_field()}
                    <Button type_="submit" kind=ButtonKind::Primary pending=resuming>
                        "Resume"
                    </Button>
                </ActionForm>
            </Show>
            {remove_button}
        </div>
    }
    .into_any()
}

/// Where a model that is ready leads.
fn ways_on(model: &ModelSummary) -> AnyView {
    let id = model.id;
    let Some(adapter) = &model.adapter else {
        return view! { <ButtonLink href=format!("/runs/new?base={id}")>"Fine-tune"</ButtonLink> }.into_any();
    };
    let train = format!("/runs/new?base={}&start=model-{id}", adapter.base);
    view! {
        {(!adapter.labels.is_empty())
            .then(|| view! { <ButtonLink href=format!("/classify?adapter={id}")>"Classify with it"</ButtonLink> })}
        <ButtonLink href=train>"Train it further"</ButtonLink>
    }
    .into_any()
}

/// What is lost and what is kept.
fn removal_in_words(model: &ModelSummary) -> &'static str {
    match model.from_hub {
        true => "Its files are deleted from the server's cache; it would have to be fetched again.",
        false => "It goes from this list; the files on the server's disk stay where they are.",
    }
}

/// Why it has to stay.
fn why_needed(model: &ModelSummary) -> Option<String> {
    (model.runs > 0).then(|| {
        format!(
            "{} from it and could not classify any more without it, so it stays.",
            format::counted(model.runs, "run began", "runs began")
        )
    })
}
