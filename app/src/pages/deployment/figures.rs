use crate::api::deployments::DeploymentData;
use crate::components::{Card, Pill, SaveLink, Stat, Stats, TableScroll, TimeStamp, Tone};
use crate::format;
use crate::polled::Polled;
use domain::deployment::figures::{DeploymentFigures, Drift, VersionFigures};
use leptos::prelude::*;

/// How fast it answers, how much, and whether what it is asked still looks like the test rows.
#[component]
pub fn Figures(data: Polled<DeploymentData>) -> impl IntoView {
    let figures = Memo::new(move |_| data.value.read().figures.clone());
    let ms = |ms: Option<f64>| ms.map_or("–".to_string(), |ms| format!("{ms:.0} ms"));
    let number = move |of: fn(&DeploymentFigures) -> u64| Signal::derive(move || format::count(of(&figures.read())));
    let latency = move |of: fn(&DeploymentFigures) -> Option<f64>| Signal::derive(move || ms(of(&figures.read())));
    let refused = move || {
        let refused = figures.read().refused;
        (refused > 0).then(|| format!("{} refused, too much waited", format::count(refused)))
    };
    let address = move |ending: &'static str| {
        Signal::derive(move || format!("/deployments/{}/figures.{ending}", data.value.read().deployment.name))
    };
    let since = Memo::new(move |_| figures.read().since_ms);
    view! {
        <Card title="Figures">
            <div class="stack">
                <Stats>
                    <Stat name="Requests" value=number(|figures| figures.requests) note=Signal::derive(refused) />
                    <Stat name="Texts" value=number(|figures| figures.texts) />
                    <Stat
                        name="Texts this minute"
                        value=number(|figures| figures.texts_per_minute.last().copied().unwrap_or(0))
                    />
                    <Stat name="p50" value=latency(|figures| figures.p50_ms) />
                    <Stat name="p95" value=latency(|figures| figures.p95_ms) />
                    <Stat name="p99" value=latency(|figures| figures.p99_ms) />
                </Stats>
                {move || view! { <Throughput minutes=figures.read().texts_per_minute.clone() /> }}
                {move || figures.read().versions.iter().cloned().map(|version| view! { <Answers version /> }).collect_view()}
                <Agreement figures />
                <p class="small soft">
                    "Counted since the server has started or the deployment was made: "
                    {move || view! { <TimeStamp at_ms=since.get() /> }} ". Latencies are those of requests, streams apart."
                </p>
                <p class="row small save-links">
                    <span class="soft">"Save"</span>
                    <SaveLink href=address("csv") words="CSV" />
                    <SaveLink href=address("json") words="JSON" />
                </p>
            </div>
        </Card>
    }
    .into_any()
}

/// Texts of each of the last minutes, as bars.
#[component]
fn Throughput(minutes: Vec<u64>) -> impl IntoView {
    let most = minutes.iter().copied().max().unwrap_or(0);
    let all: u64 = minutes.iter().sum();
    let words = format!(
        "{} in the last hour, {} in its busiest minute",
        format::counted(all, "text", "texts"),
        format::count(most)
    );
    let bars = minutes
        .iter()
        .enumerate()
        .filter(|(_, texts)| **texts > 0)
        .map(|(place, texts)| {
            let height = (40.0 * *texts as f64 / most.max(1) as f64).max(1.0);
            view! { <rect x=(place * 4).to_string() y=format!("{:.1}", 40.0 - height) width="3" height=format!("{height:.1}") /> }
        })
        .collect_view();
    view! {
        <figure class="throughput">
            <svg viewBox="0 0 240 40" preserveAspectRatio="none" aria-hidden="true">
                {bars}
            </svg>
            <figcaption class="small soft">{words}</figcaption>
        </figure>
    }
    .into_any()
}

/// What a version answers, beside what it answered on its test rows.
#[component]
fn Answers(version: VersionFigures) -> impl IntoView {
    let drift = version.drift();
    let now = version.answers.total();
    let test = version.on_test_rows.clone();
    let share = |counts: &[u64], place: usize| {
        let total: u64 = counts.iter().sum();
        (total > 0).then(|| counts.get(place).copied().unwrap_or(0) as f64 / total as f64)
    };
    let words = |share: Option<f64>| share.map_or("–".to_string(), format::percent);
    let rows = version
        .labels
        .iter()
        .enumerate()
        .map(|(place, label)| {
            let here = words(share(&version.answers.labels, place));
            let there = words(test.as_ref().and_then(|test| share(&test.labels, place)));
            view! {
                <tr>
                    <th scope="row">{label.clone()}</th>
                    <td class="number">{here}</td>
                    <td class="number">{there}</td>
                </tr>
            }
        })
        .collect_view();
    let confidence_here = words(version.answers.mean_confidence());
    let confidence_there = words(test.as_ref().and_then(|test| test.mean_confidence()));
    let name = version.version_name.clone();
    view! {
        <div class="stack">
            <div class="row">
                <h3 class="deployment-version">{version.version_name}</h3>
                <DriftPill drift has_test=test.is_some() />
            </div>
            <TableScroll label=format!("Answers of {name}")>
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col">"Answer"</th>
                            <th scope="col" class="number">
                                {format!("Of {}", format::counted(now, "text", "texts"))}
                            </th>
                            <th scope="col" class="number">
                                "On the test rows"
                            </th>
                        </tr>
                    </thead>
                    <tbody>
                        {rows} <tr>
                            <th scope="row">"Mean confidence"</th>
                            <td class="number">{confidence_here}</td>
                            <td class="number">{confidence_there}</td>
                        </tr>
                    </tbody>
                </table>
            </TableScroll>
        </div>
    }
    .into_any()
}

#[component]
fn DriftPill(drift: Option<(Drift, f64)>, has_test: bool) -> impl IntoView {
    let (tone, words) = match drift {
        None if has_test => (Tone::Neutral, "no answers yet".to_string()),
        None => (Tone::Neutral, "no test rows to compare with".to_string()),
        Some((Drift::TooFew, _)) => (Tone::Neutral, "too few answers to tell a drift".to_string()),
        Some((Drift::None, index)) => (Tone::Good, format!("no drift (index {index:.2})")),
        Some((Drift::Some, index)) => (Tone::Warning, format!("some drift (index {index:.2})")),
        Some((Drift::Strong, index)) => (Tone::Bad, format!("strong drift (index {index:.2})")),
    };
    view! {
        <span title="Population stability index of labels and confidences against the test rows: below 0.1 none, from 0.25 on strong">
            <Pill tone>{words}</Pill>
        </span>
    }
    .into_any()
}

/// How often the version that is tried out says the same.
#[component]
fn Agreement(figures: Memo<DeploymentFigures>) -> impl IntoView {
    move || {
        let figures = figures.read();
        (figures.versions.len() > 1).then(|| {
            let words = match figures.agreement.share() {
                None => "No text has been answered by both versions yet.".to_string(),
                Some(share) => format!(
                    "Both versions say the same of {} of {}: {}.",
                    format::count(figures.agreement.same),
                    format::counted(figures.agreement.texts, "text", "texts"),
                    format::percent(share)
                ),
            };
            view! { <p role="status" class="agreement">{words}</p> }
        })
    }
}
