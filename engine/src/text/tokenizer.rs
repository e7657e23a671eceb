//! BPE tokenizers, from a GGUF file's metadata, from a tokenizer.json or from a SentencePiece model.
//!
//! All ways meet in one: what was read is written as a tokenizer.json, which is checked and handed to the `tokenizers`
//! crate. The same JSON is saved beside an adapter, for PEFT and everybody else.

use crate::error::EngineError;
use crate::text::chat::ChatTemplate;
use crate::text::check::{Alphabet, check_tokenizer, read_bounded, read_json};
use crate::text::construction::{self, MAX_TOKENS};
use crate::text::folder::{SENTENCEPIECE, TOKENIZER, TokenizerConfig};
use crate::text::sentencepiece::{byte_of_piece, byte_piece, read_model};
use crate::weights::gguf::GgufFile;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tokenizers::Tokenizer;

/// End-of-text tokens of models whose tokenizer.json does not say which it is.
const EOS_NAMES: [&str; 4] = ["<|end_of_text|>", "<|endoftext|>", "<|eot_id|>", "</s>"];

/// Largest `tokenizer.model`, in bytes. Gemma's takes 4 MB.
const MAX_MODEL_BYTES: u64 = 32 << 20;

/// Turns text into tokens and back.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// The same without the space that is set before a text; none where none is set.
    continuing: Option<Tokenizer>,
    /// Whether that space also stands before words that follow a special token.
    space_after_special: bool,
    alphabet: Alphabet,
    /// Indexed by token; those the user's text must never become.
    is_special: Vec<bool>,
    /// Those that a chat template may name, longest name first.
    specials: Vec<SpecialToken>,
    bos: Option<u32>,
    eos: Option<u32>,
    config: TokenizerConfig,
    /// Character of the byte-level alphabet to the byte it stands for.
    byte_of_character: HashMap<char, u8>,
}

struct SpecialToken {
    id: u32,
    name: String,
    /// Takes the white space before it or behind it away.
    lstrip: bool,
    rstrip: bool,
}

/// Where words stand. Tokenizers that set a space before a text differ in whether they set it elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the beginning.
    Start,
    /// Behind a special token.
    AfterSpecial,
    /// Behind other words.
    AfterWords,
}

/// A piece of a text that the model's makers wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPart {
    /// The white space that the token takes away is already gone from the words beside it.
    Special { id: u32, strips_before: bool, strips_behind: bool },
    /// Never empty.
    Words(String),
}

