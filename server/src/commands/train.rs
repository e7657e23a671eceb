//! `ayar train`: from CSV files to an adapter, with an honest before and after.

mod manifest;

use crate::arguments::{Base, BaseArguments, KnobArguments, Usage, adapter_folder};
use crate::figures::{PhaseSeconds, RowCounts, RowsPerSecond, TrainFigures, peak_resident_bytes};
use crate::interrupt;
use crate::progress::Progress;
use crate::table::{self, LabelledTable};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use domain::cleanliness::{Cleanliness, flag_test_rows};
use domain::dataset::{check_labels, count_labels};
use domain::manifest::ManifestData;
use domain::run::RunEvent;
use domain::spec::TrainSpec;
use engine::adapter::peft;
use engine::train::{TrainOutcome, TrainRequest, adapter_directory};
use manifest::Told;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// In the folder of a finished run: what `--json` printed.
pub const FIGURES_FILE: &str = "figures.json";

#[derive(Args)]
pub struct TrainArguments {
    /// CSV file with the rows to learn from
    #[arg(long, value_name = "FILE", required_unless_present = "manifest")]
    train: Option<PathBuf>,
    /// CSV file with the rows that are scored before and after
    #[arg(long, value_name = "FILE", required_unless_present = "manifest")]
    test: Option<PathBuf>,
    /// CSV file with the rows that choose the best adapter along the way
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// Name of the column that holds the texts
    #[arg(long, value_name = "COLUMN", required_unless_present = "manifest")]
    text_column: Option<String>,
    /// Name of the column that holds the labels
    #[arg(long, value_name = "COLUMN", required_unless_present = "manifest")]
    label_column: Option<String>,
    /// Manifest of a run that is made again: its rows and its recipe, which is refused where something is not as it was
    #[arg(long, value_name = "FILE", conflicts_with_all = ["train", "test", "validation", "text_column", "label_column"])]
    manifest: Option<PathBuf>,
    /// Data folder with the datasets that a server's manifest names; no server may be at work there
    #[arg(long, value_name = "DIR", env = "AYAR_DATA_DIR", default_value = "data/local")]
    data_dir: PathBuf,
    /// Folder for TensorBoard's event files, written while it trains
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    #[command(flatten)]
    base: BaseArguments,
    /// Adapter in PEFT's format to go on from; its rank, alpha and target modules take the place of the knobs'
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Folder for checkpoints and the adapter. A run that was interrupted goes on from its checkpoint here
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the knobs below start from
    #[arg(long, value_enum, default_value_t = Recipe::Notebook)]
    recipe: Recipe,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    knobs: KnobArguments,
}

/// A set of defaults for the knobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Recipe {
    /// The notebook's, for a base of some billion parameters
    Notebook,
    /// For a base of some ten million parameters on a CPU, such as the embedded one
    SmallBase,
}

impl Recipe {
    fn spec(self) -> TrainSpec {
        match self {
            Self::Notebook => TrainSpec::default(),
            Self::SmallBase => TrainSpec::small_base(),
        }
    }
}

/// The rows of a run, part by part.
pub struct Parts {
    pub train: LabelledTable,
    pub validation: LabelledTable,
    pub test: LabelledTable,
}

pub fn train(arguments: TrainArguments) -> anyhow::Result<()> {
    let base = arguments.base.choose()?;
    let start_from = arguments.adapter.as_deref().map(adapter_folder).transpose()?;
    let file = arguments.out.join(FIGURES_FILE);
    if file.exists() {
        return Err(Usage(format!(
            "--out: {} holds a finished run already. Choose another folder; nothing was changed.",
            arguments.out.display()
        ))
        .into());
    }
    let Asked { spec, parts, labels, told } = asked(&arguments, &base, start_from.as_deref())?;
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("The folder {} cannot be made", arguments.out.display()))?;
    let tensorboard = arguments.tensorboard.clone();
    let run = Run { labels, told: Some(told), tensorboard, ..Run::new(spec, &parts, start_from, &arguments.out) };
    let figures = run.carry_out(&base)?;
    let json = serde_json::to_string_pretty(&figures).context("The figures cannot be written as JSON")?;
    table::write_aside(&file, json.as_bytes())?;
    if arguments.json {
        println!("{json}");
    } else {
        println!("{}", figures.to_table());
    }
    Ok(())
}

/// What the arguments ask for.
struct Asked {
    spec: TrainSpec,
    parts: Parts,
    /// Where their order is given.
    labels: Option<Vec<String>>,
    told: Told,
}

fn asked(arguments: &TrainArguments, base: &Base, start_from: Option<&Path>) -> anyhow::Result<Asked> {
    if let Some(path) = &arguments.manifest {
        if arguments.knobs.are_given() {
            return Err(Usage("--manifest brings the whole recipe: leave out the knobs.".to_string()).into());
        }
        let expected = manifest::read(path, base, start_from)?;
        return Ok(Asked {
            spec: expected.spec.clone(),
            parts: manifest::rows(&expected, &arguments.data_dir, base)?,
            labels: Some(expected.labels.clone()),
            told: Told { data: expected.data.clone(), expected: Some(expected) },
        });
    }
    let spec = arguments.knobs.apply(arguments.recipe.spec())?;
    // clap has seen to these.
    let (Some(train), Some(test)) = (&arguments.train, &arguments.test) else { bail!("--train and --test are needed") };
    let (Some(text_column), Some(label_column)) = (&arguments.text_column, &arguments.label_column) else {
        bail!("--text-column and --label-column are needed");
    };
    let read = |argument, path: &Path| table::read_labelled(argument, path, text_column, label_column);
    let validation = arguments.validation.as_deref();
    let parts = Parts {
        train: read("--train", train)?,
        validation: validation.map(|path| read("--validation", path)).transpose()?.unwrap_or_default(),
        test: read("--test", test)?,
    };
    let data = ManifestData::Files {
        train: manifest::absolute(train),
        validation: validation.map(manifest::absolute),
        test: manifest::absolute(test),
        text_column: text_column.clone(),
        label_column: label_column.clone(),
    };
    Ok(Asked { spec, parts, labels: None, told: Told { data, expected: None } })
}

