//! A prompt inside the model's own chat template, as tokens.

use crate::text::chat::PROMPT_DATE;
use crate::text::tokenizer::{Place, TextPart, TextTokenizer};

/// What a chat template puts around every prompt: tokens up to the special token before the prompt and from the one
/// behind it, and the words between these and the prompt, which merge with it.
pub struct Wrapping {
    head: Vec<u32>,
    words_before: String,
    words_behind: String,
    tail: Vec<u32>,
    trims_start: bool,
    trims_end: bool,
    end: End,
}

/// What the wrapped prompt ends with.
enum End {
    Special,
    /// Words, of which this is the last character.
    Words(char),
    /// The prompt itself.
    Prompt,
}

impl Wrapping {
    /// Of the tokenizer's own chat template.
    ///
    /// # Errors
    /// There is none, or it cannot be used; in words for the person who asked for it.
    pub fn of(tokenizer: &TextTokenizer) -> Result<Self, String> {
        let Some(template) = tokenizer.chat_template() else {
            return Err("This model has no chat template. Switch use_chat_template off, or choose an \
                        instruction-tuned model."
                .to_string());
        };
        let wrapping = template
            .wrap(tokenizer.token_names(), PROMPT_DATE)
            .map_err(|reason| format!("The chat template of this model {reason}. Switch use_chat_template off."))?;
        let (mut trims_start, mut trims_end) = (wrapping.trims_start, wrapping.trims_end);

        let mut before = tokenizer.split_special(&wrapping.before);
        let words_before = match before.last() {
            Some(TextPart::Words(words)) => words.clone(),
            Some(TextPart::Special { strips_behind, .. }) => {
                trims_start |= *strips_behind;
                String::new()
            }
            None => String::new(),
        };
        if !words_before.is_empty() {
            before.pop();
        }

        let mut behind = tokenizer.split_special(&wrapping.after);
        let end = match behind.last() {
            Some(TextPart::Special { .. }) => End::Special,
            Some(TextPart::Words(words)) => words.chars().next_back().map_or(End::Prompt, End::Words),
            None => End::Prompt,
        };
        let words_behind = match behind.first() {
            Some(TextPart::Words(words)) => words.clone(),
            Some(TextPart::Special { strips_before, .. }) => {
                trims_end |= *strips_before;
                String::new()
            }
            None => String::new(),
        };
        if !words_behind.is_empty() {
            behind.remove(0);
        }

        let mut head = Vec::new();
        append(tokenizer, &before, &mut head);
        let mut tail = Vec::new();
        append(tokenizer, &behind, &mut tail);
        Ok(Self { head, words_before, words_behind, tail, trims_start, trims_end, end })
    }

    /// The tokens of a wrapped prompt. Only the template's own special tokens are special.
    pub fn tokens(&self, tokenizer: &TextTokenizer, prompt: &str) -> Vec<u32> {
        let prompt = if self.trims_start { prompt.trim_start_matches(is_python_space) } else { prompt };
        let prompt = if self.trims_end { prompt.trim_end_matches(is_python_space) } else { prompt };
        let words = format!("{}{prompt}{}", self.words_before, self.words_behind);
        let place = if self.head.is_empty() { Place::Start } else { Place::AfterSpecial };
        let mut tokens = self.head.clone();
        tokens.extend(tokenizer.encode_at(place, &words));
        tokens.extend(&self.tail);
        tokens
    }

    /// What stands between the wrapped prompt and the label, and where the label then stands. `plain` is what the
    /// prompt without a wrapping asks for.
    pub fn label_separator(&self, plain: &'static str) -> (&'static str, Place) {
        match self.end {
            End::Special => ("", Place::AfterSpecial),
            End::Words(last) if last.is_whitespace() => ("", Place::AfterWords),
            End::Words(_) => (" ", Place::AfterWords),
            End::Prompt if self.trims_end => (" ", Place::AfterWords),
            End::Prompt => (plain, Place::AfterWords),
        }
    }
}

/// Tokens of parts that follow a special token or nothing.
fn append(tokenizer: &TextTokenizer, parts: &[TextPart], tokens: &mut Vec<u32>) {
    for part in parts {
        match part {
            TextPart::Special { id, .. } => tokens.push(*id),
            TextPart::Words(words) => {
                let place = if tokens.is_empty() { Place::Start } else { Place::AfterSpecial };
                tokens.extend(tokenizer.encode_at(place, words));
            }
        }
    }
}

/// `str.isspace` of Python, which counts the separators of ASCII as well; Jinja's `trim` is Python's `strip`.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
