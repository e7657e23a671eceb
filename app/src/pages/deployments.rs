use crate::api::classify::Classifiers;
use crate::api::deployments::{CreateDeployment, DeploymentsData, get_deployments};
use crate::api::source;
use crate::components::{
    Button, ButtonKind, ButtonLink, Card, EmptyState, ErrorNotice, Field, Loading, PageHeader, TableScroll, TimeStamp,
};
use crate::format;
use crate::reviewer::remembered_name;
use domain::catalogue::AdapterSource;
use domain::deployment::{Deployment, MAX_NAME_BYTES};
use leptos::prelude::*;

/// All deployments, and the form for another one.
#[component]
pub fn DeploymentsPage() -> impl IntoView {
    let data = Resource::new_blocking(|| (), |()| get_deployments());
    view! {
        <PageHeader
            title="Deployments"
            subtitle=Some(
                "A name that programs ask, and the version that answers: it can be moved, tried out on a part of the requests, and taken back."
                    .to_string(),
            )
        >
            // A page of its own, outside of the app.
            <a class="button" href="/docs" rel="external">
                "The API"
            </a>
        </PageHeader>
        <Suspense fallback=|| view! { <Loading what="deployments" /> }>
            {move || Suspend::new(async move {
                match data.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(data) => view! { <Deployments data /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn Deployments(data: DeploymentsData) -> impl IntoView {
    let DeploymentsData { deployments, classifiers } = data;
    let list = match deployments.is_empty() {
        true => view! {
            <EmptyState
                title="No deployments yet"
                text="Give a finished run a name, and programs can ask it over HTTP. When a better run comes, the name moves to it and no program has to change."
            />
        }
        .into_any(),
        false => view! { <DeploymentTable deployments /> }.into_any(),
    };
    let choices = VersionChoice::all_of(&classifiers);
    view! {
        <div class="stack-loose">
            {list}
            {match choices.is_empty() {
                true => view! {
                    <p class="soft">
                        "There is nothing to deploy: no run is finished, and no adapter of the catalogue has labels. "
                        <ButtonLink href="/runs/new">"Start a run"</ButtonLink>
                    </p>
                }
                .into_any(),
                false => view! { <NewDeployment choices /> }.into_any(),
            }}
        </div>
    }
    .into_any()
}

#[component]
fn DeploymentTable(deployments: Vec<Deployment>) -> impl IntoView {
    let rows = deployments
        .into_iter()
        .map(|deployment| {
            let canary = deployment.canary.map(|canary| {
                view! { <span class="small soft">{format!("{} on {} %", canary.version_name, canary.percent)}</span> }
            });
            view! {
                <tr>
                    <th scope="row" class="main">
                        <a href=format!("/deployments/{}", deployment.name)>{deployment.name.clone()}</a>
                    </th>
                    <td data-name="Version">{deployment.version_name} {canary}</td>
                    <td class="soft" data-name="Created">
                        <TimeStamp at_ms=deployment.created_at_ms />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="card">
            <TableScroll label="Deployments">
                <table class="table table-restack">
                    <thead>
                        <tr>
                            <th scope="col">"Name"</th>
                            <th scope="col">"Version"</th>
                            <th scope="col">"Created"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </section>
    }
    .into_any()
}

#[component]
fn NewDeployment(choices: Vec<VersionChoice>) -> impl IntoView {
    let create = ServerAction::<CreateDeployment>::new();
    let refused = move || create.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> });
    view! {
        <Card title="New deployment">
            <ActionForm action=create attr:class="stack">
                <Field label="Name" id="deployment-name" help="Small letters, digits and hyphens: it stands in addresses.">
                    <input
                        class="input"
                        id="deployment-name"
                        name="name"
                        required
                        pattern="[a-z0-9][a-z0-9\\-]*"
                        maxlength=MAX_NAME_BYTES.to_string()
                        placeholder="headlines"
                        autocomplete="off"
                        aria-describedby="deployment-name-help"
                    />
                </Field>
                <VersionField id="deployment-with" label="Version" choices />
                <ByField />
                <div role="alert">{refused}</div>
                <div class="row">
                    <Button type_="submit" kind=ButtonKind::Primary pending=create.pending()>
                        "Deploy"
                    </Button>
                </div>
            </ActionForm>
        </Card>
    }
    .into_any()
}

/// One of the versions that a deployment can answer with.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionChoice {
    pub source: AdapterSource,
    pub words: String,
}

impl VersionChoice {
    /// Runs first, the newest of them first of all.
    pub fn all_of(classifiers: &Classifiers) -> Vec<Self> {
        let runs = classifiers.runs.iter().map(|run| {
            let accuracy = run.accuracy_after.map_or(String::new(), |share| format!(" ({})", format::percent(share)));
            Self { source: AdapterSource::Run(run.id), words: format!("{}{accuracy}", run.name) }
        });
        let adapters = classifiers.adapters.iter().map(|model| Self {
            source: AdapterSource::Model(model.id),
            words: format!("{}, from the catalogue", format::model_name(model)),
        });
        runs.chain(adapters).collect()
    }
}

/// The choice of a version in a form, as the field `with`.
#[component]
pub fn VersionField(id: &'static str, label: &'static str, choices: Vec<VersionChoice>) -> impl IntoView {
    let options = choices
        .into_iter()
        .map(|choice| view! { <option value=source::word_of(choice.source)>{choice.words}</option> })
        .collect_view();
    view! {
        <Field label id>
            <select class="select" id=id name="with" required>
                {options}
            </select>
        </Field>
    }
    .into_any()
}

/// Who does it, as it was typed on another page; plain forms go without.
#[component]
pub fn ByField() -> impl IntoView {
    let name = remembered_name();
    view! { <input type="hidden" name="by" prop:value=move || name.get() /> }.into_any()
}
