//! Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors` in a folder.
//!
//! Tensors are named `base_model.model.model.layers.{i}.{self_attn|mlp}.{module}.lora_{A|B}.weight`; A is (r, in), B is
//! (out, r), and the layer computes y = x W^T + (lora_alpha / r) (x A^T) B^T (`LoraConfig` and `LoraLayer` in
//! peft/tuners/lora). Rank and scale may differ from module to module, and modules may be missing; what is written is
//! of one rank and one scale. What PEFT knows beyond that, such as DoRA, is refused by name: an adapter that would be
//! computed wrongly must not load.

use crate::adapter::peft_config::{MAX_LAYERS, ModuleConfig, PeftConfig, module_key};
use crate::error::EngineError;
use crate::weights::safetensors::{self, SafetensorsFile, sync_parent, write_atomic};
use crate::weights::small_file::{MAX_JSON_BYTES, read_at_most};
use domain::spec::TargetModule;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

pub const CONFIG_FILE: &str = "adapter_config.json";
pub const TENSOR_FILE: &str = "adapter_model.safetensors";

/// An adapter as it stands on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFiles {
    pub config: AdapterConfig,
    /// By layer, from 0, and module.
    pub tensors: BTreeMap<(usize, TargetModule), LoraWeights>,
}

/// The adapter as a whole: what its modules have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// The largest rank of a module.
    pub r: usize,
    /// That of the first module of this rank, as [`LoraWeights::lora_alpha`].
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    /// That have matrices in some layer. Sorted, each once.
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
    /// The output of the two is multiplied by lora_alpha / r.
    pub lora_alpha: f64,
    pub in_features: usize,
    pub out_features: usize,
}

impl LoraWeights {
    /// What the output of the two matrices is multiplied by.
    pub fn scale(&self) -> f64 {
        self.lora_alpha / self.r as f64
    }
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
    let bytes = read_at_most(&path, MAX_JSON_BYTES)?;
    let config = PeftConfig::parse(&bytes).map_err(|reason| EngineError::bad_file(&path, reason))?;
    let file = SafetensorsFile::open(&directory.join(TENSOR_FILE))?;
    let tensors = read_tensors(&file, &config)?;

    // Of several of the largest rank, `max_by_key` takes the last.
    let largest = tensors.values().rev().max_by_key(|weights| weights.r);
    let (r, lora_alpha) = largest.map_or((1, 1.0), |weights| (weights.r, weights.lora_alpha));
    let mut target_modules: Vec<TargetModule> = tensors.keys().map(|(_, module)| *module).collect();
    target_modules.sort_unstable();
    target_modules.dedup();
    let config = AdapterConfig {
        r,
        lora_alpha,
        lora_dropout: config.lora_dropout,
        target_modules,
        base_model_name_or_path: config.base_model_name_or_path,
    };
    Ok(AdapterFiles { config, tensors })
}

