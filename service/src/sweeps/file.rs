//! The trials of a sweep as a file.

use super::Sweeps;
use crate::datasets::csv_export::plain_name;
use crate::error::Result;
use crate::saved_file::{ExportedFile, FileKind, Lines, json};
use domain::sweep::{SweepDetail, SweepId};

impl Sweeps {
    /// A line for each trial: its run, the value of every setting that was varied, and its scores.
    ///
    /// # Errors
    /// There is no such sweep.
    pub async fn trials_file(&self, id: SweepId, kind: FileKind) -> Result<ExportedFile> {
        let sweep = self.get(id).await?;
        let bytes = match kind {
            FileKind::Json => json(&sweep)?,
            FileKind::Csv => trial_lines(&sweep),
        };
        let file_name = format!("{}-trials.{}", plain_name(&sweep.summary.name), kind.ending());
        Ok(ExportedFile::whole(file_name, kind, bytes))
    }
}

fn trial_lines(sweep: &SweepDetail) -> Vec<u8> {
    let mut heads = vec!["place", "run", "name", "status"];
    heads.extend(sweep.space.dimensions.iter().map(|dimension| dimension.knob.as_str()));
    heads.extend(["best", "dropped_at_rung", "validation_macro_f1", "test_accuracy", "test_macro_f1", "progress"]);
    let mut lines = Lines::new(&heads);
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for trial in &sweep.trials {
        let mut cells =
            vec![trial.place.to_string(), trial.run.to_string(), trial.name.clone(), trial.status.as_str().to_string()];
        cells.extend(trial.values.iter().cloned());
        cells.extend([
            if sweep.best == Some(trial.place) { "yes" } else { "no" }.to_string(),
            trial.dropped_at.map(|rung| rung.to_string()).unwrap_or_default(),
            number(trial.validation_macro_f1),
            number(trial.test_accuracy),
            number(trial.test_macro_f1),
            trial.progress.to_string(),
        ]);
        lines.push(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    lines.into_bytes()
}
