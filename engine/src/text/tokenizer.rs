//! Byte-level BPE tokenizers, from a GGUF file's metadata or from a tokenizer.json.
//!
//! Both ways meet in one: the metadata is written as a tokenizer.json, which is checked and handed to the `tokenizers`
//! crate. The same JSON is saved beside an adapter, for PEFT and everybody else.

use crate::error::EngineError;
use crate::weights::gguf::GgufFile;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;
use tokenizers::Tokenizer;

/// The pattern by which Llama 3 splits text before merging (`LLAMA_VOCAB_PRE_TYPE_LLAMA3` in llama-vocab.cpp, and the
/// `pre_tokenizer` of Llama 3's tokenizer.json).
const LLAMA3_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Names under which llama.cpp knows that pattern.
const LLAMA3_SPLIT_NAMES: [&str; 3] = ["llama-bpe", "llama3", "llama-v3"];

/// `tokenizer.ggml.token_type`: written by the model's makers, never by the people who type (`llama_token_type`).
const TYPE_UNKNOWN: i64 = 2;
const TYPE_CONTROL: i64 = 3;
const TYPE_USER_DEFINED: i64 = 4;
const TYPE_UNUSED: i64 = 5;

/// End-of-text tokens of models whose tokenizer.json does not say which it is.
const EOS_NAMES: [&str; 4] = ["<|end_of_text|>", "<|endoftext|>", "<|eot_id|>", "</s>"];

/// Most tokens that are accepted. The largest vocabularies in use have some 260,000.
const MAX_TOKENS: usize = 1 << 20;

/// Turns text into tokens and back.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// Indexed by token; those the user's text must never become.
    is_special: Vec<bool>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Character of the byte-level alphabet to the byte it stands for.
    byte_of_character: HashMap<char, u8>,
}

impl TextTokenizer {
    /// Builds the tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// A tokenizer that is not byte-level BPE with Llama 3's split pattern, or tokens, merges or ids that contradict
    /// each other; the message names the file and the entry.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, EngineError> {
        let kind = file.require_str("tokenizer.ggml.model")?;
        if kind != "gpt2" {
            return Err(file.bad(format!(
                "has a tokenizer of the kind \"{kind}\"; only byte-level BPE (\"gpt2\"), as in Llama 3, can be read"
            )));
        }
        let pre = file.metadata_str("tokenizer.ggml.pre").unwrap_or("default");
        if !LLAMA3_SPLIT_NAMES.contains(&pre) {
            return Err(
                file.bad(format!("splits text in the way \"{pre}\"; only that of Llama 3 (\"llama-bpe\") is known"))
            );
        }
        let list = |key: &str| {
            let list = file.metadata_strings(key).filter(|list| !list.is_empty() && list.len() <= MAX_TOKENS);
            list.ok_or_else(|| file.bad(format!("lacks the list {key}, or it is too long")))
        };
        let tokens = list("tokenizer.ggml.tokens")?;
        let merges = list("tokenizer.ggml.merges")?;
        let types = match file.metadata_integers("tokenizer.ggml.token_type") {
            Some(types) if types.len() == tokens.len() => types.to_vec(),
            Some(types) => {
                return Err(file.bad(format!("has {} tokens but {} token types", tokens.len(), types.len())));
            }
            None => vec![1; tokens.len()],
        };
        let token_id = |key: &str| match file.metadata_u32(key) {
            Some(id) if (id as usize) < tokens.len() => Ok(Some(id)),
            Some(id) => Err(file.bad(format!("{key} is {id}, but there are only {} tokens", tokens.len()))),
            None => Ok(None),
        };
        let bos = token_id("tokenizer.ggml.bos_token_id")?;
        let eos = token_id("tokenizer.ggml.eos_token_id")?;
        // llama.cpp adds the first token for Llama 3's kind unless the file says otherwise.
        let bos = bos.filter(|_| file.metadata_bool("tokenizer.ggml.add_bos_token").unwrap_or(true));

