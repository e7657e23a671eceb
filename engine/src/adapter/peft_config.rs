//! `adapter_config.json`: which linear layers an adapter of PEFT has matrices for, of which rank, and at which scale.
//!
//! PEFT names a linear layer by its path in the model, `model.layers.{i}.{self_attn|mlp}.{module}`, called its key here,
//! and holds the lists and expressions of the file against it. The rules are those of PEFT 0.21:
//! `check_target_module_exists` in tuners/tuners_utils.py for what is targeted, `get_pattern_key` in utils/other.py for
//! ranks and alphas that differ, `LoraLayer.update_layer` in tuners/lora/layer.py for the scale. Its expressions are
//! Python's; those of them that cannot be compiled here are refused.

use domain::spec::TargetModule;
use fancy_regex::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Highest number of a layer that is believed; the deepest Llamas have 126 layers.
pub const MAX_LAYERS: usize = 1024;
/// Highest rank of a module that is believed.
const MAX_RANK: u64 = 8192;
/// Entries of a list or a pattern that are read: somewhat more than the linear layers of the deepest Llamas.
const MAX_ENTRIES: usize = 1024;
/// Longest expression that is compiled, in bytes; some programs name every linear layer in one.
const MAX_EXPRESSION_BYTES: usize = 64 << 10;
/// Groups with a question mark and references back to groups in one expression. Around them it is compiled in pieces,
/// and the limits on sizes hold for each piece.
const MAX_PIECES: usize = 64;
/// Size of a compiled expression in bytes: of one for whole keys, and of each of a pattern's.
const MAX_COMPILED_BYTES: usize = 4 << 20;
const MAX_COMPILED_ENTRY_BYTES: usize = 256 << 10;
/// Steps back that an expression may take on one key.
const MAX_STEPS_BACK: usize = 10_000;

/// What the file says, checked: every feature that would change the computation is known here.
#[derive(Debug)]
pub struct PeftConfig {
    r: usize,
    lora_alpha: f64,
    use_rslora: bool,
    targets: Targets,
    excluded: Option<Keys>,
    layers: Option<Layers>,
    rank_pattern: Pattern,
    alpha_pattern: Pattern,
    pub lora_dropout: f64,
    pub base_model_name_or_path: Option<String>,
}

/// One module's rank and strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModuleConfig {
    pub r: usize,
    /// Its output is multiplied by this over r. With rank stabilisation PEFT multiplies by alpha / sqrt(r), so that this
    /// is alpha sqrt(r).
    pub lora_alpha: f64,
}

impl PeftConfig {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// The reason in words, without the file's name: no JSON, a field that cannot be, or a feature that is not known.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let no_json = |error: serde_json::Error| format!("is no JSON of an adapter's configuration: {error}");
        let json: Value = serde_json::from_slice(bytes).map_err(no_json)?;
        if json["peft_type"] != "LORA" {
            return Err(format!("is an adapter of the kind {}; only LORA can be read", json["peft_type"]));
        }
        refuse_unknown_features(&json)?;
        let InOrder { rank_pattern, alpha_pattern } = serde_json::from_slice(bytes).map_err(no_json)?;
        let targets = Targets::read(&json["target_modules"])?;
        let layers = Layers::read(&json["layers_to_transform"], &json["layers_pattern"])?;
        if layers.is_some() && !matches!(targets, Targets::Keys(Keys::Listed(_))) {
            return Err("has layers_to_transform, which PEFT accepts beside a list of target_modules only".to_string());
        }
        Ok(Self {
            r: rank(&json["r"]).ok_or_else(|| format!("has the rank r = {}", shown(&json["r"])))?,
            lora_alpha: alpha(&json["lora_alpha"])
                .ok_or_else(|| format!("has lora_alpha = {}", shown(&json["lora_alpha"])))?,
            use_rslora: json["use_rslora"] == true,
            targets,
            excluded: Keys::read("exclude_modules", &json["exclude_modules"])?,
            layers,
            rank_pattern: Pattern::compile("rank_pattern", rank_pattern, |value| rank(value).map(|r| r as f64))?,
            alpha_pattern: Pattern::compile("alpha_pattern", alpha_pattern, alpha)?,
            lora_dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
            base_model_name_or_path: json["base_model_name_or_path"].as_str().map(String::from),
        })
    }

    /// What is said of one module of one layer; `None` where it is not targeted.
    ///
    /// # Errors
    /// An expression takes too long on this module's key.
    pub fn module(&self, layer: usize, module: TargetModule) -> Result<Option<ModuleConfig>, String> {
        let key = module_key(layer, module);
        if self.excluded.as_ref().map_or(Ok(false), |excluded| excluded.names(&key))?
            || !self.targets.names(&key)?
            || !self.layers.as_ref().map_or(Ok(true), |layers| layers.hold(&key))?
        {
            return Ok(None);
        }
        let r = self.rank_pattern.value(&key)?.map_or(self.r, |r| r as usize);
        let lora_alpha = self.alpha_pattern.value(&key)?.unwrap_or(self.lora_alpha);
        let lora_alpha = if self.use_rslora { lora_alpha * (r as f64).sqrt() } else { lora_alpha };
        Ok(Some(ModuleConfig { r, lora_alpha }))
    }
}

