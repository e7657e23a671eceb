use super::open::{Examined, OpenDataset};
use super::words;
use crate::components::{Notice, ProgressBar, Stat, Stats, Tone};
use crate::format;
use domain::finding::{Examination, ExaminationState, Severity, Verdict};
use leptos::prelude::*;

/// How good the data is, as a manager would want to hear it: a verdict, a few sentences, four numbers, what to do first.
#[component]
pub fn HealthCard(
    dataset: OpenDataset,
    examined: Examined,
    /// Rows of the file that are not in the dataset.
    rejected: u64,
) -> impl IntoView {
    let verdict = Memo::new(move |_| examined.report.read().as_ref().map(|report| report.health.verdict));
    let tone = move || verdict.get().map_or(Tone::Neutral, verdict_tone).class();
    view! {
        <section class=move || format!("card health {}", tone()) id="health" aria-labelledby="health-title">
            <header class="health-head">
                <VerdictMark verdict />
                <div class="health-words">
                    <h2 class="health-title" id="health-title">
                        {move || verdict.get().map_or("Health", verdict_title)}
                    </h2>
                    <p class="health-summary">
                        {move || match &*examined.report.read() {
                            Some(report) => report.health.summary.clone(),
                            None => "The rows are being looked at; they can be read below meanwhile.".to_owned(),
                        }}
                    </p>
                </div>
            </header>
            <Standing dataset examined />
            {move || {
                let report = examined.report.get()?;
                let sentences = report.health.sentences.iter();
                let sentences = sentences.map(|sentence| view! { <p>{sentence.clone()}</p> }).collect_view();
                Some(view! { <div class="health-sentences">{sentences}</div> })
            }}
            <Numbers dataset examined rejected />
            {move || examined.report.get().and_then(|report| first_step(&report))}
        </section>
    }
    .into_any()
}

/// The verdict as a sign; its word stands beside it.
#[component]
fn VerdictMark(verdict: Memo<Option<Verdict>>) -> impl IntoView {
    let path = move || match verdict.get() {
        Some(Verdict::Good) => "M6.5 12.5l4 4 7-8.5",
        Some(Verdict::Fair) => "M12 6.5v7M12 17v.5",
        Some(Verdict::Poor) => "M8 8l8 8M16 8l-8 8",
        None => "M12 7v5l3 2",
    };
    view! {
        <svg class="health-mark" viewBox="0 0 24 24" width="44" height="44" aria-hidden="true">
            <circle cx="12" cy="12" r="11" />
            <path d=path />
        </svg>
    }
}

fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Good => Tone::Good,
        Verdict::Fair => Tone::Warning,
        Verdict::Poor => Tone::Bad,
    }
}

fn verdict_title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "Health: good",
        Verdict::Fair => "Health: fair",
        Verdict::Poor => "Health: poor",
    }
}

/// How far the examination is, while it works, or why there is none.
#[component]
fn Standing(dataset: OpenDataset, examined: Examined) -> impl IntoView {
    let is_under_way = Memo::new(move |_| {
        matches!(&*examined.state.read(), ExaminationState::Waiting | ExaminationState::Working { .. })
    });
    let share = Signal::derive(move || match &*examined.state.read() {
        ExaminationState::Working { share, .. } => Some(*share),
        _ => None,
    });
    let words = Memo::new(move |_| standing_in_words(&examined.state.read(), dataset.shown.get()));
    view! {
        <Show when=move || is_under_way.get()>
            <div class="health-standing">
                <ProgressBar value=share label="The examination of the rows" />
                <p class="small soft">{words}</p>
            </div>
        </Show>
        {move || {
            let ExaminationState::Failed { reason } = examined.state.get() else { return None };
            Some(view! {
                <Notice tone=Tone::Bad title="The examination failed">
                    <p>{reason}</p>
                    <p>"The rows themselves are safe. Reload the page to have them examined again."</p>
                </Notice>
            })
        }}
        {move || {
            examined.lost.get().map(|error| view! { <p class="small soft" role="status">{error.message()}</p> })
        }}
    }
    .into_any()
}

fn standing_in_words(state: &ExaminationState, version: i64) -> String {
    match state {
        ExaminationState::Working { step, seconds_left, .. } => {
            let left = seconds_left.map_or(String::new(), |left| format!(" About {} left.", format::duration(left)));
            format!("Version {version} is being examined, now for {step}.{left}")
        }
        _ => format!("Version {version} waits to be examined."),
    }
}

#[component]
fn Numbers(dataset: OpenDataset, examined: Examined, rejected: u64) -> impl IntoView {
    let rows = Signal::derive(move || format::count(dataset.version.read().rows));
    let rejected = (rejected > 0).then(|| format!("{} left out at import", format::count(rejected)));
    let labels = Signal::derive(move || format::count(dataset.version.read().labels.len() as u64));
    let of_report = move |figure: fn(&Examination) -> String| {
        Signal::derive(move || examined.report.read().as_ref().map_or_else(|| "…".to_owned(), figure))
    };
    let clean = of_report(|report| format::count(report.health.clean_rows));
    let clean_share = Signal::derive(move || {
        let report = examined.report.read();
        let report = report.as_ref()?;
        (report.rows > 0)
            .then(|| format!("{} of all", format::percent(report.health.clean_rows as f64 / report.rows as f64)))
    });
    let ceiling = of_report(|report| format::percent(report.ceiling));
    view! {
        <Stats>
            <Stat name="Rows" value=rows note=Signal::derive(move || rejected.clone()) />
            <Stat name="Labels" value=labels />
            <Stat name="Clean rows" value=clean note=clean_share />
            <Stat
                name="Highest possible accuracy"
                value=ceiling
                note=Signal::derive(|| Some("for any classifier that reads the text alone".to_owned()))
            />
        </Stats>
    }
    .into_any()
}

/// The weightiest finding that calls for something, as a way there.
fn first_step(report: &Examination) -> Option<impl IntoView + use<>> {
    let finding =
        report.findings.iter().find(|finding| finding.severity > Severity::Note && !finding.repairs.is_empty())?;
    let href = format!("#finding-{}", finding.kind.as_str());
    let name = words::finding_name(finding.kind).to_lowercase();
    Some(view! {
        <div class="row">
            // An address within the page: the browser moves the focus there, and the finding opens.
            <a class="button" href=href rel="external">
                {format!("What to do first: {name}")}
            </a>
        </div>
    })
}
