//! `ayar bench`: speed, memory and accuracy with one fixed recipe, so that figures can be compared; and in its
//! subcommands the speed of one thing at a time, on models of any size.

mod columns;
mod data;
mod evaluation;
mod experiment;
mod history;
mod kernels;
mod live;
mod loading;
mod made_up;
mod serve;
mod subject;
mod training;

use crate::arguments::{BaseArguments, Usage};
use crate::commands::train::{Parts, Run};
use crate::figures::{TrainFigures, megabytes};
use crate::scratch::Scratch;
use crate::table::{self, LabelledTable};
use clap::{Args, Subcommand};
use domain::spec::{LrSchedulerType, TargetModule, TrainSpec};
use domain::split::{Part, Split, SplitRow};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};

// What 900 rows to train and 900 to test, on two cores with the embedded base, are to stay within.
const MOST_TRAIN_SECONDS: f64 = 90.0;
const MOST_SCORING_SECONDS: f64 = 10.0;
const MOST_MEMORY_BYTES: u64 = 700_000_000;
const LEAST_ACCURACY: f64 = 0.73;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BenchArguments {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    /// CSV file with the rows to learn from
    #[arg(long, value_name = "FILE", requires = "test", required_unless_present = "data")]
    train: Option<PathBuf>,
    /// CSV file with the rows that are scored before and after
    #[arg(long, value_name = "FILE", requires = "train")]
    test: Option<PathBuf>,
    /// Instead of two files: one that is split, 60 % to train and 30 % to test
    #[arg(long, value_name = "FILE", conflicts_with_all = ["train", "test"])]
    data: Option<PathBuf>,
    /// Name of the column that holds the texts
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    text_column: String,
    /// Name of the column that holds the labels
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label_column: String,
    #[command(flatten)]
    base: BaseArguments,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Measurement {
    /// Time training steps on a model of random weights
    Training(training::TrainingArguments),
    /// Time the scoring of all test rows on a model of random weights
    Evaluation(evaluation::EvaluationArguments),
    /// Time scoring, some epochs of training and scoring again, on a model of random weights
    Experiment(experiment::ExperimentArguments),
    /// Time how a checkpoint is read to a 4-bit model on a GPU
    Loading(loading::LoadingArguments),
    /// Time the way of a million rows from a file to an examined dataset, beside pandas and polars reading it
    Data(data::DataArguments),
    /// Time the server's answers over HTTP, and watch its memory
    Serve(serve::ServeArguments),
    /// Time how fast a live run's events reach many browsers at once
    Live(live::LiveArguments),
    /// Time the pages of a server that has ten thousand runs behind it
    History(history::HistoryArguments),
    /// Time each kernel and hold it against what limits it
    Kernels(kernels::KernelsArguments),
}

pub fn bench(arguments: BenchArguments) -> anyhow::Result<()> {
    match &arguments.measurement {
        None => bench_recipe(&arguments),
        Some(Measurement::Training(arguments)) => training::training(arguments),
        Some(Measurement::Evaluation(arguments)) => evaluation::evaluation(arguments),
        Some(Measurement::Experiment(arguments)) => experiment::experiment(arguments),
        Some(Measurement::Serve(arguments)) => serve::serve(arguments),
        Some(Measurement::Live(arguments)) => live::live(arguments),
        Some(Measurement::History(arguments)) => history::history(arguments),
        Some(Measurement::Loading(arguments)) => loading::loading(arguments),
        Some(Measurement::Data(arguments)) => data::data(arguments),
        Some(Measurement::Kernels(arguments)) => kernels::kernels(arguments),
    }
}

fn bench_recipe(arguments: &BenchArguments) -> anyhow::Result<()> {
    let base = arguments.base.choose()?;
    let parts = read_parts(arguments)?;
    let directory = Scratch::make()?;
    let figures = Run::new(recipe(), &parts, None, directory.path()).carry_out(&base)?;
    let gflops = engine::device::matmul_gflops();
    if arguments.json {
        let object = json!({ "matmul_gflops": gflops, "figures": figures });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("{}", bench_table(&figures, gflops));
    }
    Ok(())
}

/// Spelled out, so that the benchmark stays the same when defaults move.
fn recipe() -> TrainSpec {
    TrainSpec {
        r: 16,
        lora_alpha: 32.0,
        lora_dropout: 0.0,
        target_modules: TargetModule::ALL.to_vec(),
        learning_rate: 1e-3,
        lr_scheduler_type: LrSchedulerType::Cosine,
        num_train_epochs: 5,
        per_device_train_batch_size: 16,
        gradient_accumulation_steps: 1,
        completion_only_loss: true,
        seed: 42,
        ..TrainSpec::default()
    }
}

fn read_parts(arguments: &BenchArguments) -> anyhow::Result<Parts> {
    let read =
        |argument, path: &Path| table::read_labelled(argument, path, &arguments.text_column, &arguments.label_column);
    match (&arguments.train, &arguments.test, &arguments.data) {
        (Some(train), Some(test), None) => Ok(Parts {
            train: read("--train", train)?,
            validation: LabelledTable::default(),
            test: read("--test", test)?,
        }),
        (None, None, Some(data)) => {
            let all = read("--data", data)?;
            let dealt = Split::default().deal(&SplitRow::of_file(&all.rows))?;
            let part = |wanted| LabelledTable {
                rows: all
                    .rows
                    .iter()
                    .zip(&dealt)
                    .filter(|(_, part)| **part == Some(wanted))
                    .map(|(row, _)| row.clone())
                    .collect(),
                rejected: Vec::new(),
            };
            Ok(Parts { train: part(Part::Train), validation: LabelledTable::default(), test: part(Part::Test) })
        }
        _ => Err(Usage("Name the rows with --train and --test, or with --data.".to_string()).into()),
    }
}

fn bench_table(figures: &TrainFigures, gflops: f64) -> String {
    let mut table = String::new();
    let _ = writeln!(
        table,
        "\n{} on {}: {} rows to train, {} to test; f32 matrix products here: {gflops:.0} GFLOP/s (768x384x2048)",
        figures.base_model, figures.device, figures.rows.train, figures.rows.test
    );
    let _ = writeln!(table, "\n{:<28} {:>12} {:>12}", "", "measured", "limit");
    let mut line = |name: &str, measured: String, limit: String, within: bool| {
        let verdict = if within { "" } else { "  missed" };
        let _ = writeln!(table, "{name:<28} {measured:>12} {limit:>12}{verdict}");
    };
    let seconds = |seconds: f64| format!("{seconds:.1} s");
    let (training, scoring) = (figures.seconds.training, figures.after.seconds);
    line("training", seconds(training), format!("<= {MOST_TRAIN_SECONDS:.0} s"), training <= MOST_TRAIN_SECONDS);
    line(
        "scoring the test rows",
        seconds(scoring),
        format!("<= {MOST_SCORING_SECONDS:.0} s"),
        scoring <= MOST_SCORING_SECONDS,
    );
    if let Some(bytes) = figures.peak_resident_bytes {
        let limit = format!("< {}", megabytes(MOST_MEMORY_BYTES));
        line("peak resident memory", megabytes(bytes), limit, bytes < MOST_MEMORY_BYTES);
    }
    let accuracy = figures.after.accuracy;
    line("test accuracy, after", format!("{accuracy:.3}"), format!(">= {LEAST_ACCURACY}"), accuracy >= LEAST_ACCURACY);
    let mut plain = |name: &str, measured: String| {
        let _ = writeln!(table, "{name:<28} {measured:>12}");
    };
    plain("test accuracy, before", format!("{:.3}", figures.before.accuracy));
    plain("test macro-F1, after", format!("{:.3}", figures.after.macro_f1));
    plain("scoring before training", seconds(figures.before.seconds));
    plain("training rows per second", format!("{:.1}", figures.rows_per_second.training));
    plain("loading the base", seconds(figures.seconds.loading));
    let _ = write!(
        table,
        "\nThe limits are meant for two cores and 900 + 900 rows; with other files or machines they are a hint."
    );
    table
}
