use super::ChartCard;
use crate::charts::parallel::{PARALLEL_ID, has_lines, in_words};
use crate::polled::Polled;
use domain::sweep::SweepDetail;
use leptos::prelude::*;

#[cfg(feature = "hydrate")]
fn draw(sweep: SweepDetail, trouble: RwSignal<Option<String>>) {
    crate::charts::still::draw(PARALLEL_ID, trouble, move |palette, _| {
        crate::charts::parallel::option(&sweep, palette)
    });
}

/// Nothing is drawn outside the browser.
#[cfg(not(feature = "hydrate"))]
fn draw(_sweep: SweepDetail, _trouble: RwSignal<Option<String>>) {}

/// One line per run from its settings to its score. It is drawn again when a score has changed, not at every look.
#[component]
pub fn ParallelChart(polled: Polled<SweepDetail>) -> impl IntoView {
    let trouble = RwSignal::new(None::<String>);
    let drawn = Memo::new(move |_| without_progress(&polled.value.read()));
    move || {
        let sweep = drawn.get();
        has_lines(&sweep).then(|| {
            let words = in_words(&sweep);
            // Effects run in the browser only.
            Effect::new(move |_| draw(sweep.clone(), trouble));
            view! {
                <ChartCard title="Settings and scores" id=PARALLEL_ID words trouble>
                    <ul class="chart-legend sweep-legend">
                        <li>
                            <span class="legend-mark is-second" aria-hidden="true"></span>
                            "best by validation"
                        </li>
                        <li>
                            <span class="legend-mark is-first" aria-hidden="true"></span>
                            "others"
                        </li>
                        <li>
                            <span class="legend-mark is-muted is-dashed" aria-hidden="true"></span>
                            "stopped at a rung"
                        </li>
                    </ul>
                </ChartCard>
            }
        })
    }
}

/// What the chart does not show is the same at every look.
fn without_progress(sweep: &SweepDetail) -> SweepDetail {
    let mut sweep = sweep.clone();
    (sweep.progress, sweep.seconds_left) = (0.0, None);
    for trial in &mut sweep.trials {
        trial.progress = 0.0;
    }
    sweep
}
