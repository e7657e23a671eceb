//! Training that goes on from an adapter.

mod common;

use common::{embedded_base, matrix_values, train_request};
use domain::run::RunEvent;
use domain::spec::{Quantization, TargetModule, TrainSpec};
use engine::BaseModel;
use engine::adapter::{Lora, peft};
use engine::train::{TrainOutcome, TrainReport, TrainRequest, adapter_directory, train};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const TRAIN_ROWS: usize = 12;

fn spec() -> TrainSpec {
    TrainSpec {
        r: 4,
        lora_dropout: 0.1,
        target_modules: vec![TargetModule::QProj, TargetModule::DownProj],
        num_train_epochs: 1,
        per_device_train_batch_size: 4,
        gradient_accumulation_steps: 1,
        save_steps: 2,
        ..TrainSpec::small_base()
    }
}

fn base() -> Arc<BaseModel> {
    Arc::new(BaseModel::load(&embedded_base(), Quantization::Nf4, &engine::Device::Cpu).unwrap())
}

/// Goes on from the adapter that a run in `first` has left. The recipe's own rank and modules are others.
fn further(directory: &Path, first: &Path) -> TrainRequest {
    let spec = TrainSpec { r: 16, lora_alpha: 8.0, target_modules: TargetModule::ALL.to_vec(), ..spec() };
    TrainRequest { start_from: Some(adapter_directory(first)), ..train_request(directory, spec, TRAIN_ROWS) }
}

/// Runs until the end, or until `last` steps are done.
fn run(base: &Arc<BaseModel>, request: &TrainRequest, last: u64) -> (Option<TrainReport>, Vec<RunEvent>) {
    let mut events = Vec::new();
    let outcome = train(base, request, &mut |event| {
        let stop = matches!(&event, RunEvent::Step(point) if point.step == last);
        events.push(event);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match outcome.unwrap() {
        TrainOutcome::Finished(report) => (Some(*report), events),
        TrainOutcome::Stopped { step } => {
            assert_eq!(step, last);
            (None, events)
        }
    }
}

fn adapter(base: &BaseModel, directory: &Path) -> Vec<Vec<f32>> {
    let files = peft::read(&adapter_directory(directory)).unwrap();
    let lora = Lora::from_files(base.network().config(), &files).unwrap();
    lora.tensors().into_iter().map(matrix_values).collect()
}

#[test]
fn training_further_begins_where_the_adapter_ended() {
    let base = base();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (report, _) = run(&base, &train_request(first.path(), spec(), TRAIN_ROWS), u64::MAX);
    let before = adapter(&base, first.path());
    let (further_report, events) = run(&base, &further(second.path(), first.path()), u64::MAX);
    let (report, further_report) = (report.unwrap(), further_report.unwrap());

    assert_eq!(further_report.before_predictions, report.after_predictions);
    assert_eq!(further_report.before.log_loss.to_bits(), report.after.log_loss.to_bits());
    assert_ne!(further_report.after_predictions, report.after_predictions);
    let files = peft::read(&adapter_directory(second.path())).unwrap();
    let config = &files.config;
    assert_eq!((config.r, config.lora_alpha, config.target_modules.len()), (4, spec().lora_alpha, 2));
    let told = events.iter().any(|event| {
        matches!(event, RunEvent::Log { message, .. }
            if message.contains("rank 4") && message.contains("down_proj") && message.contains("take the place"))
    });
    assert!(told, "{events:?}");
    assert_ne!(adapter(&base, second.path()), before);
    assert_eq!(adapter(&base, first.path()), before, "the adapter that was gone on from stays as it was");
}

#[test]
fn stopped_and_resumed_equals_uninterrupted() {
    let base = base();
    let first = tempfile::tempdir().unwrap();
    run(&base, &train_request(first.path(), spec(), TRAIN_ROWS), u64::MAX);
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, _) = run(&base, &further(whole.path(), first.path()), u64::MAX);
    let request = further(parts.path(), first.path());
    run(&base, &request, 1);

    // Another adapter under the same name is another beginning.
    let elsewhere = tempfile::tempdir().unwrap();
    run(&base, &train_request(elsewhere.path(), TrainSpec { seed: 7, ..spec() }, TRAIN_ROWS), u64::MAX);
    let other = TrainRequest { start_from: Some(adapter_directory(elsewhere.path())), ..request.clone() };
    let error = train(&base, &other, &mut |_| ControlFlow::Continue(())).err().unwrap().to_string();
    assert!(error.contains("another recipe"), "{error}");

    let (report, events) = run(&base, &request, u64::MAX);
    assert!(events.iter().any(|event| matches!(event, RunEvent::Resumed { from_step: 1 })));
    let (report, expected) = (report.unwrap(), expected.unwrap());
    assert_eq!(report.before_predictions, expected.before_predictions);
    assert_eq!(report.after_predictions, expected.after_predictions);
    assert_eq!(report.final_loss.to_bits(), expected.final_loss.to_bits());
    assert_eq!(adapter(&base, parts.path()), adapter(&base, whole.path()));
}

#[test]
fn an_adapter_that_cannot_be_gone_on_from_is_named() {
    let base = base();
    let directory = tempfile::tempdir().unwrap();
    let error = |start: &Path| {
        let request = TrainRequest {
            start_from: Some(start.to_path_buf()),
            ..train_request(directory.path(), spec(), TRAIN_ROWS)
        };
        train(&base, &request, &mut |_| ControlFlow::Continue(())).err().unwrap().to_string()
    };
    let nowhere = directory.path().join("nowhere");
    assert!(error(&nowhere).contains("nowhere"));
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/rslora");
    let error = error(&tiny);
    assert!(error.contains("rslora") && error.contains("another base"), "{error}");
}
