//! Files from strangers: each is refused with its name and a reason, at no cost in memory or time.

mod common;

use domain::spec::{Quantization, TargetModule};
use engine::adapter::peft;
use engine::adapter::peft_config::PeftConfig;
use engine::classify::ClassifierFile;
use engine::weights::gguf::GgufFile;
use engine::weights::gguf_header::{self, MetadataValue};
use engine::weights::hf::HfConfig;
use engine::weights::safetensors::{self, SafetensorsFile};
use engine::weights::shards::Shards;
use std::io::Read;
use std::path::Path;

/// A GGUF file as it is put together: metadata entries, then tensors.
#[derive(Clone, Default)]
struct Gguf {
    metadata: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: Vec<u8>,
}

fn text(words: &str) -> Vec<u8> {
    [&(words.len() as u64).to_le_bytes()[..], words.as_bytes()].concat()
}

impl Gguf {
    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.metadata.push([&text(key)[..], &kind.to_le_bytes(), value].concat());
        self
    }

    /// Eight f32 values and more, `offset` bytes behind the start of the data.
    fn tensor(mut self, name: &str, length: u64, offset: u64) -> Self {
        let (dimensions, f32_kind) = (1u32.to_le_bytes(), 0u32.to_le_bytes());
        let parts = [&text(name)[..], &dimensions, &length.to_le_bytes(), &f32_kind, &offset.to_le_bytes()];
        self.tensors.push(parts.concat());
        self
    }

    fn data(mut self, bytes: usize) -> Self {
        self.data = vec![0; bytes];
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.metadata.len() as u64];
        let mut bytes =
            [&b"GGUF"[..], &3u32.to_le_bytes(), &counts[0].to_le_bytes(), &counts[1].to_le_bytes()].concat();
        bytes.extend(self.metadata.iter().chain(&self.tensors).flatten());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

fn array(kind: u32, length: u64, values: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), values].concat()
}

#[test]
fn gguf_headers_that_cannot_be() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("strange.gguf");
    let alignment = |value: i64| Gguf::default().entry("general.alignment", 11, &value.to_le_bytes());
    let (true_value, nested) = ([1u8], array(9, 1, &array(4, 0, &[])));
    let many = array(0, (4 << 20) + 1, &vec![0; (4 << 20) + 1]);
    let half = array(7, 2_100_000, &vec![0; 2_100_000]);
    for (gguf, reasons) in [
        (Gguf::default().tensor("a", 16, 0).tensor("b", 8, 32).data(96), ["\"a\"", "\"b\" overlap"]),
        (Gguf::default().tensor("a", 16, 0).tensor("b", 16, 0).data(96), ["overlap", ""]),
        (Gguf::default().tensor("a", 8, 0).tensor("a", 8, 32).data(64), ["two tensors", "\"a\""]),
        (Gguf::default().tensor("a", 8, 0u64.wrapping_sub(64)).data(64), ["\"a\"", "beyond the end"]),
        (Gguf::default().tensor("a", 8, 64).data(64), ["\"a\"", "beyond the end"]),
        (Gguf::default().tensor("a", u64::from(u32::MAX) + 1, 0).data(64), ["\"a\"", "beyond the end"]),
        (Gguf::default().tensor("a", u64::MAX, 0).data(64), ["\"a\"", "impossibl"]),
        (Gguf::default().tensor("a", u64::MAX / 4, 0).data(64), ["\"a\"", "beyond the end"]),
        (Gguf::default().entry("k", 7, &true_value).entry("k", 7, &true_value), ["\"k\"", "twice"]),
        (Gguf::default().entry("k", 9, &nested), ["\"k\"", "lists within lists"]),
        (Gguf::default().entry("k", 9, &array(1, 1 << 62, &[])), ["\"k\"", "more than the file"]),
        (Gguf::default().entry("k", 9, &array(12, 1 << 61, &[])), ["\"k\"", "more than the file"]),
        (Gguf::default().entry("k", 9, &many), ["\"k\"", "more than 4194304 entries"]),
        (Gguf::default().entry("k", 9, &half).entry("l", 9, &half), ["\"l\"", "more than 4194304 entries"]),
        (alignment(12), ["alignment 12", "power of two"]),
        (alignment(4), ["alignment 4", "power of two"]),
        (alignment(-8), ["alignment -8", "power of two"]),
        (alignment(i64::MIN), ["alignment", "power of two"]),
        (Gguf::default().entry("general.alignment", 8, &text(&"x".repeat(5000))), ["alignment", "no number"]),
    ] {
        std::fs::write(&path, gguf.bytes()).unwrap();
        let error = GgufFile::open(&path).err().expect(reasons[0]).to_string();
        for part in reasons.into_iter().chain(["strange.gguf"]) {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(error.len() < 400, "a message is to be read: {error}");
    }
    // Neighbours, the second of them before the first.
    std::fs::write(&path, Gguf::default().tensor("b", 8, 32).tensor("a", 8, 0).data(64).bytes()).unwrap();
    assert_eq!(GgufFile::open(&path).unwrap().tensor_f32("b").unwrap(), [0.0; 8]);
}

