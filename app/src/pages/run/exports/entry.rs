use super::ExportActions;
use super::form::{merge_title, title};
use super::push::{PushForm, PushStanding, Pusher};
use crate::components::{Ask, Button, ButtonKind, ExportPill, Notice, ProgressBar, TimeStamp, Tone};
use crate::format;
use domain::catalogue::{ExportFile, ExportId, ExportStatus, ExportSummary};
use domain::export::{ExportKind, ParityReport};
use domain::run::RunId;
use leptos::prelude::*;
use leptos_router::location::Url;

/// One export: how far it is, how it compares with the run, its files, and the way to the Hub.
#[component]
pub fn Export(
    run: RunId,
    /// As it stands now; `None` never, for an export that is there.
    export: Memo<Option<ExportSummary>>,
    pusher: Pusher,
    actions: ExportActions,
) -> impl IntoView {
    let Some(first) = export.get_untracked() else { return ().into_any() };
    let id = first.id;
    let status = Memo::new(move |_| export.read().as_ref().map_or(ExportStatus::Waiting, |export| export.status));
    let failure = Memo::new(move |_| export.read().as_ref().and_then(|export| export.failure.clone()));
    let parity = Memo::new(move |_| export.read().as_ref().and_then(|export| export.parity.clone()));
    let files = Memo::new(move |_| export.read().as_ref().map(|export| export.files.clone()).unwrap_or_default());
    let push = Memo::new(move |_| export.read().as_ref().and_then(|export| export.push.clone()));
    let is_ready = move || status.get() == ExportStatus::Ready;
    let merged = (first.kind != ExportKind::Adapter).then(|| format!("merged {}", merge_title(first.merge_into)));
    let name = title(first.kind);
    view! {
        <li class="export" aria-label=name>
            <header class="row-between">
                <div class="row">
                    <h3>{name}</h3>
                    <span role="status">
                        <ExportPill status />
                    </span>
                    <span class="small soft">
                        {merged.map(|merged| format!("{merged}, "))}
                        <TimeStamp at_ms=first.created_at_ms />
                    </span>
                </div>
                <Remove run id name actions />
            </header>
            <Show when=move || status.get().is_moving()>
                <Progress export status name />
            </Show>
            {move || failure.get().map(|reason| view! {
                <Notice tone=Tone::Bad title="This export failed">
                    <p>{reason}</p>
                </Notice>
            })}
            {move || parity.get().map(|report| view! { <Parity report /> })}
            <Show when=is_ready>
                {move || view! { <Files run id files=files.get() /> }}
                {move || push.get().map(|push| view! { <PushStanding push /> })}
                <PushForm run id push pusher=pusher.clone() action=actions.push />
            </Show>
        </li>
    }
    .into_any()
}

#[component]
fn Progress(export: Memo<Option<ExportSummary>>, status: Memo<ExportStatus>, name: &'static str) -> impl IntoView {
    let share = Signal::derive(move || {
        let export = export.read();
        let export =
            export.as_ref().filter(|export| export.status == ExportStatus::Writing && export.total_bytes > 0)?;
        Some(export.done_bytes as f64 / export.total_bytes as f64)
    });
    let words = move || match status.get() {
        ExportStatus::Waiting => "Waits for the device.".to_owned(),
        ExportStatus::Writing => {
            let export = export.read();
            let (done, total) = export.as_ref().map_or((0, 0), |export| (export.done_bytes, export.total_bytes));
            format!("Writing: {} of {}.", format::bytes(done as f64), format::bytes(total as f64))
        }
        ExportStatus::Checking => "Written. It is loaded again and scores the run's test rows.".to_owned(),
        ExportStatus::Ready | ExportStatus::Failed => String::new(),
    };
    view! {
        <ProgressBar value=share label=Signal::stored(format!("Export: {name}")) />
        <p class="small number">{words}</p>
    }
    .into_any()
}

/// Whether the export answers as the run did.
#[component]
fn Parity(report: ParityReport) -> impl IntoView {
    let tone = if report.changed_labels == 0 { Tone::Good } else { Tone::Warning };
    view! {
        <Notice tone>
            <p>{parity_in_words(&report)}</p>
        </Notice>
    }
    .into_any()
}

fn parity_in_words(report: &ParityReport) -> String {
    let rows = match report.rows {
        1 => "the one test row".to_owned(),
        rows => format!("the {} test rows", format::count(rows)),
    };
    let difference = difference_in_words(report.largest_probability_difference);
    match report.changed_labels {
        0 => format!("On {rows} the exported model answers as the run did: {difference}, no label changed."),
        changed => format!(
            "On {rows} the exported model gives {} than the run did; {difference}.",
            format::counted(changed, "other answer", "other answers")
        ),
    }
}

/// A probability's difference with as many digits as it has to say.
fn difference_in_words(difference: f64) -> String {
    match difference {
        d if d < 0.000_05 => "no probability differs by as much as 0.0001".to_owned(),
        d if d < 0.001 => format!("largest difference of a probability {d:.4}"),
        d => format!("largest difference of a probability {d:.3}"),
    }
}

#[component]
fn Files(run: RunId, id: ExportId, files: Vec<ExportFile>) -> impl IntoView {
    let files = files
        .into_iter()
        .map(|file| {
            let href = format!("/runs/{run}/exports/{id}/{}", Url::escape(&file.name));
            view! {
                <li class="file-line">
                    // Left to the browser: it is a file, no page of the app.
                    <a class="file-name mono" href=href rel="external" download=file.name.clone()>
                        {file.name.clone()}
                    </a>
                    <span></span>
                    <span class="number">{format::bytes(file.bytes as f64)}</span>
                </li>
            }
        })
        .collect_view();
    view! { <ul class="file-lines">{files}</ul> }.into_any()
}

#[component]
fn Remove(run: RunId, id: ExportId, name: &'static str, actions: ExportActions) -> impl IntoView {
    let remove = actions.remove;
    let removing = Signal::derive(move || remove.input().read().as_ref().is_some_and(|asked| asked.id == id));
    view! {
        <Ask
            id=format!("remove-export-{id}")
            button="Remove"
            button_label=format!("Remove the export: {name}")
            title="Remove this export?"
        >
            <p>"Its files are deleted from the server. The run stays, and can be exported again. What was pushed to the Hub stays there."</p>
            {move || remove.value().get().and_then(Result::err).map(|error| view! {
                <p class="field-error" role="alert">{error.message()}</p>
            })}
            <ActionForm action=remove>
                <input type="hidden" name="run" value=run.to_string() />
                <input type="hidden" name="id" value=id.to_string() />
                <Button type_="submit" kind=ButtonKind::Danger pending=removing>
                    "Remove it"
                </Button>
            </ActionForm>
        </Ask>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_is_told_in_words() {
        let report = |changed_labels, largest_probability_difference| ParityReport {
            rows: 1200,
            largest_probability_difference,
            mean_probability_difference: 0.0,
            changed_labels,
        };
        assert_eq!(
            parity_in_words(&report(0, 0.0021)),
            "On the 1,200 test rows the exported model answers as the run did: largest difference of a probability \
             0.002, no label changed."
        );
        assert!(parity_in_words(&report(0, 0.0)).contains("no probability differs"));
        assert_eq!(
            parity_in_words(&report(3, 0.2)),
            "On the 1,200 test rows the exported model gives 3 other answers than the run did; largest difference of a \
             probability 0.200."
        );
    }
}
