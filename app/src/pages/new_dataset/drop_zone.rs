use super::sending::{Sending, UploadState};
use crate::api::datasets::{Upload, preview_address};
use crate::components::{Button, ButtonKind, ErrorNotice, ProgressBar};
use crate::error::ApiError;
use crate::format;
use leptos::prelude::*;
use leptos::server::ServerActionError;
use leptos::server_fn::ServerFn;
use leptos::server_fn::error::ServerFnUrlError;
use leptos::{ev, html};
use leptos_router::hooks::use_navigate;

/// The first step: a plain form with a file, which the browser's script turns into a drop zone with progress.
#[component]
pub fn DropZone() -> impl IntoView {
    let state = RwSignal::new(error_of_plain_form().map_or(UploadState::Idle, UploadState::Failed));
    let sending = StoredValue::new_local(None::<Sending>);
    let is_over = RwSignal::new(false);
    let is_scripted = RwSignal::new(false);
    let input = NodeRef::<html::Input>::new();

    let begin = move |file: Option<web_sys::File>| {
        let Some(file) = file else { return };
        match Sending::begin(&file, state) {
            Ok(begun) => sending.set_value(Some(begun)),
            Err(error) => state.set(UploadState::Failed(error)),
        }
    };
    let chosen = move || input.get_untracked().and_then(|input| input.files()).and_then(|files| files.get(0));
    // The field is emptied at once, so that choosing the same file again counts as a choice.
    let begin_chosen = move || {
        begin(chosen());
        if let Some(input) = input.get_untracked() {
            input.set_value("");
        }
    };
    let stop = move |_| {
        sending.set_value(None);
        state.set(UploadState::Idle);
    };

    // Effects run in the browser only. A file chosen before the script was there is taken up now.
    Effect::new(move |_| {
        is_scripted.set(true);
        begin_chosen();
    });
    let navigate = use_navigate();
    Effect::new(move |_| {
        if let UploadState::Done(upload) = state.get() {
            navigate(&preview_address(&upload, None), Default::default());
        }
    });

    let on_drop = move |event: ev::DragEvent| {
        event.prevent_default();
        is_over.set(false);
        begin(event.data_transfer().and_then(|data| data.files()).and_then(|files| files.get(0)));
    };
    let on_submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        begin_chosen();
    };
    let is_busy = Memo::new(move |_| !matches!(*state.read(), UploadState::Idle | UploadState::Failed(_)));

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
            <div class="drop-zone" class:is-over=is_over class:is-scripted=is_scripted hidden=is_busy>
                <svg class="drop-zone-mark" viewBox="0 0 24 24" width="32" height="32" aria-hidden="true">
                    <path d="M12 16V4m0 0L7 9m5-5 5 5M4 15v3a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-3" />
                </svg>
                <input
                    class="drop-zone-input"
                    type="file"
                    id="file"
                    name="file"
                    accept=".csv,.tsv,.txt,text/csv,text/tab-separated-values,text/plain"
                    required
                    node_ref=input
                    aria-describedby="file-help"
                    on:change=move |_| begin_chosen()
                />
                <label class="drop-zone-words" for="file">
                    "Drop a file here, or " <span class="drop-zone-choose">"choose one"</span>
                </label>
                <p class="soft small" id="file-help">
                    "CSV or TSV, up to 200 MB. The first line names the columns."
                </p>
            </div>
            <div hidden=is_scripted>
                <Button kind=ButtonKind::Primary type_="submit">
                    "Upload"
                </Button>
            </div>
            <Show when=move || is_busy.get()>
                <UploadProgress state />
                <div>
                    <Button on:click=stop>"Stop the upload"</Button>
                </div>
            </Show>
            {move || match state.get() {
                UploadState::Failed(error) => Some(view! { <ErrorNotice error /> }),
                _ => None,
            }}
        </form>
        <ExampleFile />
    }
}

/// What the server said to a form that was sent without the script: it stands in the address.
fn error_of_plain_form() -> Option<ApiError> {
    let error = use_context::<ServerActionError>().filter(|error| error.path() == Upload::PATH)?;
    Some(ServerFnUrlError::<ApiError>::decode_err(error.err()))
}

#[component]
fn UploadProgress(state: RwSignal<UploadState>) -> impl IntoView {
    let share = move || match &*state.read() {
        UploadState::Sending(sent) => Some(sent.share()),
        _ => None,
    };
    let heading = Memo::new(move |_| match &*state.read() {
        UploadState::Sending(sent) => format!("Uploading {}", sent.file_name),
        UploadState::Reading { file_name } => format!("All there. Reading {file_name}…"),
        _ => "Opening the preview…".to_string(),
    });
    let numbers = move || match &*state.read() {
        UploadState::Sending(sent) => {
            let mut words = format!("{} of {}", format::bytes(sent.bytes), format::bytes(sent.total));
            if let Some(rate) = sent.rate() {
                let seconds_left = (sent.total - sent.bytes) / rate;
                words += &format!(" · {}/s · {} left", format::bytes(rate), format::duration(seconds_left));
            }
            words
        }
        _ => String::new(),
    };
    view! {
        <div class="upload-progress">
            // The numbers change too often to be read out; screen readers ask the bar for them.
            <p class="upload-progress-name" role="status">
                {heading}
            </p>
            <ProgressBar value=Signal::derive(share) label=heading />
            <p class="soft small number">{numbers}</p>
        </div>
    }
}

/// What a file looks like that works at once.
#[component]
fn ExampleFile() -> impl IntoView {
    view! {
        <section class="upload-example">
            <h2>"What the file should look like"</h2>
            <p class="soft">
                "One row per text, with its label in a column of its own. Other columns may be there; you choose the two that count on the next page. Rows without a text or a label are listed with their line and left out."
            </p>
            <pre class="mono" tabindex="0" aria-label="Example of a file">
                "headline,label\n\"Orders rose by a third, the company said\",positive\nThe board meets again on 12 May,neutral\nProfit fell short of what analysts expected,negative\n"
            </pre>
        </section>
    }
}
