//! A checkpoint as Hugging Face stores large models: `config.json`, and safetensors files of which each holds some of
//! the tensors.
//!
//! Only headers are read here. Where a tensor's bytes lie is told, so that whoever wants them can read them in the order
//! and in the pieces that suit.

use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::table::HalfValues;
use crate::weights::hf::{CONFIG_FILE, HfConfig, tensor_name};
use crate::weights::safetensors::{SafetensorsFile, values_of};
use crate::weights::small_file::{MAX_JSON_BYTES, read_at_most};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use serde::Deserialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::RangeBounds;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

const INDEX: &str = "model.safetensors.index.json";
const LONE_FILE: &str = "model.safetensors";

/// A folder's tensors, and where each lies.
#[derive(Debug)]
pub struct Shards {
    folder: PathBuf,
    places: BTreeMap<String, TensorPlace>,
}

/// Where a tensor's values lie, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    pub path: Arc<Path>,
    pub offset_bytes: u64,
    pub length_bytes: u64,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

impl TensorPlace {
    /// All of its bytes. The header's check has held their number against the length of the file.
    fn read(&self) -> Result<Vec<u8>, EngineError> {
        let mut bytes = vec![0; self.length_bytes as usize];
        File::open(&self.path)
            .and_then(|file| file.read_exact_at(&mut bytes, self.offset_bytes))
            .map_err(|source| EngineError::io(&self.path, source))?;
        Ok(bytes)
    }
}

impl Shards {
    /// Reads the headers of the files that the folder's index names; without an index, of `model.safetensors`; without
    /// that, of every safetensors file there.
    ///
    /// # Errors
    /// The index names a file that is missing or lies elsewhere; a file is damaged; a tensor stands in two files, or not
    /// in the one that the index says.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        let index = Index::read(&folder.join(INDEX))?;
        let names = match &index {
            Some(index) => index.file_names(folder)?,
            None if folder.join(LONE_FILE).exists() => BTreeSet::from([LONE_FILE.to_string()]),
            None => safetensors_names(folder)?,
        };
        let mut shards = Self { folder: folder.to_path_buf(), places: BTreeMap::new() };
        for name in names {
            shards.add(&folder.join(name))?;
        }
        if let Some(index) = index {
            shards.check(&index)?;
        }
        Ok(shards)
    }

    /// Names of all tensors, sorted.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    pub fn place(&self, name: &str) -> Option<&TensorPlace> {
        self.places.get(name)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The shape that `config.json` tells, its sizes checked. A model without an output layer of its own uses its
    /// embedding, whatever the file says.
    pub fn config(&self) -> Result<LlamaConfig, EngineError> {
        let path = self.folder.join(CONFIG_FILE);
        let mut config = HfConfig::read(&path)?.llama();
        config.check().map_err(|error| EngineError::bad_file(&path, error.to_string()))?;
        if let Some(name) =
            self.tensors().find(|name| name.ends_with("_proj.bias") && !config.family.has_attention_bias())
        {
            return Err(self.bad(name, "is a bias, which is not supported for this family".to_string()));
        }
        config.tie_word_embeddings |= self.place(&tensor_name(Wanted::Head)).is_none();
        Ok(config)
    }

    /// An error about one of the tensors.
    pub fn bad(&self, name: &str, reason: String) -> EngineError {
        let path = self.place(name).map_or(self.folder.as_path(), |place| &place.path);
        EngineError::bad_file(path, format!("tensor \"{name}\" {reason}"))
    }

    /// An F32, F16 or BF16 tensor of this shape as f32, row-major.
    pub fn tensor_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EngineError> {
        let place = self.require(name)?;
        if place.shape != shape {
            return Err(self.bad(name, format!("is {:?}; {shape:?} was expected", place.shape)));
        }
        let bytes = place.read()?;
        let values = values_of(place.dtype, &bytes)
            .ok_or_else(|| self.bad(name, format!("is stored as {:?}; F32, F16 and BF16 can be read", place.dtype)))?;
        if values.par_iter().any(|value| !value.is_finite()) {
            return Err(self.bad(name, "holds values that are no finite numbers".to_string()));
        }
        Ok(values)
    }

    /// A BF16 or F16 tensor of this shape as it is stored, row-major; `None` where it is of another type.
    pub fn tensor_half(&self, name: &str, shape: &[usize]) -> Result<Option<HalfValues>, EngineError> {
        let place = self.require(name)?;
        if place.shape != shape || ![Dtype::BF16, Dtype::F16].contains(&place.dtype) {
            return Ok(None);
        }
        let bytes = place.read()?;
        let pairs = bytes.as_chunks::<2>().0;
        let (values, finite) = if place.dtype == Dtype::BF16 {
            let values: Vec<bf16> = pairs.par_iter().map(|pair| bf16::from_le_bytes(*pair)).collect();
            let finite = values.par_iter().all(|value| value.is_finite());
            (HalfValues::Bf16(values), finite)
        } else {
            let values: Vec<f16> = pairs.par_iter().map(|pair| f16::from_le_bytes(*pair)).collect();
            let finite = values.par_iter().all(|value| value.is_finite());
            (HalfValues::F16(values), finite)
        };
        if !finite {
            return Err(self.bad(name, "holds values that are no finite numbers".to_string()));
        }
        Ok(Some(values))
    }

    /// A U8 tensor of so many bytes.
    pub fn tensor_u8(&self, name: &str, length: impl RangeBounds<usize>) -> Result<Vec<u8>, EngineError> {
        let place = self.require(name)?;
        if place.dtype != Dtype::U8 || !length.contains(&(place.length_bytes as usize)) {
            let reason = format!("is {} bytes stored as {:?}, which does not fit", place.length_bytes, place.dtype);
            return Err(self.bad(name, reason));
        }
        place.read()
    }

    fn require(&self, name: &str) -> Result<&TensorPlace, EngineError> {
        self.place(name).ok_or_else(|| EngineError::bad_file(&self.folder, format!("lacks the tensor \"{name}\"")))
    }

    fn add(&mut self, path: &Path) -> Result<(), EngineError> {
        let file = SafetensorsFile::open(path)?;
        let path: Arc<Path> = path.into();
        for name in file.names() {
            let (Some(range), Some(dtype), Some(shape)) =
                (file.byte_range(&name), file.dtype(&name), file.shape(&name))
            else {
                continue;
            };
            let place = TensorPlace {
                path: path.clone(),
                offset_bytes: range.start,
                length_bytes: range.end - range.start,
                dtype,
                shape: shape.to_vec(),
            };
            match self.places.entry(name) {
                Entry::Vacant(entry) => entry.insert(place),
                Entry::Occupied(other) => {
                    let (name, other) = (other.key(), other.get().path.display());
                    return Err(file.bad(format!("has the tensor \"{name}\", which {other} has, too")));
                }
            };
        }
        Ok(())
    }

    /// Every tensor of the index lies in the file that it says.
    fn check(&self, index: &Index) -> Result<(), EngineError> {
        for (tensor, name) in &index.weight_map {
            let path = self.folder.join(name);
            if self.place(tensor).is_none_or(|place| *place.path != *path) {
                return Err(EngineError::bad_file(
                    &path,
                    format!("lacks the tensor \"{tensor}\", which {INDEX} says is there"),
                ));
            }
        }
        Ok(())
    }
}

