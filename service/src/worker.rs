//! The thread that trains: takes the next run out of the queue, carries it out, and settles it, whatever happens.
//!
//! It is a plain thread, because a run computes for minutes to days and an async runtime's threads are for waiting. It
//! speaks to the database through the runtime's handle.

use crate::error::{Result, ServiceError};
use crate::files;
use crate::manifests::{Manifests, not_written};
use crate::models::Models;
use crate::runs::{Change, Claimed, LOOK_AGAIN, Prepared, Runs, TestNote, log};
use crate::sweeps::{Pause, Sweeps};
use crate::tracking::{TrackedRun, Tracking};
use domain::cleanliness::{Cleanliness, TestRowFlags};
use domain::run::{LogLevel, Phase, RunAction, RunEvent, RunId, RunStatus, TestRow};
use engine::train::{Example, TrainOutcome, TrainReport, TrainRequest};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Steps that follow each other faster than this are stored together.
const STORE_EVERY: Duration = Duration::from_millis(50);
/// How long to wait after the database has failed before asking again.
pub(crate) const AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// The end of the process, as the worker hears of it.
#[derive(Clone, Default)]
pub(crate) struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits a while, or until the end of the process.
    pub fn rest(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until && !self.is_asked() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

struct Worker {
    runs: Runs,
    models: Models,
    manifests: Manifests,
    sweeps: Sweeps,
    tracking: Tracking,
    stop: StopSignal,
    handle: Handle,
}

/// What the worker works with.
pub(crate) struct WorkerParts {
    pub runs: Runs,
    pub models: Models,
    pub manifests: Manifests,
    pub sweeps: Sweeps,
    pub tracking: Tracking,
    pub stop: StopSignal,
}

/// How an attempt at a run ended, short of an error.
enum Ended {
    /// With a line for the log if something is missing.
    Finished(Option<RunEvent>),
    /// Stopped at an event, with a checkpoint if training had begun.
    Stopped,
}

/// Starts the thread of the one device. It ends when the signal is asked and `runs.queued` is notified; join it to be
/// sure that the run it was at has its checkpoint.
pub(crate) fn start(parts: WorkerParts) -> Result<JoinHandle<()>> {
    let WorkerParts { runs, models, manifests, sweeps, tracking, stop } = parts;
    let worker = Worker { runs, models, manifests, sweeps, tracking, stop, handle: Handle::current() };
    std::thread::Builder::new()
        .name("worker".to_string())
        .spawn(move || worker.work())
        .map_err(|error| ServiceError::io("worker thread".as_ref(), error))
}

impl Worker {
    fn work(&self) {
        while !self.stop.is_asked() {
            match self.handle.block_on(self.runs.claim()) {
                Ok(Some(claimed)) => self.carry_out(claimed),
                // A notice that came since the queue was found empty is kept until here. What lacks room is looked at
                // again without one.
                Ok(None) => self.handle.block_on(async {
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.runs.queued.notified()).await;
                }),
                Err(error) => {
                    tracing::error!(%error, "the queue of runs could not be read; trying again");
                    self.stop.rest(AFTER_TROUBLE);
                }
            }
        }
    }

    fn carry_out(&self, claimed: Claimed) {
        let id = claimed.id;
        tracing::info!(run = id, "run begins");
        // A panic in the engine must cost this run only. What it leaves behind is dropped, not used again.
        let mut tracked = None;
        let ended = catch_unwind(AssertUnwindSafe(|| self.train(claimed, &mut tracked)))
            .unwrap_or_else(|panic| Err(ServiceError::Panicked(words_of(panic.as_ref()))));
        let change = match ended {
            Ok(Ended::Finished(told)) => Change { before: told, ..Change::of(RunAction::Finish) },
            Ok(Ended::Stopped) if self.stop.is_asked() => {
                let what = "The server stops. The run goes on from its last checkpoint when the server is back.";
                Change { before: Some(log(LogLevel::Info, what)), ..Change::of(RunAction::Recover) }
            }
            Ok(Ended::Stopped) => Change::of(RunAction::Stop),
            Err(ServiceError::LeaseLost) => {
                tracing::warn!(
                    run = id,
                    "another server has taken the run over; this one was not heard of for too long"
                );
                return;
            }
            Err(error) => self.after_trouble(id, &error),
        };
        let status = self.settle(id, &change);
        if let (Some(tracked), Some(status)) = (tracked, status) {
            tracked.end(status, (self.runs.clock)());
        }
    }

    /// A panic may have been an accident; whatever else is wrong will be wrong again.
    fn after_trouble(&self, id: RunId, error: &ServiceError) -> Change {
        let reason = error.reason();
        tracing::warn!(run = id, %reason, "run failed");
        if let ServiceError::Panicked(words) = error
            && let Ok(change) = self.handle.block_on(self.runs.after_panic(id, words))
        {
            return change;
        }
        Change {
            before: Some(log(LogLevel::Error, reason.clone())),
            message: Some(reason),
            ..Change::of(RunAction::Fail)
        }
    }

    /// Until the database takes it: a full disk may have room again. If the process ends first, the next one finds the
    /// run as it is and puts it back into the queue.
    fn settle(&self, id: RunId, change: &Change) -> Option<RunStatus> {
        loop {
            match self.handle.block_on(self.runs.settle(id, change.clone())) {
                Ok(status) => {
                    tracing::info!(run = id, status = status.as_str(), "run ends");
                    return Some(status);
                }
                Err(error @ ServiceError::LeaseLost) => {
                    tracing::warn!(run = id, %error, "this server was not heard of for too long");
                    return None;
                }
                Err(ServiceError::User(error)) => {
                    tracing::error!(run = id, %error, action = ?change.action, "a run that ended was not at work");
                    return None;
                }
                Err(error) => {
                    tracing::error!(run = id, %error, "the end of a run could not be stored; trying again");
                    if self.stop.is_asked() {
                        return None;
                    }
                    self.stop.rest(AFTER_TROUBLE);
                }
            }
        }
    }

    fn train(&self, claimed: Claimed, tracked: &mut Option<TrackedRun>) -> Result<Ended> {
        let Claimed { id, request, progress } = claimed;
        let began = Instant::now();
        let mut recorder = Recorder::new(self, id, tracked);
        if recorder.take(RunEvent::Phase { phase: Phase::Loading }).is_break() {
            recorder.finish()?;
            return Ok(Ended::Stopped);
        }
        let new = request?;
        recorder.pause = self.handle.block_on(self.sweeps.pause_of(id))?;
        recorder.limit = new.time_limit_minutes.map(|minutes| (began + Duration::from_secs(60 * minutes), minutes));
        let Prepared { request, notes, pins } = self.handle.block_on(self.runs.prepare(id, &new))?;
        if let Err(error) = self.handle.block_on(self.manifests.write(id, &new, &pins, &request)) {
            // A wish to stop that comes with this comes with the engine's first event, too.
            let _ = recorder.take(not_written(&error));
        }
        // Without a manifest it is told of all the same.
        let manifest = self.handle.block_on(self.manifests.get(id)).unwrap_or_default();
        *recorder.tracked = Some(self.tracking.follow(id, &new.name, manifest.as_ref(), (self.runs.clock)()));
        let base = self.handle.block_on(self.models.base(new.base_model))?;
        let base = self.models.load(&base, request.spec.quantization)?;
        let directory = &request.directory;
        std::fs::create_dir_all(directory).map_err(|error| ServiceError::io(directory, error))?;
        if progress > 0.0 && !engine::train::has_checkpoint(directory) {
            // Steps of an attempt that left no checkpoint are void: they come again. A wish to stop that comes with
            // this comes with the engine's first event, too.
            let _ = recorder.take(RunEvent::Resumed { from_step: 0 });
        }
        let trained = engine::train::train(&base, &request, &mut |event| recorder.take(event));
        // Whatever came of it: the last steps before a failure are those that explain it.
        let recorded = recorder.finish();
        match trained? {
            TrainOutcome::Stopped { step } => {
                recorded?;
                tracing::info!(run = id, step, "run stopped");
                Ok(Ended::Stopped)
            }
            TrainOutcome::Finished(report) => {
                recorded?;
                let cleanliness = clean_scores(&request, &notes, &report);
                let rows = test_rows(&request.test, &notes, *report);
                let stored = self
                    .handle
                    .block_on(self.runs.record_cleanliness(id, &cleanliness))
                    .and_then(|()| write_predictions(&self.runs.predictions_file(id), &rows));
                let told = match stored {
                    Ok(()) => None,
                    // Hours of training are worth more than a table.
                    Err(error) => Some(log(
                        LogLevel::Warning,
                        format!("The table of the test rows and their badge could not be stored: {}", error.reason()),
                    )),
                };
                Ok(Ended::Finished(told))
            }
        }
    }
}

