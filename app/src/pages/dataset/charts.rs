use super::open::{Examined, OpenDataset};
use super::words;
use crate::charts::distribution::{Distribution, Figures};
use crate::charts::still::draw;
use crate::components::{ChartSaves, Fold, LabelChart, Notice, TableScroll, Tone};
use domain::dataset::LabelCount;
use leptos::prelude::*;

/// Labels that stand in sight; the others are folded away.
const LABELS_SHOWN: usize = 12;

/// The dataset in pictures: rows per label at once, the others when the examination has counted them.
#[component]
pub fn DatasetCharts(dataset: OpenDataset, examined: Examined) -> impl IntoView {
    let trouble = RwSignal::new(None::<String>);
    let charts = Memo::new(move |_| examined.report.read().as_ref().map(|report| report.charts.clone()));
    let figures = move || {
        let charts = charts.get()?;
        let languages = charts.languages.clone();
        let figures = Distribution::ALL
            .into_iter()
            .filter(|chart| chart.has_points(&charts))
            .map(|chart| view! { <ChartFigure chart charts=charts.clone() trouble /> })
            .collect_view();
        Some(view! {
            {figures}
            {(languages.len() > 1).then(|| view! { <Languages languages /> })}
        })
    };
    view! {
        <section class="card" id="charts" aria-labelledby="charts-title">
            <header class="card-head">
                <h2 class="card-title" id="charts-title">
                    "In pictures"
                </h2>
            </header>
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
            <div class="dataset-charts">
                <figure class="chart-panel">
                    <figcaption class="chart-head">
                        <h3 class="chart-title">"Rows per label"</h3>
                    </figcaption>
                    {move || {
                        let labels = dataset.version.read().labels.clone();
                        view! { <LabelCounts labels /> }
                    }}
                </figure>
                {figures}
            </div>
        </section>
    }
    .into_any()
}

/// The most frequent labels, and the others folded away.
#[component]
fn LabelCounts(labels: Vec<LabelCount>) -> impl IntoView {
    if labels.len() <= LABELS_SHOWN {
        return view! { <LabelChart labels /> }.into_any();
    }
    let summary = format!("All {} labels", labels.len());
    let shown = labels.iter().take(LABELS_SHOWN).cloned().collect::<Vec<_>>();
    view! {
        <LabelChart labels=shown />
        <Fold summary>
            <LabelChart labels />
        </Fold>
    }
    .into_any()
}

#[component]
fn Languages(languages: Vec<LabelCount>) -> impl IntoView {
    let languages: Vec<LabelCount> = languages
        .into_iter()
        .map(|count| LabelCount { label: words::language_name(&count.label), rows: count.rows })
        .collect();
    view! {
        <figure class="chart-panel">
            <figcaption class="chart-head">
                <h3 class="chart-title">"Languages"</h3>
            </figcaption>
            <LabelCounts labels=languages />
        </figure>
    }
    .into_any()
}

#[component]
fn ChartFigure(
    chart: Distribution,
    charts: domain::finding::DatasetCharts,
    trouble: RwSignal<Option<String>>,
) -> impl IntoView {
    let words = chart.in_words(&charts);
    let note = chart.note(&charts).map(|note| view! { <p class="small soft">{note}</p> });
    let figures = chart.figures(&charts);
    // Effects run in the browser only, after the page has been taken over.
    Effect::new(move |_| {
        let charts = charts.clone();
        draw(chart.id(), trouble, move |palette, inks| chart.option(&charts, palette, inks));
    });
    view! {
        <figure class="chart-panel">
            <figcaption class="chart-head">
                <h3 class="chart-title">{chart.title()}</h3>
                <ChartSaves id=chart.id() title=chart.title() />
            </figcaption>
            <div class="chart no-script-hidden" id=chart.id() role="img" aria-label=words></div>
            {note}
            <FigureTable title=chart.title() figures />
        </figure>
    }
    .into_any()
}

/// The numbers behind a chart.
#[component]
fn FigureTable(title: &'static str, figures: Figures) -> impl IntoView {
    let heads = figures
        .heads
        .iter()
        .enumerate()
        .map(|(index, head)| {
            let class = if index == 0 { "" } else { "number" };
            view! {
                <th scope="col" class=class>
                    {*head}
                </th>
            }
        })
        .collect_view();
    let rows = figures
        .rows
        .into_iter()
        .map(|row| {
            let mut cells = row.into_iter();
            let name = cells.next().unwrap_or_default();
            let numbers = cells.map(|cell| view! { <td class="number">{cell}</td> }).collect_view();
            view! {
                <tr>
                    <th scope="row">{name}</th>
                    {numbers}
                </tr>
            }
        })
        .collect_view();
    view! {
        <Fold summary="Figures">
            <TableScroll label=format!("{title}: figures")>
                <table class="table table-dense">
                    <thead>
                        <tr>{heads}</tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </Fold>
    }
    .into_any()
}
