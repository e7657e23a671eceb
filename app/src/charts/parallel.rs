//! The chart of a sweep: one line per run through the values of its settings to its score. Pure: from the trials to what
//! ECharts draws, and to words.

use super::curve::significant;
use super::panel::Palette;
use domain::spec::{KnobKind, find_knob};
use domain::sweep::SweepDetail;
use serde_json::{Value, json};

/// Id of the element that the chart is drawn in.
pub const PARALLEL_ID: &str = "chart-sweep";

/// Longest name of a value on an axis, in characters.
const LONGEST_VALUE: usize = 18;
/// Numbers that lie further apart than this are drawn by their logarithm.
const WIDE: f64 = 20.0;

/// Lines that there are: trials with a score.
pub fn has_lines(sweep: &SweepDetail) -> bool {
    sweep.trials.iter().any(|trial| trial.validation_macro_f1.is_some())
}

/// What the chart shows, for those who do not see it; the table beside it holds all of it.
pub fn in_words(sweep: &SweepDetail) -> String {
    let scored = sweep.trials.iter().filter(|trial| trial.validation_macro_f1.is_some()).count();
    let Some(best) = sweep.best.and_then(|place| sweep.trials.get(place)) else {
        return "Settings and scores of the runs: no scores yet.".to_string();
    };
    let values = sweep.space.dimensions.iter().zip(&best.values);
    let values: Vec<String> = values.map(|(dimension, value)| format!("{} {value}", dimension.knob)).collect();
    format!(
        "Settings and scores of {scored} runs. The best, number {}, has {} and macro-F1 {:.3} on the validation rows.",
        best.place + 1,
        values.join(", "),
        best.validation_macro_f1.unwrap_or_default()
    )
}

/// The whole chart as an ECharts option.
pub fn option(sweep: &SweepDetail, palette: &Palette) -> Value {
    let columns: Vec<Column> =
        (0..sweep.space.dimensions.len()).map(|dimension| Column::of(sweep, dimension)).collect();
    let mut axes: Vec<Value> = columns.iter().enumerate().map(|(dim, column)| column.axis(dim, palette)).collect();
    let mut score = axis(columns.len(), "validation macro-F1", palette);
    score["scale"] = json!(true);
    axes.push(score);
    let line = |place: usize| {
        let trial = &sweep.trials[place];
        let mut point: Vec<Value> = columns.iter().map(|column| column.point(&trial.values)).collect();
        point.push(json!(significant(trial.validation_macro_f1.unwrap_or_default())));
        json!(point)
    };
    let scored = |wanted: &dyn Fn(usize) -> bool| -> Vec<Value> {
        let trials = sweep.trials.iter().filter(|trial| trial.validation_macro_f1.is_some());
        trials.map(|trial| trial.place).filter(|place| wanted(*place)).map(line).collect()
    };
    let is_best = |place: usize| sweep.best == Some(place);
    let is_out = |place: usize| sweep.trials[place].dropped_at.is_some();
    let series = |name: &str, color: &str, width: f64, opacity: f64, dashed: bool, data: Vec<Value>| {
        let kind = if dashed { "dashed" } else { "solid" };
        json!({
            "type": "parallel",
            "name": name,
            "data": data,
            "lineStyle": { "color": color, "width": width, "opacity": opacity, "type": kind },
            "silent": true,
        })
    };
    json!({
        "animation": false,
        "parallel": { "left": 80, "right": 64, "top": 44, "bottom": 20 },
        "parallelAxis": axes,
        "series": [
            series("stopped at a rung", &palette.muted, 1.5, 0.55, true, scored(&|place| is_out(place) && !is_best(place))),
            series("others", &palette.first, 1.5, 0.7, false, scored(&|place| !is_out(place) && !is_best(place))),
            series("best", &palette.second, 3.5, 1.0, false, scored(&is_best)),
        ],
    })
}

/// One setting: how its values stand on their axis.
enum Column {
    Numbers { name: String, at: usize, log: bool },
    Names { name: String, at: usize, names: Vec<String> },
}

impl Column {
    fn of(sweep: &SweepDetail, at: usize) -> Self {
        let name = sweep.space.dimensions[at].knob.clone();
        let values = || sweep.trials.iter().filter_map(|trial| trial.values.get(at));
        let is_number = find_knob(&name)
            .is_some_and(|knob| matches!(knob.kind, KnobKind::Integer { .. } | KnobKind::Number { .. }));
        if is_number {
            let numbers: Vec<f64> = values().filter_map(|value| value.parse().ok()).collect();
            let lowest = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            return Self::Numbers { name, at, log: lowest > 0.0 && highest / lowest > WIDE };
        }
        let mut names: Vec<String> = Vec::new();
        for value in values() {
            if !names.contains(value) {
                names.push(value.clone());
            }
        }
        Self::Names { name, at, names }
    }