/// Takes the engine's events to the feed and brings a wish to stop back.
struct Recorder<'a> {
    worker: &'a Worker,
    run: RunId,
    /// Who is told besides; `None` until it is known what the run is made of.
    tracked: &'a mut Option<TrackedRun>,
    waiting: Vec<(i64, RunEvent)>,
    stored_at: Option<Instant>,
    /// Where the run waits for the others of its sweep.
    pause: Option<Pause>,
    /// When the run has had its time, and what its limit is, in minutes.
    limit: Option<(Instant, u64)>,
    /// The last event was that a checkpoint is about to be written: with the next one it is there.
    checkpoint_begun: bool,
    /// A checkpoint has been written since events were stored last.
    got_somewhere: bool,
    /// Why events could not be stored. Training on would lose them, so the run ends with this.
    failure: Option<ServiceError>,
}

impl<'a> Recorder<'a> {
    fn new(worker: &'a Worker, run: RunId, tracked: &'a mut Option<TrackedRun>) -> Self {
        Self {
            worker,
            run,
            tracked,
            waiting: Vec::new(),
            stored_at: None,
            pause: None,
            limit: None,
            checkpoint_begun: false,
            got_somewhere: false,
            failure: None,
        }
    }

    fn take(&mut self, event: RunEvent) -> ControlFlow<()> {
        self.got_somewhere |= std::mem::take(&mut self.checkpoint_begun);
        let is_checkpoint = matches!(event, RunEvent::Checkpoint { .. });
        let pauses = self.pause.as_ref().and_then(|pause| pause_at(pause, &event));
        let may_wait = matches!(
            event,
            RunEvent::Step(_)
                | RunEvent::Progress { .. }
                | RunEvent::PartialConfusion { .. }
                | RunEvent::ValidationConfusion { .. }
        );
        let at_ms = (self.worker.runs.clock)();
        if let Some(tracked) = self.tracked {
            tracked.event(&event, at_ms);
        }
        self.waiting.push((at_ms, event));
        if is_checkpoint {
            // It is written only if all that led to it is stored. A wish to stop is heard at the next event.
            let _ = self.store();
            self.checkpoint_begun = self.failure.is_none();
            return if self.checkpoint_begun { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        }
        if self.worker.stop.is_asked() {
            // Stored at the checkpoint: nothing is lost, and the engine hears it now.
            return ControlFlow::Break(());
        }
        if let Some(words) = pauses {
            self.pause = None;
            return self.stop_by_itself(words);
        }
        if let Some((_, minutes)) = self.limit.take_if(|(until, _)| Instant::now() >= *until) {
            return self.stop_by_itself(format!(
                "The time limit of {minutes} min is reached. The run has its checkpoint and can be resumed for as long again."
            ));
        }
        if may_wait && self.stored_at.is_some_and(|at| at.elapsed() < STORE_EVERY) {
            return ControlFlow::Continue(());
        }
        self.store()
    }

    /// The way of any stop: the engine looks at the validation rows, if it is time to, writes a checkpoint and ends.
    fn stop_by_itself(&mut self, words: String) -> ControlFlow<()> {
        self.store()?;
        let told = Some(log(LogLevel::Info, words));
        let asked = self.worker.runs.transition(self.run, RunAction::RequestCancel, told, None);
        match self.worker.handle.block_on(asked) {
            // A person was quicker: it stops all the same.
            Ok(_) | Err(ServiceError::User(_)) => {}
            Err(error) => self.failure = Some(error),
        }
        ControlFlow::Break(())
    }

    fn store(&mut self) -> ControlFlow<()> {
        if self.failure.is_some() {
            return ControlFlow::Break(());
        }
        let events = std::mem::take(&mut self.waiting);
        let got_somewhere = std::mem::take(&mut self.got_somewhere);
        let stored = self.worker.handle.block_on(self.worker.runs.record_work(self.run, events, got_somewhere));
        self.stored_at = Some(Instant::now());
        match stored {
            Ok(RunStatus::Running) => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Stores what waits.
    fn finish(mut self) -> Result<()> {
        let _ = self.store();
        match self.failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What to say where a run pauses at this event.
fn pause_at(pause: &Pause, event: &RunEvent) -> Option<String> {
    let RunEvent::Step(point) = event else { return None };
    let Pause { halving, rung, sweep } = pause;
    halving
        .is_reached(*rung, point.step, point.epoch)
        .then(|| format!("Paused at rung {} of sweep {sweep}, until its other runs have come as far.", rung + 1))
}

fn test_rows(test: &[Example], notes: &[TestNote], report: TrainReport) -> Vec<TestRow> {
    let answers = report.before_predictions.into_iter().zip(report.after_predictions);
    let row = |((example, note), (before, after)): ((&Example, &TestNote), _)| TestRow {
        row: Some(note.row),
        text: example.text.clone(),
        truth: example.label,
        before: Some(before),
        after: Some(after),
        flags: note.flags,
    };
    test.iter().zip(notes).zip(answers).map(row).collect()
}

/// The badge with the scores on the clean rows alone.
fn clean_scores(request: &TrainRequest, notes: &[TestNote], report: &TrainReport) -> Cleanliness {
    let flags: Vec<TestRowFlags> = notes.iter().map(|note| note.flags).collect();
    let truth: Vec<usize> = request.test.iter().map(|example| example.label).collect();
    let answers = [&report.before_predictions[..], &report.after_predictions[..]];
    Cleanliness::of(&flags).scored(&request.labels, &flags, &truth, answers)
}

/// One line per test row, written aside and renamed.
fn write_predictions(path: &std::path::Path, rows: &[TestRow]) -> Result<()> {
    files::write_whole(path, |writer| rows.iter().try_for_each(|row| files::write_json_line(writer, row)))
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(words) = panic.downcast_ref::<&str>() {
        return (*words).to_string();
    }
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic without words".to_string())
}
