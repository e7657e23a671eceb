//! The models that runs can begin from: what is there, what is on its way, and how another one comes here.

mod account;
mod add;
mod card;
mod catalogue;
mod check;
mod download;

use crate::api::models::{AddModel, ModelsPageData, get_models_page, list_models};
use crate::components::{ErrorNotice, Loading, PageHeader};
use crate::polled::poll;
use account::AccountCard;
use add::AddCard;
use catalogue::Catalogue;
use leptos::prelude::*;

#[component]
pub fn ModelsPage() -> impl IntoView {
    let data = Resource::new_blocking(|| (), |()| get_models_page());
    view! {
        <PageHeader
            title="Models"
            subtitle=Some("Bases to fine-tune and adapters to go on from, out of the Hub or from the server's disk.".to_string())
        />
        <Suspense fallback=|| {
            view! { <Loading what="models" /> }
        }>
            {move || Suspend::new(async move {
                match data.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(data) => view! { <Models data /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn Models(data: ModelsPageData) -> impl IntoView {
    let models = poll(data.models, list_models, |models| models.iter().any(|model| model.status.is_moving()));
    let account = RwSignal::new(data.account);
    let endpoint = Signal::derive(move || account.read().endpoint.clone());
    let add = ServerAction::<AddModel>::new();
    models.look_after(*add);
    view! {
        <div class="models">
            <div class="stack-loose">
                <AddCard add models=models.value />
                <Catalogue models endpoint />
            </div>
            <aside class="models-side">
                <AccountCard account />
            </aside>
        </div>
    }
    .into_any()
}
