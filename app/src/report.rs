//! The report of a run: one page of HTML with all that it needs in it, that prints well and can be kept or sent on. It has
//! no script and is the same for everybody, so it is written as text.

mod drawing;

use crate::comparing::verdict;
use crate::components::score_words;
use crate::format;
use domain::metrics::ConfusionMatrix;
use domain::metrics::interval::Interval;
use domain::metrics::lines::ScoreLine;
use domain::metrics::report::{RunReport, sureness};
use domain::run::{RunDetail, RunPicture};
use domain::spec::{KNOBS, KnobKind, TrainSpec};
use drawing::{curve_of_loss, reliability};

const STYLE: &str = include_str!("report/report.css");

/// The whole page. Without a report, as far as the run has come.
pub fn page(detail: &RunDetail, picture: &RunPicture, report: Option<&RunReport>) -> String {
    let summary = &detail.summary;
    let name = escaped(&summary.name);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{name}: report</title><style>{STYLE}</style></head><body>\
         <main><header><h1>{name}</h1><p class=\"soft\">Run {} &middot; {} on {}, version {} &middot; {}{}</p></header>",
        summary.id,
        escaped(&summary.base_model),
        escaped(&summary.dataset_name),
        summary.dataset_version,
        summary.status.as_str(),
        summary.ended_at_ms.map_or_else(String::new, |at| format!(" {} UTC", format::date_time(at))),
    );
    match report {
        Some(report) => put_results(&mut page, detail, report),
        None => page.push_str("<p>This run has no answers to its test rows yet.</p>"),
    }
    page.push_str("<section class=\"pair\">");
    put_training(&mut page, picture);
    put_settings(&mut page, detail);
    page.push_str("</section><footer class=\"soft\">Made by Ayar.</footer></main></body></html>\n");
    page
}

fn put_results(page: &mut String, detail: &RunDetail, report: &RunReport) {
    if let Some(found) = &report.comparison {
        page.push_str(&format!("<p>{}</p>", escaped(&verdict("Training", found))));
    }
    if let Some(intervals) = &report.after.intervals {
        let words = sureness(intervals.accuracy, report.rows);
        page.push_str(&format!("<p>How sure the accuracy is: {}</p>", escaped(&words)));
    }
    if let Some(cleanliness) = &detail.summary.cleanliness {
        page.push_str(&format!("<p>The test rows: {}.</p>", escaped(&cleanliness.words())));
    }
    page.push_str("<section class=\"pair\"><div><h2>Scores</h2>");
    put_scores(page, report);
    page.push_str("</div><div><h2>Per label</h2>");
    put_labels(page, report);
    page.push_str("<h2>Confidence</h2>");
    page.push_str(&reliability(&report.after.calibration));
    let temperature = match report.temperature {
        Some(temperature) => format!("At a temperature of {temperature:.2}, fitted on the validation rows; "),
        None => "Without a temperature; ".to_string(),
    };
    let ece = format::percent(report.after.calibration.ece);
    page.push_str(&format!("<p class=\"soft\">{temperature}calibration error {ece}.</p></div></section>"));
    page.push_str(
        "<h2>Confusion</h2><p class=\"soft\">A row is a true label, a column an answer; share of the true label \
                   below the count.</p><section class=\"pair\">",
    );
    if let Some(before) = &report.before {
        put_confusion(page, "Before training", &before.confusion);
    }
    put_confusion(page, "After training", &report.after.confusion);
    page.push_str("</section>");
}

fn put_scores(page: &mut String, report: &RunReport) {
    let before = report.before.as_ref().map(|model| model.lines());
    page.push_str("<table><thead><tr><th>Score</th>");
    if before.is_some() {
        page.push_str("<th class=\"number\">Before</th>");
    }
    page.push_str("<th class=\"number\">After</th></tr></thead><tbody>");
    for (index, line) in report.after.lines().iter().enumerate() {
        page.push_str(&format!("<tr><th scope=\"row\">{}</th>", line.title));
        if let Some(before) = before.as_ref().and_then(|lines| lines.get(index)) {
            page.push_str(&score_cell(before));
        }
        page.push_str(&format!("{}</tr>", score_cell(line)));
    }
    page.push_str(&format!(
        "</tbody></table><p class=\"soft\">On {}, with 95 % intervals from {} draws (bootstrap).</p>",
        format::counted(report.rows, "test row", "test rows"),
        format::count(report.draws)
    ));
}

