//! Runs that never took place, for benchmarks: what a team leaves behind in years, in a minute. They are copies of a run
//! that was started in earnest, with the events of a training that went well.

use super::Runs;
use crate::error::Result;
use domain::metrics::Evaluation;
use domain::run::{Moment, RunEvent, RunId, RunStatus, StepPoint, ValidationPoint};

/// Runs that are written in one transaction.
const TOGETHER: u64 = 200;

impl Runs {
    /// Makes `count` finished runs like `template`, each with a training of so many steps. Returns their ids.
    ///
    /// # Errors
    /// The template is not there, or the disk is full.
    pub async fn make_up(&self, template: RunId, count: u64, steps: u64) -> Result<Vec<RunId>> {
        self.row(template).await?;
        let mut made = Vec::new();
        let mut model: Option<RunId> = None;
        while (made.len() as u64) < count {
            let mut ids = Vec::new();
            for _ in 0..TOGETHER.min(count - made.len() as u64) {
                ids.push(self.db.next_number("run").await?);
            }
            let mut transaction = self.db.begin_write().await?;
            for id in &ids {
                sqlx::query(
                    "INSERT INTO runs (id, name, status, queue_order, dataset_id, base_model, request, labels, train_rows, \
                     validation_rows, test_rows, progress, accuracy_before, accuracy_after, macro_f1_after, \
                     created_at_ms, started_at_ms, ended_at_ms, base_model_id, dataset_version, pins, cleanliness) \
                     SELECT $2, $3, $4, 0, dataset_id, base_model, request, labels, train_rows, validation_rows, \
                     test_rows, 1.0, 0.4, 0.8, 0.8, created_at_ms, created_at_ms, created_at_ms + 60000, base_model_id, \
                     dataset_version, pins, cleanliness FROM runs WHERE id = $1",
                )
                .bind(template)
                .bind(*id)
                .bind(format!("made up {id}"))
                .bind(RunStatus::Finished.as_str())
                .execute(&mut *transaction)
                .await?;
                match model {
                    None => {
                        self.insert_all(&mut transaction, *id, (self.clock)(), training(steps)).await?;
                        model = Some(*id);
                    }
                    Some(model) => {
                        sqlx::query(
                            "INSERT INTO run_events (run_id, seq, at_ms, event) SELECT $2, seq, at_ms, event FROM \
                             run_events WHERE run_id = $1",
                        )
                        .bind(model)
                        .bind(*id)
                        .execute(&mut *transaction)
                        .await?;
                    }
                }
            }
            transaction.commit().await?;
            made.extend(ids);
        }
        Ok(made)
    }
}

/// What a run tells of a training of so many steps, with a look at the validation rows at every hundredth of it.
fn training(steps: u64) -> Vec<RunEvent> {
    let status = |status| RunEvent::Status { status, message: None };
    let labels = ["negative", "neutral", "positive"].map(String::from);
    let evaluation =
        |moment| RunEvent::Evaluation { moment, evaluation: Evaluation::from_predictions(&labels, &[], &[], 1.0) };
    let mut events = vec![status(RunStatus::Queued), status(RunStatus::Running), evaluation(Moment::Before)];
    for step in 1..=steps {
        events.push(RunEvent::Step(made_up_step(step, steps)));
        if step % (steps / 100).max(1) == 0 {
            let share = step as f64 / steps as f64;
            events.push(RunEvent::Validation(ValidationPoint {
                step,
                epoch: 5.0 * share,
                elapsed_seconds: step as f64 * 0.05,
                loss: 1.1 - 0.5 * share,
                accuracy: 0.4 + 0.4 * share,
                macro_f1: 0.4 + 0.4 * share,
                best: true,
            }));
        }
    }
    events.extend([evaluation(Moment::After), status(RunStatus::Finished)]);
    events
}

/// A step of a training that never took place, with curves as uneven as real ones.
pub fn made_up_step(step: u64, total_steps: u64) -> StepPoint {
    let share = step as f64 / total_steps.max(1) as f64;
    let unrest = (step as f64 * 12.9898).sin();
    StepPoint {
        step,
        total_steps,
        epoch: 5.0 * share,
        loss: 1.1 * (-2.0 * share).exp() * (1.0 + 0.3 * unrest),
        learning_rate: 1e-3 * (1.0 - share),
        grad_norm: 1.0 + 0.5 * unrest,
        rows_per_second: 120.0 + 10.0 * unrest,
        elapsed_seconds: step as f64 * 0.05,
        seconds_left: total_steps.saturating_sub(step) as f64 * 0.05,
    }
}