/// PEFT's name of a linear layer.
pub fn module_key(layer: usize, module: TargetModule) -> String {
    let block = match module {
        TargetModule::QProj | TargetModule::KProj | TargetModule::VProj | TargetModule::OProj => "self_attn",
        TargetModule::GateProj | TargetModule::UpProj | TargetModule::DownProj => "mlp",
    };
    format!("model.layers.{layer}.{block}.{}", module.as_str())
}

/// Each field of `LoraConfig` that would change the computation, with the values that leave it alone.
fn refuse_unknown_features(json: &Value) -> Result<(), String> {
    let idle = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    for key in [
        "alora_invocation_tokens",
        "arrow_config",
        "fan_in_fan_out",
        "kasa_config",
        "layer_replication",
        "lora_bias",
        "modules_to_save",
        "monteclora_config",
        "target_parameters",
        "trainable_token_indices",
        "use_bdlora",
        "use_dora",
        "use_qalora",
    ] {
        if !idle(&json[key]) {
            return Err(format!("uses {key} = {}, which is not supported", shown(&json[key])));
        }
    }
    if !(json["use_rslora"].is_null() || json["use_rslora"].is_boolean()) {
        return Err(format!("has use_rslora = {}, which is neither true nor false", shown(&json["use_rslora"])));
    }
    let bias = &json["bias"];
    if !(bias.is_null() || bias == "none") {
        return Err(format!("trains biases (bias = {}), which is not supported", shown(bias)));
    }
    let task = &json["task_type"];
    if !(task.is_null() || task == "CAUSAL_LM") {
        return Err(format!("is made for the task {}; only CAUSAL_LM is supported", shown(task)));
    }
    // These leave the base as it is when they begin. Others, such as PiSSA, OLoRA, LoftQ, CorDA and LoRA-GA, change its
    // weights, so that the adapter does not fit the base as it stands on the disk.
    match json["init_lora_weights"].as_str() {
        None | Some("gaussian" | "eva" | "orthogonal") => Ok(()),
        Some(start) => Err(format!(
            "was started with init_lora_weights = {}, which changes the base's own weights or is not known here. Have \
             PEFT convert it to a plain LoRA (path_initial_model_for_weight_conversion of save_pretrained)",
            shown(&Value::from(start))
        )),
    }
}

/// A value of the file as it may stand in a message.
fn shown(value: &Value) -> String {
    let words = value.to_string();
    let short: String = words.chars().take(80).collect();
    if short.len() < words.len() { short + "..." } else { words }
}

fn rank(value: &Value) -> Option<usize> {
    value.as_u64().filter(|r| (1..=MAX_RANK).contains(r)).map(|r| r as usize)
}

