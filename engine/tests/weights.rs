//! GGUF and safetensors files: every storage type, and files that are damaged or hostile.

mod common;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{Device, Tensor};
use common::embedded_base;
use engine::weights::gguf::{GgufFile, unpermute_rope};
use engine::weights::gguf_header::read_header;
use engine::weights::safetensors::{self, SafetensorsFile};
use std::collections::HashMap;

#[test]
fn the_embedded_base_is_read_whole() {
    let file = GgufFile::open(&embedded_base()).unwrap();
    assert_eq!(file.require_str("general.architecture").unwrap(), "llama");
    assert_eq!(file.require_u32("llama.embedding_length").unwrap(), 384);
    assert_eq!(file.require_f32("llama.rope.freq_base").unwrap(), 10_000.0);
    assert_eq!(file.metadata_bool("tokenizer.ggml.add_bos_token"), Some(true));
    assert!(file.require_u32("llama.rope.no_such").unwrap_err().to_string().contains("llama.rope.no_such"));
    assert_eq!(file.shape("blk.0.ffn_down.weight").unwrap(), [384, 1024]);
    assert_eq!(file.tensor_names().count(), 74);
    for name in file.tensor_names() {
        let values = file.tensor_f32(name).unwrap();
        assert_eq!(values.len(), file.shape(name).unwrap().iter().product::<usize>());
    }
    assert!(file.tensor_of_shape("blk.0.attn_k.weight", &[384, 128]).unwrap_err().to_string().contains("[128, 384]"));
    assert!(file.tensor_f32("blk.9.attn_k.weight").unwrap_err().to_string().contains("blk.9.attn_k.weight"));
}

#[test]
fn every_storage_type_is_read_as_candle_reads_it() {
    // More than one piece of the parallel dequantisation, and no multiple of it.
    let (rows, columns) = (77, 1024);
    let values: Vec<f32> =
        (0..rows * columns).map(|index| ((index * 7919 % 2003) as f32 / 1001.5 - 1.0) * 0.3).collect();
    let source = Tensor::from_slice(&values, (rows, columns), &Device::Cpu).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("types.gguf");
    let types = [
        (GgmlDType::F32, 0.0),
        (GgmlDType::F16, 2e-4),
        (GgmlDType::BF16, 2e-3),
        (GgmlDType::Q4_0, 0.05),
        (GgmlDType::Q4_1, 0.03),
        (GgmlDType::Q5_0, 0.03),
        (GgmlDType::Q5_1, 0.02),
        (GgmlDType::Q8_0, 0.002),
        (GgmlDType::Q2K, 0.2),
        (GgmlDType::Q3K, 0.1),
        (GgmlDType::Q4K, 0.04),
        (GgmlDType::Q5K, 0.03),
        (GgmlDType::Q6K, 0.02),
    ];
    let tensors: Vec<(String, QTensor)> =
        types.iter().map(|(dtype, _)| (format!("{dtype:?}"), QTensor::quantize(&source, *dtype).unwrap())).collect();
    let named: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &[], &named).unwrap();

    let file = GgufFile::open(&path).unwrap();
    for ((name, tensor), (dtype, tolerance)) in tensors.iter().zip(types) {
        let expected = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let read = file.tensor_f32(name).unwrap();
        assert_eq!(read, expected, "{name}");
        let worst = read.iter().zip(&values).map(|(read, value)| (read - value).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{name}: {worst}");
        assert_eq!(file.dtype(name), Some(dtype));
        let quantized = file.quantized(name).unwrap();
        assert_eq!((quantized.dtype(), quantized.shape().dims()), (dtype, &[rows, columns][..]));
        let again = quantized.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(again, expected);
    }
}

/// A GGUF header with one tensor, each part of which can be spoilt.
struct Forged {
    magic: [u8; 4],
    version: u32,
    tensors: u64,
    metadata: Vec<u8>,
    metadata_count: u64,
    name: Vec<u8>,
    dimensions: Vec<u64>,
    kind: u32,
    offset: u64,
    data: usize,
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensors: 1,
            metadata: Vec::new(),
            metadata_count: 0,
            name: b"weight".to_vec(),
            dimensions: vec![64, 2],
            kind: 8,
            offset: 0,
            data: 4 * 34,
        }
    }
}