/// What is trained, and where.
pub struct Run<'a> {
    spec: TrainSpec,
    parts: &'a Parts,
    /// The folder of an adapter to go on from.
    start_from: Option<PathBuf>,
    /// For checkpoints and the adapter.
    directory: &'a Path,
    /// In the order of the classifier's probabilities; `None`: most frequent first.
    labels: Option<Vec<String>>,
    /// What a manifest says; `None`: none is written.
    told: Option<Told>,
    tensorboard: Option<PathBuf>,
}

impl<'a> Run<'a> {
    /// One that leaves nothing but its adapter.
    pub fn new(spec: TrainSpec, parts: &'a Parts, start_from: Option<PathBuf>, directory: &'a Path) -> Self {
        Self { spec, parts, start_from, directory, labels: None, told: None, tensorboard: None }
    }

    /// Trains and tells what came of it. Ctrl-C writes a checkpoint and fails with words on how to go on.
    pub fn carry_out(self, base: &Base) -> anyhow::Result<TrainFigures> {
        run(base, self)
    }
}

fn run(
    base: &Base,
    Run { spec, parts, start_from, directory, labels, told, tensorboard }: Run,
) -> anyhow::Result<TrainFigures> {
    let counts = count_labels(parts.train.rows.iter().map(|row| row.label.as_str()));
    check_labels(&counts)?;
    let labels = labels.unwrap_or_else(|| counts.into_iter().map(|count| count.label).collect());
    let request = TrainRequest {
        train: parts.train.examples(&labels)?,
        validation: parts.validation.examples(&labels)?,
        test: parts.test.examples(&labels)?,
        labels,
        spec,
        start_from,
        directory: directory.to_path_buf(),
    };
    if request.test.is_empty() {
        bail!("The test file has no usable rows.");
    }

    let flags = flag_test_rows(&parts.train.rows, &parts.validation.rows, &parts.test.rows);
    let cleanliness = Cleanliness::of(&flags);
    if !cleanliness.is_clean() {
        eprintln!("The test rows are not clean: {}.", cleanliness.words());
    }

    let stop = interrupt::listen();
    let mut progress = Progress::start();
    let began = Instant::now();
    let chosen = base;
    let base = chosen.load(request.spec.quantization)?;
    let loading = began.elapsed().as_secs_f64();
    if let Some(told) = told {
        manifest::write(told, chosen, &base.info().name, &request)?;
    }
    let mut event_file =
        tensorboard.map(|folder| service::tracking::event_file_in(&folder, manifest::now_ms())).transpose()?;
    let outcome = engine::train::train(&base, &request, &mut |event| {
        progress.event(&event);
        if let Some(file) = &mut event_file
            && let Err(error) = file.write(&event, manifest::now_ms())
        {
            progress.say(&format!("The event file is given up: {error}"));
            event_file = None;
        }
        // A checkpoint is written also on the way out.
        let is_over = stop.load(Ordering::Relaxed) && !matches!(event, RunEvent::Checkpoint { .. });
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    if let Some(mut file) = event_file {
        file.flush().context("The end of the event file cannot be written")?;
    }
    let report = match outcome? {
        TrainOutcome::Finished(report) => report,
        TrainOutcome::Stopped { step } => {
            bail!("Stopped at step {step}, with a checkpoint. The same command goes on from there.")
        }
    };
    let adapter = adapter_directory(directory);
    let mut spec = request.spec;
    if request.start_from.is_some() {
        let trained = peft::read(&adapter)?.config;
        (spec.r, spec.lora_alpha, spec.target_modules) = (trained.r as u64, trained.lora_alpha, trained.target_modules);
    }
    let truth: Vec<usize> = request.test.iter().map(|example| example.label).collect();
    let answers = [&report.before_predictions[..], &report.after_predictions[..]];
    let cleanliness = cleanliness.scored(&request.labels, &flags, &truth, answers);
    Ok(TrainFigures {
        cleanliness: Some(cleanliness),
        adapter,
        start_from: request.start_from,
        base_model: base.info().name.clone(),
        device: engine::device::describe(base.device()).name,
        rows: RowCounts {
            train: request.train.len(),
            validation: request.validation.len(),
            test: request.test.len(),
            rejected: parts.train.rejected.len() + parts.validation.rejected.len() + parts.test.rejected.len(),
        },
        labels: request.labels,
        final_loss: report.final_loss,
        steps: report.steps,
        seconds: PhaseSeconds {
            loading,
            baseline: report.baseline_seconds,
            training: report.train_seconds,
            evaluating: report.evaluate_seconds,
        },
        rows_per_second: RowsPerSecond {
            training: report.train_rows_per_second,
            scoring: request.test.len() as f64 / report.after.seconds.max(1e-9),
        },
        before: report.before,
        after: report.after,
        peak_resident_bytes: peak_resident_bytes(),
        spec,
    })
}
