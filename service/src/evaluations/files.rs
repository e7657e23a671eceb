//! What an evaluation is saved as: curves, rows, scores and confusion matrices of a run, and the scores of several runs,
//! each as CSV and as JSON.

use super::{Evaluated, Evaluations};
use crate::datasets::blocking;
use crate::datasets::csv_export::plain_name;
use crate::error::Result;
use crate::saved_file::{ExportedFile, FileKind, Lines, json};
use domain::error::UserError;
use domain::metrics::comparison::Flip;
use domain::metrics::interval::Interval;
use domain::metrics::report::{ClassReport, ModelReport};
use domain::metrics::{ConfusionMatrix, comparison::flips};
use domain::row_query::{NumberedRow, RowQuery};
use domain::run::{Moment, RunId, StepPoint, TestRow, ValidationPoint};
use domain::runs_comparison::RunsComparison;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// About how large a piece is.
const PIECE_BYTES: usize = 128 * 1024;

impl Evaluations {
    /// The test rows that are asked for, on all pages, in that order.
    ///
    /// # Errors
    /// There is no such run, or it has no answers yet. So with the others.
    pub async fn rows_file(&self, id: RunId, query: RowQuery, kind: FileKind) -> Result<ExportedFile> {
        let evaluated = self.there(id).await?;
        let file_name = format!("{}-rows.{}", plain_name(&evaluated.name), kind.ending());
        let rows = evaluated.clone();
        let places = blocking(move || Ok(query.places(&rows.rows))).await?;
        let pieces = Box::new(RowPieces { evaluated, places, next: 0, kind, is_done: false });
        Ok(ExportedFile { file_name, kind, pieces })
    }

    /// What the page of a run draws over its steps: loss, learning rate and gradient of each step, and what each look at
    /// the validation rows came to. Of a run that is under way, as far as it is.
    pub async fn curves_file(&self, id: RunId, kind: FileKind) -> Result<ExportedFile> {
        #[derive(Serialize)]
        struct Curves<'a> {
            steps: &'a [StepPoint],
            validations: &'a [ValidationPoint],
        }
        let name = self.runs.get(id).await?.summary.name;
        let picture = self.runs.picture(id).await?;
        let bytes = match kind {
            FileKind::Json => json(&Curves { steps: &picture.steps, validations: &picture.validations })?,
            FileKind::Csv => curve_lines(&picture.steps, &picture.validations),
        };
        Ok(ExportedFile::whole(format!("{}-curves.{}", plain_name(&name), kind.ending()), kind, bytes))
    }

    /// Every score with its interval, before and after.
    pub async fn scores_file(&self, id: RunId, kind: FileKind) -> Result<ExportedFile> {
        let evaluated = self.there(id).await?;
        let report = &evaluated.report;
        let bytes = match kind {
            FileKind::Json => json(report)?,
            FileKind::Csv => {
                let mut lines = Lines::new(&["moment", "score", "label", "value", "low", "high", "rows"]);
                for (moment, model) in [("before", report.before.as_ref()), ("after", Some(&report.after))] {
                    let Some(model) = model else { continue };
                    for line in score_lines(model) {
                        let [low, high] = ends(line.interval);
                        let rows = line.support.unwrap_or(report.rows).to_string();
                        lines.push(&[moment, line.score, line.label, &line.value.to_string(), &low, &high, &rows]);
                    }
                }
                lines.into_bytes()
            }
        };
        Ok(ExportedFile::whole(format!("{}-scores.{}", plain_name(&evaluated.name), kind.ending()), kind, bytes))
    }

    /// Both confusion matrices.
    pub async fn confusion_file(&self, id: RunId, kind: FileKind) -> Result<ExportedFile> {
        #[derive(Serialize)]
        struct Both<'a> {
            before: Option<&'a ConfusionMatrix>,
            after: &'a ConfusionMatrix,
        }
        let evaluated = self.there(id).await?;
        let report = &evaluated.report;
        let both =
            Both { before: report.before.as_ref().map(|model| &model.confusion), after: &report.after.confusion };
        let bytes = match kind {
            FileKind::Json => json(&both)?,
            FileKind::Csv => {
                let mut lines = Lines::new(&["moment", "true", "answer", "rows", "share_of_true"]);
                for (moment, matrix) in [("before", both.before), ("after", Some(both.after))] {
                    let Some(matrix) = matrix else { continue };
                    for (truth, counts) in matrix.labels.iter().zip(&matrix.counts) {
                        let all: u64 = counts.iter().sum();
                        for (answer, count) in matrix.labels.iter().zip(counts) {
                            let share = *count as f64 / all.max(1) as f64;
                            lines.push(&[moment, truth, answer, &count.to_string(), &share.to_string()]);
                        }
                    }
                }
                lines.into_bytes()
            }
        };
        Ok(ExportedFile::whole(format!("{}-confusion.{}", plain_name(&evaluated.name), kind.ending()), kind, bytes))
    }

    /// The scores of several runs, and each against the one that they are compared with.
    pub async fn comparison_file(&self, ids: &[RunId], against: Option<RunId>, kind: FileKind) -> Result<ExportedFile> {
        let comparison = self.compare(ids, against).await?;
        let bytes = match kind {
            FileKind::Json => json(&comparison)?,
            FileKind::Csv => comparison_lines(&comparison),
        };
        Ok(ExportedFile::whole(format!("comparison.{}", kind.ending()), kind, bytes))
    }

    async fn there(&self, id: RunId) -> Result<Arc<Evaluated>> {
        let evaluated = self.evaluated(id).await?;
        evaluated.ok_or_else(|| {
            let words = format!("Run {id} has no answers to its test rows yet. Come back when it is finished.");
            UserError::conflict(words).into()
        })
    }
}

