//! What a run begins from: a fresh adapter, or one that was trained before.

use crate::adapter::lora::Lora;
use crate::adapter::peft;
use crate::base::BaseModel;
use crate::error::EngineError;
use crate::kernels::Matrix;
use crate::model::config::LlamaConfig;
use crate::train::recipe::TrainRequest;
use domain::dataset::mix;
use domain::spec::TrainSpec;
use std::path::Path;

impl TrainRequest {
    /// The adapter before the first step: that of [`TrainRequest::start_from`], or a fresh one.
    ///
    /// # Errors
    /// The adapter cannot be read, or was made for a base of another shape.
    pub fn start(&self, config: &LlamaConfig) -> Result<Lora, EngineError> {
        let Some(directory) = &self.start_from else { return Lora::initialise(config, &self.spec) };
        Lora::from_files(config, &peft::read(directory)?)
            .map_err(|error| EngineError::bad_file(directory, error.to_string()))
    }
}

/// What a person should know who set another rank in the recipe.
pub(super) fn describe_start(directory: &Path, start: &Lora, spec: &TrainSpec) -> String {
    let modules: Vec<&str> = start.target_modules.iter().map(|module| module.as_str()).collect();
    let mut words = format!(
        "Training goes on from the adapter in {}: rank {}, alpha {}, {}.",
        directory.display(),
        start.r,
        start.lora_alpha,
        modules.join(", ")
    );
    if (start.r as u64, start.lora_alpha, &start.target_modules) != (spec.r, spec.lora_alpha, &spec.target_modules) {
        words += " They take the place of the recipe's.";
    }
    words
}

/// Of all that decides a run's numbers: a checkpoint or an evaluation of another run is never taken for this one's.
/// `start` is the adapter before the first step.
pub(super) fn fingerprint(base: &BaseModel, request: &TrainRequest, start: &Lora) -> Result<u64, EngineError> {
    let mut hash = 0u64;
    let mut add = |bytes: &[u8]| {
        hash = mix(hash ^ bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = mix(hash ^ u64::from_le_bytes(word));
        }
    };
    add(base.info().name.as_bytes());
    add(&base.info().parameters.to_le_bytes());
    // A spec is plain data: it always has a JSON form.
    add(&serde_json::to_vec(&request.spec).unwrap_or_default());
    for label in &request.labels {
        add(label.as_bytes());
    }
    for example in request.train.iter().chain(&request.validation).chain(&request.test) {
        add(example.text.as_bytes());
        add(&(example.label as u64).to_le_bytes());
    }
    // A fresh adapter follows from the seed.
    if request.start_from.is_some() {
        add(&start.lora_alpha.to_le_bytes());
        for tensor in start.tensors() {
            let (rows, columns) = tensor.dims2()?;
            let matrix = Matrix::of(tensor)?;
            let values = &matrix.values()[..rows * columns];
            add(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    Ok(hash)
}

/// Of a temperature that has been fitted on so many validation rows, for the log.
pub(super) fn describe_temperature(temperature: f64, rows: usize) -> String {
    let what = match temperature {
        t if t > 1.05 => "surer than it was right",
        t if t < 0.95 => "less sure than it was right",
        _ => "as sure as it was right",
    };
    format!(
        "On the {rows} validation rows the adapter was {what}: its answers are given at a temperature of {temperature:.2}."
    )
}
