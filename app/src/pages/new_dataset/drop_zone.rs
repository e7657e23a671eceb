use super::remembered::{self, RememberedUpload};
use super::request::{Content, StopSwitch, send};
use super::sending::{UploadState, send_file};
use crate::api::import_form::ImportForm;
use crate::api::uploads::Upload;
use crate::components::{Button, ButtonKind, ButtonLink, Card, ErrorNotice, ProgressBar};
use crate::error::ApiError;
use crate::format;
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::reading::UploadStatus;
use leptos::prelude::*;
use leptos::reactive::send_wrapper_ext::SendOption;
use leptos::server::ServerActionError;
use leptos::server_fn::ServerFn;
use leptos::server_fn::error::ServerFnUrlError;
use leptos::task::spawn_local;
use leptos::{ev, html};
use leptos_router::hooks::use_navigate;
use std::collections::VecDeque;
use web_sys::File;

/// What the file dialog offers; everything else can be dropped.
const ACCEPTED: &str =
    ".csv,.tsv,.tab,.txt,.json,.jsonl,.ndjson,.parquet,.xlsx,.gz,.zst,.zip,text/csv,text/plain,application/json";

/// A file on its way, as the list shows it.
#[derive(Clone, PartialEq)]
struct Item {
    key: usize,
    file_name: String,
    bytes: f64,
    state: RwSignal<UploadState>,
}

/// What the browser alone has: the files that wait, and the switches that stop them.
#[derive(Default)]
struct Outbox {
    waiting: VecDeque<(usize, File)>,
    switches: Vec<StopSwitch>,
    is_sending: bool,
}

impl Outbox {
    /// A place for one. It is made when the first file is chosen: the browser's files cannot leave their thread, which
    /// pages do that the server renders.
    fn to_be() -> StoredValue<SendOption<Self>> {
        StoredValue::new(SendOption::new_local(None))
    }

    /// Browser only. `None` once the page has been left.
    fn update<T>(place: StoredValue<SendOption<Self>>, change: impl FnOnce(&mut Self) -> T) -> Option<T> {
        place.try_update_value(|outbox| change(outbox.get_or_insert_default()))
    }
}

/// The first step: a plain form with a file, which the browser's script turns into a drop zone that takes several files
/// and sends them one after the other.
#[component]
pub fn DropZone() -> impl IntoView {
    let items = RwSignal::new(Vec::<Item>::new());
    let outbox = Outbox::to_be();
    let is_over = RwSignal::new(false);
    let is_scripted = RwSignal::new(false);
    let input = NodeRef::<html::Input>::new();

    let add = move |files: Option<web_sys::FileList>| {
        let Some(files) = files else { return };
        let files: Vec<File> = (0..files.length()).filter_map(|index| files.get(index)).collect();
        for file in files {
            let state = RwSignal::new(UploadState::Waiting);
            let (file_name, bytes) = (file.name(), file.size());
            let key = Outbox::update(outbox, |outbox| {
                let key = outbox.switches.len();
                outbox.switches.push(StopSwitch::default());
                outbox.waiting.push_back((key, file));
                key
            });
            let Some(key) = key else { return };
            items.update(|items| items.push(Item { key, file_name, bytes, state }));
        }
        send_waiting(items, outbox);
    };
    // The field is emptied at once, so that choosing the same file again counts as a choice.
    let add_chosen = move || {
        if let Some(input) = input.get_untracked() {
            add(input.files());
            input.set_value("");
        }
    };
    let stop = move |key: usize| {
        Outbox::update(outbox, |outbox| {
            outbox.waiting.retain(|(waiting, _)| *waiting != key);
            if let Some(switch) = outbox.switches.get(key) {
                switch.stop();
            }
        });
        items.update(|items| items.retain(|item| item.key != key));
    };
    on_cleanup(move || {
        // On the server this may be another thread than the one that rendered the page, and there is no outbox.
        outbox.try_with_value(|outbox| {
            if let Some(outbox) = outbox.as_ref() {
                outbox.switches.iter().for_each(StopSwitch::stop);
            }
        });
    });

    // Effects run in the browser only. A file chosen before the script was there is taken up now.
    Effect::new(move |_| {
        is_scripted.set(true);
        add_chosen();
    });
    // A file alone goes on by itself; several are looked at one after the other.
    let navigate = use_navigate();
    Effect::new(move |_| {
        if let [item] = items.read().as_slice()
            && let UploadState::Done(upload) = &*item.state.read()
        {
            navigate(&ImportForm::of(upload).address(), Default::default());
        }
    });

    let on_drop = move |event: ev::DragEvent| {
        event.prevent_default();
        is_over.set(false);
        add(event.data_transfer().and_then(|data| data.files()));
    };
    let on_submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        add_chosen();
    };
    view! {
        <form
            class="upload stack"
            action=Upload::url()
            method="post"
            enctype="multipart/form-data"
            on:submit=on_submit
            on:dragover=move |event| {
                event.prevent_default();
                is_over.set(true);
            }
            on:dragleave=move |_| is_over.set(false)
            on:drop=on_drop
        >
            <div class="drop-zone" class:is-over=is_over class:is-scripted=is_scripted>
                <svg class="drop-zone-mark" viewBox="0 0 24 24" width="32" height="32" aria-hidden="true">
                    <path d="M12 16V4m0 0L7 9m5-5 5 5M4 15v3a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-3" />
                </svg>
                <input
                    class="drop-zone-input"
                    type="file"
                    id="file"
                    name="file"
                    accept=ACCEPTED
                    required
                    // A plain form sends one file.
                    multiple=is_scripted
                    node_ref=input
                    aria-describedby="file-help"
                    on:change=move |_| add_chosen()
                />
                <label class="drop-zone-words" for="file">
                    "Drop a file here, or " <span class="drop-zone-choose">"choose one"</span>
                </label>
                <p class="soft small" id="file-help">
                    {format!(
                        "CSV, TSV, JSON, JSON Lines, Parquet or Excel (.xlsx), also in gzip, zstd or zip, up to {}.",
                        format::bytes(MAX_UPLOAD_BYTES as f64),
                    )}
                </p>
            </div>
            <div hidden=is_scripted>
                <Button kind=ButtonKind::Primary type_="submit">
                    "Upload"
                </Button>
            </div>
            {error_of_plain_form().map(|error| view! { <ErrorNotice error /> })}
        </form>
        <Show when=move || !items.read().is_empty()>
            <ul class="uploads" aria-label="Uploads">
                <For each=move || items.get() key=|item| item.key let:item>
                    <UploadItem stop=move || stop(item.key) item=item.clone() />
                </For>
            </ul>
        </Show>
        <EarlierUploads items />
    }
    .into_any()
}

