mod rejected;
mod rows;

use crate::api::datasets::get_dataset;
use crate::components::{
    ButtonKind, ButtonLink, Card, ErrorNotice, LabelChart, Loading, PageHeader, Stat, Stats, TimeStamp,
};
use crate::error::ApiError;
use crate::format;
use domain::dataset::{DatasetId, DatasetSummary};
use domain::error::UserError;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use rejected::RejectedRows;
use rows::DatasetRows;

/// One dataset: its counts, its rows, and the rows that were left out.
#[component]
pub fn DatasetPage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.read().get("id").and_then(|id| id.parse::<DatasetId>().ok()));
    let dataset = Resource::new_blocking(
        move || id.get(),
        |id| async move {
            match id {
                Some(id) => get_dataset(id).await,
                None => {
                    Err(ApiError::from(UserError::not_found("Datasets are numbered; this address holds no number.")))
                }
            }
        },
    );
    view! {
        <Transition fallback=|| view! { <Loading what="the dataset" /> }>
            {move || {
                dataset
                    .get()
                    .map(|dataset| match dataset {
                        Ok(dataset) => view! { <Dataset dataset /> }.into_any(),
                        Err(error) => view! { <NoDataset error /> }.into_any(),
                    })
            }}
        </Transition>
    }
}

#[component]
fn NoDataset(error: ApiError) -> impl IntoView {
    super::not_found::set_status(&error);
    view! {
        <PageHeader title="Dataset" parent=("/datasets", "Datasets") />
        <ErrorNotice error>
            <ButtonLink href="/datasets">"All datasets"</ButtonLink>
        </ErrorNotice>
    }
}

#[component]
fn Dataset(dataset: DatasetSummary) -> impl IntoView {
    let id = dataset.id;
    let subtitle = format!(
        "From {}: texts in “{}”, labels in “{}”.",
        dataset.file_name, dataset.text_column, dataset.label_column
    );
    let rejected = dataset.rejected;
    let label_names: Vec<String> = dataset.labels.iter().map(|count| count.label.clone()).collect();
    let label_count = dataset.labels.len().to_string();
    view! {
        <PageHeader title=dataset.name.clone() parent=("/datasets", "Datasets") subtitle=subtitle>
            <ButtonLink href=format!("/runs/new?dataset={id}") kind=ButtonKind::Primary>
                "Fine-tune on this"
            </ButtonLink>
        </PageHeader>
        <div class="stack-loose">
            <div class="dataset-top">
                <Card title="Rows per label">
                    <LabelChart labels=dataset.labels />
                </Card>
                <Card title="In short">
                    <Stats>
                        <Stat name="Rows" value=format::count(dataset.rows) />
                        <Stat name="Labels" value=label_count />
                        <Stat name="Rejected" value=format::count(rejected) />
                    </Stats>
                    <p class="soft small">"Imported " <TimeStamp at_ms=dataset.created_at_ms /></p>
                </Card>
            </div>
            {(rejected > 0).then(|| view! { <RejectedRows id total=rejected /> })}
            <DatasetRows id labels=label_names />
        </div>
    }
}
