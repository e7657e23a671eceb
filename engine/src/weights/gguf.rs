//! GGUF files: one tensor at a time, dequantised to f32.

use crate::error::EngineError;
use crate::weights::gguf_header::{Header, MetadataValue, TensorEntry, read_header};
use crate::weights::small_file::open_plain_file;
use candle_core::quantized::{GgmlDType, QTensor, ggml_file};
use candle_core::{CpuStorage, Device};
use half::{bf16, f16};
use rayon::prelude::*;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Blocks are turned into f32 in pieces of about this many values, one piece per thread at a time.
const VALUES_PER_PIECE: usize = 64 * 1024;

/// An open GGUF file whose header has been read and checked. Tensors are read when asked for.
pub struct GgufFile {
    path: PathBuf,
    header: Header,
    file: Mutex<File>,
}

impl GgufFile {
    /// Opens a file and checks its whole header: counts, lengths, types, and that every tensor lies inside the file.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let file = open_plain_file(path)?;
        let about = file.metadata().map_err(|source| EngineError::io(path, source))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let header = read_header(&mut reader, about.len()).map_err(|reason| EngineError::bad_file(path, reason))?;
        Ok(Self { path: path.to_path_buf(), header, file: Mutex::new(reader.into_inner()) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error about this file.
    pub fn bad(&self, reason: impl Into<String>) -> EngineError {
        EngineError::bad_file(&self.path, reason)
    }

    pub fn metadata(&self, key: &str) -> Option<&MetadataValue> {
        self.header.metadata.get(key)
    }

    /// A whole number of any width that is not negative.
    pub fn metadata_u32(&self, key: &str) -> Option<u32> {
        match self.metadata(key)? {
            MetadataValue::Integer(value) => u32::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A finite number; whole numbers count.
    pub fn metadata_f32(&self, key: &str) -> Option<f32> {
        match self.metadata(key)? {
            MetadataValue::Float(value) => Some(*value as f32).filter(|value| value.is_finite()),
            MetadataValue::Integer(value) => Some(*value as f32),
            _ => None,
        }
    }

    pub fn metadata_bool(&self, key: &str) -> Option<bool> {
        match self.metadata(key)? {
            MetadataValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn metadata_str(&self, key: &str) -> Option<&str> {
        match self.metadata(key)? {
            MetadataValue::String(value) => Some(value),
            _ => None,
        }
    }

    pub fn metadata_strings(&self, key: &str) -> Option<&[String]> {
        match self.metadata(key)? {
            MetadataValue::Strings(values) => Some(values),
            _ => None,
        }
    }

    pub fn metadata_integers(&self, key: &str) -> Option<&[i64]> {
        match self.metadata(key)? {
            MetadataValue::Integers(values) => Some(values),
            _ => None,
        }
    }

    /// As [`Self::metadata_u32`], for what a file must have.
    pub fn require_u32(&self, key: &str) -> Result<u32, EngineError> {
        self.metadata_u32(key).ok_or_else(|| self.bad(format!("lacks the number {key}")))
    }

    /// As [`Self::metadata_f32`], for what a file must have.
    pub fn require_f32(&self, key: &str) -> Result<f32, EngineError> {
        self.metadata_f32(key).ok_or_else(|| self.bad(format!("lacks the number {key}")))
    }

    /// As [`Self::metadata_str`], for what a file must have.
    pub fn require_str(&self, key: &str) -> Result<&str, EngineError> {
        self.metadata_str(key).ok_or_else(|| self.bad(format!("lacks the text {key}")))
    }

    /// Names of all tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// Row-major, slowest dimension first: `[out, in]` for a linear layer.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// How a tensor is stored.
    pub fn dtype(&self, name: &str) -> Option<GgmlDType> {
        self.header.tensors.get(name).map(|entry| entry.dtype)
    }

    /// Values of all tensors together.
    pub fn parameters(&self) -> u64 {
        self.header.tensors.values().map(|entry| entry.elements() as u64).sum()
    }

    /// Checks that a tensor is there with this shape, then reads it as f32, row-major.
    pub fn tensor_of_shape(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EngineError> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            return Err(self.bad(format!("tensor \"{name}\" is {:?}; {shape:?} was expected", entry.shape)));
        }
        self.tensor_f32(name)
    }

    /// Reads one tensor as f32, row-major.
    pub fn tensor_f32(&self, name: &str) -> Result<Vec<f32>, EngineError> {
        let entry = self.entry(name)?;
        let blocks = self.read_blocks(entry)?;
        let mut values = vec![0f32; entry.elements()];
        dequantize(entry.dtype, blocks.as_slice(), &mut values)?;
        if values.par_iter().any(|value| !value.is_finite()) {
            return Err(self.bad(format!("tensor \"{name}\" holds values that are no finite numbers")));
        }
        Ok(values)
    }

    /// Reads one tensor as it is stored, on the CPU.
    pub fn quantized(&self, name: &str) -> Result<QTensor, EngineError> {
        let entry = self.entry(name)?;
        let blocks = self.read_blocks(entry)?;
        Ok(ggml_file::qtensor_from_ggml(entry.dtype, blocks.as_slice(), entry.shape.clone(), &Device::Cpu)?)
    }

    fn entry(&self, name: &str) -> Result<&TensorEntry, EngineError> {
        self.header.tensors.get(name).ok_or_else(|| self.bad(format!("lacks the tensor \"{name}\"")))
    }

    fn read_blocks(&self, entry: &TensorEntry) -> Result<AlignedBytes, EngineError> {
        // The header's check has held the size against the length of the file.
        let mut blocks = AlignedBytes::zeroed(entry.size as usize);
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.seek(SeekFrom::Start(entry.offset))
            .and_then(|_| file.read_exact(blocks.as_mut_slice()))
            .map_err(|source| EngineError::io(&self.path, source))?;
        Ok(blocks)
    }
}

/// Bytes that start at a multiple of 16, as candle's block types need when they are laid over bytes.
struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBytes {
    fn zeroed(length: usize) -> Self {
        let bytes = vec![0u8; length + 16];
        let start = bytes.as_ptr().align_offset(16);
        Self { bytes, start, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

/// Stored blocks to f32. `blocks` is aligned and holds exactly `values.len()` values.
fn dequantize(dtype: GgmlDType, blocks: &[u8], values: &mut [f32]) -> Result<(), EngineError> {
    // A piece is a multiple of the block of 256 values and, in bytes, of 16, so that each piece is aligned again.
    let piece = VALUES_PER_PIECE;
    let piece_bytes = piece / dtype.block_size() * dtype.type_size();
    values.par_chunks_mut(piece).zip(blocks.par_chunks(piece_bytes)).try_for_each(|(values, blocks)| {
        match dtype {
            GgmlDType::F32 => {
                for (value, bytes) in values.iter_mut().zip(blocks.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            GgmlDType::F16 => {
                for (value, bytes) in values.iter_mut().zip(blocks.as_chunks::<2>().0) {
                    *value = f16::from_le_bytes(*bytes).to_f32();
                }
            }
            GgmlDType::BF16 => {
                for (value, bytes) in values.iter_mut().zip(blocks.as_chunks::<2>().0) {
                    *value = bf16::from_le_bytes(*bytes).to_f32();
                }
            }
            quantized => match quantized.from_data(Cow::Borrowed(blocks)).dequantize(values.len())? {
                CpuStorage::F32(piece) => values.copy_from_slice(&piece),
                _ => return Err(EngineError::invalid(format!("{quantized:?} blocks do not become f32"))),
            },
        }
        Ok(())
    })
}

/// Puts the rows of a q or k projection back into the order of the original Llama.
///
/// GGUF files of Llama models hold these rows for RoPE on neighbouring pairs: the converter of llama.cpp does
/// `w.reshape(heads, 2, head_dim / 2, in).swapaxes(1, 2)` (`LlamaModel.permute` in convert_hf_to_gguf.py). So row
/// `2 j + k` of a head in the file is row `k * head_dim / 2 + j` of the original, where RoPE turns `j` together with
/// `j + head_dim / 2`. With the original order an adapter fits PEFT's names and layout.
///
/// `rows` is `[heads * head_dim, in_features]`, row-major; for k, `heads` is the number of key-value heads.
pub fn unpermute_rope(rows: &mut [f32], heads: usize, head_dim: usize, in_features: usize) {
    debug_assert_eq!(rows.len(), heads * head_dim * in_features);
    let half = head_dim / 2;
    let mut stored = vec![0f32; head_dim * in_features];
    for head in rows.chunks_exact_mut(head_dim * in_features) {
        stored.copy_from_slice(head);
        for j in 0..half {
            for k in 0..2 {
                let (from, to) = (2 * j + k, k * half + j);
                head[to * in_features..][..in_features].copy_from_slice(&stored[from * in_features..][..in_features]);
            }
        }
    }
}
