use crate::charts::evaluation::{
    COVERAGE, RELIABILITY, coverage, coverage_in_words, reliability, reliability_in_words,
};
use crate::charts::still::draw;
use crate::components::{Card, ChartFigure, Confusion, Fold, Notice, Stat, Stats, TableScroll, Tone};
use crate::format;
use domain::metrics::ConfusionMatrix;
use domain::metrics::calibration::{Coverage, calibration, coverage_at, coverage_curve};
use domain::metrics::report::{AnswerSheet, BINS, RunReport};
use domain::prediction::Prediction;
use leptos::prelude::*;

/// Thresholds that the curve is worked out at.
const STEPS: usize = 100;

/// Whether the confidence is honest, and what abstaining where it is low would buy. All of it is worked out of the answers
/// in the page.
#[component]
pub fn CalibrationCard(report: RunReport, sheet: AnswerSheet) -> impl IntoView {
    let temperature = sheet.temperature;
    let is_calibrated = RwSignal::new(temperature.is_some());
    let threshold = RwSignal::new(0_u32);
    let trouble = RwSignal::new(None::<String>);
    let truth = StoredValue::new(sheet.truth());
    let labels = StoredValue::new(sheet.labels.clone());
    let part = part_in_words(&sheet);
    let sheet = StoredValue::new(sheet);
    let answers = Memo::new(move |_| {
        let temperature = temperature.filter(|_| is_calibrated.get()).unwrap_or(1.0);
        sheet.with_value(|sheet| sheet.predictions(temperature))
    });
    let bins = Memo::new(move |_| truth.with_value(|truth| calibration(truth, &answers.read(), BINS)));
    let curve = Memo::new(move |_| truth.with_value(|truth| coverage_curve(truth, &answers.read(), STEPS)));
    let at = Memo::new(move |_| {
        truth.with_value(|truth| coverage_at(truth, &answers.read(), f64::from(threshold.get()) / 100.0))
    });
    let answered = Memo::new(move |_| {
        let least = f64::from(threshold.get()) / 100.0;
        truth.with_value(|truth| labels.with_value(|labels| answered_rows(labels, truth, &answers.read(), least)))
    });
    // Effects run in the browser only, after the page has been taken over.
    Effect::new(move |_| {
        draw(RELIABILITY, trouble, move |palette, _| reliability(&bins.read(), palette));
        draw(COVERAGE, trouble, move |palette, _| coverage(&curve.read(), &at.read(), palette));
    });
    view! {
        <Card
            title="Confidence"
            note="An honest classifier that says 80 % is right four times in five. Where it is not sure enough, it can abstain."
        >
            <div class="stack">
                <p>{temperature_in_words(&report)}</p>
                {temperature
                    .map(|temperature| {
                        view! {
                            <label class="check no-script-hidden">
                                <input
                                    type="checkbox"
                                    prop:checked=move || is_calibrated.get()
                                    checked=true
                                    on:change=move |event| is_calibrated.set(event_target_checked(&event))
                                />
                                <span>{format!("With the temperature of {temperature:.2}")}</span>
                            </label>
                        }
                    })}
                <div class="stack no-script-hidden">
                    <label class="threshold">
                        <span>"Abstain below a confidence of"</span>
                        <input
                            type="range"
                            min="0"
                            max="100"
                            step="1"
                            value="0"
                            prop:value=move || threshold.get().to_string()
                            on:input=move |event| {
                                if let Ok(percent) = event_target_value(&event).parse() {
                                    threshold.set(percent);
                                }
                            }
                        />
                        <output class="number">{move || format!("{} %", threshold.get())}</output>
                    </label>
                    <p class="small soft">
                        "Programs ask for it with " <code>{move || abstain_below(threshold.get())}</code> "."
                    </p>
                </div>
                <Abstaining at answered />
                {move || {
                    trouble
                        .get()
                        .map(|trouble| {
                            view! {
                                <Notice tone=Tone::Warning title="No charts">
                                    <p>{trouble} " The figures below hold the same numbers."</p>
                                </Notice>
                            }
                        })
                }}
                <div class="chart-grid evaluation-charts">
                    <ChartFigure
                        id=RELIABILITY
                        title="Right, by confidence"
                        words=Signal::derive(move || reliability_in_words(&bins.read()))
                    />
                    <ChartFigure
                        id=COVERAGE
                        title="What abstaining buys"
                        words=Signal::derive(move || coverage_in_words(&at.read()))
                    />
                </div>
                <p class="small soft">{move || reliability_in_words(&bins.read())}</p>
                {part.map(|part| view! { <p class="small soft">{part}</p> })}
                <Fold summary="Answered rows at this threshold">
                    {move || {
                        view! { <Confusion title="Answered rows" matrix=answered.get().confusion /> }
                    }}
                </Fold>
                <Fold summary="Figures">
                    <div class="stack">
                        {move || bin_table(&bins.read().bins)}
                        {move || curve_table(&curve.read())}
                    </div>
                </Fold>
            </div>
        </Card>
    }
    .into_any()
}

