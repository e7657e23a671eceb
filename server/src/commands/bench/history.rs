//! `ayar bench history`: the pages of a server with ten thousand finished runs and five million events, one of them of a
//! long training. The runs are made up and written in bulk; the pages are asked for over HTTP.

use crate::arguments::DEFAULT_BASE_MODEL;
use crate::commands::bench::made_up::Server;
use crate::commands::bench::serve::client::Client;
use crate::commands::bench::serve::load::Latencies;
use crate::commands::bench::serve::{self, Figure};
use crate::scratch::Scratch;
use anyhow::{Context, bail};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

const MOST_LIST_MS: f64 = 100.0;
const MOST_RUN_MS: f64 = 200.0;
/// A made-up run has this many events beside its steps.
const BESIDE_STEPS: u64 = 105;

#[derive(Args)]
pub struct HistoryArguments {
    /// Finished runs
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    runs: u64,
    /// Events of all of them together
    #[arg(long, value_name = "N", default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events: u64,
    /// Steps of the longest run
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    steps: u64,
    /// Ask for each page so many times
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    repeat: u64,
    /// CSV file with the columns text and label: the runs' dataset
    #[arg(long, value_name = "FILE", default_value = "data/sample/headlines.csv")]
    data: PathBuf,
    /// Base model that the runs would have fine-tuned
    #[arg(long, env = "AYAR_BASE_MODEL", default_value = DEFAULT_BASE_MODEL)]
    base_model: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn history(arguments: &HistoryArguments) -> anyhow::Result<()> {
    let scratch = Scratch::make()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    let figures = runtime.block_on(measure(arguments, &scratch))?;
    serve::print(figures, arguments.json)
}

async fn measure(arguments: &HistoryArguments, scratch: &Scratch) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(scratch.path(), &arguments.data, &arguments.base_model).await?;
    let template = server.queue_run().await?;
    let runs = &server.service.runs;
    let each = (arguments.events / arguments.runs).saturating_sub(BESIDE_STEPS).max(100);
    eprintln!("making up {} runs of {each} steps, and one of {}", arguments.runs - 1, arguments.steps);
    let began = Instant::now();
    let short = runs.make_up(template, arguments.runs - 1, each).await?;
    let long = *runs.make_up(template, 1, arguments.steps).await?.first().context("No run was made")?;
    runs.cancel(template).await?;
    let seconds = began.elapsed().as_secs_f64();
    let events = short.len() as u64 * (each + BESIDE_STEPS) + arguments.steps + BESIDE_STEPS;
    let short = *short.first().context("No run was made")?;

    let mut figures = vec![Figure::new(
        &format!("{} runs, {events} events, written", arguments.runs),
        format!("{seconds:.1} s"),
        String::new(),
    )];
    let asked = Asked { address: server.address.clone(), repeat: arguments.repeat };
    asked.tell(&mut figures, "list of runs", "/runs", MOST_LIST_MS).await?;
    let middle = arguments.runs / 100 + 1;
    asked.tell(&mut figures, "its middle page", &format!("/runs?page={middle}"), MOST_LIST_MS).await?;
    asked.tell(&mut figures, "overview", "/", MOST_LIST_MS).await?;
    asked.tell(&mut figures, "a run", &format!("/runs/{short}"), MOST_RUN_MS).await?;

    // A run that comes to its end by itself has its picture by then; this one was written without it.
    let page = format!("/runs/{long}");
    let (first, _) = asked.once(&mut Client::connect(&server.address).await?, &page).await?;
    let of_steps = format!("a run of {} steps", arguments.steps);
    figures.push(Figure::new(&format!("{of_steps}, picture not kept yet"), format!("{first:.1} ms"), String::new()));
    asked.tell(&mut figures, &of_steps, &page, MOST_RUN_MS).await?;
    server.stop().await;
    Ok(figures)
}

struct Asked {
    address: String,
    repeat: u64,
}

impl Asked {
    /// Asks for a page again and again, one client, and tells the median, the slowest but for one in a hundred, and how
    /// much is sent.
    async fn tell(&self, figures: &mut Vec<Figure>, name: &str, path: &str, most_ms: f64) -> anyhow::Result<()> {
        let mut client = Client::connect(&self.address).await?;
        self.once(&mut client, path).await?;
        let (mut ms, began, mut bytes) = (Vec::new(), Instant::now(), 0);
        for _ in 0..self.repeat {
            let (took, length) = self.once(&mut client, path).await?;
            ms.push(took);
            bytes = length;
        }
        let latencies = Latencies::new(ms, began);
        figures.push(Figure::at_most(&format!("{name}, median"), latencies.quantile(0.5), most_ms, "ms"));
        figures.push(Figure::new("  p99", format!("{:.1} ms", latencies.quantile(0.99)), String::new()));
        figures.push(Figure::new("  uncompressed", app::format::bytes(bytes as f64), String::new()));
        Ok(())
    }

    /// Milliseconds and bytes.
    async fn once(&self, client: &mut Client, path: &str) -> anyhow::Result<(f64, usize)> {
        let asked = Instant::now();
        let (status, body) = client.get(path).await?;
        if status != 200 {
            bail!("{path} was answered with {status}.");
        }
        Ok((asked.elapsed().as_secs_f64() * 1000.0, body.len()))
    }
}
