use crate::charts::curve::XAxis;
use crate::charts::overlay::{Overlay, name};
use crate::charts::still::draw_linked;
use crate::components::{Card, ChartFigure, Notice, Segmented, Tone, label_class};
use domain::runs_comparison::ComparedRun;
use leptos::prelude::*;

/// The curves of all runs over each other; the place under the pointer is the same in all charts.
#[component]
pub fn CurvesCard(runs: Vec<ComparedRun>) -> impl IntoView {
    let axis = RwSignal::new(XAxis::Step.as_str().to_string());
    let trouble = RwSignal::new(None::<String>);
    let legend = runs
        .iter()
        .enumerate()
        .map(|(index, run)| view! { <li class=format!("label-name {}", label_class(index))>{name(run)}</li> })
        .collect_view();
    let shown: Vec<Overlay> = Overlay::ALL.into_iter().filter(|chart| chart.has_points(&runs)).collect();
    let figures = shown
        .iter()
        .map(|chart| {
            let words = chart.in_words(&runs);
            view! { <ChartFigure id=chart.id() title=chart.title() words=Signal::stored(words) /> }
        })
        .collect_view();
    let none = shown.is_empty();
    let runs = StoredValue::new(runs);
    // Effects run in the browser only, after the page has been taken over.
    Effect::new(move |_| {
        for chart in shown.clone() {
            draw_linked(chart.id(), trouble, move |palette, inks| {
                let x = XAxis::parse(&axis.read()).unwrap_or_default();
                runs.with_value(|runs| chart.option(runs, x, palette, inks))
            });
        }
    });
    let axes = vec![("step", "Step"), ("epoch", "Epoch"), ("time", "Time")];
    view! {
        <Card title="Curves">
            <div class="stack">
                {none.then(|| view! { <p class="soft">"None of these runs has begun to train."</p> })}
                <div class="row-between chart-controls">
                    <Segmented legend="Horizontal axis" name="compare-axis" options=axes value=axis />
                    <ul class="chart-legend">{legend}</ul>
                </div>
                {move || {
                    trouble
                        .get()
                        .map(|trouble| {
                            view! {
                                <Notice tone=Tone::Warning title="No charts">
                                    <p>{trouble}</p>
                                </Notice>
                            }
                        })
                }}
                <div class="chart-grid">{figures}</div>
            </div>
        </Card>
    }
    .into_any()
}
