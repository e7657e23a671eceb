//! Label-constrained scoring: the one path from a text to probabilities, shared by baseline, validation, evaluation,
//! the command line and the API.
//!
//! The tokens that all prompts begin with go through the model once; their keys and values are kept. A row then costs
//! its own tokens, and the labels are scored where the prompt ends, so that an answer outside the labels cannot exist.

use crate::adapter::lora::Lora;
use crate::adapter::peft;
use crate::base::{BaseModel, BaseReader};
use crate::error::EngineError;
use crate::memory::with_fitting_rows;
use crate::model::plan::Plan;
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

/// Scores prompts against labels with one model and one adapter.
pub struct Scorer<'a> {
    network: &'a Network,
    adapter: Option<&'a Adapter>,
    prefix: Vec<u32>,
    cache: Cache,
    labels: LabelPaths,
    fitting_rows: Cell<usize>,
}

/// The labels as paths of tokens. The first token of every label is asked for where the prompt ends; of longer labels
/// the tokens before the last are appended behind each row, a path that is the beginning of another only once.
struct LabelPaths {
    labels: Vec<Vec<u32>>,
    chains: Vec<Vec<u32>>,
    /// Per label of several tokens, the chain that it runs along.
    chain_of: Vec<usize>,
}

impl LabelPaths {
    fn new(labels: &[Vec<u32>]) -> Self {
        let mut inner: Vec<&[u32]> = labels.iter().map(|label| &label[..label.len() - 1]).collect();
        inner.sort_by_key(|path| std::cmp::Reverse(path.len()));
        let mut chains: Vec<Vec<u32>> = Vec::new();
        for path in inner {
            if !path.is_empty() && !chains.iter().any(|chain| chain.starts_with(path)) {
                chains.push(path.to_vec());
            }
        }
        let chain_of = labels
            .iter()
            .map(|label| chains.iter().position(|chain| chain.starts_with(&label[..label.len() - 1])).unwrap_or(0))
            .collect();
        Self { labels: labels.to_vec(), chains, chain_of }
    }
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
        let prefix = 0..shared;
        let context = if shared == 0 { Vec::new() } else { vec![prefix] };
        let mut plan = Plan::new(shared);
        let mut tokens = Vec::new();
        for prompt in prompts {
            let own = &prompt.tokens[shared..];
            tokens.extend_from_slice(own);
            plan.push(own.len(), context.clone());
        }
        let rows: Vec<_> = plan.sequences.iter().map(|sequence| sequence.tokens.clone()).collect();
        let mut chains = Vec::with_capacity(rows.len() * self.labels.chains.len());
        for row in &rows {
            let mut context = context.clone();
            context.push(shared + row.start..shared + row.end);
            for chain in &self.labels.chains {
                tokens.extend_from_slice(chain);
                let keys = plan.push(chain.len(), context.clone());
                chains.push(keys.start - shared..keys.end - shared);
            }
        }

        // Output rows: the end of each prompt, then every token of every chain.
        let mut output_rows: Vec<usize> = rows.iter().map(|row| row.end - 1).collect();
        output_rows.extend(chains.iter().cloned().flatten());
        let mut asked = Vec::new();
        for row in 0..rows.len() {
            for (label, tokens) in self.labels.labels.iter().enumerate() {
                asked.push((row, tokens[0]));
                if tokens.len() > 1 {
                    let chain = &chains[row * self.labels.chains.len() + self.labels.chain_of[label]];
                    let first = output_rows.partition_point(|&output| output < chain.start);
                    asked.extend(tokens[1..].iter().enumerate().map(|(offset, &token)| (first + offset, token)));
                }
            }
        }

        let cache = (shared > 0).then(|| self.cache.narrow(shared)).transpose()?;
        let pass = NetworkPass {
            tokens: &tokens,
            plan: &plan,
            adapter: self.adapter,
            output_rows: Some(&output_rows),
            cache: cache.as_ref(),
        };
        let mut answers = self.network.log_probabilities(&pass, &asked)?.into_iter();
        let scores = rows.iter().map(|_| {
            let labels = self.labels.labels.iter();
            labels.map(|tokens| answers.by_ref().take(tokens.len()).sum()).collect()
        });
        Ok(scores.collect())
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
        Self::new(base, Some(placed), &file.prompt_setup())
    }

    /// The base as it is, without an adapter.
    pub fn base_only(base: Arc<BaseModel>, setup: &PromptSetup) -> Result<Self, EngineError> {
        Self::new(base, None, setup)
    }

    fn new(base: Arc<BaseModel>, adapter: Option<Adapter>, setup: &PromptSetup) -> Result<Self, EngineError> {
        let max_length = setup.max_length.min(base.info().context_length);
        let encoder = PromptEncoder::new(base.tokenizer().clone(), &PromptSetup { max_length, ..*setup })?;
        let cache = base.network().key_value_cache(&encoder.shared_prefix(), adapter.as_ref())?;
        Ok(Self { base, adapter, labels: setup.labels.to_vec(), encoder, cache })
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
        let scorer = Scorer::with_cache(self.base.network(), self.adapter.as_ref(), &self.encoder, self.cache.clone());
        scorer.predict(&prompts, batch_size, on_progress)
    }
}
