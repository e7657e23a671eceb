//! Reviewing the doubtful rows, several people at once: who looks at which, who has decided what, and the version that the
//! decisions become.

use super::{APPLIED, LabelChecks, READY, person};
use crate::datasets::{Changes, Snapshot};
use crate::db::{json_column, to_json};
use crate::error::Result;
use domain::error::UserError;
use domain::review::{Decision, DoubtfulRow, LabelCheck, LabelCheckId, LabelCheckStatus};
use domain::version::{DatasetVersion, RowChange, RowId, VersionCause};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// How long a row counts as looked at after the last word of it.
pub const HELD_FOR_MS: i64 = 120_000;
/// Most doubtful rows that are given at once.
pub const MAX_DOUBTFUL_AT_ONCE: u64 = 500;

impl LabelChecks {
    /// The doubtful rows, the most doubtful first.
    pub async fn doubtful(&self, id: LabelCheckId, first: u64, count: u64) -> Result<Vec<DoubtfulRow>> {
        let check = self.stored(id).await?.check;
        let snapshot = self.datasets.snapshot(check.dataset, Some(check.version)).await?;
        let rows =
            sqlx::query("SELECT * FROM label_doubts WHERE check_id = $1 AND place >= $2 ORDER BY place LIMIT $3")
                .bind(id)
                .bind(i64::try_from(first).unwrap_or(i64::MAX))
                .bind(count.min(MAX_DOUBTFUL_AT_ONCE) as i64)
                .fetch_all(&self.db.pool)
                .await?;
        rows.iter().map(|row| self.doubtful_from(row, &snapshot)).collect()
    }

    /// Marks who has a row open, for two minutes; a row that another has open stays theirs. What the same person held
    /// before is let go. A mark keeps nobody from deciding: the row that comes back says who holds it.
    pub async fn hold(&self, id: LabelCheckId, row: RowId, by: &str) -> Result<DoubtfulRow> {
        self.ready(id).await?;
        let (by, now) = (person(by), (self.clock)());
        sqlx::query("UPDATE label_doubts SET held_by = NULL WHERE check_id = $1 AND held_by = $2 AND row_id <> $3")
            .bind(id)
            .bind(&by)
            .bind(i64::from(row))
            .execute(&self.db.pool)
            .await?;
        sqlx::query(
            "UPDATE label_doubts SET held_by = $3, held_until_ms = $4 WHERE check_id = $1 AND row_id = $2 AND \
             (held_by IS NULL OR held_by = $3 OR held_until_ms <= $5)",
        )
        .bind(id)
        .bind(i64::from(row))
        .bind(&by)
        .bind(now.saturating_add(HELD_FOR_MS))
        .bind(now)
        .execute(&self.db.pool)
        .await?;
        self.doubtful_row(id, row).await
    }

    /// Decides on a row. Whoever has decided may change that, until the decisions are applied; nobody else may.
    ///
    /// # Errors
    /// Another has decided already: the message says who, and what. Or the decisions are applied, there is no such doubtful
    /// row, or the dataset has no such label.
    pub async fn decide(&self, id: LabelCheckId, row: RowId, decision: Decision, by: &str) -> Result<DoubtfulRow> {
        let check = self.ready(id).await?;
        let before = self.doubtful_row(id, row).await?;
        let decision = match decision {
            Decision::Relabel { label } if label == before.given => Decision::Accept,
            Decision::Relabel { label } => {
                let snapshot = self.datasets.snapshot(check.dataset, Some(check.version)).await?;
                if !snapshot.labels().contains(&label) {
                    return Err(UserError::invalid(format!(
                        "The dataset has no label \"{label}\". Choose one of {}.",
                        snapshot.labels().join(", ")
                    ))
                    .into());
                }
                Decision::Relabel { label }
            }
            other => other,
        };
        let by = person(by);
        // The check may be applied, and the row decided on, between a look at them and this.
        let decided = sqlx::query(
            "UPDATE label_doubts SET decision = $3, decided_by = $4, held_by = NULL WHERE check_id = $1 AND row_id = $2 \
             AND (decided_by IS NULL OR decided_by = $4) \
             AND EXISTS (SELECT 1 FROM label_checks WHERE id = $1 AND status = $5)",
        )
        .bind(id)
        .bind(i64::from(row))
        .bind(to_json(&decision)?)
        .bind(&by)
        .bind(READY)
        .execute(&self.db.pool)
        .await?;
        let now = self.doubtful_row(id, row).await?;
        if decided.rows_affected() == 1 {
            return Ok(now);
        }
        self.ready(id).await?;
        let who = now.by.unwrap_or_default();
        let what = match now.decision {
            Some(Decision::Accept) | None => format!("\"{}\" stands", now.given),
            Some(Decision::Relabel { label }) => format!("\"{label}\" instead of \"{}\"", now.given),
            Some(Decision::Drop) => "the row goes".to_string(),
        };
        Err(UserError::conflict(format!("{who} has decided on this row already: {what}. Nothing was changed.")).into())
    }

