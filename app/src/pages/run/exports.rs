//! What a finished run can be taken away as: choose a form, watch it being written and checked, download it, or send it
//! to the Hub.

mod entry;
mod form;
mod push;

use crate::api::exports::{ExportsData, PushExport, RemoveExport, StartExport, get_exports, list_exports};
use crate::components::{Card, ErrorNotice, Loading, Notice, Tone};
use crate::error::ApiError;
use crate::polled::poll;
use domain::catalogue::{ExportId, ExportSummary, PushState};
use domain::run::RunId;
use domain::spec::TrainSpec;
use entry::Export;
use form::ExportForm;
use leptos::prelude::*;
use push::Pusher;

/// The card of a run's exports, with what it shows fetched.
#[component]
pub fn RunExports(run: RunId, spec: TrainSpec) -> impl IntoView {
    let data = Resource::new_blocking(|| (), move |()| get_exports(run));
    let spec = StoredValue::new(spec);
    view! {
        <div id="exports">
            <Card title="Take it with you" note="Written from the adapter that this run kept, then loaded again and compared with the run's own answers.">
                <Suspense fallback=|| {
                    view! { <Loading what="exports" /> }
                }>
                    {move || Suspend::new(async move {
                        match data.await {
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                            Ok(data) => view! { <Exports run data spec=spec.get_value() /> }.into_any(),
                        }
                    })}
                </Suspense>
            </Card>
        </div>
    }
    .into_any()
}

/// What can be done with an export; one of each for the whole list, so that what was refused is said once.
#[derive(Clone, Copy)]
struct ExportActions {
    remove: ServerAction<RemoveExport>,
    push: ServerAction<PushExport>,
}

#[component]
fn Exports(run: RunId, data: ExportsData, spec: TrainSpec) -> impl IntoView {
    let ExportsData { exports, account, base } = data;
    let exports = poll(exports, move || list_exports(run), |exports| exports.iter().any(moves));
    let start = ServerAction::<StartExport>::new();
    let actions = ExportActions { remove: ServerAction::new(), push: ServerAction::new() };
    exports.look_after(*start);
    exports.look_after(*actions.remove);
    exports.look_after(*actions.push);
    let refused = move || {
        let error = |result: Option<Result<(), ApiError>>| result.and_then(Result::err);
        error(actions.remove.value().get()).or_else(|| error(actions.push.value().get()))
    };
    let pusher = StoredValue::new(Pusher::of(&account));
    let ids = Memo::new(move |_| exports.value.read().iter().map(|export| export.id).collect::<Vec<_>>());
    view! {
        <div class="stack">
            <ExportForm run start spec base />
            {move || refused().map(|error| view! { <ErrorNotice error /> })}
            {move || {
                exports
                    .lost
                    .get()
                    .map(|error| {
                        view! {
                            <Notice tone=Tone::Warning title="What is shown may be out of date">
                                <p>{error.message()}</p>
                            </Notice>
                        }
                    })
            }}
            <ul class="exports">
                <For each=move || ids.get() key=|id| *id let:id>
                    <Export run export=one_of(exports.value, id) pusher=pusher.get_value() actions />
                </For>
            </ul>
        </div>
    }
    .into_any()
}

/// Something about the export changes by itself.
fn moves(export: &ExportSummary) -> bool {
    let is_pushed = |state: &PushState| matches!(state, PushState::Waiting | PushState::Pushing { .. });
    export.status.is_moving() || export.push.as_ref().is_some_and(|push| is_pushed(&push.state))
}

/// One export as it stands now; as it stood last once it is no longer in the list.
fn one_of(exports: RwSignal<Vec<ExportSummary>>, id: ExportId) -> Memo<Option<ExportSummary>> {
    Memo::new(move |before: Option<&Option<ExportSummary>>| {
        let now = exports.read().iter().find(|export| export.id == id).cloned();
        now.or_else(|| before.cloned().flatten())
    })
}