/// Sends what waits, one file after the other: together they would only be slower each.
fn send_waiting(items: RwSignal<Vec<Item>>, outbox: StoredValue<SendOption<Outbox>>) {
    let begins = Outbox::update(outbox, |outbox| !std::mem::replace(&mut outbox.is_sending, true));
    if begins != Some(true) {
        return;
    }
    spawn_local(async move {
        loop {
            let next = Outbox::update(outbox, |outbox| {
                let next = outbox.waiting.pop_front();
                outbox.is_sending = next.is_some();
                next.and_then(|(key, file)| Some((key, file, outbox.switches.get(key)?.clone())))
            });
            let Some(Some((key, file, switch))) = next else { return };
            let state = items.with_untracked(|items| items.iter().find(|item| item.key == key).map(|item| item.state));
            if let Some(state) = state {
                send_file(&file, state, &switch).await;
            }
        }
    });
}

/// What the server said to a form that was sent without the script: it stands in the address.
fn error_of_plain_form() -> Option<ApiError> {
    let error = use_context::<ServerActionError>().filter(|error| error.path() == Upload::PATH)?;
    Some(ServerFnUrlError::<ApiError>::decode_err(error.err()))
}

#[component]
fn UploadItem(item: Item, stop: impl Fn() + Copy + Send + Sync + 'static) -> impl IntoView {
    let Item { file_name, bytes, state, .. } = item;
    let share = move || match &*state.read() {
        UploadState::Sending(sent) => Some(sent.share()),
        UploadState::Broken { share, .. } => Some(*share),
        UploadState::Done(_) => Some(1.0),
        _ => Some(0.0),
    };
    let heading = {
        let file_name = file_name.clone();
        Memo::new(move |_| match &*state.read() {
            UploadState::Waiting => format!("{file_name} waits"),
            UploadState::Sending(_) | UploadState::Broken { .. } => format!("Uploading {file_name}"),
            UploadState::Done(_) => format!("{file_name} is there"),
            UploadState::Failed(_) | UploadState::Stopped => format!("{file_name} was not uploaded"),
        })
    };
    let numbers = move || match &*state.read() {
        UploadState::Sending(sent) => {
            let mut words = format!("{} of {}", format::bytes(sent.bytes), format::bytes(sent.total));
            if let Some(rate) = sent.rate() {
                let seconds_left = (sent.total - sent.bytes) / rate;
                words += &format!(" · {}/s · {} left", format::bytes(rate), format::duration(seconds_left));
            }
            words
        }
        UploadState::Broken { share, seconds_left } => {
            format!("The connection broke at {:.0} %; trying again in {seconds_left} s", 100.0 * share)
        }
        _ => format::bytes(bytes),
    };
    let is_failed = move || matches!(*state.read(), UploadState::Failed(_));
    let is_broken = move || matches!(*state.read(), UploadState::Broken { .. });
    let done = Memo::new(move |_| match &*state.read() {
        UploadState::Done(upload) => Some(upload.clone()),
        _ => None,
    });
    view! {
        <li class="upload-progress">
            // The numbers change too often to be read out; screen readers ask the bar for them.
            <p class="upload-progress-name" role="status">
                {heading}
            </p>
            <Show when=move || !is_failed()>
                <ProgressBar value=Signal::derive(share) label=heading />
                <p class="small number" class:soft=move || !is_broken() class:upload-broken=is_broken>
                    {numbers}
                </p>
            </Show>
            {move || match &*state.read() {
                UploadState::Failed(error) => Some(view! { <ErrorNotice error=error.clone() /> }),
                _ => None,
            }}
            <div class="row">
                {move || match done.get() {
                    Some(upload) => {
                        view! {
                            <ButtonLink href=ImportForm::of(&upload).address() kind=ButtonKind::Primary>
                                "Look at it"
                            </ButtonLink>
                        }
                            .into_any()
                    }
                    None => {
                        let words = move || if is_failed() { "Remove from the list" } else { "Stop the upload" };
                        view! { <Button on:click=move |_| stop()>{words}</Button> }.into_any()
                    }
                }}
            </div>
        </li>
    }
    .into_any()
}

