//! Long curves with fewer points: what is sent of a run with many thousands of steps to somebody who begins to watch it.
//!
//! Of each stretch of steps the least and the greatest of every curve stay, as the steps that they belong to, so that a
//! spike of a single step is seen; the first and the last step stay, and the newest steps all of them. What is not a
//! step is not touched. Thinning what is thin already, with new steps behind it, keeps the same promises.

use crate::run::{RunPicture, StepPoint};

/// Most steps of a picture that is sent.
pub const MOST_STEPS: usize = 2000;
/// Stretches that the steps ahead of the newest ones are divided into, about as many as a chart has columns of ink.
const STRETCHES: u64 = 200;
/// The newest steps, which stay as they are.
const NEWEST: usize = 200;

/// What is drawn of a step.
const CURVES: [fn(&StepPoint) -> f64; 4] =
    [|point| point.loss, |point| point.grad_norm, |point| point.learning_rate, |point| point.rows_per_second];

impl RunPicture {
    /// Leaves at most [`MOST_STEPS`] steps. Does nothing where there are no more.
    pub fn thin(&mut self) {
        if self.steps.len() > MOST_STEPS {
            self.steps = thinned(&self.steps);
        }
    }
}

/// `steps` ascend.
fn thinned(steps: &[StepPoint]) -> Vec<StepPoint> {
    let (older, newest) = steps.split_at(steps.len().saturating_sub(NEWEST));
    let Some((first, last)) = older.first().zip(older.last()) else { return newest.to_vec() };
    let width = ((last.step - first.step) / STRETCHES + 1).max(1);
    let stretch = |point: &StepPoint| (point.step - first.step) / width;
    let mut kept = Vec::with_capacity(MOST_STEPS);
    for points in older.chunk_by(|one, next| stretch(one) == stretch(next)) {
        let mut places = extremes(points);
        if kept.is_empty() {
            places.push(0);
        }
        places.sort_unstable();
        places.dedup();
        kept.extend(places.into_iter().map(|place| points[place]));
    }
    kept.extend_from_slice(newest);
    kept
}

/// Where the least and the greatest of every curve are. A value that is no number counts as the greatest: it is what
/// one wants to see most.
fn extremes(points: &[StepPoint]) -> Vec<usize> {
    let mut places = Vec::with_capacity(2 * CURVES.len() + 1);
    for curve in CURVES {
        let value = |place: &usize| {
            let value = curve(&points[*place]);
            if value.is_nan() { f64::INFINITY } else { value }
        };
        places.extend((0..points.len()).min_by(|one, other| value(one).total_cmp(&value(other))));
        places.extend((0..points.len()).max_by(|one, other| value(one).total_cmp(&value(other))));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RunEvent, StoredEvent, ValidationPoint};

    fn step(step: u64) -> StepPoint {
        StepPoint {
            step,
            total_steps: 100_000,
            epoch: step as f64 / 1000.0,
            loss: 1.0 + (step as f64 * 0.37).sin() / step as f64,
            learning_rate: 1.0 / step as f64,
            grad_norm: (step as f64 * 0.11).cos(),
            rows_per_second: 10.0,
            elapsed_seconds: step as f64,
            seconds_left: 0.0,
        }
    }

    fn picture(steps: impl IntoIterator<Item = StepPoint>) -> RunPicture {
        RunPicture { steps: steps.into_iter().collect(), ..RunPicture::default() }
    }

    #[test]
    fn first_last_spikes_and_the_newest_steps_stay() {
        let mut steps: Vec<StepPoint> = (1..=20_000).map(step).collect();
        steps[7_654].loss = 99.0;
        steps[12_345].grad_norm = -50.0;
        steps[3_333].loss = f64::NAN;
        steps[15_000].rows_per_second = 0.1;
        let mut thin = picture(steps.clone());
        thin.thin();
        assert!(thin.steps.len() <= MOST_STEPS && thin.steps.len() > NEWEST, "{}", thin.steps.len());
        assert!(thin.steps.windows(2).all(|pair| pair[0].step < pair[1].step));
        let kept: Vec<u64> = thin.steps.iter().map(|point| point.step).collect();
        for wanted in [1, 7_655, 12_346, 3_334, 15_001, 20_000] {
            assert!(kept.contains(&wanted), "step {wanted}");
        }
        assert_eq!(thin.steps[thin.steps.len() - NEWEST..], steps[steps.len() - NEWEST..]);
    }

    #[test]
    fn thinning_again_and_again_stays_small_and_keeps_what_stands_out() {
        let mut grown = picture([]);
        for number in 1..=50_000 {
            grown.steps.push(StepPoint { loss: if number == 777 { 80.0 } else { 1.0 }, ..step(number) });
            if number % 500 == 0 {
                grown.thin();
                assert!(grown.steps.len() <= MOST_STEPS);
            }
        }
        let highest = grown.steps.iter().max_by(|one, other| one.loss.total_cmp(&other.loss)).unwrap();
        assert_eq!((highest.step, highest.loss), (777, 80.0));
        assert_eq!((grown.steps[0].step, grown.steps[grown.steps.len() - 1].step), (1, 50_000));
    }

    #[test]
    fn few_steps_are_left_alone() {
        let mut few = picture((1..=MOST_STEPS as u64).map(step));
        let before = few.clone();
        few.thin();
        assert_eq!(few, before);
    }

    #[test]
    fn the_mean_loss_at_a_look_is_that_of_all_steps() {
        let look = |step| {
            RunEvent::Validation(ValidationPoint {
                step,
                epoch: 1.0,
                elapsed_seconds: 1.0,
                loss: 1.0,
                accuracy: 0.5,
                macro_f1: 0.5,
                best: false,
            })
        };
        let (mut exact, mut thin) = (RunPicture::default(), RunPicture::default());
        let mut seq = 0;
        for number in 1..=9000 {
            let mut events = vec![RunEvent::Step(step(number))];
            if number % 3000 == 0 {
                events.push(look(number));
            }
            for event in events {
                seq += 1;
                let stored = StoredEvent { seq, at_ms: 0, event };
                exact.apply(&stored);
                thin.apply(&stored);
                thin.thin();
            }
        }
        assert!(thin.steps.len() < exact.steps.len());
        let mean = |range: std::ops::RangeInclusive<u64>| range.map(|number| step(number).loss).sum::<f64>() / 3000.0;
        for (place, range) in [1..=3000, 3001..=6000, 6001..=9000].into_iter().enumerate() {
            assert!((exact.training_losses[place] - mean(range)).abs() < 1e-9);
        }
        assert_eq!(thin.training_losses, exact.training_losses);
    }
}