impl TextTokenizer {
    /// Builds the tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// A kind of tokenizer or a way to split texts that is not known, or tokens, merges or ids that contradict each
    /// other; the message names the file and the entry.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, EngineError> {
        let described = construction::from_gguf(file)?;
        let chat_template = file.metadata_str("tokenizer.chat_template").map(String::from).map(ChatTemplate::new);
        let chat_template = chat_template.transpose().map_err(|reason| file.bad(reason))?;
        let names: BTreeMap<String, String> =
            described.names.into_iter().map(|(role, name)| (role.to_string(), name)).collect();
        let config = TokenizerConfig::new(names, chat_template);
        let mut built = Self::build(described.json, config).map_err(|reason| file.bad(reason))?;
        (built.bos, built.eos) = (described.bos, described.eos);
        Ok(built)
    }

    /// Reads the tokenizer of a model's folder: its tokenizer.json, or else the SentencePiece model that it would be
    /// made from, with what stands beside it.
    ///
    /// # Errors
    /// Neither is there, or a file cannot be used; the message names it.
    pub fn from_folder(folder: &Path) -> Result<Self, EngineError> {
        let json = folder.join(TOKENIZER);
        if json.exists() {
            return Self::from_json_file(&json);
        }
        let model = folder.join(SENTENCEPIECE);
        if !model.exists() {
            return Err(EngineError::bad_file(
                folder,
                format!("has no tokenizer: neither {TOKENIZER} nor {SENTENCEPIECE} is there"),
            ));
        }
        let bad = |reason: String| EngineError::bad_file(&model, reason);
        let config = TokenizerConfig::read(folder)?;
        let bytes = read_bounded(&model, MAX_MODEL_BYTES).map_err(bad)?;
        let (mut pieces, eos) = read_model(&bytes, MAX_TOKENS).map_err(bad)?;
        if config.add_bos == Some(false) {
            pieces.bos = None;
        }
        let bos = pieces.bos;
        let mut built = Self::build(pieces.tokenizer_json().map_err(bad)?, config).map_err(bad)?;
        built.bos = bos;
        built.eos = built.named("eos_token").or(eos);
        built.name_ends();
        Ok(built)
    }

    /// Reads a tokenizer.json and what stands beside it. Its first token is the one its post-processor sets before a
    /// text, unless tokenizer_config.json says otherwise; its last the `eos_token` there, or else the first known name
    /// of one.
    ///
    /// # Errors
    /// Files that are no such JSON, that the tokenizer could not cope with, or a kind of tokenizer that is not known;
    /// the message names the file.
    pub fn from_json_file(path: &Path) -> Result<Self, EngineError> {
        let bad = |reason: String| EngineError::bad_file(path, reason);
        let json = read_json(path).map_err(bad)?;
        let config = TokenizerConfig::read(path.parent().unwrap_or(Path::new(".")))?;
        let first = first_token(&json["post_processor"]);
        let mut built = Self::build(json, config).map_err(bad)?;
        built.bos = match built.config.add_bos {
            Some(true) => built.named("bos_token").or(first),
            Some(false) => None,
            None => first,
        };
        built.bos = built.bos.filter(|id| (*id as usize) < built.is_special.len());
        let known = || EOS_NAMES.iter().find_map(|name| built.special_id(name));
        built.eos = built.named("eos_token").or_else(known);
        built.name_ends();
        Ok(built)
    }

    fn build(mut json: Value, config: TokenizerConfig) -> Result<Self, String> {
        let alphabet = check_tokenizer(&json)?;
        // Neither is for us, and both may ask for more memory than there is.
        json["truncation"] = Value::Null;
        json["padding"] = Value::Null;
        let tokenizer = parse(&json)?;
        for token in json["added_tokens"].as_array().into_iter().flatten() {
            let content = token["content"].as_str().unwrap_or_default();
            // The crate gives the next free number to tokens that are not in the vocabulary, whatever the file says.
            if tokenizer.token_to_id(content).map(u64::from) != token["id"].as_u64() {
                return Err(format!("adds the token {content:?} with the number {}, which does not fit", token["id"]));
            }
        }
        let space_after_special = without_prefix(&mut json);
        let continuing = space_after_special.map(|_| parse(&json)).transpose()?;

        let highest = tokenizer.get_vocab(true).values().copied().max().unwrap_or(0) as usize;
        if highest >= MAX_TOKENS {
            return Err(format!("has a token with the number {highest}; at most {MAX_TOKENS} are accepted"));
        }
        let mut is_special = vec![false; highest + 1];
        let mut specials = Vec::new();
        for (id, token) in tokenizer.get_added_tokens_decoder() {
            let has_a_role = config.names.values().any(|name| *name == token.content);
            if token.special || has_a_role {
                is_special[id as usize] = true;
                specials.push(SpecialToken { id, name: token.content, lstrip: token.lstrip, rstrip: token.rstrip });
            }
        }
        // Transformers makes every token with a role a special one, too.
        for name in config.names.values() {
            let Some(id) = tokenizer.token_to_id(name).filter(|id| !is_special[*id as usize]) else { continue };
            is_special[id as usize] = true;
            specials.push(SpecialToken { id, name: name.clone(), lstrip: false, rstrip: false });
        }
        specials.sort_by(|one, other| (other.name.len(), &one.name).cmp(&(one.name.len(), &other.name)));
        Ok(Self {
            tokenizer,
            continuing,
            space_after_special: space_after_special.unwrap_or(false),
            alphabet,
            is_special,
            specials,
            bos: None,
            eos: None,
            config,
            byte_of_character: byte_level_alphabet(),
        })
    }

    /// Tokens of a text, as ordinary words throughout: nothing is put before or after it but the space that some
    /// tokenizers begin every text with, and the name of a special token in it is spelled out.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.encode_at(Place::Start, text)
    }

    /// The same for words that stand elsewhere than at the beginning.
    pub fn encode_at(&self, place: Place, words: &str) -> Vec<u32> {
        let with_space = place == Place::Start || (place == Place::AfterSpecial && self.space_after_special);
        let continuing = self.continuing.as_ref().filter(|_| !with_space);
        // Every byte has a token, so this cannot fail; should a damaged vocabulary make it, no tokens is the answer
        // that every caller already copes with.
        let Ok(encoding) = continuing.unwrap_or(&self.tokenizer).encode_fast(words, false) else { return Vec::new() };
        let ids = encoding.get_ids();
        if !ids.iter().any(|id| self.is_special(*id)) {
            return ids.to_vec();
        }
        // A special token whose whole name is one piece for the split pattern is found in the vocabulary after all.
        let mut spelled = Vec::with_capacity(ids.len());
        for &id in ids {
            if self.is_special(id) {
                self.spell(&self.tokenizer.id_to_token(id).unwrap_or_default(), &mut spelled);
            } else {
                spelled.push(id);
            }
        }
        spelled
    }

    /// A name character by character. In the byte-level alphabet each character is a token of its own; elsewhere it is
    /// one, or its bytes are.
    fn spell(&self, name: &str, spelled: &mut Vec<u32>) {
        for character in name.chars() {
            let mut buffer = [0; 4];
            let character: &str = character.encode_utf8(&mut buffer);
            let id = self.tokenizer.token_to_id(character).filter(|id| !self.is_special(*id));
            match id {
                Some(id) => spelled.push(id),
                None => {
                    spelled.extend(character.bytes().filter_map(|byte| self.tokenizer.token_to_id(&byte_piece(byte))))
                }
            }
        }
    }

    /// Takes a text that the model's makers wrote, such as a chat template's, apart at the names of special tokens;
    /// the longest name counts, as in the `tokenizers` crate.
    pub fn split_special(&self, text: &str) -> Vec<TextPart> {
        let mut parts = Vec::new();
        let (mut from, mut at) = (0, 0);
        while at < text.len() {
            let rest = &text[at..];
            let Some(special) = self.specials.iter().find(|special| rest.starts_with(&special.name)) else {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let words = &text[from..at];
            let words = if special.lstrip { words.trim_end() } else { words };
            if !words.is_empty() {
                parts.push(TextPart::Words(words.to_string()));
            }
            let SpecialToken { id, lstrip, rstrip, .. } = *special;
            parts.push(TextPart::Special { id, strips_before: lstrip, strips_behind: rstrip });
            at += special.name.len();
            if rstrip {
                at = text.len() - text[at..].trim_start().len();
            }
            from = at;
        }
        if from < text.len() {
            parts.push(TextPart::Words(text[from..].to_string()));
        }
        parts
    }

    /// The token that stands before every text, for models that were trained so.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Names of tokens by their roles, such as `eos_token`, for chat templates.
    pub fn token_names(&self) -> &BTreeMap<String, String> {
        &self.config.names
    }

    /// How the model's makers wrap what is said to it, where they say so.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.config.chat_template.as_ref()
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
        let bytes: Option<Vec<u8>> = match self.alphabet {
            Alphabet::ByteLevel => token.chars().map(|c| self.byte_of_character.get(&c).copied()).collect(),
            Alphabet::ByteFallback => byte_of_piece(&token).map(|byte| vec![byte]),
        };
        match bytes {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None if self.alphabet == Alphabet::ByteFallback => token.replace('▁', " "),
            None => token,
        }
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

    /// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, which `AutoTokenizer.from_pretrained`
    /// of Transformers loads as the same tokenizer.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_files(&self, folder: &Path) -> Result<(), EngineError> {
        let path = folder.join(TOKENIZER);
        std::fs::write(&path, self.to_json()).map_err(|source| EngineError::io(&path, source))?;
        self.config.write(folder)
    }

    /// Gives the first and the last token their roles where no file does: chat templates and Transformers ask for them.
    fn name_ends(&mut self) {
        for (role, id) in [("bos_token", self.bos), ("eos_token", self.eos)] {
            if let Some(name) = id.and_then(|id| self.tokenizer.id_to_token(id)) {
                self.config.names.entry(role.to_string()).or_insert(name);
            }
        }
    }

    /// The token that has a role.
    fn named(&self, role: &str) -> Option<u32> {
        self.special_id(self.config.names.get(role)?)
    }

    fn special_id(&self, name: &str) -> Option<u32> {
        self.tokenizer.token_to_id(name).filter(|id| self.is_special(*id))
    }
}

