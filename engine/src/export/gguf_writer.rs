//! The beginning of a GGUF file: metadata and the directory of tensors, as bytes.
//!
//! The layout is told in [`crate::weights::gguf_header`], which reads what is written here. Version 3, little-endian,
//! tensors at multiples of 32.

use candle_core::quantized::GgmlDType;

/// Tensors begin at multiples of this from the start of the data: the default, which files need not name.
pub const ALIGNMENT: u64 = 32;

const VERSION: u32 = 3;

/// A metadata value of the kinds that are written.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    U32(u32),
    F32(f32),
    Bool(bool),
    String(String),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Strings(Vec<String>),
}

/// Keys and values in the order in which they are written.
pub type Metadata = Vec<(String, GgufValue)>;

/// A tensor in the directory.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    pub name: String,
    /// Slowest dimension first: `[out, in]` for a linear layer.
    pub shape: Vec<usize>,
    pub dtype: GgmlDType,
}

impl GgufTensor {
    /// Without padding.
    pub fn stored_bytes(&self) -> u64 {
        let elements: usize = self.shape.iter().product();
        (elements / self.dtype.block_size() * self.dtype.type_size()) as u64
    }
}

/// Everything before the first tensor, padding included. The tensors follow in order, each padded to [`ALIGNMENT`].
pub fn header(metadata: &Metadata, tensors: &[GgufTensor]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_string(&mut bytes, key);
        put_value(&mut bytes, value);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        put_string(&mut bytes, &tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        for dimension in tensor.shape.iter().rev() {
            bytes.extend((*dimension as u64).to_le_bytes());
        }
        bytes.extend(type_number(tensor.dtype).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset = (offset + tensor.stored_bytes()).next_multiple_of(ALIGNMENT);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
    bytes
}

/// Zeros between a tensor of so many bytes and the next one.
pub fn padding(stored_bytes: u64) -> usize {
    (stored_bytes.next_multiple_of(ALIGNMENT) - stored_bytes) as usize
}

fn put_string(bytes: &mut Vec<u8>, string: &str) {
    bytes.extend((string.len() as u64).to_le_bytes());
    bytes.extend(string.as_bytes());
}

/// The numbers are those of `enum gguf_type`.
fn put_value(bytes: &mut Vec<u8>, value: &GgufValue) {
    let mut kind = |number: u32| bytes.extend(number.to_le_bytes());
    match value {
        GgufValue::U32(value) => {
            kind(4);
            bytes.extend(value.to_le_bytes());
        }
        GgufValue::F32(value) => {
            kind(6);
            bytes.extend(value.to_le_bytes());
        }
        GgufValue::Bool(value) => {
            kind(7);
            bytes.push(u8::from(*value));
        }
        GgufValue::String(value) => {
            kind(8);
            put_string(bytes, value);
        }
        GgufValue::I32s(values) => {
            put_array(bytes, 5, values.len());
            values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        }
        GgufValue::F32s(values) => {
            put_array(bytes, 6, values.len());
            values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        }
        GgufValue::Strings(values) => {
            put_array(bytes, 8, values.len());
            values.iter().for_each(|value| put_string(bytes, value));
        }
    }
}

fn put_array(bytes: &mut Vec<u8>, kind: u32, length: usize) {
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend((length as u64).to_le_bytes());
}

/// ggml's type numbers (`enum ggml_type` in ggml.h).
fn type_number(dtype: GgmlDType) -> u32 {
    match dtype {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q4_0 => 2,
        GgmlDType::Q4_1 => 3,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q5_1 => 7,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q8_1 => 9,
        GgmlDType::Q2K => 10,
        GgmlDType::Q3K => 11,
        GgmlDType::Q4K => 12,
        GgmlDType::Q5K => 13,
        GgmlDType::Q6K => 14,
        GgmlDType::Q8K => 15,
        GgmlDType::BF16 => 30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::gguf_header::{MetadataValue, read_header};

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = vec![
            ("a.number".to_string(), GgufValue::U32(7)),
            ("a.fraction".to_string(), GgufValue::F32(0.5)),
            ("a.switch".to_string(), GgufValue::Bool(true)),
            ("a.word".to_string(), GgufValue::String("ışık".to_string())),
            ("numbers".to_string(), GgufValue::I32s(vec![-1, 2])),
            ("fractions".to_string(), GgufValue::F32s(vec![-1.5])),
            ("words".to_string(), GgufValue::Strings(vec![String::new(), "b".to_string()])),
        ];
        let tensor =
            |name: &str, shape: &[usize], dtype| GgufTensor { name: name.to_string(), shape: shape.to_vec(), dtype };
        let tensors = [
            tensor("a.weight", &[3, 32], GgmlDType::Q8_0),
            tensor("norm.weight", &[5], GgmlDType::F32),
            tensor("b.weight", &[2, 256], GgmlDType::Q4K),
        ];
        let header = header(&metadata, &tensors);
        let data: u64 =
            tensors.iter().map(|tensor| tensor.stored_bytes() + padding(tensor.stored_bytes()) as u64).sum();
        let read = read_header(&mut header.as_slice(), header.len() as u64 + data).unwrap();
        assert_eq!(read.metadata["a.number"], MetadataValue::Integer(7));
        assert_eq!(read.metadata["a.fraction"], MetadataValue::Float(0.5));
        assert_eq!(read.metadata["a.switch"], MetadataValue::Bool(true));
        assert_eq!(read.metadata["a.word"], MetadataValue::String("ışık".to_string()));
        assert_eq!(read.metadata["numbers"], MetadataValue::Integers(vec![-1, 2]));
        assert_eq!(read.metadata["fractions"], MetadataValue::Floats(vec![-1.5]));
        assert_eq!(read.metadata["words"], MetadataValue::Strings(vec![String::new(), "b".to_string()]));
        let mut expected = header.len() as u64;
        for tensor in &tensors {
            let entry = &read.tensors[&tensor.name];
            assert_eq!((entry.offset, entry.size, entry.dtype), (expected, tensor.stored_bytes(), tensor.dtype));
            assert_eq!(entry.shape, tensor.shape);
            expected += tensor.stored_bytes() + padding(tensor.stored_bytes()) as u64;
        }
    }
}
