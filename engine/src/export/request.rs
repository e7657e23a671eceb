//! What can be asked for, and the way from there to a whole export.

use crate::adapter::lora::Lora;
use crate::adapter::peft;
use crate::classify::ClassifierFile;
use crate::error::EngineError;
pub use crate::export::aside::ExportProgress;
use crate::export::aside::{Aside, Halt, Meter};
use crate::export::card::{ModelCard, Usage};
use crate::export::merge::MergedModel;
use crate::export::{adapter_folder, gguf_file, safetensors_folder};
use crate::text::template::{PromptEncoder, PromptSetup};
use crate::text::tokenizer::TextTokenizer;
use crate::weights::model_files::ModelFiles;
use domain::export::{ExportKind, MergeInto};
use domain::spec::Quantization;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An export that is asked for.
pub struct ExportRequest<'a> {
    /// The base that the adapter was trained on: a GGUF file or a folder.
    pub base: &'a Path,
    /// The adapter's folder.
    pub adapter: &'a Path,
    /// How the adapter classifies: its labels, its prompt, and how its base was held.
    pub classifier: &'a ClassifierFile,
    pub kind: ExportKind,
    /// Of no meaning for [`ExportKind::Adapter`].
    pub merge_into: MergeInto,
    /// The file or folder to make. Nothing may stand there yet.
    pub out: &'a Path,
    pub card: &'a ModelCard,
}

/// An export that stands in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    pub path: PathBuf,
    /// Of all files together.
    pub bytes: u64,
    /// What a person should know of it, in sentences: how it is stored where that is not what was asked for.
    pub notes: Vec<String>,
}

/// What the three forms share.
pub(super) struct Source<'a> {
    pub request: &'a ExportRequest<'a>,
    pub model: MergedModel<'a>,
    pub tokenizer: Arc<TextTokenizer>,
    /// How the classifier is used, for the card.
    pub usage: Usage,
}

/// Writes an export as a stream, never more than one tensor in memory. `on_progress` hears of the bytes that are written;
/// on `Break` nothing is left and the answer is `None`.
///
/// # Errors
/// The base or the adapter cannot be read or do not fit each other; the form asked for cannot express the model; a
/// file cannot be written. Nothing is left then either.
pub fn export(
    request: &ExportRequest,
    on_progress: &mut dyn FnMut(ExportProgress) -> ControlFlow<()>,
) -> Result<Option<Exported>, EngineError> {
    let aside = Aside::of(request.out)?;
    let files = ModelFiles::open(request.base)?;
    let lora = Lora::from_files(files.config(), &peft::read(request.adapter)?)
        .map_err(|error| EngineError::bad_file(request.adapter, error.to_string()))?;
    let held = match request.merge_into {
        MergeInto::AsTrained => request.classifier.quantization,
        MergeInto::AsStored => Quantization::AsStored,
    };
    let tokenizer = Arc::new(files.tokenizer()?);
    let usage = usage(request.classifier, &files, &tokenizer)?;
    let source = Source { request, model: MergedModel { files: &files, lora, held }, tokenizer, usage };

    let mut meter = Meter::start(on_progress);
    let written = match request.kind {
        ExportKind::Adapter => adapter_folder::write(&source, aside.path(), &mut meter),
        ExportKind::Safetensors => {
            safetensors_folder::write(&source, aside.path(), safetensors_folder::SHARD_BYTES, &mut meter)
        }
        ExportKind::Gguf(kind) => gguf_file::write(&source, kind, aside.path(), &mut meter),
    };
    let notes = match written {
        Ok(notes) => notes,
        Err(Halt::Stopped) => return Ok(None),
        Err(Halt::Failed(error)) => return Err(error),
    };
    aside.finish()?;
    let bytes = size_of(request.out).map_err(|source| EngineError::io(request.out, source))?;
    Ok(Some(Exported { path: request.out.to_path_buf(), bytes, notes }))
}

/// Labels and prompt must be usable with this model, or there is nothing to export.
fn usage(
    classifier: &ClassifierFile,
    files: &ModelFiles,
    tokenizer: &Arc<TextTokenizer>,
) -> Result<Usage, EngineError> {
    let max_length = classifier.max_length.min(files.config().max_position_embeddings);
    let encoder = PromptEncoder::new(tokenizer.clone(), &PromptSetup { max_length, ..classifier.prompt_setup() })?;
    Ok(Usage {
        labels: classifier.labels.clone(),
        prompt: classifier.prompt_template.render(&classifier.labels),
        bos: tokenizer.bos(),
        use_chat_template: classifier.use_chat_template,
        answers: encoder.labels().to_vec(),
        held: classifier.quantization,
    })
}

fn size_of(path: &Path) -> std::io::Result<u64> {
    let about = std::fs::metadata(path)?;
    if !about.is_dir() {
        return Ok(about.len());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