#[test]
fn numbers_too_large_are_not_taken_for_others() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("numbers.gguf");
    let gguf = Gguf::default()
        .entry("whole", 10, &u64::MAX.to_le_bytes())
        .entry("below", 5, &(-1i32).to_le_bytes())
        .entry("real", 12, &1e300f64.to_le_bytes())
        .entry("none", 6, &f32::NAN.to_le_bytes());
    std::fs::write(&path, gguf.bytes()).unwrap();
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata("whole"), Some(&MetadataValue::Integer(i64::MAX)));
    for key in ["whole", "below", "real", "none"] {
        assert!(file.require_u32(key).unwrap_err().to_string().contains(key));
    }
    for key in ["real", "none"] {
        assert!(file.require_f32(key).unwrap_err().to_string().contains(key));
    }
}

/// Not taken for the end of a header nor for zeros.
#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let gguf = Gguf::default().entry("key", 8, &text("value")).tensor("a", 8, 0).data(32);
    let bytes = gguf.bytes();
    for kept in 0..24 + gguf.metadata[0].len() + gguf.tensors[0].len() {
        let error = gguf_header::read_header(&mut (&bytes[..kept]).take(1 << 20), bytes.len() as u64).err().unwrap();
        assert!(error.contains("become shorter"), "{kept}: {error}");
    }
    let json = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[0; 8]].concat();
    for kept in 0..8 + json.len() {
        let error = safetensors::read_header(&mut &bytes[..kept], bytes.len() as u64).err().unwrap();
        assert!(error.contains("become shorter"), "{kept}: {error}");
    }
    // Cut between the header and the reading of a tensor.
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("shrinking.safetensors");
    std::fs::write(&path, &bytes).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 1).unwrap();
    assert!(file.tensor_f32("a").unwrap_err().to_string().contains("shrinking.safetensors"));
}

#[test]
fn safetensors_headers_that_cannot_be() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("strange.safetensors");
    let entry = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let (a, b) = (entry("a", "[2]", 0, 8), entry("b", "[2]", 8, 16));
    let deep = format!(r#""a":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
    let long = "n".repeat(100_000);
    for (entries, data, reasons) in [
        (format!("{a},{a}"), 8, ["\"a\"", "twice"]),
        (format!("{},{a}", entry("a", "[0]", 0, 0)), 8, ["\"a\"", "twice"]),
        (format!(r#""__metadata__":{{}},{a},"__metadata__":{{}}"#), 8, ["__metadata__", "twice"]),
        (format!("{a},{}", entry("b", "[2]", 4, 12)), 12, ["\"b\"", "overlaps"]),
        (format!("{a},{}", entry("b", "[2]", 0, 8)), 8, ["at 0 overlaps", "to 8"]),
        (format!("{a},{}", entry("b", "[2]", 12, 20)), 20, ["\"b\"", "gap"]),
        (entry("a", "[2]", 8, 16), 16, ["\"a\"", "gap"]),
        (format!("{a},{}", entry("b", "[2]", 8, 0)), 16, ["\"b\"", "does not fit"]),
        (entry("a", "[3]", 0, 8), 8, ["\"a\"", "does not fit"]),
        (entry("a", "[9223372036854775808,2]", 0, 0), 0, ["\"a\"", "does not fit"]),
        (entry("a", "[4294967296,4294967296]", 0, 0), 0, ["\"a\"", "does not fit"]),
        (entry("a", "[-1]", 0, 8), 8, ["\"a\"", "-1"]),
        (entry("a", "[18446744073709551616]", 0, 8), 8, ["\"a\"", "header"]),
        (entry("a", "[1]", 0, u64::MAX), 8, ["\"a\"", "does not fit"]),
        (a.replace("F32", "F33"), 8, ["\"a\"", "F33"]),
        (a.replace("F32", "F4").replace("[2]", "[1]"), 8, ["\"a\"", "does not fit"]),
        (deep, 0, ["\"a\"", "header"]),
        (format!("{a},\"{long}\":7"), 8, ["nnn", "..."]),
        (format!("{a},{b}"), 15, ["should be", "cut off"]),
    ] {
        let json = format!("{{{entries}}}");
        let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat();
        std::fs::write(&path, bytes).unwrap();
        let error = SafetensorsFile::open(&path).err().expect(reasons[0]).to_string();
        for part in reasons.into_iter().chain(["strange.safetensors"]) {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(error.len() < 500, "a message is to be read: {error}");
    }
}

/// More JSON than any configuration has, without writing so much to the disk.
fn write_endless(path: &Path) {
    std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
}

#[test]
fn configurations_are_never_read_without_end() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let place = |name: &str| folder.join(name);
    for name in ["config.json", "adapter_config.json", ClassifierFile::NAME, "model.safetensors.index.json"] {
        write_endless(&place(name));
    }
    let refusals = [
        HfConfig::read(&place("config.json")).err().unwrap(),
        peft::read(folder).err().unwrap(),
        ClassifierFile::read(folder).err().unwrap(),
        Shards::open(folder).err().unwrap(),
    ];
    for error in refusals {
        assert!(error.to_string().contains(".json: is longer than"), "{error}");
    }
    write_endless(&place("endless.gguf"));
    assert!(GgufFile::open(&place("endless.gguf")).err().unwrap().to_string().contains("no GGUF file"));
    write_endless(&place("endless.safetensors"));
    assert!(SafetensorsFile::open(&place("endless.safetensors")).is_err());
    let length = (33u64 << 20).to_le_bytes();
    std::io::Write::write_all(
        &mut std::fs::File::options().write(true).open(place("endless.safetensors")).unwrap(),
        &length,
    )
    .unwrap();
    let error = SafetensorsFile::open(&place("endless.safetensors")).err().unwrap().to_string();
    assert!(error.contains("its header should take 34603008 bytes"), "{error}");
}

/// Opening a pipe waits for a writer that never comes.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_before_it_is_opened() {
    let temporary = tempfile::tempdir().unwrap();
    let pipe = temporary.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), temporary.path(), Path::new("/dev/zero")] {
        let refusals = [HfConfig::read(path).err(), GgufFile::open(path).err(), SafetensorsFile::open(path).err()]
            .map(Option::unwrap);
        for error in refusals {
            assert!(error.to_string().contains("is no file"), "{error}");
        }
    }
}

