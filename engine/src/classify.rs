//! Label-constrained scoring: the one path from a text to probabilities, shared by baseline, validation, evaluation,
//! the command line and the API.
//!
//! The tokens that all prompts begin with go through the model once; their keys and values are kept. A row then costs
//! its own tokens, and the labels are scored where the prompt ends, so that an answer outside the labels cannot exist.

mod attribution;
mod layout;
mod together;

use crate::adapter::lora::Lora;
use crate::adapter::peft;
use crate::base::{BaseModel, BaseReader};
use crate::classify::layout::{LabelPaths, Layout};
use crate::error::EngineError;
use crate::memory::with_fitting_rows;
use crate::network::{Adapter, Cache, Network, NetworkPass};
use crate::text::template::{EncodedPrompt, PromptEncoder, PromptSetup};
use crate::weights::safetensors::write_atomic;
use crate::weights::small_file::{MAX_JSON_BYTES, read_at_most};
use domain::prediction::Prediction;
use domain::spec::{Quantization, TrainSpec};
use domain::template::PromptTemplate;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub use together::{Part, predict_together};

/// Scores prompts against labels with one model and one adapter.
pub struct Scorer<'a> {
    network: &'a Network,
    adapter: Option<&'a Adapter>,
    prefix: Vec<u32>,
    cache: Cache,
    labels: LabelPaths,
    fitting_rows: Cell<usize>,
}

impl<'a> Scorer<'a> {
    /// Runs the shared beginning of all prompts through the model.
    pub fn new(
        network: &'a Network,
        adapter: Option<&'a Adapter>,
        encoder: &PromptEncoder,
    ) -> Result<Self, EngineError> {
        Self::of_tokens(network, adapter, encoder.shared_prefix(), encoder.labels())
    }

    /// From the tokens that all prompts begin with and the labels' tokens.
    pub fn of_tokens(
        network: &'a Network,
        adapter: Option<&'a Adapter>,
        prefix: Vec<u32>,
        labels: &[Vec<u32>],
    ) -> Result<Self, EngineError> {
        let cache = network.key_value_cache(&prefix, adapter)?;
        let labels = LabelPaths::new(labels);
        Ok(Self { network, adapter, prefix, cache, labels, fitting_rows: Cell::new(usize::MAX) })
    }

    fn with_cache(network: &'a Network, adapter: Option<&'a Adapter>, encoder: &PromptEncoder, cache: Cache) -> Self {
        let (prefix, labels) = (encoder.shared_prefix(), LabelPaths::new(encoder.labels()));
        Self { network, adapter, prefix, cache, labels, fitting_rows: Cell::new(usize::MAX) }
    }

    /// Never more than so many rows at once: what [`Scorer::fitting_rows`] of another scorer has found out.
    pub fn at_most(self, rows: usize) -> Self {
        self.fitting_rows.set(rows.max(1));
        self
    }

    /// As many rows at once as the device's memory has turned out to hold, `usize::MAX` where it was never short.
    pub fn fitting_rows(&self) -> usize {
        self.fitting_rows.get()
    }

