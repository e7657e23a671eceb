//! The prompt around a text: what is shared, what is cut, and labels that are hard to tell apart.

mod common;

use common::embedded_base;
use domain::model::TokenRole;
use domain::template::PromptTemplate;
use engine::text::template::{PromptEncoder, PromptSetup};
use engine::text::tokenizer::TextTokenizer;
use engine::weights::gguf::GgufFile;
use std::sync::{Arc, LazyLock};

static TOKENIZER: LazyLock<Arc<TextTokenizer>> =
    LazyLock::new(|| Arc::new(TextTokenizer::from_gguf(&GgufFile::open(&embedded_base()).unwrap()).unwrap()));

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn encoder(template: &str, names: &[&str], max_length: usize) -> Result<PromptEncoder, String> {
    let template = PromptTemplate::parse(template).unwrap();
    let setup = PromptSetup { template: &template, labels: &labels(names), max_length, use_chat_template: false };
    PromptEncoder::new(TOKENIZER.clone(), &setup).map_err(|error| error.to_string())
}

const SENTIMENTS: [&str; 3] = ["positive", "neutral", "negative"];

#[test]
fn the_prompt_reads_as_the_template_says() {
    let encoder = encoder(PromptTemplate::default().as_str(), &SENTIMENTS, 512).unwrap();
    let text = "Operating profit rose to EUR 13.1 mn from EUR 8.7 mn";
    let prompt = encoder.encode(text);
    assert!(!prompt.cut);
    assert_eq!(prompt.tokens[0], 0);
    let rendered = PromptTemplate::default().render(&labels(&SENTIMENTS));
    let words = encoder.tokenizer().decode(&prompt.tokens[1..]);
    assert_eq!(words, format!("{}{text}{}", rendered.before, rendered.after));
    assert!(!encoder.terminated());
    let answers: Vec<String> = encoder.labels().iter().map(|label| encoder.tokenizer().decode(label)).collect();
    assert_eq!(answers, [" positive", " neutral", " negative"]);
}

#[test]
fn the_preview_shows_what_is_shared_and_what_carries_loss() {
    let encoder = encoder(PromptTemplate::default().as_str(), &SENTIMENTS, 512).unwrap();
    let (completion, full) = (encoder.preview("Sales fell.", 2, true), encoder.preview("Sales fell.", 2, false));
    let read = |role: TokenRole| -> String {
        completion.tokens.iter().filter(|token| token.role == role).map(|token| token.text.as_str()).collect()
    };
    assert!(read(TokenRole::Shared).starts_with("<|begin_of_text|>Analyze the sentiment"));
    assert!(read(TokenRole::Shared).len() > 250);
    assert!(read(TokenRole::Row).contains("Sales fell."));
    assert_eq!(read(TokenRole::Label), " negative");
    assert!(completion.tokens.iter().all(|token| token.loss == (token.role == TokenRole::Label)));
    assert!(full.tokens.iter().skip(1).all(|token| token.loss) && !full.tokens[0].loss);
    assert_eq!(encoder.shared_prefix().len(), encoder.shared_tokens());
}

#[test]
fn a_long_text_is_cut_at_its_end_and_nothing_else_is() {
    let limit = 120;
    let encoder = encoder(PromptTemplate::default().as_str(), &SENTIMENTS, limit).unwrap();
    let longest = encoder.labels().iter().map(Vec::len).max().unwrap();
    for text in [
        "shares fell ".repeat(40),
        "ÄÖÜ½🦙".repeat(200),
        "a".repeat(3_000_000),
        "zyx qwv ".repeat(300_000),
        "\n\u{1}".repeat(500),
    ] {
        let prompt = encoder.encode(&text);
        assert!(prompt.cut);
        // As much is kept as fits, but for the tokens of a character or two.
        let length = prompt.tokens.len() + longest;
        assert!(length <= limit && length + 6 > limit, "{length}");
        let words = encoder.tokenizer().decode(&prompt.tokens[1..]);
        let rendered = PromptTemplate::default().render(&labels(&SENTIMENTS));
        let kept = words.strip_prefix(&rendered.before).and_then(|words| words.strip_suffix(&rendered.after)).unwrap();
        assert!(!kept.is_empty() && text.starts_with(kept));
    }
    // A text that just fits is whole.
    let mut text = "profit".to_string();
    while encoder.encode(&text).tokens.len() + longest < limit {
        text += " up";
    }
    assert!(!encoder.encode(&text).cut);
    assert!(encoder.encode(&(text.clone() + " up")).cut);
}

#[test]
fn a_prompt_without_room_for_any_text_is_refused_with_the_counts() {
    let error = encoder(PromptTemplate::default().as_str(), &SENTIMENTS, 20).err().unwrap();
    assert!(error.contains("20") && error.contains("max_length"), "{error}");
    let whole = encoder(PromptTemplate::default().as_str(), &SENTIMENTS, 512).unwrap();
    let longest = whole.labels().iter().map(Vec::len).max().unwrap();
    let least = whole.encode("").tokens.len() + longest;
    // Room for the empty text alone: everything is cut, and the shared beginning is still only the instruction.
    let tight = encoder(PromptTemplate::default().as_str(), &SENTIMENTS, least).unwrap();
    assert!(tight.encode("Sales fell.").cut);
    assert_eq!(tight.shared_prefix(), whole.shared_prefix());
    assert!(encoder(PromptTemplate::default().as_str(), &SENTIMENTS, least - 1).is_err());
}

#[test]
fn labels_that_begin_alike_are_given_an_end() {
    let encoded = encoder("{text} ->", &["buy", "buy more", "sell"], 64).unwrap();
    assert!(encoded.terminated());
    for (index, label) in encoded.labels().iter().enumerate() {
        assert_eq!(label.last(), Some(&1));
        for (other, others) in encoded.labels().iter().enumerate() {
            assert!(index == other || !others.starts_with(label));
        }
    }
    let error = encoder("{text} ->", &["buy", "sell", "buy"], 64).err().unwrap();
    assert!(error.contains("\"buy\""), "{error}");
    assert!(encoder("{text} ->", &[], 64).is_err());
}

#[test]
fn a_template_that_begins_with_the_text_shares_the_first_token_alone() {
    let encoder = encoder("{text}\n", &["a", "b"], 64).unwrap();
    assert_eq!(encoder.shared_prefix(), [0]);
    let prompt = encoder.encode("");
    assert_eq!(encoder.tokenizer().decode(&prompt.tokens), "<|begin_of_text|>\n");
    assert_eq!(encoder.tokenizer().decode(&encoder.labels()[0]), "a");
}
