//! One dataset: its health, charts, findings with their repairs, rows, versions, and checks of its labels.

mod actions;
mod charts;
mod findings;
mod health;
mod label_checks;
mod news;
mod open;
mod rejected;
mod rows;
mod versions;
mod words;

use crate::api::versions::{DatasetPageData, get_dataset_page, restore_version};
use crate::components::{Button, ButtonLink, ErrorNotice, Loading, Notice, PageHeader, Tone};
use crate::error::ApiError;
use crate::while_shown::while_shown;
use actions::HeaderActions;
use charts::DatasetCharts;
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::version::VersionNumber;
use findings::Findings;
use health::HealthCard;
use label_checks::LabelChecks;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_params_map, use_query_map};
use news::NewsBar;
use open::{Examined, OpenDataset};
use rejected::RejectedRows;
use rows::DatasetRows;
use versions::Versions;

#[component]
pub fn DatasetPage() -> impl IntoView {
    let params = use_params_map();
    let query = use_query_map();
    let id = Memo::new(move |_| params.read().get("id").and_then(|id| id.parse::<DatasetId>().ok()));
    let data = Resource::new_blocking(while_shown(id), move |id| {
        // Another version of the same dataset is shown without fetching all of it again.
        let version = version_asked(&query.read_untracked());
        async move {
            match id {
                Some(id) => get_dataset_page(id, version).await,
                None => {
                    Err(ApiError::from(UserError::not_found("Datasets are numbered; this address holds no number.")))
                }
            }
        }
    });
    view! {
        <Transition fallback=|| view! { <Loading what="the dataset" /> }>
            {move || {
                data.get()
                    .map(|data| match data {
                        Ok(data) => view! { <Dataset data /> }.into_any(),
                        Err(error) => view! { <NoDataset error /> }.into_any(),
                    })
            }}
        </Transition>
    }
    .into_any()
}

/// The version that the address asks for.
fn version_asked(query: &leptos_router::params::ParamsMap) -> Option<VersionNumber> {
    query.get("version").and_then(|version| version.parse().ok())
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
    .into_any()
}

#[component]
fn Dataset(data: DatasetPageData) -> impl IntoView {
    let DatasetPageData { summary, versions, examination, runs, checks } = data;
    let query = use_query_map();
    let asked = Memo::new(move |_| version_asked(&query.read()));
    let dataset = OpenDataset::new(summary.id, versions, asked);
    let examined = Examined::watch(dataset, examination);
    let subtitle = format!(
        "From {}: texts in “{}”, labels in “{}”.",
        summary.file_name, summary.text_column, summary.label_column
    );
    view! {
        <PageHeader title=summary.name.clone() parent=("/datasets", "Datasets") subtitle=subtitle>
            <HeaderActions dataset />
        </PageHeader>
        <div class="stack-loose dataset-page">
            <OlderVersion dataset />
            <HealthCard dataset examined rejected=summary.rejected />
            <DatasetCharts dataset examined />
            <Findings dataset examined />
            <DatasetRows dataset examined />
            <Versions dataset />
            {(summary.rejected > 0).then(|| view! { <RejectedRows id=summary.id total=summary.rejected /> })}
            <LabelChecks dataset runs checks />
        </div>
        <NewsBar dataset />
    }
    .into_any()
}

/// Says so where somebody looks at what is not the newest.
#[component]
fn OlderVersion(dataset: OpenDataset) -> impl IntoView {
    let restore = Action::new(move |number: &VersionNumber| {
        let (number, by) = (*number, dataset.by());
        async move {
            let outcome = restore_version(dataset.id, number, by).await;
            let is_done = outcome.is_ok();
            dataset.take_in(outcome);
            is_done
        }
    });
    let navigate = use_navigate();
    Effect::new(move |_| {
        if restore.value().get() == Some(true) {
            navigate(&format!("/datasets/{}", dataset.id), NavigateOptions { scroll: false, ..Default::default() });
        }
    });
    move || {
        let (shown, newest) = (dataset.shown.get(), dataset.newest.get());
        (shown != newest).then(|| {
            view! {
                <Notice tone=Tone::Info title=format!("This is version {shown}")>
                    <p>"Versions never change, so rows cannot be edited here. Going back makes a new version with these rows."</p>
                    <div class="notice-actions">
                        <ButtonLink href=format!("/datasets/{}", dataset.id)>
                            {format!("To the newest, version {newest}")}
                        </ButtonLink>
                        <span class="no-script-hidden">
                            <Button
                                pending=restore.pending()
                                on:click=move |_| {
                                    restore.dispatch(dataset.shown.get_untracked());
                                }
                            >
                                "Go back to this one"
                            </Button>
                        </span>
                    </div>
                </Notice>
            }
        })
    }
}
