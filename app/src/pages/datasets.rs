use crate::api::datasets::list_datasets;
use crate::components::{
    ButtonKind, ButtonLink, EmptyState, ErrorNotice, LabelBar, Loading, PageHeader, TableScroll, TimeStamp,
};
use crate::format;
use domain::dataset::DatasetSummary;
use leptos::prelude::*;

/// All datasets, newest first.
#[component]
pub fn DatasetsPage() -> impl IntoView {
    let datasets = Resource::new(|| (), |()| list_datasets());
    view! {
        <PageHeader title="Datasets" subtitle="Texts with labels, to fine-tune on and to test with.".to_string()>
            <ButtonLink href="/datasets/new" kind=ButtonKind::Primary>
                "New dataset"
            </ButtonLink>
        </PageHeader>
        <Suspense fallback=|| view! { <Loading what="datasets" /> }>
            {move || {
                datasets
                    .get()
                    .map(|datasets| match datasets {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok(datasets) if datasets.is_empty() => view! { <NoDatasets /> }.into_any(),
                        Ok(datasets) => view! { <DatasetTable datasets /> }.into_any(),
                    })
            }}
        </Suspense>
    }
}

#[component]
fn NoDatasets() -> impl IntoView {
    view! {
        <EmptyState
            title="No datasets yet"
            text="Upload a spreadsheet with a column of texts and a column of labels, saved as CSV or TSV. A few hundred rows are enough to begin with."
        >
            <ButtonLink href="/datasets/new" kind=ButtonKind::Primary>
                "Upload a file"
            </ButtonLink>
        </EmptyState>
    }
}

#[component]
fn DatasetTable(datasets: Vec<DatasetSummary>) -> impl IntoView {
    let rows = datasets.into_iter().map(|dataset| view! { <DatasetRow dataset /> }).collect_view();
    view! {
        <section class="card">
            <TableScroll label="Datasets">
                <table class="table table-restack">
                    <thead>
                        <tr>
                            <th scope="col">"Name"</th>
                            <th scope="col" class="number">
                                "Rows"
                            </th>
                            <th scope="col" class="number">
                                "Labels"
                            </th>
                            <th scope="col" class="wide">
                                "Share of each label"
                            </th>
                            <th scope="col">"Created"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </section>
    }
}

#[component]
fn DatasetRow(dataset: DatasetSummary) -> impl IntoView {
    let rejected = (dataset.rejected > 0)
        .then(|| view! { <span class="small soft">{format!("{} rejected", format::count(dataset.rejected))}</span> });
    view! {
        <tr>
            <th scope="row" class="main">
                <a href=format!("/datasets/{}", dataset.id)>{dataset.name}</a>
                <span class="small soft">{dataset.file_name}</span>
            </th>
            <td class="number" data-name="Rows">
                {format::count(dataset.rows)}
                {rejected}
            </td>
            <td class="number" data-name="Labels">
                {dataset.labels.len()}
            </td>
            <td class="wide">
                <LabelBar labels=dataset.labels />
            </td>
            <td class="soft" data-name="Created">
                <TimeStamp at_ms=dataset.created_at_ms />
            </td>
        </tr>
    }
}
