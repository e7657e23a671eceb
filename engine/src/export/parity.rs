//! Whether an export answers as the run did: it is loaded again and scores the same rows on the same path.

use crate::base::BaseModel;
use crate::classify::{Classifier, ClassifierFile};
use crate::device::Device;
use crate::error::EngineError;
use crate::weights::safetensors::write_atomic;
use domain::export::{ExportKind, ParityReport};
use domain::prediction::Prediction;
use domain::spec::Quantization;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of the report, beside the export's other files or, for a single file, after its name.
const REPORT_FILE: &str = "parity.json";

/// An export with the answers that it is held against.
pub struct ParityRequest<'a> {
    pub exported: &'a Path,
    pub kind: ExportKind,
    /// For [`ExportKind::Adapter`], the base that it was trained on; merged models need none.
    pub base: &'a Path,
    /// As the export was asked for with: labels, prompt, and how the base was held.
    pub classifier: &'a ClassifierFile,
    pub device: &'a Device,
    pub texts: &'a [&'a str],
    /// What base and adapter answered, one per text.
    pub reference: &'a [Prediction],
    /// As many texts at once as when the reference was made: sums of another length round differently.
    pub batch_size: usize,
}

/// Loads the export, scores the texts and compares. `on_progress` gets the number of texts done; on `Break` the answer
/// is `None`. A merged model is held as it is stored, an adapter's base as it was in training.
///
/// # Errors
/// The export cannot be loaded, or there are not as many answers as texts.
pub fn parity(
    request: &ParityRequest,
    on_progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<ParityReport>, EngineError> {
    let ParityRequest { exported, classifier, device, texts, reference, batch_size, .. } = *request;
    if texts.len() != reference.len() {
        return Err(EngineError::invalid(format!(
            "{} texts cannot be compared with {} answers",
            texts.len(),
            reference.len()
        )));
    }
    let opened = match request.kind {
        ExportKind::Adapter => {
            let base = BaseModel::load(request.base, classifier.quantization, device)?;
            Classifier::open(Arc::new(base), exported)?
        }
        ExportKind::Safetensors | ExportKind::Gguf(_) => {
            let base = BaseModel::load(exported, Quantization::AsStored, device)?;
            Classifier::base_only(Arc::new(base), &classifier.prompt_setup())?
        }
    };
    let predictions = opened.classify(texts, batch_size, &mut |done, _| on_progress(done))?;
    Ok(predictions.map(|predictions| compare(&predictions, reference)))
}

/// Writes a report where it will be looked for, and tells where that is.
pub fn store(report: &ParityReport, exported: &Path) -> Result<PathBuf, EngineError> {
    let path = report_path(exported);
    let json = serde_json::to_vec_pretty(report).map_err(|error| EngineError::bad_file(&path, error.to_string()))?;
    write_atomic(&path, &json)?;
    Ok(path)
}

/// `parity.json` in a folder, `NAME.gguf.parity.json` beside a file.
pub fn report_path(exported: &Path) -> PathBuf {
    if exported.is_dir() { exported.join(REPORT_FILE) } else { exported.with_added_extension(REPORT_FILE) }
}

fn compare(predictions: &[Prediction], reference: &[Prediction]) -> ParityReport {
    let (mut largest, mut sum, mut count, mut changed) = (0f64, 0f64, 0u64, 0);
    for (one, other) in predictions.iter().zip(reference) {
        changed += u64::from(one.label != other.label);
        for (one, other) in one.probabilities.iter().zip(&other.probabilities) {
            let difference = (f64::from(*one) - f64::from(*other)).abs();
            largest = largest.max(difference);
            sum += difference;
            count += 1;
        }
    }
    ParityReport {
        rows: reference.len() as u64,
        largest_probability_difference: largest,
        mean_probability_difference: sum / count.max(1) as f64,
        changed_labels: changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_over_rows_and_labels() {
        let prediction = |probabilities: [f32; 2]| Prediction::from_probabilities(probabilities.to_vec(), false);
        let report = compare(
            &[prediction([0.75, 0.25]), prediction([0.25, 0.75])],
            &[prediction([0.75, 0.25]), prediction([0.75, 0.25])],
        );
        assert_eq!(
            report,
            ParityReport {
                rows: 2,
                largest_probability_difference: 0.5,
                mean_probability_difference: 0.25,
                changed_labels: 1
            }
        );
        assert_eq!(compare(&[], &[]).mean_probability_difference, 0.0);
    }
}
