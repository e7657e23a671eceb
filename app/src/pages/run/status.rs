use super::standing::{in_words, rows_per_second, seconds_left, share_done};
use crate::components::{Pill, ProgressBar, Stat, Stats, StatusPill, TimeStamp, Tone};
use crate::format;
use crate::live::{Connection, LiveRun};
use domain::run::{RunStatus, RunSummary};
use leptos::prelude::*;

/// Where the run stands: state, what it is doing, how far, how fast, and how the page hears of it.
#[component]
pub fn RunStanding(summary: RwSignal<RunSummary>, live: LiveRun, status: Memo<RunStatus>) -> impl IntoView {
    let words = Memo::new(move |_| in_words(status.get(), &live.picture.read(), summary.read().ahead_in_queue));
    let moments = Memo::new(move |_| {
        let summary = summary.read();
        (summary.created_at_ms, summary.started_at_ms, summary.ended_at_ms)
    });
    let share = Signal::derive(move || share_done(status.get(), &live.picture.read()));
    let or_dash = |words: Option<String>| words.unwrap_or_else(|| "–".to_string());
    let left = move || or_dash(seconds_left(status.get(), &live.picture.read()).map(format::duration));
    let speed = move || or_dash(rows_per_second(status.get(), &live.picture.read()).map(|rows| format!("{rows:.1}")));
    let loss = move || or_dash(live.picture.read().last_step().map(|point| format!("{:.4}", point.loss)));
    let best = move || {
        let picture = live.picture.read();
        or_dash(picture.validations.iter().rfind(|point| point.best).map(|point| format!("{:.3}", point.macro_f1)))
    };
    let elapsed = move || or_dash(live.picture.read().last_step().map(|point| format::duration(point.elapsed_seconds)));
    let best_at = move || {
        let picture = live.picture.read();
        picture.validations.iter().rfind(|point| point.best).map(|point| format!("at step {}", point.step))
    };
    let has_steps = move || !live.picture.read().steps.is_empty();
    let is_running = move || status.get() == RunStatus::Running;
    view! {
        <section class="card run-standing" aria-label="Where the run stands">
            <div class="row-between">
                <div class="row">
                    // Only the state is read out when it changes; the words change at every step.
                    <span role="status">
                        <StatusPill status />
                    </span>
                    <span class="run-standing-words">{words}</span>
                </div>
                <ConnectionPill live />
            </div>
            <Show when=move || status.get() != RunStatus::Finished>
                <ProgressBar value=share label=words />
            </Show>
            <Stats>
                <Show when=is_running>
                    <Stat name="Time left" value=Signal::derive(left) note=Some("of this phase".to_string()) />
                    <Stat name="Rows per second" value=Signal::derive(speed) />
                </Show>
                <Show when=has_steps>
                    <Stat name="Training loss" value=Signal::derive(loss) />
                    <Stat name="Best validation macro-F1" value=Signal::derive(best) note=Signal::derive(best_at) />
                    <Stat name="Training time" value=Signal::derive(elapsed) />
                </Show>
            </Stats>
            <p class="small soft">
                {move || {
                    let (asked, started, ended) = moments.get();
                    view! {
                        "Asked for "
                        <TimeStamp at_ms=asked />
                        {started.map(|at_ms| view! { ", started " <TimeStamp at_ms /> })}
                        {ended.map(|at_ms| view! { ", ended " <TimeStamp at_ms /> })}
                        "."
                    }
                }}
            </p>
        </section>
    }
    .into_any()
}

/// Says whether what is shown is live.
#[component]
fn ConnectionPill(live: LiveRun) -> impl IntoView {
    let shown = move || match live.connection.get() {
        Connection::Still => None,
        Connection::Connecting => Some((Tone::Neutral, "connecting")),
        Connection::Live => Some((Tone::Good, "live")),
        Connection::Reconnecting => Some((Tone::Warning, "connection lost, reconnecting")),
    };
    view! {
        <span role="status" class="run-connection">
            {move || shown().map(|(tone, words)| view! { <Pill tone>{words}</Pill> })}
        </span>
    }
    .into_any()
}
