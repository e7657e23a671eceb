//! Test sets that a dataset keeps from version to version, so that the scores of its runs can be compared.

use super::dealing::split_rows;
use super::{Datasets, blocking};
use crate::db::{json_column, to_json};
use crate::error::Result;
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::split::{FrozenTest, Part, Split};
use domain::version::{NOBODY, RowId};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashSet;

/// Names a frozen test set, also one that has been given up.
pub(crate) type FrozenTestId = i64;

/// Longest name of a person, in characters.
const MAX_BY_CHARS: usize = 100;

impl Datasets {
    /// Keeps the test rows that the split deals from the newest version.
    ///
    /// # Errors
    /// The dataset has a frozen test set already, or the split deals no test rows of this dataset.
    pub async fn freeze_test(&self, id: DatasetId, split: &Split, by: &str) -> Result<FrozenTest> {
        if !matches!(split, Split::Percent { .. } | Split::PerLabel { .. } | Split::Column { .. }) {
            return Err(UserError::invalid(
                "A test set is frozen from shares of this dataset, from counts per label, or from the file's own split \
                 column. Choose one of them.",
            )
            .into());
        }
        if let Some(frozen) = self.frozen_test(id).await? {
            return Err(already_frozen(&frozen).into());
        }
        let version = self.resolve(id, None).await?;
        let snapshot = self.snapshot(id, Some(version)).await?;
        let wanted = split.clone();
        let rows = blocking(move || {
            let rows = split_rows(&snapshot, snapshot.twins(), &HashSet::new());
            let parts = wanted.deal(&rows)?;
            let test = rows.iter().zip(parts).filter(|(_, part)| *part == Some(Part::Test));
            Ok(test.map(|(row, _)| row.id).collect::<Vec<RowId>>())
        })
        .await?;
        if rows.is_empty() {
            return Err(
                UserError::invalid("This split leaves no test rows to freeze. Give the test a larger share.").into()
            );
        }
        let by: String = by.trim().chars().filter(|letter| !letter.is_control()).take(MAX_BY_CHARS).collect();
        let frozen = FrozenTest {
            dataset: id,
            version,
            split: split.clone(),
            rows: rows.len() as u64,
            by: if by.is_empty() { NOBODY.to_string() } else { by },
            at_ms: (self.clock)(),
        };
        let number = self.db.next_number("frozen_test").await?;
        // Of two at once the index on those in force lets one through.
        let inserted = sqlx::query(
            "INSERT INTO frozen_tests (id, dataset_id, version, split, row_ids, made_by, at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(number)
        .bind(id)
        .bind(version)
        .bind(to_json(&frozen.split)?)
        .bind(to_json(&rows)?)
        .bind(&frozen.by)
        .bind(frozen.at_ms)
        .execute(&self.db.pool)
        .await?;
        if inserted.rows_affected() == 1 {
            // Leakage is looked for against it.
            self.examine_again(id, None).await?;
            return Ok(frozen);
        }
        match self.frozen_test(id).await? {
            Some(other) => Err(already_frozen(&other).into()),
            None => Err(UserError::conflict("The test set has just been changed. Look at it again.").into()),
        }
    }

    /// Gives the frozen test set up. Runs that were started on it keep it.
    ///
    /// # Errors
    /// There is none.
    pub async fn unfreeze_test(&self, id: DatasetId) -> Result<()> {
        let given_up =
            sqlx::query("UPDATE frozen_tests SET given_up_at_ms = $2 WHERE dataset_id = $1 AND given_up_at_ms IS NULL")
                .bind(id)
                .bind((self.clock)())
                .execute(&self.db.pool)
                .await?;
        if given_up.rows_affected() == 0 {
            return Err(UserError::not_found("This dataset has no frozen test set.").into());
        }
        self.examine_again(id, None).await?;
        Ok(())
    }

    /// The frozen test set that is in force.
    pub async fn frozen_test(&self, id: DatasetId) -> Result<Option<FrozenTest>> {
        self.get(id).await?;
        match self.frozen_row(id).await? {
            Some(row) => frozen_from(&row).map(Some),
            None => Ok(None),
        }
    }

    /// The rows of the frozen test set that is in force.
    pub(crate) async fn frozen_rows_in_force(&self, id: DatasetId) -> Result<Option<HashSet<RowId>>> {
        match self.frozen_row(id).await? {
            Some(row) => json_column(&row, "row_ids").map(Some),
            None => Ok(None),
        }
    }

    /// The number of the frozen test set that is in force.
    pub(crate) async fn frozen_test_id(&self, id: DatasetId) -> Result<Option<FrozenTestId>> {
        match self.frozen_row(id).await? {
            Some(row) => Ok(Some(row.try_get("id")?)),
            None => Ok(None),
        }
    }

    /// The rows of a frozen test set, in force or given up.
    pub(crate) async fn frozen_rows(&self, id: FrozenTestId) -> Result<HashSet<RowId>> {
        let row =
            sqlx::query("SELECT row_ids FROM frozen_tests WHERE id = $1").bind(id).fetch_one(&self.db.pool).await?;
        json_column(&row, "row_ids")
    }

    async fn frozen_row(&self, id: DatasetId) -> Result<Option<AnyRow>> {
        let query = sqlx::query("SELECT * FROM frozen_tests WHERE dataset_id = $1 AND given_up_at_ms IS NULL");
        Ok(query.bind(id).fetch_optional(&self.db.pool).await?)
    }
}

fn already_frozen(frozen: &FrozenTest) -> UserError {
    UserError::conflict(format!(
        "This dataset has a frozen test set already: {} rows, frozen by {} from version {}. Give that one up first.",
        frozen.rows, frozen.by, frozen.version
    ))
}

fn frozen_from(row: &AnyRow) -> Result<FrozenTest> {
    let rows: Vec<RowId> = json_column(row, "row_ids")?;
    Ok(FrozenTest {
        dataset: row.try_get("dataset_id")?,
        version: row.try_get("version")?,
        split: json_column(row, "split")?,
        rows: rows.len() as u64,
        by: row.try_get("made_by")?,
        at_ms: row.try_get("at_ms")?,
    })
}