fn score_cell(line: &ScoreLine) -> String {
    let Some(value) = line.value else { return "<td class=\"number\">&ndash;</td>".to_string() };
    cell(value, line.interval, line.is_share)
}

fn cell(value: f64, interval: Option<Interval>, is_share: bool) -> String {
    let range = interval.map_or_else(String::new, |Interval { low, high }| {
        let (low, high) = if is_share {
            (format!("{:.1}", 100.0 * low), format!("{:.1}", 100.0 * high))
        } else {
            (format!("{low:.3}"), format!("{high:.3}"))
        };
        format!("<small>{low} &ndash; {high}</small>")
    });
    format!("<td class=\"number\">{}{range}</td>", score_words(value, is_share))
}

fn put_labels(page: &mut String, report: &RunReport) {
    page.push_str(
        "<table><thead><tr><th>Label</th><th class=\"number\">Rows</th><th class=\"number\">Precision</th>\
         <th class=\"number\">Recall</th><th class=\"number\">F1</th></tr></thead><tbody>",
    );
    for class in &report.after.classes {
        let figures = &class.figures;
        let intervals = class.intervals;
        page.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td>{}{}{}</tr>",
            escaped(&figures.label),
            format::count(figures.support),
            cell(figures.precision, intervals.map(|of| of.precision), true),
            cell(figures.recall, intervals.map(|of| of.recall), true),
            cell(figures.f1, intervals.map(|of| of.f1), true),
        ));
    }
    page.push_str("</tbody></table>");
}

fn put_confusion(page: &mut String, title: &str, matrix: &ConfusionMatrix) {
    page.push_str(&format!("<div><h3>{title}</h3><table class=\"confusion\"><thead><tr><td></td>"));
    for label in &matrix.labels {
        page.push_str(&format!("<th scope=\"col\">{}</th>", escaped(label)));
    }
    page.push_str("</tr></thead><tbody>");
    for (truth, (label, counts)) in matrix.labels.iter().zip(&matrix.counts).enumerate() {
        let all = counts.iter().sum::<u64>().max(1);
        page.push_str(&format!("<tr><th scope=\"row\">{}</th>", escaped(label)));
        for (answer, count) in counts.iter().enumerate() {
            let share = *count as f64 / all as f64;
            let class = if truth == answer { "right" } else { "wrong" };
            page.push_str(&format!(
                "<td class=\"{class}\" style=\"--share:{share:.3}\">{}<small>{:.0} %</small></td>",
                format::count(*count),
                100.0 * share
            ));
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

fn put_training(page: &mut String, picture: &RunPicture) {
    page.push_str("<div><h2>Training</h2>");
    page.push_str(&curve_of_loss(picture));
    if let Some(step) = picture.last_step() {
        page.push_str(&format!(
            "<p class=\"soft\">{} of {} steps in {}; the loss is {:.3} at the end.</p>",
            format::count(step.step),
            format::count(step.total_steps),
            format::duration(step.elapsed_seconds),
            step.loss
        ));
    }
    page.push_str("</div>");
}

fn put_settings(page: &mut String, detail: &RunDetail) {
    let defaults = TrainSpec::default();
    page.push_str(&format!(
        "<div><h2>Set up</h2><dl><dt>Rows</dt><dd>{} to train, {} to validate, {} to test</dd><dt>Labels</dt><dd>{}</dd>",
        format::count(detail.train_rows),
        format::count(detail.validation_rows),
        format::count(detail.test_rows),
        escaped(&detail.summary.labels.join(", "))
    ));
    for knob in KNOBS.iter().filter(|knob| knob.kind != KnobKind::Template) {
        let (value, default) = (detail.spec.get(knob.name), defaults.get(knob.name));
        if value != default {
            let value = value.unwrap_or_default().replace(',', ", ");
            page.push_str(&format!("<dt>{}</dt><dd>{}</dd>", escaped(knob.title), escaped(&value)));
        }
    }
    page.push_str("</dl><p class=\"soft\">Settings that differ from the notebook's.</p></div>");
}

/// Words that come from people are never markup.
fn escaped(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_never_markup() {
        assert_eq!(escaped("<script>alert('\"&')"), "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)");
    }
}
