//! The five charts of a run and how each of them looks.

use super::curve::{MOST_POINTS, XAxis, significant, smooth, thin_out};
use charming::{
    Chart,
    component::{Axis, DataZoom, DataZoomType, FilterMode, Grid},
    element::{
        AxisLabel, AxisPointer, AxisPointerType, AxisTick, AxisType, ItemStyle, LineStyle, LineStyleType, SplitLine,
        Symbol, Tooltip, Trigger,
    },
    series::Line,
};
use domain::run::RunPicture;
use serde_json::{Value, json};

/// One chart of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panel {
    Loss,
    Quality,
    LearningRate,
    GradNorm,
    Speed,
}

/// Which of the palette's inks a line is drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// What training itself emits.
    First,
    /// What was measured on the validation rows.
    Second,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Faint: the raw values behind a smoothed line.
    Raw,
    Plain,
    /// With a mark at every point, for the few looks at the validation rows.
    Marked,
    /// As `Marked`, told apart by dashes as well as by colour.
    MarkedDashed,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub id: &'static str,
    pub name: &'static str,
    pub ink: Ink,
    pub stroke: Stroke,
    pub points: Vec<(f64, f64)>,
}

/// The colours of the page, as the browser has resolved them, in CSS words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    pub text: String,
    pub muted: String,
    pub line: String,
    pub surface: String,
    pub first: String,
    pub second: String,
}

impl Panel {
    pub const ALL: [Self; 5] = [Self::Loss, Self::Quality, Self::LearningRate, Self::GradNorm, Self::Speed];

