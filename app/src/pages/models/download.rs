use crate::components::ProgressBar;
use crate::format;
use domain::catalogue::{DownloadProgress, ModelStatus, ModelSummary};
use domain::hub::{FileProgress, FileState};
use leptos::prelude::*;

/// How far a download is, in all and file by file.
#[component]
pub fn Download(model: Memo<Option<ModelSummary>>, status: Memo<ModelStatus>) -> impl IntoView {
    let share = Signal::derive(move || model.read().as_ref().and_then(share_done));
    let label = Signal::derive(move || {
        let model = model.read();
        format!("Download of {}", model.as_ref().map(format::model_name).unwrap_or_default())
    });
    let words =
        Memo::new(move |_| model.read().as_ref().map(|model| in_words(model, status.get())).unwrap_or_default());
    let files = Memo::new(move |_| {
        let model = model.read();
        let download = model.as_ref().and_then(|model| model.download.as_ref());
        download.map(|download| download.files.clone()).unwrap_or_default()
    });
    let names = Memo::new(move |_| files.read().iter().map(|file| file.name.clone()).collect::<Vec<_>>());
    let summary = Memo::new(move |_| {
        let files = files.read();
        let done = files.iter().filter(|file| file.state == FileState::Done).count();
        format!("{done} of {} done", format::counted(files.len() as u64, "file", "files"))
    });
    view! {
        <div class="stack download">
            <ProgressBar value=share label />
            <p class="small number">{words}</p>
            <Show when=move || !names.read().is_empty()>
                <details class="fold" open>
                    <summary class="fold-summary">{summary}</summary>
                    <ul class="file-lines fold-body" tabindex="0" aria-label="Files of the download">
                        <For each=move || names.get() key=Clone::clone let:name>
                            <File files name />
                        </For>
                    </ul>
                </details>
            </Show>
        </div>
    }
    .into_any()
}

#[component]
fn File(files: Memo<Vec<FileProgress>>, name: String) -> impl IntoView {
    let file = {
        let name = name.clone();
        Memo::new(move |_| files.read().iter().find(|file| file.name == name).cloned())
    };
    let share = Signal::derive(move || file.read().as_ref().map(|file| share_of(file.done_bytes, file.bytes)));
    let state = move || file.read().as_ref().map(|file| state_in_words(file.state));
    let bytes = move || {
        file.read().as_ref().map(|file| match file.state {
            FileState::Done => format::bytes(file.bytes as f64),
            _ => of_in_words(file.done_bytes, file.bytes),
        })
    };
    view! {
        <li class="file-line">
            <span class="file-name mono">{name.clone()}</span>
            <span class="soft small">{state}</span>
            <span class="number small">{bytes}</span>
            <ProgressBar value=share label=Signal::stored(name) />
        </li>
    }
    .into_any()
}

fn share_done(model: &ModelSummary) -> Option<f64> {
    (model.total_bytes > 0).then(|| share_of(model.done_bytes, model.total_bytes))
}

fn share_of(done: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { done as f64 / all as f64 }
}

fn of_in_words(done: u64, all: u64) -> String {
    format!("{} of {}", format::bytes(done as f64), format::bytes(all as f64))
}

/// `3.2 GB of 15.0 GB, 85.0 MB/s, 2 min 20 s left`.
fn in_words(model: &ModelSummary, status: ModelStatus) -> String {
    let mut words = of_in_words(model.done_bytes, model.total_bytes);
    match (status, &model.download) {
        (ModelStatus::Paused, _) => words.push_str(", paused"),
        (ModelStatus::Downloading, Some(DownloadProgress { bytes_per_second, seconds_left, .. })) => {
            words.push_str(&format!(", {}/s", format::bytes(*bytes_per_second)));
            if let Some(seconds) = seconds_left {
                words.push_str(&format!(", {} left", format::duration(*seconds)));
            }
        }
        _ => {}
    }
    words
}

fn state_in_words(state: FileState) -> &'static str {
    match state {
        FileState::Waiting => "waiting",
        FileState::Downloading => "downloading",
        FileState::Verifying => "verifying",
        FileState::Done => "done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::catalogue::ModelKind;

    #[test]
    fn a_download_in_words() {
        let mut model = ModelSummary {
            id: 1,
            kind: ModelKind::Base,
            status: ModelStatus::Downloading,
            source: "o/n".into(),
            from_hub: true,
            commit: None,
            info: None,
            adapter: None,
            has_chat_template: false,
            total_bytes: 2048,
            done_bytes: 512,
            download: Some(DownloadProgress { files: vec![], bytes_per_second: 256.0, seconds_left: Some(6.0) }),
            failure: None,
            added_at_ms: 0,
            runs: 0,
        };
        assert_eq!(in_words(&model, ModelStatus::Downloading), "512 B of 2.0 KB, 256 B/s, 6.0 s left");
        assert_eq!(in_words(&model, ModelStatus::Paused), "512 B of 2.0 KB, paused");
        assert_eq!(share_done(&model), Some(0.25));
        model.total_bytes = 0;
        assert_eq!(share_done(&model), None);
    }
}
