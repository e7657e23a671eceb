//! The header of a GGUF file: metadata and the directory of tensors, read with limits.
//!
//! Layout (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>), all numbers little-endian:
//! magic `GGUF`, version u32, tensor count u64, metadata count u64, then the metadata (key string, type u32, value),
//! then one entry per tensor (name string, number of dimensions u32, dimensions u64 with the fastest first, type u32,
//! offset u64 from the start of the data), padding to the alignment, data. A string is its length as u64 and its bytes.
//!
//! Files come from strangers: every count and length is checked against what is left of the file before anything is
//! allocated for it, so that a broken or hostile header costs an error, never memory or a panic.

use candle_core::quantized::GgmlDType;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

/// Longest header that is read, in bytes. That of Llama 3, with 128,256 tokens and 280,147 merges, takes 8 MB.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// Entries of all arrays together. In memory an entry takes up to 24 bytes where it may take a single one in the file.
const MAX_ARRAY_ENTRIES: u64 = 4 << 20;
/// Longest single string, in bytes; the longest in practice is a chat template of some kilobytes.
const MAX_STRING_BYTES: u64 = 1 << 20;
const MAX_TENSORS: u64 = 65_536;
const MAX_METADATA: u64 = 65_536;
/// ggml's own limit on a tensor's dimensions.
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. Whole numbers of all widths are widened; arrays hold one type and are not nested.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataValue {
    Integer(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Bools(Vec<bool>),
    Strings(Vec<String>),
}

/// Where a tensor stands in the file and how it is stored.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    /// Row-major, slowest dimension first: `[out, in]` for a linear layer.
    pub shape: Vec<usize>,
    pub dtype: GgmlDType,
    /// From the start of the file, in bytes.
    pub offset: u64,
    /// Length of the stored blocks, in bytes.
    pub size: u64,
}

impl TensorEntry {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All that stands before the tensors' data.
pub struct Header {
    pub metadata: HashMap<String, MetadataValue>,
    pub tensors: BTreeMap<String, TensorEntry>,
}

/// Reads and checks a header. `file_size` is the length of the whole file in bytes.
///
/// # Errors
/// The reason in words, without the file's name.
pub fn read_header(reader: &mut impl Read, file_size: u64) -> Result<Header, String> {
    let mut cursor =
        Cursor { reader, at: 0, end: file_size.min(MAX_HEADER_BYTES), file_size, entries_left: MAX_ARRAY_ENTRIES };
    if cursor.bytes(4, "the magic number")? != b"GGUF" {
        return Err("is no GGUF file (it does not start with the letters GGUF)".to_string());
    }
    let version = cursor.u32()?;
    if version.swap_bytes() <= 3 && version > 3 {
        return Err("is a big-endian GGUF file; only little-endian ones can be read".to_string());
    }
    if version != 2 && version != 3 {
        return Err(format!("has GGUF version {version}; versions 2 and 3 can be read"));
    }
    let tensor_count = cursor.u64()?;
    let metadata_count = cursor.u64()?;
    if tensor_count > MAX_TENSORS || metadata_count > MAX_METADATA {
        return Err(format!(
            "says that it holds {tensor_count} tensors and {metadata_count} metadata entries; \
             at most {MAX_TENSORS} and {MAX_METADATA} are accepted"
        ));
    }

    let mut metadata = HashMap::new();
    for _ in 0..metadata_count {
        let key = cursor.string("a metadata key")?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind, &key)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("has the metadata key {} twice", shown(&key)));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(MetadataValue::Integer(alignment @ 8..=65_536)) if alignment.count_ones() == 1 => *alignment as u64,
        Some(MetadataValue::Integer(other)) => {
            return Err(format!("has the alignment {other} (general.alignment), which is no power of two from 8 on"));
        }
        Some(_) => return Err("has an alignment (general.alignment) that is no number".to_string()),
    };

    let mut entries = Vec::new();
    for _ in 0..tensor_count {
        entries.push(read_tensor_entry(&mut cursor)?);
    }
    let data_start = cursor.at.next_multiple_of(alignment);
    let tensors = place_tensors(entries, data_start, alignment, file_size)?;
    Ok(Header { metadata, tensors })
}