    /// Id of the element that the chart is drawn in.
    pub fn id(self) -> &'static str {
        match self {
            Self::Loss => "chart-loss",
            Self::Quality => "chart-quality",
            Self::LearningRate => "chart-learning-rate",
            Self::GradNorm => "chart-grad-norm",
            Self::Speed => "chart-speed",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::Quality => "Quality on the validation rows",
            Self::LearningRate => "Learning rate",
            Self::GradNorm => "Gradient norm",
            Self::Speed => "Rows per second",
        }
    }

    /// Name, ink and stroke of its lines, for the legend; the raw line behind a smoothed one has no entry.
    pub fn legend(self) -> &'static [(&'static str, Ink, Stroke)] {
        match self {
            Self::Loss => &[("training", Ink::First, Stroke::Plain), ("validation", Ink::Second, Stroke::Marked)],
            Self::Quality => {
                &[("accuracy", Ink::Second, Stroke::Marked), ("macro-F1", Ink::Second, Stroke::MarkedDashed)]
            }
            Self::LearningRate | Self::GradNorm | Self::Speed => &[],
        }
    }

    /// The lines of this chart. `smoothing` is the weight of the past, from 0 to below 1.
    pub fn curves(self, picture: &RunPicture, x: XAxis, smoothing: f64) -> Vec<Curve> {
        let curve = |id, name, ink, stroke, points: Vec<(f64, f64)>| Curve { id, name, ink, stroke, points };
        let xs = || picture.steps.iter().map(|point| x.of_step(point));
        let steps = |value: fn(&domain::run::StepPoint) -> f64, weight: f64| {
            let values = smooth(picture.steps.iter().map(value), weight).into_iter().map(significant);
            thin_out(xs().zip(values).collect(), MOST_POINTS)
        };
        let looks = |value: fn(&domain::run::ValidationPoint) -> f64| {
            picture.validations.iter().map(|point| (x.of_validation(point), significant(value(point)))).collect()
        };
        match self {
            Self::Loss => vec![
                curve("raw", "training, raw", Ink::First, Stroke::Raw, steps(|point| point.loss, 0.0)),
                curve("smooth", "training", Ink::First, Stroke::Plain, steps(|point| point.loss, smoothing)),
                curve("validation", "validation", Ink::Second, Stroke::Marked, looks(|point| point.loss)),
            ],
            Self::Quality => vec![
                curve("accuracy", "accuracy", Ink::Second, Stroke::Marked, looks(|point| point.accuracy)),
                curve("macro_f1", "macro-F1", Ink::Second, Stroke::MarkedDashed, looks(|point| point.macro_f1)),
            ],
            Self::LearningRate => vec![curve(
                "learning_rate",
                "learning rate",
                Ink::First,
                Stroke::Plain,
                steps(|point| point.learning_rate, 0.0),
            )],
            Self::GradNorm => vec![
                curve("raw", "gradient norm, raw", Ink::First, Stroke::Raw, steps(|point| point.grad_norm, 0.0)),
                curve("smooth", "gradient norm", Ink::First, Stroke::Plain, steps(|point| point.grad_norm, smoothing)),
            ],
            Self::Speed => vec![curve(
                "speed",
                "rows per second",
                Ink::First,
                Stroke::Plain,
                steps(|point| point.rows_per_second, 0.0),
            )],
        }
    }

    /// What the chart shows in words, for those who do not see it.
    pub fn in_words(self, picture: &RunPicture) -> String {
        let Some(step) = picture.steps.last() else { return format!("{}: no points yet.", self.title()) };
        let at = format!("at step {} of {}", step.step, step.total_steps);
        let validation = picture.validations.last();
        match self {
            Self::Loss => {
                let first = picture.steps.first().map_or(step.loss, |point| point.loss);
                let looked =
                    validation.map_or(String::new(), |point| format!("; {:.3} on the validation rows", point.loss));
                format!("Loss: {first:.3} at the start, {:.3} {at}{looked}.", step.loss)
            }
            Self::Quality => match validation {
                None => "Quality on the validation rows: not looked at yet.".to_string(),
                Some(point) => format!(
                    "Quality on the validation rows: accuracy {:.3}, macro-F1 {:.3} at step {}.",
                    point.accuracy, point.macro_f1, point.step
                ),
            },
            Self::LearningRate => format!("Learning rate: {} {at}.", significant(step.learning_rate)),
            Self::GradNorm => format!("Gradient norm: {:.3} {at}.", step.grad_norm),
            Self::Speed => format!("Rows per second: {:.1} {at}.", step.rows_per_second),
        }
    }

    /// The whole chart as an ECharts option.
    pub fn option(self, curves: &[Curve], end: f64, x: XAxis, palette: &Palette) -> Value {
        let has_slider = self == Self::Loss;
        let x_axis = Axis::new()
            .type_(AxisType::Value)
            .min(0)
            .max(axis_end(end))
            .split_number(5)
            .axis_label(AxisLabel::new().color(palette.muted.as_str()).font_size(11).formatter(x_label(x)))
            .axis_tick(AxisTick::new().show(false))
            .split_line(SplitLine::new().show(false));
        let y_axis = Axis::new()
            .type_(AxisType::Value)
            .scale(self != Self::Speed && self != Self::GradNorm && self != Self::LearningRate)
            .split_number(4)
            .axis_label(AxisLabel::new().color(palette.muted.as_str()).font_size(11))
            .split_line(SplitLine::new().line_style(LineStyle::new().color(palette.line.as_str())));
        let mut chart = Chart::new()
            .animation(false)
            .grid(Grid::new().left(4).right(14).top(12).bottom(if has_slider { 40 } else { 6 }).contain_label(true))
            .tooltip(
                Tooltip::new()
                    .trigger(Trigger::Axis)
                    .background_color(palette.surface.as_str())
                    .border_color(palette.line.as_str())
                    .axis_pointer(
                        AxisPointer::new()
                            .type_(AxisPointerType::Line)
                            .line_style(LineStyle::new().color(palette.muted.as_str())),
                    ),
            )
            .x_axis(x_axis)
            .y_axis(y_axis)
            .data_zoom(zoom(DataZoomType::Inside, "zoom-inside"))
            // The slider stands in every chart under the same id, so that linked charts understand each other's zoom,
            // but is seen in one.
            .data_zoom(
                zoom(DataZoomType::Slider, "zoom-slider")
                    .show(has_slider)
                    .bottom(4)
                    .border_color(palette.line.as_str())
                    .text_style(charming::element::TextStyle::new().color(palette.muted.as_str()).font_size(11)),
            );
        for curve in curves {
            chart = chart.series(curve.drawn(palette));
        }
        let mut option = serde_json::to_value(chart).unwrap_or_default();
        put_points(&mut option, curves);
        // Words that charming has no setters for.
        option["tooltip"]["confine"] = json!(true);
        option["tooltip"]["textStyle"] = json!({ "color": palette.text, "fontSize": 12 });
        option["xAxis"]["axisPointer"] = json!({ "label": { "precision": x_digits(x) } });
        option["dataZoom"][0]["zoomOnMouseWheel"] = json!("shift");
        option["dataZoom"][0]["moveOnMouseWheel"] = json!(false);
        option["dataZoom"][0]["preventDefaultMouseMove"] = json!(false);
        option["dataZoom"][1]["fillerColor"] = json!("transparent");
        option["dataZoom"][1]["dataBackground"] = shadow(&palette.line, 0.0);
        option["dataZoom"][1]["selectedDataBackground"] = shadow(&palette.first, 0.15);
        option["dataZoom"][1]["handleStyle"] = json!({ "color": palette.surface, "borderColor": palette.muted });
        option["dataZoom"][1]["moveHandleStyle"] = json!({ "color": palette.muted, "opacity": 0.5 });
        option["dataZoom"][1]["emphasis"] = json!({
            "handleStyle": { "color": palette.surface, "borderColor": palette.first },
            "moveHandleStyle": { "color": palette.first },
        });
        option["yAxis"]["axisLine"] = json!({ "show": false });
        option["yAxis"]["axisTick"] = json!({ "show": false });
        option["dataZoom"][1]["height"] = json!(20);
        option["dataZoom"][1]["brushSelect"] = json!(false);
        option["xAxis"]["axisLine"] = json!({ "lineStyle": { "color": palette.line } });
        for axis in ["xAxis", "yAxis"] {
            option[axis]["axisLabel"]["hideOverlap"] = json!(true);
        }
        if self == Self::Quality {
            option["yAxis"]["max"] = json!(1);
        }
        option
    }

    /// Only what grows: ECharts merges it into the living chart by the lines' ids.
    pub fn patch(curves: &[Curve], end: f64) -> Value {
        let mut chart = Chart::new().x_axis(Axis::new().max(axis_end(end)));
        for curve in curves {
            chart = chart.series(Line::new().id(curve.id));
        }
        let mut option = serde_json::to_value(chart).unwrap_or_default();
        put_points(&mut option, curves);
        option
    }
}