    /// Takes a decision back; the row is open again.
    ///
    /// # Errors
    /// Another has decided, or nobody; or the decisions are applied.
    pub async fn withdraw(&self, id: LabelCheckId, row: RowId, by: &str) -> Result<DoubtfulRow> {
        self.ready(id).await?;
        let withdrawn = sqlx::query(
            "UPDATE label_doubts SET decision = NULL, decided_by = NULL WHERE check_id = $1 AND row_id = $2 AND \
             decided_by = $3 AND EXISTS (SELECT 1 FROM label_checks WHERE id = $1 AND status = $4)",
        )
        .bind(id)
        .bind(i64::from(row))
        .bind(person(by))
        .bind(READY)
        .execute(&self.db.pool)
        .await?;
        let now = self.doubtful_row(id, row).await?;
        if withdrawn.rows_affected() == 1 {
            return Ok(now);
        }
        self.ready(id).await?;
        Err(UserError::conflict(match now.by {
            Some(who) => format!("The decision on this row is {who}'s. Only {who} can take it back."),
            None => "Nobody has decided on this row, so there is nothing to take back.".to_string(),
        })
        .into())
    }

    /// Makes one version of all decisions so far, on top of the newest one. Rows that are not as the check saw them any
    /// more are left as they are; [`LabelCheck::skipped`] says how many. Nothing can be decided afterwards.
    ///
    /// # Errors
    /// The check is not ready, or applied already; or nothing would change.
    pub async fn apply(&self, id: LabelCheckId, by: &str) -> Result<DatasetVersion> {
        // On a task of its own: a browser that hangs up must not leave a version that its check does not know of.
        let (checks, by) = (self.clone(), person(by));
        let applied = tokio::spawn(async move { checks.apply_to_the_end(id, &by).await });
        applied.await.unwrap_or_else(|error| Err(crate::ServiceError::Panicked(error.to_string())))
    }

    async fn apply_to_the_end(&self, id: LabelCheckId, by: &str) -> Result<DatasetVersion> {
        let _turn = self.turn.lock().await;
        let check = self.ready(id).await?;
        // What a process may have made that ended before it could say so.
        let cause = VersionCause::Reviewed { check: id };
        let made = self.datasets.versions(check.dataset).await?.into_iter().find(|version| version.cause == cause);
        let (version, skipped) = match made {
            Some(version) => (version, 0),
            None => {
                let (head, step, skipped) = self.decisions(&check).await?;
                if step.is_empty() {
                    let why = if skipped > 0 {
                        "All rows with decisions have been changed by hand meanwhile."
                    } else {
                        "No decision relabels or drops a row."
                    };
                    return Err(UserError::conflict(format!("{why} There is nothing to apply.")).into());
                }
                (self.datasets.apply_changes(check.dataset, head, step, cause, by).await?, skipped)
            }
        };
        sqlx::query("UPDATE label_checks SET status = $2, applied_version = $3, skipped = $4 WHERE id = $1")
            .bind(id)
            .bind(APPLIED)
            .bind(version.number)
            .bind(skipped as i64)
            .execute(&self.db.pool)
            .await?;
        Ok(version)
    }