    /// As [`Scorer::log_likelihoods`], in as many parts as the device's memory asks for.
    pub fn log_likelihoods_as_they_fit(&self, prompts: &[EncodedPrompt]) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut scores = Vec::with_capacity(prompts.len());
        while scores.len() < prompts.len() {
            let rest = &prompts[scores.len()..];
            let tried = rest.len().min(self.fitting_rows.get());
            let (new, fitting) = with_fitting_rows(tried, |rows| self.log_likelihoods(&rest[..rows]))?;
            if fitting < tried {
                self.fitting_rows.set(fitting);
            }
            scores.extend(new);
        }
        Ok(scores)
    }

    /// ln p(label | prompt) for every prompt and every label, each the sum over the label's tokens of the full
    /// vocabulary's log-softmax.
    pub fn log_likelihoods(&self, prompts: &[EncodedPrompt]) -> Result<Vec<Vec<f32>>, EngineError> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        // A text may swallow the end of the prefix into its own first token; then that much less of it is shared.
        let shared = prompts.iter().map(|prompt| self.shared_with(prompt)).min().unwrap_or(0);
        let mut layout = Layout::new(shared);
        layout.push(&self.labels, prompts.iter().map(|prompt| (prompt, 0..shared)));
        let cache = (shared > 0).then(|| self.cache.narrow(shared)).transpose()?;
        let pass = NetworkPass { adapter: self.adapter, ..layout.pass(cache.as_ref()) };
        Ok(layout.scores(self.network.log_probabilities(&pass, &layout.asked)?))
    }

    fn shared_with(&self, prompt: &EncodedPrompt) -> usize {
        let common = self.prefix.iter().zip(&prompt.tokens).take_while(|(a, b)| a == b).count();
        common.min(prompt.tokens.len() - 1)
    }

    /// Scores prompts in batches of `batch_size`, or larger ones where the device wants them. `on_progress` gets the
    /// number done and the answers that are new since
    /// the last call; on `Break` the answer is `None`.
    pub fn predict(
        &self,
        prompts: &[EncodedPrompt],
        batch_size: usize,
        on_progress: &mut dyn FnMut(usize, &[Prediction]) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Prediction>>, EngineError> {
        let mut predictions = Vec::with_capacity(prompts.len());
        let batch_size = batch_size.max(self.network.least_scoring_rows());
        for batch in prompts.chunks(batch_size.max(1)) {
            let scores = self.log_likelihoods_as_they_fit(batch)?;
            let new = predictions.len();
            for (prompt, scores) in batch.iter().zip(scores) {
                predictions.push(Prediction::from_log_likelihoods(&scores, prompt.cut));
            }
            if on_progress(predictions.len(), &predictions[new..]).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(predictions))
    }
}

/// What stands beside an adapter so that texts can be classified with it as it was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierFile {
    pub labels: Vec<String>,
    pub prompt_template: PromptTemplate,
    pub max_length: usize,
    pub quantization: Quantization,
    pub base_model: String,
    /// Files from before there was a choice do not name it.
    #[serde(default)]
    pub use_chat_template: bool,
    /// What its log-likelihoods are divided by so that its confidence is honest, fitted on the validation rows; see
    /// [`domain::metrics::calibration::fit_temperature`]. None: not fitted, as if it were 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

impl ClassifierFile {
    pub const NAME: &'static str = "classifier.json";

    pub fn of(base: &BaseModel, spec: &TrainSpec, labels: &[String]) -> Self {
        Self {
            labels: labels.to_vec(),
            prompt_template: spec.prompt_template.clone(),
            max_length: max_length(base.reader(), spec),
            quantization: spec.quantization,
            base_model: base.info().name.clone(),
            use_chat_template: spec.use_chat_template,
            temperature: None,
        }
    }

    /// How its prompts are made.
    pub fn prompt_setup(&self) -> PromptSetup<'_> {
        PromptSetup {
            template: &self.prompt_template,
            labels: &self.labels,
            max_length: self.max_length,
            use_chat_template: self.use_chat_template,
        }
    }

    /// Reads the file from an adapter's folder.
    pub fn read(adapter: &Path) -> Result<Self, EngineError> {
        let path = adapter.join(Self::NAME);
        let bytes = read_at_most(&path, MAX_JSON_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| EngineError::bad_file(&path, error.to_string()))
    }

    /// Writes the file into an adapter's folder.
    pub fn write(&self, folder: &Path) -> Result<(), EngineError> {
        let path = folder.join(Self::NAME);
        let json = serde_json::to_vec(self).map_err(|error| EngineError::bad_file(&path, error.to_string()))?;
        write_atomic(&path, &json)
    }
}

/// Tokens that a row may have: the recipe's limit or the model's context, whichever is shorter.
pub fn max_length(base: &BaseReader, spec: &TrainSpec) -> usize {
    (spec.max_length as usize).min(base.context_length)
}