/// A line per step; the looks stand beside the steps after which they were taken.
fn curve_lines(steps: &[StepPoint], validations: &[ValidationPoint]) -> Vec<u8> {
    let heads = [
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "grad_norm",
        "rows_per_second",
        "elapsed_seconds",
        "validation_loss",
        "validation_accuracy",
        "validation_macro_f1",
    ];
    let mut lines = Lines::new(&heads);
    let looks: BTreeMap<u64, &ValidationPoint> = validations.iter().map(|look| (look.step, look)).collect();
    let looked = |step: u64| {
        looks.get(&step).map_or_else(Default::default, |look| {
            [look.loss, look.accuracy, look.macro_f1].map(|value| value.to_string())
        })
    };
    for step in steps {
        let values =
            [step.epoch, step.loss, step.learning_rate, step.grad_norm, step.rows_per_second, step.elapsed_seconds];
        let cells: Vec<String> = std::iter::once(step.step.to_string())
            .chain(values.map(|value| value.to_string()))
            .chain(looked(step.step))
            .collect();
        lines.push(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    lines.into_bytes()
}

/// One score in a file.
struct FileLine<'a> {
    score: &'static str,
    /// Empty for those of all labels.
    label: &'a str,
    value: f64,
    interval: Option<Interval>,
    support: Option<u64>,
}

fn score_lines(model: &ModelReport) -> Vec<FileLine<'_>> {
    let whole = model.lines().into_iter().filter_map(|line| {
        Some(FileLine { score: line.name, label: "", value: line.value?, interval: line.interval, support: None })
    });
    let mut lines: Vec<FileLine> = whole.collect();
    for ClassReport { figures, intervals } in &model.classes {
        for (score, value, interval) in [
            ("precision", figures.precision, intervals.map(|of| of.precision)),
            ("recall", figures.recall, intervals.map(|of| of.recall)),
            ("f1", figures.f1, intervals.map(|of| of.f1)),
        ] {
            lines.push(FileLine { score, label: &figures.label, value, interval, support: Some(figures.support) });
        }
    }
    lines
}

fn ends(interval: Option<Interval>) -> [String; 2] {
    interval.map_or_else(Default::default, |interval| [interval.low.to_string(), interval.high.to_string()])
}

fn comparison_lines(comparison: &RunsComparison) -> Vec<u8> {
    let heads = [
        "run",
        "name",
        "score",
        "label",
        "value",
        "low",
        "high",
        "against",
        "shared_rows",
        "fixed",
        "broken",
        "p_value",
    ];
    let mut lines = Lines::new(&heads);
    let reference = comparison.reference.map(|id| id.to_string()).unwrap_or_default();
    for run in &comparison.runs {
        let Some(report) = &run.report else { continue };
        let id = run.detail.summary.id.to_string();
        let against = match &run.against {
            None => Default::default(),
            Some(against) => {
                let found = against.comparison;
                let numbers = [found.rows, found.fixed, found.broken].map(|number| number.to_string());
                let [rows, fixed, broken] = numbers;
                [reference.clone(), rows, fixed, broken, found.p_value.to_string()]
            }
        };
        for line in score_lines(report) {
            let [low, high] = ends(line.interval);
            let value = line.value.to_string();
            let mut cells = vec![&id[..], &run.detail.summary.name, line.score, line.label, &value, &low, &high];
            cells.extend(against.iter().map(String::as_str));
            lines.push(&cells);
        }
    }
    lines.into_bytes()
}

