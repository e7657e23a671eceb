//! The prompt around a text, as tokens.

use crate::error::EngineError;
use crate::text::tokenizer::{Place, TextTokenizer};
use crate::text::wrapping::Wrapping;
use domain::model::{PreviewToken, PromptPreview, TokenRole};
use domain::template::{PromptTemplate, RenderedTemplate};
use std::ops::Range;
use std::sync::Arc;

/// Texts that begin and end differently from each other and from nearly every row: what the tokens of their prompts
/// have in common at the beginning is the same for all rows.
const PROBES: [&str; 3] = ["A", "\u{1}", "7 %"];

/// What the tokens of a prompt follow from, beside the tokenizer and the text.
#[derive(Clone, Copy, Debug)]
pub struct PromptSetup<'a> {
    pub template: &'a PromptTemplate,
    pub labels: &'a [String],
    /// Most tokens of prompt and label together: the smaller of the recipe's and the model's.
    pub max_length: usize,
    /// Puts the prompt into the model's own chat template.
    pub use_chat_template: bool,
}

/// A template with its labels, ready to turn texts into tokens. Training, evaluation and serving share it.
pub struct PromptEncoder {
    tokenizer: Arc<TextTokenizer>,
    rendered: RenderedTemplate,
    /// The model's chat template around it, where the prompt goes into one.
    wrapping: Option<Wrapping>,
    /// What follows the prompt for each label.
    labels: Vec<Vec<u32>>,
    terminated: bool,
    /// Tokens that a prompt may take so that the longest label still fits behind it.
    prompt_limit: usize,
    shared: Vec<u32>,
}

/// The tokens before the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// The first token of the model, if it has one, and the prompt; or the prompt in the model's chat template.
    pub tokens: Vec<u32>,
    /// True where the text was cut at its end to fit.
    pub cut: bool,
}

impl PromptEncoder {
    /// Renders the template, wraps it where asked for, and sees to it that the labels can be told apart and that there
    /// is room for a text.
    ///
    /// # Errors
    /// No labels, two labels that are the same tokens, a label without any, a prompt that does not fit even with
    /// an empty text, or a chat template that is asked for and is not there or cannot be used.
    pub fn new(tokenizer: Arc<TextTokenizer>, setup: &PromptSetup) -> Result<Self, EngineError> {
        let PromptSetup { template, labels, max_length, use_chat_template } = *setup;
        let rendered = template.render(labels);
        let wrapping = use_chat_template.then(|| Wrapping::of(&tokenizer)).transpose().map_err(EngineError::Invalid)?;
        let (separator, place) = match &wrapping {
            Some(wrapping) => wrapping.label_separator(rendered.label_separator),
            None => (rendered.label_separator, Place::AfterWords),
        };
        let encode_label = |label: &String| tokenizer.encode_at(place, &format!("{separator}{label}"));
        let (label_tokens, terminated) = finish_labels(labels.iter().map(encode_label).collect(), labels, &tokenizer)?;
        let longest = label_tokens.iter().map(Vec::len).max().unwrap_or(0);
        let prompt_limit = max_length.saturating_sub(longest);
        let mut encoder =
            Self { tokenizer, rendered, wrapping, labels: label_tokens, terminated, prompt_limit, shared: Vec::new() };

        let empty = encoder.prompt_tokens("").len();
        if empty > prompt_limit {
            return Err(EngineError::invalid(format!(
                "The prompt alone takes {empty} tokens and the longest label {longest}; together they must fit into \
                 {max_length}. Shorten the template or the labels, or raise max_length if the model allows it."
            )));
        }
        // Not `encode`: where hardly any text fits, it would cut all probes down to the same.
        let [mut shared, others @ ..] = PROBES.map(|probe| encoder.prompt_tokens(probe));
        let common = others.iter().map(|probe| common_prefix(probe, &shared)).min().unwrap_or(0);
        shared.truncate(common);
        encoder.shared = shared;
        Ok(encoder)
    }

    /// The prompt around a text. A text that is too long loses characters at its end; the instruction and the label
    /// lose none.
    pub fn encode(&self, text: &str) -> EncodedPrompt {
        // Ends of the beginnings of the text, the last one being the text itself. A token seldom stands for more than a
        // few characters, so of a very long text only a beginning is looked at, doubled until it no longer fits.
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let whole = ends.len() - 1;
        let (mut fits, mut best) = (0, Vec::new());
        let mut too_long = (self.prompt_limit.max(64) * 8).min(whole);
        loop {
            let tokens = self.prompt_tokens(&text[..ends[too_long]]);
            if tokens.len() > self.prompt_limit {
                break;
            }
            if too_long == whole {
                return EncodedPrompt { tokens, cut: false };
            }
            (fits, best) = (too_long, tokens);
            too_long = (too_long * 2).min(whole);
        }
        // The longest beginning that fits, by bisection. More characters are not always more tokens, but nearly;
        // what the search ends on has been found to fit.
        while fits + 1 < too_long {
            let middle = fits.midpoint(too_long);
            let tokens = self.prompt_tokens(&text[..ends[middle]]);
            if tokens.len() <= self.prompt_limit {
                (fits, best) = (middle, tokens);
            } else {
                too_long = middle;
            }
        }
        if fits == 0 {
            best = self.prompt_tokens("");
        }
        EncodedPrompt { tokens: best, cut: true }
    }

