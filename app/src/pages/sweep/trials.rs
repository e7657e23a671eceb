use crate::components::{Pill, ProgressBar, SaveLink, StatusPill, TableScroll, Tone};
use crate::polled::Polled;
use domain::run::RunStatus;
use domain::runs_comparison::{FEWEST_RUNS, MOST_RUNS};
use domain::sweep::{SweepDetail, SweepKind, Trial};
use leptos::prelude::*;

/// The runs of a sweep, the best of them marked. Sorted by score once there are scores.
#[component]
pub fn TrialTable(polled: Polled<SweepDetail>) -> impl IntoView {
    let sweep = polled.value.read_untracked();
    let knobs: Vec<String> = sweep.space.dimensions.iter().map(|dimension| dimension.knob.clone()).collect();
    let is_search = sweep.summary.kind == SweepKind::Search;
    let id = sweep.summary.id;
    drop(sweep);
    let address = Memo::new(move |_| comparison_address(&polled.value.read()));
    let compare = move || {
        address
            .get()
            .map(|(runs, href)| view! { <a href=href>{format!("Compare the best {runs} that have finished")}</a> })
    };
    let heads = knobs.iter().map(|knob| view! { <th scope="col"><code>{knob.clone()}</code></th> }).collect_view();
    let rows = move || {
        let sweep = polled.value.read();
        let best = sweep.best.filter(|_| is_search);
        sorted(&sweep.trials, sweep.best)
            .into_iter()
            .map(|trial| {
                let is_best = best == Some(trial.place);
                let knobs = knobs.clone();
                view! { <TrialRow trial knobs is_best /> }
            })
            .collect_view()
    };
    view! {
        <section class="card" aria-labelledby="trials-title">
            <header class="card-head">
                <h2 class="card-title" id="trials-title">
                    "Runs"
                </h2>
                {is_search
                    .then(|| {
                        view! {
                            <p class="card-note">
                                "The best has the highest macro-F1 on the validation rows. Scores on the test rows are shown and never chosen by."
                            </p>
                        }
                    })}
            </header>
            <TableScroll label="Runs of the sweep">
                <table class="table table-restack trial-table">
                    <thead>
                        <tr>
                            <th scope="col">"Run"</th>
                            {heads}
                            <th scope="col">"Status"</th>
                            <th scope="col" class="number">
                                "Validation macro-F1"
                            </th>
                            <th scope="col" class="number">
                                "Test accuracy"
                            </th>
                            <th scope="col" class="number">
                                "Test macro-F1"
                            </th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
            <div class="row-between small">
                <span>{compare}</span>
                <span class="row save-links">
                    <span class="soft">"Save"</span>
                    <SaveLink href=format!("/sweeps/{id}/trials.csv") words="CSV" />
                    <SaveLink href=format!("/sweeps/{id}/trials.json") words="JSON" />
                </span>
            </div>
        </section>
    }
    .into_any()
}

/// The finished runs, the better ones first, as many as can be compared; `None` where there are too few.
fn comparison_address(sweep: &SweepDetail) -> Option<(usize, String)> {
    let finished = sorted(&sweep.trials, sweep.best).into_iter().filter(|trial| trial.status == RunStatus::Finished);
    let runs: Vec<String> = finished.take(MOST_RUNS).map(|trial| trial.run.to_string()).collect();
    (runs.len() >= FEWEST_RUNS).then(|| (runs.len(), format!("/compare?runs={}", runs.join(","))))
}

/// The higher the score, the further up; among equals `best` is first, which the loss has decided. Those without a score
/// come below, in their order.
fn sorted(trials: &[Trial], best: Option<usize>) -> Vec<Trial> {
    let mut trials = trials.to_vec();
    let score = |trial: &Trial| trial.validation_macro_f1.unwrap_or(f64::NEG_INFINITY);
    trials.sort_by(|one, other| {
        let out = one.dropped_at.unwrap_or(u64::MAX).cmp(&other.dropped_at.unwrap_or(u64::MAX)).reverse();
        let is_best = |trial: &Trial| Some(trial.place) == best;
        out.then(score(other).total_cmp(&score(one)))
            .then(is_best(other).cmp(&is_best(one)))
            .then(one.place.cmp(&other.place))
    });
    trials
}

#[component]
fn TrialRow(trial: Trial, knobs: Vec<String>, is_best: bool) -> impl IntoView {
    let score = |value: Option<f64>| value.map_or_else(|| "–".to_string(), |value| format!("{value:.3}"));
    let values = knobs
        .into_iter()
        .zip(trial.values.clone())
        .map(|(knob, value)| view! { <td data-name=knob><span class="figure">{shortened(&value)}</span></td> })
        .collect_view();
    let moves = matches!(trial.status, RunStatus::Running | RunStatus::Cancelling);
    let progress = moves.then(|| {
        let label = format!("Training of run number {}", trial.place + 1);
        view! { <ProgressBar value=Signal::stored(Some(trial.progress)) label=Signal::stored(label) /> }
    });
    view! {
        <tr class:is-best=is_best>
            <td class="main">
                <a href=format!("/runs/{}", trial.run)>{format!("Number {}", trial.place + 1)}</a>
                {is_best.then(|| view! { <Pill tone=Signal::stored(Tone::Good)>"best"</Pill> })}
            </td>
            {values}
            <td>
                <div class="run-status-cell">
                    {standing(&trial)}
                    {trial.note.clone().map(|note| view! { <span class="small soft">{note}</span> })}
                    {progress}
                </div>
            </td>
            <td class="number" data-name="Validation macro-F1">
                {score(trial.validation_macro_f1)}
            </td>
            <td class="number" data-name="Test accuracy">
                {score(trial.test_accuracy)}
            </td>
            <td class="number" data-name="Test macro-F1">
                {score(trial.test_macro_f1)}
            </td>
        </tr>
    }
    .into_any()
}

/// To the queue, a run that pauses or was stopped at a rung is cancelled; to its sweep it is something else.
fn standing(trial: &Trial) -> AnyView {
    match (trial.status, trial.dropped_at) {
        (RunStatus::Cancelled | RunStatus::Failed, Some(rung)) => {
            view! { <Pill>{format!("stopped at rung {rung}")}</Pill> }.into_any()
        }
        (RunStatus::Cancelled, None) if trial.progress > 0.0 => view! { <Pill>"paused"</Pill> }.into_any(),
        (status, _) => view! { <StatusPill status=Signal::stored(status) /> }.into_any(),
    }
}

/// Prompts are long.
fn shortened(value: &str) -> String {
    let words = value.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::format::excerpt(&words.replace(',', ", "), 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(place: usize, score: Option<f64>, dropped_at: Option<u64>) -> Trial {
        Trial {
            place,
            run: 1,
            name: String::new(),
            status: RunStatus::Cancelled,
            values: Vec::new(),
            dropped_at,
            note: None,
            validation_macro_f1: score,
            test_accuracy: None,
            test_macro_f1: None,
            progress: 0.5,
        }
    }

    #[test]
    fn who_came_furthest_and_scored_highest_stands_on_top() {
        let trials = [
            trial(0, Some(0.9), Some(1)),
            trial(1, Some(0.5), None),
            trial(2, Some(0.7), None),
            trial(3, None, None),
            trial(4, Some(0.4), Some(2)),
            trial(5, Some(0.7), None),
        ];
        let places = |best| sorted(&trials, best).iter().map(|trial| trial.place).collect::<Vec<_>>();
        assert_eq!(places(Some(2)), [2, 5, 1, 3, 4, 0]);
        assert_eq!(places(Some(5)), [5, 2, 1, 3, 4, 0]);
    }
}
