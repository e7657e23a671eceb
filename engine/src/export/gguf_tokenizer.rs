//! A tokenizer as GGUF's metadata, from its tokenizer.json.
//!
//! llama.cpp knows two kinds that matter here: byte-level BPE ("gpt2"), whose merges are listed and whose way to split
//! text has a name, and SentencePiece's BPE ("llama"), whose tokens have scores and which spells unknown characters in
//! bytes. What neither can express is refused: a file that splits text in another way would answer differently.

use crate::error::EngineError;
use crate::export::gguf_writer::{GgufValue, Metadata};
use crate::text::split::name_of;
use crate::text::tokenizer::TextTokenizer;
use serde_json::Value;
use std::collections::HashMap;

/// `tokenizer.ggml.token_type` (`enum llama_token_type` in llama.h).
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// The keys under `tokenizer.`, with one token for each of the `vocab_size` rows of the embedding.
///
/// # Errors
/// In words, what of the tokenizer llama.cpp has no way to express.
pub fn metadata(tokenizer: &TextTokenizer, vocab_size: usize) -> Result<Metadata, EngineError> {
    let refused = |reason: String| {
        EngineError::invalid(format!(
            "The tokenizer cannot be written into a GGUF file: {reason}. Export the model as safetensors."
        ))
    };
    let json =
        serde_json::from_str(&tokenizer.to_json()).map_err(|error| refused(format!("it is no JSON: {error}")))?;
    let mut metadata = from_json(&json, vocab_size).map_err(refused)?;
    for (key, id) in [("bos_token_id", tokenizer.bos()), ("eos_token_id", tokenizer.eos())] {
        if let Some(id) = id {
            metadata.push((format!("tokenizer.ggml.{key}"), GgufValue::U32(id)));
        }
    }
    metadata.push(("tokenizer.ggml.add_bos_token".to_string(), GgufValue::Bool(tokenizer.bos().is_some())));
    metadata.push(("tokenizer.ggml.add_eos_token".to_string(), GgufValue::Bool(false)));
    if let Some(template) = tokenizer.chat_template() {
        metadata.push(("tokenizer.chat_template".to_string(), GgufValue::String(template.source().to_string())));
    }
    Ok(metadata)
}

fn from_json(json: &Value, vocab_size: usize) -> Result<Metadata, String> {
    let kind = &json["model"]["type"];
    if !kind.is_null() && kind != "BPE" {
        return Err(format!("it is of the kind {kind}, and only BPE can be expressed"));
    }
    let merges = merges(json)?;
    let mut metadata = Vec::new();
    let mut put = |key: &str, value| metadata.push((format!("tokenizer.ggml.{key}"), value));
    let by_bytes = json["model"]["byte_fallback"] == true;
    let vocabulary = Vocabulary::read(json, vocab_size, by_bytes)?;
    if by_bytes {
        put("model", GgufValue::String("llama".to_string()));
        put("pre", GgufValue::String("default".to_string()));
        put("add_space_prefix", GgufValue::Bool(space_prefix(json)?));
        put("scores", GgufValue::F32s(vocabulary.scores(&merges)));
    } else {
        put("model", GgufValue::String("gpt2".to_string()));
        put("pre", GgufValue::String(split_name(json)?.to_string()));
        let merges = merges.iter().map(|(first, second)| format!("{first} {second}")).collect();
        put("merges", GgufValue::Strings(merges));
    }
    put("tokens", GgufValue::Strings(vocabulary.tokens));
    put("token_type", GgufValue::I32s(vocabulary.types));
    Ok(metadata)
}

/// Tokens by their numbers.
struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<i32>,
}