#[test]
fn nested_json_is_refused() {
    let deep = format!(r#"{{"peft_type": {}"#, "[".repeat(1_000_000));
    assert!(PeftConfig::parse(deep.as_bytes()).unwrap_err().contains("recursion limit"));
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("config.json");
    std::fs::write(&path, &deep).unwrap();
    assert!(HfConfig::read(&path).err().unwrap().to_string().contains("config.json"));
}

#[test]
fn a_configuration_with_absurd_numbers_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("config.json");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/base");
    let good: serde_json::Value = serde_json::from_slice(&std::fs::read(base.join("config.json")).unwrap()).unwrap();
    std::fs::copy(base.join("model.safetensors"), temporary.path().join("model.safetensors")).unwrap();
    std::fs::write(&path, good.to_string()).unwrap();
    assert!(Shards::open(temporary.path()).unwrap().config().is_ok());
    for (key, value) in [
        ("hidden_size", serde_json::json!(1u64 << 40)),
        ("hidden_size", serde_json::json!(-1)),
        ("hidden_size", serde_json::json!(1e30)),
        ("num_hidden_layers", serde_json::json!(u64::MAX)),
        ("num_attention_heads", serde_json::json!(0)),
        ("num_key_value_heads", serde_json::json!(0)),
        ("num_key_value_heads", serde_json::json!(3)),
        ("head_dim", serde_json::json!(7)),
        ("max_position_embeddings", serde_json::json!(1u64 << 50)),
        ("rms_norm_eps", serde_json::json!(-1.0)),
        ("vocab_size", serde_json::json!(0)),
    ] {
        let mut json = good.clone();
        json[key] = value.clone();
        std::fs::write(&path, json.to_string()).unwrap();
        let error = Shards::open(temporary.path()).unwrap().config().expect_err(key).to_string();
        assert!(error.contains("config.json"), "{key} = {value}: {error}");
    }
}

#[test]
fn a_pattern_with_more_entries_than_any_model_is_refused() {
    let entries: Vec<String> = (0..2000).map(|index| format!(r#""m{index}": 1"#)).collect();
    let json = format!(
        r#"{{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"], "rank_pattern": {{{}}}}}"#,
        entries.join(", ")
    );
    assert!(PeftConfig::parse(json.as_bytes()).unwrap_err().contains("more than 1024 entries"));
    let json = json.replace("rank_pattern", "ignored");
    let config = PeftConfig::parse(json.as_bytes()).unwrap();
    assert!(config.module(0, TargetModule::QProj).unwrap().is_some());
}

/// The embedded base with one byte of its head changed: an error or a model, and nothing in between.
#[test]
fn a_base_with_a_changed_byte_loads_or_is_refused() {
    let whole = std::fs::read(common::embedded_base()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("changed.gguf");
    let mut refused = 0;
    for at in (0..700).step_by(23) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = engine::BaseModel::load(&path, Quantization::Nf4, &engine::Device::Cpu) {
            assert!(error.to_string().contains("changed.gguf"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
}
