use super::open::OpenDataset;
use super::versions::VERSIONS_SHOWN;
use super::words;
use crate::components::{ButtonKind, ButtonLink, ReviewerField};
use leptos::prelude::*;

/// The choice of a version and what can be done with the dataset.
#[component]
pub fn HeaderActions(dataset: OpenDataset) -> impl IntoView {
    let id = dataset.id;
    let train = Signal::derive(move || match dataset.is_newest() {
        true => format!("/runs/new?dataset={id}"),
        false => format!("/runs/new?dataset={id}&dataset_version={}", dataset.shown.get()),
    });
    let export = move || format!("/datasets/{id}/export.csv?version={}", dataset.shown.get());
    view! {
        <div class="dataset-actions">
            <ReviewerField name=dataset.reviewer />
            <VersionMenu dataset />
            // A file to be saved: left to the browser.
            <a class="button" href=export rel="external" download="">
                "Export CSV"
            </a>
            <ButtonLink href=format!("/datasets/new?into={id}")>"Add a file"</ButtonLink>
            <ButtonLink href=train kind=ButtonKind::Primary>
                "Fine-tune on this"
            </ButtonLink>
        </div>
    }
    .into_any()
}

/// The latest versions as links, folded away; the page lists all of them.
#[component]
fn VersionMenu(dataset: OpenDataset) -> impl IntoView {
    let menu = NodeRef::<leptos::html::Details>::new();
    let close = move || {
        if let Some(menu) = menu.get_untracked() {
            menu.set_open(false);
        }
    };
    let entries = move || {
        let (shown, newest) = (dataset.shown.get(), dataset.newest.get());
        dataset
            .versions
            .value
            .get()
            .into_iter()
            .take(VERSIONS_SHOWN)
            .map(|version| {
                let href = match version.number == newest {
                    true => format!("/datasets/{}", dataset.id),
                    false => format!("/datasets/{}?version={}", dataset.id, version.number),
                };
                view! {
                    <li>
                        <a href=href aria-current=(version.number == shown).then_some("true") on:click=move |_| close()>
                            <span class="menu-name">{format!("Version {}", version.number)}</span>
                            <span class="small soft">{words::cause(&version.cause)}</span>
                        </a>
                    </li>
                }
            })
            .collect_view()
    };
    let on_key = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Escape" {
            close();
        }
    };
    view! {
        <details class="menu" node_ref=menu on:keydown=on_key>
            <summary class="button">
                {move || {
                    let (shown, newest) = (dataset.shown.get(), dataset.newest.get());
                    if shown == newest { format!("Version {shown}, newest") } else { format!("Version {shown} of {newest}") }
                }}
            </summary>
            <ul class="menu-list" aria-label="Versions">
                {entries}
            </ul>
        </details>
    }
    .into_any()
}
