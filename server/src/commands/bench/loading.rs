//! `ayar bench loading`: how fast a checkpoint becomes a 4-bit model in memory or on a card, beside reading its files
//! alone, and how much memory that takes.

use crate::arguments::{DeviceArgument, Usage, looked_from};
use crate::commands::bench::columns::{aligned, median, range};
use crate::commands::bench::subject::{choose, quantization, quantization_name};
use crate::figures::peak_resident_bytes;
use crate::progress::Progress;
use clap::Args;
use domain::spec::Quantization;
use engine::bench::{self, Loading};
use engine::device;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct LoadingArguments {
    /// A GGUF file, or a folder with config.json and safetensors files; onto a card a folder of unquantised values
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// How the frozen weights are held: nf4, nf4_double_quant or as_stored
    #[arg(long, value_name = "WORD", default_value = "nf4", value_parser = quantization)]
    quantization: Quantization,
    #[command(flatten)]
    device: DeviceArgument,
    /// Load so many times; the median is shown. After the first time the files may come from the system's memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: u16,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn loading(arguments: &LoadingArguments) -> anyhow::Result<()> {
    let folder = &arguments.checkpoint;
    if !folder.exists() {
        let (path, from) = (folder.display(), looked_from(folder));
        return Err(Usage(format!("--checkpoint: {path} does not exist{from}")).into());
    }
    let device = choose(&arguments.device)?;
    let mut progress = Progress::start();
    let mut runs = Vec::with_capacity(usize::from(arguments.repeat));
    for run in 1..=arguments.repeat {
        progress.begin(&format!("loading, {run} of {}", arguments.repeat));
        runs.push(bench::loading(folder, arguments.quantization, &device)?);
    }
    progress.finish();
    let figures = Figures::of(&runs);
    let device_name = device::describe(&device).name;
    if arguments.json {
        let object = json!({
            "measurement": "loading",
            "request": {
                "checkpoint": folder,
                "quantization": arguments.quantization,
                "device": device.to_string(),
                "repeat": arguments.repeat,
            },
            "device": device_name,
            "loading_bytes_per_second": figures.loading.0,
            "plain_read_bytes_per_second": figures.plain_read.0,
            "ratio": figures.ratio(),
            "peak_resident_bytes": peak_resident_bytes(),
            "runs": runs,
        });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!(
            "{}, {} to {} on {device_name}\n\n{}\npeak memory of the process: {}",
            folder.display(),
            app::format::bytes(figures.bytes as f64),
            quantization_name(arguments.quantization),
            figures.table(),
            peak_resident_bytes()
                .map_or_else(|| "not known here".to_string(), |bytes| app::format::bytes(bytes as f64))
        );
    }
    Ok(())
}

/// Bytes per second: the median, the lowest and the highest.
struct Figures {
    bytes: u64,
    loading: (f64, f64, f64),
    plain_read: (f64, f64, f64),
}

impl Figures {
    fn of(runs: &[Loading]) -> Self {
        let per_second = |seconds: fn(&Loading) -> f64| {
            median(runs.iter().map(|run| run.bytes as f64 / seconds(run).max(1e-9)).collect())
        };
        Self {
            bytes: runs.first().map_or(0, |run| run.bytes),
            loading: per_second(|run| run.seconds),
            plain_read: per_second(|run| run.plain_read_seconds),
        }
    }

    /// Of the medians, as they stand side by side.
    fn ratio(&self) -> f64 {
        self.loading.0 / self.plain_read.0.max(1e-9)
    }

    fn table(&self) -> String {
        let line = |name: &str, (middle, lowest, highest): (f64, f64, f64), share: f64| {
            let seconds = self.bytes as f64 / middle.max(1e-9);
            let figures =
                [format!("{seconds:.2}"), format!("{:.2}", middle / 1e9), range(lowest / 1e9, highest / 1e9, 2)];
            [vec![name.to_string()], figures.to_vec(), vec![app::format::percent(share)]].concat()
        };
        let lines =
            [line("loading", self.loading, self.ratio()), line("reading the files alone", self.plain_read, 1.0)];
        aligned(1, &["", "seconds", "GB/s", "lowest-highest", "of reading alone"], &lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stand_beside_each_other() {
        let run = |seconds| Loading { bytes: 16_000_000_000, seconds, plain_read_seconds: 4.0 };
        let figures = Figures::of(&[run(8.0), run(5.0), run(4.0)]);
        assert!((figures.ratio() - 0.8).abs() < 1e-9);
        let table = figures.table();
        let cells: Vec<&str> = table.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(cells, ["loading", "5.00", "3.20", "2.00-4.00", "80.0", "%"]);
    }
}
