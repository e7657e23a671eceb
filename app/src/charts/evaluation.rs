//! The charts of an evaluation: whether confidence means what it says, and what abstaining buys. Pure: from the numbers to
//! what ECharts draws, to words.

use super::curve::significant;
use super::panel::Palette;
use crate::format;
use domain::metrics::calibration::{Calibration, Coverage};
use serde_json::{Value, json};

/// Ids of the elements that the charts are drawn in.
pub const RELIABILITY: &str = "chart-reliability";
pub const COVERAGE: &str = "chart-coverage";

/// Accuracy over confidence in bars, beside the diagonal on which an honest classifier lies.
pub fn reliability(calibration: &Calibration, palette: &Palette) -> Value {
    let bars: Vec<Value> = calibration
        .bins
        .iter()
        .map(|bin| if bin.rows == 0 { json!("-") } else { json!(rounded(100.0 * bin.accuracy)) })
        .collect();
    let confidence: Vec<Value> = calibration
        .bins
        .iter()
        .map(|bin| if bin.rows == 0 { json!("-") } else { json!(rounded(100.0 * bin.confidence)) })
        .collect();
    let names: Vec<String> =
        calibration.bins.iter().map(|bin| format!("{:.0}–{:.0} %", 100.0 * bin.low, 100.0 * bin.high)).collect();
    let honest: Vec<f64> = calibration.bins.iter().map(|bin| rounded(50.0 * (bin.low + bin.high))).collect();
    json!({
        "animation": false,
        "grid": grid(),
        "legend": legend(palette),
        "tooltip": tooltip(palette),
        "xAxis": {
            "type": "category",
            "data": names,
            "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true },
            "axisLine": { "lineStyle": { "color": palette.line } },
            "axisTick": { "show": false },
        },
        "yAxis": percent_axis(palette),
        "series": [
            {
                "id": "accuracy", "name": "accuracy", "type": "bar", "data": bars, "barCategoryGap": "8%",
                "itemStyle": { "color": palette.first, "borderRadius": [2, 2, 0, 0] },
            },
            {
                "id": "confidence", "name": "confidence", "type": "line", "data": confidence, "symbol": "diamond",
                "symbolSize": 9, "lineStyle": { "width": 0 }, "itemStyle": { "color": palette.second },
            },
            {
                "id": "honest", "name": "honest", "type": "line", "data": honest, "showSymbol": false,
                "lineStyle": { "color": palette.muted, "width": 1, "type": "dashed" },
                "itemStyle": { "color": palette.muted },
            },
        ],
    })
}

/// Accuracy of the rows that are answered, over their share of all rows; a mark where the threshold stands.
pub fn coverage(curve: &[Coverage], at: &Coverage, palette: &Palette) -> Value {
    let points: Vec<(f64, f64)> = curve
        .iter()
        .rev()
        .filter_map(|point| Some((rounded(100.0 * point.coverage), rounded(100.0 * point.accuracy?))))
        .collect();
    let mark: Vec<(f64, f64)> =
        at.accuracy.map(|accuracy| (rounded(100.0 * at.coverage), rounded(100.0 * accuracy))).into_iter().collect();
    let mut x_axis = percent_axis(palette);
    x_axis["axisLine"] = json!({ "show": true, "lineStyle": { "color": palette.line } });
    x_axis["splitLine"] = json!({ "show": false });
    x_axis["name"] = json!("share of rows answered");
    x_axis["nameLocation"] = json!("middle");
    x_axis["nameGap"] = json!(26);
    x_axis["nameTextStyle"] = json!({ "color": palette.muted, "fontSize": 11 });
    let mut y_axis = percent_axis(palette);
    if let Some(least) = points.iter().map(|(_, accuracy)| *accuracy).min_by(f64::total_cmp) {
        y_axis["min"] = json!(((least - 5.0) / 10.0).floor().max(0.0) * 10.0);
    }
    json!({
        "animation": false,
        "grid": { "left": 4, "right": 14, "top": 28, "bottom": 22, "containLabel": true },
        "legend": legend(palette),
        "tooltip": tooltip(palette),
        "xAxis": x_axis,
        "yAxis": y_axis,
        "series": [
            {
                "id": "curve", "name": "accuracy where answered", "type": "line", "data": points, "showSymbol": false,
                "lineStyle": { "color": palette.first, "width": 2 }, "itemStyle": { "color": palette.first },
            },
            {
                "id": "mark", "name": "your threshold", "type": "scatter", "data": mark, "symbolSize": 14,
                "itemStyle": { "color": palette.second, "borderColor": palette.surface, "borderWidth": 2 },
            },
        ],
    })
}

