//! The recipe of a run, top to bottom: baseline on the test rows, training with looks at the validation rows, evaluation
//! of the best adapter.
//!
//! Everything that is random follows from the seed and the step, so a run that is stopped, or killed, and taken up again
//! ends with the numbers of one that was not.

use crate::adapter::lora::Lora;
use crate::adapter::peft;
use crate::base::BaseModel;
use crate::classify::{ClassifierFile, Scorer, prompt_encoder};
use crate::error::EngineError;
use crate::memory::with_fitting_rows;
use crate::model::linear::Dropout;
use crate::network::Adapter;
use crate::text::batch::TokenRow;
use crate::text::template::{EncodedPrompt, PromptEncoder};
use crate::train::checkpoint::{self, TrainerState, adapter_directory, best_directory};
use crate::train::learner::{Gradient, Learner, Snapshot};
use crate::train::optimizer::clip_coefficient;
use crate::train::rate::Rate;
use crate::train::rows::{check_labels, describe_balance, draws_of_epoch, label_weights, prompts, training_rows};
use crate::train::schedule::learning_rate;
use crate::train::start::{describe_start, describe_temperature, fingerprint};
use crate::weights::safetensors::write_atomic;
use domain::dataset::mix;
use domain::metrics::calibration::fit_temperature;
use domain::metrics::{ConfusionMatrix, Evaluation};
use domain::prediction::Prediction;
use domain::run::{LogLevel, Moment, Phase, RunEvent, StepPoint, ValidationPoint};
use domain::spec::TrainSpec;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A text with the index of its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    pub text: String,
    pub label: usize,
}

/// All that one run needs.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    pub spec: TrainSpec,
    pub labels: Vec<String>,
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    pub test: Vec<Example>,
    /// The folder of an adapter that training goes on from; `None`: it begins with a fresh one.
    ///
    /// Rank, alpha and target modules are then that adapter's, whatever the recipe says, and "before" is the base with
    /// it: what this training changes. The optimiser and the schedule begin anew.
    pub start_from: Option<PathBuf>,
    /// The run's own folder: checkpoints while it trains, the adapter when it is done.
    pub directory: PathBuf,
}

/// What a finished run knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    pub before: Evaluation,
    pub after: Evaluation,
    /// One per test row, in order.
    pub before_predictions: Vec<Prediction>,
    pub after_predictions: Vec<Prediction>,
    /// Mean loss of the last epoch's steps.
    pub final_loss: f64,
    pub steps: u64,
    pub baseline_seconds: f64,
    pub train_seconds: f64,
    pub evaluate_seconds: f64,
    /// Training rows per second, over all epochs.
    pub train_rows_per_second: f64,
}

pub enum TrainOutcome {
    Finished(Box<TrainReport>),
    /// Stopped because `on_event` said `Break`. From this step a run in the same folder goes on, or from the last checkpoint
    /// before it if this one was not to be written.
    Stopped {
        step: u64,
    },
}

/// Receives what happens, and says whether to go on. [`RunEvent::Checkpoint`] comes just before a checkpoint is written, when
/// all that led to it has been told; a `Break` then says that not all of that is safe, and the checkpoint is not written: no
/// run must go on from a step that its history lacks.
type OnEvent<'a> = &'a mut dyn FnMut(RunEvent) -> ControlFlow<()>;

/// A checkpoint is written after this many seconds even if none is due: a kill costs no more than that.
const SECONDS_BETWEEN_CHECKPOINTS: f64 = 30.0;

/// Seconds between two confusion matrices while scoring.
const SECONDS_BETWEEN_PARTIALS: f64 = 0.5;

