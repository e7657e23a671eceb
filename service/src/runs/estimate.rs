//! Before a run is started: how its rows look to the model, and what it will cost.

use super::Runs;
use super::deal::{Pins, deal};
use crate::datasets::blocking;
use crate::error::Result;
use domain::catalogue::ModelId;
use domain::dataset::{DatasetId, Row};
use domain::model::{Estimate, PromptPreview};
use domain::run::NewRun;
use domain::spec::TrainSpec;
use engine::train::{Example, TrainRequest};
use std::path::PathBuf;

/// Rows of a part that an estimate looks at; of more it takes every n-th and multiplies.
const ESTIMATED_ROWS: usize = 5000;

impl Runs {
    /// A row of the dataset as the model will see it. `row` counts from 0 and goes round at the end.
    pub async fn preview(
        &self,
        base: ModelId,
        dataset: DatasetId,
        spec: &TrainSpec,
        row: u64,
    ) -> Result<(Row, PromptPreview)> {
        spec.check()?;
        let base = self.models.base(base).await?;
        let summary = self.datasets.get(dataset).await?;
        let row = self.datasets.row(dataset, row % summary.rows.max(1)).await?;
        let labels: Vec<String> = summary.labels.into_iter().map(|count| count.label).collect();
        let label = labels.iter().position(|label| *label == row.label).unwrap_or_default();
        let example = Example { text: row.text.clone(), label };
        let (models, spec) = (self.models.clone(), spec.clone());
        let preview = blocking(move || {
            let reader = models.reader(&base)?;
            Ok(engine::train::preview(&reader, &spec, &labels, &example)?)
        })
        .await?;
        Ok((row, preview))
    }

    /// Time, memory and numbers of a run that has not been started.
    pub async fn estimate(&self, new: &NewRun) -> Result<Estimate> {
        new.spec.check()?;
        let start_from = self.start_from(new).await?;
        let pins = Pins::now(&self.datasets, new).await?;
        // Nothing is written: the folder is never looked at.
        let request = deal(&self.datasets, new, &pins).await?.into_request(new, start_from, PathBuf::new());
        let base = self.models.base(new.base_model).await?;
        let models = self.models.clone();
        blocking(move || {
            let base = models.load(&base, request.spec.quantization)?;
            estimate_from_sample(&base, request)
        })
        .await
    }
}

/// The engine's estimate, on every n-th row of parts that are large.
fn estimate_from_sample(base: &engine::BaseModel, mut request: TrainRequest) -> Result<Estimate> {
    let all = [request.train.len(), request.validation.len(), request.test.len()];
    for part in [&mut request.train, &mut request.validation, &mut request.test] {
        let every = part.len().div_ceil(ESTIMATED_ROWS).max(1);
        let mut place = 0;
        part.retain(|_| {
            place += 1;
            (place - 1) % every == 0
        });
    }
    let rows_per_step = request.spec.rows_per_step() as usize;
    let steps = |rows: usize| rows.div_ceil(rows_per_step).max(1) as f64;
    let looked_at = [request.train.len(), request.validation.len(), request.test.len()];
    let mut estimate = engine::train::estimate(base, &request)?;
    if looked_at == all {
        return Ok(estimate);
    }
    let train_factor = all[0] as f64 / looked_at[0].max(1) as f64;
    let step_factor = steps(all[0]) / steps(looked_at[0]);
    let evaluate_factor = (all[1] + all[2]) as f64 / (looked_at[1] + looked_at[2]).max(1) as f64;
    let rows_factor = all.iter().sum::<usize>() as f64 / looked_at.iter().sum::<usize>().max(1) as f64;
    estimate.train_seconds *= train_factor;
    estimate.optimizer_steps = (estimate.optimizer_steps as f64 * step_factor).round() as u64;
    estimate.evaluate_seconds *= evaluate_factor;
    estimate.cut_rows = (estimate.cut_rows as f64 * rows_factor).round() as usize;
    Ok(estimate)
}
