//! SentencePiece's BPE, the tokenizer of Llama 2 and the first Mistrals: as a list of pieces in a GGUF file
//! (`tokenizer.ggml.model` = `llama`) or as a `tokenizer.model`, written as a tokenizer.json.
//!
//! SentencePiece merges the neighbours whose union is the piece of the highest score, the leftmost first, over the whole
//! text with `▁` for a space and one set before the text; a character without a piece becomes its bytes. The `tokenizers`
//! crate merges by the rank of a pair instead. A piece that can be put together in several ways gives several pairs,
//! ranked next to each other, the one with the longer left part first: the order in which Transformers converts such
//! models (`generate_merges` in convert_slow_tokenizer.py), and so that of Llama 2's own tokenizer.json.

use crate::text::construction::{added_token, first_token_processor};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Longest piece in bytes: each is taken apart at every character to find its merges.
const MAX_PIECE_BYTES: usize = 256;
/// Most pairs to merge. Llama 2 has 61,249, Gemma 580,604.
const MAX_MERGES: usize = 4 << 20;

/// What a piece is for: `SentencePiece.Type` in sentencepiece_model.proto, `llama_token_type` in llama.h. All but 1, 4
/// and 6 (a byte) are written by the model's makers, never by the people who type.
pub const TYPE_NORMAL: i64 = 1;
pub const TYPE_UNKNOWN: i64 = 2;
pub const TYPE_CONTROL: i64 = 3;
pub const TYPE_USER_DEFINED: i64 = 4;
pub const TYPE_UNUSED: i64 = 5;

/// A SentencePiece model of the kind BPE.
pub struct Pieces {
    /// By their numbers, as are scores and types.
    pub tokens: Vec<String>,
    pub scores: Vec<f32>,
    pub types: Vec<i64>,
    /// Sets a `▁` before the text.
    pub add_space_prefix: bool,
    /// The token that is set before every text.
    pub bos: Option<u32>,
}

impl Pieces {
    /// The tokenizer.json of the same tokenizer, as Llama 2's own is written.
    ///
    /// # Errors
    /// Lists that contradict each other, a byte without a token, pieces that are too long or merge in too many ways.
    pub fn tokenizer_json(&self) -> Result<Value, String> {
        let Self { tokens, scores, types, .. } = self;
        if scores.len() != tokens.len() || types.len() != tokens.len() {
            return Err(format!(
                "has {} tokens, {} scores and {} token types",
                tokens.len(),
                scores.len(),
                types.len()
            ));
        }
        if scores.iter().any(|score| score.is_nan()) {
            return Err("has scores of tokens that are no numbers".to_string());
        }
        let mut numbers: HashMap<&str, u32> = HashMap::with_capacity(tokens.len());
        let mut vocab = Map::new();
        let mut added = Vec::new();
        let mut unknown = Value::Null;
        for (id, (token, kind)) in tokens.iter().zip(types).enumerate() {
            if numbers.insert(token, id as u32).is_some() {
                return Err(format!("has the token {token:?} twice"));
            }
            vocab.insert(token.clone(), json!(id));
            if *kind == TYPE_UNKNOWN && unknown.is_null() {
                unknown = json!(token);
            }
            let special = [TYPE_UNKNOWN, TYPE_CONTROL, TYPE_UNUSED].contains(kind) || self.bos == Some(id as u32);
            if special || *kind == TYPE_USER_DEFINED {
                added.push(added_token(id, token, special));
            }
        }
        check_byte_pieces(|piece| numbers.contains_key(piece))?;

        let mut normalizers = vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" })];
        let mut decoders = vec![
            json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        if self.add_space_prefix {
            normalizers.insert(0, json!({ "type": "Prepend", "prepend": "▁" }));
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        let post_processor = self.bos.map_or(Value::Null, |bos| first_token_processor(bos, &tokens[bos as usize]));
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": { "type": "Sequence", "normalizers": normalizers },
            "pre_tokenizer": null,
            "post_processor": post_processor,
            "decoder": { "type": "Sequence", "decoders": decoders },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": vocab,
                "merges": self.merges(&numbers)?,
            },
        }))
    }

    /// Pairs of pieces in the order in which they merge.
    fn merges(&self, numbers: &HashMap<&str, u32>) -> Result<Vec<Value>, String> {
        struct Merge<'a> {
            score: f32,
            left: &'a str,
            right: &'a str,
            id: usize,
        }
        // Control tokens and bytes are never put together from a text.
        let normal = |piece: &str| numbers.get(piece).is_some_and(|id| self.types[*id as usize] == TYPE_NORMAL);
        let mut merges: Vec<Merge> = Vec::new();
        for (id, piece) in self.tokens.iter().enumerate().filter(|(id, _)| self.types[*id] == TYPE_NORMAL) {
            if piece.len() > MAX_PIECE_BYTES {
                return Err(format!(
                    "has a token of {} bytes (number {id}); at most {MAX_PIECE_BYTES} are accepted",
                    piece.len()
                ));
            }
            for (at, _) in piece.char_indices().skip(1) {
                let (left, right) = piece.split_at(at);
                if normal(left) && normal(right) {
                    merges.push(Merge { score: self.scores[id], left, right, id });
                }
            }
            if merges.len() > MAX_MERGES {
                return Err(format!("has tokens that merge in more than {MAX_MERGES} ways"));
            }
        }
        merges.sort_by(|one, other| {
            let highest_first = other.score.total_cmp(&one.score);
            highest_first.then_with(|| (one.id, Reverse(one.left.len())).cmp(&(other.id, Reverse(other.left.len()))))
        });
        Ok(merges.iter().map(|merge| json!([merge.left, merge.right])).collect())
    }
}