/// The whole of a run. Goes on from the checkpoint in `request.directory` where there is one. The adapter of a finished
/// run stands in [`adapter_directory`].
///
/// # Errors
/// The recipe or the rows cannot be used, the loss stops being a number, or a file cannot be written.
pub fn train(base: &Arc<BaseModel>, request: &TrainRequest, on_event: OnEvent) -> Result<TrainOutcome, EngineError> {
    let spec = &request.spec;
    spec.check().map_err(|error| EngineError::invalid(error.message))?;
    if request.train.is_empty() || request.test.is_empty() {
        return Err(EngineError::invalid("a run needs training rows and test rows"));
    }
    for part in [&request.train, &request.validation, &request.test] {
        check_labels(part, request.labels.len())?;
    }
    let label_weights = label_weights(spec, &request.labels, &request.train)?;
    fs::create_dir_all(&request.directory).map_err(|source| EngineError::io(&request.directory, source))?;
    let encoder = prompt_encoder(base.reader(), spec, &request.labels)?;
    let fitting_rows = Cell::new(usize::MAX);
    let start = request.start(base.network().config())?;
    let fingerprint = fingerprint(base, request, &start)?;
    let run = Run { base, request, encoder, label_weights, fingerprint, fitting_rows };
    if let Some(report) = finished_before(&run) {
        for (moment, evaluation) in [(Moment::Before, &report.before), (Moment::After, &report.after)] {
            // Nothing is left to stop.
            let _ = on_event(RunEvent::Evaluation { moment, evaluation: evaluation.clone() });
        }
        return Ok(TrainOutcome::Finished(Box::new(report)));
    }

    let mut placed = None;
    if let Some(directory) = &request.start_from {
        if on_event(log(describe_start(directory, &start, spec))).is_break() {
            return Ok(TrainOutcome::Stopped { step: 0 });
        }
        placed = Some(base.network().place(&start)?);
    }
    let Some(before) = evaluate(&run, placed.as_ref(), Moment::Before, on_event)? else {
        return Ok(TrainOutcome::Stopped { step: 0 });
    };
    // On the CPU it shares its matrices with the adapter that is trained from here on.
    drop(placed);

    let mut trainer = Trainer::new(&run, start)?;
    if let Some(outcome) = trainer.run(on_event)? {
        return Ok(outcome);
    }
    let best = trainer.best_adapter()?;
    let temperature = trainer.state.best_temperature;
    if let Some(temperature) = temperature
        && on_event(log(describe_temperature(temperature, request.validation.len()))).is_break()
    {
        return Ok(TrainOutcome::Stopped { step: trainer.state.step });
    }

    let placed = base.network().place(&best)?;
    let Some(after) = evaluate(&run, Some(&placed), Moment::After, on_event)? else {
        return Ok(TrainOutcome::Stopped { step: trainer.state.step });
    };
    write_adapter(base, request, &best, temperature)?;

    let (loss_sum, losses) = trainer.state.epoch_loss;
    let seen = trainer.rows_seen();
    let report = TrainReport {
        baseline_seconds: before.evaluation.seconds,
        evaluate_seconds: after.evaluation.seconds,
        train_seconds: trainer.state.elapsed_seconds,
        train_rows_per_second: seen as f64 / trainer.state.elapsed_seconds.max(1e-9),
        final_loss: loss_sum / losses.max(1) as f64,
        steps: trainer.state.step,
        before: before.evaluation,
        after: after.evaluation,
        before_predictions: before.predictions,
        after_predictions: after.predictions,
    };
    write_json(&report_file(&request.directory), &(run.fingerprint, &report))?;
    checkpoint::remove(&request.directory)?;
    Ok(TrainOutcome::Finished(Box::new(report)))
}

fn report_file(directory: &Path) -> PathBuf {
    directory.join("report.json")
}

/// What the run found, where it was through already: its caller may have been killed before it could say so.
fn finished_before(run: &Run) -> Option<TrainReport> {
    let directory = &run.request.directory;
    let bytes = fs::read(report_file(directory)).ok()?;
    let (of, report): (u64, TrainReport) = serde_json::from_slice(&bytes).ok()?;
    (of == run.fingerprint && adapter_directory(directory).is_dir()).then_some(report)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), EngineError> {
    let json = serde_json::to_vec(value).map_err(|error| EngineError::bad_file(path, error.to_string()))?;
    write_atomic(path, &json)
}

/// A run and what is worked out of it once.
struct Run<'a> {
    base: &'a BaseModel,
    request: &'a TrainRequest,
    encoder: PromptEncoder,
    /// How much a row of each label counts in the loss.
    label_weights: Vec<f32>,
    /// See [`fingerprint`].
    fingerprint: u64,
    /// Rows that the device's memory has held at once, as far as scoring has found out.
    fitting_rows: Cell<usize>,
}

