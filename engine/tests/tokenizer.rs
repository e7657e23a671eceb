//! The tokenizer against Llama 3's own, against itself, and against hostile files.

mod common;

use candle_core::quantized::gguf_file::{self, Value};
use common::{beside, embedded_base};
use engine::text::tokenizer::TextTokenizer;
use engine::weights::gguf::GgufFile;
use std::process::Command;

fn embedded() -> TextTokenizer {
    TextTokenizer::from_gguf(&GgufFile::open(&embedded_base()).unwrap()).unwrap()
}

#[test]
fn llama_3_texts_become_llama_3_tokens() {
    let Some(folder) = beside("shared/llama3-tokenizer") else { return };
    let unpacked = Command::new("xz").arg("-dc").arg(folder.join("tokenizer.json.xz")).output();
    let Ok(unpacked) = unpacked else { return println!("skipped: xz is not there") };
    assert!(unpacked.status.success());
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("tokenizer.json");
    std::fs::write(&path, unpacked.stdout).unwrap();
    let tokenizer = TextTokenizer::from_json_file(&path).unwrap();
    assert_eq!(tokenizer.token_text(tokenizer.bos().unwrap()), "<|begin_of_text|>");
    assert_eq!(tokenizer.token_text(tokenizer.eos().unwrap()), "<|end_of_text|>");

    let texts = std::fs::read_to_string(folder.join("ggml-vocab-llama-bpe.gguf.inp")).unwrap();
    let tokens = std::fs::read_to_string(folder.join("ggml-vocab-llama-bpe.gguf.out")).unwrap();
    let texts: Vec<&str> = texts.split_terminator("\n__ggml_vocab_test__\n").collect();
    let tokens: Vec<&str> = tokens.lines().collect();
    assert_eq!((texts.len(), tokens.len()), (46, 46));
    for (text, tokens) in texts.iter().zip(tokens) {
        let expected: Vec<u32> = tokens.split_whitespace().map(|token| token.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode(text), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected), *text);
    }
}

#[test]
fn every_token_of_the_embedded_base_reads_back() {
    let tokenizer = embedded();
    assert_eq!((tokenizer.vocab_size(), tokenizer.bos(), tokenizer.eos()), (8192, Some(0), Some(1)));
    let mut whole_characters = 0;
    for id in 0..tokenizer.vocab_size() as u32 {
        let text = tokenizer.token_text(id);
        assert!(!text.is_empty(), "token {id}");
        if tokenizer.is_special(id) || text.contains('\u{FFFD}') {
            continue;
        }
        // A piece that is a token is taken whole; one that the split pattern takes apart still reads the same.
        whole_characters += 1;
        let tokens = tokenizer.encode(&text);
        assert_eq!(tokenizer.decode(&tokens), text, "token {id}");
        assert_eq!(tokenizer.decode(&[id]), text, "token {id}");
    }
    assert!(whole_characters > 7000);
}

#[test]
fn names_of_special_tokens_in_a_text_are_words() {
    let tokenizer = embedded();
    for text in ["<|end_of_text|>", "x<|begin_of_text|>y", "<|eot_id|><|pad|> <|start_header_id|>"] {
        let tokens = tokenizer.encode(text);
        assert!(tokens.iter().all(|token| !tokenizer.is_special(*token)), "{tokens:?}");
        assert_eq!(tokenizer.decode(&tokens), text);
    }
}

#[test]
fn odd_texts_read_back() {
    let tokenizer = embedded();
    for text in [
        "",
        " ",
        "\n\n  \t",
        "Öl stieg um 3½ %",
        "🚀 ½\u{0}\u{1b}",
        "a\u{301}\u{200d}",
        "  Net sales: EUR 1,234.5mn\r\n",
    ] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
    }
    // Far more than the split pattern may backtrack over.
    let spaces = " ".repeat(2_000_000) + "x";
    assert_eq!(tokenizer.decode(&tokenizer.encode(&spaces)).len(), spaces.len());
}

#[test]
fn the_saved_tokenizer_is_the_same() {
    let tokenizer = embedded();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("tokenizer.json");
    std::fs::write(&path, tokenizer.to_json()).unwrap();
    let again = TextTokenizer::from_json_file(&path).unwrap();
    assert_eq!((again.bos(), again.eos(), again.vocab_size()), (Some(0), Some(1), 8192));
    for text in ["Operating profit rose to EUR 13.1 mn", "<|end_of_text|> it's 2009\n\n x"] {
        assert_eq!(again.encode(text), tokenizer.encode(text));
    }
}