impl Curve {
    fn drawn(&self, palette: &Palette) -> Line {
        let color = match self.ink {
            Ink::First => palette.first.as_str(),
            Ink::Second => palette.second.as_str(),
        };
        let style = LineStyle::new().color(color);
        let style = match self.stroke {
            Stroke::Raw => style.width(1).opacity(0.28),
            Stroke::Plain | Stroke::Marked => style.width(2),
            Stroke::MarkedDashed => style.width(2).type_(LineStyleType::Dashed),
        };
        let line = Line::new().id(self.id).name(self.name).line_style(style).item_style(ItemStyle::new().color(color));
        match self.stroke {
            Stroke::Raw | Stroke::Plain => line.show_symbol(false),
            Stroke::Marked => line.symbol(Symbol::Circle).symbol_size(7).show_symbol(true),
            Stroke::MarkedDashed => line.symbol(Symbol::Diamond).symbol_size(8).show_symbol(true),
        }
    }
}

/// The small line behind the slider.
fn shadow(color: &str, fill: f64) -> Value {
    json!({ "lineStyle": { "color": color, "width": 1 }, "areaStyle": { "color": color, "opacity": fill } })
}

/// What is zoomed out of does not count for the height either: the start of the loss would press the rest flat.
fn zoom(kind: DataZoomType, id: &str) -> DataZoom {
    DataZoom::new().type_(kind).id(id).filter_mode(FilterMode::Filter).min_span(1)
}

