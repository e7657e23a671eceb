//! Naming, choosing, describing and measuring the device.

use crate::error::EngineError;
use crate::kernels::{Accumulate, empty, gemm};
use candle_core::{DType, Tensor};
use domain::model::DeviceInfo;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Instant;

/// What a model computes on. In words: `cpu`, `cuda:0`, `cuda:0,1`; `cuda` alone is the first card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    Cpu,
    /// The numbers of one card or more, none of them twice.
    Cuda(Vec<usize>),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(cards) => {
                let numbers: Vec<String> = cards.iter().map(ToString::to_string).collect();
                write!(formatter, "cuda:{}", numbers.join(","))
            }
        }
    }
}

impl FromStr for Device {
    type Err = EngineError;

    fn from_str(words: &str) -> Result<Self, EngineError> {
        let numbers = match words {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda(vec![0])),
            _ => words.strip_prefix("cuda:"),
        };
        let unknown =
            || EngineError::invalid(format!("\"{words}\" names no device. Known are: cpu, cuda, cuda:1 and cuda:0,1"));
        let mut cards = Vec::new();
        for number in numbers.ok_or_else(unknown)?.split(',') {
            // `parse` alone would take "+1", too.
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            let card: usize = number.parse().ok().filter(|_| is_number).ok_or_else(unknown)?;
            if cards.contains(&card) {
                return Err(EngineError::invalid(format!("\"{words}\" names card {card} twice")));
            }
            cards.push(card);
        }
        Ok(Self::Cuda(cards))
    }
}

/// A device that can be computed on, with what is to be said about the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub device: Device,
    /// Why no GPU is used, where one would have been.
    pub note: Option<String>,
}

/// The device that is wanted; without a wish the first usable card, else the CPU.
///
/// # Errors
/// The wanted device cannot be had.
pub fn choose(wanted: Option<&Device>) -> Result<Chosen, EngineError> {
    choose_among(wanted, cards)
}

fn choose_among(
    wanted: Option<&Device>,
    cards: impl FnOnce() -> Result<Vec<DeviceInfo>, String>,
) -> Result<Chosen, EngineError> {
    match wanted {
        None => automatic(cards()),
        // No card is looked for: a broken driver must not disturb those who want none.
        Some(Device::Cpu) => Ok(Chosen { device: Device::Cpu, note: None }),
        Some(Device::Cuda(numbers)) => {
            let there = cards().map_err(|reason| EngineError::invalid(format!("{reason} {WAY_OUT}")))?;
            for &number in numbers {
                let id = Device::Cuda(vec![number]).to_string();
                if !there.iter().any(|card| card.id == id) {
                    let ids: Vec<&str> = there.iter().map(|card| card.id.as_str()).collect();
                    return Err(EngineError::invalid(format!("There is no {id} here, only: cpu {}", ids.join(" "))));
                }
            }
            Ok(Chosen { device: Device::Cuda(numbers.clone()), note: None })
        }
    }
}

/// A build that knows no GPU says nothing of them: nobody expects one from it.
fn automatic(cards: Result<Vec<DeviceInfo>, String>) -> Result<Chosen, EngineError> {
    let reason = match cards {
        Ok(cards) => match cards.first() {
            Some(card) => return Ok(Chosen { device: card.id.parse()?, note: None }),
            None => "There is no card.".to_string(),
        },
        Err(reason) => reason,
    };
    let note = cfg!(feature = "cuda").then(|| format!("No GPU is used, only the CPU. {reason}"));
    Ok(Chosen { device: Device::Cpu, note })
}

/// What to do instead of naming a card where none can be had.
const WAY_OUT: &str = if cfg!(feature = "cuda") {
    "Name another device, or leave --device out."
} else {
    "Build it with `make cuda`, or leave --device out."
};

/// Every device that a model can compute on here, the CPU first.
pub fn list() -> Vec<DeviceInfo> {
    let mut devices = vec![describe(&Device::Cpu)];
    devices.extend(cards().unwrap_or_default());
    devices
}

/// Why no card can be used, in a sentence; `None` where one can.
pub fn why_no_card() -> Option<String> {
    cards().err()
}

/// The usable cards by number, at least one of them, or why there is none, in a sentence.
#[cfg(feature = "cuda")]
fn cards() -> Result<Vec<DeviceInfo>, String> {
    crate::cuda::cards()
}

#[cfg(not(feature = "cuda"))]
fn cards() -> Result<Vec<DeviceInfo>, String> {
    Err("This build of ayar knows the CPU only.".to_string())
}

/// The device in words, with its memory; of several cards, the memory of all together.
pub fn describe(device: &Device) -> DeviceInfo {
    match device {
        Device::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let name = if cores == 1 { "CPU, 1 core".to_string() } else { format!("CPU, {cores} cores") };
            DeviceInfo { id: device.to_string(), name, memory_bytes: total_memory(), detail: None }
        }
        Device::Cuda(numbers) => describe_cards(device, numbers, &cards().unwrap_or_default()),
    }
}

