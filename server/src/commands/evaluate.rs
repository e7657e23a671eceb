//! `ayar evaluate`: how good an adapter is on rows with known labels, and the base without it.

use crate::arguments::{BaseArguments, ForeignAdapterArguments, adapter_folder};
use crate::commands::classify::{Opened, open_classifier, score};
use crate::figures::{EvaluateFigures, peak_resident_bytes};
use crate::table;
use anyhow::{Context, bail};
use clap::Args;
use domain::cleanliness::{Cleanliness, flag_test_rows};
use domain::metrics::Evaluation;
use engine::Classifier;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub struct EvaluateArguments {
    /// Folder that `ayar train --out` wrote, or of an adapter in PEFT's format
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// CSV file with texts and their true labels
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Name of the column that holds the texts
    #[arg(long, value_name = "COLUMN")]
    text_column: String,
    /// Name of the column that holds the labels
    #[arg(long, value_name = "COLUMN")]
    label_column: String,
    #[command(flatten)]
    base: BaseArguments,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    foreign: ForeignAdapterArguments,
}

pub fn evaluate(arguments: EvaluateArguments) -> anyhow::Result<()> {
    let adapter = adapter_folder(&arguments.adapter)?;
    let table = table::read_labelled("--data", &arguments.data, &arguments.text_column, &arguments.label_column)?;
    let Opened { base, classifier, file } = open_classifier(&arguments.base.choose()?, &adapter, &arguments.foreign)?;
    let labels = classifier.labels().to_vec();
    let examples = table.examples(&labels)?;
    if examples.is_empty() {
        bail!("{} has no usable rows.", arguments.data.display());
    }
    let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
    let truth: Vec<usize> = examples.iter().map(|example| example.label).collect();
    let plain = Classifier::base_only(base.clone(), &file.prompt_setup())?;
    let evaluate = |work, classifier| {
        let began = Instant::now();
        let predictions = score(work, classifier, &texts)?;
        let seconds = began.elapsed().as_secs_f64();
        anyhow::Ok((Evaluation::from_predictions(&labels, &truth, &predictions, seconds), predictions))
    };
    let (before, answers_before) = evaluate("scoring, before", &plain)?;
    let (after, answers_after) = evaluate("scoring, after", &classifier)?;
    let flags = flag_test_rows(&[], &[], &table.rows);
    let cleanliness =
        Cleanliness::of(&flags).scored(&labels, &flags, &truth, [&answers_before[..], &answers_after[..]]);
    let figures = EvaluateFigures {
        cleanliness,
        adapter,
        base_model: base.info().name.clone(),
        device: engine::device::describe(base.device()).name,
        rows: texts.len(),
        rejected: table.rejected.len(),
        rows_per_second: texts.len() as f64 / after.seconds.max(1e-9),
        before,
        after,
        labels,
        peak_resident_bytes: peak_resident_bytes(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures).context("The figures cannot be written as JSON")?);
    } else {
        println!("{}", figures.to_table());
    }
    Ok(())
}
