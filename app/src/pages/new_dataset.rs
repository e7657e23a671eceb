//! From a file to a dataset: upload it or fetch it from the Hub, then confirm on a preview what was detected.

mod confirm;
mod destination;
mod drop_zone;
mod from_hub;
mod labels;
mod reading;
mod remembered;
mod request;
mod rows;
mod sending;
mod text;

use confirm::Confirm;
use drop_zone::DropZone;
use from_hub::{FromHub, HubDatasetFiles, HubFetching};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

use crate::components::PageHeader;

/// What the address asks for.
#[derive(Clone, PartialEq)]
enum Step {
    /// `?upload=ID`: confirm how it is read.
    Confirm(String),
    /// `?fetch=ID`: files come from the Hub.
    Fetch(String),
    /// `?hub=owner/name`: which of its files.
    Hub(String),
    Begin,
}

/// The page of a new dataset, and of a file that is added to one (`?into=ID`).
#[component]
pub fn NewDatasetPage() -> impl IntoView {
    let query = use_query_map();
    let step = Memo::new(move |_| {
        let query = query.read();
        let asked =
            |field: &str| query.get(field).map(|words| words.trim().to_string()).filter(|words| !words.is_empty());
        asked("upload")
            .or_else(|| asked("form[upload]"))
            .map(Step::Confirm)
            .or_else(|| asked("fetch").map(Step::Fetch))
            .or_else(|| asked("hub").map(Step::Hub))
            .unwrap_or(Step::Begin)
    });
    let subtitle = move || {
        Some(match &*step.read() {
            Step::Confirm(_) => "Step 2 of 2: see how the file is read, and say which column is which.".to_string(),
            Step::Fetch(_) => "Step 1 of 2: the files are fetched from the Hub.".to_string(),
            Step::Hub(_) => "Step 1 of 2: choose files of a dataset on the Hub.".to_string(),
            Step::Begin => "Step 1 of 2: upload a file with texts and their labels.".to_string(),
        })
    };
    view! {
        <PageHeader title="New dataset" parent=("/datasets", "Datasets") subtitle=Signal::derive(subtitle) />
        {move || match step.get() {
            Step::Confirm(upload) => view! { <Confirm upload /> }.into_any(),
            Step::Fetch(fetch) => view! { <HubFetching fetch /> }.into_any(),
            Step::Hub(address) => view! { <HubDatasetFiles address /> }.into_any(),
            Step::Begin => {
                view! {
                    <div class="stack-loose new-dataset">
                        <DropZone />
                        <FromHub />
                        <ExampleFile />
                    </div>
                }
                    .into_any()
            }
        }}
    }
}

/// What a file looks like that works at once.
#[component]
fn ExampleFile() -> impl IntoView {
    view! {
        <section class="upload-example">
            <h2>"What the file should look like"</h2>
            <p class="soft">
                "One row per text, with its label in a column of its own. Other columns may be there; you choose what counts on the next page, where you also see how the file was read. Rows without a text or a label are listed with their line and left out."
            </p>
            <pre class="mono" tabindex="0" aria-label="Example of a file">
                "headline,label\n\"Orders rose by a third, the company said\",positive\nThe board meets again on 12 May,neutral\nProfit fell short of what analysts expected,negative\n"
            </pre>
        </section>
    }
}
