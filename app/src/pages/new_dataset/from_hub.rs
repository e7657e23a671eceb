use crate::api::import_form::ImportForm;
use crate::api::uploads::{FetchHubDataset, StopHubFetch, get_hub_fetch, look_at_hub_dataset};
use crate::components::{Button, ButtonKind, ButtonLink, Card, ErrorNotice, Field, Loading, ProgressBar};
use crate::format;
use crate::polled::poll;
use domain::hub::{FileProgress, FileState};
use domain::hub_dataset::{HubDataset, HubDatasetFile, HubFetch, HubFetchState};
use leptos::prelude::*;
use leptos_router::hooks::{use_navigate, use_query_map};

/// The field for a dataset on the Hub. A plain form: the address of the page says which one is looked at.
#[component]
pub fn FromHub() -> impl IntoView {
    let query = use_query_map();
    let first = query.with_untracked(|query| query.get("hub").unwrap_or_default());
    view! {
        <Card title="From the Hugging Face Hub">
            <form method="get" action="/datasets/new" class="stack">
                <Field
                    label="Dataset on the Hub"
                    id="hub"
                    help="owner/name, owner/name@revision, or the URL of the dataset's page. Its Parquet files are read."
                >
                    <div class="with-button">
                        <input
                            class="input"
                            id="hub"
                            name="hub"
                            required
                            maxlength="500"
                            autocomplete="off"
                            autocapitalize="off"
                            spellcheck="false"
                            placeholder="stanfordnlp/imdb"
                            aria-describedby="hub-help"
                            value=first
                        />
                        <Button type_="submit">"Look"</Button>
                    </div>
                </Field>
            </form>
        </Card>
    }
    .into_any()
}

/// What the dataset consists of, to choose from.
#[component]
pub fn HubDatasetFiles(address: String) -> impl IntoView {
    let dataset = Resource::new_blocking(move || address.clone(), look_at_hub_dataset);
    view! {
        <div class="stack-loose new-dataset">
            <FromHub />
            <Suspense fallback=|| view! { <Loading what="the dataset's files" /> }>
                {move || {
                    Suspend::new(async move {
                        match dataset.await {
                            Ok(dataset) => view! { <ChooseFiles dataset /> }.into_any(),
                            Err(error) => {
                                view! {
                                    <ErrorNotice error>
                                        <ButtonLink href="/models#account">"The Hub account"</ButtonLink>
                                    </ErrorNotice>
                                }
                                    .into_any()
                            }
                        }
                    })
                }}
            </Suspense>
        </div>
    }
    .into_any()
}

#[component]
fn ChooseFiles(dataset: HubDataset) -> impl IntoView {
    let fetch = ServerAction::<FetchHubDataset>::new();
    // The first configuration is the one that the dataset's page shows first.
    let first_config = dataset.files.first().map(|file| file.place().0.to_string()).unwrap_or_default();
    let total: u64 = dataset.files.iter().map(|file| file.bytes).sum();
    let note = format!(
        "{} in {}, revision {} ({}). Several files become one dataset; their splits stay known.",
        format::bytes(total as f64),
        format::counted(dataset.files.len() as u64, "file", "files"),
        dataset.revision,
        dataset.commit.chars().take(7).collect::<String>()
    );
    let files = dataset
        .files
        .iter()
        .enumerate()
        .map(|(place, file)| {
            let checked = file.place().0 == first_config;
            view! { <FileBox place file=file.clone() checked /> }
        })
        .collect_view();
    view! {
        <Card title=dataset.id.clone() note=note>
            <ActionForm action=fetch attr:class="stack">
                <input type="hidden" name="address" value=format!("{}@{}", dataset.id, dataset.revision) />
                <input type="hidden" name="commit" value=dataset.commit.clone() />
                <fieldset class="merges">
                    <legend class="field-label">"Files"</legend>
                    {files}
                </fieldset>
                <div class="row">
                    <Button kind=ButtonKind::Primary type_="submit" pending=fetch.pending()>
                        "Fetch these files"
                    </Button>
                </div>
                {move || fetch.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> })}
            </ActionForm>
        </Card>
    }
    .into_any()
}

