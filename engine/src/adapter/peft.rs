//! Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors` in a folder.
//!
//! Tensors are named `base_model.model.model.layers.{i}.{self_attn|mlp}.{module}.lora_{A|B}.weight`; A is (r, in), B is
//! (out, r), and the layer computes y = x W^T + (lora_alpha / r) (x A^T) B^T (`LoraConfig` and `LoraLayer` in
//! peft/tuners/lora). What PEFT knows beyond that, such as DoRA, is refused by name: an adapter that would be computed
//! wrongly must not load.

use crate::error::EngineError;
use crate::weights::safetensors::{self, SafetensorsFile, sync_parent, write_atomic};
use domain::spec::TargetModule;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

pub const CONFIG_FILE: &str = "adapter_config.json";
pub const TENSOR_FILE: &str = "adapter_model.safetensors";

/// Highest number of a layer that is believed; the deepest Llamas have 126 layers.
const MAX_LAYERS: usize = 4096;

/// An adapter as it stands on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFiles {
    pub config: AdapterConfig,
    /// By layer, from 0, and module.
    pub tensors: BTreeMap<(usize, TargetModule), LoraWeights>,
}

/// The part of `adapter_config.json` that has a meaning here.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    pub r: usize,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    /// Sorted, each once.
    pub target_modules: Vec<TargetModule>,
    pub base_model_name_or_path: Option<String>,
}

/// The two matrices of one layer's module, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraWeights {
    /// (r, in)
    pub a: Vec<f32>,
    /// (out, r)
    pub b: Vec<f32>,
    pub r: usize,
    pub in_features: usize,
    pub out_features: usize,
}

/// Reads the adapter in a folder.
///
/// # Errors
/// A file that is missing or broken, a feature of PEFT that is not known here, or tensors that do not fit the
/// configuration; the message names the file and the field or tensor.
pub fn read(directory: &Path) -> Result<AdapterFiles, EngineError> {
    // A write that was cut short between its two renames has left the adapter beside its place.
    let previous = previous_of(directory);
    let directory = if !directory.exists() && previous.exists() { &previous } else { directory };
    let path = directory.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| EngineError::io(&path, source))?;
    let json: Value =
        serde_json::from_str(&text).map_err(|error| EngineError::bad_file(&path, format!("is no JSON: {error}")))?;
    let config = read_config(&json).map_err(|reason| EngineError::bad_file(&path, reason))?;
    let file = SafetensorsFile::open(&directory.join(TENSOR_FILE))?;
    let tensors = read_tensors(&file, &config)?;
    Ok(AdapterFiles { config, tensors })
}

/// Writes an adapter into a folder of its own, which is replaced as a whole: written aside, flushed, renamed. At every
/// moment either the old adapter or the new one can be [`read`].
pub fn write(directory: &Path, files: &AdapterFiles) -> Result<(), EngineError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| EngineError::io(&path, source)
    };
    let partial = directory.with_added_extension("partial");
    remove_directory(&partial).map_err(io(&partial))?;
    std::fs::create_dir_all(&partial).map_err(io(&partial))?;
    let config = serde_json::to_vec_pretty(&config_json(&files.config)).unwrap_or_default();
    write_atomic(&partial.join(CONFIG_FILE), &config)?;
    write_tensors(&partial.join(TENSOR_FILE), files)?;

    let previous = previous_of(directory);
    if directory.exists() {
        remove_directory(&previous).map_err(io(&previous))?;
        std::fs::rename(directory, &previous).map_err(io(directory))?;
    }
    std::fs::rename(&partial, directory).map_err(io(directory))?;
    sync_parent(directory).map_err(io(directory))?;
    remove_directory(&previous).map_err(io(&previous))
}

fn previous_of(directory: &Path) -> PathBuf {
    directory.with_added_extension("previous")
}

fn remove_directory(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read_config(json: &Value) -> Result<AdapterConfig, String> {
    if json["peft_type"] != "LORA" {
        return Err(format!("is an adapter of the kind {}; only LORA can be read", json["peft_type"]));
    }
    refuse_unknown_features(json)?;
    let r = match json["r"].as_u64() {
        Some(r @ 1..=65_536) => r as usize,
        _ => return Err(format!("has the rank r = {}", json["r"])),
    };
    let lora_alpha = match json["lora_alpha"].as_f64() {
        Some(alpha) if alpha.is_finite() && alpha > 0.0 => alpha,
        _ => return Err(format!("has lora_alpha = {}", json["lora_alpha"])),
    };
    Ok(AdapterConfig {
        r,
        lora_alpha,
        lora_dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
        target_modules: read_target_modules(&json["target_modules"])?,
        base_model_name_or_path: json["base_model_name_or_path"].as_str().map(String::from),
    })
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
        "alpha_pattern",
        "fan_in_fan_out",
        "layer_replication",
        "lora_bias",
        "modules_to_save",
        "rank_pattern",
        "target_parameters",
        "trainable_token_indices",
        "use_bdlora",
        "use_dora",
        "use_qalora",
        "use_rslora",
    ] {
        if !idle(&json[key]) {
            return Err(format!("uses {key} = {}, which is not supported", json[key]));
        }
    }
    let bias = &json["bias"];
    if !(bias.is_null() || bias == "none") {
        return Err(format!("trains biases (bias = {bias}), which is not supported"));
    }
    let task = &json["task_type"];
    if !(task.is_null() || task == "CAUSAL_LM") {
        return Err(format!("is made for the task {task}; only CAUSAL_LM is supported"));
    }
    // These change the base's own weights when they begin, so that the adapter does not fit the base as it is.
    if let Some(start) = json["init_lora_weights"].as_str() {
        let changes_base = ["pissa", "olora", "corda", "loftq", "lora_ga"].iter().any(|name| start.starts_with(name));
        if changes_base {
            return Err(format!("was started from a changed base (init_lora_weights = \"{start}\")"));
        }
    }
    Ok(())
}

