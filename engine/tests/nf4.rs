//! NF4 against vectors and checkpoints that bitsandbytes made.

mod common;

use common::beside;
use engine::weights::nf4::{Absmax, LEVELS, Nf4};
use engine::weights::safetensors::SafetensorsFile;
use half::{bf16, f16};

/// Row 3 of the vectors holds values exactly between two levels: there either code is right.
const TIES: std::ops::Range<usize> = 3 * 512..4 * 512;

fn code(codes: &[u8], index: usize) -> u8 {
    if index.is_multiple_of(2) { codes[index / 2] >> 4 } else { codes[index / 2] & 15 }
}

#[test]
fn codes_scales_and_values_are_those_of_bitsandbytes() {
    let Some(path) = beside("shared/fixtures/nf4_vectors.safetensors") else { return };
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.tensor_f32("nf4_code").unwrap(), LEVELS);
    let weights = file.tensor_f32("w").unwrap();
    type Round = fn(f32) -> f32;
    let sources: [(&str, Round); 3] = [
        ("f32", |value| value),
        ("bf16", |value| bf16::from_f32(value).to_f32()),
        ("f16", |value| f16::from_f32(value).to_f32()),
    ];
    for (source, round) in sources {
        let weights: Vec<f32> = weights.iter().copied().map(round).collect();
        for double in [false, true] {
            let name = |part: &str| format!("{source}.{}.{part}", if double { "dq" } else { "sq" });
            let ours = Nf4::quantize(&weights, 256, 512, double);
            let packed = file.tensor_u8(&name("packed")).unwrap();
            for index in 0..weights.len() {
                let (ours, theirs) = (code(&ours.codes, index), code(&packed, index));
                let allowed = if TIES.contains(&index) { 1 } else { 0 };
                assert!(ours.abs_diff(theirs) <= allowed, "{source} {index}: {ours} {theirs}");
            }
            let theirs = if double {
                Absmax::Quantized {
                    codes: file.tensor_u8(&name("absmax")).unwrap(),
                    nested: file.tensor_f32(&name("nested_absmax")).unwrap(),
                    offset: file.tensor_f32(&name("nested_offset")).unwrap()[0],
                }
            } else {
                Absmax::Plain(file.tensor_f32(&name("absmax")).unwrap())
            };
            assert_eq!(ours.absmax, theirs, "{}", name("absmax"));
            if double {
                let map = file.tensor_f32(&name("nested_code")).unwrap();
                let one_of_each = Absmax::Quantized { codes: (0..=255).collect(), nested: vec![1.0], offset: 0.0 };
                assert!((0..256).all(|code| one_of_each.get(code) == map[code]));
            }
            // Read from their codes, since ties may differ.
            let theirs = Nf4 { codes: packed, absmax: theirs, rows: 256, cols: 512 };
            let values: Vec<f32> = theirs.dequantize().into_iter().map(round).collect();
            assert_eq!(values, file.tensor_f32(&name("dequant")).unwrap(), "{}", name("dequant"));
        }
    }
}

#[test]
fn checkpoints_are_those_of_bitsandbytes() {
    for (folder, double) in [("tiny-llama-nf4", false), ("tiny-llama-nf4-dq", true)] {
        let Some(path) = beside(&format!("shared/fixtures/{folder}")) else { return };
        let theirs = SafetensorsFile::open(&path.join("model.safetensors")).unwrap();
        let base = SafetensorsFile::open(&beside("shared/fixtures/tiny-llama/model.safetensors").unwrap()).unwrap();
        let mut compared = 0;
        for name in base.names() {
            if !name.ends_with("proj.weight") {
                continue;
            }
            let shape = base.shape(&name).unwrap();
            let ours = Nf4::quantize(&base.tensor_f32(&name).unwrap(), shape[0], shape[1], double);
            assert_eq!(ours.codes, theirs.tensor_u8(&name).unwrap(), "{name}");
            match ours.absmax {
                Absmax::Plain(absmax) => {
                    assert_eq!(absmax, theirs.tensor_f32(&format!("{name}.absmax")).unwrap(), "{name}");
                }
                Absmax::Quantized { codes, nested, .. } => {
                    assert_eq!(codes, theirs.tensor_u8(&format!("{name}.absmax")).unwrap(), "{name}");
                    assert_eq!(nested, theirs.tensor_f32(&format!("{name}.nested_absmax")).unwrap(), "{name}");
                }
            }
            compared += 1;
        }
        assert_eq!(compared, 14);
    }
}

#[test]
fn odd_lengths_zeros_and_levels_read_back() {
    for (rows, cols) in [(1, 1), (1, 63), (1, 65), (3, 43), (5, 64), (300, 129), (0, 5)] {
        for double in [false, true] {
            let values: Vec<f32> = (0..rows * cols).map(|index| ((index * 37 % 101) as f32 - 50.0) / 17.0).collect();
            let quantized = Nf4::quantize(&values, rows, cols, double);
            let back = quantized.dequantize();
            for (index, (value, back)) in values.iter().zip(&back).enumerate() {
                // Half the widest gap between levels, times the scale; some more for a scale in 8 bits.
                let bound = quantized.absmax.get(index / 64) * 0.16 + if double { 0.05 } else { 0.0 };
                assert!((value - back).abs() <= bound, "{rows} x {cols} at {index}: {value} {back}");
            }
        }
    }
    assert_eq!(Nf4::quantize(&[0.0; 130], 2, 65, false).dequantize(), [0.0; 130]);
    // What is on a level stays there: quantising twice changes nothing.
    let levels: Vec<f32> = LEVELS.iter().cycle().take(640).map(|level| level * 0.37).collect();
    assert_eq!(Nf4::quantize(&levels, 10, 64, false).dequantize(), levels);
}

#[test]
fn four_and_an_eighth_bits_a_value() {
    let values = vec![0.5f32; 1 << 16];
    assert_eq!(Nf4::quantize(&values, 256, 256, false).size_bytes() * 8, (1 << 16) * 9 / 2);
    assert_eq!(Nf4::quantize(&values, 256, 256, true).size_bytes(), (1 << 15) + 1024 + 16 + 4);
}