fn describe_cards(device: &Device, numbers: &[usize], there: &[DeviceInfo]) -> DeviceInfo {
    let found = numbers.iter().map(|&number| {
        let id = Device::Cuda(vec![number]).to_string();
        let unknown = DeviceInfo { id: id.clone(), name: id.clone(), memory_bytes: None, detail: None };
        there.iter().find(|card| card.id == id).cloned().unwrap_or(unknown)
    });
    let found: Vec<DeviceInfo> = found.collect();
    let names: Vec<&str> = found.iter().map(|card| card.name.as_str()).collect();
    let alike = names.windows(2).all(|pair| pair[0] == pair[1]);
    let name = match names.as_slice() {
        [first, _, ..] if alike => format!("{} × {first}", names.len()),
        _ => names.join(" + "),
    };
    DeviceInfo {
        id: device.to_string(),
        name,
        memory_bytes: found.iter().map(|card| card.memory_bytes).sum(),
        detail: found.first().and_then(|card| card.detail.clone()),
    }
}

/// Linux says it in /proc/meminfo; elsewhere it is not known.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Billions of floating-point operations per second of an f32 product on the CPU, of the shape that training is made of
/// (768 x 384 x 2048), measured once per process: the limit that a step is held against.
pub fn matmul_gflops() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| measure().unwrap_or(10.0))
}

fn measure() -> Option<f64> {
    let (m, k, n) = (768, 384, 2048);
    let a = Tensor::ones((m, k), DType::F32, &candle_core::Device::Cpu).ok()?;
    let b = Tensor::ones((n, k), DType::F32, &candle_core::Device::Cpu).ok()?;
    let b = b.t().ok()?;
    let c = empty(m, n).ok()?;
    let product = || gemm(&c, &a, &b, 1.0, Accumulate::Replace).ok();
    // The first product starts the threads.
    product()?;
    let operations = 2.0 * (m * k * n) as f64;
    let mut best = 0f64;
    for _ in 0..10 {
        let began = Instant::now();
        product()?;
        best = best.max(operations / began.elapsed().as_secs_f64().max(1e-9) / 1e9);
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(number: usize, name: &str) -> DeviceInfo {
        DeviceInfo {
            id: format!("cuda:{number}"),
            name: name.to_string(),
            memory_bytes: Some(80 << 30),
            detail: Some("compute capability 9.0".to_string()),
        }
    }

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (words, device) in [
            ("cpu", Device::Cpu),
            ("cuda:0", Device::Cuda(vec![0])),
            ("cuda:1", Device::Cuda(vec![1])),
            ("cuda:2,0", Device::Cuda(vec![2, 0])),
        ] {
            assert_eq!(words.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), words);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(vec![0]));
        for words in ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:a", "cuda:1,", "cuda:+1", "cuda:-1", "cuda: 1"] {
            let error = words.parse::<Device>().unwrap_err().to_string();
            assert!(error.contains("names no device"), "{error}");
        }
        assert!("cuda:1,0,1".parse::<Device>().unwrap_err().to_string().contains("card 1 twice"));
    }

    #[test]
    fn the_first_usable_card_is_taken_and_a_named_one_must_be_there() {
        let cards = || Ok(vec![card(1, "A"), card(3, "A")]);
        let chosen = choose_among(None, cards).unwrap();
        assert_eq!(chosen, Chosen { device: Device::Cuda(vec![1]), note: None });
        assert_eq!(choose_among(Some(&Device::Cpu), cards).unwrap().device, Device::Cpu);
        let both = Device::Cuda(vec![3, 1]);
        assert_eq!(choose_among(Some(&both), cards).unwrap().device, both);
        let error = choose_among(Some(&Device::Cuda(vec![1, 0])), cards).unwrap_err().to_string();
        assert!(error.contains("no cuda:0 here") && error.contains("cuda:1 cuda:3"), "{error}");
    }

    #[test]
    fn without_a_card_the_cpu_is_taken_unless_one_was_named() {
        let none = || Err("The driver is too old.".to_string());
        let chosen = choose_among(None, none).unwrap();
        assert_eq!(chosen.device, Device::Cpu);
        assert_eq!(chosen.note.is_some(), cfg!(feature = "cuda"));
        assert!(chosen.note.is_none_or(|note| note.contains("too old")));
        let error = choose_among(Some(&Device::Cuda(vec![0])), none).unwrap_err().to_string();
        assert!(error.starts_with("The driver is too old. ") && error.contains("--device"), "{error}");
    }

    #[test]
    fn several_cards_are_described_as_one_device() {
        let there = [card(0, "A"), card(1, "A"), card(2, "B")];
        let of = |numbers: &[usize]| describe_cards(&Device::Cuda(numbers.to_vec()), numbers, &there);
        assert_eq!(of(&[1]), there[1]);
        let two = of(&[0, 1]);
        assert_eq!((two.id.as_str(), two.name.as_str(), two.memory_bytes), ("cuda:0,1", "2 × A", Some(160 << 30)));
        assert_eq!(of(&[0, 2]).name, "A + B");
        assert_eq!((of(&[7]).name.as_str(), of(&[0, 7]).memory_bytes), ("cuda:7", None));
    }
}