/// Files that this browser has sent before, in full or in part, and that have not become datasets.
#[component]
fn EarlierUploads(items: RwSignal<Vec<Item>>) -> impl IntoView {
    let found = RwSignal::new(Vec::<(RememberedUpload, UploadStatus)>::new());
    Effect::new(move |_| {
        spawn_local(async move {
            let switch = StopSwitch::default();
            for known in remembered::all().into_iter().rev() {
                let url = format!("/uploads/{}", known.upload);
                match send("GET", &url, Content::Nothing, &switch, |_| {}).await {
                    Ok(answer) if answer.status == 200 => {
                        if let Ok(status) = serde_json::from_str(&answer.text) {
                            let _ = found.try_update(|found| found.push((known, status)));
                        }
                    }
                    Ok(answer) if answer.status == 404 => remembered::forget(&known.upload),
                    _ => {}
                }
            }
        });
    });
    let is_under_way = move |known: &RememberedUpload| {
        items.read().iter().any(|item| item.file_name == known.file_name && item.bytes == known.bytes)
    };
    let shown = move || found.get().into_iter().filter(|(known, _)| !is_under_way(known)).collect::<Vec<_>>();
    let forget = move |upload: String| {
        remembered::forget(&upload);
        found.update(|found| found.retain(|(known, _)| known.upload != upload));
    };
    view! {
        <Show when=move || !shown().is_empty()>
            <Card title="Uploaded earlier">
                <ul class="earlier-uploads">
                    <For each=shown key=|(known, _)| known.upload.clone() let((known, status))>
                        <li>
                            <div>
                                <strong>{known.file_name.clone()}</strong>
                                <p class="soft small">{earlier_words(&status)}</p>
                            </div>
                            <div class="row">
                                {(status.received >= status.bytes)
                                    .then(|| {
                                        let href = ImportForm::of(&known.upload).address();
                                        view! { <ButtonLink href>"Look at it"</ButtonLink> }
                                    })}
                                <Button
                                    kind=ButtonKind::Quiet
                                    on:click=move |_| forget(known.upload.clone())
                                >
                                    "Forget"
                                </Button>
                            </div>
                        </li>
                    </For>
                </ul>
            </Card>
        </Show>
    }
    .into_any()
}

fn earlier_words(status: &UploadStatus) -> String {
    if status.received >= status.bytes {
        return format!("{}, all of it is there.", format::bytes(status.bytes as f64));
    }
    format!(
        "{} of {} are there. Choose the same file again, and it goes on from there.",
        format::bytes(status.received as f64),
        format::bytes(status.bytes as f64)
    )
}
