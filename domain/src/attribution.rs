//! Which words of a text an answer rests on.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the weight of a word is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Each word is taken out, and the text without it is classified: exact for single words, one pass each.
    #[default]
    Occlusion,
    /// The gradient of the answer at the words' embeddings, times these: a first-order estimate, one pass in all.
    Gradient,
}

impl Method {
    pub const ALL: [Self; 2] = [Self::Occlusion, Self::Gradient];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Occlusion => "occlusion",
            Self::Gradient => "gradient",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }
}

/// A stretch of the text and what it does for the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WordWeight {
    /// The word with the white space behind it: all of them together are the text.
    pub text: String,
    /// In nats of ln p(label): above 0 it speaks for the label, below 0 against it.
    pub weight: f64,
}

/// Why a text got a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    pub method: Method,
    pub label: String,
    /// Of the label, for the whole text; without a temperature.
    pub probability: f64,
    pub words: Vec<WordWeight>,
    /// The text is longer than the context: words behind its end weigh nothing.
    pub cut: bool,
    pub duration_ms: f64,
}

/// Pieces that a text is taken apart into at most: of longer ones several words are taken together.
pub const MOST_PIECES: usize = 120;

/// The words of a text, each with the white space behind it, as ranges of bytes; white space at the beginning belongs to
/// the first. Of more than `most` words, as many are taken together as makes that.
pub fn words(text: &str, most: usize) -> Vec<Range<usize>> {
    let mut starts = Vec::new();
    let mut before_is_space = true;
    for (place, character) in text.char_indices() {
        let is_space = character.is_whitespace();
        if !is_space && before_is_space {
            starts.push(place);
        }
        before_is_space = is_space;
    }
    let together = starts.len().div_ceil(most.max(1)).max(1);
    let mut starts: Vec<usize> = starts.into_iter().step_by(together).collect();
    let Some(first) = starts.first_mut() else { return Vec::new() };
    *first = 0;
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| *start..end).collect()
}

impl Attribution {
    /// The largest weight without its sign, for shading; never 0.
    pub fn largest(&self) -> f64 {
        self.words.iter().map(|word| word.weight.abs()).fold(0.0, f64::max).max(1e-9)
    }

    /// What the shading shows, for those who do not see it.
    pub fn in_words(&self) -> String {
        let list = |wanted: fn(f64) -> bool| {
            let mut words: Vec<&WordWeight> = self.words.iter().filter(|word| wanted(word.weight)).collect();
            words.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
            let words: Vec<String> = words
                .iter()
                .take(5)
                .map(|word| format!("\u{201c}{}\u{201d} ({:+.2})", word.text.trim(), word.weight))
                .collect();
            words.join(", ")
        };
        let (with, against) = (list(|weight| weight >= 0.005), list(|weight| weight <= -0.005));
        match (with.is_empty(), against.is_empty()) {
            (true, true) => format!("No single word decides for {}.", self.label),
            (false, true) => format!("For {}: {with}. No word speaks against it.", self.label),
            (true, false) => format!("No word speaks for {}. Against it: {against}.", self.label),
            (false, false) => format!("For {}: {with}. Against it: {against}.", self.label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_whole_text() {
        for text in ["", "  ", "one", "  two  words ", "a\tb\nc d", "ünïcode 字 x"] {
            let words = words(text, 100);
            let joined: String = words.iter().map(|word| &text[word.clone()]).collect();
            assert_eq!(joined, if words.is_empty() { "" } else { text });
            assert!(words.iter().all(|word| !text[word.clone()].trim().is_empty()));
        }
        assert_eq!(words("a b c", 100), [0..2, 2..4, 4..5]);
        assert_eq!(words("a b c d e", 2), [0..6, 6..9]);
        assert_eq!(words("a b", 0).first(), Some(&(0..3)));
    }

    #[test]
    fn shading_has_words() {
        let word = |text: &str, weight| WordWeight { text: text.to_string(), weight };
        let mut attribution = Attribution {
            method: Method::Occlusion,
            label: "positive".to_string(),
            probability: 0.9,
            words: vec![word("Profit ", 1.5), word("fell ", -0.25), word("a", 0.0)],
            cut: false,
            duration_ms: 1.0,
        };
        assert_eq!(
            attribution.in_words(),
            "For positive: \u{201c}Profit\u{201d} (+1.50). Against it: \u{201c}fell\u{201d} (-0.25)."
        );
        assert_eq!(attribution.largest(), 1.5);
        attribution.words.clear();
        assert_eq!(attribution.in_words(), "No single word decides for positive.");
        assert_eq!(Method::parse("gradient"), Some(Method::Gradient));
    }
}