/// Writes an adapter into a folder of its own, which is replaced as a whole: written aside, flushed, renamed. At every
/// moment either the old adapter or the new one can be [`read`].
///
/// # Errors
/// A file cannot be written, or the modules differ in rank or scale: [`crate::adapter::Lora`] makes them alike.
pub fn write(directory: &Path, files: &AdapterFiles) -> Result<(), EngineError> {
    let AdapterConfig { r, lora_alpha, .. } = files.config;
    if files.tensors.values().any(|weights| (weights.r, weights.lora_alpha) != (r, lora_alpha)) {
        return Err(EngineError::invalid("an adapter is written with one rank and one scale for all its modules"));
    }
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

type Tensors = BTreeMap<(usize, TargetModule), LoraWeights>;

fn read_tensors(file: &SafetensorsFile, config: &PeftConfig) -> Result<Tensors, EngineError> {
    let mut pairs: BTreeMap<(usize, TargetModule), [Option<String>; 2]> = BTreeMap::new();
    for name in file.names() {
        let (layer, module, matrix) = parse_tensor_name(&name).ok_or_else(|| {
            let what = what_it_is(&name);
            file.bad(format!("holds {name:?}, which is {what} and no LoRA matrix of a Llama's linear layer"))
        })?;
        let place = &mut pairs.entry((layer, module)).or_default()[matrix as usize];
        if let Some(other) = place.replace(name) {
            return Err(file.bad(format!("holds {other:?} a second time under another name")));
        }
    }
    if pairs.is_empty() {
        return Err(file.bad("holds nothing"));
    }
    let mut tensors = BTreeMap::new();
    for ((layer, module), names) in pairs {
        let [Some(a), Some(b)] = &names else {
            let lone = names.iter().flatten().next();
            return Err(file.bad(format!("holds {lone:?} without the other matrix of the pair, lora_A and lora_B")));
        };
        let wanted = config.module(layer, module).map_err(|reason| file.bad(reason))?.ok_or_else(|| {
            let key = module_key(layer, module);
            file.bad(format!("holds {a:?}, but target_modules and its exceptions in {CONFIG_FILE} leave out {key}"))
        })?;
        tensors.insert((layer, module), read_pair(file, a, b, wanted)?);
    }
    Ok(tensors)
}

fn read_pair(
    file: &SafetensorsFile,
    a_name: &str,
    b_name: &str,
    ModuleConfig { r, lora_alpha }: ModuleConfig,
) -> Result<LoraWeights, EngineError> {
    let (a_shape, b_shape) = (file.shape(a_name).unwrap_or_default(), file.shape(b_name).unwrap_or_default());
    let (&[a_r, in_features], &[out_features, b_r]) = (a_shape, b_shape) else {
        return Err(file.bad(format!("{a_name:?} is {a_shape:?} and its B {b_shape:?}; both should be matrices")));
    };
    if a_r != r || b_r != r {
        return Err(file.bad(format!("{a_name:?} has rank {a_r} and its B {b_r}; by {CONFIG_FILE} it is {r}")));
    }
    let (a, b) = (file.tensor_f32(a_name)?, file.tensor_f32(b_name)?);
    if a.iter().chain(&b).any(|value| !value.is_finite()) {
        return Err(file.bad(format!("{a_name:?} or its B holds values that are no finite numbers")));
    }
    Ok(LoraWeights { a, b, r, lora_alpha, in_features, out_features })
}

/// What a tensor belongs to that is not known here, as far as PEFT's names tell.
fn what_it_is(name: &str) -> &'static str {
    for (part, what) in [
        ("lora_magnitude_vector", "a magnitude of DoRA"),
        ("lora_embedding_", "part of an adapted embedding"),
        ("trainable_tokens", "an embedding of a trained token"),
        ("modules_to_save", "a module that was trained whole"),
        (".bias", "a trained bias"),
        (".lora_", "a LoRA matrix of another module"),
    ] {
        if name.contains(part) {
            return what;
        }
    }
    "unknown to PEFT's plain LoRA"
}

fn write_tensors(path: &Path, files: &AdapterFiles) -> Result<(), EngineError> {
    let mut tensors = Vec::new();
    for (&(layer, module), weights) in &files.tensors {
        let LoraWeights { a, b, r, in_features, out_features, .. } = weights;
        tensors.push((tensor_name(layer, module, Pair::A), vec![*r, *in_features], a.as_slice()));
        tensors.push((tensor_name(layer, module, Pair::B), vec![*out_features, *r], b.as_slice()));
    }
    safetensors::write(path, &tensors, HashMap::from([("format".to_string(), "pt".to_string())]))
}

/// Which of a module's two matrices.
#[derive(Clone, Copy)]
enum Pair {
    A,
    B,
}

fn tensor_name(layer: usize, module: TargetModule, matrix: Pair) -> String {
    let matrix = match matrix {
        Pair::A => "lora_A",
        Pair::B => "lora_B",
    };
    format!("base_model.model.{}.{matrix}.weight", module_key(layer, module))
}

/// The inverse of [`tensor_name`]. `.default`, the name of a model's first adapter, is left out of files by PEFT; files
/// made straight from a model's state have it.
fn parse_tensor_name(name: &str) -> Option<(usize, TargetModule, Pair)> {
    let plain = name.replacen(".default.weight", ".weight", 1);
    let mut words = plain.strip_prefix("base_model.model.model.layers.")?.split('.');
    let layer = words.next()?.parse().ok().filter(|layer| *layer < MAX_LAYERS)?;
    let _block = words.next()?;
    let module = TargetModule::parse(words.next()?)?;
    let matrix = if words.next()? == "lora_A" { Pair::A } else { Pair::B };
    (tensor_name(layer, module, matrix) == plain).then_some((layer, module, matrix))
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