/// Which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// `None` where there is none.
    fn read(path: &Path) -> Result<Option<Self>, EngineError> {
        let text = match read_at_most(path, MAX_JSON_BYTES) {
            Ok(text) => text,
            Err(EngineError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let index: Self = serde_json::from_slice(&text)
            .map_err(|error| EngineError::bad_file(path, format!("is no index of a checkpoint: {error}")))?;
        if index.weight_map.is_empty() {
            return Err(EngineError::bad_file(path, "names no tensors"));
        }
        Ok(Some(index))
    }

    /// The files that are named, all of them there.
    fn file_names(&self, folder: &Path) -> Result<BTreeSet<String>, EngineError> {
        let path = folder.join(INDEX);
        let names: BTreeSet<String> = self.weight_map.values().cloned().collect();
        for name in &names {
            if !is_plain_file_name(name) {
                return Err(EngineError::bad_file(&path, format!("names {name:?}, which is no file of its folder")));
            }
            if !folder.join(name).exists() {
                return Err(EngineError::bad_file(&path, format!("names {name:?}, which is not there")));
            }
        }
        Ok(names)
    }
}

/// Nothing that leads to another folder, whichever way a system writes paths.
fn is_plain_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let only_part = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
    only_part && !name.contains(['/', '\\', ':', '\0'])
}

