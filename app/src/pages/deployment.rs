//! One deployment: how it does, which version answers and answered, who may see it, and how to ask it.

mod demos;
mod figures;
mod samples;
mod versions;

use super::deployments::VersionChoice;
use crate::api::classify::list_classifiers;
use crate::api::deployments::{DeploymentData, RemoveDeployment, get_deployment};
use crate::components::{Ask, Button, ButtonKind, Card, ErrorNotice, Loading, Notice, PageHeader, Tone};
use crate::polled::{Polled, poll};
use crate::while_shown::while_shown;
use demos::Demos;
use figures::Figures;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use samples::Samples;
use versions::Versions;

#[component]
pub fn DeploymentPage() -> impl IntoView {
    let params = use_params_map();
    let name = Memo::new(move |_| params.read().get("name").unwrap_or_default());
    let data = Resource::new_blocking(while_shown(name), |name| async move {
        Ok((get_deployment(name).await?, list_classifiers().await?))
    });
    view! {
        <Suspense fallback=|| view! { <Loading what="deployment" /> }>
            {move || Suspend::new(async move {
                let answered: Result<_, crate::error::ApiError> = data.await;
                match answered {
                    Err(error) => view! {
                        <PageHeader title="Deployment" parent=("/deployments", "Deployments") />
                        <ErrorNotice error />
                    }
                    .into_any(),
                    Ok((data, classifiers)) => {
                        view! { <DeploymentParts data choices=VersionChoice::all_of(&classifiers) /> }.into_any()
                    }
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn DeploymentParts(data: DeploymentData, choices: Vec<VersionChoice>) -> impl IntoView {
    let name = data.deployment.name.clone();
    let asked = name.clone();
    // Every second: the figures are live.
    let data = poll(data, move || get_deployment(asked.clone()), |_| true);
    let subtitle = Signal::derive(move || {
        let deployment = &data.value.read().deployment;
        let canary = deployment.canary.as_ref();
        let canary =
            canary.map_or(String::new(), |canary| format!(", and {} on {} %", canary.version_name, canary.percent));
        Some(format!("{} answers{canary}.", deployment.version_name))
    });
    view! {
        <PageHeader title=name.clone() parent=("/deployments", "Deployments") subtitle />
        <div class="stack-loose">
            <Lost data />
            <Figures data />
            <Versions data name=name.clone() choices />
            <Samples name=name.clone() />
            <Demos data name=name.clone() />
            <Removal name />
        </div>
    }
    .into_any()
}

#[component]
fn Lost(data: Polled<DeploymentData>) -> impl IntoView {
    move || {
        data.lost.get().map(|error| {
            view! {
                <Notice tone=Tone::Warning>
                    <p>"What is shown may be out of date. " {error.message()}</p>
                </Notice>
            }
        })
    }
}

#[component]
fn Removal(name: String) -> impl IntoView {
    let remove = ServerAction::<RemoveDeployment>::new();
    let refused = move || remove.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> });
    let title = format!("Remove {name}?");
    view! {
        <Card title="Remove">
            <div class="stack">
                <p class="soft">"Programs that ask this name get an error from then on. The runs stay."</p>
                <div role="alert">{refused}</div>
                <div class="row">
                    <Ask id="remove-deployment" button="Remove" button_label=title.clone() kind=ButtonKind::Danger title>
                        <p>"Its history, its figures and the links to its demos go with it."</p>
                        <ActionForm action=remove>
                            <input type="hidden" name="name" value=name />
                            <Button type_="submit" kind=ButtonKind::Danger pending=remove.pending()>
                                "Remove it"
                            </Button>
                        </ActionForm>
                    </Ask>
                </div>
            </div>
        </Card>
    }
    .into_any()
}