/// A tensor's entry with its offset still counted from the start of the data.
fn read_tensor_entry(cursor: &mut Cursor<impl Read>) -> Result<(String, TensorEntry), String> {
    let name = cursor.string("a tensor's name")?;
    let tensor = shown(&name);
    let dimensions = cursor.u32()?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(format!("tensor {tensor} has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible"));
    }
    let mut shape = Vec::new();
    let mut elements = 1u64;
    for _ in 0..dimensions {
        let length = cursor.u64()?;
        elements = match elements.checked_mul(length) {
            Some(elements @ 1..) if usize::try_from(elements).is_ok() => elements,
            _ => return Err(format!("tensor {tensor} has an impossible dimension of {length}")),
        };
        shape.push(length as usize);
    }
    let kind = cursor.u32()?;
    let dtype = tensor_type(kind).map_err(|kind| {
        format!(
            "tensor {tensor} is stored as {kind}, which cannot be read; \
             F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K can"
        )
    })?;
    let (block, block_bytes) = (dtype.block_size(), dtype.type_size() as u64);
    if !shape[0].is_multiple_of(block) {
        return Err(format!("tensor {tensor} has rows of {} values, no multiple of its block of {block}", shape[0]));
    }
    let Some(size) = (elements / block as u64).checked_mul(block_bytes) else {
        return Err(format!("tensor {tensor} is impossibly large"));
    };
    let offset = cursor.u64()?;
    // GGUF names the fastest dimension first; everything else here names it last.
    shape.reverse();
    Ok((name, TensorEntry { shape, dtype, offset, size }))
}

/// Turns offsets into positions in the file; every tensor must lie inside it, aligned, apart from the others.
fn place_tensors(
    entries: Vec<(String, TensorEntry)>,
    data_start: u64,
    alignment: u64,
    file_size: u64,
) -> Result<BTreeMap<String, TensorEntry>, String> {
    let mut tensors = BTreeMap::new();
    for (name, mut entry) in entries {
        let tensor = shown(&name);
        if !entry.offset.is_multiple_of(alignment) {
            return Err(format!("tensor {tensor} starts at {}, no multiple of {alignment}", entry.offset));
        }
        let end = entry.offset.checked_add(data_start).and_then(|start| start.checked_add(entry.size));
        match end {
            // An offset counts from the start of the data: no tensor can lie within the header.
            Some(end) if end <= file_size => entry.offset += data_start,
            _ => {
                return Err(format!(
                    "tensor {tensor} ({} bytes at {}) reaches beyond the end of the file ({file_size} bytes): \
                     the file is cut off or damaged",
                    entry.size, entry.offset
                ));
            }
        }
        if tensors.insert(name.clone(), entry).is_some() {
            return Err(format!("has two tensors called {tensor}"));
        }
    }
    let mut places: Vec<(&String, &TensorEntry)> = tensors.iter().collect();
    places.sort_by_key(|(_, entry)| entry.offset);
    for pair in places.windows(2) {
        let ((first, before), (second, after)) = (pair[0], pair[1]);
        if before.offset + before.size > after.offset {
            return Err(format!("tensors {} and {} overlap", shown(first), shown(second)));
        }
    }
    Ok(tensors)
}

/// ggml's type numbers (`enum ggml_type` in ggml.h); the name of those that cannot be read.
fn tensor_type(kind: u32) -> Result<GgmlDType, String> {
    Ok(match kind {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        16 => return Err("IQ2_XXS".to_string()),
        17 => return Err("IQ2_XS".to_string()),
        18 => return Err("IQ3_XXS".to_string()),
        19 => return Err("IQ1_S".to_string()),
        20 => return Err("IQ4_NL".to_string()),
        21 => return Err("IQ3_S".to_string()),
        22 => return Err("IQ2_S".to_string()),
        23 => return Err("IQ4_XS".to_string()),
        29 => return Err("IQ1_M".to_string()),
        39 => return Err("MXFP4".to_string()),
        other => return Err(format!("type number {other}")),
    })
}

/// A name from the file as it may stand in a message: quoted, escaped and not endless.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    format!("{short:?}{}", if short.len() < name.len() { "..." } else { "" })
}

/// Reads forward and never beyond `end`.
struct Cursor<'r, R> {
    reader: &'r mut R,
    at: u64,
    end: u64,
    file_size: u64,
    /// Of [`MAX_ARRAY_ENTRIES`].
    entries_left: u64,
}

