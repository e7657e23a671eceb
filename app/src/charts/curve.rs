//! From a run's points to the lines that are drawn: which number stands on which axis, smoothing, and thinning out.
//! Pure functions, so that the server, the browser and the tests agree.

use domain::run::{RunPicture, StepPoint, ValidationPoint};

/// Points of one line that are handed to the chart at most; more than this costs time and shows nothing.
pub const MOST_POINTS: usize = 2000;

/// Significant digits that are kept: what a tooltip shows, since charts format no numbers themselves.
const DIGITS: i32 = 5;

/// What the horizontal axis counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XAxis {
    #[default]
    Step,
    Epoch,
    Time,
}

impl XAxis {
    pub const ALL: [Self; 3] = [Self::Step, Self::Epoch, Self::Time];

    /// The value of the choice in the form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Epoch => "epoch",
            Self::Time => "time",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.as_str() == word)
    }

    pub fn of_step(self, point: &StepPoint) -> f64 {
        match self {
            Self::Step => point.step as f64,
            Self::Epoch => significant(point.epoch),
            Self::Time => significant(point.elapsed_seconds),
        }
    }

    pub fn of_validation(self, point: &ValidationPoint) -> f64 {
        match self {
            Self::Step => point.step as f64,
            Self::Epoch => significant(point.epoch),
            Self::Time => significant(point.elapsed_seconds),
        }
    }

    /// The right end of what is known, the same for all charts of a run so that they zoom together.
    pub fn end(self, picture: &RunPicture) -> f64 {
        let steps = picture.steps.last().map_or(0.0, |point| self.of_step(point));
        let validations = picture.validations.last().map_or(0.0, |point| self.of_validation(point));
        steps.max(validations)
    }
}

/// Exponential moving average without the pull towards zero at the start (Adam's bias correction):
/// s_t = w s_(t-1) + (1 - w) v_t, shown as s_t / (1 - w^t). Weight 0 changes nothing.
pub fn smooth(values: impl IntoIterator<Item = f64>, weight: f64) -> Vec<f64> {
    let weight = weight.clamp(0.0, 0.999);
    let (mut sum, mut memory) = (0.0, 1.0);
    values
        .into_iter()
        .map(|value| {
            if !value.is_finite() {
                return value;
            }
            sum = weight * sum + (1.0 - weight) * value;
            memory *= weight;
            sum / (1.0 - memory)
        })
        .collect()
}

/// At most `most` points that keep the look of the line: the lowest and the highest of every bucket, in order, and
/// both ends.
pub fn thin_out(points: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most || most < 4 {
        return points;
    }
    let last = points.len() - 1;
    let buckets = (most - 2) / 2;
    let mut kept = Vec::with_capacity(most);
    kept.push(points[0]);
    for bucket in 0..buckets {
        let from = 1 + bucket * (last - 1) / buckets;
        let to = 1 + (bucket + 1) * (last - 1) / buckets;
        let lowest = (from..to).min_by(|&a, &b| points[a].1.total_cmp(&points[b].1));
        let highest = (from..to).max_by(|&a, &b| points[a].1.total_cmp(&points[b].1));
        let (Some(lowest), Some(highest)) = (lowest, highest) else { continue };
        kept.push(points[lowest.min(highest)]);
        if lowest != highest {
            kept.push(points[lowest.max(highest)]);
        }
    }
    kept.push(points[last]);
    kept
}

/// The value with five significant digits.
pub fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = DIGITS - 1 - value.abs().log10().floor() as i32;
    if digits >= 0 {
        let scale = 10f64.powi(digits);
        (value * scale).round() / scale
    } else {
        let scale = 10f64.powi(-digits);
        (value / scale).round() * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_starts_at_the_first_value_and_keeps_a_constant() {
        let smoothed = smooth([3.0, 3.0, 3.0, 3.0], 0.9);
        assert!(smoothed.iter().all(|value| (value - 3.0).abs() < 1e-12), "{smoothed:?}");
        // By hand for w = 0.5 and [4, 2]: s1 = 2 / 0.5 = 4; s2 = (0.5 * 2 + 0.5 * 2) / 0.75 = 8/3.
        let smoothed = smooth([4.0, 2.0], 0.5);
        assert_eq!(smoothed[0], 4.0);
        assert!((smoothed[1] - 8.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn no_smoothing_changes_nothing() {
        assert_eq!(smooth([1.0, -2.0, 0.5], 0.0), [1.0, -2.0, 0.5]);
    }

    #[test]
    fn thinning_keeps_the_ends_the_order_and_the_peaks() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), (f64::from(i) / 50.0).sin())).collect();
        points[4321].1 = 9.0;
        points[8765].1 = -9.0;
        let thin = thin_out(points.clone(), 2000);
        assert!(thin.len() <= 2000 && thin.len() > 1000);
        assert_eq!((thin[0], thin[thin.len() - 1]), (points[0], points[9999]));
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(thin.contains(&points[4321]) && thin.contains(&points[8765]));
        assert_eq!(thin_out(points[..1999].to_vec(), 2000), points[..1999]);
    }

    #[test]
    fn five_digits_are_kept() {
        assert_eq!(significant(0.000_123_456_78), 0.000_123_46);
        assert_eq!(significant(1.234_567_8), 1.2346);
        assert_eq!(significant(-123_456.7), -123_460.0);
        assert_eq!(significant(0.0), 0.0);
        assert!(significant(f64::NAN).is_nan());
    }
}
