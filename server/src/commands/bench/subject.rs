//! What is measured: a model of random weights in the shape of a known one, where it computes, and rows of tokens.

use crate::arguments::{DeviceArgument, Usage, require_file};
use crate::commands::bench::columns::rate;
use crate::progress::Progress;
use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use domain::spec::{Quantization, TrainSpec};
use engine::Device;
use engine::bench::{BenchRequest, BenchRows, Preset, random_network};
use engine::device::{self, Chosen};
use engine::model::config::LlamaConfig;
use engine::network::{Network, linear_weights};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Args, Clone, Debug)]
pub struct SubjectArguments {
    /// The model whose shape is measured. Its weights are random: speed does not depend on their values
    #[arg(long, value_name = "NAME", default_value = Preset::Llama3With8b.name(), value_parser = preset())]
    preset: Preset,
    /// LoRA rank
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    rank: u64,
    /// How the frozen weights are held: nf4, nf4_double_quant or as_stored
    #[arg(long, value_name = "WORD", default_value = "nf4", value_parser = quantization)]
    quantization: Quantization,
    #[command(flatten)]
    device: DeviceArgument,
    /// Weights stay in 4 bits on the GPU and are dequantised for every use, as on a card that holds no more
    #[arg(long)]
    on_the_fly: bool,
    /// No more of a GPU's memory is used, as on a smaller card
    #[arg(long, value_name = "N", value_parser = gibibytes)]
    memory_gib: Option<f64>,
    /// Safetensors file with the tokens of the rows to train on (tensors ids and offsets) instead of synthetic rows
    #[arg(long, value_name = "FILE", requires = "test_tokens")]
    tokens: Option<PathBuf>,
    /// The same of the rows to score
    #[arg(long, value_name = "FILE", requires = "tokens")]
    test_tokens: Option<PathBuf>,
    /// Take the first N rows of each part only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit_rows: Option<u32>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// clap lists the names in the help, and where it is given another one.
fn preset() -> impl TypedValueParser<Value = Preset> {
    PossibleValuesParser::new(Preset::ALL.map(Preset::name)).try_map(|name| {
        Preset::ALL.into_iter().find(|preset| preset.name() == name).ok_or("names no shape that is known")
    })
}

/// As the knob of a recipe.
pub fn quantization(words: &str) -> Result<Quantization, String> {
    let mut spec = TrainSpec::default();
    spec.set("quantization", words).map_err(|error| error.message)?;
    Ok(spec.quantization)
}

fn gibibytes(words: &str) -> Result<f64, &'static str> {
    let number = words.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or("must be a number of GiB above 0")
}

/// A model that is ready to be measured.
pub struct Subject {
    /// With one step of one row: the commands put their own in.
    pub request: BenchRequest,
    pub network: Network,
    pub rows: BenchRows,
    source: String,
    device: String,
    /// Drawing the random weights and bringing them to the device.
    pub making_seconds: f64,
}

impl SubjectArguments {
    /// Checks everything that can be checked before the model is made.
    pub fn prepare(&self, progress: &mut Progress) -> anyhow::Result<Subject> {
        let device = choose(&self.device)?;
        let request = BenchRequest {
            preset: self.preset,
            quantization: self.quantization,
            r: self.rank,
            rows_per_step: 1,
            steps: 1,
            on_the_fly: self.on_the_fly,
            memory_bytes: self.memory_gib.map(|number| (number * f64::from(1 << 30)) as usize),
            device,
        };
        check_on_cpu(&request)?;
        let (rows, source) = self.rows()?;
        progress.begin(&format!("making {}", self.preset.name()));
        let began = Instant::now();
        let network = random_network(&request)?;
        let device = device::describe(&request.device).name;
        Ok(Subject { request, network, rows, source, device, making_seconds: began.elapsed().as_secs_f64() })
    }

    fn rows(&self) -> anyhow::Result<(BenchRows, String)> {
        let vocabulary = self.preset.config().vocab_size;
        let (mut rows, source) = match (&self.tokens, &self.test_tokens) {
            (Some(train), Some(test)) => {
                require_file("--tokens", train)?;
                require_file("--test-tokens", test)?;
                let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (BenchRows::read(train, test, vocabulary)?, format!("{} and {}", name(train), name(test)))
            }
            _ => (BenchRows::synthetic(vocabulary), "synthetic".to_string()),
        };
        let limit = self.limit_rows.map_or(usize::MAX, |limit| limit as usize);
        rows.train.truncate(limit);
        rows.test.truncate(limit);
        if rows.train.is_empty() || rows.test.is_empty() {
            bail!("A measurement needs rows to train on and rows to score; one of the two files holds none.");
        }
        Ok((rows, source))
    }
}

