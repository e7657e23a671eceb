//! From the answers of a check's runs to the rows whose labels they doubt.

use super::{LabelChecks, READY, WORKING};
use crate::datasets::blocking;
use crate::error::Result;
use domain::confident::{JudgedRow, Judgement, judge};
use domain::error::UserError;
use domain::review::LabelCheck;
use domain::version::RowId;

/// Most doubts that are kept, the most doubtful ones: nobody reviews more.
const MAX_DOUBTS: usize = 20_000;

/// What the models say of all rows that were tested.
#[derive(Default)]
struct OutOfFold {
    labels: Vec<String>,
    rows: Vec<RowId>,
    given: Vec<usize>,
    probabilities: Vec<Vec<f32>>,
}

impl LabelChecks {
    /// Stores the doubts of a check whose runs are all finished.
    ///
    /// # Errors
    /// The answers of a run are not there any more, or do not fit together.
    pub(super) async fn judge(&self, check: &LabelCheck) -> Result<()> {
        let answers = self.out_of_fold(check).await?;
        let (answers, judgement) = blocking(move || {
            let rows: Vec<JudgedRow> = answers
                .given
                .iter()
                .zip(&answers.probabilities)
                .map(|(given, probabilities)| JudgedRow { given: *given, probabilities })
                .collect();
            let judgement = judge(&rows, answers.labels.len());
            Ok((answers, judgement))
        })
        .await?;
        self.store(check, &answers, &judgement).await
    }

    async fn out_of_fold(&self, check: &LabelCheck) -> Result<OutOfFold> {
        let mut all = OutOfFold::default();
        for &run in &check.runs {
            let summary = self.runs.get(run).await?.summary;
            let predictions = self.runs.predictions(run).await?;
            if all.labels.is_empty() {
                all.labels.clone_from(&summary.labels);
            }
            let lost = || {
                UserError::conflict(format!(
                    "The answers of run \"{}\" are not there any more, so the labels cannot be judged. Start a new check.",
                    summary.name
                ))
            };
            if predictions.is_empty() || summary.labels != all.labels {
                return Err(lost().into());
            }
            for prediction in predictions {
                let (Some(row), Some(after)) = (prediction.row, prediction.after) else { return Err(lost().into()) };
                all.rows.push(row);
                all.given.push(prediction.truth);
                all.probabilities.push(after.probabilities);
            }
        }
        Ok(all)
    }

    async fn store(&self, check: &LabelCheck, answers: &OutOfFold, judgement: &Judgement) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        let judged = sqlx::query(
            "UPDATE label_checks SET status = $2, judged = $3, agreeing = $4 WHERE id = $1 AND status = $5",
        )
        .bind(check.id)
        .bind(READY)
        .bind(answers.rows.len() as i64)
        .bind(judgement.agreeing as i64)
        .bind(WORKING)
        .execute(&mut *transaction)
        .await?;
        if judged.rows_affected() != 1 {
            return Ok(());
        }
        for (place, doubt) in judgement.doubts.iter().take(MAX_DOUBTS).enumerate() {
            sqlx::query(
                "INSERT INTO label_doubts (check_id, place, row_id, suggested, p_given, p_suggested) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(check.id)
            .bind(place as i64)
            .bind(i64::from(answers.rows[doubt.row]))
            .bind(answers.labels.get(doubt.suggested).map_or("", String::as_str))
            .bind(doubt.p_given)
            .bind(doubt.p_suggested)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
