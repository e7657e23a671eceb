//! The tokenizer against Llama 3's own, against itself, and against hostile files.

mod common;

use candle_core::quantized::gguf_file::{self, Value};
use common::{beside, embedded_base};
use engine::text::tokenizer::{Place, TextTokenizer};
use engine::weights::gguf::GgufFile;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Small tokenizers and the numbers that sentencepiece and transformers give texts with them; `make.py` there made both.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

#[derive(Deserialize)]
struct Expected {
    text: String,
    ids: Vec<u32>,
}

fn expected_of_sentencepiece() -> Vec<Expected> {
    serde_json::from_slice(&std::fs::read(fixtures().join("sentencepiece.json")).unwrap()).unwrap()
}

fn embedded() -> TextTokenizer {
    TextTokenizer::from_gguf(&GgufFile::open(&embedded_base()).unwrap()).unwrap()
}

#[test]
fn llama_3_texts_become_llama_3_tokens() {
    let named = std::env::var_os("AYAR_LLAMA3_TOKENIZER").map(PathBuf::from);
    let Some(folder) = named.or_else(|| beside("shared/llama3-tokenizer")) else { return };
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
    refuse(
        &|json| {
            json["pre_tokenizer"] = serde_json::Value::Null;
            json["model"]["byte_fallback"] = true.into();
        },
        "<0x00>",
    );
    refuse(&|json| json["model"]["unk_token"] = "no such token".into(), "no such token");
    refuse(&|json| json["model"]["vocab"]["x".repeat(5000)] = 8192.into(), "5000 bytes");
    refuse(&|json| json["normalizer"] = serde_json::json!({ "type": "Precompiled" }), "Precompiled");
    refuse(
        &|json| json["decoder"] = serde_json::json!({ "type": "Strip", "content": "x", "start": 0, "stop": 2 }),
        "ends",
    );
    refuse(&|json| json["added_tokens"][0]["id"] = 17.into(), "does not fit");
    refuse(&|json| json["added_tokens"][0]["content"] = "".into(), "usable name");
    let split = |pattern: &str| serde_json::json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    refuse(&|json| json["pre_tokenizer"]["pretokenizers"][0] = split("(a+)+$"), "repeats");
    refuse(&|json| json["pre_tokenizer"]["pretokenizers"][0] = split(&"a".repeat(5000)), "5000 bytes");
    refuse(
        &|json| {
            let steps = json["pre_tokenizer"]["pretokenizers"].as_array_mut().unwrap();
            steps.extend((0..20).map(|_| split("a")));
        },
        "more than 16",
    );
    let replace = serde_json::json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aaaaaaaa" });
    refuse(
        &|json| json["normalizer"] = serde_json::json!({ "type": "Sequence", "normalizers": vec![replace.clone(); 9] }),
        "too long",
    );

    // Not of a tokenizer any more: files that only a reader with limits gets to the end of.
    let refuse_file = |content: &[u8], reason: &str| {
        std::fs::write(&path, content).unwrap();
        let error = TextTokenizer::from_json_file(&path).err().expect(reason).to_string();
        assert!(error.contains(reason) && error.contains("tokenizer.json"), "{error}");
    };
    refuse_file(b"{", "JSON");
    refuse_file("[".repeat(100_000).as_bytes(), "recursion");
    refuse_file(format!("[{}0]", "0,".repeat(7 << 20)).as_bytes(), "values");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = TextTokenizer::from_json_file(&path).err().unwrap().to_string();
    assert!(error.contains("64 MB"), "{error}");
    assert!(TextTokenizer::from_json_file(temporary.path()).err().unwrap().to_string().contains("no file"));
}

#[test]
fn texts_become_the_tokens_of_sentencepiece() {
    let fixtures = fixtures();
    let from_gguf = TextTokenizer::from_gguf(&GgufFile::open(&fixtures.join("sentencepiece.gguf")).unwrap()).unwrap();
    let from_model = TextTokenizer::from_folder(&fixtures.join("sentencepiece")).unwrap();
    let from_json = TextTokenizer::from_folder(&fixtures.join("llama-2")).unwrap();
    for tokenizer in [&from_gguf, &from_model, &from_json] {
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(1), Some(2), 640));
        for Expected { text, ids } in expected_of_sentencepiece() {
            assert_eq!(tokenizer.encode(&text), ids, "{text:?}");
            // The sign for a space reads as one.
            assert_eq!(tokenizer.decode(&ids), text.replace('▁', " "));
            assert!(ids.iter().all(|id| !tokenizer.is_special(*id)));
            // People read every character, with the space that is set before the text; of a character in bytes, its
            // bytes, which are no characters.
            let read: String = ids.iter().map(|id| tokenizer.token_text(*id)).collect();
            if !read.contains('\u{FFFD}') && !text.is_empty() && !text.contains('▁') {
                assert_eq!(read, format!(" {text}"));
            }
        }
    }
    assert_eq!(from_gguf.to_json(), from_model.to_json());
    assert_eq!(from_gguf.chat_template(), from_json.chat_template());
    assert!(from_model.chat_template().is_none());
}

