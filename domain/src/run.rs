//! A run: its states and the one function that moves between them, what it emits while it works, and the picture
//! that those events add up to, drawn alike on the server and in the browser.

use crate::catalogue::{AdapterSource, ModelId};
use crate::cleanliness::{Cleanliness, TestRowFlags};
use crate::dataset::DatasetId;
use crate::metrics::{ConfusionMatrix, Evaluation};
use crate::prediction::Prediction;
use crate::spec::TrainSpec;
use crate::split::Split;
use crate::version::{RowId, VersionNumber};
use serde::{Deserialize, Serialize};

pub type RunId = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Waits for the device.
    Queued,
    Running,
    /// A person asked for a stop; the run writes a checkpoint and ends.
    Cancelling,
    Cancelled,
    Finished,
    Failed,
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAction {
    Claim,
    RequestCancel,
    /// The worker has stopped as asked.
    Stop,
    Finish,
    Fail,
    /// A person takes a cancelled or failed run up again from its last checkpoint.
    Resume,
    /// The process died while the run was on its device: back into the queue, from the last checkpoint.
    Recover,
}

impl RunStatus {
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Cancelling, Self::Cancelled, Self::Finished, Self::Failed];

    /// The only place that says which transition exists. `None`: that cannot happen in this state.
    pub fn after(self, action: RunAction) -> Option<Self> {
        use RunAction::*;
        match (self, action) {
            (Self::Queued, Claim) => Some(Self::Running),
            (Self::Queued, RequestCancel) => Some(Self::Cancelled),
            (Self::Running, RequestCancel) => Some(Self::Cancelling),
            (Self::Running, Finish) => Some(Self::Finished),
            (Self::Running | Self::Cancelling, Fail) => Some(Self::Failed),
            (Self::Running, Recover) => Some(Self::Queued),
            (Self::Cancelling, Stop | Recover) => Some(Self::Cancelled),
            // The stop came too late: the run was through already.
            (Self::Cancelling, Finish) => Some(Self::Finished),
            (Self::Cancelled | Self::Failed, Resume) => Some(Self::Queued),
            _ => None,
        }
    }

    /// Nothing will change by itself any more.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Cancelled | Self::Finished | Self::Failed)
    }

    /// The word in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Loading,
    /// Scoring the test rows with what training begins from: the base as it is, or with an adapter made earlier.
    Baseline,
    Training,
    /// Scoring the test rows with the best adapter.
    Evaluating,
}

/// Which model was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Info,
    Warning,
    Error,
}

/// One optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// Counted from 1.
    pub step: u64,
    /// Of how many.
    pub total_steps: u64,
    /// Passes over the training rows, with fraction.
    pub epoch: f64,
    /// Mean over the tokens that carry loss in this step, by their labels' weights, in nats.
    pub loss: f64,
    pub learning_rate: f64,
    /// L2 norm of the LoRA gradient before clipping.
    pub grad_norm: f64,
    /// Over the last seconds.
    pub rows_per_second: f64,
    /// Seconds of training since the run began, pauses between resumes not counted.
    pub elapsed_seconds: f64,
    /// To the end of training.
    pub seconds_left: f64,
}

/// One look at the validation rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    pub step: u64,
    pub epoch: f64,
    pub elapsed_seconds: f64,
    /// Mean over the labels' tokens, in nats.
    pub loss: f64,
    pub accuracy: f64,
    pub macro_f1: f64,
    /// The best so far by macro-F1: this is the adapter the run will keep.
    pub best: bool,
}

/// What a run emits. Events are stored in order and never changed; a picture is always drawn from all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum RunEvent {
    Status {
        status: RunStatus,
        message: Option<String>,
    },
    Phase {
        phase: Phase,
    },
    /// Scoring goes on: rows done of all.
    Progress {
        phase: Phase,
        done: u64,
        total: u64,
        rows_per_second: f64,
        seconds_left: f64,
    },
    Step(StepPoint),
    Validation(ValidationPoint),
    /// What the look at the validation rows that has just been told of counted.
    ValidationConfusion {
        step: u64,
        confusion: ConfusionMatrix,
    },
    /// `Before` arrives ahead of training, `After` at the end. `partial` counts grow while scoring goes on.
    Evaluation {
        moment: Moment,
        evaluation: Evaluation,
    },
    /// The confusion matrix so far, while scoring goes on.
    PartialConfusion {
        moment: Moment,
        confusion: ConfusionMatrix,
    },
    /// What came up to this step is stored, and its checkpoint is about to be written.
    Checkpoint {
        step: u64,
    },
    /// Training goes on from a checkpoint: later steps that were emitted before are void and come again.
    Resumed {
        from_step: u64,
    },
    Log {
        level: LogLevel,
        message: String,
    },
}

