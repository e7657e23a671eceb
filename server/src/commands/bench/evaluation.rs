//! `ayar bench evaluation`: how fast all test rows are scored.

use crate::commands::bench::columns::{aligned, gibibytes, range};
use crate::commands::bench::subject::SubjectArguments;
use crate::progress::Progress;
use clap::Args;
use engine::bench::{self, Speed};
use serde_json::json;

#[derive(Args)]
pub struct EvaluationArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    /// Score all rows so many times, after once untimed; the median is shown, with the fastest and the slowest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: u16,
}

pub fn evaluation(arguments: &EvaluationArguments) -> anyhow::Result<()> {
    let mut progress = Progress::start();
    let subject = arguments.subject.prepare(&mut progress)?;
    let rows = subject.rows.test.len();
    progress.begin(&format!("scoring {rows} rows"));
    let repeats = usize::from(arguments.repeat);
    let speed = bench::scoring(&subject.network, &subject.request, &subject.rows, repeats)?;
    progress.finish();
    if arguments.subject.json {
        let mut object = subject.to_json("evaluation");
        object["request"]["repeat"] = json!(arguments.repeat);
        object["evaluation"] = json!(speed);
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("{}\n\n{}", subject.title(), table(rows, &speed));
    }
    Ok(())
}

fn table(rows: usize, speed: &Speed) -> String {
    let head = ["rows", "rows/s", "tokens/s", "ms", "fastest-slowest", "of products", "peak (GiB)", "card taken (GiB)"];
    let cells = vec![
        rows.to_string(),
        format!("{:.1}", speed.rows_per_second),
        format!("{:.0}", speed.tokens_per_second),
        format!("{:.1}", speed.milliseconds),
        range(speed.fastest_milliseconds, speed.slowest_milliseconds, 1),
        app::format::percent(speed.share_of_matmul_rate),
        gibibytes(speed.peak_bytes),
        gibibytes(speed.taken_bytes),
    ];
    aligned(0, &head, &[cells])
}