impl Run<'_> {
    fn scorer<'a>(&'a self, adapter: Option<&'a Adapter>) -> Result<Scorer<'a>, EngineError> {
        Ok(Scorer::new(self.base.network(), adapter, &self.encoder)?.at_most(self.fitting_rows.get()))
    }

    /// Remembers what a scorer has found out of the device's memory; something to tell if that is news.
    fn learn_from(&self, scorer: &Scorer) -> Option<RunEvent> {
        let rows = scorer.fitting_rows();
        if rows >= self.fitting_rows.replace(rows) {
            return None;
        }
        Some(warning(format!(
            "The device's memory is too small for the scoring batches of this run: from here on {rows} rows at most are \
             scored together. The answers stay the same."
        )))
    }
}

/// Training itself: from a checkpoint, or from the beginning, to the last step.
struct Trainer<'a> {
    run: &'a Run<'a>,
    rows: Vec<TokenRow>,
    /// Training texts that were cut to fit.
    cut: usize,
    /// The epoch that is under way and the order of its rows.
    order: Option<(u64, Vec<usize>)>,
    validation: Vec<EncodedPrompt>,
    learner: Learner<'a>,
    trained_parameters: usize,
    /// Rows of a step that go through the model together.
    micro_batch: usize,
    state: TrainerState,
    resumed: bool,
    /// What is to be told before the next step.
    warnings: Vec<RunEvent>,
}

impl<'a> Trainer<'a> {
    fn new(run: &'a Run<'a>, start: Lora) -> Result<Self, EngineError> {
        let Run { base, request, encoder, label_weights, fingerprint, .. } = run;
        let (spec, network) = (&request.spec, base.network());
        let beginning = Snapshot::start(network.config(), start)?;
        let saved = checkpoint::load(&request.directory, *fingerprint, &beginning)?;
        let resumed = saved.is_some();
        let (state, start) = saved.unwrap_or_else(|| {
            let state = TrainerState {
                fingerprint: *fingerprint,
                step: 0,
                elapsed_seconds: 0.0,
                best_macro_f1: None,
                best_temperature: None,
                looks_since_best: 0,
                stopped_early: false,
                epoch_loss: (0.0, 0),
            };
            (state, beginning)
        });
        let (rows, cut) = training_rows(encoder, &request.train, spec.completion_only_loss, label_weights);
        Ok(Self {
            run,
            rows,
            cut,
            order: None,
            validation: prompts(encoder, &request.validation),
            trained_parameters: start.lora.parameters(),
            learner: Learner::new(network, start, spec)?,
            micro_batch: network.micro_batch(spec).max(1),
            state,
            resumed,
            warnings: Vec::new(),
        })
    }

    fn save(&self) -> Result<(), EngineError> {
        checkpoint::save(&self.run.request.directory, &self.state, &self.learner.snapshot()?)
    }

    fn steps_per_epoch(&self) -> u64 {
        (self.rows.len() as u64).div_ceil(self.run.request.spec.rows_per_step())
    }

    fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * self.run.request.spec.num_train_epochs
    }

    /// Rows that the steps so far have gone through, over all epochs.
    fn rows_seen(&self) -> u64 {
        let per_epoch = self.steps_per_epoch();
        let rest = (self.state.step % per_epoch) * self.run.request.spec.rows_per_step();
        self.state.step / per_epoch * self.rows.len() as u64 + rest.min(self.rows.len() as u64)
    }

    /// `None` when training is through.
    fn run(&mut self, on_event: OnEvent) -> Result<Option<TrainOutcome>, EngineError> {
        let spec = &self.run.request.spec;
        let total = self.total_steps();
        let mut stop = on_event(RunEvent::Phase { phase: Phase::Training }).is_break();
        if self.resumed {
            stop |= on_event(RunEvent::Resumed { from_step: self.state.step }).is_break();
        }
        stop |= on_event(log(self.describe())).is_break();

        let mut rate = Rate::default();
        let mut last_save = Instant::now();
        while self.state.step < total && !self.state.stopped_early {
            if stop {
                self.checkpoint(on_event)?;
                return Ok(Some(TrainOutcome::Stopped { step: self.state.step }));
            }
            let point = self.step(total, &mut rate)?;
            stop |= on_event(RunEvent::Step(point)).is_break();

            let done = self.state.step;
            let due = |every: u64| {
                done == total
                    || if every == 0 { done.is_multiple_of(self.steps_per_epoch()) } else { done.is_multiple_of(every) }
            };
            let (look, mut save) = (due(spec.eval_steps), due(spec.save_steps));
            if look && !self.validation.is_empty() {
                let (point, confusion) = self.validate()?;
                stop |= on_event(RunEvent::Validation(point)).is_break();
                stop |= on_event(RunEvent::ValidationConfusion { step: point.step, confusion }).is_break();
                if self.state.stopped_early {
                    let words = format!(
                        "Training stops early: macro-F1 on the validation rows has not risen for {} looks.",
                        self.state.looks_since_best
                    );
                    stop |= on_event(log(words)).is_break();
                    save = true;
                }
            }
            for warning in self.warnings.drain(..) {
                stop |= on_event(warning).is_break();
            }
            if save || last_save.elapsed().as_secs_f64() >= SECONDS_BETWEEN_CHECKPOINTS {
                if !self.checkpoint(on_event)? {
                    return Ok(Some(TrainOutcome::Stopped { step: self.state.step }));
                }
                last_save = Instant::now();
            }
        }
        Ok(stop.then_some(TrainOutcome::Stopped { step: self.state.step }))
    }

    /// Whether what led to it is safe, so that it was written.
    fn checkpoint(&mut self, on_event: OnEvent) -> Result<bool, EngineError> {
        if on_event(RunEvent::Checkpoint { step: self.state.step }).is_break() {
            return Ok(false);
        }
        self.save()?;
        Ok(true)
    }

    /// One optimiser step.
    fn step(&mut self, total: u64, rate: &mut Rate) -> Result<StepPoint, EngineError> {
        let began = Instant::now();
        let spec = &self.run.request.spec;
        let per_epoch = self.steps_per_epoch();
        let (epoch, within) = (self.state.step / per_epoch, self.state.step % per_epoch);
        if within == 0 {
            self.state.epoch_loss = (0.0, 0);
        }
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => draws_of_epoch(&self.run.request.train, spec, epoch),
        };
        let first = (within * spec.rows_per_step()) as usize;
        let last = (first + spec.rows_per_step() as usize).min(order.len());
        let dropout = (spec.lora_dropout > 0.0)
            .then(|| Dropout { probability: spec.lora_dropout as f32, seed: mix(mix(spec.seed) ^ self.state.step) });
        let Gradient { loss, norm: grad_norm } = self.gradient(&order[first..last], dropout)?;
        self.order = Some((epoch, order));
        if !loss.is_finite() || !grad_norm.is_finite() {
            return Err(EngineError::Diverged(format!(
                "Training diverged at step {}: the loss is {loss} and the gradient's norm {grad_norm}. Try a lower \
                 learning rate (it is {}) or a longer warm-up.",
                self.state.step + 1,
                domain::spec::scientific(spec.learning_rate)
            )));
        }
        let learning_rate = learning_rate(spec, self.state.step, total);
        let coefficient = clip_coefficient(grad_norm, spec.max_grad_norm);
        self.learner.update(coefficient, learning_rate)?;

        self.state.step += 1;
        self.state.epoch_loss.0 += loss;
        self.state.epoch_loss.1 += 1;
        let seconds = began.elapsed().as_secs_f64();
        self.state.elapsed_seconds += seconds;
        rate.record(last - first, seconds);
        Ok(StepPoint {
            step: self.state.step,
            total_steps: total,
            epoch: epoch as f64 + last as f64 / self.rows.len() as f64,
            loss,
            learning_rate,
            grad_norm,
            rows_per_second: rate.rows_per_second(),
            elapsed_seconds: self.state.elapsed_seconds,
            seconds_left: (total - self.state.step) as f64 * rate.seconds_per_step(),
        })
    }

    /// Loss and gradient of the rows of one step. Where they do not fit the device's memory together, fewer at a time go
    /// through the model, from here on: the gradients of micro-batches add up to that of the step.
    fn gradient(&mut self, rows: &[usize], dropout: Option<Dropout>) -> Result<Gradient, EngineError> {
        let rows: Vec<&TokenRow> = rows.iter().map(|&row| &self.rows[row]).collect();
        let tried = self.micro_batch.min(rows.len());
        let attempt = |micro_batch| self.learner.gradient(&rows, micro_batch, dropout);
        let (gradient, fitting) = with_fitting_rows(tried, attempt).map_err(|error| match error {
            EngineError::OutOfMemory { .. } => EngineError::invalid(format!(
                "{error}, with one row at a time already. Set a shorter max_length or a smaller r, hold the weights in 4 \
                 bits, or train on another device."
            )),
            other => other,
        })?;
        if fitting < tried {
            self.micro_batch = fitting;
            self.warnings.push(warning(format!(
                "The device's memory is too small for micro-batches of {tried} rows: from here on they have {fitting}, and \
                 their gradients are added up, so that the steps keep their rows and their numbers."
            )));
        }
        Ok(gradient)
    }

    /// One look at the validation rows; keeps the adapter if it is the best so far, with the temperature that makes its
    /// answers there honest.
    fn validate(&mut self) -> Result<(ValidationPoint, ConfusionMatrix), EngineError> {
        let Run { base, request, encoder, .. } = self.run;
        let spec = &request.spec;
        let adapter = self.learner.adapter()?;
        let scorer = self.run.scorer(Some(&adapter))?;
        let mut predictions = Vec::with_capacity(self.validation.len());
        let (mut surprise, mut label_tokens) = (0.0, 0);
        let truth: Vec<usize> = request.validation.iter().map(|example| example.label).collect();
        let batch_size = (spec.per_device_eval_batch_size as usize).max(base.network().least_scoring_rows());
        for (prompts, truth) in self.validation.chunks(batch_size).zip(truth.chunks(batch_size)) {
            let scores = scorer.log_likelihoods_as_they_fit(prompts)?;
            for ((scores, prompt), &truth) in scores.iter().zip(prompts).zip(truth) {
                surprise -= f64::from(scores[truth]);
                label_tokens += encoder.labels()[truth].len();
                predictions.push(Prediction::from_log_likelihoods(scores, prompt.cut));
            }
        }
        self.warnings.extend(self.run.learn_from(&scorer));
        let evaluation = Evaluation::from_predictions(&request.labels, &truth, &predictions, 0.0);
        let best = self.state.best_macro_f1.is_none_or(|best| evaluation.macro_f1 > best);
        if best {
            self.state.best_macro_f1 = Some(evaluation.macro_f1);
            self.state.best_temperature = fit_temperature(&truth, &predictions);
            self.state.looks_since_best = 0;
            let files = self.learner.lora()?.to_files(&base.info().name)?;
            peft::write(&best_directory(&request.directory), &files)?;
        } else {
            self.state.looks_since_best += 1;
        }
        self.state.stopped_early =
            spec.early_stopping_patience > 0 && self.state.looks_since_best >= spec.early_stopping_patience;
        let point = ValidationPoint {
            step: self.state.step,
            epoch: self.rows_seen() as f64 / self.rows.len() as f64,
            elapsed_seconds: self.state.elapsed_seconds,
            loss: surprise / label_tokens.max(1) as f64,
            accuracy: evaluation.accuracy,
            macro_f1: evaluation.macro_f1,
            best,
        };
        Ok((point, evaluation.confusion))
    }

    /// The adapter that was best on the validation rows, or the last one where there are none.
    fn best_adapter(&self) -> Result<Lora, EngineError> {
        if self.state.best_macro_f1.is_none() {
            return self.learner.lora();
        }
        let best = peft::read(&best_directory(&self.run.request.directory))?;
        Lora::from_files(self.run.base.network().config(), &best)
    }

    fn describe(&self) -> String {
        let tokens: usize = self.rows.iter().map(|row| row.tokens.len()).sum();
        let mut words = format!(
            "{} training rows of {:.1} tokens on average, {} of them shared by all rows; {} steps of {} rows; {} \
             trained parameters.",
            self.rows.len(),
            tokens as f64 / self.rows.len() as f64,
            self.run.encoder.shared_tokens(),
            self.total_steps(),
            self.run.request.spec.rows_per_step(),
            self.trained_parameters,
        );
        let Run { request, label_weights, .. } = self.run;
        words += &describe_balance(&request.spec, &request.labels, label_weights);
        if self.cut > 0 {
            words += &format!(" {} texts are longer than the limit and are cut at their end.", self.cut);
        }
        words
    }
}

