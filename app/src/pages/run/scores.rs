use crate::comparing::verdict;
use crate::components::{Card, Change, LabelName, SaveLink, ScoreCell, TableScroll, score_words};
use crate::format;
use domain::metrics::ClassMetrics;
use domain::metrics::interval::Interval;
use domain::metrics::lines::ScoreLine;
use domain::metrics::per_class::ClassIntervals;
use domain::metrics::report::{ClassReport, RunReport, sureness};
use domain::run::RunId;
use leptos::prelude::*;

/// Every score with its interval, before against after, and per label.
#[component]
pub fn ScoresCard(run: RunId, report: RunReport) -> impl IntoView {
    let note = format!(
        "On {}. Ranges are 95 % intervals from {} draws with replacement (bootstrap, the same at every look).",
        format::counted(report.rows, "test row", "test rows"),
        format::count(report.draws)
    );
    let judged = report.comparison.map(|found| view! { <p>{verdict("Training", &found)}</p> });
    let sure = report
        .after
        .intervals
        .map(|intervals| format!("How sure the accuracy is: {}", sureness(intervals.accuracy, report.rows)));
    let has_before = report.before.is_some();
    let before = report.before.as_ref().map(|model| model.lines()).unwrap_or_default();
    let after = report.after.lines();
    let rows = after.iter().enumerate().map(|(index, line)| score_row(before.get(index), line)).collect_view();
    view! {
        <Card title="Scores" note>
            <div class="stack">
                {judged}
                {sure.map(|words| view! { <p class="soft">{words}</p> })}
                <TableScroll label="Scores with their intervals">
                    <table class="table score-table">
                        <thead>
                            <tr>
                                <th scope="col">"Score"</th>
                                {has_before.then(|| view! { <th scope="col" class="number">"Before"</th> })}
                                <th scope="col" class="number">
                                    "After"
                                </th>
                                {has_before.then(|| view! { <th scope="col" class="number">"Change"</th> })}
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </TableScroll>
                <h3 class="run-subhead">"Per label"</h3>
                <LabelScores report=report.clone() />
                <p class="row small save-links">
                    <span class="soft">"Save"</span>
                    <SaveLink href=format!("/runs/{run}/scores.csv") words="scores as CSV" />
                    <SaveLink href=format!("/runs/{run}/scores.json") words="scores as JSON" />
                    <SaveLink href=format!("/runs/{run}/confusion.csv") words="confusion as CSV" />
                    <SaveLink href=format!("/runs/{run}/confusion.json") words="confusion as JSON" />
                </p>
            </div>
        </Card>
    }
    .into_any()
}

fn score_row(before: Option<&ScoreLine>, after: &ScoreLine) -> impl IntoView + use<> {
    let ScoreLine { title, help, is_share, less_is_better, .. } = *after;
    let compared = before.map(|before| {
        let change = before.value.zip(after.value).map(|(from, to)| change(from, to, is_share, less_is_better));
        let before = view! {
            <td class="number soft">
                <ScoreCell value=before.value interval=before.interval is_share />
            </td>
        };
        (before, view! { <td class="number">{change}</td> })
    });
    let (before, change) = compared.unzip();
    view! {
        <tr>
            <th scope="row" class="main">
                {title}
                <span class="score-help">{help}</span>
            </th>
            {before}
            <td class="number">
                <ScoreCell value=after.value interval=after.interval is_share />
            </td>
            {change}
        </tr>
    }
}

/// A change of a score; green where it is for the better.
fn change(from: f64, to: f64, is_share: bool, less_is_better: bool) -> AnyView {
    if is_share && !less_is_better {
        return view! { <Change before=from after=to /> }.into_any();
    }
    let words = score_words((to - from).abs(), is_share);
    let nothing = score_words(0.0, is_share) == words;
    let is_better = (to < from) == less_is_better;
    let class = match (nothing, is_better) {
        (true, _) => "change",
        (false, true) => "change is-up",
        (false, false) => "change is-down",
    };
    let sign = if nothing {
        "\u{b1}"
    } else if to > from {
        "+"
    } else {
        "\u{2212}"
    };
    view! { <span class=class>{format!("{sign}{words}")}</span> }.into_any()
}

#[component]
fn LabelScores(report: RunReport) -> impl IntoView {
    let before = report.before.map(|model| model.classes);
    let has_before = before.is_some();
    type Figure = (fn(&ClassMetrics) -> f64, fn(&ClassIntervals) -> Interval);
    let figures: [Figure; 3] = [
        (|figures| figures.precision, |intervals| intervals.precision),
        (|figures| figures.recall, |intervals| intervals.recall),
        (|figures| figures.f1, |intervals| intervals.f1),
    ];
    let rows = report
        .after
        .classes
        .into_iter()
        .enumerate()
        .map(|(index, class)| {
            let was = before.as_ref().and_then(|classes: &Vec<ClassReport>| classes.get(index).cloned());
            let cells = figures
                .map(|(figure, interval)| {
                    let was = was.as_ref().map(|was| {
                        let was = format::percent(figure(&was.figures));
                        view! { <span class="score-was soft">{format!("{was} before")}</span> }
                    });
                    let value = Some(figure(&class.figures));
                    view! {
                        <td class="number">
                            <ScoreCell value interval=class.intervals.as_ref().map(interval) is_share=true />
                            {was}
                        </td>
                    }
                })
                .collect_view();
            view! {
                <tr>
                    <th scope="row" class="main">
                        <LabelName index=Some(index) name=class.figures.label.clone() />
                    </th>
                    <td class="number">{format::count(class.figures.support)}</td>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    let label = if has_before { "Scores per label, after and before" } else { "Scores per label" };
    view! {
        <TableScroll label=label>
            <table class="table score-table">
                <thead>
                    <tr>
                        <th scope="col">"Label"</th>
                        <th scope="col" class="number">
                            "Test rows"
                        </th>
                        {["Precision", "Recall", "F1"].map(|name| view! { <th scope="col" class="number">{name}</th> }).collect_view()}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
    }
    .into_any()
}
