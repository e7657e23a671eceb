mod queue;
pub mod sweeps;

use crate::api::sweeps::{RUNS_ON_A_PAGE, RunsPageData, SWEEPS_ON_A_PAGE, list_runs_and_sweeps};
use crate::components::{
    BeforeAfter, Button, ButtonKind, ButtonLink, CleanlinessBadge, EmptyState, ErrorNotice, Loading, PageHeader, Pager,
    ProgressBar, StatusPill, TableScroll, TimeStamp,
};
use crate::format;
use crate::while_shown::while_shown;
use domain::cleanliness::Score;
use domain::run::{RunId, RunStatus, RunSummary};
use domain::runs_comparison::{FEWEST_RUNS, MOST_RUNS};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use queue::QueueCard;
use std::collections::BTreeSet;
use std::time::Duration;
use sweeps::SweepTable;

/// How often a list is fetched again while a run in it moves.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// All runs, newest first.
#[component]
pub fn RunsPage() -> impl IntoView {
    let query = use_query_map();
    // In the address pages count from 1.
    let page_of = move |name: &str| {
        query.read().get(name).and_then(|page| page.parse::<u64>().ok()).unwrap_or(1).saturating_sub(1)
    };
    let place = Memo::new(move |_| (page_of("page"), page_of("sweeps")));
    let data = Resource::new(while_shown(place), |(page, sweeps_page)| list_runs_and_sweeps(page, sweeps_page));
    // Something in the list is under way, or could not be looked at just now.
    let moves = move || match data.get() {
        Some(Ok(data)) => {
            let of_sweeps = data.sweeps.iter().flat_map(|(_, members)| members);
            data.runs.iter().chain(of_sweeps).any(|run| !run.status.is_settled())
        }
        Some(Err(_)) => true,
        None => false,
    };
    look_again_while(moves, move || data.refetch());
    let chosen = RwSignal::new(BTreeSet::new());
    view! {
        <PageHeader title="Runs" subtitle=Some("Every fine-tuning, waiting, under way or done.".to_string())>
            <ButtonLink href="/sweeps/new">"New sweep"</ButtonLink>
            <ButtonLink href="/runs/new" kind=ButtonKind::Primary>
                "New run"
            </ButtonLink>
        </PageHeader>
        <Transition fallback=|| {
            view! { <Loading what="runs" /> }
        }>
            {move || {
                data.get()
                    .map(|data| match data {
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        Ok(data) if data.total_runs == 0 && data.total_sweeps == 0 && data.queue.paused.is_none() => view! { <NoRuns /> }.into_any(),
                        Ok(data) => view! { <AllRuns data chosen /> }.into_any(),
                    })
            }}
        </Transition>
    }
    .into_any()
}

/// Runs that belong together as one line each, and the others one by one.
#[component]
fn AllRuns(data: RunsPageData, chosen: Chosen) -> impl IntoView {
    let RunsPageData { page, runs, total_runs, sweeps_page, sweeps, total_sweeps, queue } = data;
    view! {
        <div class="stack-loose">
            <QueueCard queue />
            {(!sweeps.is_empty()).then(|| view! { <SweepTable sweeps /> })}
            <Pager
                page=sweeps_page
                page_size=SWEEPS_ON_A_PAGE
                total=total_sweeps
                what="sweeps"
                href=move |to| address(page, to)
            />
            {(!runs.is_empty()).then(|| view! { <ComparableRuns runs chosen /> })}
            <Pager
                page
                page_size=RUNS_ON_A_PAGE
                total=total_runs
                what="runs"
                href=move |to| address(to, sweeps_page)
            />
        </div>
    }
    .into_any()
}

/// Pages counted from 0; in the address they count from 1.
fn address(page: u64, sweeps_page: u64) -> String {
    match (page, sweeps_page) {
        (0, 0) => "/runs".to_string(),
        (page, 0) => format!("/runs?page={}", page + 1),
        (page, sweeps_page) => format!("/runs?page={}&sweeps={}", page + 1, sweeps_page + 1),
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

/// The runs that are ticked to be compared.
type Chosen = RwSignal<BTreeSet<RunId>>;

/// The table with a box to tick for each run; a plain form, which works without a script.
#[component]
fn ComparableRuns(runs: Vec<RunSummary>, chosen: Chosen) -> impl IntoView {
    let words = move || match chosen.read().len() {
        0 | 1 => "Compare".to_string(),
        number => format!("Compare {number} runs"),
    };
    let hint = move || {
        let number = chosen.read().len();
        (!(FEWEST_RUNS..=MOST_RUNS).contains(&number))
            .then(|| format!("Tick {FEWEST_RUNS} to {MOST_RUNS} runs to compare them."))
    };
    let is_alone = runs.len() < FEWEST_RUNS;
    if is_alone {
        return view! { <RunTable runs /> }.into_any();
    }
    view! {
        <form class="stack" method="get" action="/compare" aria-label="Runs to compare">
            <RunTable runs chosen />
            <div class="row">
                <Button type_="submit">{words}</Button>
                <span class="small soft" role="status">
                    {hint}
                </span>
            </div>
        </form>
    }
    .into_any()
}

/// Runs as a table, with links to their pages and, where they can be chosen, a box to tick.
#[component]
pub fn RunTable(runs: Vec<RunSummary>, #[prop(optional)] chosen: Option<Chosen>) -> impl IntoView {
    // Keyed by all that a row shows: one that has changed is made anew, and the others keep their ticks.
    let rows = view! {
        <For each=move || runs.clone() key=|run| format!("{run:?}") children=move |run| view! { <RunRow run chosen /> } />
    };
    let choose = chosen.map(|_| {
        view! {
            <th scope="col">
                <span class="visually-hidden">"Compare"</span>
            </th>
        }
    });
    view! {
        <section class="card">
            <TableScroll label="Runs">
                <table class="table table-restack run-table">
                    <thead>
                        <tr>
                            {choose}
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
fn RunRow(run: RunSummary, chosen: Option<Chosen>) -> impl IntoView {
    let id = run.id;
    let choose = chosen.map(|chosen| {
        let tick = move |event| {
            let is_ticked = event_target_checked(&event);
            chosen.update(|chosen| {
                if is_ticked {
                    chosen.insert(id)
                } else {
                    chosen.remove(&id)
                };
            });
        };
        view! {
            <td class="choose">
                <input
                    type="checkbox"
                    name="runs"
                    value=id.to_string()
                    aria-label=format!("Compare {}", run.name)
                    prop:checked=move || chosen.read().contains(&id)
                    on:change=tick
                />
            </td>
        }
    });
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
            {choose}
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
