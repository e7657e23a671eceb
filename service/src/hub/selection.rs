//! Which files of a repository a model, an adapter or a GGUF file consists of; the same for what the Hub lists and for
//! what lies in the cache.

use super::HubError;
use domain::hub::{HubAddress, HubKind, is_plain_path};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const CONFIG: &str = "config.json";
pub(super) const ADAPTER_CONFIG: &str = "adapter_config.json";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
const LONE_WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const SENTENCEPIECE: &str = "tokenizer.model";
/// What a tokenizer needs beside itself; each is fetched if it is there.
const BESIDE_TOKENIZER: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];
const GENERATION_CONFIG: &str = "generation_config.json";
/// Labels and prompt of a classifier that was trained here.
const CLASSIFIER: &str = "classifier.json";

/// What is to be fetched.
#[derive(Debug, PartialEq)]
pub(super) struct Selection {
    pub kind: HubKind,
    /// Paths in the repository, plain ones all of them.
    pub names: Vec<String>,
}

/// Chooses from the paths of a repository. `index` reads the repository's [`INDEX`] and is asked only where there is one.
///
/// # Errors
/// The repository has nothing that can be loaded, told in words, or `index` fails.
pub(super) fn select(
    address: &HubAddress,
    names: &BTreeSet<&str>,
    index: impl FnOnce() -> Result<Vec<u8>, HubError>,
) -> Result<Selection, HubError> {
    if let Some(file) = &address.file {
        return gguf(address, file, names);
    }
    if names.contains(ADAPTER_CONFIG) {
        return adapter(address, names);
    }
    if !names.contains(CONFIG) {
        return Err(unsuitable(address, names, "has no config.json"));
    }
    let mut chosen = vec![CONFIG.to_owned()];
    chosen.extend(present(names, &[GENERATION_CONFIG]));
    chosen.extend(tokenizer(names));
    if !names.contains(TOKENIZER) && !names.contains(SENTENCEPIECE) {
        return Err(unsuitable(address, names, "has no tokenizer.json"));
    }
    if names.contains(INDEX) {
        chosen.push(INDEX.to_owned());
        chosen.extend(named_by_index(address, names, &index()?)?);
    } else {
        chosen.extend(weights_without_index(address, names)?);
    }
    Ok(Selection { kind: HubKind::Model, names: chosen })
}

fn gguf(address: &HubAddress, file: &str, names: &BTreeSet<&str>) -> Result<Selection, HubError> {
    if part_of_several(file, ".gguf").is_some() {
        return Err(HubError::Unsuitable(format!(
            "{address} is one part of a GGUF file that was split. Choose a file that is whole, or merge the parts with \
             llama.cpp's gguf-split and name the result as a local file."
        )));
    }
    if names.contains(file) {
        return Ok(Selection { kind: HubKind::Gguf, names: vec![file.to_owned()] });
    }
    Err(HubError::NotFound(format!("{} has no file {file}{}", address.repo, gguf_files(names))))
}

fn adapter(address: &HubAddress, names: &BTreeSet<&str>) -> Result<Selection, HubError> {
    if !names.contains(ADAPTER_WEIGHTS) {
        return Err(unsuitable(address, names, "is an adapter without adapter_model.safetensors"));
    }
    let mut chosen = vec![ADAPTER_CONFIG.to_owned(), ADAPTER_WEIGHTS.to_owned()];
    chosen.extend(tokenizer(names));
    chosen.extend(present(names, &[CLASSIFIER]));
    Ok(Selection { kind: HubKind::Adapter, names: chosen })
}

fn tokenizer(names: &BTreeSet<&str>) -> Vec<String> {
    let itself = if names.contains(TOKENIZER) { TOKENIZER } else { SENTENCEPIECE };
    let mut chosen = present(names, &[itself]);
    chosen.extend(present(names, &BESIDE_TOKENIZER));
    chosen
}

fn present(names: &BTreeSet<&str>, wanted: &[&str]) -> Vec<String> {
    wanted.iter().filter(|name| names.contains(*name)).map(|name| (*name).to_owned()).collect()
}

/// The files that `weight_map`, from tensors to files, names.
fn named_by_index(address: &HubAddress, names: &BTreeSet<&str>, index: &[u8]) -> Result<Vec<String>, HubError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index)
        .map_err(|error| HubError::Unsuitable(format!("{INDEX} of {address} cannot be read: {error}.")))?;
    let files: BTreeSet<String> = index.weight_map.into_values().collect();
    for file in &files {
        if !is_plain_path(file) || file.contains('/') || !file.ends_with(".safetensors") {
            return Err(HubError::Unsuitable(format!(
                "{INDEX} of {address} names “{}”, which is no safetensors file beside it. Such a repository is not fetched.",
                file.chars().take(100).collect::<String>().escape_default()
            )));
        }
        if !names.contains(file.as_str()) {
            return Err(HubError::Unsuitable(format!("{address} lacks {file}, which its {INDEX} names.")));
        }
    }
    if files.is_empty() {
        return Err(HubError::Unsuitable(format!("{INDEX} of {address} names no file.")));
    }
    Ok(files.into_iter().collect())
}

fn weights_without_index(address: &HubAddress, names: &BTreeSet<&str>) -> Result<Vec<String>, HubError> {
    if names.contains(LONE_WEIGHTS) {
        return Ok(vec![LONE_WEIGHTS.to_owned()]);
    }
    let is_weights = |name: &&&str| {
        is_plain_path(name)
            && !name.contains('/')
            && name.ends_with(".safetensors")
            // The same weights once more, in the layout of the original authors.
            && !name.starts_with("consolidated")
            && **name != ADAPTER_WEIGHTS
    };
    let chosen: Vec<String> = names.iter().filter(is_weights).map(|name| (*name).to_owned()).collect();
    if chosen.is_empty() {
        return Err(unsuitable(address, names, "has no safetensors weights"));
    }
    for name in &chosen {
        let Some((stem, count)) = part_of_several(name, ".safetensors") else { continue };
        let missing = (1..=count).map(|part| format!("{stem}-{part:05}-of-{count:05}.safetensors"));
        if let Some(missing) = missing.into_iter().find(|part| !names.contains(part.as_str())) {
            return Err(HubError::Unsuitable(format!("{address} lacks {missing}, one part of its weights.")));
        }
    }
    Ok(chosen)
}

