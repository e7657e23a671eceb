//! The charts of a dataset: how long its texts are and how often they repeat. Pure: from the report's numbers to what
//! ECharts draws, to words and to a table.

use super::panel::Palette;
use crate::format;
use domain::finding::{DatasetCharts, Histogram};
use serde_json::{Value, json};

/// Labels that the chart of lengths per label has room for; the table holds them all.
pub const MOST_BOXES: usize = 12;

/// One chart of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    Lengths,
    LabelLengths,
    Repetitions,
    Tokens,
}

/// The numbers of a chart as a table: its heads, and rows whose first cell names the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub heads: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Distribution {
    pub const ALL: [Self; 4] = [Self::Lengths, Self::LabelLengths, Self::Repetitions, Self::Tokens];

    /// Id of the element that the chart is drawn in.
    pub fn id(self) -> &'static str {
        match self {
            Self::Lengths => "chart-lengths",
            Self::LabelLengths => "chart-label-lengths",
            Self::Repetitions => "chart-repetitions",
            Self::Tokens => "chart-tokens",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Lengths => "Length of the texts",
            Self::LabelLengths => "Length per label",
            Self::Repetitions => "Texts that repeat",
            Self::Tokens => "Tokens per text",
        }
    }

    /// There is something to draw.
    pub fn has_points(self, charts: &DatasetCharts) -> bool {
        match self {
            Self::Lengths => has_counts(&charts.lengths),
            Self::LabelLengths => charts.label_lengths.len() > 1,
            Self::Repetitions => repeated(charts).next().is_some(),
            Self::Tokens => has_counts(&charts.tokens),
        }
    }

    /// What the chart shows, for those who do not see it.
    pub fn in_words(self, charts: &DatasetCharts) -> String {
        match self {
            Self::Lengths => format!("{}: {}", self.title(), most_common(&charts.lengths, "characters")),
            Self::Tokens => format!("{}: {}", self.title(), most_common(&charts.tokens, "tokens")),
            Self::LabelLengths => {
                let medians = charts.labels.iter().zip(&charts.label_lengths).take(MOST_BOXES);
                let medians: Vec<String> = medians
                    .map(|(label, lengths)| format!("{} {}", label.label, format::count(lengths.median)))
                    .collect();
                format!("Median length in characters: {}.", medians.join(", "))
            }
            Self::Repetitions => {
                let texts: u64 = repeated(charts).map(|(_, texts)| texts).sum();
                let most = repeated(charts).map(|(times, _)| times).max().unwrap_or_default();
                let texts = format::counted(texts, "text occurs", "texts occur");
                format!("{texts} more than once, the most frequent {most} times.")
            }
        }
    }

    /// A line under the chart, where one is needed.
    pub fn note(self, charts: &DatasetCharts) -> Option<String> {
        match self {
            Self::Tokens => Some(format!(
                "Of {} chosen evenly, as the server's own model counts them.",
                format::counted(charts.token_sample, "text", "texts")
            )),
            Self::LabelLengths if charts.label_lengths.len() > MOST_BOXES => {
                Some(format!("The {MOST_BOXES} most frequent labels; the figures hold all."))
            }
            Self::LabelLengths => {
                Some("Boxes hold the middle half of the texts, the line in them is the median.".into())
            }
            Self::Lengths | Self::Repetitions => None,
        }
    }

    pub fn figures(self, charts: &DatasetCharts) -> Figures {
        match self {
            Self::Lengths => Figures { heads: vec!["Characters", "Texts"], rows: histogram_rows(&charts.lengths) },
            Self::Tokens => Figures { heads: vec!["Tokens", "Texts"], rows: histogram_rows(&charts.tokens) },
            Self::Repetitions => Figures {
                heads: vec!["Occurs", "Texts"],
                rows: repeated(charts)
                    .map(|(times, texts)| vec![format!("{} times", format::count(times)), format::count(texts)])
                    .collect(),
            },
            Self::LabelLengths => Figures {
                heads: vec!["Label", "Shortest", "A quarter below", "Median", "A quarter above", "Longest"],
                rows: charts
                    .labels
                    .iter()
                    .zip(&charts.label_lengths)
                    .map(|(label, l)| {
                        let numbers = [l.shortest, l.quarter, l.median, l.three_quarters, l.longest];
                        let mut row = vec![label.label.clone()];
                        row.extend(numbers.map(format::count));
                        row
                    })
                    .collect(),
            },
        }
    }

    /// The whole chart as an ECharts option. `inks` are the colours of the labels, to be begun again after the last.
    pub fn option(self, charts: &DatasetCharts, palette: &Palette, inks: &[String]) -> Value {
        match self {
            Self::Lengths => bars(&names(&charts.lengths), &charts.lengths.counts, "characters", palette),
            Self::Tokens => bars(&names(&charts.tokens), &charts.tokens.counts, "tokens", palette),
            Self::Repetitions => {
                let names: Vec<String> = repeated(charts).map(|(times, _)| format!("{times} times")).collect();
                let counts: Vec<u64> = repeated(charts).map(|(_, texts)| texts).collect();
                bars(&names, &counts, "", palette)
            }
            Self::LabelLengths => boxes(charts, palette, inks),
        }
    }
}