#[test]
fn words_in_the_middle_of_a_text_have_no_space_set_before_them() {
    for folder in ["llama-2", "mistral"] {
        let tokenizer = TextTokenizer::from_folder(&fixtures().join(folder)).unwrap();
        let read = |place, words: &str| -> String {
            tokenizer.encode_at(place, words).iter().map(|id| tokenizer.token_text(*id)).collect()
        };
        assert_eq!(read(Place::Start, "mill"), " mill");
        assert_eq!(read(Place::AfterWords, "mill"), "mill");
        assert_eq!(read(Place::AfterWords, " mill"), " mill");
        // Llama 2's sets the space behind every special token, later Mistrals' do not.
        assert_eq!(read(Place::AfterSpecial, "mill"), if folder == "llama-2" { " mill" } else { "mill" });
    }
    let byte_level = embedded();
    for place in [Place::Start, Place::AfterWords, Place::AfterSpecial] {
        assert_eq!(byte_level.encode_at(place, "mill"), byte_level.encode("mill"));
    }
}

#[test]
fn written_files_read_back_with_names_and_template() {
    for folder in ["llama-2", "mistral", "byte-level", "sentencepiece"] {
        let tokenizer = TextTokenizer::from_folder(&fixtures().join(folder)).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        tokenizer.write_files(temporary.path()).unwrap();
        let again = TextTokenizer::from_folder(temporary.path()).unwrap();
        assert_eq!((again.bos(), again.eos()), (tokenizer.bos(), tokenizer.eos()), "{folder}");
        assert_eq!(again.token_names(), tokenizer.token_names());
        assert_eq!(again.chat_template(), tokenizer.chat_template());
        assert_eq!(again.to_json(), tokenizer.to_json());
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(temporary.path().join(name)).unwrap()).unwrap()
        };
        let config = read("tokenizer_config.json");
        assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
        assert_eq!(read("special_tokens_map.json")["eos_token"], tokenizer.token_text(tokenizer.eos().unwrap()));
        if folder == "byte-level" {
            assert_eq!(config["model_max_length"], 4096);
        }
    }
}

#[test]
fn folders_say_which_tokens_begin_and_end_a_text() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    assert!(TextTokenizer::from_folder(folder).err().unwrap().to_string().contains("tokenizer.model"));
    std::fs::copy(fixtures().join("llama-2/tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let with = |name: &str, content: &str| {
        std::fs::write(folder.join(name), content).unwrap();
        TextTokenizer::from_folder(folder)
    };
    // The post-processor and the usual name, where nothing else is said.
    let plain = TextTokenizer::from_folder(folder).unwrap();
    assert_eq!((plain.bos(), plain.eos(), plain.chat_template()), (Some(1), Some(2), None));
    let said = with("tokenizer_config.json", r#"{"eos_token": {"content": "<unk>"}, "add_bos_token": false}"#).unwrap();
    assert_eq!((said.bos(), said.eos()), (None, Some(0)));
    let map = with("special_tokens_map.json", r#"{"eos_token": "</s>", "pad_token": "<s>"}"#).unwrap();
    assert_eq!((map.eos(), map.token_names()["pad_token"].as_str()), (Some(0), "<s>"));
    let template = with("chat_template.jinja", "{{ messages[0].content }}").unwrap();
    assert_eq!(template.chat_template().unwrap().source(), "{{ messages[0].content }}");
    for (name, content) in [("tokenizer_config.json", "[]"), ("special_tokens_map.json", "{")] {
        let error = with(name, content).err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
        std::fs::write(folder.join(name), "{}").unwrap();
    }
}

#[test]
fn damaged_sentencepiece_models_are_refused_in_words() {
    let good = std::fs::read(fixtures().join("sentencepiece/tokenizer.model")).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(temporary.path().join("tokenizer.model"), bytes).unwrap();
        TextTokenizer::from_folder(temporary.path()).map_err(|error| error.to_string())
    };
    assert!(open(&good).is_ok());
    for (bytes, reason) in [
        (&b""[..], "no pieces"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "damaged"),
        (&[0xFF; 40], "damaged"),
        (&good[..good.len() - 3], "damaged"),
        // A model that ends after its pieces says nothing of its kind, which then is Unigram.
        (&good[..2 + usize::from(good[1])], "kind"),
    ] {
        let error = open(bytes).err().expect(reason);
        assert!(error.contains(reason) && error.contains("tokenizer.model"), "{reason}: {error}");
    }
    // Wherever it is cut or bent, it is read or refused.
    for at in (0..good.len()).step_by(97) {
        let _ = open(&good[..at]);
        let mut bent = good.clone();
        bent[at] ^= 0x55;
        let _ = open(&bent);
    }
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
        ("tokenizer.ggml.model", text("t5"), "\"t5\""),
        ("tokenizer.ggml.model", text("llama"), "tokenizer.ggml.scores"),
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model"),
        ("tokenizer.ggml.pre", text("rwkv"), "rwkv"),
        ("tokenizer.chat_template", Some(Value::String(" ".repeat(300_000))), "300000"),
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