/// An event with its place in the run's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Counts from 1 within the run, without gaps.
    pub seq: i64,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    pub event: RunEvent,
}

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub id: RunId,
    pub name: String,
    pub status: RunStatus,
    pub dataset_id: DatasetId,
    pub dataset_name: String,
    /// The version that the run pins: its rows are those of this version, whatever becomes of the dataset.
    pub dataset_version: VersionNumber,
    pub base_model: String,
    pub labels: Vec<String>,
    /// Test accuracy and macro-F1, once known.
    pub accuracy_before: Option<f64>,
    pub accuracy_after: Option<f64>,
    pub macro_f1_after: Option<f64>,
    /// What the test rows are worth; `None` for runs from before this was looked at.
    pub cleanliness: Option<Cleanliness>,
    /// Why it failed, for people.
    pub failure: Option<String>,
    pub created_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub ended_at_ms: Option<i64>,
    /// Runs that stand before it in the queue.
    pub ahead_in_queue: u64,
    /// Share of training done, from 0 to 1.
    pub progress: f64,
}

/// All that defines a run, as it was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    pub summary: RunSummary,
    pub spec: TrainSpec,
    pub split: Split,
    pub train_rows: u64,
    pub validation_rows: u64,
    pub test_rows: u64,
    /// A checkpoint is there to go on from.
    pub resumable: bool,
    pub base_model: ModelId,
    pub start_from: Option<AdapterSource>,
}

/// What a person asks for when starting a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    pub name: String,
    pub dataset_id: DatasetId,
    /// `None`: the newest when the run is started. Runs stored before there were versions have none: the first.
    #[serde(default)]
    pub dataset_version: Option<VersionNumber>,
    pub split: Split,
    pub spec: TrainSpec,
    /// The base that is fine-tuned. Runs stored before there was a choice have none: the server's own.
    #[serde(default)]
    pub base_model: ModelId,
    /// An adapter that is trained further; `None`: a new one.
    #[serde(default)]
    pub start_from: Option<AdapterSource>,
    /// After so long at work it is stopped, with a checkpoint. Each time it is taken up counts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_minutes: Option<u64>,
}

/// Longest limit of a run's time: a month.
pub const MOST_MINUTES: u64 = 31 * 24 * 60;

/// A test row with the answers of the base and of the adapter, as far as they are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestRow {
    /// Its number in the dataset that it comes from. Runs from before rows had numbers have none.
    #[serde(default)]
    pub row: Option<RowId>,
    pub text: String,
    /// Index of the true label in the run's labels.
    pub truth: usize,
    pub before: Option<Prediction>,
    pub after: Option<Prediction>,
    #[serde(default)]
    pub flags: TestRowFlags,
}

impl TestRow {
    pub fn answer(&self, moment: Moment) -> Option<&Prediction> {
        match moment {
            Moment::Before => self.before.as_ref(),
            Moment::After => self.after.as_ref(),
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at_ms: i64,
    pub level: LogLevel,
    pub message: String,
}

/// How far the scoring of the test rows is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoringProgress {
    pub phase: Phase,
    pub done: u64,
    pub total: u64,
    pub rows_per_second: f64,
    pub seconds_left: f64,
}

/// The picture of a run: what its events add up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunPicture {
    /// The last event that is part of the picture; a watcher asks for what comes after it.
    pub last_seq: i64,
    pub status: Option<RunStatus>,
    pub message: Option<String>,
    pub phase: Option<Phase>,
    pub scoring: Option<ScoringProgress>,
    pub steps: Vec<StepPoint>,
    pub validations: Vec<ValidationPoint>,
    /// One per look at the validation rows: the mean training loss of the steps since the look before, counted while all
    /// of them are at hand.
    #[serde(default)]
    pub training_losses: Vec<f64>,
    /// Sum and number of the training losses since the last look.
    #[serde(default)]
    pub since_look: (f64, u64),
    pub before: Option<Evaluation>,
    pub after: Option<Evaluation>,
    /// Counts so far of an evaluation that is under way.
    pub partial: Option<(Moment, ConfusionMatrix)>,
    /// Of the last look at the validation rows, with its step.
    #[serde(default)]
    pub validation_confusion: Option<(u64, ConfusionMatrix)>,
    pub checkpoint_step: Option<u64>,
    pub log: Vec<LogLine>,
}

/// Lines of log that a picture keeps; older ones stay in the database.
pub const LOG_LINES_KEPT: usize = 500;