/// So many texts occur so many times, without those that stand alone: they would press the others flat.
fn repeated(charts: &DatasetCharts) -> impl Iterator<Item = (u64, u64)> {
    charts.repetitions.iter().copied().filter(|(times, _)| *times > 1)
}

fn has_counts(histogram: &Histogram) -> bool {
    histogram.counts.iter().any(|count| *count > 0)
}

/// `20–39`; one number where the bucket holds no other.
fn names(histogram: &Histogram) -> Vec<String> {
    let ends = histogram.edges.windows(2).take(histogram.counts.len());
    ends.map(|pair| {
        let (first, last) = (pair[0].max(0.0).floor() as u64, (pair[1].ceil() - 1.0).max(0.0) as u64);
        if last <= first { format::count(first) } else { format!("{}–{}", format::count(first), format::count(last)) }
    })
    .collect()
}

fn histogram_rows(histogram: &Histogram) -> Vec<Vec<String>> {
    let rows = names(histogram).into_iter().zip(&histogram.counts);
    rows.map(|(name, count)| vec![name, format::count(*count)]).collect()
}

fn most_common(histogram: &Histogram, unit: &str) -> String {
    let names = names(histogram);
    let most = histogram.counts.iter().zip(&names).max_by_key(|(count, _)| **count);
    match most {
        Some((count, name)) => {
            format!("most have {name} {unit} ({}).", format::counted(*count, "text", "texts"))
        }
        None => "no texts.".to_owned(),
    }
}

fn bars(names: &[String], counts: &[u64], unit: &str, palette: &Palette) -> Value {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    json!({
        "animation": false,
        "grid": grid(),
        "tooltip": tooltip(palette, "axis", &format!("{{b}}{unit}: {{c}} texts")),
        "xAxis": {
            "type": "category",
            "data": names,
            "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true },
            "axisLine": { "lineStyle": { "color": palette.line } },
            "axisTick": { "show": false },
        },
        "yAxis": value_axis(palette),
        "series": [{
            "type": "bar",
            "data": counts,
            "barCategoryGap": "12%",
            "barMaxWidth": 48,
            "itemStyle": { "color": palette.first, "borderRadius": [2, 2, 0, 0] },
        }],
    })
}

fn boxes(charts: &DatasetCharts, palette: &Palette, inks: &[String]) -> Value {
    let pairs: Vec<_> = charts.labels.iter().zip(&charts.label_lengths).take(MOST_BOXES).enumerate().collect();
    // The first label on top.
    let names: Vec<&str> = pairs.iter().rev().map(|(_, (label, _))| label.label.as_str()).collect();
    let data: Vec<Value> = pairs
        .iter()
        .rev()
        .map(|(index, (_, l))| {
            let ink = inks.get(index % inks.len().max(1)).unwrap_or(&palette.first);
            json!({
                "value": [l.shortest.max(1), l.quarter.max(1), l.median.max(1), l.three_quarters.max(1), l.longest.max(1)],
                "itemStyle": { "color": "transparent", "borderColor": ink, "borderWidth": 2 },
            })
        })
        .collect();
    let longest = pairs.iter().map(|(_, (_, l))| l.longest).max().unwrap_or(1);
    let middle = pairs.iter().map(|(_, (_, l))| l.three_quarters).max().unwrap_or(1);
    // One text of a book's length would press all boxes flat.
    let kind = if longest > 10 * middle.max(1) { "log" } else { "value" };
    let mut x_axis = value_axis(palette);
    x_axis["type"] = json!(kind);
    let format = "{b} (characters)";
    json!({
        "animation": false,
        "grid": grid(),
        "tooltip": tooltip(palette, "item", format),
        "xAxis": x_axis,
        "yAxis": {
            "type": "category",
            "data": names,
            "axisLabel": { "color": palette.text, "fontSize": 12, "width": 110, "overflow": "truncate" },
            "axisLine": { "show": false },
            "axisTick": { "show": false },
        },
        "series": [{ "type": "boxplot", "data": data, "boxWidth": [8, 22] }],
    })
}

