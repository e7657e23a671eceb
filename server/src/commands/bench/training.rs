//! `ayar bench training`: how fast steps of so many rows are.

use crate::commands::bench::columns::{aligned, gibibytes, median, range};
use crate::commands::bench::subject::{Subject, SubjectArguments};
use crate::progress::Progress;
use clap::Args;
use engine::bench::{self, BenchRequest, ProfileLine, Speed};
use serde::Serialize;
use serde_json::json;
use std::time::Instant;

#[derive(Args)]
pub struct TrainingArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    /// Rows per optimiser step, over all cards; a list such as 8,32,128 is measured one after the other
    #[arg(
        long,
        value_name = "LIST",
        default_value = "8",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    rows: Vec<u16>,
    /// Steps that are timed, after the same steps untimed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    steps: u16,
    /// Measure each so many times; the median is shown, with the lowest and the highest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: u16,
    /// Afterwards, where the time of one step goes, kernel by kernel (on a GPU)
    #[arg(long)]
    profile: bool,
}

/// Kernels of a profile that are shown; the rest is summed up.
const PROFILED: usize = 25;

/// One line of the table.
#[derive(Serialize)]
struct Line {
    rows_per_step: usize,
    /// The run in the middle by its rows per second.
    median: Speed,
    lowest_rows_per_second: f64,
    highest_rows_per_second: f64,
    runs: Vec<Speed>,
}

pub fn training(arguments: &TrainingArguments) -> anyhow::Result<()> {
    let mut progress = Progress::start();
    let subject = arguments.subject.prepare(&mut progress)?;
    let mut lines = Vec::with_capacity(arguments.rows.len());
    let mut profiles = Vec::new();
    for &rows in &arguments.rows {
        let request = BenchRequest {
            rows_per_step: usize::from(rows),
            steps: usize::from(arguments.steps),
            ..subject.request.clone()
        };
        let runs = (0..arguments.repeat).map(|_| measure(&subject, &request, &mut progress));
        lines.extend(Line::of(request.rows_per_step, runs.collect::<anyhow::Result<_>>()?));
        if arguments.profile {
            profiles.push((rows, bench::profile(&subject.network, &request, &subject.rows)?));
        }
    }
    progress.finish();
    if arguments.subject.json {
        let mut object = subject.to_json("training");
        object["request"]["rows_per_step"] = json!(arguments.rows);
        object["request"]["steps"] = json!(arguments.steps);
        object["request"]["repeat"] = json!(arguments.repeat);
        object["training"] = json!(lines);
        if arguments.profile {
            object["profile"] = json!(profiles);
        }
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("{}\n\n{}", subject.title(), table(&lines));
        for (rows, profile) in &profiles {
            println!("\none step of {rows} rows, every launch timed\n\n{}", profile_table(profile));
        }
    }
    Ok(())
}

fn profile_table(profile: &[ProfileLine]) -> String {
    let sum = |lines: &[ProfileLine]| -> (usize, f64) {
        lines.iter().fold((0, 0.0), |(count, sum), line| (count + line.launches, sum + line.milliseconds))
    };
    let (all, total) = sum(profile);
    let cells = |name: &str, launches: usize, milliseconds: f64| {
        vec![
            name.to_string(),
            launches.to_string(),
            format!("{milliseconds:.2}"),
            format!("{:.1}", 1e3 * milliseconds / launches.max(1) as f64),
            app::format::percent(milliseconds / total.max(1e-9)),
        ]
    };
    let (shown, rest) = profile.split_at(profile.len().min(PROFILED));
    let mut lines: Vec<_> = shown.iter().map(|line| cells(&line.name, line.launches, line.milliseconds)).collect();
    let (launches, milliseconds) = sum(rest);
    lines.push(cells("all others", launches, milliseconds));
    lines.push(cells("in all", all, total));
    aligned(1, &["kernel, or product m k n", "launches", "ms", "µs each", "share"], &lines)
}

fn measure(subject: &Subject, request: &BenchRequest, progress: &mut Progress) -> anyhow::Result<Speed> {
    let rows = request.rows_per_step;
    progress.begin(&format!("training, {rows} a step"));
    let began = Instant::now();
    // With the steps that are not timed.
    let all = (2 * request.steps * rows) as u64;
    let on_step = &mut |step: usize, _: f64| progress.rows(((step + 1) * rows) as u64, all, began);
    Ok(bench::training(&subject.network, request, &subject.rows, on_step)?)
}

impl Line {
    fn of(rows_per_step: usize, runs: Vec<Speed>) -> Option<Self> {
        let (middle, lowest, highest) = median(runs.iter().map(|run| run.rows_per_second).collect());
        let median = runs.iter().find(|run| run.rows_per_second == middle)?.clone();
        let spread = (lowest, highest);
        Some(Self { rows_per_step, median, lowest_rows_per_second: spread.0, highest_rows_per_second: spread.1, runs })
    }

    fn cells(&self, with_spread: bool) -> Vec<String> {
        let Speed { rows_per_second, tokens_per_second, milliseconds, share_of_matmul_rate, .. } = &self.median;
        let fastest = self.runs.iter().map(|run| run.fastest_milliseconds).fold(f64::INFINITY, f64::min);
        let slowest = self.runs.iter().map(|run| run.slowest_milliseconds).fold(0.0, f64::max);
        let mut cells = vec![self.rows_per_step.to_string(), format!("{rows_per_second:.1}")];
        if with_spread {
            cells.push(range(self.lowest_rows_per_second, self.highest_rows_per_second, 1));
        }
        cells.extend([
            format!("{tokens_per_second:.0}"),
            format!("{milliseconds:.2}"),
            range(fastest, slowest, 2),
            app::format::percent(*share_of_matmul_rate),
            gibibytes(self.median.peak_bytes),
            gibibytes(self.median.taken_bytes),
        ]);
        cells
    }
}

fn table(lines: &[Line]) -> String {
    let with_spread = lines.iter().any(|line| line.runs.len() > 1);
    let mut head = vec!["rows per step", "rows/s"];
    if with_spread {
        head.push("lowest-highest");
    }
    head.extend(["tokens/s", "ms per step", "fastest-slowest", "of products", "peak (GiB)", "card taken (GiB)"]);
    let lines: Vec<_> = lines.iter().map(|line| line.cells(with_spread)).collect();
    aligned(0, &head, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(rows_per_second: f64) -> Speed {
        Speed {
            rows_per_second,
            tokens_per_second: 79.0 * rows_per_second,
            milliseconds: 8e3 / rows_per_second,
            fastest_milliseconds: 7e3 / rows_per_second,
            slowest_milliseconds: 9e3 / rows_per_second,
            share_of_matmul_rate: 0.5,
            matmul_tflops: 700.0,
            peak_bytes: 3 << 30,
            taken_bytes: 0,
        }
    }

    #[test]
    fn of_several_runs_the_one_in_the_middle_is_shown() {
        let line = Line::of(8, vec![speed(300.0), speed(100.0), speed(200.0)]).expect("there are runs");
        assert_eq!(line.median, speed(200.0));
        let table = table(&[line]);
        let cells: Vec<&str> = table.lines().last().expect("a line").split_whitespace().collect();
        assert_eq!(cells[..6], ["8", "200.0", "100.0-300.0", "15800", "40.00", "23.33-90.00"]);
        assert_eq!(cells[cells.len() - 2..], ["3.00", "-"]);
        assert!(Line::of(8, Vec::new()).is_none());
    }
}
