//! The prompt around a text.
//!
//! A template is what the person edits: words with `{text}` where the row's text goes and, if wanted, the list of
//! labels: `{labels}` as *a, b, or c*, `{quoted_labels}` as *"a" or "b" or "c"*. The label itself follows the prompt. The same rendering serves
//! the preview, training, evaluation and the API.

use crate::error::UserError;
use serde::{Deserialize, Serialize};

/// The notebook's prompt to the letter, line breaks and indentation included, with its labels as placeholders.
pub const DEFAULT_TEMPLATE: &str = "Analyze the sentiment of the news headline enclosed in square brackets,
            determine if it is {labels}, and return the answer as
            the corresponding sentiment label {quoted_labels}.

            [{text}] =";

/// Longest template, in bytes, that is accepted.
pub const MAX_TEMPLATE_BYTES: usize = 8 * 1024;

const TEXT: &str = "{text}";
const LABELS: &str = "{labels}";
const QUOTED_LABELS: &str = "{quoted_labels}";

/// A template that has passed its check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PromptTemplate(String);

/// A prompt in two parts with the row's text between them. The label follows `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedTemplate {
    pub before: String,
    pub after: String,
    /// What separates the prompt from the label: a space, or nothing after a line break.
    pub label_separator: &'static str,
}

impl PromptTemplate {
    /// Checks that `{text}` stands in the template exactly once and that it is not too long.
    pub fn parse(template: &str) -> Result<Self, UserError> {
        if template.len() > MAX_TEMPLATE_BYTES {
            return Err(UserError::invalid(format!(
                "The template is {} bytes long; at most {MAX_TEMPLATE_BYTES} are accepted.",
                template.len()
            )));
        }
        match template.matches(TEXT).count() {
            1 => Ok(Self(template.to_string())),
            0 => Err(UserError::invalid(
                "The template has no {text} placeholder. Write {text} where the text of a row should stand.",
            )),
            n => Err(UserError::invalid(format!(
                "The template has {n} {{text}} placeholders. Keep one and remove the others."
            ))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Fills in the labels and splits at the text. White space at the end of the prompt is taken
    /// away: the label brings its own space, as the tokenizers of the Llama family expect. A prompt that ends in
    /// a line break keeps it.
    pub fn render(&self, labels: &[String]) -> RenderedTemplate {
        // `parse` has seen to it that there is exactly one placeholder. It is split first, so that a label
        // that happens to read `{text}` cannot move the cut.
        let (before, after) = self.0.split_once(TEXT).unwrap_or((&self.0, ""));
        let fill = |words: &str| fill_in_labels(words, labels);
        let (before, after) = (fill(before), fill(after));
        let after = after.trim_end_matches([' ', '\t']);
        let label_separator = if after.ends_with('\n') { "" } else { " " };
        RenderedTemplate { before, after: after.to_string(), label_separator }
    }
}

impl Default for PromptTemplate {
    fn default() -> Self {
        Self(DEFAULT_TEMPLATE.to_string())
    }
}

impl TryFrom<String> for PromptTemplate {
    type Error = UserError;

    fn try_from(template: String) -> Result<Self, UserError> {
        Self::parse(&template)
    }
}

impl From<PromptTemplate> for String {
    fn from(template: PromptTemplate) -> Self {
        template.0
    }
}

/// One pass from left to right, so that a label that looks like a placeholder stays what it is.
fn fill_in_labels(words: &str, labels: &[String]) -> String {
    let mut filled = String::with_capacity(words.len());
    let mut rest = words;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix(LABELS) {
            filled.push_str(&list(labels));
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix(QUOTED_LABELS) {
            let quoted: Vec<String> = labels.iter().map(|label| format!("\"{label}\"")).collect();
            filled.push_str(&quoted.join(" or "));
            rest = tail;
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled + rest
}

/// *a, b, or c*
fn list(labels: &[String]) -> String {
    match labels {
        [] => String::new(),
        [only] => only.clone(),
        [one, other] => format!("{one} or {other}"),
        [first @ .., last] => format!("{}, or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["positive", "neutral", "negative"].map(String::from).to_vec()
    }

    #[test]
    fn the_default_names_the_labels_and_ends_before_the_answer() {
        let rendered = PromptTemplate::default().render(&labels());
        assert!(rendered.before.contains("if it is positive, neutral, or negative, and"));
        assert!(rendered.before.contains("label \"positive\" or \"neutral\" or \"negative\"."));
        assert!(rendered.before.ends_with("\n\n            ["));
        assert_eq!(rendered.after, "] =");
        assert_eq!(rendered.label_separator, " ");
    }

    #[test]
    fn the_text_must_have_its_place_once() {
        assert!(PromptTemplate::parse("no place").unwrap_err().message.contains("{text}"));
        assert!(PromptTemplate::parse("{text} {text}").unwrap_err().message.contains("2"));
        assert!(PromptTemplate::parse(&format!("{{text}}{}", " ".repeat(MAX_TEMPLATE_BYTES))).is_err());
    }

    #[test]
    fn a_label_that_looks_like_a_placeholder_is_only_words() {
        let template = PromptTemplate::parse("{labels} {x: {text} ->  ").unwrap();
        let rendered = template.render(&["{text}".to_string(), "{quoted_labels}".to_string()]);
        assert_eq!(rendered.before, "{text} or {quoted_labels} {x: ");
        assert_eq!(rendered.after, " ->");
    }

    #[test]
    fn after_a_line_break_the_label_needs_no_space() {
        let rendered = PromptTemplate::parse("{text}\n").unwrap().render(&labels());
        assert_eq!((rendered.after.as_str(), rendered.label_separator), ("\n", ""));
    }
}
