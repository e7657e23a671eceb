//! `ayar bench kernels`: how near each kernel comes to what limits it.

use crate::arguments::DeviceArgument;
use crate::commands::bench::columns::aligned;
use crate::commands::bench::subject::choose;
use crate::progress::Progress;
use clap::Args;
use engine::bench::{self, KernelSpeed};
use engine::device;
use serde_json::json;

#[derive(Args)]
pub struct KernelsArguments {
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn kernels(arguments: &KernelsArguments) -> anyhow::Result<()> {
    let device = choose(&arguments.device)?;
    let mut progress = Progress::start();
    progress.begin("kernels");
    let kernels = bench::kernels(&device)?;
    progress.finish();
    let name = device::describe(&device).name;
    if arguments.json {
        let object = json!({
            "measurement": "kernels",
            "request": { "device": device.to_string() },
            "device": name,
            "kernels": kernels,
        });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("{name}\n\n{}", table(&kernels));
    }
    Ok(())
}

fn table(kernels: &[KernelSpeed]) -> String {
    let line = |kernel: &KernelSpeed| {
        vec![
            kernel.name.clone(),
            kernel.shape.clone(),
            kernel.limit.clone(),
            format!("{:.1}", kernel.microseconds),
            app::format::percent(kernel.share_of_limit),
        ]
    };
    aligned(3, &["kernel", "shape", "limit", "µs", "of the limit"], &kernels.iter().map(line).collect::<Vec<_>>())
}
