use super::open::OpenDataset;
use super::words;
use crate::api::versions::undo_version;
use crate::components::{Button, Fold, TimeStamp};
use crate::format;
use domain::version::{DatasetVersion, VersionNumber};
use leptos::prelude::*;

/// Versions that stand in sight; earlier ones are folded away.
pub const VERSIONS_SHOWN: usize = 20;

/// How the dataset came to be what it is: one entry per version, newest first.
#[component]
pub fn Versions(dataset: OpenDataset) -> impl IntoView {
    let undo = Action::new(move |number: &VersionNumber| {
        let (number, by) = (*number, dataset.by());
        async move { dataset.take_in(undo_version(dataset.id, number, by).await) }
    });
    let entries = move || {
        let (newest, shown) = (dataset.newest.get(), dataset.shown.get());
        let entry = |version: &DatasetVersion| {
            let (is_newest, is_shown) = (version.number == newest, version.number == shown);
            view! { <VersionEntry dataset version=version.clone() is_newest is_shown undo /> }
        };
        let versions = dataset.versions.value.read();
        let (latest, earlier) = versions.split_at(versions.len().min(VERSIONS_SHOWN));
        let latest = latest.iter().map(entry).collect_view();
        let fold = (!earlier.is_empty()).then(|| {
            let summary = format::counted(earlier.len() as u64, "earlier version", "earlier versions");
            let earlier = earlier.iter().map(entry).collect_view();
            view! {
                <Fold summary>
                    <ol class="timeline">{earlier}</ol>
                </Fold>
            }
        });
        view! {
            <ol class="timeline">{latest}</ol>
            {fold}
        }
    };
    view! {
        <section class="card" id="versions" aria-labelledby="versions-title">
            <header class="card-head">
                <h2 class="card-title" id="versions-title">
                    "Versions"
                </h2>
                <p class="card-note">"None ever changes. A run keeps to the one that it was started on."</p>
            </header>
            {entries}
        </section>
    }
    .into_any()
}

#[component]
fn VersionEntry(
    dataset: OpenDataset,
    version: DatasetVersion,
    is_newest: bool,
    is_shown: bool,
    undo: Action<VersionNumber, ()>,
) -> impl IntoView {
    let number = version.number;
    // The first has nothing before it.
    let can_undo = number > 1;
    let pending = Signal::derive(move || undo.pending().get() && undo.input().get() == Some(number));
    let hash: String = version.hash.chars().take(12).collect();
    let href = match is_newest {
        true => format!("/datasets/{}", dataset.id),
        false => format!("/datasets/{}?version={number}", dataset.id),
    };
    let runs = match version.runs {
        0 => None,
        runs => Some(format::counted(runs, "run uses it", "runs use it")),
    };
    view! {
        <li class="timeline-entry" class:is-shown=is_shown>
            <div class="timeline-words">
                <p class="timeline-title">
                    <strong>{format!("Version {number}")}</strong>
                    " "
                    {words::cause(&version.cause)}
                </p>
                <p class="small soft timeline-facts">
                    <span>{format!("by {}", version.by)}</span>
                    <TimeStamp at_ms=version.at_ms />
                    <span>{format::counted(version.rows, "row", "rows")}</span>
                    {runs.map(|runs| view! { <span>{runs}</span> })}
                    <span class="mono" title=version.hash.clone()>
                        {hash}
                    </span>
                </p>
                <p class="timeline-changes small">{tally(&version)}</p>
            </div>
            <div class="row timeline-actions">
                {(!is_shown).then(|| view! { <a class="button button-quiet" href=href>"Look at it"</a> })}
                {can_undo
                    .then(|| {
                        view! {
                            <Button pending on:click=move |_| { undo.dispatch(number); }>
                                "Undo"
                                <span class="visually-hidden">{format!(" version {number}")}</span>
                            </Button>
                        }
                    })}
            </div>
        </li>
    }
    .into_any()
}

/// What changed, each number behind its sign.
fn tally(version: &DatasetVersion) -> impl IntoView + use<> {
    let counts = [
        ("tally is-added", "+", version.added, "added"),
        ("tally is-removed", "\u{2212}", version.removed, "removed"),
        ("tally", "~", version.relabelled, "relabelled"),
        ("tally", "~", version.rewritten, "rewritten"),
    ];
    counts
        .into_iter()
        .filter(|(_, _, count, _)| *count > 0)
        .map(|(class, sign, count, what)| {
            view! { <span class=class>{format!("{sign}{} {what}", format::count(count))}</span> }
        })
        .collect_view()
}
