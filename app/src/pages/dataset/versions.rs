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
    let versions = move |from: usize, to: usize| {
        let (newest, shown) = (dataset.newest.get(), dataset.shown.get());
        let versions = dataset.versions.value.read();
        let listed = versions.iter().skip(from).take(to.saturating_sub(from)).cloned();
        listed.map(|version| (version.number == newest, version.number == shown, version)).collect::<Vec<_>>()
    };
    let entry = move |(is_newest, is_shown, version): (bool, bool, DatasetVersion)| {
        view! { <VersionEntry dataset version is_newest is_shown undo /> }
    };
    // By their numbers, so that each keeps its own buttons.
    let key = |(is_newest, is_shown, version): &(bool, bool, DatasetVersion)| (*is_newest, *is_shown, version.number);
    let earlier = Memo::new(move |_| dataset.versions.value.read().len().saturating_sub(VERSIONS_SHOWN) as u64);
    view! {
        <section class="card" id="versions" aria-labelledby="versions-title">
            <header class="card-head">
                <h2 class="card-title" id="versions-title">
                    "Versions"
                </h2>
                <p class="card-note">"None ever changes. A run keeps to the one that it was started on."</p>
            </header>
            <ol class="timeline">
                <For each=move || versions(0, VERSIONS_SHOWN) key children=entry />
            </ol>
            <Show when=move || { earlier.get() > 0 }>
                <Fold summary="Earlier versions">
                    <ol class="timeline">
                        <For each=move || versions(VERSIONS_SHOWN, usize::MAX) key children=entry />
                    </ol>
                </Fold>
            </Show>
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
