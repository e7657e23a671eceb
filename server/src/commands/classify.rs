//! `ayar classify`: labels for texts, from the command line or a file.

use crate::arguments::{Base, BaseArguments, ForeignAdapterArguments, Usage, adapter_folder};
use crate::figures::peak_resident_bytes;
use crate::interrupt;
use crate::progress::Progress;
use crate::table;
use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use domain::prediction::Prediction;
use engine::classify::ClassifierFile;
use engine::{BaseModel, Classifier};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Texts that go through the model together.
pub const BATCH_SIZE: usize = 32;

#[derive(Args)]
#[command(group(ArgGroup::new("texts").required(true).args(["text", "file"])))]
pub struct ClassifyArguments {
    /// Folder that `ayar train --out` wrote, or of an adapter in PEFT's format
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// A text; several follow each other or repeat the option
    #[arg(long, value_name = "TEXT", num_args = 1..)]
    text: Vec<String>,
    /// CSV file with texts
    #[arg(long, value_name = "IN.csv", requires = "out")]
    file: Option<PathBuf>,
    /// CSV file for the answers; one that is there is replaced once all answers are in
    #[arg(long, value_name = "OUT.csv", requires = "file")]
    out: Option<PathBuf>,
    /// Name of the column of IN.csv that holds the texts
    #[arg(long, value_name = "COLUMN", requires = "file", default_value = "text")]
    text_column: String,
    #[command(flatten)]
    base: BaseArguments,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    foreign: ForeignAdapterArguments,
}

pub fn classify(arguments: ClassifyArguments) -> anyhow::Result<()> {
    let adapter = adapter_folder(&arguments.adapter)?;
    match (&arguments.file, &arguments.out) {
        (Some(file), Some(out)) => classify_file(&arguments, &adapter, file, out),
        _ => classify_texts(&arguments, &adapter),
    }
}

fn classify_texts(arguments: &ClassifyArguments, adapter: &Path) -> anyhow::Result<()> {
    if let Some(empty) = arguments.text.iter().position(|text| text.trim().is_empty()) {
        return Err(Usage(format!("--text: text number {} is empty.", empty + 1)).into());
    }
    let Opened { classifier, .. } = open_classifier(&arguments.base.choose()?, adapter, &arguments.foreign)?;
    let texts: Vec<&str> = arguments.text.iter().map(String::as_str).collect();
    let began = Instant::now();
    let predictions = score("scoring", &classifier, &texts)?;
    let seconds = began.elapsed().as_secs_f64();
    let labels = classifier.labels();
    if arguments.json {
        let answers: Vec<Value> =
            texts.iter().zip(&predictions).map(|(text, prediction)| answer(labels, text, prediction)).collect();
        let object = json!({ "labels": labels, "predictions": answers, "seconds": seconds });
        println!("{}", serde_json::to_string_pretty(&object)?);
        return Ok(());
    }
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    for (text, prediction) in texts.iter().zip(&predictions) {
        let percent = prediction.confidence() * 100.0;
        println!("{:<width$}  {percent:>5.1} %  {text}", labels[prediction.label]);
    }
    Ok(())
}

fn answer(labels: &[String], text: &str, prediction: &Prediction) -> Value {
    let probabilities: Map<String, Value> =
        labels.iter().cloned().zip(prediction.probabilities.iter().map(|p| json!(p))).collect();
    json!({
        "text": text,
        "label": labels[prediction.label],
        "probabilities": probabilities,
        "cut": prediction.cut,
    })
}

