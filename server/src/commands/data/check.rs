use super::{ReadingArguments, reading_in_words, tell_rejected};
use crate::arguments::{DEFAULT_BASE_MODEL, Usage, on_disk};
use crate::interrupt;
use crate::progress::Progress;
use crate::scratch::Scratch;
use anyhow::bail;
use app::format::{count, counted, percent};
use clap::Args;
use domain::finding::{Examination, Finding, Severity, Verdict};
use domain::reading::UploadPreview;
use serde_json::json;
use service::checkup::check_file;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Characters of a line; what is longer goes on below.
const WIDTH: usize = 100;

#[derive(Args)]
pub struct CheckArguments {
    #[command(flatten)]
    reading: ReadingArguments,
    /// Base model whose tokens are counted: a GGUF file, a folder, or a model of the Hub that is in the cache
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_BASE_MODEL, env = "AYAR_BASE_MODEL")]
    model: PathBuf,
    /// Fail (exit code 1) where the examination finds problems
    #[arg(long)]
    strict: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn check(arguments: &CheckArguments) -> anyhow::Result<()> {
    let (_, preview) = arguments.reading.look()?;
    let model = self::model(&arguments.model)?;
    let scratch = Scratch::make()?;
    let stop = interrupt::listen();
    let mut progress = Progress::start();
    let mut step = String::new();
    let path = arguments.reading.path();
    let checked = check_file(path, &preview.options, model.as_deref(), scratch.path(), &mut |doing, share| {
        if doing != step {
            step = doing.to_string();
            progress.begin(doing);
        }
        progress.share(share);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let checkup = checked?;
    let examination = &checkup.examination;
    if arguments.json {
        let object = json!({
            "file": path,
            "reading": preview.options,
            "merges": preview.merges,
            "rejected": checkup.rejected,
            "examination": examination,
        });
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        tell_rejected(&checkup.rejected, examination.rejected);
        println!("{}", report(&preview, examination));
    }
    let problems = examination.findings.iter().filter(|finding| finding.severity == Severity::Problem).count();
    if arguments.strict && problems > 0 {
        bail!("{} in {}.", counted(problems as u64, "problem", "problems"), path.display());
    }
    Ok(())
}

/// A check needs no model: away from the repository, where the base that nobody asked for is not there, tokens are not
/// counted.
fn model(given: &Path) -> Result<Option<PathBuf>, Usage> {
    if given == Path::new(DEFAULT_BASE_MODEL) && !given.exists() {
        eprintln!("No base model at {DEFAULT_BASE_MODEL}: lengths in tokens are left out. --model names one.");
        return Ok(None);
    }
    on_disk("--model", given).map(Some)
}

fn report(preview: &UploadPreview, examination: &Examination) -> String {
    let mut report = String::new();
    let labels: Vec<String> = examination
        .charts
        .labels
        .iter()
        .take(12)
        .map(|label| format!("{} {}", label.label, count(label.rows)))
        .collect();
    let _ = writeln!(report, "{}: {}", preview.file_name, reading_in_words(preview));
    let _ = writeln!(
        report,
        "{}, {} left out; labels: {}",
        counted(examination.rows, "row", "rows"),
        count(examination.rejected),
        labels.join(", ")
    );
    let verdict = match examination.health.verdict {
        Verdict::Good => "GOOD",
        Verdict::Fair => "FAIR",
        Verdict::Poor => "POOR",
    };
    let _ = writeln!(report, "\n{verdict}: {}", examination.health.summary);
    for sentence in &examination.health.sentences {
        wrapped(&mut report, "  ", sentence);
    }
    let _ = writeln!(report, "\nhighest accuracy that these rows allow: {}", percent(examination.ceiling));
    for merge in &preview.merges {
        let from: Vec<String> = merge.from.iter().map(|label| format!("\"{}\"", label.label)).collect();
        let _ = writeln!(report, "labels that may be one: {} (\"{}\"): {}", from.join(", "), merge.into, merge.reason);
    }
    for finding in &examination.findings {
        tell(&mut report, finding);
    }
    if examination.findings.is_empty() {
        let _ = writeln!(report, "\nNothing was found.");
    }
    let _ = write!(report, "\nexamined in {:.1} s", examination.seconds);
    report
}

fn tell(report: &mut String, finding: &Finding) {
    let severity = match finding.severity {
        Severity::Problem => "PROBLEM",
        Severity::Warning => "WARNING",
        Severity::Note => "note",
    };
    let rows = counted(finding.rows, "row", "rows");
    let _ = writeln!(report, "\n{severity:<8} {} ({rows})", finding.headline);
    wrapped(report, "         ", &finding.why);
    for fact in finding.facts.iter().take(5) {
        wrapped(report, "         ", &format!("- {}: {}", fact.name, count(fact.count)));
    }
    let repairs: Vec<&str> = finding.repairs.iter().map(|offer| offer.title.as_str()).collect();
    if !repairs.is_empty() {
        wrapped(report, "         ", &format!("Repairs after an import: {}", repairs.join("; ")));
    }
}

/// Words after an indentation, broken between words.
fn wrapped(report: &mut String, indentation: &str, words: &str) {
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() && indentation.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(report, "{indentation}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(report, "{indentation}{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_for_people_are_broken_between_words() {
        let mut report = String::new();
        wrapped(&mut report, "  ", &"four ".repeat(40));
        assert!(
            report.lines().count() == 3 && report.lines().all(|line| line.len() <= WIDTH && line.starts_with("  four"))
        );
    }
}