fn read_target_modules(value: &Value) -> Result<Vec<TargetModule>, String> {
    if value == "all-linear" {
        return Ok(TargetModule::ALL.to_vec());
    }
    let names = value.as_array().ok_or_else(|| format!("has target_modules = {value}, which is no list"))?;
    let mut modules = names
        .iter()
        .map(|name| {
            let module = name.as_str().and_then(TargetModule::parse);
            module.ok_or_else(|| format!("targets the module {name}, which is not one of the seven linear layers"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    modules.sort_unstable();
    modules.dedup();
    if modules.is_empty() {
        return Err("targets no modules".to_string());
    }
    Ok(modules)
}

fn read_tensors(
    file: &SafetensorsFile,
    config: &AdapterConfig,
) -> Result<BTreeMap<(usize, TargetModule), LoraWeights>, EngineError> {
    let mut tensors = BTreeMap::new();
    for name in file.names() {
        let (layer, module, is_a) = parse_tensor_name(&name)
            .ok_or_else(|| file.bad(format!("holds \"{name}\", which is no LoRA matrix of a Llama's linear layer")))?;
        if !config.target_modules.contains(&module) {
            return Err(file.bad(format!("holds \"{name}\", but target_modules lacks {}", module.as_str())));
        }
        if !is_a {
            continue;
        }
        let b_name = tensor_name(layer, module, false);
        let (Some(a_shape), Some(b_shape)) = (file.shape(&name), file.shape(&b_name)) else {
            return Err(file.bad(format!("holds \"{name}\" without \"{b_name}\"")));
        };
        let (&[r, in_features], &[out_features, b_r]) = (a_shape, b_shape) else {
            return Err(file.bad(format!("\"{name}\" is {a_shape:?} and its B {b_shape:?}; both should be matrices")));
        };
        if r != config.r || b_r != config.r {
            return Err(file.bad(format!("\"{name}\" has rank {r} and its B {b_r}; r is {}", config.r)));
        }
        let (a, b) = (file.tensor_f32(&name)?, file.tensor_f32(&b_name)?);
        if a.iter().chain(&b).any(|value| !value.is_finite()) {
            return Err(file.bad(format!("\"{name}\" or its B holds values that are no finite numbers")));
        }
        tensors.insert((layer, module), LoraWeights { a, b, r, in_features, out_features });
    }
    // Each A has found its B; as many tensors as twice the pairs means that each B had its A.
    if tensors.is_empty() || file.names().len() != 2 * tensors.len() {
        return Err(file.bad("holds lora_B matrices without their lora_A, or nothing at all"));
    }
    Ok(tensors)
}

fn tensor_name(layer: usize, module: TargetModule, is_a: bool) -> String {
    let matrix = if is_a { "lora_A" } else { "lora_B" };
    format!("base_model.model.model.layers.{layer}.{}.{}.{matrix}.weight", block_of(module), module.as_str())
}

/// The inverse of [`tensor_name`].
fn parse_tensor_name(name: &str) -> Option<(usize, TargetModule, bool)> {
    let mut words = name.strip_prefix("base_model.model.model.layers.")?.split('.');
    let layer = words.next()?.parse().ok().filter(|layer| *layer < MAX_LAYERS)?;
    let _block = words.next()?;
    let module = TargetModule::parse(words.next()?)?;
    let is_a = words.next()? == "lora_A";
    (tensor_name(layer, module, is_a) == name).then_some((layer, module, is_a))
}

fn block_of(module: TargetModule) -> &'static str {
    match module {
        TargetModule::QProj | TargetModule::KProj | TargetModule::VProj | TargetModule::OProj => "self_attn",
        TargetModule::GateProj | TargetModule::UpProj | TargetModule::DownProj => "mlp",
    }
}

fn write_tensors(path: &Path, files: &AdapterFiles) -> Result<(), EngineError> {
    let mut tensors = Vec::with_capacity(2 * files.tensors.len());
    for (&(layer, module), weights) in &files.tensors {
        let LoraWeights { a, b, r, in_features, out_features } = weights;
        tensors.push((tensor_name(layer, module, true), vec![*r, *in_features], a.as_slice()));
        tensors.push((tensor_name(layer, module, false), vec![*out_features, *r], b.as_slice()));
    }
    safetensors::write(path, &tensors, HashMap::from([("format".to_string(), "pt".to_string())]))
}

/// The fields that PEFT 0.21 writes for a plain LoRA; it fills in those that are left out.
fn config_json(config: &AdapterConfig) -> Value {
    let modules: Vec<&str> = config.target_modules.iter().map(|module| module.as_str()).collect();
    // PEFT declares an int, and prints it so.
    let whole = config.lora_alpha.fract() == 0.0 && config.lora_alpha < 1e15;
    let lora_alpha = if whole { json!(config.lora_alpha as u64) } else { json!(config.lora_alpha) };
    json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": config.base_model_name_or_path,
        "bias": "none",
        "exclude_modules": null,
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layer_replication": null,
        "layers_pattern": null,
        "layers_to_transform": null,
        "loftq_config": {},
        "lora_alpha": lora_alpha,
        "lora_bias": false,
        "lora_dropout": config.lora_dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": config.r,
        "rank_pattern": {},
        "revision": null,
        "target_modules": modules,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    })
}