impl<R: Read> Cursor<'_, R> {
    /// Refuses what is longer than the rest, before it is allocated.
    fn claim(&mut self, length: u64, what: &str) -> Result<usize, String> {
        if length <= self.end - self.at {
            self.at += length;
            return Ok(length as usize);
        }
        if self.end < self.file_size {
            return Err(format!("has a header longer than {} MB", MAX_HEADER_BYTES >> 20));
        }
        Err(format!("ends in the middle of its header: {what} should take {length} bytes at {}", self.at))
    }

    fn bytes(&mut self, length: u64, what: &str) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.claim(length, what)?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.claim(N as u64, "a number")?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.reader.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "has become shorter while it was read".to_string(),
            _ => format!("cannot be read: {error}"),
        })
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn string(&mut self, what: &str) -> Result<String, String> {
        let length = self.u64()?;
        if length > MAX_STRING_BYTES {
            return Err(format!("{what} is {length} bytes long; at most {MAX_STRING_BYTES} are accepted"));
        }
        let bytes = self.bytes(length, what)?;
        String::from_utf8(bytes).map_err(|_| format!("{what} is no UTF-8 text"))
    }

    fn integer(&mut self, kind: u32) -> Result<i64, String> {
        Ok(match kind {
            0 => i64::from(self.fixed::<1>()?[0]),
            1 => i64::from(i8::from_le_bytes(self.fixed()?)),
            2 => i64::from(u16::from_le_bytes(self.fixed()?)),
            3 => i64::from(i16::from_le_bytes(self.fixed()?)),
            4 => i64::from(self.u32()?),
            5 => i64::from(i32::from_le_bytes(self.fixed()?)),
            10 => i64::try_from(self.u64()?).unwrap_or(i64::MAX),
            _ => i64::from_le_bytes(self.fixed()?),
        })
    }

    fn bool(&mut self) -> Result<bool, String> {
        Ok(self.fixed::<1>()?[0] != 0)
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<MetadataValue, String> {
        Ok(match kind {
            0..=5 | 10 | 11 => MetadataValue::Integer(self.integer(kind)?),
            6 => MetadataValue::Float(f64::from(f32::from_le_bytes(self.fixed()?))),
            12 => MetadataValue::Float(f64::from_le_bytes(self.fixed()?)),
            7 => MetadataValue::Bool(self.bool()?),
            8 => MetadataValue::String(self.string(&format!("metadata {}", shown(key)))?),
            9 => self.array(key)?,
            other => return Err(format!("metadata {} has the unknown type {other}", shown(key))),
        })
    }

    fn array(&mut self, key: &str) -> Result<MetadataValue, String> {
        let kind = self.u32()?;
        let length = self.u64()?;
        let element_bytes = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            // Of a string, at least its length stands in the file.
            8 | 10..=12 => 8,
            9 => return Err(format!("metadata {} holds lists within lists", shown(key))),
            other => return Err(format!("metadata {} holds the unknown type {other}", shown(key))),
        };
        if length.checked_mul(element_bytes).is_none_or(|bytes| bytes > self.end - self.at) {
            return Err(format!("metadata {} says it has {length} entries, more than the file can hold", shown(key)));
        }
        let Some(left) = self.entries_left.checked_sub(length) else {
            let key = shown(key);
            return Err(format!("holds more than {MAX_ARRAY_ENTRIES} entries in lists, {length} of them in {key}"));
        };
        self.entries_left = left;
        let range = 0..length;
        Ok(match kind {
            6 => MetadataValue::Floats(range.map(|_| self.fixed().map(f32::from_le_bytes)).collect::<Result<_, _>>()?),
            12 => MetadataValue::Floats(
                range.map(|_| self.fixed().map(|bytes| f64::from_le_bytes(bytes) as f32)).collect::<Result<_, _>>()?,
            ),
            7 => MetadataValue::Bools(range.map(|_| self.bool()).collect::<Result<_, _>>()?),
            8 => {
                let what = format!("an entry of metadata {}", shown(key));
                MetadataValue::Strings(range.map(|_| self.string(&what)).collect::<Result<_, _>>()?)
            }
            _ => MetadataValue::Integers(range.map(|_| self.integer(kind)).collect::<Result<_, _>>()?),
        })
    }
}
