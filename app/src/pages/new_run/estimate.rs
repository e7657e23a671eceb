use super::Draft;
use crate::api::run_form::RunForm;
use crate::api::runs::estimate_run;
use crate::components::{Card, ErrorNotice};
use crate::format;
use domain::model::Estimate;
use leptos::prelude::*;
use std::time::Duration;

/// Typing has paused when nothing changed for this long.
const PAUSE: Duration = Duration::from_millis(400);

/// Calls `act` with what `watched` says, at once and then whenever it has changed and rested. Browser only, since
/// effects run nowhere else.
pub fn after_a_pause<T: Send + Sync + 'static>(
    watched: impl Fn() -> T + Send + Sync + 'static,
    act: impl Fn(T) + Clone + Send + Sync + 'static,
) {
    Effect::new(move |before: Option<()>| {
        let now = watched();
        let act = act.clone();
        if before.is_none() {
            act(now);
            return;
        }
        if let Ok(timer) = set_timeout_with_handle(move || act(now), PAUSE) {
            on_cleanup(move || timer.clear());
        }
    });
}

/// What the run will take, as far as it can be told; the children are the way to start it.
#[component]
pub fn EstimateCard(draft: Draft, children: Children) -> impl IntoView {
    let estimate = Action::new(|form: &RunForm| estimate_run(form.clone()));
    let complete = Memo::new(move |_| draft.form.read().read().is_ok());
    after_a_pause(
        move || draft.form.get(),
        move |form| {
            if form.read().is_ok() {
                estimate.dispatch(form);
            }
        },
    );
    view! {
        <Card title="Estimate">
            <div class="stack" class:is-stale=move || !complete.get()>
                <div aria-live="polite" aria-busy=move || estimate.pending().get().to_string()>
                    {move || match estimate.value().get() {
                        None => {
                            view! { <p class="soft no-script-hidden">"Being worked out…"</p> }.into_any()
                        }
                        Some(Ok(estimate)) => view! { <Figures estimate /> }.into_any(),
                        Some(Err(error)) => view! { <ErrorNotice error /> }.into_any(),
                    }}
                </div>
                {children()}
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn Figures(estimate: Estimate) -> impl IntoView {
    let cut = (estimate.cut_rows > 0).then(|| {
        format!(
            "{} longer than the limit: the text is cut at its end, never the label.",
            format::counted(estimate.cut_rows as u64, "row is", "rows are")
        )
    });
    let lines = [
        ("Training", format::duration(estimate.train_seconds)),
        ("Scoring", format::duration(estimate.evaluate_seconds)),
        ("Memory at most", format::bytes(estimate.peak_memory_bytes as f64)),
        ("Steps", format::count(estimate.optimizer_steps)),
        ("Trained parameters", format::count(estimate.trainable_parameters)),
        ("Tokens of a row, mean", format!("{:.0}", estimate.mean_tokens)),
        ("Tokens of a row, most", format::count(estimate.longest_tokens as u64)),
        ("Shared by all rows", format::count(estimate.shared_tokens as u64)),
    ];
    let lines = lines
        .map(|(name, value)| {
            view! {
                <div class="knob-line">
                    <dt>{name}</dt>
                    <dd class="number">{value}</dd>
                </div>
            }
        })
        .collect_view();
    view! {
        <dl class="knob-lines">{lines}</dl>
        {cut.map(|cut| view! { <p class="small estimate-cut">{cut}</p> })}
    }
    .into_any()
}
