//! What a command found out: one JSON object for programs, a small table for people.

use domain::cleanliness::Cleanliness;
use domain::export::ParityReport;
use domain::metrics::Evaluation;
use domain::spec::TrainSpec;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::PathBuf;

/// Rows of each part, and rows of the files that could not be used.
#[derive(Debug, Deserialize, Serialize)]
pub struct RowCounts {
    pub train: usize,
    pub validation: usize,
    pub test: usize,
    pub rejected: usize,
}

/// Wall time of each phase.
#[derive(Debug, Deserialize, Serialize)]
pub struct PhaseSeconds {
    pub loading: f64,
    pub baseline: f64,
    pub training: f64,
    pub evaluating: f64,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct RowsPerSecond {
    /// Over all epochs.
    pub training: f64,
    pub scoring: f64,
}

/// What `ayar train --json` prints and `figures.json` in the run's folder holds.
#[derive(Debug, Deserialize, Serialize)]
pub struct TrainFigures {
    pub adapter: PathBuf,
    /// The adapter that training went on from; what is "before" is the base with it.
    pub start_from: Option<PathBuf>,
    pub base_model: String,
    pub device: String,
    pub labels: Vec<String>,
    pub rows: RowCounts,
    pub before: Evaluation,
    pub after: Evaluation,
    /// What the test rows are worth. Figures written before that was looked at have none.
    #[serde(default)]
    pub cleanliness: Option<Cleanliness>,
    pub final_loss: f64,
    pub steps: u64,
    pub seconds: PhaseSeconds,
    pub rows_per_second: RowsPerSecond,
    pub peak_resident_bytes: Option<u64>,
    /// The recipe, with the adapter's rank, alpha and modules where training went on from one.
    pub spec: TrainSpec,
}

impl TrainFigures {
    /// For a person at a terminal.
    pub fn to_table(&self) -> String {
        format!(
            "{}training {:.1} s ({:.1} rows/s, {} steps), scoring {} rows {:.1} s, peak memory {}\nadapter: {}",
            comparison(&self.before, &self.after, self.cleanliness.as_ref()),
            self.seconds.training,
            self.rows_per_second.training,
            self.steps,
            self.rows.test,
            self.after.seconds,
            self.peak_resident_bytes.map_or_else(|| "not known here".to_string(), megabytes),
            self.adapter.display()
        )
    }
}

/// What `ayar evaluate --json` prints.
#[derive(Debug, Serialize)]
pub struct EvaluateFigures {
    pub adapter: PathBuf,
    pub base_model: String,
    pub device: String,
    pub labels: Vec<String>,
    pub rows: usize,
    pub rejected: usize,
    /// The base without the adapter, under the same prompt.
    pub before: Evaluation,
    pub after: Evaluation,
    /// What the rows are worth, as far as they tell by themselves: what the adapter was trained on is not known here.
    pub cleanliness: Cleanliness,
    pub rows_per_second: f64,
    pub peak_resident_bytes: Option<u64>,
}

impl EvaluateFigures {
    /// For a person at a terminal.
    pub fn to_table(&self) -> String {
        format!(
            "{}{} rows in {:.1} s ({:.1} rows/s)",
            comparison(&self.before, &self.after, Some(&self.cleanliness)),
            self.rows,
            self.after.seconds,
            self.rows_per_second
        )
    }
}

/// What `ayar export --json` prints.
#[derive(Debug, Serialize)]
pub struct ExportFigures {
    pub out: PathBuf,
    pub form: &'static str,
    /// None where nothing was merged.
    pub merged_into: Option<&'static str>,
    pub bytes: u64,
    pub notes: Vec<String>,
    pub seconds: f64,
    /// None where there were no rows to check it on.
    pub parity: Option<ParityReport>,
}

impl ExportFigures {
    /// For a person at a terminal.
    pub fn to_words(&self) -> String {
        let mut words = format!("{}: {} in {:.1} s", self.out.display(), megabytes(self.bytes), self.seconds);
        for note in &self.notes {
            let _ = write!(words, "\n{note}");
        }
        if let Some(parity) = &self.parity {
            let _ = write!(
                words,
                "\nloaded again, on {} rows: {} labels changed, probabilities differ by at most {:.4} and on average by \
                 {:.4}",
                parity.rows,
                parity.changed_labels,
                parity.largest_probability_difference,
                parity.mean_probability_difference
            );
        }
        words
    }
}

/// Before and after: the headline figures, every label's F1, what the test rows are worth, both confusion matrices.
fn comparison(before: &Evaluation, after: &Evaluation, cleanliness: Option<&Cleanliness>) -> String {
    let mut table = format!("\n{:<20} {:>8} {:>8} {:>8}\n", "", "before", "after", "change");
    let mut line = |name: &str, before: f64, after: f64| {
        let _ = writeln!(table, "{name:<20} {before:>8.3} {after:>8.3} {:>+8.3}", after - before);
    };
    line("accuracy", before.accuracy, after.accuracy);
    line("macro-F1", before.macro_f1, after.macro_f1);
    line("log loss", before.log_loss, after.log_loss);
    for (before, after) in before.classes.iter().zip(&after.classes) {
        line(&format!("F1 {}", shorten(&before.label, 16)), before.f1, after.f1);
    }
    if let Some(cleanliness) = cleanliness {
        table += &badge(cleanliness);
    }
    let _ = writeln!(table, "\nbefore{}", confusion_table(before));
    let _ = writeln!(table, "after{}", confusion_table(after));
    table
}

/// The badge, with the scores on the clean rows alone where there are others.
fn badge(cleanliness: &Cleanliness) -> String {
    let mut words = format!("\ntest rows: {}\n", cleanliness.words());
    if let (false, Some(before), Some(after)) = (cleanliness.is_clean(), cleanliness.before, cleanliness.after) {
        let _ = writeln!(words, "on the {} clean ones alone:", cleanliness.clean_rows);
        let mut line = |name: &str, before: f64, after: f64| {
            let _ = writeln!(words, "{name:<20} {before:>8.3} {after:>8.3} {:>+8.3}", after - before);
        };
        line("accuracy", before.accuracy, after.accuracy);
        line("macro-F1", before.macro_f1, after.macro_f1);
    }
    words
}

/// True labels down, predicted labels across.
fn confusion_table(evaluation: &Evaluation) -> String {
    let labels = &evaluation.confusion.labels;
    let mut table = format!("\n{:<20}", "true \\ predicted");
    for label in labels {
        let _ = write!(table, " {:>12}", shorten(label, 12));
    }
    table.push('\n');
    for (label, counts) in labels.iter().zip(&evaluation.confusion.counts) {
        let _ = write!(table, "{:<20}", shorten(label, 20));
        for count in counts {
            let _ = write!(table, " {count:>12}");
        }
        table.push('\n');
    }
    table
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

/// Cut to `characters`, with an ellipsis where something was cut.
pub fn shorten(words: &str, characters: usize) -> String {
    if words.chars().count() <= characters {
        return words.to_string();
    }
    let mut short: String = words.chars().take(characters.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The most memory that this process has held at once, in bytes; `None` where the system does not tell.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::cleanliness::Score;
    use domain::prediction::Prediction;

    fn evaluation(predicted: [usize; 3]) -> Evaluation {
        let labels = ["negative", "positive"].map(String::from);
        let predictions: Vec<Prediction> =
            predicted.iter().map(|&label| Prediction { label, probabilities: vec![0.5, 0.5], cut: false }).collect();
        Evaluation::from_predictions(&labels, &[0, 1, 1], &predictions, 2.0)
    }

    #[test]
    fn the_json_object_has_what_programs_look_for() {
        let figures = TrainFigures {
            start_from: None,
            adapter: "out/adapter".into(),
            base_model: "tohum-16m".into(),
            device: "CPU, 2 cores".into(),
            labels: vec!["negative".into(), "positive".into()],
            rows: RowCounts { train: 5, validation: 0, test: 3, rejected: 1 },
            before: evaluation([0, 0, 0]),
            after: evaluation([0, 1, 1]),
            cleanliness: Some(Cleanliness {
                test_rows: 3,
                contradicted: 1,
                also_in_training: 0,
                clean_rows: 2,
                before: Some(Score { accuracy: 0.5, macro_f1: 0.25 }),
                after: Some(Score { accuracy: 0.75, macro_f1: 0.5 }),
            }),
            final_loss: 0.1,
            steps: 4,
            seconds: PhaseSeconds { loading: 0.1, baseline: 2.0, training: 3.0, evaluating: 2.0 },
            rows_per_second: RowsPerSecond { training: 10.0, scoring: 1.5 },
            peak_resident_bytes: Some(1),
            spec: TrainSpec::small_base(),
        };
        let json = serde_json::to_value(&figures).unwrap();
        for moment in ["before", "after"] {
            for key in ["accuracy", "macro_f1", "classes", "confusion"] {
                assert!(!json[moment][key].is_null(), "{moment}.{key}");
            }
        }
        for key in ["seconds", "rows_per_second", "peak_resident_bytes", "steps", "spec"] {
            assert!(!json[key].is_null(), "{key}");
        }
        assert_eq!(json["after"]["accuracy"], 1.0);
        let table = figures.to_table();
        assert!(table.contains("+0.667") && table.contains("negative"), "{table}");
        assert!(table.contains("1 of 3 test rows contradicted") && table.contains("2 clean ones"), "{table}");
        assert!(table.contains("0.750"), "{table}");
    }

    #[test]
    fn words_are_cut_by_characters_not_bytes() {
        assert_eq!(shorten("olumlu", 6), "olumlu");
        assert_eq!(shorten("ışıklı", 4), "ışı…");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peak_memory_is_told_on_linux() {
        assert!(peak_resident_bytes().unwrap() > 1024 * 1024);
    }
}