/// An evaluation with the answers that it was counted from.
#[derive(Serialize, Deserialize)]
struct Evaluated {
    fingerprint: u64,
    evaluation: Evaluation,
    predictions: Vec<Prediction>,
}

/// Scores the test rows, or reads what an earlier part of this run found. `None`: stopped.
fn evaluate(
    run: &Run,
    adapter: Option<&Adapter>,
    moment: Moment,
    on_event: OnEvent,
) -> Result<Option<Evaluated>, EngineError> {
    let (phase, file) = match moment {
        Moment::Before => (Phase::Baseline, "evaluation-before.json"),
        Moment::After => (Phase::Evaluating, "evaluation-after.json"),
    };
    let Run { request, fingerprint, .. } = run;
    let path = request.directory.join(file);
    let evaluated = match read_evaluated(&path, *fingerprint) {
        Some(evaluated) => evaluated,
        None => {
            if on_event(RunEvent::Phase { phase }).is_break() {
                return Ok(None);
            }
            let began = Instant::now();
            let Some(predictions) = score_test_rows(run, adapter, moment, phase, on_event)? else {
                return Ok(None);
            };
            let truth: Vec<usize> = request.test.iter().map(|example| example.label).collect();
            let seconds = began.elapsed().as_secs_f64();
            let evaluation = Evaluation::from_predictions(&request.labels, &truth, &predictions, seconds);
            let evaluated = Evaluated { fingerprint: *fingerprint, evaluation, predictions };
            write_json(&path, &evaluated)?;
            evaluated
        }
    };
    let evaluation = evaluated.evaluation.clone();
    if on_event(RunEvent::Evaluation { moment, evaluation }).is_break() {
        return Ok(None);
    }
    Ok(Some(evaluated))
}