/// `(stem, count)` of a name such as `stem-00001-of-00004.gguf`.
fn part_of_several<'a>(name: &'a str, ending: &str) -> Option<(&'a str, u32)> {
    let (rest, count) = name.strip_suffix(ending)?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(part) && is_number(count)).then_some((stem, count.parse().ok()?))
}

fn unsuitable(address: &HubAddress, names: &BTreeSet<&str>, lack: &str) -> HubError {
    let pickled = |name: &&str| name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt");
    let ggufs = gguf_files(names);
    let advice = if names.iter().any(pickled) {
        ". Its weights are Python pickles, which can run code when they are opened, so they are not fetched: choose a \
         repository or revision with safetensors files."
            .to_owned()
    } else if ggufs == "." {
        ", so it is no model or adapter that can be fetched.".to_owned()
    } else {
        ggufs
    };
    HubError::Unsuitable(format!("{address} {lack}{advice}"))
}

/// The end of a sentence that lists some of the GGUF files, as a person may have meant one of them.
fn gguf_files(names: &BTreeSet<&str>) -> String {
    let whole = |name: &&&str| {
        name.to_ascii_lowercase().ends_with(".gguf") && is_plain_path(name) && part_of_several(name, ".gguf").is_none()
    };
    let files: Vec<&str> = names.iter().filter(whole).take(8).copied().collect();
    if files.is_empty() {
        return ".".to_owned();
    }
    format!(". It has GGUF files; name one of them behind the repository: {}.", files.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> HubAddress {
        HubAddress::parse(text).unwrap()
    }

    fn of(text: &str, names: &[&str], index: &str) -> Result<Selection, HubError> {
        select(&address(text), &names.iter().copied().collect(), || Ok(index.as_bytes().to_vec()))
    }

    fn refused(text: &str, names: &[&str], index: &str) -> String {
        of(text, names, index).unwrap_err().to_string()
    }

    #[test]
    fn of_a_model_what_loads_it_is_taken() {
        let names = [
            "config.json",
            "generation_config.json",
            "README.md",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "consolidated.safetensors",
            "original/consolidated.00.pth",
            "pytorch_model.bin",
        ];
        let expected = [
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        let selection = of("o/n", &names, "").unwrap();
        assert_eq!(selection.kind, HubKind::Model);
        assert_eq!(selection.names, expected);
    }

    #[test]
    fn an_index_decides_which_weights() {
        let names = ["config.json", "tokenizer.model", INDEX, "a.safetensors", "b.safetensors", "c.safetensors"];
        let selection =
            of("o/n", &names, r#"{"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}"#);
        let expected = ["config.json", "tokenizer.model", INDEX, "a.safetensors", "b.safetensors"];
        assert_eq!(selection.unwrap().names, expected);

        for hostile in ["../../x.safetensors", "/etc/x.safetensors", "a\\\\x.safetensors", "config.json", ""] {
            let index = format!(r#"{{"weight_map": {{"x": "{hostile}"}}}}"#);
            assert!(refused("o/n", &names, &index).contains("no safetensors file beside it"), "{hostile}");
        }
        assert!(refused("o/n", &names, r#"{"weight_map": {"x": "d.safetensors"}}"#).contains("lacks d.safetensors"));
        assert!(refused("o/n", &names, r#"{"weight_map": {}}"#).contains("names no file"));
        assert!(refused("o/n", &names, "<html>").contains("cannot be read"));
    }

    #[test]
    fn an_adapter_comes_with_its_tokenizer_and_labels() {
        let names = ["adapter_config.json", "adapter_model.safetensors", "classifier.json", "tokenizer.json", "x.txt"];
        let selection = of("o/n", &names, "").unwrap();
        assert_eq!(selection.kind, HubKind::Adapter);
        assert_eq!(
            selection.names,
            ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "classifier.json"]
        );
    }

    #[test]
    fn a_gguf_file_is_taken_alone() {
        let names = ["q4.gguf", "q8.gguf", "big-00001-of-00002.gguf"];
        let selection = of("o/n/q4.gguf", &names, "").unwrap();
        assert_eq!(selection, Selection { kind: HubKind::Gguf, names: vec!["q4.gguf".to_owned()] });
        assert!(refused("o/n/q5.gguf", &names, "").contains("q4.gguf, q8.gguf"));
        assert!(refused("o/n/big-00001-of-00002.gguf", &names, "").contains("split"));
        assert!(refused("o/n", &names, "").contains("q4.gguf, q8.gguf"));
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_in_words() {
        let pickles = ["config.json", "tokenizer.json", "pytorch_model.bin"];
        assert!(refused("o/n", &pickles, "").contains("pickles"));
        assert!(refused("o/n", &["adapter_config.json", "adapter_model.bin"], "").contains("pickles"));
        assert!(refused("o/n", &["README.md"], "").contains("no config.json"));
        assert!(refused("o/n", &["config.json", "model.safetensors"], "").contains("no tokenizer.json"));
        let half = ["config.json", "tokenizer.json", "model-00001-of-00002.safetensors"];
        assert!(refused("o/n", &half, "").contains("model-00002-of-00002.safetensors"));
    }
}
