//! What a run's answers to its test rows come to: its report, its rows one by one, and several runs beside each other. All
//! of it is worked out of the stored answers by the functions of `domain`.

mod files;

use crate::datasets::blocking;
use crate::error::Result;
use crate::runs::Runs;
use domain::error::UserError;
use domain::metrics::calibration::at_temperature;
use domain::metrics::report::{AnswerSheet, RunReport};
use domain::prediction::Prediction;
use domain::row_query::{NumberedRow, PAGE_SIZE, RowQuery, RowsPage};
use domain::run::{Moment, RunId, RunPicture, RunStatus, StepPoint, TestRow, ValidationPoint};
use domain::runs_comparison::{
    AgainstReference, AnsweredRow, ComparedRun, CurvePoint, FEWEST_RUNS, MOST_RUNS, RunCurves, RunsComparison,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Test rows that are kept in memory, of the runs that were looked at last; the last one of all is kept whatever it has.
const ROWS_KEPT: usize = 200_000;
/// Points of one line of a comparison.
const MOST_POINTS: usize = 400;

type Kept = Vec<(RunId, Arc<Evaluated>)>;

/// Clones share what is kept.
#[derive(Clone)]
pub struct Evaluations {
    runs: Runs,
    /// Answers of finished runs never change. The last used ones stand first.
    kept: Arc<Mutex<Kept>>,
}

/// The answers of a finished run.
pub struct Evaluated {
    pub name: String,
    pub labels: Vec<String>,
    pub temperature: Option<f64>,
    /// The answers after training stand at the run's temperature, as its classifier gives them.
    pub rows: Vec<TestRow>,
    /// The same without it.
    pub uncalibrated: Vec<Prediction>,
    pub report: RunReport,
}

impl Evaluations {
    pub(crate) fn new(runs: Runs) -> Self {
        Self { runs, kept: Arc::default() }
    }

    /// The answers of a run with all that follows from them; `None` as long as it has none.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn evaluated(&self, id: RunId) -> Result<Option<Arc<Evaluated>>> {
        if let Some(found) = self.find_kept(id) {
            return Ok(Some(found));
        }
        let summary = self.runs.get(id).await?.summary;
        if summary.status != RunStatus::Finished {
            return Ok(None);
        }
        let rows = self.runs.predictions(id).await?;
        if rows.is_empty() || rows.iter().any(|row| row.after.is_none()) {
            return Ok(None);
        }
        let temperature = self.runs.finished(id).await?.classifier.temperature;
        let evaluated = blocking(move || Ok(Evaluated::of(summary.name, summary.labels, rows, temperature))).await?;
        let evaluated = Arc::new(evaluated);
        self.keep(id, &evaluated);
        Ok(Some(evaluated))
    }

    fn find_kept(&self, id: RunId) -> Option<Arc<Evaluated>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(run, _)| *run == id)?;
        let found = kept.remove(place);
        let evaluated = found.1.clone();
        kept.insert(0, found);
        Some(evaluated)
    }

    fn keep(&self, id: RunId, evaluated: &Arc<Evaluated>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(run, _)| *run != id);
        kept.insert(0, (id, evaluated.clone()));
        let mut rows = 0;
        kept.retain(|(_, evaluated)| {
            let is_last = rows == 0;
            rows += evaluated.rows.len();
            is_last || rows <= ROWS_KEPT
        });
    }

    /// One page of the test rows that are asked for. Empty while the run has not come to its end.
    pub async fn browse(&self, id: RunId, query: RowQuery) -> Result<RowsPage> {
        let Some(evaluated) = self.evaluated(id).await? else {
            return Ok(RowsPage { rows: Vec::new(), matching: 0, total: 0, query });
        };
        blocking(move || {
            let places = query.places(&evaluated.rows);
            let matching = places.len() as u64;
            // A page behind the last one is the last one.
            let page = query.page.min(matching.saturating_sub(1) / PAGE_SIZE);
            let first = (page * PAGE_SIZE) as usize;
            let rows = places.into_iter().skip(first).take(PAGE_SIZE as usize);
            let rows =
                rows.map(|place| NumberedRow { place: place as u64, row: evaluated.rows[place].clone() }).collect();
            Ok(RowsPage { rows, matching, total: evaluated.rows.len() as u64, query: RowQuery { page, ..query } })
        })
        .await
    }

    /// Runs beside each other, against the one that is asked for or else the best.
    ///
    /// # Errors
    /// Too few, too many, or one that is not there.
    pub async fn compare(&self, ids: &[RunId], against: Option<RunId>) -> Result<RunsComparison> {
        if ids.len() < FEWEST_RUNS || ids.len() > MOST_RUNS {
            return Err(UserError::invalid(format!(
                "Choose {FEWEST_RUNS} to {MOST_RUNS} runs to compare; these are {}.",
                ids.len()
            ))
            .into());
        }
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            let detail = self.runs.get(*id).await?;
            let curves = curves(&self.runs.picture(*id).await?);
            runs.push((detail, curves, self.evaluated(*id).await?));
        }
        blocking(move || {
            let answered = |id: RunId| runs.iter().find(|(detail, ..)| detail.summary.id == id)?.2.clone();
            let reference = against.filter(|id| answered(*id).is_some()).or_else(|| {
                let scored =
                    runs.iter().filter_map(|(detail, _, evaluated)| Some((detail.summary.id, evaluated.as_ref()?)));
                // Of equals the first.
                let best = scored.rev().max_by(|(_, one), (_, other)| one.accuracy().total_cmp(&other.accuracy()));
                best.map(|(id, _)| id)
            });
            let of_reference = reference.and_then(answered);
            let reference_rows = of_reference.as_deref().map(Evaluated::answered_rows).unwrap_or_default();
            let compared = runs.into_iter().map(|(detail, curves, evaluated)| {
                let is_reference = Some(detail.summary.id) == reference;
                let against = evaluated
                    .as_ref()
                    .filter(|_| !is_reference)
                    .map(|evaluated| AgainstReference::of(&reference_rows, &evaluated.answered_rows()));
                ComparedRun {
                    test_rows: evaluated.as_ref().map_or(detail.test_rows, |evaluated| evaluated.rows.len() as u64),
                    report: evaluated.map(|evaluated| evaluated.report.after.clone()),
                    against,
                    detail,
                    curves,
                }
            });
            let runs: Vec<ComparedRun> = compared.collect();
            let same_test_rows =
                runs.iter().filter_map(|run| run.against.as_ref()).all(|against| against.rows_apart == 0);
            Ok(RunsComparison { runs, reference, same_test_rows })
        })
        .await
    }
}

