//! A card that breaks in the middle of a run. Alone in its file, as nothing can be done with the card afterwards.
#![cfg(feature = "cuda")]

mod common;

use common::embedded_base;
use domain::run::RunEvent;
use domain::spec::{Quantization, TrainSpec};
use engine::cuda::Card;
use engine::train::{Example, TrainRequest, has_checkpoint, train};
use engine::{BaseModel, Device, EngineError};
use std::ops::ControlFlow;
use std::sync::Arc;

#[test]
fn a_lost_card_fails_the_run_and_leaves_its_checkpoint() {
    if let Err(reason) = engine::cuda::cards() {
        eprintln!("skipped: {reason}");
        return;
    }
    let card = Card::open(0).unwrap();
    let base = BaseModel::load(&embedded_base(), Quantization::Nf4, &Device::Cuda(vec![0])).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let example = |at: usize| Example { text: format!("Profit rose in quarter {at}"), label: at % 2 };
    let request = TrainRequest {
        spec: TrainSpec { save_steps: 2, per_device_train_batch_size: 4, ..TrainSpec::small_base() },
        labels: ["positive", "negative"].map(String::from).to_vec(),
        train: (0..40).map(example).collect(),
        validation: Vec::new(),
        test: (0..4).map(example).collect(),
        start_from: None,
        directory: directory.path().to_path_buf(),
    };
    let error = train(&Arc::new(base), &request, &mut |event| {
        if matches!(event, RunEvent::Step(point) if point.step == 3) {
            assert!(card.fail().is_err());
        }
        ControlFlow::Continue(())
    })
    .err()
    .unwrap();
    assert!(matches!(error, EngineError::DeviceLost(_)), "{error}");
    assert!(error.to_string().contains("cuda:0"), "{error}");
    assert!(has_checkpoint(directory.path()));
}
