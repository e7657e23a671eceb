mod confirm;
mod drop_zone;
mod sending;

use confirm::Confirm;
use drop_zone::DropZone;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

use crate::components::PageHeader;

/// From a file to a dataset in two steps: upload, then confirm on a preview (`?upload=ID`) what was guessed.
#[component]
pub fn NewDatasetPage() -> impl IntoView {
    let query = use_query_map();
    let upload = Memo::new(move |_| query.read().get("upload").filter(|upload| !upload.is_empty()));
    let subtitle = move || {
        Some(match upload.read().is_some() {
            true => "Step 2 of 2: say which column is which.".to_string(),
            false => "Step 1 of 2: upload a file with texts and their labels.".to_string(),
        })
    };
    view! {
        <PageHeader title="New dataset" parent=("/datasets", "Datasets") subtitle=Signal::derive(subtitle) />
        {move || match upload.get() {
            Some(upload) => view! { <Confirm upload /> }.into_any(),
            None => view! { <DropZone /> }.into_any(),
        }}
    }
}
