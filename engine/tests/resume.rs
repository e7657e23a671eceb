//! A run that is stopped and taken up again ends, bit for bit, as one that was not.

mod common;

use common::{embedded_base, matrix_values, train_request};
use domain::class_weights::ClassWeights;
use domain::run::RunEvent;
use domain::spec::{Quantization, TrainSpec};
use engine::BaseModel;
use engine::adapter::{Lora, peft};
use engine::train::{TrainOutcome, TrainReport, TrainRequest, adapter_directory, has_checkpoint, train};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Ten steps of four rows in two epochs.
const TRAIN_ROWS: usize = 20;

fn spec() -> TrainSpec {
    TrainSpec {
        r: 4,
        lora_dropout: 0.1,
        num_train_epochs: 2,
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        save_steps: 2,
        ..TrainSpec::small_base()
    }
}

fn base() -> Arc<BaseModel> {
    Arc::new(BaseModel::load(&embedded_base(), Quantization::Nf4, &engine::Device::Cpu).unwrap())
}

/// Runs until the end, or until `stop` says so.
fn run(
    base: &Arc<BaseModel>,
    request: &TrainRequest,
    mut stop: impl FnMut(&RunEvent) -> bool,
) -> (TrainOutcome, Vec<RunEvent>) {
    let mut events = Vec::new();
    let outcome = train(base, request, &mut |event| {
        let stop = stop(&event);
        events.push(event);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    (outcome, events)
}

fn finished(outcome: TrainOutcome) -> TrainReport {
    match outcome {
        TrainOutcome::Finished(report) => *report,
        TrainOutcome::Stopped { step } => panic!("stopped at step {step}"),
    }
}

/// What must not differ; times may.
fn numbers(events: &[RunEvent]) -> Vec<(u64, u64, u64)> {
    let number = |event: &RunEvent| match event {
        RunEvent::Step(point) => Some((point.step, point.loss.to_bits(), point.grad_norm.to_bits())),
        RunEvent::Validation(point) => Some((point.step, point.loss.to_bits(), point.macro_f1.to_bits())),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

fn adapter(base: &BaseModel, directory: &Path) -> Vec<Vec<f32>> {
    let files = peft::read(&adapter_directory(directory)).unwrap();
    let lora = Lora::from_files(base.network().config(), &files).unwrap();
    lora.tensors().into_iter().map(matrix_values).collect()
}

fn same_answers(a: &TrainReport, b: &TrainReport) {
    assert_eq!(a.before_predictions, b.before_predictions);
    assert_eq!(a.after_predictions, b.after_predictions);
    assert_eq!(a.final_loss.to_bits(), b.final_loss.to_bits());
}

#[test]
fn stopped_anywhere_and_resumed_equals_uninterrupted() {
    let base = base();
    let whole = tempfile::tempdir().unwrap();
    let (outcome, events) = run(&base, &train_request(whole.path(), spec(), TRAIN_ROWS), |_| false);
    let expected = finished(outcome);
    assert_eq!(expected.steps, 10);
    assert!(!has_checkpoint(whole.path()), "a finished run needs no checkpoint");
    let (again, events_again) = run(&base, &train_request(whole.path(), spec(), TRAIN_ROWS), |_| false);
    assert_eq!(finished(again), expected, "a finished run is not done again");
    assert!(!events_again.iter().any(|event| matches!(event, RunEvent::Step(_))));

    // Stopped after steps 3 and 7 (7 is not a step at which a checkpoint is due) and at the last validation.
    let parts = tempfile::tempdir().unwrap();
    let request = train_request(parts.path(), spec(), TRAIN_ROWS);
    let mut all = Vec::new();
    for last in [3, 7] {
        let (outcome, events) =
            run(&base, &request, |event| matches!(event, RunEvent::Step(point) if point.step == last));
        assert!(matches!(outcome, TrainOutcome::Stopped { step } if step == last));
        assert!(has_checkpoint(parts.path()));
        all.extend(events);
    }
    let (outcome, events_of_rest) = run(&base, &request, |_| false);
    all.extend(events_of_rest);
    same_answers(&finished(outcome), &expected);
    assert_eq!(numbers(&all), numbers(&events));
    assert_eq!(adapter(&base, parts.path()), adapter(&base, whole.path()));
}

/// The draws of balanced sampling go on through the epochs; they follow from the epoch, not from what ran before.
#[test]
fn balanced_sampling_and_class_weights_resume_as_well() {
    let base = base();
    let spec = TrainSpec { balanced_sampling: true, class_weights: ClassWeights::Balanced, ..spec() };
    let request = |directory: &Path| {
        let mut request = train_request(directory, spec.clone(), TRAIN_ROWS);
        // A frequent label and rare ones.
        request.train.iter_mut().skip(6).for_each(|example| example.label = 0);
        request
    };
    let whole = tempfile::tempdir().unwrap();
    let (outcome, events) = run(&base, &request(whole.path()), |_| false);
    let expected = finished(outcome);
    let told = events.iter().any(|event| {
        matches!(event, RunEvent::Log { message, .. }
            if message.contains("drawn equally often") && message.contains("neutral 3.333"))
    });
    assert!(told, "{events:?}");

    let parts = tempfile::tempdir().unwrap();
    let stop_at = |last| move |event: &RunEvent| matches!(event, RunEvent::Step(point) if point.step == last);
    let (_, mut all) = run(&base, &request(parts.path()), stop_at(7));
    let (outcome, rest) = run(&base, &request(parts.path()), |_| false);
    all.extend(rest);
    same_answers(&finished(outcome), &expected);
    assert_eq!(numbers(&all), numbers(&events));

    // And both knobs do something.
    let plain = tempfile::tempdir().unwrap();
    let plain_request = TrainRequest { spec: self::spec(), ..request(plain.path()) };
    assert_ne!(numbers(&run(&base, &plain_request, |_| false).1), numbers(&events));
}

/// A weight of 1 for every label is no weight, to the last bit.
#[test]
fn weights_of_one_change_nothing() {
    let base = base();
    let numbers_of = |class_weights: &str| {
        let directory = tempfile::tempdir().unwrap();
        let class_weights = ClassWeights::parse(class_weights).unwrap();
        let spec = TrainSpec { class_weights, num_train_epochs: 1, completion_only_loss: false, ..spec() };
        numbers(&run(&base, &train_request(directory.path(), spec, TRAIN_ROWS), |_| false).1)
    };
    assert_eq!(numbers_of("positive=1,negative=1"), numbers_of("none"));
    assert_ne!(numbers_of("positive=3"), numbers_of("none"));
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let base = base();
    let whole = tempfile::tempdir().unwrap();
    let expected = finished(run(&base, &train_request(whole.path(), spec(), TRAIN_ROWS), |_| false).0);

    // A kill writes nothing: what stands is the checkpoint of step 4, and a half-written one beside it.
    let killed = tempfile::tempdir().unwrap();
    let request = train_request(killed.path(), spec(), TRAIN_ROWS);
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&base, &request, |event| {
            if matches!(event, RunEvent::Step(point) if point.step == 5) {
                panic!("killed");
            }
            false
        })
    }));
    assert!(died.is_err());
    std::fs::create_dir_all(killed.path().join("checkpoint.partial")).unwrap();
    std::fs::write(killed.path().join("checkpoint.partial/trainer_state.json"), "{").unwrap();

    let (outcome, events) = run(&base, &request, |_| false);
    assert!(events.iter().any(|event| matches!(event, RunEvent::Resumed { from_step: 4 })));
    same_answers(&finished(outcome), &expected);
    assert_eq!(adapter(&base, killed.path()), adapter(&base, whole.path()));
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let base = base();
    let directory = tempfile::tempdir().unwrap();
    let (outcome, _) = run(
        &base,
        &train_request(directory.path(), spec(), TRAIN_ROWS),
        |event| matches!(event, RunEvent::Step(point) if point.step == 2),
    );
    assert!(matches!(outcome, TrainOutcome::Stopped { step: 2 }));
    let other = train_request(directory.path(), TrainSpec { learning_rate: 5e-4, ..spec() }, TRAIN_ROWS);
    let error = train(&base, &other, &mut |_| ControlFlow::Continue(())).err().unwrap();
    assert!(error.to_string().contains("another recipe"), "{error}");
}

#[test]
fn training_stops_early_and_keeps_the_best_adapter() {
    let base = base();
    let directory = tempfile::tempdir().unwrap();
    // A rate of almost nothing: macro-F1 does not move, so the first look stays the best.
    let spec = TrainSpec { learning_rate: 1e-7, eval_steps: 1, early_stopping_patience: 2, ..spec() };
    let (outcome, events) = run(&base, &train_request(directory.path(), spec, TRAIN_ROWS), |_| false);
    assert_eq!(finished(outcome).steps, 3);
    let best: Vec<bool> = events
        .iter()
        .filter_map(|event| match event {
            RunEvent::Validation(point) => Some(point.best),
            _ => None,
        })
        .collect();
    assert_eq!(best, [true, false, false]);
}