/// The device, with what is to be said of it on stderr.
pub fn choose(device: &DeviceArgument) -> Result<Device, Usage> {
    let Chosen { device, note } = device.choose()?;
    if let Some(note) = note {
        eprintln!("{note}");
    }
    Ok(device)
}

/// What a measurement on the CPU cannot be asked for.
fn check_on_cpu(request: &BenchRequest) -> Result<(), Usage> {
    if request.device != Device::Cpu {
        return Ok(());
    }
    if request.on_the_fly || request.memory_bytes.is_some() {
        return Err(Usage(
            "--on-the-fly and --memory-gib are about a GPU's memory, and here the CPU computes. Leave them out, or \
             name a GPU with --device."
                .to_string(),
        ));
    }
    let (least, there) = (least_bytes_on_cpu(request), device::describe(&Device::Cpu).memory_bytes);
    match there {
        Some(there) if least > there as f64 => Err(Usage(format!(
            "--preset: {} takes at least {} on the CPU, and there are {} here. Choose a smaller one, such as {}, or \
             name a GPU with --device.",
            request.preset.name(),
            app::format::bytes(least),
            app::format::bytes(there as f64),
            Preset::Tohum16m.name()
        ))),
        _ => Ok(()),
    }
}

/// Weights as they are held where memory is short, the embedding and the output layer in f32.
fn least_bytes_on_cpu(request: &BenchRequest) -> f64 {
    let config = request.preset.config();
    let bits = if request.quantization == Quantization::AsStored { 32.0 } else { 4.0 };
    let tables = 2 * config.vocab_size * config.hidden_size;
    linear_weights(&config) as f64 * bits / 8.0 + (size_of::<f32>() * tables) as f64
}

/// All weights of the model as it is made here, where the output layer stands apart from the embedding.
fn parameters(config: &LlamaConfig) -> usize {
    let norms = (2 * config.num_hidden_layers + 1) * config.hidden_size;
    linear_weights(config) + 2 * config.vocab_size * config.hidden_size + norms
}

impl Subject {
    /// One line above a table. The rate of products is measured when it is first asked for, so ask for this last.
    pub fn title(&self) -> String {
        let BenchRequest { preset, r, quantization, on_the_fly, memory_bytes, .. } = &self.request;
        let parameters = parameters(&preset.config()) as f64;
        let parameters = if parameters < 1e9 {
            format!("{:.0} million", parameters / 1e6)
        } else {
            format!("{:.2} billion", parameters / 1e9)
        };
        let mut how = quantization_name(*quantization);
        if *on_the_fly {
            how += " on the fly";
        }
        if let Some(bytes) = memory_bytes {
            how += &format!(", at most {}", app::format::bytes(*bytes as f64));
        }
        format!(
            "{}, {parameters} parameters, rank {r}, {how}, on {}; products here: {}; rows: {}, {} to train on and {} to \
             score",
            preset.name(),
            self.device,
            rate(self.network.matmul_gflops()),
            self.source,
            self.rows.train.len(),
            self.rows.test.len()
        )
    }

    /// What all measurements print with `--json`, for their own figures to be added. To be asked for last, too.
    pub fn to_json(&self, measurement: &str) -> Value {
        let BenchRequest { preset, r, quantization, device, on_the_fly, memory_bytes, .. } = &self.request;
        json!({
            "measurement": measurement,
            "request": {
                "preset": preset.name(),
                "rank": r,
                "quantization": quantization,
                "device": device.to_string(),
                "on_the_fly": on_the_fly,
                "memory_bytes": memory_bytes,
                "rows": { "source": self.source, "train": self.rows.train.len(), "test": self.rows.test.len() },
            },
            "parameters": parameters(&preset.config()),
            "device": self.device,
            "matmul_gflops": self.network.matmul_gflops(),
            "making_seconds": self.making_seconds,
        })
    }
}

pub fn quantization_name(quantization: Quantization) -> String {
    TrainSpec { quantization, ..TrainSpec::default() }.get("quantization").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_the_sizes_they_are_named_for() {
        let billions = |preset: Preset| parameters(&preset.config()) as f64 / 1e9;
        assert!((billions(Preset::Llama3With8b) - 8.03).abs() < 0.01);
        assert!((billions(Preset::Llama3With70b) - 70.55).abs() < 0.01);
    }

    #[test]
    fn memory_is_a_number_above_0() {
        assert_eq!(gibibytes("23.5"), Ok(23.5));
        for words in ["0", "-1", "inf", "NaN", "much"] {
            assert!(gibibytes(words).is_err(), "{words}");
        }
    }
}