/// The prompts of a run.
///
/// # Errors
/// As [`PromptEncoder::new`].
pub fn prompt_encoder(base: &BaseReader, spec: &TrainSpec, labels: &[String]) -> Result<PromptEncoder, EngineError> {
    let setup = PromptSetup {
        template: &spec.prompt_template,
        labels,
        max_length: max_length(base, spec),
        use_chat_template: spec.use_chat_template,
    };
    PromptEncoder::new(base.tokenizer.clone(), &setup)
}

/// A base with an adapter (or none), a template and labels: texts in, labels with probabilities out.
pub struct Classifier {
    base: Arc<BaseModel>,
    adapter: Option<Adapter>,
    labels: Vec<String>,
    encoder: PromptEncoder,
    cache: Cache,
    bytes: usize,
}

impl Classifier {
    /// Opens the folder of an adapter as a run leaves it: adapter, labels, template and length beside each other.
    ///
    /// # Errors
    /// A file is missing or broken, or the adapter was made for a base of another shape.
    pub fn open(base: Arc<BaseModel>, adapter: &Path) -> Result<Self, EngineError> {
        Self::open_as(base, adapter, ClassifierFile::read(adapter)?)
    }

    /// Opens an adapter in PEFT's format that another program has made: what it was trained with is told by `file`.
    ///
    /// # Errors
    /// As [`Classifier::open`].
    pub fn open_as(base: Arc<BaseModel>, adapter: &Path, file: ClassifierFile) -> Result<Self, EngineError> {
        let lora = Lora::from_files(base.network().config(), &peft::read(adapter)?)
            .map_err(|error| EngineError::bad_file(adapter, error.to_string()))?;
        let placed = base.network().place(&lora)?;
        let mut classifier = Self::new(base, Some(placed), &file.prompt_setup())?;
        classifier.bytes += size_of::<f32>() * lora.parameters();
        Ok(classifier)
    }

    /// The base as it is, without an adapter.
    pub fn base_only(base: Arc<BaseModel>, setup: &PromptSetup) -> Result<Self, EngineError> {
        Self::new(base, None, setup)
    }

    fn new(base: Arc<BaseModel>, adapter: Option<Adapter>, setup: &PromptSetup) -> Result<Self, EngineError> {
        let max_length = setup.max_length.min(base.info().context_length);
        let encoder = PromptEncoder::new(base.tokenizer().clone(), &PromptSetup { max_length, ..*setup })?;
        let cache = base.network().key_value_cache(&encoder.shared_prefix(), adapter.as_ref())?;
        let bytes = size_of::<f32>() * base.network().config().key_value_weights(encoder.shared_tokens());
        Ok(Self { base, adapter, labels: setup.labels.to_vec(), encoder, cache, bytes })
    }

    /// About what it holds in memory beside its base, which it shares: the adapter, and keys and values of the prompt.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The prompt around a text, for [`predict_together`].
    pub fn encode(&self, text: &str) -> EncodedPrompt {
        self.encoder.encode(text)
    }

    /// Tokens of a prompt that are its own: what a pass computes for it, the labels apart.
    pub fn own_tokens(&self, prompt: &EncodedPrompt) -> usize {
        prompt.tokens.len().saturating_sub(self.encoder.shared_tokens()).max(1)
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Scores texts in batches. `on_progress` gets the number of texts done and the answers that are new since the last
    /// call; `Break` stops, and `Ok(None)` is returned.
    pub fn classify(
        &self,
        texts: &[&str],
        batch_size: usize,
        on_progress: &mut dyn FnMut(usize, &[Prediction]) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Prediction>>, EngineError> {
        let prompts: Vec<EncodedPrompt> = texts.iter().map(|text| self.encoder.encode(text)).collect();
        self.scorer().predict(&prompts, batch_size, on_progress)
    }

    fn scorer(&self) -> Scorer<'_> {
        Scorer::with_cache(self.base.network(), self.adapter.as_ref(), &self.encoder, self.cache.clone())
    }
}
