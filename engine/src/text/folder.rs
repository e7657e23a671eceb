//! What stands beside a tokenizer.json in a model's folder: the names of its special tokens and its chat template,
//! in `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`, as Transformers reads and writes
//! them.

use crate::error::EngineError;
use crate::text::chat::ChatTemplate;
use crate::text::check::{read_bounded, read_json};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub const TOKENIZER: &str = "tokenizer.json";
pub const SENTENCEPIECE: &str = "tokenizer.model";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// Roles that Transformers knows for special tokens; chat templates may ask for them by these names.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Roles and template of a tokenizer.
#[derive(Default)]
pub struct TokenizerConfig {
    /// Such as `bos_token` with `<s>`.
    pub names: BTreeMap<String, String>,
    pub chat_template: Option<ChatTemplate>,
    /// Whether the first token is set before every text, where the file says so.
    pub add_bos: Option<bool>,
    /// tokenizer_config.json as it was.
    original: Map<String, Value>,
}

impl TokenizerConfig {
    /// Of a tokenizer that came in one file, with all it says of itself.
    pub fn new(names: BTreeMap<String, String>, chat_template: Option<ChatTemplate>) -> Self {
        Self { names, chat_template, ..Self::default() }
    }

    /// Reads what is there of the three files.
    ///
    /// # Errors
    /// A file that is there but cannot be read, is no JSON object, or holds a template that is too long.
    pub fn read(folder: &Path) -> Result<Self, EngineError> {
        let original = read_object(&folder.join(CONFIG))?;
        let map = read_object(&folder.join(SPECIAL_TOKENS))?;
        let name = |value: &Value| value.as_str().or_else(|| value["content"].as_str()).map(String::from);
        let names = ROLES
            .into_iter()
            .filter_map(|role| {
                let name = original.get(role).and_then(name).or_else(|| map.get(role).and_then(name))?;
                Some((role.to_string(), name))
            })
            .collect();
        let separate = folder.join(CHAT_TEMPLATE);
        let (path, source) = if separate.exists() {
            let bytes = read_bounded(&separate, ChatTemplate::MAX_BYTES as u64)
                .map_err(|reason| EngineError::bad_file(&separate, reason))?;
            let source = String::from_utf8(bytes).map_err(|_| EngineError::bad_file(&separate, "is no UTF-8 text"))?;
            (separate, Some(source))
        } else {
            (folder.join(CONFIG), original.get("chat_template").and_then(default_template))
        };
        let chat_template = source
            .map(|source| ChatTemplate::new(source).map_err(|reason| EngineError::bad_file(&path, reason)))
            .transpose()?;
        let add_bos = original.get("add_bos_token").and_then(Value::as_bool);
        Ok(Self { names, chat_template, add_bos, original })
    }

    /// Writes tokenizer_config.json and special_tokens_map.json so that Transformers loads the tokenizer.json beside
    /// them as it is. What the model's own file said stays, but for the class, which would build another tokenizer, and
    /// for what would run code.
    pub fn write(&self, folder: &Path) -> Result<(), EngineError> {
        let mut config = self.original.clone();
        for key in ["auto_map", "tokenizer_file", "vocab_file", "name_or_path", "backend"] {
            config.remove(key);
        }
        config.insert("tokenizer_class".to_string(), json!("PreTrainedTokenizerFast"));
        config.entry("clean_up_tokenization_spaces").or_insert(json!(false));
        for (role, name) in &self.names {
            config.entry(role).or_insert_with(|| json!(name));
        }
        if let Some(template) = &self.chat_template {
            let said = config.get("chat_template").and_then(default_template);
            if said.as_deref() != Some(template.source()) {
                config.insert("chat_template".to_string(), json!(template.source()));
            }
        }
        write_json(&folder.join(CONFIG), &Value::Object(config))?;
        write_json(&folder.join(SPECIAL_TOKENS), &json!(self.names))
    }
}

/// The one template, or of several named ones that which is called `default`.
fn default_template(value: &Value) -> Option<String> {
    if let Some(source) = value.as_str() {
        return Some(source.to_string());
    }
    let named = value.as_array()?.iter().find(|named| named["name"] == "default")?;
    named["template"].as_str().map(String::from)
}

/// Empty where there is no such file.
fn read_object(path: &Path) -> Result<Map<String, Value>, EngineError> {
    if !path.exists() {
        return Ok(Map::new());
    }
    match read_json(path).map_err(|reason| EngineError::bad_file(path, reason))? {
        Value::Object(object) => Ok(object),
        _ => Err(EngineError::bad_file(path, "is no JSON object")),
    }
}

fn write_json(path: &Path, value: &Value) -> Result<(), EngineError> {
    std::fs::write(path, format!("{value:#}\n")).map_err(|source| EngineError::io(path, source))
}