impl RunPicture {
    /// The picture from all of a run's events.
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        let mut picture = Self::default();
        for event in events {
            picture.apply(event);
        }
        picture
    }

    /// Adds one event. An event that is part of the picture already changes nothing, so that a watcher may be
    /// sent one twice.
    pub fn apply(&mut self, stored: &StoredEvent) {
        if stored.seq <= self.last_seq {
            return;
        }
        self.last_seq = stored.seq;
        match &stored.event {
            RunEvent::Status { status, message } => {
                self.status = Some(*status);
                self.message.clone_from(message);
                if *status != RunStatus::Running && *status != RunStatus::Cancelling {
                    self.phase = None;
                    self.scoring = None;
                    self.partial = None;
                }
            }
            RunEvent::Phase { phase } => {
                self.phase = Some(*phase);
                self.scoring = None;
            }
            RunEvent::Progress { phase, done, total, rows_per_second, seconds_left } => {
                self.scoring = Some(ScoringProgress {
                    phase: *phase,
                    done: *done,
                    total: *total,
                    rows_per_second: *rows_per_second,
                    seconds_left: *seconds_left,
                });
            }
            RunEvent::Step(point) => {
                self.since_look = (self.since_look.0 + point.loss, self.since_look.1 + 1);
                self.steps.push(*point);
            }
            RunEvent::Validation(point) => {
                let (sum, count) = std::mem::take(&mut self.since_look);
                self.training_losses.push(sum / count.max(1) as f64);
                self.validations.push(*point);
            }
            RunEvent::ValidationConfusion { step, confusion } => {
                self.validation_confusion = Some((*step, confusion.clone()));
            }
            RunEvent::Evaluation { moment, evaluation } => {
                self.partial = None;
                self.scoring = None;
                match moment {
                    Moment::Before => self.before = Some(evaluation.clone()),
                    Moment::After => self.after = Some(evaluation.clone()),
                }
            }
            RunEvent::PartialConfusion { moment, confusion } => self.partial = Some((*moment, confusion.clone())),
            RunEvent::Checkpoint { step } => self.checkpoint_step = Some(*step),
            RunEvent::Resumed { from_step } => {
                // The last one that was told of may have been cut off.
                self.checkpoint_step = (*from_step > 0).then_some(*from_step);
                self.steps.retain(|point| point.step <= *from_step);
                self.validations.retain(|point| point.step <= *from_step);
                self.validation_confusion.take_if(|(step, _)| *step > *from_step);
                self.training_losses.truncate(self.validations.len());
                let last_look = self.validations.last().map_or(0, |look| look.step);
                let since = self.steps.iter().filter(|point| point.step > last_look);
                self.since_look = since.fold((0.0, 0), |(sum, count), point| (sum + point.loss, count + 1));
            }
            RunEvent::Log { level, message } => {
                self.log.push(LogLine { at_ms: stored.at_ms, level: *level, message: message.clone() });
                if self.log.len() > LOG_LINES_KEPT {
                    self.log.remove(0);
                }
            }
        }
    }

    pub fn last_step(&self) -> Option<&StepPoint> {
        self.steps.last()
    }

    /// Share of training done, from 0 to 1.
    pub fn progress(&self) -> f64 {
        self.last_step().map_or(0.0, |point| point.step as f64 / point.total_steps.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(seq: i64, event: RunEvent) -> StoredEvent {
        StoredEvent { seq, at_ms: seq * 10, event }
    }

    fn step(step: u64, loss: f64) -> RunEvent {
        RunEvent::Step(StepPoint {
            step,
            total_steps: 4,
            epoch: step as f64 / 2.0,
            loss,
            learning_rate: 1e-3,
            grad_norm: 1.0,
            rows_per_second: 10.0,
            elapsed_seconds: step as f64,
            seconds_left: 4.0 - step as f64,
        })
    }

    #[test]
    fn a_settled_run_moves_only_when_a_person_resumes_it() {
        use RunAction::*;
        for status in RunStatus::ALL.into_iter().filter(|status| status.is_settled()) {
            for action in [Claim, RequestCancel, Stop, Finish, Fail, Recover] {
                assert_eq!(status.after(action), None, "{status:?} {action:?}");
            }
        }
        assert_eq!(RunStatus::Finished.after(Resume), None);
        assert_eq!(RunStatus::Cancelled.after(Resume), Some(RunStatus::Queued));
        assert_eq!(RunStatus::Running.after(Recover), Some(RunStatus::Queued));
        assert_eq!(RunStatus::Cancelling.after(Recover), Some(RunStatus::Cancelled));
    }

    #[test]
    fn the_word_of_a_status_reads_back() {
        for status in RunStatus::ALL {
            assert_eq!(RunStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
        }
    }

    #[test]
    fn a_resumed_run_draws_each_step_once() {
        let events = [
            stored(1, step(1, 3.0)),
            stored(2, RunEvent::Checkpoint { step: 1 }),
            stored(3, step(2, 2.5)),
            stored(4, RunEvent::Resumed { from_step: 1 }),
            stored(5, step(2, 2.5)),
            stored(6, step(3, 2.0)),
        ];
        let picture = RunPicture::from_events(&events);
        assert_eq!(picture.steps.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(picture.progress(), 0.75);

        let mut twice = picture.clone();
        events.iter().for_each(|event| twice.apply(event));
        assert_eq!(twice, picture);
    }

    #[test]
    fn an_event_survives_json() {
        for event in [step(1, 0.1), RunEvent::Status { status: RunStatus::Failed, message: Some("why".into()) }] {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<RunEvent>(&json).unwrap(), event);
        }
    }
}