    /// The prompt around a text, and which of its tokens belong to each piece of the text. The pieces are ranges of bytes
    /// that follow each other; those behind the end of a text that was cut have no tokens.
    ///
    /// A piece ends where the prompt of the text up to there stops being a beginning of the whole prompt. A token that
    /// two pieces share counts for the later one.
    pub fn encode_pieces(&self, text: &str, pieces: &[Range<usize>]) -> (EncodedPrompt, Vec<Range<usize>>) {
        let prompt = self.encode(text);
        let empty = self.prompt_tokens("");
        let first = common_prefix(&empty, &prompt.tokens);
        let behind = empty.iter().rev().zip(prompt.tokens.iter().rev()).take_while(|(one, other)| one == other).count();
        let end = prompt.tokens.len().saturating_sub(behind).max(first);
        let mut from = first;
        let ranges = pieces.iter().enumerate().map(|(index, piece)| {
            let to = if index + 1 == pieces.len() || from == end {
                end
            } else {
                let until = self.prompt_tokens(text[..piece.end].trim_end());
                // Longer than the whole: the cut lies in this piece.
                let has_cut = prompt.cut && until.len() > prompt.tokens.len();
                if has_cut { end } else { common_prefix(&until, &prompt.tokens).clamp(from, end) }
            };
            std::mem::replace(&mut from, to)..to
        });
        let ranges = ranges.collect();
        (prompt, ranges)
    }

    /// What follows the prompt for each label: the separator and the label, and the end-of-text token where
    /// [`Self::terminated`]. No label's tokens begin with all of another's.
    pub fn labels(&self) -> &[Vec<u32>] {
        &self.labels
    }

    /// Whether every label is followed by the end-of-text token. So it is where one label would otherwise be the
    /// beginning of another, as *buy* of *buy more*: without an end the shorter one would always win.
    pub fn terminated(&self) -> bool {
        self.terminated
    }

    /// Number of [`Self::shared_prefix`].
    pub fn shared_tokens(&self) -> usize {
        self.shared.len()
    }

    /// Tokens with which the prompts of (nearly) all texts begin, for previews, estimates and a cache of their keys and
    /// values. A text whose first characters merge with the words before it may share fewer.
    pub fn shared_prefix(&self) -> Vec<u32> {
        self.shared.clone()
    }

    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// How one row looks to the model.
    pub fn preview(&self, text: &str, label: usize, completion_only: bool) -> PromptPreview {
        let prompt = self.encode(text);
        let label = self.labels.get(label).map_or(&[][..], Vec::as_slice);
        let shared = common_prefix(&self.shared, &prompt.tokens);
        let prompt_length = prompt.tokens.len();
        let tokens = prompt
            .tokens
            .iter()
            .chain(label)
            .enumerate()
            .map(|(index, token)| {
                let role = match index {
                    _ if index < shared => TokenRole::Shared,
                    _ if index < prompt_length => TokenRole::Row,
                    _ => TokenRole::Label,
                };
                // Nothing predicts the first token.
                let loss = if completion_only { index >= prompt_length } else { index > 0 };
                PreviewToken { text: self.tokenizer.token_text(*token), role, loss }
            })
            .collect();
        PromptPreview { tokens, cut: prompt.cut }
    }

    /// Before, text and after are tokenised as one string, since merges cross the seams.
    fn prompt_tokens(&self, text: &str) -> Vec<u32> {
        let RenderedTemplate { before, after, .. } = &self.rendered;
        if let Some(wrapping) = &self.wrapping {
            // A chat template writes the first token itself where the model wants one.
            return wrapping.tokens(&self.tokenizer, &format!("{before}{text}{after}"));
        }
        let mut tokens: Vec<u32> = self.tokenizer.bos().into_iter().collect();
        tokens.extend(self.tokenizer.encode(&format!("{before}{text}{after}")));
        tokens
    }
}

/// Checks that the labels' tokens tell them apart, and ends each with the end-of-text token where they begin alike.
fn finish_labels(
    mut encoded: Vec<Vec<u32>>,
    labels: &[String],
    tokenizer: &TextTokenizer,
) -> Result<(Vec<Vec<u32>>, bool), EngineError> {
    if labels.is_empty() {
        return Err(EngineError::invalid("There are no labels to choose from."));
    }
    let mut terminated = false;
    for (index, tokens) in encoded.iter().enumerate() {
        if tokens.is_empty() {
            return Err(EngineError::invalid(format!("The label \"{}\" has no tokens.", labels[index])));
        }
        for (other, others) in encoded.iter().enumerate().filter(|(other, _)| *other != index) {
            if tokens == others {
                return Err(EngineError::invalid(format!(
                    "The labels \"{}\" and \"{}\" are the same to the model.",
                    labels[index], labels[other]
                )));
            }
            terminated |= others.starts_with(tokens);
        }
    }
    if terminated {
        let Some(eos) = tokenizer.eos() else {
            return Err(EngineError::invalid(
                "One label is the beginning of another, and the model has no end-of-text token to tell them apart. \
                 Rename one of them.",
            ));
        };
        encoded.iter_mut().for_each(|tokens| tokens.push(eos));
    }
    Ok((encoded, terminated))
}

fn common_prefix(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
