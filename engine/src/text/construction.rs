//! A tokenizer.json from the lists in a GGUF file's metadata, and the parts that all such files have in common.

use crate::error::EngineError;
use crate::text::sentencepiece::{Pieces, TYPE_CONTROL, TYPE_NORMAL, TYPE_UNKNOWN, TYPE_UNUSED, TYPE_USER_DEFINED};
use crate::text::split::{Splitting, byte_level};
use crate::weights::gguf::GgufFile;
use crate::weights::gguf_header::MetadataValue;
use serde_json::{Map, Value, json};

/// Most tokens that are accepted. The largest vocabularies in use have some 260,000.
pub const MAX_TOKENS: usize = 1 << 20;

/// A tokenizer.json and what stands beside it in the metadata.
pub struct Described {
    pub json: Value,
    /// Set before every text.
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    /// `bos_token`, `eos_token` and the like with the tokens' names.
    pub names: Vec<(&'static str, String)>,
}

/// Reads the tokenizer that a GGUF file describes.
///
/// # Errors
/// A kind that is not known, or tokens, merges, scores or ids that contradict each other; the message names the file
/// and the entry.
pub fn from_gguf(file: &GgufFile) -> Result<Described, EngineError> {
    let kind = file.require_str("tokenizer.ggml.model")?;
    let tokens = list(file, "tokenizer.ggml.tokens")?;
    let types = file.metadata_integers("tokenizer.ggml.token_type");
    if let Some(types) = types.filter(|types| types.len() != tokens.len()) {
        return Err(file.bad(format!("has {} tokens but {} token types", tokens.len(), types.len())));
    }
    let token_id = |key: &str| match file.metadata_u32(key) {
        Some(id) if (id as usize) < tokens.len() => Ok(Some(id)),
        Some(id) => Err(file.bad(format!("{key} is {id}, but there are only {} tokens", tokens.len()))),
        None => Ok(None),
    };
    let (mut bos, mut eos) = (token_id("tokenizer.ggml.bos_token_id")?, token_id("tokenizer.ggml.eos_token_id")?);
    let unknown = token_id("tokenizer.ggml.unknown_token_id")?;
    let padding = token_id("tokenizer.ggml.padding_token_id")?;
    let adds_bos = file.metadata_bool("tokenizer.ggml.add_bos_token");

    let (json, adds_bos) = match kind {
        "gpt2" => {
            let splitting = Splitting::named(file.metadata_str("tokenizer.ggml.pre").unwrap_or("default"))
                .map_err(|reason| file.bad(reason))?;
            let adds_bos = adds_bos.unwrap_or(splitting.adds_bos);
            let described = ByteLevel {
                tokens,
                types,
                merges: list(file, "tokenizer.ggml.merges")?,
                splitting,
                bos: bos.filter(|_| adds_bos),
            };
            (described.tokenizer_json(), adds_bos)
        }
        "llama" => {
            let types = types
                .ok_or_else(|| file.bad("lacks the list tokenizer.ggml.token_type, which tells bytes from words"))?;
            let scores = match file.metadata("tokenizer.ggml.scores") {
                Some(MetadataValue::Floats(scores)) => scores.clone(),
                _ => return Err(file.bad("lacks the list tokenizer.ggml.scores, by which its tokens merge")),
            };
            // llama.cpp takes Llama's own numbers where the file names none.
            let control = |id: u32| (types.get(id as usize) == Some(&TYPE_CONTROL)).then_some(id);
            bos = bos.or_else(|| control(1));
            eos = eos.or_else(|| control(2));
            let adds_bos = adds_bos.unwrap_or(true);
            let pieces = Pieces {
                tokens: tokens.to_vec(),
                scores,
                types: types.to_vec(),
                add_space_prefix: file.metadata_bool("tokenizer.ggml.add_space_prefix").unwrap_or(true),
                bos: bos.filter(|_| adds_bos),
            };
            (pieces.tokenizer_json(), adds_bos)
        }
        other => {
            let shown: String = other.chars().take(80).collect();
            return Err(file.bad(format!(
                "has a tokenizer of the kind {shown:?}; byte-level BPE (\"gpt2\"), as in Llama 3, and \
                 SentencePiece's BPE (\"llama\"), as in Llama 2, can be read"
            )));
        }
    };
    let json = json.map_err(|reason| file.bad(reason))?;
    let named = [("bos_token", bos), ("eos_token", eos), ("unk_token", unknown), ("pad_token", padding)];
    let names = named.into_iter().filter_map(|(name, id)| Some((name, tokens[id? as usize].clone()))).collect();
    Ok(Described { json, bos: bos.filter(|_| adds_bos), eos, names })
}

fn list<'f>(file: &'f GgufFile, key: &str) -> Result<&'f [String], EngineError> {
    let list = file.metadata_strings(key).filter(|list| !list.is_empty() && list.len() <= MAX_TOKENS);
    list.ok_or_else(|| file.bad(format!("lacks the list {key}, or it is too long")))
}

/// A byte-level BPE as a GGUF file lists it.
struct ByteLevel<'f> {
    tokens: &'f [String],
    /// All normal where they are missing.
    types: Option<&'f [i64]>,
    merges: &'f [String],
    splitting: Splitting,
    bos: Option<u32>,
}

impl ByteLevel<'_> {
    /// As Llama 3's own is written.
    fn tokenizer_json(self) -> Result<Value, String> {
        let mut vocab = Map::new();
        let mut added = Vec::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if vocab.insert(token.clone(), json!(id)).is_some() {
                return Err(format!("has the token {token:?} twice"));
            }
            let kind = self.types.map_or(TYPE_NORMAL, |types| types[id]);
            let special = [TYPE_UNKNOWN, TYPE_CONTROL, TYPE_UNUSED].contains(&kind) || self.bos == Some(id as u32);
            if special || kind == TYPE_USER_DEFINED {
                added.push(added_token(id, token, special));
            }
        }
        let merges: Vec<Value> = self
            .merges
            .iter()
            .map(|merge| match merge.split_once(' ') {
                Some((first, second)) if !second.contains(' ') => Ok(json!([first, second])),
                _ => Err(format!("has the merge {merge:?}, which is no pair of tokens")),
            })
            .collect::<Result<_, _>>()?;
        let post_processor =
            self.bos.map_or_else(|| byte_level(false), |bos| first_token_processor(bos, &self.tokens[bos as usize]));
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": self.splitting.normalizer,
            "pre_tokenizer": self.splitting.pre_tokenizer,
            "post_processor": post_processor,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.splitting.ignore_merges,
                "vocab": vocab,
                "merges": merges,
            },
        }))
    }
}

/// One of the `added_tokens`: found in a text before anything is merged; special ones only where the model's makers
/// write them.
pub fn added_token(id: usize, token: &str, special: bool) -> Value {
    json!({
        "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": special,
    })
}

/// The `post_processor` that sets one token before a text.
pub fn first_token_processor(id: u32, name: &str) -> Value {
    let first = json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let second = json!({ "SpecialToken": { "id": name, "type_id": 1 } });
    json!({
        "type": "TemplateProcessing",
        "single": [first, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [
            first, { "Sequence": { "id": "A", "type_id": 0 } },
            second, { "Sequence": { "id": "B", "type_id": 1 } },
        ],
        "special_tokens": { name: { "id": name, "ids": [id], "tokens": [name] } },
    })
}