#[component]
fn FileBox(place: usize, file: HubDatasetFile, checked: bool) -> impl IntoView {
    let (config, split) = file.place();
    let words = match (config, split) {
        (_, "") => String::new(),
        ("", split) => format!("split {split}"),
        (config, split) => format!("{config}, split {split}"),
    };
    view! {
        <label class="check merge">
            <input type="checkbox" name=format!("files[{place}]") value=file.path.clone() checked=checked />
            <span>
                <span class="mono hub-path">{file.path.clone()}</span>
                <span class="soft small merge-reason">{format!("{words} · {}", format::bytes(file.bytes as f64))}</span>
            </span>
        </label>
    }
    .into_any()
}

/// Files on their way from the Hub, and the way on when they are there.
#[component]
pub fn HubFetching(fetch: String) -> impl IntoView {
    let asked = fetch.clone();
    let first = Resource::new_blocking(move || asked.clone(), get_hub_fetch);
    view! {
        <div class="stack-loose new-dataset">
            <Suspense fallback=|| view! { <Loading what="the download" /> }>
                {move || Suspend::new(async move {
                    match first.await {
                        Ok(first) => view! { <Fetching first /> }.into_any(),
                        Err(error) => {
                            view! {
                                <ErrorNotice error>
                                    <ButtonLink href="/datasets/new">"Begin again"</ButtonLink>
                                </ErrorNotice>
                            }
                                .into_any()
                        }
                    }
                })}
            </Suspense>
        </div>
    }
    .into_any()
}

#[component]
fn Fetching(first: HubFetch) -> impl IntoView {
    let id = StoredValue::new(first.id.clone());
    let stop = ServerAction::<StopHubFetch>::new();
    let polled = poll(first, move || get_hub_fetch(id.get_value()), is_under_way);
    let fetch = polled.value;
    let navigate = use_navigate();
    Effect::new(move |_| {
        if let HubFetchState::Done { upload } = &fetch.read().state {
            navigate(&ImportForm::of(upload).address(), Default::default());
        }
    });
    Effect::new({
        let navigate = use_navigate();
        move |_| {
            if let Some(Ok(())) = stop.value().get() {
                navigate("/datasets/new", Default::default());
            }
        }
    });
    let files = move || {
        let fetch = fetch.read();
        fetch.files.iter().map(|file| view! { <FetchedFile file=file.clone() /> }).collect_view()
    };
    let standing = move || match &fetch.read().state {
        HubFetchState::Fetching => view! { <p role="status">"Fetching the files from the Hub."</p> }.into_any(),
        HubFetchState::Joining => {
            view! { <p role="status">"All there. Writing the rows of all files one after the other."</p> }.into_any()
        }
        HubFetchState::Done { upload } => {
            let href = ImportForm::of(upload).address();
            view! {
                <p role="status">"All there."</p>
                <ButtonLink href kind=ButtonKind::Primary>
                    "Look at it"
                </ButtonLink>
            }
            .into_any()
        }
        HubFetchState::Failed { reason } => {
            let error = domain::error::UserError::new(domain::error::ErrorKind::Busy, reason.clone());
            view! {
                <ErrorNotice error=error.into()>
                    <ButtonLink href="/datasets/new">"Begin again"</ButtonLink>
                </ErrorNotice>
            }
            .into_any()
        }
    };
    view! {
        <Card title="From the Hub">
            <div class="stack">
                {standing}
                <ul class="earlier-uploads">{files}</ul>
                <Show when=move || is_under_way(&fetch.read())>
                    <ActionForm action=stop>
                        <input type="hidden" name="fetch" value=id.get_value() />
                        <Button type_="submit" pending=stop.pending()>
                            "Stop"
                        </Button>
                    </ActionForm>
                </Show>
            </div>
        </Card>
    }
    .into_any()
}

fn is_under_way(fetch: &HubFetch) -> bool {
    matches!(fetch.state, HubFetchState::Fetching | HubFetchState::Joining)
}

#[component]
fn FetchedFile(file: FileProgress) -> impl IntoView {
    let share = file.done_bytes as f64 / file.bytes.max(1) as f64;
    let words = match file.state {
        FileState::Waiting => "waits".to_string(),
        FileState::Downloading => {
            format!("{} of {}", format::bytes(file.done_bytes as f64), format::bytes(file.bytes as f64))
        }
        FileState::Verifying => "is checked".to_string(),
        FileState::Done => format!("{}, there", format::bytes(file.bytes as f64)),
    };
    view! {
        <li>
            <div class="hub-file">
                <span class="mono hub-path">{file.name.clone()}</span>
                <ProgressBar value=Signal::stored(Some(share)) label=Signal::stored(file.name) />
                <span class="soft small number">{words}</span>
            </div>
        </li>
    }
    .into_any()
}