/// One of the 256 tokens `<0x00>` to `<0xFF>`, into which characters without a token of their own are taken apart.
pub fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The byte that such a token stands for.
pub fn byte_of_piece(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_number.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Sees to it that all of them are there.
pub fn check_byte_pieces(known: impl Fn(&str) -> bool) -> Result<(), String> {
    match (0..=255).map(byte_piece).find(|piece| !known(piece)) {
        None => Ok(()),
        Some(missing) => {
            Err(format!("has no token {missing}: without it, characters that have no token of their own are lost"))
        }
    }
}

/// Reads a `tokenizer.model` (`ModelProto` in sentencepiece_model.proto): its pieces and the number of its end-of-text
/// token.
///
/// # Errors
/// No such file, a model of another kind than BPE, or one that changes texts in ways that this reader does not know.
pub fn read_model(bytes: &[u8], max_tokens: usize) -> Result<(Pieces, Option<u32>), String> {
    const BPE: u64 = 2;
    let mut pieces =
        Pieces { tokens: Vec::new(), scores: Vec::new(), types: Vec::new(), add_space_prefix: true, bos: None };
    // Defaults of TrainerSpec and NormalizerSpec.
    let (mut kind, mut bos, mut eos) = (1, Some(1), Some(2));
    let mut removes_extra_whitespaces = true;
    let mut model = Fields(bytes);
    while let Some(field) = model.next()? {
        match field {
            (1, Wire::Bytes(piece)) => {
                if pieces.tokens.len() == max_tokens {
                    return Err(format!("has more than {max_tokens} tokens"));
                }
                let (mut token, mut score, mut piece_type) = ("", 0.0, TYPE_NORMAL);
                let mut piece = Fields(piece);
                while let Some(field) = piece.next()? {
                    match field {
                        (1, Wire::Bytes(words)) => {
                            token = std::str::from_utf8(words).map_err(|_| "has a piece that is no UTF-8 text")?;
                        }
                        (2, Wire::Fixed32(bits)) => score = f32::from_bits(bits),
                        (3, Wire::Varint(number)) => piece_type = i64::try_from(number).unwrap_or(TYPE_UNUSED),
                        _ => {}
                    }
                }
                pieces.tokens.push(token.to_string());
                pieces.scores.push(score);
                pieces.types.push(piece_type);
            }
            (2, Wire::Bytes(trainer)) => {
                let mut trainer = Fields(trainer);
                while let Some(field) = trainer.next()? {
                    match field {
                        (3, Wire::Varint(number)) => kind = number,
                        // A negative number, ten bytes long, says that there is none.
                        (41, Wire::Varint(number)) => bos = u32::try_from(number).ok(),
                        (42, Wire::Varint(number)) => eos = u32::try_from(number).ok(),
                        _ => {}
                    }
                }
            }
            (3, Wire::Bytes(normalizer)) => {
                let mut normalizer = Fields(normalizer);
                while let Some(field) = normalizer.next()? {
                    match field {
                        (2, Wire::Bytes(charsmap)) if !charsmap.is_empty() => {
                            return Err("normalizes characters by a table of its own; \
                                        use the model's tokenizer.json instead"
                                .to_string());
                        }
                        (3, Wire::Varint(on)) => pieces.add_space_prefix = on != 0,
                        (4, Wire::Varint(on)) => removes_extra_whitespaces = on != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if pieces.tokens.is_empty() {
        return Err("is no SentencePiece model: it has no pieces".to_string());
    }
    if kind != BPE {
        return Err(format!("is a SentencePiece model of the kind {kind}; only BPE ({BPE}) can be read"));
    }
    if removes_extra_whitespaces {
        return Err("takes repeated spaces out of texts; use the model's tokenizer.json instead".to_string());
    }
    let control = |id: &u32| pieces.types.get(*id as usize) == Some(&TYPE_CONTROL);
    let (bos, eos) = (bos.filter(control), eos.filter(control));
    pieces.bos = bos;
    Ok((pieces, eos))
}

/// What one field of a message holds.
enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// Nothing that is asked for has eight bytes.
    Fixed64,
}

/// The fields of a protobuf message in their order (<https://protobuf.dev/programming-guides/encoding/>).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Number and content of the next field.
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Wire::Fixed64
            }
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default())),
            _ => return Err(broken()),
        };
        Ok(Some((key >> 3, wire)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let (taken, rest) =
            usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length)).ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn broken() -> String {
    "is no SentencePiece model, or is damaged".to_string()
}