impl Vocabulary {
    fn read(json: &Value, vocab_size: usize, by_bytes: bool) -> Result<Self, String> {
        // Numbers that no token has are rows of the embedding that nothing reaches; llama.cpp wants a name for each.
        let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
        let mut types = vec![UNUSED; vocab_size];
        let unknown = json["model"]["unk_token"].as_str();
        let mut put = |token: &str, id: &Value, kind: i32| {
            let id = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < vocab_size);
            let Some(id) = id else {
                return Err(format!("the token {token:?} is beyond the {vocab_size} rows of the embedding"));
            };
            tokens[id] = token.to_string();
            types[id] = kind;
            Ok(())
        };
        for (token, id) in json["model"]["vocab"].as_object().ok_or("it has no vocabulary")? {
            let kind = if by_bytes && is_byte(token) { BYTE } else { NORMAL };
            put(token, id, kind)?;
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let token = added["content"].as_str().ok_or("it has an added token without a name")?;
            let kind = match added["special"].as_bool() {
                _ if by_bytes && unknown == Some(token) => UNKNOWN,
                Some(true) => CONTROL,
                _ => USER_DEFINED,
            };
            put(token, &added["id"], kind)?;
        }
        Ok(Self { tokens, types })
    }

    /// SentencePiece merges the pair whose token has the highest score, tokenizer.json the pair that stands first in its
    /// list: a token's score is therefore minus the place of the first merge that makes it. What no merge makes is
    /// never asked for its score.
    fn scores(&self, merges: &[(String, String)]) -> Vec<f32> {
        let mut places = HashMap::with_capacity(merges.len());
        for (place, (first, second)) in merges.iter().enumerate() {
            places.entry(format!("{first}{second}")).or_insert(place);
        }
        let last = merges.len();
        let score = |token: &String| -(places.get(token).copied().unwrap_or(last) as f32);
        self.tokens
            .iter()
            .zip(&self.types)
            .map(|(token, kind)| if *kind == NORMAL { score(token) } else { 0.0 })
            .collect()
    }
}

/// `<0x0A>`
fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

fn merges(json: &Value) -> Result<Vec<(String, String)>, String> {
    let pair = |merge: &Value| {
        let pair = match merge {
            Value::String(words) => words.split_once(' '),
            Value::Array(words) => match words.as_slice() {
                [Value::String(first), Value::String(second)] => Some((first.as_str(), second.as_str())),
                _ => None,
            },
            _ => None,
        };
        match pair {
            Some((first, second)) if ![first, second].iter().any(|token| token.contains(' ')) => {
                Ok((first.to_string(), second.to_string()))
            }
            _ => Err(format!("the merge {merge} is no pair of tokens without spaces")),
        }
    };
    json["model"]["merges"].as_array().ok_or("it has no merges")?.iter().map(pair).collect()
}

/// llama.cpp's name for the way in which byte-level BPE splits text before merging.
fn split_name(json: &Value) -> Result<&'static str, String> {
    // Qwen's tokenizers compose characters first (NFC). llama.cpp leaves that out; nearly all texts are composed already.
    let normalizer = &json["normalizer"];
    if !normalizer.is_null() && normalizer["type"] != "NFC" {
        return Err(format!("it normalises text ({}), which llama.cpp does not", normalizer["type"]));
    }
    name_of(json).ok_or_else(|| format!("llama.cpp has no name for its way to split text: {}", json["pre_tokenizer"]))
}