impl Forged {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensors.to_le_bytes());
        bytes.extend(self.metadata_count.to_le_bytes());
        bytes.extend(&self.metadata);
        for _ in 0..self.tensors.min(2) {
            bytes.extend((self.name.len() as u64).to_le_bytes());
            bytes.extend(&self.name);
            bytes.extend((self.dimensions.len() as u32).to_le_bytes());
            self.dimensions.iter().for_each(|length| bytes.extend(length.to_le_bytes()));
            bytes.extend(self.kind.to_le_bytes());
            bytes.extend(self.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        bytes
    }

    fn entry(key: &str, kind: u32, value: &[u8]) -> Self {
        let mut metadata = (key.len() as u64).to_le_bytes().to_vec();
        metadata.extend(key.as_bytes());
        metadata.extend(kind.to_le_bytes());
        metadata.extend(value);
        Self { metadata, metadata_count: 1, ..Self::default() }
    }
}

#[test]
fn damaged_and_hostile_headers_are_refused_in_words() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("forged.gguf");
    let open = |forged: &Forged| {
        std::fs::write(&path, forged.bytes()).unwrap();
        GgufFile::open(&path)
    };
    assert_eq!(open(&Forged::default()).unwrap().tensor_f32("weight").unwrap(), [0.0; 128]);

    let array = |kind: u32, length: u64| [kind.to_le_bytes().as_slice(), &length.to_le_bytes()].concat();
    let refused = [
        (Forged { magic: *b"PK\x03\x04", ..Forged::default() }, "GGUF"),
        (Forged { version: 1, ..Forged::default() }, "version 1"),
        (Forged { version: 3u32.swap_bytes(), ..Forged::default() }, "big-endian"),
        (Forged { tensors: u64::MAX, ..Forged::default() }, "at most"),
        (Forged { metadata_count: 1 << 40, ..Forged::default() }, "at most"),
        (Forged { tensors: 2, ..Forged::default() }, "two tensors"),
        (Forged { data: 4 * 34 - 1, ..Forged::default() }, "cut off"),
        (Forged { offset: u64::MAX - 31, ..Forged::default() }, "weight"),
        (Forged { offset: 8, ..Forged::default() }, "multiple"),
        (Forged { dimensions: vec![], ..Forged::default() }, "0 dimensions"),
        (Forged { dimensions: vec![32; 5], ..Forged::default() }, "5 dimensions"),
        (Forged { dimensions: vec![32, 0], ..Forged::default() }, "dimension of 0"),
        (Forged { dimensions: vec![1 << 32, 1 << 32], ..Forged::default() }, "dimension"),
        (Forged { dimensions: vec![1 << 61], ..Forged::default() }, "weight"),
        (Forged { dimensions: vec![33, 2], ..Forged::default() }, "block"),
        (Forged { kind: 16, ..Forged::default() }, "IQ2_XXS"),
        (Forged { kind: 15, ..Forged::default() }, "type number 15"),
        (Forged { kind: u32::MAX, ..Forged::default() }, "type number"),
        (Forged { name: vec![0xff, 0xfe], ..Forged::default() }, "UTF-8"),
        (Forged::entry("k", 8, &u64::MAX.to_le_bytes()), "at most"),
        (Forged::entry("k", 8, &(1u64 << 19).to_le_bytes()), "ends in the middle"),
        (Forged::entry("k", 9, &array(4, u64::MAX)), "more than the file can hold"),
        (Forged::entry("k", 9, &array(8, 1 << 50)), "more than the file can hold"),
        (Forged::entry("k", 9, &array(9, 1)), "lists within lists"),
        (Forged::entry("k", 13, &[]), "unknown type 13"),
        (Forged::entry("general.alignment", 4, &0u32.to_le_bytes()), "alignment"),
        (Forged::entry("general.alignment", 4, &48u32.to_le_bytes()), "alignment"),
    ];
    for (forged, reason) in refused {
        let error = open(&forged).err().expect(reason).to_string();
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(error.contains("forged.gguf"), "{error}");
    }
    let not_a_number = Forged { kind: 0, dimensions: vec![1], data: 0, ..Forged::default() };
    let mut bytes = not_a_number.bytes();
    bytes.extend(f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = GgufFile::open(&path).unwrap().tensor_f32("weight").unwrap_err().to_string();
    assert!(error.contains("finite"), "{error}");

    std::fs::write(&path, b"").unwrap();
    assert!(GgufFile::open(&path).is_err());
    assert!(GgufFile::open(temporary.path()).is_err());
    assert!(GgufFile::open(&temporary.path().join("absent")).is_err());
}

