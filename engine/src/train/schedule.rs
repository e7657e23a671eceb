//! The learning rate over a run, as `transformers.get_scheduler` gives it.

use domain::spec::{LrSchedulerType, TrainSpec};

/// Learning rate of a step, counted from 0, of `total`.
///
/// It rises linearly from 0 over `ceil(total · warmup_ratio)` steps; then cosine: ½ (1 + cos π p), linear: 1 - p, or
/// constant: 1, times the spec's rate, where p runs from 0 to 1 over the steps that are left.
pub fn learning_rate(spec: &TrainSpec, step: u64, total: u64) -> f64 {
    let warmup = (total as f64 * spec.warmup_ratio).ceil() as u64;
    spec.learning_rate * factor(spec.lr_scheduler_type, step, warmup, total)
}

pub fn factor(schedule: LrSchedulerType, step: u64, warmup: u64, total: u64) -> f64 {
    if step < warmup {
        return step as f64 / warmup.max(1) as f64;
    }
    let progress = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
    match schedule {
        LrSchedulerType::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        LrSchedulerType::Linear => (1.0 - progress).max(0.0),
        LrSchedulerType::Constant => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_then_fall() {
        let at = |schedule, step| factor(schedule, step, 2, 10);
        for schedule in [LrSchedulerType::Cosine, LrSchedulerType::Linear, LrSchedulerType::Constant] {
            assert_eq!([at(schedule, 0), at(schedule, 1), at(schedule, 2)], [0.0, 0.5, 1.0]);
        }
        assert!((at(LrSchedulerType::Cosine, 6) - 0.5).abs() < 1e-12);
        assert!((at(LrSchedulerType::Linear, 6) - 0.5).abs() < 1e-12);
        assert_eq!(at(LrSchedulerType::Constant, 9), 1.0);
        assert_eq!(factor(LrSchedulerType::Cosine, 0, 0, 1), 1.0);
    }
}