fn x_label(x: XAxis) -> &'static str {
    match x {
        XAxis::Step | XAxis::Epoch => "{value}",
        XAxis::Time => "{value} s",
    }
}

/// Digits after the point of what the tooltip says of the horizontal axis.
fn x_digits(x: XAxis) -> u8 {
    match x {
        XAxis::Step => 0,
        XAxis::Epoch => 2,
        XAxis::Time => 1,
    }
}

/// An axis cannot end where it begins.
fn axis_end(end: f64) -> f64 {
    if end > 0.0 { end } else { 1.0 }
}

/// The points of every line. charming leaves out a line's data where there is none, and ECharts would then keep what it
/// has.
fn put_points(option: &mut Value, curves: &[Curve]) {
    for (index, curve) in curves.iter().enumerate() {
        option["series"][index]["data"] = json!(curve.points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::run::{StepPoint, ValidationPoint};

    fn picture(steps: u64) -> RunPicture {
        RunPicture {
            steps: (1..=steps)
                .map(|step| StepPoint {
                    step,
                    total_steps: 10,
                    epoch: step as f64 / 5.0,
                    loss: 3.0 / step as f64,
                    learning_rate: 1e-3,
                    grad_norm: 0.5,
                    rows_per_second: 12.0,
                    elapsed_seconds: step as f64 * 2.0,
                    seconds_left: 0.0,
                })
                .collect(),
            validations: vec![ValidationPoint {
                step: 5,
                epoch: 1.0,
                elapsed_seconds: 10.0,
                loss: 1.0,
                accuracy: 0.5,
                macro_f1: 0.4,
                best: true,
            }],
            ..RunPicture::default()
        }
    }

    fn palette() -> Palette {
        let [text, muted, line, surface, first, second] = ["a", "b", "c", "d", "e", "f"].map(String::from);
        Palette { text, muted, line, surface, first, second }
    }

    #[test]
    fn a_patch_names_every_line_of_the_chart_it_is_merged_into() {
        for panel in Panel::ALL {
            let curves = panel.curves(&picture(8), XAxis::Epoch, 0.6);
            let ids = |option: &Value| -> Vec<String> {
                option["series"].as_array().unwrap().iter().map(|line| line["id"].to_string()).collect()
            };
            let whole = panel.option(&curves, 1.6, XAxis::Epoch, &palette());
            let patch = Panel::patch(&curves, 1.6);
            assert_eq!(ids(&whole), ids(&patch));
            assert_eq!(whole["xAxis"]["max"], patch["xAxis"]["max"]);
            let empty =
                panel.option(&panel.curves(&RunPicture::default(), XAxis::Step, 0.6), 0.0, XAxis::Step, &palette());
            assert!(empty["series"].as_array().unwrap().iter().all(|line| line["data"] == json!([])));
            assert!(!whole.to_string().contains("function"), "the page's policy forbids made-up scripts");
        }
    }

    #[test]
    fn the_axis_ends_alike_in_all_charts() {
        assert_eq!(XAxis::Step.end(&picture(8)), 8.0);
        assert_eq!(XAxis::Epoch.end(&picture(2)), 1.0);
        assert_eq!(XAxis::Time.end(&RunPicture::default()), 0.0);
    }

    #[test]
    fn every_chart_has_words() {
        for panel in Panel::ALL {
            assert!(panel.in_words(&RunPicture::default()).starts_with(panel.title()));
            assert!(panel.in_words(&picture(8)).contains("step"), "{}", panel.in_words(&picture(8)));
        }
    }
}