#[test]
fn a_header_cut_or_changed_anywhere_is_an_error_or_another_header_but_no_panic() {
    let whole = std::fs::read(embedded_base()).unwrap();
    let header = &whole[..276_272];
    for cut in (0..header.len()).step_by(997) {
        assert!(read_header(&mut &header[..cut], cut as u64).is_err(), "cut at {cut}");
    }
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut changed = header.to_vec();
    for _ in 0..600 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Half of the changes go where metadata begins, or to the tensors' directory at the end.
        let place = (random >> 33) as usize;
        let at = match random >> 62 {
            0 => place % 900,
            1 => header.len() - 1 - place % 4000,
            _ => place % header.len(),
        };
        let before = changed[at];
        changed[at] = (random >> 20) as u8;
        let _ = read_header(&mut changed.as_slice(), whole.len() as u64);
        changed[at] = before;
    }
}

#[test]
fn rows_for_rope_return_to_their_places() {
    let (heads, head_dim, in_features) = (3, 8, 2);
    let original: Vec<f32> = (0..heads * head_dim * in_features).map(|index| index as f32).collect();
    // reshape(heads, 2, head_dim / 2, in).swapaxes(1, 2), as llama.cpp's converter does.
    let mut stored = Vec::new();
    for head in 0..heads {
        for j in 0..head_dim / 2 {
            for k in 0..2 {
                let row = head * head_dim + k * head_dim / 2 + j;
                stored.extend(&original[row * in_features..(row + 1) * in_features]);
            }
        }
    }
    assert_ne!(stored, original);
    unpermute_rope(&mut stored, heads, head_dim, in_features);
    assert_eq!(stored, original);
}

#[test]
fn safetensors_are_written_whole_and_read_back() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("a.safetensors");
    let (first, second) = ([1.0f32, -2.5, f32::MIN_POSITIVE], [0.0f32; 4]);
    let tensors = [("b".to_string(), vec![3], &first[..]), ("a".to_string(), vec![2, 2], &second[..])];
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::write(&path, &tensors, metadata.clone()).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.names(), ["a", "b"]);
    assert_eq!(file.metadata(), Some(&metadata));
    assert_eq!(file.tensor_f32("b").unwrap(), first);
    assert_eq!(file.tensor_of_shape("a", &[2, 2]).unwrap(), second);
    assert!(file.tensor_of_shape("a", &[4]).unwrap_err().to_string().contains("[2, 2]"));
    assert!(file.tensor_f32("c").unwrap_err().to_string().contains("\"c\""));
    assert!(file.tensor_u8("a").unwrap_err().to_string().contains("F32"));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    // A failed write leaves what was there.
    assert!(safetensors::write(&path, &[("a".to_string(), vec![5], &first[..])], HashMap::new()).is_err());
    assert_eq!(SafetensorsFile::open(&path).unwrap().names(), ["a", "b"]);
}

#[test]
fn damaged_safetensors_are_refused_in_words() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("bad.safetensors");
    let entry = |from: u64, to: u64| format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[{from},{to}]}}}}"#);
    let file = |length: u64, header: &str, data: usize| {
        [&length.to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    };
    let good = entry(0, 8);
    let length = good.len() as u64;
    let other = |header: String| file(header.len() as u64, &header, 8);
    for (bytes, reason) in [
        (vec![1, 2, 3], "too short"),
        (file(u64::MAX, &good, 8), "cut off"),
        (file(length + 1000, &good, 8), "cut off"),
        (file(length, &good, 7), "cut off"),
        (file(length, &good, 9), "damaged"),
        (other("{".to_string()), "header"),
        (other(entry(0, 4)), "header"),
        (other(entry(4, 12)), "header"),
        (other(entry(8, 0)), "header"),
        (other(good.replace("[2]", "[4611686018427387904,4]")), "header"),
        (other(good.replace("F32", "F99")), "header"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = SafetensorsFile::open(&path).err().expect(reason).to_string();
        assert!(error.contains(reason) && error.contains("bad.safetensors"), "{reason}: {error}");
    }
    std::fs::write(&path, file(length, &good, 8)).unwrap();
    assert_eq!(SafetensorsFile::open(&path).unwrap().tensor_f32("a").unwrap(), [0.0; 2]);
}