    fn axis(&self, dim: usize, palette: &Palette) -> Value {
        match self {
            Self::Numbers { name, log, .. } => {
                let mut axis = axis(dim, name, palette);
                axis["scale"] = json!(true);
                if *log {
                    axis["type"] = json!("log");
                }
                axis
            }
            Self::Names { name, names, .. } => {
                let mut axis = axis(dim, name, palette);
                axis["type"] = json!("category");
                axis["data"] = json!((0..names.len()).map(|index| shown(names, index)).collect::<Vec<_>>());
                axis
            }
        }
    }

    fn point(&self, values: &[String]) -> Value {
        match self {
            Self::Numbers { at, .. } => json!(values.get(*at).and_then(|value| value.parse::<f64>().ok())),
            Self::Names { at, names, .. } => {
                let index = values.get(*at).and_then(|value| names.iter().position(|name| name == value));
                json!(index.map(|index| shown(names, index)))
            }
        }
    }
}

/// Short enough for an axis and still another than the others.
fn shown(names: &[String], index: usize) -> String {
    let name = names[index].split_whitespace().collect::<Vec<_>>().join(" ");
    if name.chars().count() <= LONGEST_VALUE {
        return name;
    }
    let short: String = name.chars().take(LONGEST_VALUE - 3).collect();
    format!("{}: {short}…", index + 1)
}

fn axis(dim: usize, name: &str, palette: &Palette) -> Value {
    json!({
        "dim": dim,
        "name": name,
        // Every other name a little higher, so that long ones do not run into each other.
        "nameGap": if dim.is_multiple_of(2) { 10 } else { 24 },
        "nameTextStyle": { "color": palette.text, "fontSize": 11 },
        "axisLabel": { "color": palette.muted, "fontSize": 11 },
        "axisLine": { "lineStyle": { "color": palette.muted } },
        "axisTick": { "show": false },
        "splitNumber": 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::run::RunStatus;
    use domain::sweep::{Dimension, Search, Space, SweepKind, SweepStatus, SweepSummary, Trial};

    fn sweep() -> SweepDetail {
        let trial = |place: usize, values: [&str; 2], score, dropped_at| Trial {
            place,
            run: place as i64 + 1,
            name: format!("#{place}"),
            status: RunStatus::Finished,
            values: values.map(String::from).to_vec(),
            dropped_at,
            note: None,
            validation_macro_f1: score,
            test_accuracy: None,
            test_macro_f1: None,
            progress: 1.0,
        };
        SweepDetail {
            summary: SweepSummary {
                id: 1,
                kind: SweepKind::Search,
                name: "s".into(),
                status: SweepStatus::Finished,
                dataset_id: 1,
                dataset_name: "d".into(),
                runs: vec![1, 2, 3],
                created_at_ms: 0,
            },
            space: Space {
                dimensions: vec![
                    Dimension::parse("learning_rate", "1e-5, 1e-3").unwrap(),
                    Dimension::parse("target_modules", "q_proj | all-linear").unwrap(),
                ],
                search: Search::Grid,
                halving: None,
            },
            seed: 0,
            rungs_done: 0,
            trials: vec![
                trial(0, ["1e-5", "q_proj"], Some(0.3), Some(1)),
                trial(1, ["1e-3", "q_proj,k_proj,v_proj,o_proj"], Some(0.75), None),
                trial(2, ["1e-3", "q_proj"], None, None),
            ],
            best: Some(1),
            progress: 1.0,
            seconds_left: None,
        }
    }

    #[test]
    fn every_scored_run_is_one_line_and_the_best_stands_out() {
        let palette = {
            let [text, muted, line, surface, first, second] = ["a", "b", "c", "d", "e", "f"].map(String::from);
            Palette { text, muted, line, surface, first, second }
        };
        let option = option(&sweep(), &palette);
        let lines = |series: usize| option["series"][series]["data"].as_array().unwrap().len();
        assert_eq!([lines(0), lines(1), lines(2)], [1, 0, 1]);
        assert_eq!(option["parallelAxis"][0]["type"], "log");
        assert_eq!(option["parallelAxis"][1]["data"][0], "q_proj");
        assert_eq!(option["series"][2]["data"][0][1], option["parallelAxis"][1]["data"][1]);
        assert!(!option.to_string().contains("function"));
        let words = in_words(&sweep());
        assert!(words.contains("2 runs") && words.contains("number 2") && words.contains("0.750"), "{words}");
    }
}
