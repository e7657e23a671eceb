//! One sweep: how far it is, its runs with the best marked, and their settings in one picture; or one recipe with several
//! seeds: mean, deviation and curves.

mod parallel;
mod seeds;
mod trials;

use super::runs::sweeps::SweepPill;
use crate::api::sweeps::{CancelSweep, ResumeSweep, get_sweep};
use crate::components::{
    Button, ButtonKind, ButtonLink, Card, ChartSaves, ErrorNotice, Loading, PageHeader, ProgressBar, Stat, Stats,
};
use crate::error::ApiError;
use crate::format;
use crate::polled::{Polled, poll};
use crate::while_shown::while_shown;
use domain::error::UserError;
use domain::run::RunStatus;
use domain::sweep::{RungUnit, SweepDetail, SweepId, SweepKind, SweepStatus};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use parallel::ParallelChart;
use seeds::SeedScores;
use trials::TrialTable;

#[component]
pub fn SweepPage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.read().get("id").and_then(|id| id.parse::<SweepId>().ok()));
    let data = Resource::new_blocking(while_shown(id), |id| async move {
        match id {
            Some(id) => get_sweep(id).await,
            None => {
                Err(ApiError::from(UserError::not_found("A sweep's address ends in its number; this one does not.")))
            }
        }
    });
    view! {
        <Suspense fallback=|| {
            view! { <Loading what="sweep" /> }
        }>
            {move || Suspend::new(async move {
                match data.await {
                    Ok(sweep) => view! { <Sweep sweep /> }.into_any(),
                    Err(error) => view! { <NoSweep error /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn NoSweep(error: ApiError) -> impl IntoView {
    super::not_found::set_status(&error);
    view! {
        <PageHeader title="Sweep" parent=("/runs", "Runs") />
        <ErrorNotice error>
            <ButtonLink href="/runs">"To the runs"</ButtonLink>
        </ErrorNotice>
    }
    .into_any()
}

#[component]
fn Sweep(sweep: SweepDetail) -> impl IntoView {
    let id = sweep.summary.id;
    let kind = sweep.summary.kind;
    let (name, dataset) = (sweep.summary.name.clone(), sweep.summary.dataset_name.clone());
    let subtitle = match kind {
        SweepKind::Search => format!("Sweep · {dataset}"),
        SweepKind::Seeds => format!("One recipe, several seeds · {dataset}"),
    };
    let moves = |sweep: &SweepDetail| {
        sweep.summary.status == SweepStatus::Working || sweep.trials.iter().any(|trial| !trial.status.is_settled())
    };
    let polled = poll(sweep, move || get_sweep(id), moves);
    let cancel = ServerAction::<CancelSweep>::new();
    let resume = ServerAction::<ResumeSweep>::new();
    polled.look_after(*cancel);
    polled.look_after(*resume);
    let refused = move || {
        let error = |result: Option<Result<(), ApiError>>| result.and_then(Result::err);
        error(cancel.value().get()).or_else(|| error(resume.value().get()))
    };
    let status = Memo::new(move |_| polled.value.read().summary.status);
    view! {
        <PageHeader title=name parent=("/runs", "Runs") subtitle=Some(subtitle)>
            <div class="run-actions">
                <Show when=move || status.get() == SweepStatus::Cancelled>
                    <ActionForm action=resume>
                        <input type="hidden" name="id" value=id.to_string() />
                        <Button type_="submit" kind=ButtonKind::Primary pending=resume.pending()>
                            "Take it up again"
                        </Button>
                    </ActionForm>
                </Show>
                <Show when=move || status.get() == SweepStatus::Working>
                    <ActionForm action=cancel>
                        <input type="hidden" name="id" value=id.to_string() />
                        <Button type_="submit" kind=ButtonKind::Danger pending=cancel.pending()>
                            "Stop all of it"
                        </Button>
                    </ActionForm>
                </Show>
            </div>
        </PageHeader>
        <div class="stack-loose">
            {move || refused().map(|error| view! { <ErrorNotice error /> })}
            {move || polled.lost.get().map(|error| view! { <ErrorNotice error /> })}
            <Standing polled status />
            {match kind {
                SweepKind::Seeds => view! { <SeedScores polled /> }.into_any(),
                SweepKind::Search => view! { <ParallelChart polled /> }.into_any(),
            }}
            <TrialTable polled />
        </div>
    }
    .into_any()
}

/// Status, share done, and what is left.
#[component]
fn Standing(polled: Polled<SweepDetail>, status: Memo<SweepStatus>) -> impl IntoView {
    let share = Signal::derive(move || Some(polled.value.read().progress));
    let runs = move || {
        let sweep = polled.value.read();
        let finished = sweep.trials.iter().filter(|trial| trial.status == RunStatus::Finished).count();
        format!("{finished} of {} finished", sweep.trials.len())
    };
    let left = move || {
        let seconds = polled.value.read().seconds_left;
        seconds.map_or_else(|| "–".to_string(), format::duration)
    };
    let best = move || {
        let sweep = polled.value.read();
        let best = sweep.best.and_then(|place| sweep.trials.get(place));
        best.and_then(|trial| trial.validation_macro_f1).map_or_else(|| "–".to_string(), |score| format!("{score:.3}"))
    };
    let best_note = move || polled.value.read().best.map(|place| format!("run number {}", place + 1));
    let rungs = move || rungs_in_words(&polled.value.read());
    view! {
        <section class="card" aria-label="Where the sweep stands">
            <div class="stack">
                <div class="row-between">
                    <span role="status">
                        <SweepPill status=Signal::derive(move || status.get()) />
                    </span>
                    <span class="run-standing-words">{runs}</span>
                </div>
                <ProgressBar value=share label=Signal::stored("Training of the whole sweep".to_string()) />
                <Stats>
                    <Stat name="Time left" value=Signal::derive(left) note=Some("all runs together".to_string()) />
                    <Stat
                        name="Best validation macro-F1"
                        value=Signal::derive(best)
                        note=Signal::derive(best_note)
                    />
                </Stats>
                {move || rungs().map(|words| view! { <p class="small soft">{words}</p> })}
            </div>
        </section>
    }
    .into_any()
}

fn rungs_in_words(sweep: &SweepDetail) -> Option<String> {
    let halving = sweep.space.halving.as_ref()?;
    let unit = match halving.unit {
        RungUnit::Epochs => "epoch",
        RungUnit::Steps => "step",
    };
    let rungs: Vec<String> = halving.rungs.iter().map(u64::to_string).collect();
    Some(format!(
        "Successive halving: one run of {} goes on at {unit} {}; {} of {} decided. Runs are chosen by macro-F1 on the \
         validation rows, never by the test rows.",
        halving.keep_one_of,
        rungs.join(", "),
        sweep.rungs_done,
        format::counted(rungs.len() as u64, "rung", "rungs"),
    ))
}

/// A card with a chart's frame, where there is something to draw.
#[component]
fn ChartCard(
    title: &'static str,
    id: &'static str,
    #[prop(into)] words: String,
    trouble: RwSignal<Option<String>>,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <Card title=title>
            <figure class="chart-panel is-wide">
                <span class="chart-head">
                    <ChartSaves id title />
                </span>
                <div class="chart no-script-hidden" id=id role="img" aria-label=words></div>
                {children.map(|children| children())}
            </figure>
            {move || trouble.get().map(|trouble| view! { <p class="small soft">{trouble}</p> })}
        </Card>
    }
    .into_any()
}
