//! The curves of several runs laid over each other.

use super::curve::{XAxis, significant};
use super::panel::Palette;
use domain::runs_comparison::{ComparedRun, CurvePoint, RunCurves};
use serde_json::{Value, json};

/// One chart of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    Loss,
    ValidationLoss,
    Accuracy,
    MacroF1,
}

/// How lines are dashed, so that they are told apart by more than their colour.
const DASHES: [&str; 3] = ["solid", "dashed", "dotted"];

impl Overlay {
    pub const ALL: [Self; 4] = [Self::Loss, Self::ValidationLoss, Self::Accuracy, Self::MacroF1];

    /// Id of the element that the chart is drawn in.
    pub fn id(self) -> &'static str {
        match self {
            Self::Loss => "chart-compare-loss",
            Self::ValidationLoss => "chart-compare-validation-loss",
            Self::Accuracy => "chart-compare-accuracy",
            Self::MacroF1 => "chart-compare-macro-f1",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Loss => "Training loss",
            Self::ValidationLoss => "Validation loss",
            Self::Accuracy => "Validation accuracy",
            Self::MacroF1 => "Validation macro-F1",
        }
    }

    fn points(self, curves: &RunCurves) -> &[CurvePoint] {
        match self {
            Self::Loss => &curves.loss,
            Self::ValidationLoss => &curves.validation_loss,
            Self::Accuracy => &curves.accuracy,
            Self::MacroF1 => &curves.macro_f1,
        }
    }

    pub fn has_points(self, runs: &[ComparedRun]) -> bool {
        runs.iter().any(|run| !self.points(&run.curves).is_empty())
    }

    pub fn in_words(self, runs: &[ComparedRun]) -> String {
        let ends = runs.iter().filter_map(|run| {
            let last = self.points(&run.curves).last()?;
            Some(format!("{} ends at {:.3}", name(run), last.value))
        });
        format!("{}: {}.", self.title(), ends.collect::<Vec<_>>().join(", "))
    }

    /// `inks` are the colours of the runs, to be begun again after the last.
    pub fn option(self, runs: &[ComparedRun], x: XAxis, palette: &Palette, inks: &[String]) -> Value {
        let place = |point: &CurvePoint| match x {
            XAxis::Step => point.step as f64,
            XAxis::Epoch => significant(point.epoch),
            XAxis::Time => significant(point.seconds),
        };
        let series: Vec<Value> = runs
            .iter()
            .enumerate()
            .map(|(index, run)| {
                let ink = inks.get(index % inks.len().max(1)).unwrap_or(&palette.first);
                let points: Vec<(f64, f64)> =
                    self.points(&run.curves).iter().map(|point| (place(point), significant(point.value))).collect();
                json!({
                    "id": format!("run-{}", run.detail.summary.id),
                    "name": name(run),
                    "type": "line",
                    "data": points,
                    "showSymbol": points.len() < 30,
                    "symbolSize": 6,
                    "lineStyle": { "color": ink, "width": 2, "type": DASHES[index % DASHES.len()] },
                    "itemStyle": { "color": ink },
                })
            })
            .collect();
        let axis = |scale: bool| {
            json!({
                "type": "value",
                "scale": scale,
                "splitNumber": 4,
                "axisLabel": { "color": palette.muted, "fontSize": 11, "hideOverlap": true },
                "axisLine": { "show": false },
                "axisTick": { "show": false },
                "splitLine": { "lineStyle": { "color": palette.line } },
            })
        };
        let mut x_axis = axis(false);
        x_axis["splitLine"] = json!({ "show": false });
        x_axis["axisLine"] = json!({ "show": true, "lineStyle": { "color": palette.line } });
        if x == XAxis::Time {
            x_axis["axisLabel"]["formatter"] = json!("{value} s");
        }
        json!({
            "animation": false,
            "grid": { "left": 4, "right": 14, "top": 12, "bottom": 6, "containLabel": true },
            "tooltip": {
                "trigger": "axis",
                "confine": true,
                "backgroundColor": palette.surface,
                "borderColor": palette.line,
                "textStyle": { "color": palette.text, "fontSize": 12 },
                "axisPointer": { "type": "line", "lineStyle": { "color": palette.muted } },
            },
            "xAxis": x_axis,
            "yAxis": axis(true),
            "series": series,
        })
    }
}

/// Runs may have the same name.
pub fn name(run: &ComparedRun) -> String {
    format!("{} ({})", run.detail.summary.name, run.detail.summary.id)
}
