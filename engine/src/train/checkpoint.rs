//! Checkpoints: all that a run needs to go on as if it had never stopped, written aside and renamed into place.

use crate::adapter::lora::Lora;
use crate::error::EngineError;
use crate::kernels::Matrix;
use crate::train::learner::Snapshot;
use crate::weights::safetensors::{self, NamedTensor, SafetensorsFile};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const STATE: &str = "trainer_state.json";
const TENSORS: &str = "trainer_tensors.safetensors";

/// Where a run stands. Learning rate, order of the rows and dropout follow from `step` and the recipe's seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Of the recipe, the labels and the rows; a checkpoint of another run is not gone on from.
    pub fingerprint: u64,
    /// Optimiser steps done.
    pub step: u64,
    /// Seconds of training so far.
    pub elapsed_seconds: f64,
    /// Best validation macro-F1 so far.
    pub best_macro_f1: Option<f64>,
    /// Fitted on the validation answers of the best; none in checkpoints from before there was one.
    #[serde(default)]
    pub best_temperature: Option<f64>,
    /// Looks at the validation rows since the best.
    pub looks_since_best: u64,
    /// Early stopping has ended training.
    pub stopped_early: bool,
    /// Sum and number of the losses of the epoch that is under way.
    pub epoch_loss: (f64, u64),
}

/// Where a finished run in `directory` keeps its adapter.
pub fn adapter_directory(directory: &Path) -> PathBuf {
    directory.join("adapter")
}

/// The adapter that has been the best on the validation rows so far.
pub(super) fn best_directory(directory: &Path) -> PathBuf {
    directory.join("best")
}

fn checkpoint_directory(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

/// Set aside for the moment between two renames.
fn previous_directory(directory: &Path) -> PathBuf {
    directory.join("checkpoint.previous")
}

/// Whether `directory` holds a checkpoint that a run can go on from.
pub fn has_checkpoint(directory: &Path) -> bool {
    [checkpoint_directory(directory), previous_directory(directory)].iter().any(|place| place.join(STATE).is_file())
}

/// Writes a checkpoint; the one before it is removed only when the new one stands.
pub fn save(directory: &Path, state: &TrainerState, snapshot: &Snapshot) -> Result<(), EngineError> {
    let partial = directory.join("checkpoint.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|source| EngineError::io(&partial, source))?;
    }
    fs::create_dir_all(&partial).map_err(|source| EngineError::io(&partial, source))?;

    let mut held = Vec::new();
    for (kind, lora) in [("lora", &snapshot.lora), ("m", &snapshot.m), ("v", &snapshot.v)] {
        for (index, tensor) in lora.tensors().into_iter().enumerate() {
            let (rows, columns) = tensor.dims2()?;
            held.push((format!("{kind}.{index}"), vec![rows, columns], Matrix::of(tensor)?));
        }
    }
    let tensors: Vec<NamedTensor> = held
        .iter()
        .map(|(name, shape, matrix)| (name.clone(), shape.clone(), &matrix.values()[..shape[0] * shape[1]]))
        .collect();
    safetensors::write(&partial.join(TENSORS), &tensors, Default::default())?;
    let path = partial.join(STATE);
    let json = serde_json::to_vec_pretty(state).map_err(|error| EngineError::bad_file(&path, error.to_string()))?;
    safetensors::write_atomic(&path, &json)?;

    let (place, previous) = (checkpoint_directory(directory), previous_directory(directory));
    if place.exists() {
        if previous.exists() {
            fs::remove_dir_all(&previous).map_err(|source| EngineError::io(&previous, source))?;
        }
        fs::rename(&place, &previous).map_err(|source| EngineError::io(&place, source))?;
    }
    fs::rename(&partial, &place).map_err(|source| EngineError::io(&partial, source))?;
    safetensors::sync_parent(&place).map_err(|source| EngineError::io(&place, source))?;
    if previous.exists() {
        fs::remove_dir_all(&previous).map_err(|source| EngineError::io(&previous, source))?;
    }
    Ok(())
}

/// Reads the checkpoint, where there is one. Its matrices must have the shapes of those in `shaped`.
///
/// # Errors
/// It is broken, or belongs to another recipe or other rows.
pub fn load(
    directory: &Path,
    fingerprint: u64,
    shaped: &Snapshot,
) -> Result<Option<(TrainerState, Snapshot)>, EngineError> {
    let places = [checkpoint_directory(directory), previous_directory(directory)];
    let Some(place) = places.into_iter().find(|place| place.join(STATE).is_file()) else { return Ok(None) };
    let path = place.join(STATE);
    let bytes = fs::read(&path).map_err(|source| EngineError::io(&path, source))?;
    let state: TrainerState =
        serde_json::from_slice(&bytes).map_err(|error| EngineError::bad_file(&path, error.to_string()))?;
    if state.fingerprint != fingerprint {
        return Err(EngineError::bad_file(
            &place,
            "is a checkpoint of another recipe or other rows. Use another folder, or remove this one to begin anew",
        ));
    }
    let file = SafetensorsFile::open(&place.join(TENSORS))?;
    let read = |kind: &str, shaped: &Lora| {
        let mut names = (0..).map(|index| format!("{kind}.{index}"));
        shaped.map(|tensor| {
            let (rows, columns) = tensor.dims2()?;
            let values = file.tensor_of_shape(&names.next().unwrap_or_default(), &[rows, columns])?;
            Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
        })
    };
    let snapshot = Snapshot {
        lora: read("lora", &shaped.lora)?,
        m: read("m", &shaped.m)?,
        v: read("v", &shaped.v)?,
        step: state.step,
    };
    Ok(Some((state, snapshot)))
}

/// Once the adapter stands, the way there is no longer needed.
pub fn remove(directory: &Path) -> Result<(), EngineError> {
    for place in [checkpoint_directory(directory), previous_directory(directory), best_directory(directory)] {
        if place.exists() {
            fs::remove_dir_all(&place).map_err(|source| EngineError::io(&place, source))?;
        }
    }
    Ok(())
}