fn classify_file(arguments: &ClassifyArguments, adapter: &Path, file: &Path, out: &Path) -> anyhow::Result<()> {
    let table = table::read_texts("--file", file, &arguments.text_column)?;
    if table.rows.is_empty() {
        bail!("{} has no usable rows.", file.display());
    }
    // Found out before the work, not after it.
    table::require_writable("--out", out)?;
    let Opened { classifier, .. } = open_classifier(&arguments.base.choose()?, adapter, &arguments.foreign)?;
    let texts: Vec<&str> = table.rows.iter().map(|row| row.text.as_str()).collect();
    let began = Instant::now();
    let predictions = score("scoring", &classifier, &texts)?;
    let seconds = began.elapsed().as_secs_f64();
    let labels = classifier.labels();
    table::write_aside(out, &answers_as_csv(labels, &table.rows, &predictions)?)?;

    let rows_per_second = texts.len() as f64 / seconds.max(1e-9);
    if arguments.json {
        let counts: Map<String, Value> = labels
            .iter()
            .enumerate()
            .map(|(index, label)| {
                (label.clone(), json!(predictions.iter().filter(|prediction| prediction.label == index).count()))
            })
            .collect();
        let object = json!({
            "out": out,
            "labels": labels,
            "rows": texts.len(),
            "rejected": table.rejected,
            "predicted": counts,
            "cut": predictions.iter().filter(|prediction| prediction.cut).count(),
            "seconds": seconds,
            "rows_per_second": rows_per_second,
            "peak_resident_bytes": peak_resident_bytes(),
        });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        println!("{} rows labelled in {seconds:.1} s ({rows_per_second:.1} rows/s): {}", texts.len(), out.display());
    }
    Ok(())
}

/// One line per text: its line in the file it came from, the text, its label, and the probability of every label.
fn answers_as_csv(
    labels: &[String],
    rows: &[domain::dataset::Row],
    predictions: &[Prediction],
) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = ["line", "text", "label", "probability"].map(String::from).into_iter();
    writer.write_record(head.chain(labels.iter().map(|label| format!("p({label})"))))?;
    for (row, prediction) in rows.iter().zip(predictions) {
        let answer = [
            row.line.to_string(),
            row.text.clone(),
            labels[prediction.label].clone(),
            format!("{:.6}", prediction.confidence()),
        ];
        writer.write_record(answer.into_iter().chain(prediction.probabilities.iter().map(|p| format!("{p:.6}"))))?;
    }
    writer.into_inner().context("The answers cannot be written as CSV")
}

/// The base, and the classifier that the adapter makes of it.
pub struct Opened {
    pub base: Arc<BaseModel>,
    pub classifier: Classifier,
    /// What the adapter's folder says of its labels and prompt, or the command line in its place.
    pub file: ClassifierFile,
}

pub fn open_classifier(base: &Base, adapter: &Path, foreign: &ForeignAdapterArguments) -> anyhow::Result<Opened> {
    // The weights are held as they were when the adapter was trained: else its answers would be others.
    let (base, file) = if adapter.join(ClassifierFile::NAME).exists() {
        foreign.refuse_all(adapter)?;
        let file = ClassifierFile::read(adapter)?;
        (base.load(file.quantization)?, file)
    } else {
        let (labels, spec) = foreign.told(adapter)?;
        let base = base.load(spec.quantization)?;
        let file = ClassifierFile::of(&base, &spec, &labels);
        (base, file)
    };
    let classifier = Classifier::open_as(base.clone(), adapter, file.clone())
        .with_context(|| format!("The adapter in {} cannot be opened", adapter.display()))?;
    Ok(Opened { base, classifier, file })
}

/// Scores texts, with a bar where it takes long. Ctrl-C fails.
pub fn score(work: &str, classifier: &Classifier, texts: &[&str]) -> anyhow::Result<Vec<Prediction>> {
    let stop = interrupt::listen();
    let mut progress = (texts.len() > BATCH_SIZE).then(Progress::start);
    if let Some(progress) = &mut progress {
        progress.begin(work);
    }
    let began = Instant::now();
    let outcome = classifier.classify(texts, BATCH_SIZE, &mut |done, _| {
        if let Some(progress) = &mut progress {
            progress.rows(done as u64, texts.len() as u64, began);
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(progress) = &progress {
        progress.finish();
    }
    outcome?.context("Stopped; nothing was written")
}