/// For words only: special tokens in a text are spelled out.
fn parse(json: &Value) -> Result<Tokenizer, String> {
    let mut tokenizer: Tokenizer =
        json.to_string().parse().map_err(|error| format!("is no usable tokenizer: {error}"))?;
    // Rows may hold the words "<|end_of_text|>": they are words there, not the end of the text.
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// The token that a post-processor sets before a text.
fn first_token(post_processor: &Value) -> Option<u32> {
    let id = match post_processor["type"].as_str()? {
        "Sequence" => return post_processor["processors"].as_array()?.iter().find_map(first_token),
        "TemplateProcessing" => {
            let name = post_processor["single"][0]["SpecialToken"]["id"].as_str()?;
            &post_processor["special_tokens"][name]["ids"][0]
        }
        "RobertaProcessing" | "BertProcessing" => &post_processor["cls"][1],
        _ => return None,
    };
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// Changes a tokenizer.json so that it sets no space before a text. Answers whether it set one behind every special
/// token (true) or at the beginning only (false); nothing where it set none.
fn without_prefix(json: &mut Value) -> Option<bool> {
    let mut found = None;
    take_prefix(&mut json["normalizer"], &mut found);
    take_prefix(&mut json["pre_tokenizer"], &mut found);
    found
}

fn take_prefix(step: &mut Value, found: &mut Option<bool>) {
    match step["type"].as_str().unwrap_or_default() {
        "Sequence" => {
            for steps in ["normalizers", "pretokenizers"] {
                let steps = step.get_mut(steps).and_then(Value::as_array_mut);
                steps.into_iter().flatten().for_each(|step| take_prefix(step, found));
            }
        }
        "Prepend" => {
            *found = Some(true);
            *step = json!({ "type": "Sequence", "normalizers": [] });
        }
        "Metaspace" if step["prepend_scheme"] != "never" && step["add_prefix_space"] != false => {
            *found = Some(found.unwrap_or(false) || step["prepend_scheme"] != "first");
            step["prepend_scheme"] = json!("never");
            step["add_prefix_space"] = json!(false);
        }
        "ByteLevel" if step["add_prefix_space"] == true => {
            *found = Some(true);
            step["add_prefix_space"] = json!(false);
        }
        _ => {}
    }
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
