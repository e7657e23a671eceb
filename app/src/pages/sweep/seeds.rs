use super::super::runs::sweeps::mean_and_deviation;
use super::ChartCard;
use crate::api::sweeps::get_seed_curves;
use crate::charts::band::in_words;
use crate::components::{Card, Stat, Stats};
use crate::polled::Polled;
use crate::while_shown::while_shown;
use domain::sweep::{BandPoint, SweepDetail, Trial, spread};
use leptos::prelude::*;

#[cfg(feature = "hydrate")]
fn draw(id: &'static str, points: Vec<BandPoint>, trouble: RwSignal<Option<String>>) {
    crate::charts::still::draw(id, trouble, move |palette, _| crate::charts::band::option(&points, palette));
}

/// Nothing is drawn outside the browser.
#[cfg(not(feature = "hydrate"))]
fn draw(_id: &'static str, _points: Vec<BandPoint>, _trouble: RwSignal<Option<String>>) {}

/// The scores of several seeds as one: mean and standard deviation, and the curves as a band.
#[component]
pub fn SeedScores(polled: Polled<SweepDetail>) -> impl IntoView {
    let score = move |value: fn(&Trial) -> Option<f64>| {
        Signal::derive(move || mean_and_deviation(spread(polled.value.read().trials.iter().filter_map(value))))
    };
    let count = move |value: fn(&Trial) -> Option<f64>| {
        Signal::derive(move || {
            let seeds = polled.value.read().trials.iter().filter_map(value).count();
            Some(format!("of {seeds} seeds"))
        })
    };
    let id = polled.value.read_untracked().summary.id;
    // The curves grow by looks at the validation rows and by runs that end: no need to fetch them every second.
    let grown = Memo::new(move |_| {
        let sweep = polled.value.read();
        let of = |trial: &Trial| (trial.status.as_str(), trial.validation_macro_f1.map(f64::to_bits));
        sweep.trials.iter().map(of).collect::<Vec<_>>()
    });
    let curves = Resource::new(while_shown(grown), move |_| get_seed_curves(id));
    let trouble = RwSignal::new(None::<String>);
    view! {
        <Card title="Mean and standard deviation" note="Over the seeds, on the same rows.">
            <Stats>
                <Stat
                    name="Test accuracy"
                    value=score(|trial| trial.test_accuracy)
                    note=count(|trial| trial.test_accuracy)
                />
                <Stat
                    name="Test macro-F1"
                    value=score(|trial| trial.test_macro_f1)
                    note=count(|trial| trial.test_macro_f1)
                />
                <Stat
                    name="Best validation macro-F1"
                    value=score(|trial| trial.validation_macro_f1)
                    note=count(|trial| trial.validation_macro_f1)
                />
            </Stats>
        </Card>
        <Transition>
            {move || Suspend::new(async move {
                curves
                    .await
                    .ok()
                    .map(|curves| {
                        view! {
                            <BandCard title="Training loss, smoothed" id="chart-seeds-loss" points=curves.loss trouble />
                            <BandCard
                                title="Macro-F1 on the validation rows"
                                id="chart-seeds-macro-f1"
                                points=curves.macro_f1
                                trouble
                            />
                        }
                    })
            })}
        </Transition>
    }
    .into_any()
}

#[component]
fn BandCard(
    title: &'static str,
    id: &'static str,
    points: Vec<BandPoint>,
    trouble: RwSignal<Option<String>>,
) -> impl IntoView {
    if points.is_empty() {
        return ().into_any();
    }
    let words = in_words(title, &points);
    Effect::new(move |_| draw(id, points.clone(), trouble));
    view! {
        <ChartCard title id words=words.clone() trouble>
            <p class="small soft">{words}</p>
        </ChartCard>
    }
    .into_any()
}
