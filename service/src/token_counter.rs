//! Lengths in tokens, for the examination of a dataset.

use domain::spec::TrainSpec;
use domain::template::RenderedTemplate;
use engine::BaseReader;

/// Counts what a row takes of a base model's context under the default recipe.
pub(crate) struct TokenCounter {
    reader: BaseReader,
    prompt: RenderedTemplate,
    max_length: usize,
}

impl TokenCounter {
    pub(crate) fn new(reader: BaseReader, labels: &[String]) -> Self {
        let spec = TrainSpec::default();
        let prompt = spec.prompt_template.render(labels);
        let label_tokens =
            |label: &String| reader.tokenizer.encode(&format!("{}{label}", prompt.label_separator)).len();
        let longest_label = labels.iter().map(label_tokens).max().unwrap_or_default();
        let max_length = (spec.max_length as usize).min(reader.context_length).saturating_sub(longest_label);
        Self { reader, prompt, max_length }
    }

    /// Most tokens that the prompt with its text may have, so that the longest label still fits behind it.
    pub(crate) fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokens of a text with its prompt.
    pub(crate) fn tokens(&self, text: &str) -> usize {
        let RenderedTemplate { before, after, .. } = &self.prompt;
        let tokenizer = &self.reader.tokenizer;
        usize::from(tokenizer.bos().is_some()) + tokenizer.encode(&format!("{before}{text}{after}")).len()
    }
}
