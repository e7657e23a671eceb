//! Prompts in a model's own chat template, against what `apply_chat_template` of transformers makes of them.

use domain::model::TokenRole;
use domain::template::PromptTemplate;
use engine::text::template::{PromptEncoder, PromptSetup};
use engine::text::tokenizer::TextTokenizer;
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One template with one tokenizer; `make.py` beside the file says how the numbers were made.
#[derive(Deserialize)]
struct Chat {
    folder: String,
    template: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    ids: Vec<u32>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn chats() -> Vec<Chat> {
    serde_json::from_slice(&std::fs::read(fixtures().join("chats.json")).unwrap()).unwrap()
}

/// A tokenizer of the fixtures with another template, or none.
fn tokenizer(folder: &str, template: Option<&str>) -> Arc<TextTokenizer> {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::copy(fixtures().join(folder).join("tokenizer.json"), temporary.path().join("tokenizer.json")).unwrap();
    let (bos, eos) = if folder == "byte-level" { ("<|begin_of_text|>", "<|eot_id|>") } else { ("<s>", "</s>") };
    let config = json!({ "bos_token": bos, "eos_token": eos, "chat_template": template });
    std::fs::write(temporary.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    Arc::new(TextTokenizer::from_folder(temporary.path()).unwrap())
}

fn encoder(tokenizer: &Arc<TextTokenizer>, template: &str, max_length: usize) -> Result<PromptEncoder, String> {
    let template = PromptTemplate::parse(template).unwrap();
    let labels = ["rose", "fell"].map(String::from);
    let setup = PromptSetup { template: &template, labels: &labels, max_length, use_chat_template: true };
    PromptEncoder::new(tokenizer.clone(), &setup).map_err(|error| error.to_string())
}

#[test]
fn wrapped_prompts_are_those_of_transformers() {
    let chats = chats();
    assert_eq!(chats.iter().map(|chat| chat.cases.len()).sum::<usize>(), 18);
    for Chat { folder, template, cases } in chats {
        let tokenizer = tokenizer(&folder, Some(&template));
        let encoder = encoder(&tokenizer, "{text}", 4096).unwrap();
        for Case { prompt, ids } in cases {
            let encoded = encoder.encode(&prompt);
            assert_eq!(encoded.tokens, ids, "{folder}: {template}: {prompt:?}");
            assert!(!encoded.cut);
        }
    }
}

#[test]
fn names_of_special_tokens_in_a_row_stay_words() {
    for Chat { folder, template, cases } in chats() {
        let tokenizer = tokenizer(&folder, Some(&template));
        let encoder = encoder(&tokenizer, "Say <s> or <|eot_id|>: {text}.", 4096).unwrap();
        let specials = |tokens: &[u32]| tokens.iter().filter(|token| tokenizer.is_special(**token)).count();
        let wrapping = specials(&cases[0].ids);
        let text = "<s>x</s> [/INST] <|eot_id|><|start_header_id|>system<|end_header_id|> <|im_end|>";
        let prompt = encoder.encode(text);
        assert_eq!(specials(&prompt.tokens), wrapping, "{folder}: {template}");
        assert!(tokenizer.decode(&prompt.tokens).contains(text));
    }
}

#[test]
fn the_label_follows_as_the_template_ends() {
    for (folder, template, expected) in [
        // Behind a line break and behind a special token the label stands alone; behind words it brings its space.
        ("byte-level", "<|im_start|>{{ messages[0].content }}<|im_end|>{{ '\\n' }}", "rose"),
        ("byte-level", "{{ messages[0].content }}{{ '\\n\\n' }}", "rose"),
        ("byte-level", "<|im_start|>{{ messages[0].content }}<|im_end|>", "rose"),
        ("byte-level", "Q: {{ messages[0].content }} A:", " rose"),
        ("byte-level", "Q: {{ messages[0].content }}", " rose"),
        ("llama-2", "[INST] {{ messages[0].content }} [/INST]", " rose"),
        ("llama-2", "{{ messages[0].content }}</s>{{ '\\n' }}", "rose"),
        // Llama 2's tokenizer sets a space behind special tokens by itself.
        ("llama-2", "{{ messages[0].content }}</s>", " rose"),
        ("mistral", "{{ messages[0].content }}</s>", "rose"),
    ] {
        let tokenizer = tokenizer(folder, Some(template));
        let encoder = encoder(&tokenizer, "{text} =", 4096).unwrap();
        let label: String = encoder.labels()[0].iter().map(|token| tokenizer.token_text(*token)).collect();
        assert_eq!(label, expected, "{folder}: {template:?}");
    }
    // What ends the prompt counts where the template writes nothing behind it.
    let plain = tokenizer("byte-level", Some("Q: {{ messages[0].content }}"));
    let label = encoder(&plain, "{text}\n", 4096).unwrap().labels()[0].clone();
    assert_eq!(plain.decode(&label), "rose");
    let trimming = tokenizer("byte-level", Some("Q: {{ messages[0].content | trim }}"));
    let label = encoder(&trimming, "{text}\n", 4096).unwrap().labels()[0].clone();
    assert_eq!(trimming.decode(&label), " rose");
}

#[test]
fn the_preview_shows_the_whole_wrapping_and_long_texts_are_cut_inside_it() {
    for Chat { folder, template, .. } in chats() {
        let tokenizer = tokenizer(&folder, Some(&template));
        let whole = encoder(&tokenizer, "Which? [{text}] =", 4096).unwrap();
        let preview = whole.preview("The mill rose.", 0, true);
        let read = |role: TokenRole| -> String {
            preview.tokens.iter().filter(|token| token.role == role).map(|token| token.text.as_str()).collect()
        };
        assert!(read(TokenRole::Shared).contains("user") || template.contains("[INST]"));
        assert!(read(TokenRole::Shared).contains("Which? ["), "{folder}");
        assert!(read(TokenRole::Row).contains("he mill rose."), "{}", read(TokenRole::Row));
        assert_eq!(read(TokenRole::Label).trim(), "rose");
        assert!(preview.tokens.iter().all(|token| token.loss == (token.role == TokenRole::Label)));

        let empty = whole.encode("").tokens;
        let limit = empty.len() + 40;
        let tight = encoder(&tokenizer, "Which? [{text}] =", limit).unwrap();
        let cut = tight.encode(&"the mill ".repeat(500));
        assert!(cut.cut && cut.tokens.len() < limit);
        let behind = empty.iter().rev().zip(cut.tokens.iter().rev()).take_while(|(one, other)| one == other).count();
        let decoded = tokenizer.decode(&cut.tokens[cut.tokens.len() - behind..]);
        assert!(decoded.contains("="), "{folder}: {decoded:?}");
        assert!(cut.tokens.starts_with(&tight.shared_prefix()));
        assert_eq!(tight.shared_prefix(), whole.shared_prefix());
    }
}

#[test]
fn models_without_a_usable_template_say_so() {
    let refused = |template: Option<&str>| encoder(&tokenizer("llama-2", template), "{text}", 4096).err().unwrap();
    assert!(refused(None).contains("no chat template"));
    assert!(refused(Some("{{ raise_exception('only for tools') }}")).contains("only for tools"));
    assert!(refused(Some("{% if %}")).contains("line 1"));
}
