//! Where a run stands, in words and numbers: pure functions over its picture.

use crate::format;
use domain::run::{Phase, RunPicture, RunStatus};

/// What the run is doing, in one sentence.
pub fn in_words(status: RunStatus, picture: &RunPicture, ahead_in_queue: u64) -> String {
    match status {
        RunStatus::Queued => match ahead_in_queue {
            0 => "Waits for the device; it is the next one.".to_string(),
            1 => "Waits for the device; one run is before it.".to_string(),
            ahead => format!("Waits for the device; {ahead} runs are before it."),
        },
        RunStatus::Cancelling => "Stops after this step and writes a checkpoint.".to_string(),
        RunStatus::Cancelled => match (picture.checkpoint_step, total_steps(picture)) {
            (Some(step), Some(total)) => {
                format!("Cancelled. It can go on from its checkpoint at step {step} of {total}.")
            }
            _ => "Cancelled before its first checkpoint.".to_string(),
        },
        RunStatus::Finished => match picture.last_step() {
            Some(point) => format!(
                "Trained for {} steps in {}.",
                format::count(point.step),
                format::duration(point.elapsed_seconds)
            ),
            None => "Done.".to_string(),
        },
        RunStatus::Failed => match picture.last_step() {
            Some(point) => format!("Stopped at step {} of {}.", point.step, point.total_steps),
            None => "Stopped before the first step.".to_string(),
        },
        RunStatus::Running => phase_in_words(picture),
    }
}

fn phase_in_words(picture: &RunPicture) -> String {
    let scored = picture.scoring.map_or(String::new(), |scoring| {
        format!(", {} of {}", format::count(scoring.done), format::count(scoring.total))
    });
    match picture.phase {
        None => "Begins.".to_string(),
        Some(Phase::Loading) => "Loads the base model and cuts the texts into tokens.".to_string(),
        Some(Phase::Baseline) => format!("Scores the test rows with the base as it is{scored}."),
        Some(Phase::Evaluating) => format!("Scores the test rows with the best adapter{scored}."),
        Some(Phase::Training) => match picture.last_step() {
            Some(point) => format!("Trains: step {} of {}, epoch {:.2}.", point.step, point.total_steps, point.epoch),
            None => "Trains: the first step is under way.".to_string(),
        },
    }
}

/// Share of the present phase that is done; `None` where nobody knows.
pub fn share_done(status: RunStatus, picture: &RunPicture) -> Option<f64> {
    match (status, picture.phase) {
        (RunStatus::Finished, _) => Some(1.0),
        (RunStatus::Running, Some(Phase::Baseline | Phase::Evaluating)) => {
            picture.scoring.map(|scoring| scoring.done as f64 / scoring.total.max(1) as f64)
        }
        (RunStatus::Running, None | Some(Phase::Loading)) => None,
        _ => Some(picture.progress()),
    }
}

/// Seconds to the end of the present phase.
pub fn seconds_left(status: RunStatus, picture: &RunPicture) -> Option<f64> {
    if status != RunStatus::Running {
        return None;
    }
    match picture.phase? {
        Phase::Loading => None,
        Phase::Training => picture.last_step().map(|point| point.seconds_left),
        Phase::Baseline | Phase::Evaluating => picture.scoring.map(|scoring| scoring.seconds_left),
    }
}

pub fn rows_per_second(status: RunStatus, picture: &RunPicture) -> Option<f64> {
    if status != RunStatus::Running {
        return None;
    }
    match picture.phase? {
        Phase::Loading => None,
        Phase::Training => picture.last_step().map(|point| point.rows_per_second),
        Phase::Baseline | Phase::Evaluating => picture.scoring.map(|scoring| scoring.rows_per_second),
    }
}

fn total_steps(picture: &RunPicture) -> Option<u64> {
    picture.last_step().map(|point| point.total_steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::run::{ScoringProgress, StepPoint};

    fn training() -> RunPicture {
        RunPicture {
            status: Some(RunStatus::Running),
            phase: Some(Phase::Training),
            steps: vec![StepPoint {
                step: 30,
                total_steps: 120,
                epoch: 1.25,
                loss: 1.0,
                learning_rate: 1e-3,
                grad_norm: 1.0,
                rows_per_second: 40.0,
                elapsed_seconds: 12.0,
                seconds_left: 36.0,
            }],
            ..RunPicture::default()
        }
    }

    #[test]
    fn a_training_run_says_its_step_and_its_time() {
        let picture = training();
        assert_eq!(in_words(RunStatus::Running, &picture, 0), "Trains: step 30 of 120, epoch 1.25.");
        assert_eq!(share_done(RunStatus::Running, &picture), Some(0.25));
        assert_eq!(seconds_left(RunStatus::Running, &picture), Some(36.0));
        assert_eq!(seconds_left(RunStatus::Cancelled, &picture), None);
    }

    #[test]
    fn a_scoring_run_counts_rows() {
        let scoring =
            ScoringProgress { phase: Phase::Baseline, done: 50, total: 200, rows_per_second: 90.0, seconds_left: 2.0 };
        let picture = RunPicture { phase: Some(Phase::Baseline), scoring: Some(scoring), ..RunPicture::default() };
        assert!(in_words(RunStatus::Running, &picture, 0).ends_with("50 of 200."));
        assert_eq!(share_done(RunStatus::Running, &picture), Some(0.25));
        assert_eq!(rows_per_second(RunStatus::Running, &picture), Some(90.0));
    }

    #[test]
    fn a_waiting_run_says_who_is_before_it() {
        assert!(in_words(RunStatus::Queued, &RunPicture::default(), 0).contains("next"));
        assert!(in_words(RunStatus::Queued, &RunPicture::default(), 3).contains("3 runs"));
    }
}