/// Rows as a file, piece by piece: beside the answers it costs no memory.
struct RowPieces {
    evaluated: Arc<Evaluated>,
    places: Vec<usize>,
    next: usize,
    kind: FileKind,
    is_done: bool,
}

impl Iterator for RowPieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.is_done {
            return None;
        }
        let mut piece = Lines::without_heads(PIECE_BYTES + 4096);
        if self.next == 0 {
            match self.kind {
                FileKind::Csv => self.write_heads(&mut piece),
                FileKind::Json => piece.0.push(b'['),
            }
        }
        while let Some(&place) = self.places.get(self.next) {
            match self.kind {
                FileKind::Csv => self.write_line(place, &mut piece),
                FileKind::Json => self.write_value(place, &mut piece.0),
            }
            self.next += 1;
            if piece.0.len() >= PIECE_BYTES {
                return Some(piece.0);
            }
        }
        self.is_done = true;
        if self.kind == FileKind::Json {
            piece.0.extend_from_slice(b"\n]\n");
        }
        Some(piece.0)
    }
}

impl RowPieces {
    fn write_heads(&self, piece: &mut Lines) {
        let fixed = [
            "number",
            "row",
            "text",
            "true",
            "answer_before",
            "confidence_before",
            "answer_after",
            "confidence_after",
            "outcome",
            "contradicted",
            "in_training",
            "cut",
        ];
        let of_labels: Vec<String> = self.evaluated.labels.iter().map(|label| format!("p({label})")).collect();
        let heads: Vec<&str> = fixed.into_iter().chain(of_labels.iter().map(String::as_str)).collect();
        piece.push(&heads);
    }

    fn write_line(&self, place: usize, piece: &mut Lines) {
        let row = &self.evaluated.rows[place];
        let name = |label: usize| self.evaluated.labels.get(label).map_or("", String::as_str);
        let answer = |moment| {
            row.answer(moment)
                .map_or(("", String::new()), |answer| (name(answer.label), answer.confidence().to_string()))
        };
        let ((before, before_confidence), (after, after_confidence)) = (answer(Moment::Before), answer(Moment::After));
        let yes = |is: bool| if is { "yes" } else { "no" };
        let (number, id) = ((place + 1).to_string(), row.row.map(|row| row.to_string()).unwrap_or_default());
        let probabilities: Vec<String> =
            row.after.iter().flat_map(|answer| &answer.probabilities).map(|p| p.to_string()).collect();
        let mut cells = vec![
            &number[..],
            &id,
            &row.text,
            name(row.truth),
            before,
            &before_confidence,
            after,
            &after_confidence,
            outcome(row),
            yes(row.flags.is_contradicted),
            yes(row.flags.is_in_training),
            yes(row.after.as_ref().is_some_and(|answer| answer.cut)),
        ];
        cells.extend(probabilities.iter().map(String::as_str));
        piece.push(&cells);
    }

    fn write_value(&self, place: usize, piece: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Named<'a> {
            #[serde(flatten)]
            row: NumberedRow,
            true_label: &'a str,
            outcome: &'static str,
        }
        piece.extend_from_slice(if self.next == 0 { b"\n" } else { b",\n" });
        let row = &self.evaluated.rows[place];
        let true_label = self.evaluated.labels.get(row.truth).map_or("", String::as_str);
        let named =
            Named { row: NumberedRow { place: place as u64, row: row.clone() }, true_label, outcome: outcome(row) };
        // Plain data written into memory: it cannot fail.
        let _ = serde_json::to_writer(piece, &named);
    }
}

fn outcome(row: &TestRow) -> &'static str {
    let (Some(before), Some(after)) = (&row.before, &row.after) else { return "" };
    let flip = flips(&[row.truth], std::slice::from_ref(before), std::slice::from_ref(after));
    match flip.first() {
        Some(Flip::StaysRight) => "stays right",
        Some(Flip::Fixed) => "fixed",
        Some(Flip::Broken) => "broken",
        Some(Flip::StaysWrong) => "stays wrong",
        None => "",
    }
}