impl Evaluated {
    fn of(name: String, labels: Vec<String>, mut rows: Vec<TestRow>, temperature: Option<f64>) -> Self {
        let mut uncalibrated = Vec::with_capacity(rows.len());
        for row in &mut rows {
            let Some(answer) = row.after.take() else { continue };
            row.after = Some(at_temperature(&answer, temperature.unwrap_or(1.0)));
            uncalibrated.push(answer);
        }
        let truth: Vec<usize> = rows.iter().map(|row| row.truth).collect();
        let before: Option<Vec<Prediction>> = rows.iter().map(|row| row.before.clone()).collect();
        let report = RunReport::of(&labels, &truth, before.as_deref(), &uncalibrated, temperature);
        Self { name, labels, temperature, rows, uncalibrated, report }
    }

    /// The answers in the form in which a browser works on them.
    pub fn answer_sheet(&self) -> AnswerSheet {
        AnswerSheet::of(&self.labels, &self.truth(), &self.uncalibrated, self.temperature)
    }

    pub fn truth(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.truth).collect()
    }

    fn accuracy(&self) -> f64 {
        self.report.after.scores.accuracy
    }

    fn answered_rows(&self) -> Vec<AnsweredRow<'_>> {
        let rows = self
            .rows
            .iter()
            .filter_map(|row| Some(AnsweredRow::new(&self.labels, &row.text, row.truth, row.answer(Moment::After)?)));
        rows.collect()
    }
}

/// The lines of a run, thinned out: the mean of each stretch of steps, every look at the validation rows.
fn curves(picture: &RunPicture) -> RunCurves {
    let stretch = picture.steps.len().div_ceil(MOST_POINTS).max(1);
    let of_steps = |steps: &[StepPoint]| {
        let last = steps.last()?;
        let value = steps.iter().map(|point| point.loss).sum::<f64>() / steps.len() as f64;
        Some(CurvePoint { step: last.step, epoch: last.epoch, seconds: last.elapsed_seconds, value })
    };
    let every = picture.validations.len().div_ceil(MOST_POINTS).max(1);
    let looks = |value: fn(&ValidationPoint) -> f64| {
        let point = |look: &ValidationPoint| CurvePoint {
            step: look.step,
            epoch: look.epoch,
            seconds: look.elapsed_seconds,
            value: value(look),
        };
        picture.validations.iter().step_by(every).map(point).collect()
    };
    RunCurves {
        loss: picture.steps.chunks(stretch).filter_map(of_steps).collect(),
        validation_loss: looks(|look| look.loss),
        accuracy: looks(|look| look.accuracy),
        macro_f1: looks(|look| look.macro_f1),
    }
}
