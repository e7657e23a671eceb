use crate::api::runs::list_runs;
use crate::components::{
    BeforeAfter, ButtonKind, ButtonLink, CleanlinessBadge, EmptyState, ErrorNotice, Loading, PageHeader, ProgressBar,
    StatusPill, TableScroll, TimeStamp,
};
use crate::error::ApiError;
use crate::format;
use domain::cleanliness::Score;
use domain::run::{RunStatus, RunSummary};
use leptos::prelude::*;
use std::time::Duration;

/// How often a list is fetched again while a run in it moves.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// All runs, newest first.
#[component]
pub fn RunsPage() -> impl IntoView {
    let runs = Resource::new(|| (), |()| list_runs());
    look_again_while(move || any_moves(runs.get().as_ref().map(Result::as_deref)), move || runs.refetch());
    view! {
        <PageHeader title="Runs" subtitle=Some("Every fine-tuning, waiting, under way or done.".to_string())>
            <ButtonLink href="/runs/new" kind=ButtonKind::Primary>
                "New run"
            </ButtonLink>
        </PageHeader>
        <Transition fallback=|| {
            view! { <Loading what="runs" /> }
        }>
            {move || {
                runs.get()
                    .map(|runs| match runs {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok(runs) if runs.is_empty() => view! { <NoRuns /> }.into_any(),
                        Ok(runs) => view! { <RunTable runs /> }.into_any(),
                    })
            }}
        </Transition>
    }
    .into_any()
}

/// Something in the list is under way, or could not be looked at just now.
pub fn any_moves(runs: Option<Result<&[RunSummary], &ApiError>>) -> bool {
    match runs {
        Some(Ok(runs)) => runs.iter().any(|run| !run.status.is_settled()),
        Some(Err(_)) => true,
        None => false,
    }
}

/// Calls `look` every three seconds while `moves` says so. Browser only, since effects run nowhere else.
pub fn look_again_while(
    moves: impl Fn() -> bool + Send + Sync + 'static,
    look: impl Fn() + Clone + Send + Sync + 'static,
) {
    Effect::new(move |_| {
        if !moves() {
            return;
        }
        if let Ok(timer) = set_timeout_with_handle(look.clone(), LOOK_AGAIN) {
            on_cleanup(move || timer.clear());
        }
    });
}

#[component]
fn NoRuns() -> impl IntoView {
    view! {
        <EmptyState
            title="No runs yet"
            text="A run takes a dataset, scores the base model on its test rows, fine-tunes it, and scores it again."
        >
            <ButtonLink href="/runs/new" kind=ButtonKind::Primary>
                "Start the first run"
            </ButtonLink>
        </EmptyState>
    }
    .into_any()
}

/// Runs as a table, with links to their pages.
#[component]
pub fn RunTable(runs: Vec<RunSummary>) -> impl IntoView {
    let rows = runs.into_iter().map(|run| view! { <RunRow run /> }).collect_view();
    view! {
        <section class="card">
            <TableScroll label="Runs">
                <table class="table table-restack run-table">
                    <thead>
                        <tr>
                            <th scope="col">"Name"</th>
                            <th scope="col">"Status"</th>
                            <th scope="col">"Dataset"</th>
                            <th scope="col">"Accuracy"</th>
                            <th scope="col">"Started"</th>
                            <th scope="col" class="number">
                                "Duration"
                            </th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </section>
    }
    .into_any()
}

/// A run's accuracy with the badge that says what it is worth.
#[component]
pub fn RunScore(run: RunSummary) -> impl IntoView {
    // Summaries know the macro-F1 after training alone; where it is not known, neither is the pair.
    let score = |accuracy: Option<f64>, macro_f1: Option<f64>| Some(Score { accuracy: accuracy?, macro_f1: macro_f1? });
    view! {
        <div class="score-with-badge">
            <BeforeAfter before=run.accuracy_before after=run.accuracy_after />
            <CleanlinessBadge cleanliness=run.cleanliness before=None after=score(run.accuracy_after, run.macro_f1_after) />
        </div>
    }
    .into_any()
}

#[component]
fn RunRow(run: RunSummary) -> impl IntoView {
    let duration = run
        .started_at_ms
        .zip(run.ended_at_ms)
        .map_or_else(|| "–".to_string(), |(start, end)| format::duration((end - start).max(0) as f64 / 1000.0));
    let progress = run.progress;
    let shows_progress = matches!(run.status, RunStatus::Running | RunStatus::Cancelling);
    let waits = (run.status == RunStatus::Queued && run.ahead_in_queue > 0)
        .then(|| format!("after {}", format::counted(run.ahead_in_queue, "other run", "other runs")));
    view! {
        <tr>
            <td class="main">
                <a href=format!("/runs/{}", run.id)>{run.name.clone()}</a>
            </td>
            <td>
                <div class="run-status-cell">
                    <StatusPill status=run.status />
                    {waits.map(|waits| view! { <span class="small soft">{waits}</span> })}
                    {shows_progress
                        .then(|| {
                            view! {
                                <ProgressBar
                                    value=Signal::stored(Some(progress))
                                    label=Signal::stored(format!("Training of {}", run.name))
                                />
                            }
                        })}
                </div>
            </td>
            <td data-name="Dataset">
                <a href=format!("/datasets/{}", run.dataset_id)>{run.dataset_name.clone()}</a>
            </td>
            <td data-name="Accuracy">
                <RunScore run=run.clone() />
            </td>
            <td data-name="Started">
                {match run.started_at_ms {
                    Some(at_ms) => view! { <TimeStamp at_ms /> }.into_any(),
                    None => view! { <span class="soft">"not yet"</span> }.into_any(),
                }}
            </td>
            <td class="number" data-name="Duration">
                {duration}
            </td>
        </tr>
    }
    .into_any()
}
