//! A curve over several seeds: the mean as a line, one standard deviation to either side as a band.

use super::curve::significant;
use super::panel::Palette;
use domain::sweep::BandPoint;
use serde_json::{Value, json};

/// The chart as an ECharts option: the band is an invisible line with a filled one stacked on it.
pub fn option(points: &[BandPoint], palette: &Palette) -> Value {
    let line = |value: &dyn Fn(&BandPoint) -> f64| -> Vec<Value> {
        points.iter().map(|point| json!([point.step, significant(value(point))])).collect()
    };
    let edge = |name: &str, data: Vec<Value>, opacity: f64| {
        json!({
            "type": "line",
            "name": name,
            "data": data,
            "stack": "band",
            "stackStrategy": "all",
            "showSymbol": false,
            "silent": true,
            "lineStyle": { "opacity": 0 },
            "areaStyle": { "color": palette.first, "opacity": opacity },
            "tooltip": { "show": false },
        })
    };
    let few = points.len() < 30;
    json!({
        "animation": false,
        "grid": { "left": 4, "right": 14, "top": 12, "bottom": 6, "containLabel": true },
        "xAxis": {
            "type": "value",
            "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true },
            "axisLine": { "lineStyle": { "color": palette.line } },
            "axisTick": { "show": false },
            "splitLine": { "show": false },
        },
        "yAxis": {
            "type": "value",
            "scale": true,
            "splitNumber": 4,
            "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true },
            "splitLine": { "lineStyle": { "color": palette.line } },
        },
        "tooltip": {
            "trigger": "axis",
            "confine": true,
            "backgroundColor": palette.surface,
            "borderColor": palette.line,
            "textStyle": { "color": palette.text, "fontSize": 12 },
        },
        "series": [
            edge("lower", line(&|point| point.mean - point.deviation), 0.0),
            edge("upper", line(&|point| 2.0 * point.deviation), 0.22),
            {
                "type": "line",
                "name": "mean",
                "data": line(&|point| point.mean),
                "showSymbol": few,
                "lineStyle": { "color": palette.first, "width": 2 },
                "itemStyle": { "color": palette.first },
            },
        ],
    })
}

/// What the chart shows in words.
pub fn in_words(title: &str, points: &[BandPoint]) -> String {
    match points.last() {
        None => format!("{title}: no points yet."),
        Some(last) => format!(
            "{title}: {:.3} ± {:.3} at step {}, mean and standard deviation of {} seeds.",
            last.mean, last.deviation, last.step, last.runs
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_is_one_deviation_to_either_side() {
        let points = [BandPoint { step: 5, mean: 1.0, deviation: 0.25, runs: 3 }];
        let [text, muted, line, surface, first, second] = ["a", "b", "c", "d", "e", "f"].map(String::from);
        let option = option(&points, &Palette { text, muted, line, surface, first, second });
        assert_eq!(option["series"][0]["data"], json!([[5, 0.75]]));
        assert_eq!(option["series"][1]["data"], json!([[5, 0.5]]));
        assert!(in_words("Loss", &points).contains("1.000 ± 0.250 at step 5"));
        assert!(in_words("Loss", &[]).contains("no points"));
    }
}
