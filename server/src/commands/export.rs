//! `ayar export`: what was trained, in a form that PEFT, Transformers or llama.cpp load.

use crate::arguments::{Base, BaseArguments, ForeignAdapterArguments, Usage, adapter_folder};
use crate::commands::classify::{BATCH_SIZE, Opened, open_classifier, score};
use crate::commands::train::FIGURES_FILE;
use crate::figures::{ExportFigures, TrainFigures};
use crate::interrupt;
use crate::progress::Progress;
use crate::table;
use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, builder::PossibleValue};
use domain::export::{ExportKind, MergeInto, ParityReport};
use domain::prediction::Prediction;
use engine::classify::ClassifierFile;
use engine::export::{ExportRequest, ModelCard, ParityRequest, export as write, parity};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Args)]
pub struct ExportArguments {
    /// Folder that `ayar train --out` wrote
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// What to make of it
    #[arg(long, value_name = "FORM", value_parser = kind_parser())]
    to: ExportKind,
    /// Folder or GGUF file to make; nothing may stand there yet
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Weights that the adapter is merged into: those the run has trained on, 4-bit rounding included, or the file's own
    #[arg(long, value_name = "WEIGHTS", value_parser = merge_parser(), default_value = MergeInto::AsTrained.as_str())]
    merge_into: MergeInto,
    /// CSV file with texts that the export is checked on: it is loaded again and compared with base and adapter
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Name of the column of the test file that holds the texts
    #[arg(long, value_name = "COLUMN", requires = "test", default_value = "text")]
    text_column: String,
    #[command(flatten)]
    base: BaseArguments,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

fn kind_parser() -> impl TypedValueParser<Value = ExportKind> {
    let names = ExportKind::ALL.map(|kind| PossibleValue::new(kind.as_str()).help(kind_help(kind)));
    PossibleValuesParser::new(names).try_map(|name| ExportKind::parse(&name).ok_or("no form of export"))
}

fn kind_help(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::Adapter => "folder for PEFT, without the base",
        ExportKind::Safetensors => "folder for Transformers, merged, bf16",
        ExportKind::Gguf(_) => "file for llama.cpp, merged",
    }
}

fn merge_parser() -> impl TypedValueParser<Value = MergeInto> {
    let names = MergeInto::ALL.map(MergeInto::as_str);
    PossibleValuesParser::new(names).try_map(|name| MergeInto::parse(&name).ok_or("no weights to merge into"))
}

pub fn export(arguments: ExportArguments) -> anyhow::Result<()> {
    let adapter = adapter_folder(&arguments.adapter)?;
    let base = arguments.base.choose()?;
    if fs::symlink_metadata(&arguments.out).is_ok() {
        let out = arguments.out.display();
        return Err(Usage(format!("--out: {out} is there already. Name another place; nothing was changed.")).into());
    }
    table::require_writable("--out", &arguments.out)?;
    let classifier = ClassifierFile::read(&adapter)?;
    let card = card(&adapter, &classifier, &arguments.out)?;
    let texts = match &arguments.test {
        Some(file) => texts(file, &arguments.text_column)?,
        None => Vec::new(),
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let reference = if texts.is_empty() { Vec::new() } else { reference(&base, &adapter, &texts)? };

    let began = Instant::now();
    let request = ExportRequest {
        base: base.path(),
        adapter: &adapter,
        classifier: &classifier,
        kind: arguments.to,
        merge_into: arguments.merge_into,
        out: &arguments.out,
        card: &card,
    };
    let stop = interrupt::listen();
    let mut progress = Progress::start();
    progress.begin("exporting");
    let exported = write(&request, &mut |at| {
        progress.bytes(at.done_bytes, at.total_bytes, began);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let exported = exported?.context("Stopped; nothing was written")?;
    let seconds = began.elapsed().as_secs_f64();
    let parity = match texts.is_empty() {
        true => None,
        false => Some(
            check(&request, &base, &texts, &reference)
                .with_context(|| format!("{} is written, but could not be checked", exported.path.display()))?,
        ),
    };
    let figures = ExportFigures {
        out: exported.path,
        form: arguments.to.as_str(),
        merged_into: (arguments.to != ExportKind::Adapter).then(|| arguments.merge_into.as_str()),
        bytes: exported.bytes,
        notes: exported.notes,
        seconds,
        parity,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures).context("The figures cannot be written as JSON")?);
    } else {
        println!("{}", figures.to_words());
    }
    Ok(())
}

fn texts(file: &Path, column: &str) -> anyhow::Result<Vec<String>> {
    let table = table::read_texts("--test", file, column)?;
    if table.rows.is_empty() {
        bail!("{} has no usable rows.", file.display());
    }
    Ok(table.rows.into_iter().map(|row| row.text).collect())
}

/// What base and adapter answer; they are gone from memory again before the export is made.
fn reference(base: &Base, adapter: &Path, texts: &[&str]) -> anyhow::Result<Vec<Prediction>> {
    let Opened { classifier, .. } = open_classifier(base, adapter, &ForeignAdapterArguments::default())?;
    score("scoring, as trained", &classifier, texts)
}

fn check(
    request: &ExportRequest,
    base: &Base,
    texts: &[&str],
    reference: &[Prediction],
) -> anyhow::Result<ParityReport> {
    let stop = interrupt::listen();
    let mut progress = Progress::start();
    progress.begin("scoring, as exported");
    let began = Instant::now();
    let of_export = ParityRequest {
        exported: request.out,
        kind: request.kind,
        base: request.base,
        classifier: request.classifier,
        device: base.device(),
        texts,
        reference,
        batch_size: BATCH_SIZE,
    };
    let report = parity::parity(&of_export, &mut |done| {
        progress.rows(done as u64, texts.len() as u64, began);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let report = report?.context("Stopped")?;
    parity::store(&report, request.out)?;
    Ok(report)
}

/// With what the run has left beside its adapter; of an adapter alone less is known.
fn card(adapter: &Path, classifier: &ClassifierFile, out: &Path) -> anyhow::Result<ModelCard> {
    let card = ModelCard {
        name: out.file_stem().map_or_else(|| "classifier".to_string(), |name| name.to_string_lossy().into_owned()),
        base_model: classifier.base_model.clone(),
        ..ModelCard::default()
    };
    let path = adapter.with_file_name(FIGURES_FILE);
    let Ok(figures) = fs::read(&path) else { return Ok(card) };
    let figures: TrainFigures =
        serde_json::from_slice(&figures).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(ModelCard {
        train_rows: Some(figures.rows.train as u64),
        validation_rows: Some(figures.rows.validation as u64),
        test_rows: Some(figures.rows.test as u64),
        recipe: Some(figures.spec),
        before: Some(figures.before),
        after: Some(figures.after),
        ..card
    })
}
