use crate::api::deployments::{DeploymentData, MoveDeployment, RollBackDeployment, StartCanary, StopCanary};
use crate::api::source;
use crate::components::{Button, ButtonKind, Card, ErrorNotice, Field, TableScroll, TimeStamp};
use crate::error::ApiError;
use crate::pages::deployments::{ByField, VersionChoice, VersionField};
use crate::polled::Polled;
use domain::deployment::{Canary, Move, MoveAction};
use leptos::prelude::*;

type Outcome = Option<Result<(), ApiError>>;

/// Which version answers: moving it, trying another one out, taking it back, and the history of all that.
#[component]
pub fn Versions(data: Polled<DeploymentData>, name: String, choices: Vec<VersionChoice>) -> impl IntoView {
    let to = ServerAction::<MoveDeployment>::new();
    let back = ServerAction::<RollBackDeployment>::new();
    let start = ServerAction::<StartCanary>::new();
    let stop = ServerAction::<StopCanary>::new();
    data.look_after(*to);
    data.look_after(*back);
    data.look_after(*start);
    data.look_after(*stop);
    let refused = move || {
        // What was asked last is told of.
        let outcomes: [Outcome; 4] = [to.value().get(), back.value().get(), start.value().get(), stop.value().get()];
        outcomes.into_iter().flatten().find_map(Result::err).map(|error| view! { <ErrorNotice error /> })
    };
    let canary = Memo::new(move |_| data.value.read().deployment.canary.clone());
    let moves = Memo::new(move |_| data.value.read().deployment.moves.clone());
    let present = Memo::new(move |_| data.value.read().deployment.version);
    let previous = Memo::new(move |_| {
        data.value.read().deployment.previous().map(|entry| (entry.number, entry.version_name.clone()))
    });
    let for_move = choices.clone();
    let names = StoredValue::new(name);
    view! {
        <Card title="Version">
            <div class="stack">
                <div role="alert">{refused}</div>
                <div class="deployment-forms">
                    <ActionForm action=to attr:class="stack">
                        <input type="hidden" name="name" value=names.get_value() />
                        <ByField />
                        <VersionField id="move-with" label="Move to" choices=for_move />
                        <div class="row">
                            <Button type_="submit" kind=ButtonKind::Primary pending=to.pending()>
                                "Move"
                            </Button>
                        </div>
                    </ActionForm>
                    <ActionForm action=start attr:class="stack">
                        <input type="hidden" name="name" value=names.get_value() />
                        <ByField />
                        <VersionField id="canary-with" label="Try out" choices />
                        <Field label="Percent of the requests" id="canary-percent">
                            <input
                                class="input"
                                type="number"
                                id="canary-percent"
                                name="percent"
                                min="1"
                                max="100"
                                value="10"
                                required
                            />
                        </Field>
                        <div class="row">
                            <Button type_="submit" pending=start.pending()>
                                "Try out"
                            </Button>
                        </div>
                    </ActionForm>
                </div>
                {move || canary.get().map(|canary| view! { <OnTrial canary name=names.get_value() to stop /> })}
                {move || {
                    previous
                        .get()
                        .map(|(number, version)| {
                            let words = format!("Roll back to {version}");
                            view! { <RollBack name=names.get_value() number words back /> }
                        })
                }}
                <h3>"History"</h3>
                <TableScroll label="History">
                    <table class="table table-restack">
                        <thead>
                            <tr>
                                <th scope="col">"What"</th>
                                <th scope="col">"Version"</th>
                                <th scope="col">"By"</th>
                                <th scope="col">"When"</th>
                                <th scope="col">
                                    <span class="visually-hidden">"Go back"</span>
                                </th>
                            </tr>
                        </thead>
                        <tbody>
                            <For each=move || moves.get() key=|entry| entry.number let(entry)>
                                <HistoryRow entry present name=names.get_value() back />
                            </For>
                        </tbody>
                    </table>
                </TableScroll>
            </div>
        </Card>
    }
    .into_any()
}

/// The version that is tried out: it takes over, or it goes.
#[component]
fn OnTrial(
    canary: Canary,
    name: String,
    to: ServerAction<MoveDeployment>,
    stop: ServerAction<StopCanary>,
) -> impl IntoView {
    let name = StoredValue::new(name);
    let words = format!("{} answers {} % of the requests.", canary.version_name, canary.percent);
    view! {
        <div class="row deployment-trial">
            <span>{words}</span>
            <ActionForm action=to>
                <input type="hidden" name="name" value=name.get_value() />
                <input type="hidden" name="with" value=source::word_of(canary.version) />
                <ByField />
                <Button type_="submit" pending=to.pending()>
                    "Give it all requests"
                </Button>
            </ActionForm>
            <ActionForm action=stop>
                <input type="hidden" name="name" value=name.get_value() />
                <ByField />
                <Button type_="submit" pending=stop.pending()>
                    "Stop trying it out"
                </Button>
            </ActionForm>
        </div>
    }
    .into_any()
}

#[component]
fn RollBack(name: String, number: i64, words: String, back: ServerAction<RollBackDeployment>) -> impl IntoView {
    view! {
        <ActionForm action=back>
            <input type="hidden" name="name" value=name />
            <input type="hidden" name="to" value=number.to_string() />
            <ByField />
            <Button type_="submit" pending=back.pending()>
                {words}
            </Button>
        </ActionForm>
    }
    .into_any()
}

#[component]
fn HistoryRow(
    entry: Move,
    present: Memo<domain::catalogue::AdapterSource>,
    name: String,
    back: ServerAction<RollBackDeployment>,
) -> impl IntoView {
    let what = match entry.action {
        MoveAction::Created => "made".to_string(),
        MoveAction::Moved => "moved".to_string(),
        MoveAction::RolledBack => "rolled back".to_string(),
        MoveAction::CanaryStarted { percent } => format!("tried out on {percent} %"),
        MoveAction::CanaryStopped => "no longer tried out".to_string(),
    };
    let by = if entry.by.is_empty() { "–".to_string() } else { entry.by.clone() };
    let (number, version) = (entry.number, entry.version);
    let can_return = move || entry.action.moves_version() && present.get() != version;
    let name = StoredValue::new(name);
    view! {
        <tr>
            <th scope="row">{what}</th>
            <td data-name="Version">{entry.version_name}</td>
            <td data-name="By">{by}</td>
            <td class="soft" data-name="When">
                <TimeStamp at_ms=entry.at_ms />
            </td>
            <td>
                <Show when=can_return>
                    <RollBack name=name.get_value() number words="Go back to it".to_string() back />
                </Show>
            </td>
        </tr>
    }
    .into_any()
}
