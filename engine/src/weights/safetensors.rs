//! safetensors files: named tensors read as f32, and written so that a file is whole or not there.

use crate::error::EngineError;
use crate::weights::small_file::open_plain_file;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Longest header that is read, in bytes: some tens of thousands of tensors.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// An open file whose header has been checked. Tensors are read when asked for.
pub struct SafetensorsFile {
    path: PathBuf,
    metadata: Metadata,
    /// Where the tensors' data begins, in bytes.
    data_start: u64,
    file: Mutex<File>,
}

/// All that stands before the tensors' data.
pub struct Header {
    /// The tensors, without gap or overlap, and the text beside them.
    pub metadata: Metadata,
    /// Where the tensors' data begins, in bytes.
    pub data_start: u64,
}

/// Reads and checks a header: its length as u64, little-endian, then JSON
/// (<https://huggingface.co/docs/safetensors>). `file_size` is the length of the whole file in bytes.
///
/// # Errors
/// The reason in words, without the file's name.
pub fn read_header(reader: &mut impl Read, file_size: u64) -> Result<Header, String> {
    let shorter = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => "has become shorter while it was read".to_string(),
        _ => format!("cannot be read: {error}"),
    };
    if file_size < 8 {
        return Err("is no safetensors file (it is too short)".to_string());
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(shorter)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > file_size - 8 {
        return Err(format!("is no safetensors file, or cut off: its header should take {length} bytes"));
    }
    let mut json = vec![0; length as usize];
    reader.read_exact(&mut json).map_err(shorter)?;
    let unreadable = |error: String| format!("has an unreadable safetensors header: {error}");
    let Entries { text, mut tensors } = serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))?;
    drop(json);
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let data_bytes = check_places(&tensors)?;
    let data_start = 8 + length;
    let promised = data_start.saturating_add(data_bytes);
    if promised != file_size {
        return Err(format!(
            "should be {promised} bytes long by its header but has {file_size}: it is cut off or damaged"
        ));
    }
    let metadata = Metadata::new(text, tensors).map_err(|error| unreadable(error.to_string()))?;
    Ok(Header { metadata, data_start })
}

/// Tensors follow each other without gap or overlap, each of the length that type and shape ask for. Sorted by place;
/// the length of all together in bytes.
fn check_places(tensors: &[(String, TensorInfo)]) -> Result<u64, String> {
    let mut at = 0;
    for (name, info) in tensors {
        let (start, end) = info.data_offsets;
        let wrong = match start.cmp(&at) {
            Ordering::Less => Some("overlaps the one before it"),
            Ordering::Greater => Some("leaves a gap before it"),
            Ordering::Equal => None,
        };
        if let Some(wrong) = wrong {
            return Err(format!("has a header in which tensor {} at {start} {wrong}, to {at}", shown(name)));
        }
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &length| bits.checked_mul(length));
        let bytes = bits.filter(|bits| bits.is_multiple_of(8)).map(|bits| bits / 8);
        if bytes.is_none() || bytes != end.checked_sub(start) {
            return Err(format!(
                "has a header in which tensor {} of {:?} lies from {start} to {end}, which does not fit its shape",
                shown(name),
                info.dtype
            ));
        }
        at = end;
    }
    Ok(at as u64)
}

/// A name from the file as it may stand in a message.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    format!("{short:?}{}", if short.len() < name.len() { "..." } else { "" })
}

/// The header's JSON. The safetensors crate reads it, too, but of two tensors of one name it keeps the second.
struct Entries {
    text: Option<HashMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries { text: None, tensors: Vec::new() };
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    let about = |error: A::Error| A::Error::custom(format!("{}: {error}", shown(&name)));
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{} stands there twice", shown(&name))));
                    }
                    if name == "__metadata__" {
                        entries.text = map.next_value().map_err(about)?;
                        continue;
                    }
                    let info = map.next_value().map_err(about)?;
                    entries.tensors.push((name, info));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Named)
    }
}

