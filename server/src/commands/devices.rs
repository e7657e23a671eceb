//! `ayar devices`: what `--device` can name here.

use clap::Args;
use domain::model::DeviceInfo;
use engine::device;
use serde_json::json;
use std::fmt::Write;

#[derive(Args)]
pub struct DevicesArguments {
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn devices(arguments: &DevicesArguments) -> anyhow::Result<()> {
    let (devices, why_no_card) = (device::list(), device::why_no_card());
    if arguments.json {
        let object = json!({ "devices": devices, "why_no_gpu": why_no_card });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        print!("{}", table(&devices, why_no_card.as_deref()));
    }
    Ok(())
}

/// One line per device; under them, where no GPU can be used, why.
fn table(devices: &[DeviceInfo], why_no_card: Option<&str>) -> String {
    let widest = |column: fn(&DeviceInfo) -> &str, head: &str| {
        devices.iter().map(|device| column(device).chars().count()).max().unwrap_or(0).max(head.len())
    };
    let (id_width, name_width) = (widest(|device| &device.id, "device"), widest(|device| &device.name, "name"));
    let mut table = String::new();
    let mut line = |[id, name, memory, detail]: [&str; 4]| {
        let line = format!("{id:<id_width$}  {name:<name_width$}  {memory:>8}  {detail}");
        let _ = writeln!(table, "{}", line.trim_end());
    };
    line(["device", "name", "memory", "detail"]);
    for device in devices {
        let memory =
            device.memory_bytes.map_or_else(|| "unknown".to_string(), |bytes| app::format::bytes(bytes as f64));
        line([&device.id, &device.name, &memory, device.detail.as_deref().unwrap_or_default()]);
    }
    if let Some(reason) = why_no_card {
        let _ = writeln!(table, "\nNo GPU can be used. {reason}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let device = |id: &str, name: &str, memory_bytes, detail: Option<&str>| DeviceInfo {
            id: id.to_string(),
            name: name.to_string(),
            memory_bytes,
            detail: detail.map(str::to_string),
        };
        let devices = [
            device("cpu", "CPU, 2 cores", None, None),
            device("cuda:0", "NVIDIA H100", Some(79 << 30), Some("compute capability 9.0")),
        ];
        let lines: Vec<String> = table(&devices, None).lines().map(str::to_string).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "cpu     CPU, 2 cores   unknown");
        assert_eq!(lines[2], "cuda:0  NVIDIA H100    79.0 GB  compute capability 9.0");
        assert!(table(&devices[..1], Some("The driver is too old.")).ends_with("used. The driver is too old.\n"));
    }
}