#[test]
fn damaged_tokenizers_are_refused_in_words() {
    let good: serde_json::Value = serde_json::from_str(&embedded().to_json()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("tokenizer.json");
    let refuse = |change: &dyn Fn(&mut serde_json::Value), reason: &str| {
        let mut json = good.clone();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = TextTokenizer::from_json_file(&path).err().expect(reason).to_string();
        assert!(error.contains(reason), "{error}");
        assert!(error.contains("tokenizer.json"), "{error}");
    };
    refuse(&|json| json["model"]["merges"][0] = serde_json::json!(["Ġ", "no such token"]), "merge");
    // The longest token twice over: the tokenizers crate would write beyond its buffer.
    refuse(
        &|json| {
            let vocab = json["model"]["vocab"].as_object().unwrap();
            let longest = vocab.keys().max_by_key(|token| token.len()).unwrap().clone();
            json["model"]["merges"][0] = serde_json::json!([longest, longest]);
        },
        "merge",
    );
    refuse(&|json| json["model"]["vocab"]["the"] = 5.into(), "taken");
    refuse(&|json| json["model"]["vocab"]["the"] = 4_000_000_000u32.into(), "out of range");
    refuse(&|json| json["model"]["vocab"]["the"] = "x".into(), "out of range");
    refuse(&|json| json["model"]["type"] = "Unigram".into(), "Unigram");
    refuse(&|json| json["model"]["vocab"] = 3.into(), "vocabulary");
    refuse(&|json| json["pre_tokenizer"] = serde_json::Value::Null, "byte-level");
    std::fs::write(&path, "{").unwrap();
    assert!(TextTokenizer::from_json_file(&path).err().unwrap().to_string().contains("JSON"));
}

#[test]
fn damaged_gguf_tokenizers_are_refused_in_words() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("small.gguf");
    let texts = |words: &[&str]| Value::Array(words.iter().map(|word| Value::String(word.to_string())).collect());
    let numbers = |numbers: &[i32]| Value::Array(numbers.iter().map(|number| Value::I32(*number)).collect());
    let good = [
        ("tokenizer.ggml.model", Value::String("gpt2".to_string())),
        ("tokenizer.ggml.pre", Value::String("llama-bpe".to_string())),
        ("tokenizer.ggml.tokens", texts(&["<s>", "a", "b", "ab", "typed"])),
        ("tokenizer.ggml.token_type", numbers(&[3, 1, 1, 1, 3])),
        ("tokenizer.ggml.merges", texts(&["a b"])),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(4)),
    ];
    let open = |key: &str, value: Option<Value>| {
        let mut metadata: Vec<(&str, Value)> = good.iter().filter(|(name, _)| *name != key).cloned().collect();
        metadata.extend(value.map(|value| (key, value)));
        let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
        gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &metadata, &[]).unwrap();
        TextTokenizer::from_gguf(&GgufFile::open(&path).unwrap()).map_err(|error| error.to_string())
    };
    let tokenizer = open("", None).unwrap();
    assert_eq!(tokenizer.encode("ab"), [3]);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(0), Some(4), 5));
    // A special token that the split pattern takes for one piece is still not to be had by typing its name.
    assert!(!tokenizer.encode("typed").contains(&4));
    assert_eq!(open("tokenizer.ggml.add_bos_token", Some(Value::Bool(false))).unwrap().bos(), None);

    let text = |word: &str| Some(Value::String(word.to_string()));
    for (key, value, reason) in [
        ("tokenizer.ggml.model", text("llama"), "\"llama\""),
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model"),
        ("tokenizer.ggml.pre", text("tekken"), "tekken"),
        ("tokenizer.ggml.tokens", None, "tokenizer.ggml.tokens"),
        ("tokenizer.ggml.tokens", Some(numbers(&[1, 2])), "tokenizer.ggml.tokens"),
        ("tokenizer.ggml.tokens", Some(texts(&["<s>", "a", "b", "a", "x"])), "twice"),
        ("tokenizer.ggml.token_type", Some(numbers(&[3, 1])), "2 token types"),
        ("tokenizer.ggml.merges", Some(texts(&["ab"])), "no pair"),
        ("tokenizer.ggml.merges", Some(texts(&["typed typed"])), "merge"),
        ("tokenizer.ggml.merges", Some(texts(&["a q"])), "merge"),
        ("tokenizer.ggml.bos_token_id", Some(Value::U32(5)), "tokenizer.ggml.bos_token_id"),
        ("tokenizer.ggml.eos_token_id", Some(Value::U32(u32::MAX)), "tokenizer.ggml.eos_token_id"),
    ] {
        let error = open(key, value).err().expect(reason);
        assert!(error.contains(reason) && error.contains("small.gguf"), "{reason}: {error}");
    }
}