        let json = tokenizer_json(tokens, &types, merges, bos).map_err(|reason| file.bad(reason))?;
        Self::build(&json, bos, eos).map_err(|reason| file.bad(reason))
    }

    /// Reads a tokenizer.json. Its first token is the one its post-processor sets before an empty text, its last
    /// the `eos_token` of a tokenizer_config.json beside it, or else the first known name of one.
    pub fn from_json_file(path: &Path) -> Result<Self, EngineError> {
        let bad = |reason: String| EngineError::bad_file(path, reason);
        let text = std::fs::read_to_string(path).map_err(|source| EngineError::io(path, source))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| bad(format!("is no JSON: {error}")))?;
        let mut built = Self::build(&json, None, None).map_err(bad)?;
        let first = built.tokenizer.encode_fast("", true).map_err(|error| bad(error.to_string()))?;
        built.bos = first.get_ids().first().copied();
        let named = std::fs::read_to_string(path.with_file_name("tokenizer_config.json"))
            .ok()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .and_then(|config| {
                let eos = &config["eos_token"];
                eos.as_str().or_else(|| eos["content"].as_str()).map(String::from)
            });
        built.eos = named
            .iter()
            .map(String::as_str)
            .chain(EOS_NAMES)
            .find_map(|name| built.tokenizer.token_to_id(name).filter(|id| built.is_special(*id)));
        Ok(built)
    }

    fn build(json: &Value, bos: Option<u32>, eos: Option<u32>) -> Result<Self, String> {
        check_model(json)?;
        let words = json.to_string();
        let mut tokenizer: Tokenizer = words.parse().map_err(|error| format!("is no usable tokenizer: {error}"))?;
        // Rows may hold the words "<|end_of_text|>": they are words there, not the end of the text.
        tokenizer.set_encode_special_tokens(true);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let added = tokenizer.get_added_tokens_decoder();
        let highest = tokenizer.get_vocab(true).values().copied().max().unwrap_or(0) as usize;
        if highest >= MAX_TOKENS {
            return Err(format!("has a token with the number {highest}; at most {MAX_TOKENS} are accepted"));
        }
        let mut is_special = vec![false; highest + 1];
        for (id, _) in added.iter().filter(|(_, token)| token.special) {
            is_special[*id as usize] = true;
        }
        let byte_of_character = byte_level_alphabet();
        Ok(Self { tokenizer, is_special, bos, eos, byte_of_character })
    }

    /// Tokens of a text, as ordinary words throughout: nothing is put before or after it, and the name of a special
    /// token in it is spelled out.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // Byte-level BPE has a token for every byte and no unknown text, so this cannot fail; should a damaged
        // vocabulary make it, no tokens is the answer that every caller already copes with.
        let Ok(encoding) = self.tokenizer.encode_fast(text, false) else { return Vec::new() };
        let ids = encoding.get_ids();
        if !ids.iter().any(|id| self.is_special(*id)) {
            return ids.to_vec();
        }
        // A special token whose whole name is one piece for the split pattern is found in the vocabulary after all.
        // In the byte-level alphabet each of its characters is a token of its own.
        let mut spelled = Vec::with_capacity(ids.len());
        for &id in ids {
            if self.is_special(id) {
                let name = self.tokenizer.id_to_token(id).unwrap_or_default();
                spelled.extend(name.chars().filter_map(|c| self.tokenizer.token_to_id(c.encode_utf8(&mut [0; 4]))));
            } else {
                spelled.push(id);
            }
        }
        spelled
    }

    /// The token that stands before every text, for models that were trained so.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether a token is one of the model's own signs, such as `<|begin_of_text|>`.
    pub fn is_special(&self, id: u32) -> bool {
        self.is_special.get(id as usize).copied().unwrap_or(false)
    }

    /// One more than the highest token.
    pub fn vocab_size(&self) -> usize {
        self.is_special.len()
    }

    /// One token as people may read it: a space is a space, half a character shows as `�`.
    pub fn token_text(&self, id: u32) -> String {
        let Some(token) = self.tokenizer.id_to_token(id) else { return String::new() };
        if self.is_special(id) {
            return token;
        }
        let bytes: Option<Vec<u8>> = token.chars().map(|c| self.byte_of_character.get(&c).copied()).collect();
        bytes.map_or(token, |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Text of tokens, special ones by their names.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, false).unwrap_or_default()
    }

    /// The tokenizer.json to save beside an adapter.
    pub fn to_json(&self) -> String {
        let mut tokenizer = self.tokenizer.clone();
        tokenizer.set_encode_special_tokens(false);
        tokenizer.to_string(true).unwrap_or_default()
    }
}

