//! The figures of a deployment as a file.

use super::Deployments;
use crate::datasets::csv_export::plain_name;
use crate::error::Result;
use crate::saved_file::{ExportedFile, FileKind, Lines, json};
use domain::deployment::figures::DeploymentFigures;
use domain::deployment::word_of;

impl Deployments {
    /// What the page of a deployment shows, one figure a line.
    ///
    /// # Errors
    /// There is no such deployment.
    pub async fn figures_file(&self, name: &str, kind: FileKind) -> Result<ExportedFile> {
        let figures = self.figures(name).await?;
        let bytes = match kind {
            FileKind::Json => json(&figures)?,
            FileKind::Csv => figure_lines(&figures),
        };
        Ok(ExportedFile::whole(format!("{}-figures.{}", plain_name(name), kind.ending()), kind, bytes))
    }
}

fn figure_lines(figures: &DeploymentFigures) -> Vec<u8> {
    let mut lines = Lines::new(&["figure", "version", "label", "value"]);
    let whole = [
        ("requests", Some(figures.requests as f64)),
        ("texts", Some(figures.texts as f64)),
        ("refused", Some(figures.refused as f64)),
        ("p50_ms", figures.p50_ms),
        ("p95_ms", figures.p95_ms),
        ("p99_ms", figures.p99_ms),
        ("compared_texts", Some(figures.agreement.texts as f64)),
        ("agreement", figures.agreement.share()),
    ];
    for (figure, value) in whole {
        lines.push(&[figure, "", "", &value.map(|value| value.to_string()).unwrap_or_default()]);
    }
    for of_version in &figures.versions {
        let version = word_of(of_version.version);
        if let Some((_, index)) = of_version.drift() {
            lines.push(&["drift_index", &version, "", &index.to_string()]);
        }
        let test_rows = of_version.on_test_rows.as_ref().map(|counts| &counts.labels);
        for (place, label) in of_version.labels.iter().enumerate() {
            let of_label = [("answers", Some(&of_version.answers.labels)), ("answers_on_test_rows", test_rows)];
            for (figure, counts) in of_label {
                if let Some(count) = counts.and_then(|counts| counts.get(place)) {
                    lines.push(&[figure, &version, label, &count.to_string()]);
                }
            }
        }
    }
    lines.into_bytes()
}