pub fn reliability_in_words(calibration: &Calibration) -> String {
    let widest = calibration
        .bins
        .iter()
        .filter(|bin| bin.rows > 0)
        .max_by(|a, b| (a.confidence - a.accuracy).abs().total_cmp(&(b.confidence - b.accuracy).abs()));
    let ece = format!("Calibration error {}", format::percent(calibration.ece));
    match widest {
        None => format!("{ece}: there are no rows."),
        Some(bin) => format!(
            "{ece}. Farthest off: answers with a confidence of {:.0} to {:.0} % are right {} of the time ({}).",
            100.0 * bin.low,
            100.0 * bin.high,
            format::percent(bin.accuracy),
            format::counted(bin.rows, "row", "rows")
        ),
    }
}

pub fn coverage_in_words(at: &Coverage) -> String {
    let threshold = format!("At a least confidence of {:.0} %", 100.0 * at.threshold);
    match at.accuracy {
        None => format!("{threshold} no row is answered."),
        Some(accuracy) => format!(
            "{threshold} {} of the rows are answered, {} of them right.",
            format::percent(at.coverage),
            format::percent(accuracy)
        ),
    }
}

fn rounded(percent: f64) -> f64 {
    significant((percent * 10.0).round() / 10.0)
}

fn grid() -> Value {
    json!({ "left": 4, "right": 14, "top": 28, "bottom": 6, "containLabel": true })
}

fn legend(palette: &Palette) -> Value {
    json!({ "top": 0, "right": 0, "itemHeight": 10, "textStyle": { "color": palette.text, "fontSize": 12 } })
}

fn percent_axis(palette: &Palette) -> Value {
    json!({
        "type": "value",
        "min": 0,
        "max": 100,
        "splitNumber": 4,
        "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true, "formatter": "{value} %" },
        "axisLine": { "show": false },
        "axisTick": { "show": false },
        "splitLine": { "lineStyle": { "color": palette.line } },
    })
}

fn tooltip(palette: &Palette) -> Value {
    json!({
        "trigger": "axis",
        "confine": true,
        "backgroundColor": palette.surface,
        "borderColor": palette.line,
        "textStyle": { "color": palette.text, "fontSize": 12 },
        "axisPointer": { "lineStyle": { "color": palette.muted } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::metrics::calibration::{calibration, coverage_at, coverage_curve};
    use domain::prediction::Prediction;

    fn rows() -> (Vec<usize>, Vec<Prediction>) {
        let answers = [[0.95, 0.05], [0.85, 0.15], [0.3, 0.7], [0.45, 0.55]];
        (vec![0, 1, 1, 1], answers.map(|p| Prediction::from_probabilities(p.to_vec(), false)).to_vec())
    }

    #[test]
    fn options_are_plain_data_and_hold_the_numbers() {
        let (truth, answers) = rows();
        let [text, muted, line, surface, first, second] = ["a", "b", "c", "d", "e", "f"].map(String::from);
        let palette = Palette { text, muted, line, surface, first, second };
        let drawn = reliability(&calibration(&truth, &answers, 10), &palette);
        assert_eq!(drawn["series"][0]["data"][8], json!(0.0));
        assert_eq!(drawn["series"][0]["data"][0], json!("-"));
        let (curve, at) = (coverage_curve(&truth, &answers, 20), coverage_at(&truth, &answers, 0.6));
        let drawn = coverage(&curve, &at, &palette);
        assert_eq!(drawn["series"][1]["data"], json!([[75.0, 66.7]]));
        assert!(!drawn.to_string().contains("function"));
        let none = coverage(&[], &coverage_at(&[], &[], 0.5), &palette);
        assert_eq!(none["series"][1]["data"], json!([]));
    }

    #[test]
    fn charts_have_words() {
        let (truth, answers) = rows();
        assert_eq!(
            coverage_in_words(&coverage_at(&truth, &answers, 0.6)),
            "At a least confidence of 60 % 75.0 % of the rows are answered, 66.7 % of them right."
        );
        assert!(coverage_in_words(&coverage_at(&truth, &answers, 1.0)).ends_with("no row is answered."));
        assert!(reliability_in_words(&calibration(&truth, &answers, 10)).contains("80 to 90 % are right 0.0 %"));
        assert!(reliability_in_words(&Calibration::default()).contains("no rows"));
    }
}