fn score_test_rows(
    run: &Run,
    adapter: Option<&Adapter>,
    moment: Moment,
    phase: Phase,
    on_event: OnEvent,
) -> Result<Option<Vec<Prediction>>, EngineError> {
    let Run { request, encoder, .. } = run;
    let prompts = prompts(encoder, &request.test);
    let scorer = run.scorer(adapter)?;
    let mut confusion = ConfusionMatrix::new(&request.labels);
    let (began, mut last_partial) = (Instant::now(), Instant::now());
    let batch_size = request.spec.per_device_eval_batch_size as usize;
    let predictions = scorer.predict(&prompts, batch_size, &mut |done, new| {
        for (example, prediction) in request.test[done - new.len()..done].iter().zip(new) {
            confusion.record(example.label, prediction.label);
        }
        if last_partial.elapsed().as_secs_f64() < SECONDS_BETWEEN_PARTIALS {
            return ControlFlow::Continue(());
        }
        last_partial = Instant::now();
        let rows_per_second = done as f64 / began.elapsed().as_secs_f64().max(1e-9);
        on_event(RunEvent::Progress {
            phase,
            done: done as u64,
            total: prompts.len() as u64,
            rows_per_second,
            seconds_left: (prompts.len() - done) as f64 / rows_per_second,
        })?;
        on_event(RunEvent::PartialConfusion { moment, confusion: confusion.clone() })
    })?;
    if let Some(warning) = run.learn_from(&scorer)
        && on_event(warning).is_break()
    {
        return Ok(None);
    }
    Ok(predictions)
}

fn read_evaluated(path: &Path, fingerprint: u64) -> Option<Evaluated> {
    let evaluated: Evaluated = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (evaluated.fingerprint == fingerprint).then_some(evaluated)
}

/// The adapter with what is needed to use it: PEFT's two files, the tokenizer, labels and template.
fn write_adapter(
    base: &BaseModel,
    request: &TrainRequest,
    lora: &Lora,
    temperature: Option<f64>,
) -> Result<(), EngineError> {
    let place = adapter_directory(&request.directory);
    let partial = request.directory.join("adapter.partial");
    peft::write(&partial, &lora.to_files(&base.info().name)?)?;
    write_atomic(&partial.join("tokenizer.json"), base.tokenizer().to_json().as_bytes())?;
    ClassifierFile { temperature, ..ClassifierFile::of(base, &request.spec, &request.labels) }.write(&partial)?;
    if place.exists() {
        fs::remove_dir_all(&place).map_err(|source| EngineError::io(&place, source))?;
    }
    fs::rename(&partial, &place).map_err(|source| EngineError::io(&partial, source))
}

fn log(message: String) -> RunEvent {
    RunEvent::Log { level: LogLevel::Info, message }
}

fn warning(message: String) -> RunEvent {
    RunEvent::Log { level: LogLevel::Warning, message }
}
