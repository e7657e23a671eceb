//! `ayar bench live`: many browsers watch one run. The server runs in this process and the viewers in another, so that the
//! memory told is the server's alone. The run is made up: a step every twentieth of a second, stored and told as the
//! worker's are. One viewer more stops reading, and comes back later.

mod viewers;

use crate::arguments::DEFAULT_BASE_MODEL;
use crate::commands::bench::made_up::Server;
use crate::commands::bench::serve::{self, Figure, MOST_GROWTH_BYTES};
use crate::figures::megabytes;
use crate::scratch::Scratch;
use anyhow::{Context, bail};
use clap::Args;
use domain::run::{RunEvent, RunStatus};
use service::runs::made_up_step;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::interval;
use viewers::{Seen, ViewersArguments};

const MOST_P99_MS: f64 = 250.0;

#[derive(Args)]
pub struct LiveArguments {
    /// Browsers that watch, each over a websocket of its own
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    viewers: u64,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rate: u64,
    /// How long the run goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// CSV file with the columns text and label: the run's dataset
    #[arg(long, value_name = "FILE", default_value = "data/sample/headlines.csv")]
    data: PathBuf,
    /// Base model that the run would fine-tune
    #[arg(long, env = "AYAR_BASE_MODEL", default_value = DEFAULT_BASE_MODEL)]
    base_model: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    as_viewers: ViewersArguments,
}

pub fn live(arguments: &LiveArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    crate::commands::serve::allow_many_connections();
    if let Some(watched) = arguments.as_viewers.watched() {
        return runtime.block_on(viewers::watch(watched, arguments.viewers, arguments.seconds));
    }
    let scratch = Scratch::make()?;
    let figures = runtime.block_on(measure(arguments, &scratch))?;
    serve::print(figures, arguments.json)
}

async fn measure(arguments: &LiveArguments, scratch: &Scratch) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(scratch.path(), &arguments.data, &arguments.base_model).await?;
    let run = server.queue_run().await?;
    let at_rest = resident_bytes();

    let program = std::env::current_exe().context("The program does not know where it lies")?;
    let mut child = Command::new(program);
    child.args(["bench", "live", "--watch", &server.address, "--run", &run.to_string()]).args([
        "--viewers",
        &arguments.viewers.to_string(),
        "--seconds",
        &arguments.seconds.to_string(),
    ]);
    let (viewers, ready) = spawn_blocking(move || Viewers::start(child)?.line()).await??;
    if ready != viewers::READY {
        bail!("The viewers did not get through to the server.");
    }
    eprintln!("{} viewers, {} events a second for {} s", arguments.viewers, arguments.rate, arguments.seconds);

    let steps = arguments.rate * arguments.seconds;
    let mut every = interval(Duration::from_secs(1) / arguments.rate as u32);
    let mut early = None;
    for step in 1..=steps {
        every.tick().await;
        server.service.feed.record(run, RunEvent::Step(made_up_step(step, steps))).await?;
        if step == steps.div_ceil(5) {
            early = resident_bytes();
        }
    }
    let late = resident_bytes();
    server.service.feed.record(run, RunEvent::Status { status: RunStatus::Finished, message: None }).await?;
    let (_viewers, seen) = spawn_blocking(move || viewers.line()).await??;
    let seen: Seen = serde_json::from_str(&seen).context("What the viewers say cannot be read")?;
    server.stop().await;

    let mut figures = vec![
        Figure::new("events delivered", seen.delivered.to_string(), String::new()),
        Figure::at_most("delivery, p50", seen.p50_ms, MOST_P99_MS, "ms"),
        Figure::at_most("delivery, p99", seen.p99_ms, MOST_P99_MS, "ms"),
        Figure::new("delivery, longest", format!("{:.1} ms", seen.max_ms), String::new()),
        Figure::new(
            "viewers who missed an event or had one twice",
            seen.disturbed.to_string(),
            if seen.disturbed == 0 { "0" } else { "0: missed" }.to_string(),
        ),
    ];
    if let (Some(at_rest), Some(early), Some(late)) = (at_rest, early, late) {
        let verdict = if late <= early + MOST_GROWTH_BYTES { "" } else { ": missed" };
        figures.push(Figure::new("the server's memory, nobody watching", megabytes(at_rest), String::new()));
        figures.push(Figure::new(
            "  after a fifth, and at the end",
            format!("{} then {}", megabytes(early), megabytes(late)),
            format!("flat{verdict}"),
        ));
    }
    if let Some(stalled) = seen.stalled {
        let dropped = if stalled.was_dropped { "dropped" } else { "not dropped" };
        let verdict = if stalled.was_dropped && stalled.is_complete { "" } else { ": missed" };
        let came_back = if stalled.is_complete { "no gap" } else { "a gap" };
        figures.push(Figure::new(
            &format!("a viewer that reads nothing for {:.0} s", stalled.seconds),
            format!("{dropped}; {} events caught up on return, {came_back}", stalled.caught_up),
            format!("dropped, no gap{verdict}"),
        ));
    }
    Ok(figures)
}

/// The process of the viewers; it ends with this.
struct Viewers {
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Viewers {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("The viewers cannot be started")?;
        let stdout = child.stdout.take().context("The viewers have no stdout")?;
        Ok(Self { child, told: BufReader::new(stdout).lines() })
    }

    /// The next thing they say.
    fn line(mut self) -> anyhow::Result<(Self, String)> {
        let line = self.told.next().context("The viewers ended without a word")??;
        Ok((self, line))
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process has in memory now.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