/// As it stands in a request to the API.
fn abstain_below(percent: u32) -> String {
    format!("\"abstain_below\": {:.2}", f64::from(percent) / 100.0)
}

/// What is left where answers that are not sure enough are left out.
#[derive(Clone, Debug, PartialEq)]
struct AnsweredRows {
    confusion: ConfusionMatrix,
    abstained: u64,
}

fn answered_rows(labels: &[String], truth: &[usize], answers: &[Prediction], least: f64) -> AnsweredRows {
    let mut rows = AnsweredRows { confusion: ConfusionMatrix::new(labels), abstained: 0 };
    for (truth, answer) in truth.iter().zip(answers) {
        if f64::from(answer.confidence()) >= least {
            rows.confusion.record(*truth, answer.label);
        } else {
            rows.abstained += 1;
        }
    }
    rows
}

#[component]
fn Abstaining(at: Memo<Coverage>, answered: Memo<AnsweredRows>) -> impl IntoView {
    let accuracy = move || at.read().accuracy.map_or_else(|| "–".to_string(), format::percent);
    let macro_f1 = move || match at.read().accuracy {
        Some(_) => format::percent(answered.read().confusion.macro_f1()),
        None => "–".to_string(),
    };
    view! {
        <div aria-live="polite">
            <Stats>
                <Stat name="Answered" value=Signal::derive(move || format::percent(at.read().coverage)) />
                <Stat name="Right where answered" value=Signal::derive(accuracy) />
                <Stat name="Macro-F1 where answered" value=Signal::derive(macro_f1) />
                <Stat name="Abstained" value=Signal::derive(move || {
                    format::counted(answered.read().abstained, "row", "rows")
                }) />
            </Stats>
        </div>
    }
    .into_any()
}

fn temperature_in_words(report: &RunReport) -> String {
    let (Some(temperature), Some(plain)) = (report.temperature, &report.uncalibrated) else {
        return "There were no validation rows to fit a temperature on: confidence is as the model gives it."
            .to_string();
    };
    let was = match temperature {
        t if t > 1.05 => "the model was surer than it was right",
        t if t < 0.95 => "the model was less sure than it was right",
        _ => "the model was about as sure as it was right",
    };
    format!(
        "A temperature of {temperature:.2} was fitted on the validation rows: {was}. On the test rows it takes the \
         calibration error from {} to {} and the log-loss from {:.3} to {:.3}; no answer changes.",
        format::percent(plain.calibration.ece),
        format::percent(report.after.calibration.ece),
        plain.log_loss,
        report.after.scores.log_loss
    )
}

fn part_in_words(sheet: &AnswerSheet) -> Option<String> {
    let shown = sheet.truth.len() as u64;
    (shown < sheet.of_rows).then(|| {
        format!(
            "Worked out of {} of the {} test rows, chosen evenly.",
            format::count(shown),
            format::count(sheet.of_rows)
        )
    })
}

fn bin_table(bins: &[domain::metrics::calibration::ReliabilityBin]) -> impl IntoView + use<> {
    let rows = bins
        .iter()
        .filter(|bin| bin.rows > 0)
        .map(|bin| {
            view! {
                <tr>
                    <th scope="row">{format!("{:.0} to {:.0} %", 100.0 * bin.low, 100.0 * bin.high)}</th>
                    <td class="number">{format::count(bin.rows)}</td>
                    <td class="number">{format::percent(bin.confidence)}</td>
                    <td class="number">{format::percent(bin.accuracy)}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <TableScroll label="Accuracy by confidence: figures">
            <table class="table table-dense">
                <thead>
                    <tr>
                        <th scope="col">"Confidence"</th>
                        {["Rows", "Mean confidence", "Right"].map(|head| view! { <th scope="col" class="number">{head}</th> }).collect_view()}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
}

fn curve_table(curve: &[Coverage]) -> impl IntoView + use<> {
    let rows = curve
        .iter()
        .step_by(STEPS / 20)
        .map(|point| {
            view! {
                <tr>
                    <th scope="row">{format!("{:.0} %", 100.0 * point.threshold)}</th>
                    <td class="number">{format::percent(point.coverage)}</td>
                    <td class="number">{point.accuracy.map_or_else(|| "–".to_string(), format::percent)}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <TableScroll label="Coverage and accuracy by threshold: figures">
            <table class="table table-dense">
                <thead>
                    <tr>
                        <th scope="col">"Threshold"</th>
                        {["Answered", "Right where answered"].map(|head| view! { <th scope="col" class="number">{head}</th> }).collect_view()}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_abstains_answers_the_rest() {
        let labels = ["a", "b"].map(String::from);
        let answers: Vec<Prediction> =
            [0.9, 0.6, 0.2].map(|p| Prediction::from_probabilities(vec![p, 1.0 - p], false)).into();
        let rows = answered_rows(&labels, &[0, 1, 1], &answers, 0.7);
        assert_eq!((rows.abstained, rows.confusion.counts), (1, vec![vec![1, 0], vec![0, 1]]));
    }
}