fn alpha(value: &Value) -> Option<f64> {
    // Beyond these a product with f32 matrices is no number.
    value.as_f64().filter(|alpha| (1e-9..=1e9).contains(alpha))
}

/// `target_modules`.
#[derive(Debug)]
enum Targets {
    /// "all-linear": every linear layer but the output layer.
    AllLinear,
    Keys(Keys),
}

impl Targets {
    fn read(value: &Value) -> Result<Self, String> {
        if value.as_str().is_some_and(|words| words.eq_ignore_ascii_case("all-linear")) {
            return Ok(Self::AllLinear);
        }
        let Some(keys) = Keys::read("target_modules", value)? else {
            return Err(format!("has target_modules = {}: it targets no modules", shown(value)));
        };
        // Other names that no Llama has are as idle here as they are in PEFT.
        for other in ["lm_head", "model.embed_tokens"] {
            if keys.names(other)? {
                return Err(format!("targets {other} in target_modules; only the seven linear layers can be adapted"));
            }
        }
        Ok(Self::Keys(keys))
    }

    fn names(&self, key: &str) -> Result<bool, String> {
        match self {
            Self::AllLinear => Ok(true),
            Self::Keys(keys) => keys.names(key),
        }
    }
}

/// Names of modules: a list of keys or of their ends, or one expression for the whole key.
#[derive(Debug)]
enum Keys {
    Listed(Vec<String>),
    Expression(Regex),
}

impl Keys {
    /// `None` for null and for what is empty.
    fn read(field: &str, value: &Value) -> Result<Option<Self>, String> {
        match value {
            Value::Null => Ok(None),
            Value::String(words) if words.is_empty() => Ok(None),
            Value::String(words) => {
                let expression = Expression { field, words, whole: format!(r"\A(?:{words})\z") };
                Ok(Some(Self::Expression(expression.compile(MAX_COMPILED_BYTES)?)))
            }
            _ => Ok(strings(field, value)?.filter(|list| !list.is_empty()).map(Self::Listed)),
        }
    }

    fn names(&self, key: &str) -> Result<bool, String> {
        match self {
            Self::Listed(list) => Ok(list
                .iter()
                .any(|end| key.strip_suffix(end.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))),
            Self::Expression(expression) => is_match(expression, key),
        }
    }
}

/// `layers_to_transform` with `layers_pattern`.
#[derive(Debug)]
struct Layers {
    numbers: Vec<u64>,
    /// The first that matches a key finds the layer's number in it.
    patterns: Vec<Regex>,
}

impl Layers {
    /// `None`: all layers.
    fn read(numbers: &Value, patterns: &Value) -> Result<Option<Self>, String> {
        let cannot_be = || format!("has layers_to_transform = {}, which is no list of layers", shown(numbers));
        let numbers: Vec<u64> = match numbers {
            Value::Null => Vec::new(),
            Value::Array(list) if list.len() <= MAX_ENTRIES => {
                list.iter().map(Value::as_u64).collect::<Option<_>>().ok_or_else(cannot_be)?
            }
            one => vec![one.as_u64().ok_or_else(cannot_be)?],
        };
        let names = match patterns {
            Value::String(name) => Some(vec![name.clone()]),
            other => strings("layers_pattern", other)?,
        };
        let mut patterns = Vec::new();
        for name in names.unwrap_or_default().iter().filter(|name| !name.is_empty()) {
            let whole = format!(r"\A(?:(?:^|.*?\.){name}\.(?P<idx>\d+)\.)");
            let expression = Expression { field: "layers_pattern", words: name, whole };
            patterns.push(expression.compile(MAX_COMPILED_ENTRY_BYTES)?);
        }
        if numbers.is_empty() {
            return Ok(None);
        }
        if patterns.is_empty() {
            let whole = r"\A.*?\.[^.]*\.(?P<idx>\d+)\.".to_string();
            let expression = Expression { field: "layers_pattern", words: "", whole };
            patterns.push(expression.compile(MAX_COMPILED_ENTRY_BYTES)?);
        }
        Ok(Some(Self { numbers, patterns }))
    }