/// What `tokenizers` would panic over or misread: a merge longer than every token, ids far apart or shared, a kind
/// of model that is none of ours.
fn check_model(json: &Value) -> Result<(), String> {
    let model = &json["model"];
    // Older files leave the type out.
    if !model["type"].is_null() && model["type"] != "BPE" {
        return Err(format!("has a tokenizer of the kind {}; only BPE can be read", model["type"]));
    }
    if model["byte_fallback"] == true || !uses_byte_level(json) {
        return Err("has a tokenizer that is not byte-level, as Llama 3's is".to_string());
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
        let value = &model[key];
        if !(value.is_null() || value == "") {
            return Err(format!("has a tokenizer with {key}, which byte-level BPE does not use"));
        }
    }
    let vocab = model["vocab"].as_object().ok_or("has a tokenizer without a vocabulary")?;
    let mut seen = vec![false; vocab.len().min(MAX_TOKENS) * 2];
    for (token, id) in vocab {
        let slot = id.as_u64().and_then(|id| seen.get_mut(usize::try_from(id).ok()?));
        match slot {
            Some(taken) if !*taken => *taken = true,
            _ => return Err(format!("gives token {token:?} the number {id}, which is taken or far out of range")),
        }
    }
    let merges = model["merges"].as_array().ok_or("has a tokenizer without merges")?;
    for merge in merges {
        let pair = match merge {
            Value::String(words) => words.split_once(' '),
            Value::Array(words) => match words.as_slice() {
                [Value::String(first), Value::String(second)] => Some((first.as_str(), second.as_str())),
                _ => None,
            },
            _ => None,
        };
        let known = |token: &str| vocab.contains_key(token);
        if !pair.is_some_and(|(first, second)| known(first) && known(second) && known(&format!("{first}{second}"))) {
            return Err(format!("has a merge {merge} of tokens that are not in its vocabulary"));
        }
    }
    Ok(())
}

fn uses_byte_level(json: &Value) -> bool {
    let pre = &json["pre_tokenizer"];
    let steps = pre["pretokenizers"].as_array();
    pre["type"] == "ByteLevel" || steps.is_some_and(|steps| steps.iter().any(|step| step["type"] == "ByteLevel"))
}

/// The tokenizer.json of a byte-level BPE with Llama 3's split, as Llama 3's own is written.
fn tokenizer_json(tokens: &[String], types: &[i64], merges: &[String], bos: Option<u32>) -> Result<Value, String> {
    let mut vocab = Map::new();
    let mut added = Vec::new();
    for (id, (token, kind)) in tokens.iter().zip(types).enumerate() {
        if vocab.insert(token.clone(), json!(id)).is_some() {
            return Err(format!("has the token {token:?} twice"));
        }
        let special = [TYPE_UNKNOWN, TYPE_CONTROL, TYPE_UNUSED].contains(kind) || bos == Some(id as u32);
        if special || *kind == TYPE_USER_DEFINED {
            added.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            }));
        }
    }
    let merges: Vec<Value> = merges
        .iter()
        .map(|merge| match merge.split_once(' ') {
            Some((first, second)) if !second.contains(' ') => Ok(json!([first, second])),
            _ => Err(format!("has the merge {merge:?}, which is no pair of tokens")),
        })
        .collect::<Result<_, _>>()?;
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let post_processor = match bos {
        None => byte_level.clone(),
        Some(bos) => {
            let name = &tokens[bos as usize];
            let first = json!({ "SpecialToken": { "id": name, "type_id": 0 } });
            let second = json!({ "SpecialToken": { "id": name, "type_id": 1 } });
            json!({
                "type": "TemplateProcessing",
                "single": [first, { "Sequence": { "id": "A", "type_id": 0 } }],
                "pair": [
                    first, { "Sequence": { "id": "A", "type_id": 0 } },
                    second, { "Sequence": { "id": "B", "type_id": 1 } },
                ],
                "special_tokens": { name: { "id": name, "ids": [bos], "tokens": [name] } },
            })
        }
    };
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": LLAMA3_SPLIT }, "behavior": "Isolated", "invert": false },
                byte_level,
            ],
        },
        "post_processor": post_processor,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            // Llama 3 takes a piece that is a token as it is, before any merge.
            "ignore_merges": true,
            "vocab": vocab,
            "merges": merges,
        },
    }))
}

/// GPT-2's alphabet for bytes (`bytes_to_unicode` in its encoder.py): printable Latin-1 stands for itself, the other
/// bytes take the characters from U+0100 on, in order.
fn byte_level_alphabet() -> HashMap<char, u8> {
    let mut alphabet = HashMap::new();
    let mut next = 0x100;
    for byte in 0..=255u8 {
        let own = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if own { u32::from(byte) } else { next };
        next += u32::from(!own);
        alphabet.extend(char::from_u32(code).map(|character| (character, byte)));
    }
    alphabet
}