fn grid() -> Value {
    json!({ "left": 4, "right": 14, "top": 12, "bottom": 6, "containLabel": true })
}

fn value_axis(palette: &Palette) -> Value {
    json!({
        "type": "value",
        "splitNumber": 4,
        "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true },
        "axisLine": { "show": false },
        "axisTick": { "show": false },
        "splitLine": { "lineStyle": { "color": palette.line } },
    })
}

/// `formatter` is a template of ECharts', never a function: the page's policy forbids made-up scripts.
fn tooltip(palette: &Palette, trigger: &str, formatter: &str) -> Value {
    let mut tooltip = json!({
        "trigger": trigger,
        "confine": true,
        "backgroundColor": palette.surface,
        "borderColor": palette.line,
        "textStyle": { "color": palette.text, "fontSize": 12 },
        "axisPointer": { "type": "shadow", "shadowStyle": { "color": palette.line, "opacity": 0.35 } },
    });
    // A box has five numbers, which ECharts lists by itself.
    if trigger == "axis" {
        tooltip["formatter"] = json!(formatter);
    }
    tooltip
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::dataset::LabelCount;
    use domain::finding::LengthSummary;

    fn charts() -> DatasetCharts {
        let lengths = LengthSummary { shortest: 0, quarter: 40, median: 60, three_quarters: 90, longest: 20_000 };
        DatasetCharts {
            labels: vec![LabelCount { label: "a".into(), rows: 7 }, LabelCount { label: "b".into(), rows: 3 }],
            lengths: Histogram { edges: vec![0.0, 1.0, 20.0, 40.0], counts: vec![1, 5, 4] },
            label_lengths: vec![lengths, lengths],
            repetitions: vec![(1, 9000), (2, 500), (3, 10)],
            ..DatasetCharts::default()
        }
    }

    #[test]
    fn buckets_are_named_by_what_they_hold() {
        assert_eq!(names(&charts().lengths), ["0", "1–19", "20–39"]);
        let odd = Histogram { edges: vec![5.0], counts: vec![1, 2] };
        assert!(names(&odd).is_empty());
        assert!(histogram_rows(&odd).is_empty());
    }

    #[test]
    fn every_chart_has_words_and_figures() {
        let charts = charts();
        assert_eq!(
            Distribution::Lengths.in_words(&charts),
            "Length of the texts: most have 1–19 characters (5 texts)."
        );
        assert_eq!(
            Distribution::Repetitions.in_words(&charts),
            "510 texts occur more than once, the most frequent 3 times."
        );
        assert_eq!(Distribution::LabelLengths.in_words(&charts), "Median length in characters: a 60, b 60.");
        for chart in Distribution::ALL {
            let figures = chart.figures(&charts);
            assert!(figures.rows.iter().all(|row| row.len() == figures.heads.len()), "{chart:?}");
            assert_eq!(chart.has_points(&charts), chart != Distribution::Tokens);
            assert!(!chart.has_points(&DatasetCharts::default()));
        }
    }

    #[test]
    fn options_are_plain_data() {
        let [text, muted, line, surface, first, second] = ["a", "b", "c", "d", "e", "f"].map(String::from);
        let palette = Palette { text, muted, line, surface, first, second };
        for chart in Distribution::ALL {
            for inks in [vec![], vec!["red".to_string()]] {
                let option = chart.option(&charts(), &palette, &inks);
                assert!(option["series"][0]["data"].is_array(), "{chart:?}");
                assert!(!option.to_string().contains("function"));
            }
        }
        let boxes = Distribution::LabelLengths.option(&charts(), &palette, &[]);
        assert_eq!((&boxes["xAxis"]["type"], &boxes["series"][0]["data"][0]["value"][0]), (&json!("log"), &json!(1)));
    }
}