    fn hold(&self, key: &str) -> Result<bool, String> {
        for pattern in &self.patterns {
            let Some(found) = pattern.captures(key).map_err(|error| too_long(pattern, &error))? else { continue };
            let number = found.name("idx").and_then(|number| number.as_str().parse().ok());
            return Ok(number.is_some_and(|number| self.numbers.contains(&number)));
        }
        Ok(false)
    }
}

/// `rank_pattern` or `alpha_pattern`: the first expression that matches a key, or its end from a dot on, gives the value.
#[derive(Debug)]
struct Pattern(Vec<(Regex, f64)>);

impl Pattern {
    fn compile(field: &str, entries: Option<Entries>, read: impl Fn(&Value) -> Option<f64>) -> Result<Self, String> {
        let mut pattern = Vec::new();
        for (words, value) in entries.unwrap_or_default().0 {
            let number = read(&value);
            let number = number.ok_or_else(|| format!("has {} in {field}, which cannot be", shown(&value)))?;
            let expression = Expression { field, words: &words, whole: format!(r"\A(?:(.*\.)?({words})\z)") };
            pattern.push((expression.compile(MAX_COMPILED_ENTRY_BYTES)?, number));
        }
        Ok(Self(pattern))
    }

    fn value(&self, key: &str) -> Result<Option<f64>, String> {
        for (expression, value) in &self.0 {
            if is_match(expression, key)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }
}

/// An expression of the file, and the whole that PEFT makes of it.
struct Expression<'a> {
    field: &'a str,
    words: &'a str,
    whole: String,
}

impl Expression<'_> {
    fn compile(&self, limit_bytes: usize) -> Result<Regex, String> {
        let Self { field, words, whole } = self;
        let references =
            whole.as_bytes().windows(2).filter(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit()).count();
        if whole.len() > MAX_EXPRESSION_BYTES || whole.matches("(?").count() + references > MAX_PIECES {
            let length = words.len();
            return Err(format!("has an expression of {length} bytes in {field}, which is too long or too involved"));
        }
        let compiled = RegexBuilder::new(whole)
            .backtrack_limit(MAX_STEPS_BACK)
            .delegate_size_limit(limit_bytes)
            .delegate_dfa_size_limit(limit_bytes)
            .build();
        let words = shown(&Value::from(*words));
        compiled.map_err(|error| format!("has {words} in {field}, which cannot be compiled as an expression: {error}"))
    }
}

fn is_match(expression: &Regex, key: &str) -> Result<bool, String> {
    expression.is_match(key).map_err(|error| too_long(expression, &error))
}

fn too_long(expression: &Regex, error: &fancy_regex::Error) -> String {
    format!("has the expression {}, which cannot be matched: {error}", shown(&Value::from(expression.as_str())))
}

fn strings(field: &str, value: &Value) -> Result<Option<Vec<String>>, String> {
    let wrong = || format!("has {field} = {}, which is no list of names", shown(value));
    match value {
        Value::Null => Ok(None),
        Value::Array(list) if list.len() <= MAX_ENTRIES => list
            .iter()
            .map(|name| name.as_str().map(String::from).ok_or_else(wrong))
            .collect::<Result<_, _>>()
            .map(Some),
        _ => Err(wrong()),
    }
}

/// The fields whose order has a meaning.
#[derive(serde::Deserialize)]
struct InOrder {
    rank_pattern: Option<Entries>,
    alpha_pattern: Option<Entries>,
}

/// A JSON object as it stands in the file.
#[derive(Default)]
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InFileOrder;
        impl<'de> Visitor<'de> for InFileOrder {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object of expressions and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if entries.len() == MAX_ENTRIES {
                        return Err(serde::de::Error::custom(format!("more than {MAX_ENTRIES} entries in a pattern")));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InFileOrder)
    }
}