fn safetensors_names(folder: &Path) -> Result<BTreeSet<String>, EngineError> {
    let io = |source| EngineError::io(folder, source);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".safetensors")) {
            names.insert(name.to_string());
        }
    }
    if names.is_empty() {
        return Err(EngineError::bad_file(folder, "holds no safetensors files"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::safetensors::write;
    use std::collections::HashMap;

    /// A folder with files of the tensors a, b, ... of two rows each.
    fn folder(files: &[(&str, &[&str])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, tensors) in files {
            let values: Vec<f32> = (0..6u8).map(f32::from).collect();
            let tensors: Vec<_> =
                tensors.iter().map(|name| (name.to_string(), vec![2, 3], values.as_slice())).collect();
            write(&folder.path().join(file), &tensors, HashMap::new()).unwrap();
        }
        folder
    }

    fn write_index(folder: &Path, tensors: &[(&str, &str)]) {
        let weight_map: BTreeMap<_, _> = tensors.iter().copied().collect();
        let text = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": weight_map }).to_string();
        std::fs::write(folder.join(INDEX), text).unwrap();
    }

    fn refusal(folder: &Path) -> String {
        Shards::open(folder).unwrap_err().to_string()
    }

    #[test]
    fn a_lone_file_hides_its_neighbours() {
        let folder = folder(&[(LONE_FILE, &["b", "a"]), ("other.safetensors", &["a"])]);
        let shards = Shards::open(folder.path()).unwrap();
        assert_eq!(shards.tensors().collect::<Vec<_>>(), ["a", "b"]);
        let place = shards.place("b").unwrap();
        assert_eq!((&*place.path, place.length_bytes), (&*folder.path().join(LONE_FILE), 24));
        assert_eq!((place.dtype, place.shape.as_slice()), (Dtype::F32, &[2, 3][..]));
        let bytes = std::fs::read(&place.path).unwrap();
        let start = place.offset_bytes as usize;
        let values: Vec<f32> =
            bytes[start..start + 24].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(shards.place("c").is_none());
    }

    #[test]
    fn an_index_says_which_files_count() {
        let folder = folder(&[("1.safetensors", &["a", "c"]), ("2.safetensors", &["b"]), ("3.safetensors", &["a"])]);
        write_index(folder.path(), &[("a", "1.safetensors"), ("b", "2.safetensors")]);
        let shards = Shards::open(folder.path()).unwrap();
        assert_eq!(shards.tensors().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(*shards.place("b").unwrap().path, *folder.path().join("2.safetensors"));
    }

    #[test]
    fn without_either_every_file_counts() {
        let folder = folder(&[("1.safetensors", &["a"]), ("2.safetensors", &["b"])]);
        std::fs::write(folder.path().join("notes.txt"), "none of it").unwrap();
        assert_eq!(Shards::open(folder.path()).unwrap().tensors().count(), 2);
        let empty = tempfile::tempdir().unwrap();
        assert!(refusal(empty.path()).contains("holds no safetensors files"));
        assert!(Shards::open(&empty.path().join("nowhere")).is_err());
    }

    #[test]
    fn an_index_cannot_lead_elsewhere() {
        let folder = folder(&[("1.safetensors", &["a"])]);
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let absolute = folder.path().join("1.safetensors");
        let names =
            ["../1.safetensors", "..", ".", "", "inner/../../1.safetensors", "./x", "x/", "..\\1.safetensors", "C:x"];
        for name in names.into_iter().chain([absolute.to_str().unwrap()]) {
            write_index(&inner, &[("a", name)]);
            assert!(refusal(&inner).contains("is no file of its folder"), "{name}");
        }
    }

    #[test]
    fn a_broken_index_is_refused() {
        let folder = folder(&[("1.safetensors", &["a"]), ("2.safetensors", &["b"])]);
        write_index(folder.path(), &[("a", "1.safetensors"), ("b", "gone.safetensors")]);
        assert!(refusal(folder.path()).contains("\"gone.safetensors\", which is not there"));
        write_index(folder.path(), &[("a", "1.safetensors"), ("b", "1.safetensors")]);
        assert!(refusal(folder.path()).contains("1.safetensors: lacks the tensor \"b\""));
        write_index(folder.path(), &[("a", "2.safetensors"), ("b", "1.safetensors")]);
        assert!(refusal(folder.path()).contains("lacks the tensor"));
        write_index(folder.path(), &[]);
        assert!(refusal(folder.path()).contains("names no tensors"));
        std::fs::write(folder.path().join(INDEX), "{\"weight_map\": 7}").unwrap();
        assert!(refusal(folder.path()).contains("is no index of a checkpoint"));
    }

    #[test]
    fn a_tensor_in_two_files_is_refused() {
        let folder = folder(&[("1.safetensors", &["a", "b"]), ("2.safetensors", &["b"])]);
        let refused = refusal(folder.path());
        assert!(refused.contains("2.safetensors: has the tensor \"b\", which"), "{refused}");
        assert!(refused.contains("1.safetensors has, too"), "{refused}");
    }

    #[test]
    fn a_cut_off_shard_is_named() {
        let folder = folder(&[("1.safetensors", &["a"]), ("2.safetensors", &["b"])]);
        let path = folder.path().join("2.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(refusal(folder.path()).contains("2.safetensors: should be"));
    }
}
