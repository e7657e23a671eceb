#[cfg(feature = "hydrate")]
mod browser;

use crate::charts::curve::XAxis;
use crate::charts::panel::{Ink, Panel, Stroke};
use crate::components::{Card, ChartSaves, Fold, Notice, SaveLink, Segmented, TableScroll, Tone};
use crate::format;
use crate::live::LiveRun;
use domain::run::{RunId, RunPicture};
use leptos::prelude::*;

/// How the charts are drawn, as the person has chosen.
#[derive(Clone, Copy)]
struct Look {
    axis: RwSignal<String>,
    /// Weight of the past, from 0 to below 1.
    smoothing: RwSignal<f64>,
    /// Why there are no charts, if so.
    trouble: RwSignal<Option<String>>,
}

#[cfg(feature = "hydrate")]
use browser::draw;

#[cfg(not(feature = "hydrate"))]
fn draw(_live: LiveRun, _look: Look) {}

/// The charts of a run. They grow with it; all of them share the horizontal axis, the zoom and the place of the
/// tooltip.
#[component]
pub fn RunCharts(run: RunId, live: LiveRun) -> impl IntoView {
    let look = Look {
        axis: RwSignal::new(XAxis::Step.as_str().to_string()),
        smoothing: RwSignal::new(0.6),
        trouble: RwSignal::new(None),
    };
    // Effects run in the browser only, after the page has been taken over.
    Effect::new(move |_| draw(live, look));
    let empty = Memo::new(move |_| live.picture.read().steps.is_empty());
    let axes = vec![("step", "Step"), ("epoch", "Epoch"), ("time", "Time")];
    let panels = Panel::ALL.into_iter().map(|panel| view! { <PanelView panel live /> }).collect_view();
    view! {
        <Card title="Training">
            <p class="soft" hidden=move || !empty.get()>
                "The charts begin with the first step of training."
            </p>
            <div class="stack charts" class:is-empty=empty>
                <div class="row-between chart-controls">
                    <Segmented legend="Horizontal axis" name="axis" options=axes value=look.axis />
                    <Smoothing look />
                </div>
                {move || {
                    look.trouble
                        .get()
                        .map(|trouble| {
                            view! {
                                <Notice tone=Tone::Warning title="No charts">
                                    <p>{trouble} " The figures below hold the same numbers."</p>
                                </Notice>
                            }
                        })
                }}
                <div class="chart-grid">{panels}</div>
                <p class="small soft no-script-hidden">
                    "Drag the slider under the loss, or scroll with Shift held, to zoom into all charts at once."
                </p>
                <Fold summary="Figures">
                    <Figures live />
                </Fold>
                <p class="row small save-links">
                    <span class="soft">"Save"</span>
                    <SaveLink href=format!("/runs/{run}/curves.csv") words="all steps as CSV" />
                    <SaveLink href=format!("/runs/{run}/curves.json") words="all steps as JSON" />
                </p>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn Smoothing(look: Look) -> impl IntoView {
    view! {
        <label class="smoothing">
            <span>"Smoothing"</span>
            <input
                type="range"
                min="0"
                max="0.98"
                step="0.02"
                value="0.6"
                prop:value=move || look.smoothing.get().to_string()
                on:input=move |event| {
                    if let Ok(weight) = event_target_value(&event).parse() {
                        look.smoothing.set(weight);
                    }
                }
            />
            <output class="number">{move || format!("{:.2}", look.smoothing.get())}</output>
        </label>
    }
    .into_any()
}

#[component]
fn PanelView(panel: Panel, live: LiveRun) -> impl IntoView {
    let legend = panel
        .legend()
        .iter()
        .map(|(name, ink, stroke)| {
            let ink = if *ink == Ink::First { "legend-mark is-first" } else { "legend-mark is-second" };
            let dashed = *stroke == Stroke::MarkedDashed;
            view! {
                <li>
                    <span class=ink class:is-dashed=dashed aria-hidden="true"></span>
                    {*name}
                </li>
            }
        })
        .collect_view();
    view! {
        <figure class="chart-panel" class:is-wide=panel == Panel::Loss>
            <figcaption class="chart-head">
                <h3 class="chart-title">{panel.title()}</h3>
                <ul class="chart-legend">{legend}</ul>
                <ChartSaves id=panel.id() title=panel.title() />
            </figcaption>
            <div
                class="chart"
                id=panel.id()
                role="img"
                aria-label=move || panel.in_words(&live.picture.read())
            ></div>
        </figure>
    }
    .into_any()
}

/// The numbers behind the charts at every look at the validation rows, as a table.
#[component]
fn Figures(live: LiveRun) -> impl IntoView {
    let looks = Memo::new(move |_| looks(&live.picture.read()));
    let rows = move || {
        looks
            .get()
            .into_iter()
            .map(|cells| {
                view! { <tr>{cells.map(|cell| view! { <td class="number">{cell}</td> }).collect_view()}</tr> }
            })
            .collect_view()
    };
    view! {
        <TableScroll label="Figures at every look at the validation rows">
            <table class="table">
                <thead>
                    <tr>
                        {HEADS.map(|head| view! { <th scope="col" class="number">{head}</th> }).collect_view()}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
    .into_any()
}

const HEADS: [&str; 8] =
    ["Step", "Epoch", "Training loss", "Validation loss", "Accuracy", "Macro-F1", "Learning rate", "Time"];

/// One line per look at the validation rows; the training loss is the mean since the look before.
fn looks(picture: &RunPicture) -> Vec<[String; 8]> {
    picture
        .validations
        .iter()
        .zip(&picture.training_losses)
        .map(|(look, mean)| {
            let to = picture.steps.partition_point(|point| point.step <= look.step);
            let nearest = picture.steps[..to].last();
            let rate = nearest.map_or(String::new(), |point| format!("{:.2e}", point.learning_rate));
            let best = if look.best { " (best)" } else { "" };
            [
                format::count(look.step),
                format!("{:.2}", look.epoch),
                format!("{mean:.4}"),
                format!("{:.4}", look.loss),
                format!("{:.3}", look.accuracy),
                format!("{:.3}{best}", look.macro_f1),
                rate,
                format::duration(look.elapsed_seconds),
            ]
        })
        .collect()
}
