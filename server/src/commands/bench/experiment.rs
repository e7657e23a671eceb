//! `ayar bench experiment`: the notebook's experiment from its first score to its last, with all that a process pays
//! once.

use crate::commands::bench::columns::aligned;
use crate::commands::bench::subject::{Subject, SubjectArguments};
use crate::progress::Progress;
use clap::Args;
use engine::bench::{self, BenchRequest, Experiment};
use serde_json::json;
use std::time::Instant;

#[derive(Args)]
pub struct ExperimentArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    /// Rows per optimiser step, over all cards
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    rows: u16,
    /// Times that training goes through all its rows
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    epochs: u16,
}

pub fn experiment(arguments: &ExperimentArguments) -> anyhow::Result<()> {
    let mut progress = Progress::start();
    let subject = arguments.subject.prepare(&mut progress)?;
    let (rows, epochs) = (usize::from(arguments.rows), usize::from(arguments.epochs));
    let request = BenchRequest { rows_per_step: rows, ..subject.request.clone() };
    progress.begin("scoring, before");
    let train = subject.rows.train.len();
    let mut training_since = Instant::now();
    let on_step = &mut |step: usize, steps: usize, _: f64| {
        if step == 0 {
            training_since = Instant::now();
            progress.begin("training");
            return;
        }
        // The last step of an epoch has the rows that are left.
        let steps_per_epoch = steps / epochs;
        let done = step / steps_per_epoch * train + (step % steps_per_epoch * rows).min(train);
        progress.rows(done as u64, (epochs * train) as u64, training_since);
        if step == steps {
            progress.begin("scoring, after");
        }
    };
    let measured = bench::experiment(&subject.network, &request, &subject.rows, epochs, on_step)?;
    progress.finish();
    if arguments.subject.json {
        let mut object = subject.to_json("experiment");
        object["request"]["rows_per_step"] = json!(rows);
        object["request"]["epochs"] = json!(epochs);
        object["experiment"] = json!(measured);
        object["experiment"]["seconds"] = json!(seconds_in_all(&measured));
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("{}\n\n{}", subject.title(), table(&subject, &request, epochs, &measured));
    }
    Ok(())
}

fn seconds_in_all(measured: &Experiment) -> f64 {
    measured.before_seconds + measured.training_seconds + measured.after_seconds
}

fn table(subject: &Subject, request: &BenchRequest, epochs: usize, measured: &Experiment) -> String {
    let (train, test) = (subject.rows.train.len(), subject.rows.test.len());
    let scored = |seconds: f64| format!("{:.1}", test as f64 / seconds.max(1e-9));
    let line = |part: &str, seconds: f64, rows_per_second: String| {
        vec![part.to_string(), format!("{seconds:.2}"), rows_per_second]
    };
    let training =
        format!("training, {epochs} x {train} rows in {} steps of {}", measured.steps, request.rows_per_step);
    let lines = [
        line(&format!("scoring {test} rows, before"), measured.before_seconds, scored(measured.before_seconds)),
        line(&training, measured.training_seconds, format!("{:.1}", measured.rows_per_second)),
        line(&format!("scoring {test} rows, after"), measured.after_seconds, scored(measured.after_seconds)),
        line("in all", seconds_in_all(measured), String::new()),
        line("making the model, apart", subject.making_seconds, String::new()),
    ];
    aligned(1, &["", "seconds", "rows/s"], &lines)
}