impl SafetensorsFile {
    /// Opens a file and checks its header: lengths, types, and that the tensors fill the file exactly.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let mut file = open_plain_file(path)?;
        let about = file.metadata().map_err(|source| EngineError::io(path, source))?;
        let Header { metadata, data_start } =
            read_header(&mut file, about.len()).map_err(|reason| EngineError::bad_file(path, reason))?;
        Ok(Self { path: path.to_path_buf(), metadata, data_start, file: Mutex::new(file) })
    }

    /// An error about this file.
    pub fn bad(&self, reason: impl Into<String>) -> EngineError {
        EngineError::bad_file(&self.path, reason)
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// The text that the writer put beside the tensors.
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.metadata.metadata().as_ref()
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.metadata.info(name).map(|info| info.dtype)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a tensor lies in the file, in bytes: within it, by the header's check.
    pub fn byte_range(&self, name: &str) -> Option<Range<u64>> {
        let (start, end) = self.metadata.info(name)?.data_offsets;
        Some(self.data_start + start as u64..self.data_start + end as u64)
    }

    /// Reads an F32, F16 or BF16 tensor as f32, row-major.
    pub fn tensor_f32(&self, name: &str) -> Result<Vec<f32>, EngineError> {
        let info = self.info(name)?;
        values_of(info.dtype, &self.read(info)?).ok_or_else(|| {
            self.bad(format!("tensor \"{name}\" is stored as {:?}; F32, F16 and BF16 can be read", info.dtype))
        })
    }

    /// Checks that a tensor is there with this shape, then reads it as f32, row-major.
    pub fn tensor_of_shape(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EngineError> {
        let info = self.info(name)?;
        if info.shape != shape {
            return Err(self.bad(format!("tensor \"{name}\" is {:?}; {shape:?} was expected", info.shape)));
        }
        self.tensor_f32(name)
    }

    /// Reads a U8 tensor, such as the packed codes of a 4-bit checkpoint.
    pub fn tensor_u8(&self, name: &str) -> Result<Vec<u8>, EngineError> {
        let info = self.info(name)?;
        if info.dtype != Dtype::U8 {
            return Err(self.bad(format!("tensor \"{name}\" is stored as {:?}; U8 was expected", info.dtype)));
        }
        self.read(info)
    }

    /// Reads an I64 tensor, such as token numbers.
    pub fn tensor_i64(&self, name: &str) -> Result<Vec<i64>, EngineError> {
        let info = self.info(name)?;
        if info.dtype != Dtype::I64 {
            return Err(self.bad(format!("tensor \"{name}\" is stored as {:?}; I64 was expected", info.dtype)));
        }
        Ok(self.read(info)?.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
    }

    /// Reads an I32 or I64 tensor.
    pub fn tensor_integers(&self, name: &str) -> Result<Vec<i64>, EngineError> {
        let info = self.info(name)?;
        if info.dtype != Dtype::I32 {
            return self.tensor_i64(name);
        }
        let bytes = self.read(info)?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect())
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, EngineError> {
        self.metadata.info(name).ok_or_else(|| self.bad(format!("lacks the tensor \"{name}\"")))
    }

    fn read(&self, info: &TensorInfo) -> Result<Vec<u8>, EngineError> {
        let (start, end) = info.data_offsets;
        // The header's check has held the offsets against the length of the file.
        let mut bytes = vec![0; end - start];
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| EngineError::io(&self.path, source))?;
        Ok(bytes)
    }
}

/// F32, F16 or BF16 values as f32; `None` for another type.
pub fn values_of(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks().0.par_iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.par_iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.par_iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => return None,
    })
}

/// A tensor to be written: name, shape, values row-major.
pub type NamedTensor<'a> = (String, Vec<usize>, &'a [f32]);

/// Writes f32 tensors: aside, flushed to the disk, then renamed, so that a reader sees the old file or the new one.
pub fn write(path: &Path, tensors: &[NamedTensor], metadata: HashMap<String, String>) -> Result<(), EngineError> {
    write_atomic(path, &serialize(path, tensors, metadata)?)
}

fn serialize(path: &Path, tensors: &[NamedTensor], metadata: HashMap<String, String>) -> Result<Vec<u8>, EngineError> {
    let bad = |error: safetensors::SafeTensorError| EngineError::bad_file(path, format!("cannot be written: {error}"));
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(bad)?))
        })
        .collect::<Result<Vec<_>, EngineError>>()?;
    let metadata = if metadata.is_empty() { None } else { Some(metadata) };
    safetensors::serialize(views, metadata).map_err(bad)
}

/// Writes a file aside, flushes it to the disk and renames it into place.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let aside = path.with_added_extension("partial");
    let write = || {
        let mut file = File::create(&aside)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        sync_parent(path)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&aside);
        EngineError::io(path, source)
    })
}

/// Flushes the folder that names a file, so that a rename survives a power cut.
pub fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