    /// The newest version, what the decisions change in it, and how many rows are not as they were judged.
    async fn decisions(&self, check: &LabelCheck) -> Result<(i64, Changes, u64)> {
        let head = self.datasets.resolve(check.dataset, None).await?;
        let newest = self.datasets.snapshot(check.dataset, Some(head)).await?;
        let judged = self.datasets.snapshot(check.dataset, Some(check.version)).await?;
        let rows =
            sqlx::query("SELECT row_id, decision FROM label_doubts WHERE check_id = $1 AND decision IS NOT NULL")
                .bind(check.id)
                .fetch_all(&self.db.pool)
                .await?;
        let (mut step, mut skipped) = (Changes::new(), 0);
        for row in &rows {
            let id = row_id(row)?;
            let change = match json_column(row, "decision")? {
                Decision::Accept => continue,
                Decision::Drop => RowChange::Dropped,
                Decision::Relabel { label } => RowChange::Edited { text: None, label: Some(label) },
            };
            if is_same(&judged, &newest, id) {
                step.insert(id, change);
            } else {
                skipped += 1;
            }
        }
        Ok((head, step, skipped))
    }

    /// A check whose doubts can be decided on.
    async fn ready(&self, id: LabelCheckId) -> Result<LabelCheck> {
        let check = self.stored(id).await?.check;
        match check.status {
            LabelCheckStatus::Ready => Ok(check),
            LabelCheckStatus::Applied => Err(UserError::conflict(
                "The decisions of this check have become a version already. Change rows by hand, or start a new check.",
            )
            .into()),
            LabelCheckStatus::Working | LabelCheckStatus::Failed => {
                Err(UserError::conflict("This check is not through yet; its runs have to finish first.").into())
            }
        }
    }

    async fn doubtful_row(&self, id: LabelCheckId, row: RowId) -> Result<DoubtfulRow> {
        let check = self.stored(id).await?.check;
        let snapshot = self.datasets.snapshot(check.dataset, Some(check.version)).await?;
        let found = sqlx::query("SELECT * FROM label_doubts WHERE check_id = $1 AND row_id = $2")
            .bind(id)
            .bind(i64::from(row))
            .fetch_optional(&self.db.pool)
            .await?;
        match found {
            Some(found) => self.doubtful_from(&found, &snapshot),
            None => {
                Err(UserError::not_found(format!("Row {row} is not among the doubtful rows of this check.")).into())
            }
        }
    }

    fn doubtful_from(&self, row: &AnyRow, snapshot: &Snapshot) -> Result<DoubtfulRow> {
        let id = row_id(row)?;
        let place = snapshot.place(id);
        let decision: Option<String> = row.try_get("decision")?;
        let held_until: Option<i64> = row.try_get("held_until_ms")?;
        let held_by: Option<String> = row.try_get("held_by")?;
        Ok(DoubtfulRow {
            row: id,
            text: place.map_or("", |place| snapshot.text(place)).to_string(),
            given: place.map_or("", |place| snapshot.label_name(place)).to_string(),
            suggested: row.try_get("suggested")?,
            p_given: row.try_get("p_given")?,
            p_suggested: row.try_get("p_suggested")?,
            decision: if decision.is_some() { Some(json_column(row, "decision")?) } else { None },
            by: row.try_get("decided_by")?,
            held_by: held_by.filter(|_| held_until.is_some_and(|until| until > (self.clock)())),
        })
    }
}

fn row_id(row: &AnyRow) -> Result<RowId> {
    Ok(RowId::try_from(row.try_get::<i64, _>("row_id")?).unwrap_or(RowId::MAX))
}

/// The row has the same text and label in both.
fn is_same(judged: &Snapshot, newest: &Snapshot, id: RowId) -> bool {
    let of = |version: &Snapshot| {
        version.place(id).map(|place| (version.text(place).to_string(), version.label_name(place).to_string()))
    };
    let judged = of(judged);
    judged.is_some() && judged == of(newest)
}