/// Whether a space is put before a text, as SentencePiece does; spaces themselves are written `▁`. `Metaspace` puts none
/// before a text that begins with one, for which llama.cpp has no word: such a prompt gets one token more there.
fn space_prefix(json: &Value) -> Result<bool, String> {
    let (normalizer, pre) = (&json["normalizer"], &json["pre_tokenizer"]);
    let steps: Vec<&Value> = match normalizer["normalizers"].as_array() {
        Some(steps) => steps.iter().collect(),
        None if normalizer.is_null() => Vec::new(),
        None => vec![normalizer],
    };
    let (mut prefix, mut spaces) = (false, false);
    for step in steps {
        let replaces = step["pattern"]["String"] == " " && step["content"] == "▁";
        match step["type"].as_str() {
            Some("Prepend") if step["prepend"] == "▁" => prefix = true,
            Some("Replace") if replaces => spaces = true,
            _ => return Err(format!("it normalises text in a way that SentencePiece has not ({step})")),
        }
    }
    match pre["type"].as_str() {
        None => {}
        Some("Metaspace") => {
            spaces = true;
            prefix |= pre["prepend_scheme"] != "never";
        }
        Some(other) => return Err(format!("llama.cpp has no name for its way to split text: {other}")),
    }
    if spaces { Ok(prefix) } else { Err("it does not write spaces as ▁, as SentencePiece does".to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::split::Splitting;
    use serde_json::json;

    fn byte_level(steps: Value, ignore_merges: bool) -> Value {
        json!({
            "added_tokens": [
                { "id": 3, "content": "<|end|>", "special": true },
                { "id": 4, "content": "word", "special": false },
            ],
            "normalizer": null,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
            "model": {
                "type": "BPE", "byte_fallback": false, "ignore_merges": ignore_merges,
                "vocab": { "a": 0, "b": 1, "ab": 2, "<|end|>": 3 },
                "merges": [["a", "b"]],
            },
        })
    }

    fn llama3_split() -> Value {
        Splitting::named("llama-bpe").unwrap().pre_tokenizer["pretokenizers"].clone()
    }

    fn split_by(pattern: &str) -> Value {
        json!([
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        ])
    }

    fn get<'a>(metadata: &'a Metadata, key: &str) -> &'a GgufValue {
        &metadata.iter().find(|(name, _)| name == &format!("tokenizer.ggml.{key}")).unwrap().1
    }

    #[test]
    fn byte_level_bpe_is_named_by_its_split() {
        for (name, ignores_merges) in [("llama-bpe", true), ("dbrx", false)] {
            let metadata = from_json(&byte_level(llama3_split(), ignores_merges), 6).unwrap();
            assert_eq!(*get(&metadata, "model"), GgufValue::String("gpt2".to_string()));
            assert_eq!(*get(&metadata, "pre"), GgufValue::String(name.to_string()));
        }
        let steps = json!([{ "type": "ByteLevel", "add_prefix_space": false, "use_regex": true }]);
        let metadata = from_json(&byte_level(steps, false), 6).unwrap();
        assert_eq!(*get(&metadata, "pre"), GgufValue::String("gpt-2".to_string()));
        assert_eq!(*get(&metadata, "merges"), GgufValue::Strings(vec!["a b".to_string()]));
        let tokens = ["a", "b", "ab", "<|end|>", "word", "[PAD5]"].map(String::from).to_vec();
        assert_eq!(*get(&metadata, "tokens"), GgufValue::Strings(tokens));
        let types = vec![NORMAL, NORMAL, NORMAL, CONTROL, USER_DEFINED, UNUSED];
        assert_eq!(*get(&metadata, "token_type"), GgufValue::I32s(types));
    }

    #[test]
    fn what_cannot_be_expressed_is_refused_in_words() {
        let known = byte_level(llama3_split(), true);
        let mut lowercase = known.clone();
        lowercase["normalizer"] = json!({ "type": "Lowercase" });
        let mut unigram = known.clone();
        unigram["model"]["type"] = json!("Unigram");
        for (json, size, reason) in [
            (byte_level(split_by(r"\w+"), false), 6, "no name for its way to split"),
            (lowercase, 6, "Lowercase"),
            (unigram, 6, "Unigram"),
            (known, 3, "beyond the 3 rows"),
        ] {
            let refused = from_json(&json, size).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn sentencepiece_gets_scores_in_the_order_of_its_merges() {
        let json = json!({
            "added_tokens": [
                { "id": 0, "content": "<unk>", "special": true },
                { "id": 1, "content": "<s>", "special": true },
            ],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Prepend", "prepend": "▁" },
                { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
            ] },
            "pre_tokenizer": null,
            "model": {
                "type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
                "vocab": { "<unk>": 0, "<s>": 1, "<0x0A>": 2, "▁a": 3, "▁ab": 4, "▁": 5, "a": 6, "b": 7 },
                "merges": [["▁", "a"], ["▁a", "b"]],
            },
        });
        let metadata = from_json(&json, 8).unwrap();
        assert_eq!(*get(&metadata, "model"), GgufValue::String("llama".to_string()));
        assert_eq!(*get(&metadata, "add_space_prefix"), GgufValue::Bool(true));
        assert_eq!(*get(&metadata, "scores"), GgufValue::F32s(vec![0.0, 0.0, 0.0, -0.0, -1.0, -2.0, -2.0, -2.0]));
        let types = vec![UNKNOWN, CONTROL, BYTE, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL];
        assert_eq!(*get(&metadata, "token_type"), GgufValue::I32s(types));
        let mut nfkc = json.clone();
        nfkc["normalizer"]["normalizers"][0] = json!({ "type": "NFKC" });
        assert!(from_json(&nfkc, 8).unwrap_err().contains("NFKC"));
        let mut plain = json;
        plain["normalizer"] = Value::Null;
        assert!(from_json(&plain, 8).unwrap_err().contains("▁"));
    }
}
