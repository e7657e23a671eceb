//! `ayar bench data`: a million rows from a file to an examined dataset, the whole way through the service, beside pandas
//! and polars reading the same file and beside reading its bytes alone. Every reader is a process of its own, so that the
//! peak of its memory is its own.

mod made;
mod python;
mod whole_way;

use crate::arguments::DEFAULT_BASE_MODEL;
use crate::commands::bench::columns::aligned;
use crate::scratch::Scratch;
use anyhow::{Context, bail};
use app::format;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

// What a million rows of about 150 MB, on two cores, are to stay within.
const MOST_IMPORT_SECONDS: f64 = 15.0;
const MOST_SECONDS: f64 = 60.0;
const MOST_MEMORY_BYTES: u64 = 1_000_000_000;
const MOST_FIRST_PAGE_SECONDS: f64 = 2.0;

#[derive(Args)]
pub struct DataArguments {
    /// Rows of the file that is made
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    rows: u64,
    /// Seed of its texts
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// A file of your own instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "seed"])]
    file: Option<PathBuf>,
    /// A Python with pandas or polars, read beside it
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Base model under which lengths are counted in tokens
    #[arg(long, env = "AYAR_BASE_MODEL", default_value = DEFAULT_BASE_MODEL)]
    base_model: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Measure one reader in this process and print its figures: what the command calls itself for
    #[arg(long, hide = true, value_parser = ["ayar", "bytes"], requires = "file")]
    only: Option<String>,
}

/// What one process came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub name: String,
    pub steps: Vec<Step>,
    pub peak_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub seconds: f64,
}

/// The steps that the limits are on.
const FIRST_PAGE: &str = "first rows after the upload";
const IMPORT: &str = "import";
const EXAMINATION: &str = "examination, all findings";

pub fn data(arguments: &DataArguments) -> anyhow::Result<()> {
    if let (Some(only), Some(file)) = (&arguments.only, &arguments.file) {
        let measured = match only.as_str() {
            "bytes" => read_bytes(file)?,
            _ => whole_way::measure(file, &arguments.base_model)?,
        };
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    let scratch = Scratch::make()?;
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => {
            let file = scratch.path().join("rows.csv");
            eprintln!("making {} rows", format::count(arguments.rows));
            made::write(&file, arguments.rows, arguments.seed)?;
            file
        }
    };
    let bytes = file.metadata().with_context(|| format!("{} cannot be read", file.display()))?.len();
    let mut measured = vec![own(&file, "bytes", arguments)?, own(&file, "ayar", arguments)?];
    for library in ["pandas", "polars"] {
        match python::measure(&arguments.python, library, &file)? {
            Some(figures) => measured.push(figures),
            None => eprintln!("{} has no {library}; it is left out", arguments.python.display()),
        }
    }
    if arguments.json {
        let object = json!({ "file_bytes": bytes, "rows": arguments.rows, "measured": measured });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("\n{} in the file\n\n{}", format::bytes(bytes as f64), table(bytes, &measured));
    }
    Ok(())
}

/// This program once more, for one reader.
fn own(file: &Path, only: &str, arguments: &DataArguments) -> anyhow::Result<Measured> {
    eprintln!("measuring {only}");
    let program = std::env::current_exe().context("The program does not know where it lies")?;
    let output = Command::new(program)
        .args(["bench", "data", "--only", only, "--file"])
        .arg(file)
        .arg("--base-model")
        .arg(&arguments.base_model)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("The process that measures cannot be started")?;
    if !output.status.success() {
        bail!("The process that measures {only} ended with {}.", output.status);
    }
    serde_json::from_slice(&output.stdout).context("The figures cannot be read")
}

/// The file's bytes and nothing else: the limit of every reader.
fn read_bytes(path: &Path) -> anyhow::Result<Measured> {
    let began = Instant::now();
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 1 << 20];
    while file.read(&mut chunk)? > 0 {}
    let step = Step { name: "reading".to_string(), seconds: began.elapsed().as_secs_f64() };
    Ok(Measured {
        name: "bytes alone".to_string(),
        steps: vec![step],
        peak_bytes: crate::figures::peak_resident_bytes(),
    })
}

fn table(bytes: u64, measured: &[Measured]) -> String {
    let import = measured.iter().flat_map(|one| &one.steps).find(|step| step.name == IMPORT).map(|step| step.seconds);
    let mut lines = Vec::new();
    for one in measured {
        for (place, step) in one.steps.iter().enumerate() {
            let peak = one.peak_bytes.filter(|_| place == 0).map(|peak| format::bytes(peak as f64));
            let reads = place == 0 || step.name == IMPORT;
            lines.push(vec![
                if place == 0 { one.name.clone() } else { String::new() },
                step.name.clone(),
                format!("{:.2}", step.seconds),
                if reads { format!("{:.0}", bytes as f64 / 1e6 / step.seconds.max(1e-9)) } else { String::new() },
                import.filter(|_| reads).map_or(String::new(), |import| format!("{:.2}", step.seconds / import)),
                peak.unwrap_or_default(),
                limit(one, step),
            ]);
        }
    }
    aligned(2, &["", "", "seconds", "MB/s", "x import", "peak memory", "limit"], &lines)
}

/// What a step is to stay within, where there is such a limit, and whether it does.
fn limit(of: &Measured, step: &Step) -> String {
    let seconds = |name: &str| of.steps.iter().find(|step| step.name == name).map_or(0.0, |step| step.seconds);
    let (measured, most) = match step.name.as_str() {
        FIRST_PAGE => (step.seconds, MOST_FIRST_PAGE_SECONDS),
        IMPORT => (step.seconds, MOST_IMPORT_SECONDS),
        EXAMINATION => (seconds(IMPORT) + step.seconds, MOST_SECONDS),
        _ => return String::new(),
    };
    let with = if step.name == EXAMINATION { " with import" } else { "" };
    let memory = match (step.name.as_str(), of.peak_bytes) {
        (EXAMINATION, Some(peak)) if peak > MOST_MEMORY_BYTES => ", over 1 GB of memory",
        _ => "",
    };
    let verdict = if measured <= most { "" } else { ": missed" };
    format!("<= {most:.0} s{with}{verdict}{memory}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_against_what_was_measured() {
        let step = |name: &str, seconds| Step { name: name.to_string(), seconds };
        let ayar = Measured {
            name: "ayar".into(),
            steps: vec![step(FIRST_PAGE, 1.0), step(IMPORT, 20.0), step(EXAMINATION, 30.0)],
            peak_bytes: Some(2_000_000_000),
        };
        let limits: Vec<String> = ayar.steps.iter().map(|step| limit(&ayar, step)).collect();
        assert_eq!(limits, ["<= 2 s", "<= 15 s: missed", "<= 60 s with import, over 1 GB of memory"]);
        let pandas = Measured { name: "pandas".into(), steps: vec![step("reading", 10.0)], peak_bytes: None };
        assert!(table(150_000_000, &[ayar, pandas]).lines().last().unwrap().contains("0.50"));
    }
}
