//! `ayar bench serve`: the server as a process of its own, with a run trained from the sample, asked over HTTP as programs
//! ask it; and, where a Python has Transformers, the way of a text generation pipeline with the same model and prompts.

pub mod client;
pub mod load;
mod python;
mod subject;

use crate::arguments::DEFAULT_BASE_MODEL;
use crate::commands::bench::columns::aligned;
use crate::figures::megabytes;
use crate::scratch::Scratch;
use anyhow::Context;
use clap::Args;
use load::Load;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use subject::Subject;

// What two cores with the embedded base are to stay within.
const MOST_P50_MS: f64 = 15.0;
const MOST_P99_MS: f64 = 40.0;
const LEAST_ROWS_PER_SECOND: f64 = 150.0;
const LEAST_TIMES_PYTHON: f64 = 4.0;
/// Memory is called flat when it has not grown by more than this from a tenth of the requests to their end.
pub const MOST_GROWTH_BYTES: u64 = 16 << 20;

#[derive(Args)]
pub struct ServeArguments {
    /// Single texts that are asked one after the other
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    singles: u64,
    /// Texts that are asked a hundred at a time, and as a stream
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    rows: u64,
    /// Connections that ask at the same time
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: u64,
    /// Requests over which the memory is watched
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    requests: u64,
    /// A Python with Transformers and PyTorch, measured beside it
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// CSV file with the columns text and label: what is trained on and asked
    #[arg(long, value_name = "FILE", default_value = "data/sample/headlines.csv")]
    data: PathBuf,
    /// Base model that the run fine-tunes
    #[arg(long, env = "AYAR_BASE_MODEL", default_value = DEFAULT_BASE_MODEL)]
    base_model: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// A line of the table.
#[derive(Serialize)]
pub struct Figure {
    name: String,
    value: String,
    limit: String,
}

impl Figure {
    pub fn new(name: &str, value: String, limit: String) -> Self {
        Self { name: name.to_string(), value, limit }
    }

    pub fn at_most(name: &str, value: f64, most: f64, unit: &str) -> Self {
        let verdict = if value <= most { "" } else { ": missed" };
        Self::new(name, format!("{value:.1} {unit}"), format!("<= {most:.0} {unit}{verdict}"))
    }

    fn at_least(name: &str, value: f64, least: f64, unit: &str) -> Self {
        let verdict = if value >= least { "" } else { ": missed" };
        Self::new(name, format!("{value:.1} {unit}"), format!(">= {least:.0} {unit}{verdict}"))
    }
}

pub fn serve(arguments: &ServeArguments) -> anyhow::Result<()> {
    let scratch = Scratch::make()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    crate::commands::serve::allow_many_connections();
    let figures = runtime.block_on(measure(arguments, &scratch))?;
    print(figures, arguments.json)
}

/// As a table, or as one JSON object.
pub fn print(figures: Vec<Figure>, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&json!({ "figures": figures }))?);
    } else {
        let lines: Vec<Vec<String>> =
            figures.into_iter().map(|figure| vec![figure.name, figure.value, figure.limit]).collect();
        println!("\n{}", aligned(1, &["", "measured", "limit"], &lines));
    }
    Ok(())
}

async fn measure(arguments: &ServeArguments, scratch: &Scratch) -> anyhow::Result<Vec<Figure>> {
    eprintln!("training a run to ask");
    let subject = Subject::prepare(scratch.path(), &arguments.data, &arguments.base_model).await?;
    let server = subject.start().await?;
    let load = Load { address: server.address.clone(), texts: subject.texts.clone() };
    let mut figures = Vec::new();

    eprintln!("single texts");
    let singles = load.singles(arguments.singles as usize).await?;
    figures.push(Figure::at_most("one text, p50", singles.quantile(0.5), MOST_P50_MS, "ms"));
    figures.push(Figure::at_most("one text, p99", singles.quantile(0.99), MOST_P99_MS, "ms"));

    eprintln!("a hundred texts at a time");
    let batched = load.batches(arguments.rows as usize).await?;
    figures.push(Figure::at_least("a hundred texts at a time", batched, LEAST_ROWS_PER_SECOND, "rows/s"));
    eprintln!("a stream of CSV");
    let streamed = load.stream(arguments.rows as usize).await?;
    figures.push(Figure::at_least("a stream of CSV", streamed, LEAST_ROWS_PER_SECOND, "rows/s"));

    eprintln!("{} connections", arguments.connections);
    let crowd = load.crowd(arguments.connections as usize).await?;
    let verdict = if crowd.others == 0 { "" } else { ": missed" };
    figures.push(Figure::new(
        &format!("{} connections at once", arguments.connections),
        format!("{} answered, {} busy, {} else", crowd.answered, crowd.busy, crowd.others),
        format!("only 200 and 429{verdict}"),
    ));

    eprintln!("memory over {} requests", arguments.requests);
    let early = load.many(arguments.requests / 10).await?;
    let before = server.resident_bytes();
    let late = load.many(arguments.requests - arguments.requests / 10).await?;
    let after = server.resident_bytes();
    if let (Some(before), Some(after)) = (before, after) {
        let verdict = if after <= before + MOST_GROWTH_BYTES { "" } else { ": missed" };
        figures.push(Figure::new(
            &format!("memory, {} requests", arguments.requests),
            format!("{} then {}", megabytes(before), megabytes(after)),
            format!("flat{verdict}"),
        ));
    }
    let (seconds, requests) = (early.seconds + late.seconds, arguments.requests as f64);
    figures.push(Figure::new("eight clients at once", format!("{:.1} requests/s", requests / seconds), String::new()));
    figures.push(Figure::new("  p50", format!("{:.1} ms", late.quantile(0.5)), String::new()));
    figures.push(Figure::new("  p99", format!("{:.1} ms", late.quantile(0.99)), String::new()));
    server.stop();

    if let Some(python) = &arguments.python {
        eprintln!("Transformers");
        match python::measure(python, &subject, scratch.path()) {
            Ok(Some(rate)) => {
                let name = "Transformers, text generation";
                figures.push(Figure::new(name, format!("{rate:.1} rows/s"), String::new()));
                let times = batched / rate.max(1e-9);
                figures.push(Figure::at_least("  times as many rows here", times, LEAST_TIMES_PYTHON, "x"));
            }
            Ok(None) => eprintln!("{} has no Transformers with PyTorch; it is left out", python.display()),
            // What has been measured here is told all the same.
            Err(error) => eprintln!("Transformers could not be measured: {error:#}"),
        }
    }
    Ok(figures)
}
