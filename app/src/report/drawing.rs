//! The charts of the report, drawn as SVG: plain lines and bars that print as sharply as the words beside them.

use crate::charts::curve::{smooth, thin_out};
use domain::metrics::calibration::Calibration;
use domain::run::RunPicture;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 170.0;
/// Around the plot: room for the numbers of the axes.
const LEFT: f64 = 34.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 8.0;
/// Points of a line.
const MOST_POINTS: usize = 300;

/// Where values lie in the picture.
struct Plot {
    x: (f64, f64),
    y: (f64, f64),
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0).max(1e-12) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0).max(1e-12) * (HEIGHT - TOP - BOTTOM)
    }

    fn line(&self, class: &str, points: &[(f64, f64)]) -> String {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y))).collect();
        format!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "))
    }

    /// Lines and numbers at the ends and in the middle.
    fn axes(&self, words_of_x: impl Fn(f64) -> String, words_of_y: impl Fn(f64) -> String) -> String {
        let mut axes = String::new();
        for share in [0.0, 0.5, 1.0] {
            let (x, y) = (self.x.0 + share * (self.x.1 - self.x.0), self.y.0 + share * (self.y.1 - self.y.0));
            let (at_x, at_y) = (self.x(x), self.y(y));
            axes += &format!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at_y:.1}\" y2=\"{at_y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
                 <text x=\"{at_x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 4.0,
                at_y + 3.0,
                words_of_y(y),
                HEIGHT - 6.0,
                words_of_x(x)
            );
        }
        axes
    }
}

fn picture(words: &str, inside: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{words}\">{inside}</svg>")
}

/// Accuracy over confidence, beside the diagonal.
pub fn reliability(calibration: &Calibration) -> String {
    let plot = Plot { x: (0.0, 1.0), y: (0.0, 1.0) };
    let mut inside = plot.axes(|x| format!("{:.0} %", 100.0 * x), |y| format!("{:.0} %", 100.0 * y));
    for bin in calibration.bins.iter().filter(|bin| bin.rows > 0) {
        let (left, right, top) = (plot.x(bin.low) + 1.0, plot.x(bin.high) - 1.0, plot.y(bin.accuracy));
        inside += &format!(
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            right - left,
            plot.y(0.0) - top
        );
    }
    inside += &plot.line("honest", &[(0.0, 0.0), (1.0, 1.0)]);
    picture("Share of right answers by confidence; the dashed line is honest", &inside)
}

/// The loss of training, smoothed, and that on the validation rows.
pub fn curve_of_loss(run: &RunPicture) -> String {
    let finite =
        |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> { points.into_iter().filter(|(_, y)| y.is_finite()).collect() };
    let losses = smooth(run.steps.iter().map(|point| point.loss), 0.6);
    let steps = finite(run.steps.iter().map(|point| point.step as f64).zip(losses).collect());
    let looks = finite(run.validations.iter().map(|look| (look.step as f64, look.loss)).collect());
    let Some(last) = steps.last().map(|(step, _)| *step) else { return String::new() };
    let highest = steps.iter().chain(&looks).map(|(_, loss)| *loss).fold(0.0, f64::max);
    let plot = Plot { x: (0.0, last.max(1.0)), y: (0.0, if highest > 0.0 { highest } else { 1.0 }) };
    let mut inside = plot.axes(|x| format!("{x:.0}"), |y| format!("{y:.2}"));
    inside += &plot.line("first", &thin_out(steps, MOST_POINTS));
    inside += &plot.line("second", &looks);
    picture("Loss by step: training, and validation in the second colour", &inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::metrics::calibration::ReliabilityBin;

    #[test]
    fn charts_are_drawn_of_anything() {
        assert_eq!(curve_of_loss(&RunPicture::default()), "");
        assert!(reliability(&Calibration::default()).contains("honest"));
        let bin = ReliabilityBin { low: 0.5, high: 0.6, rows: 3, confidence: 0.55, accuracy: 1.0 };
        let drawn = reliability(&Calibration { bins: vec![bin], ece: 0.45 });
        assert_eq!(drawn.matches("<rect").count(), 1);
        assert!(!drawn.contains("NaN"));
    }
}
