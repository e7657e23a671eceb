//! The versions of datasets: each immutable, named by the hash of its rows, made on top of the one before.
//!
//! A version is the first so many segments of its dataset with its changes. The table says which versions there are; a
//! file that no version in the table needs is what a process left that did not get to the end, and goes with the next
//! start. The guarded UPDATE of `datasets.version` decides between two that change a dataset at once.

use super::changes::{self, StoredChanges, difference};
use super::snapshot::{Changes, Snapshot};
use super::{Datasets, blocking, to_the_end};
use crate::db::{json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::files::UploadId;
use domain::dataset::{DatasetId, Row, check_labels};
use domain::error::UserError;
use domain::finding::Verdict;
use domain::version::{DatasetVersion, NOBODY, VersionCause, VersionNumber};
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};
use std::sync::Arc;

/// Most versions that a list has: every edit by hand makes one.
pub const MAX_VERSIONS_LISTED: i64 = 500;
/// Longest name of a person, in characters.
const MAX_BY_CHARS: usize = 100;

const VERSION: &str = "SELECT v.*, (SELECT COUNT(*) FROM runs r WHERE r.dataset_id = v.dataset_id AND \
                       r.dataset_version = v.number) AS runs FROM dataset_versions v \
                       WHERE v.dataset_id = $1 AND (v.number = $2 OR $2 = 0) ORDER BY v.number DESC LIMIT $3";

/// A version with where its rows lie.
#[derive(Clone, Debug)]
pub(super) struct VersionRecord {
    pub version: DatasetVersion,
    /// How many of the dataset's segments it reads.
    pub segments: usize,
}

/// A version that is to follow the newest one.
pub(super) struct Draft {
    pub changes: Changes,
    /// All that it reads; those that are new are in place.
    pub segments: usize,
    pub cause: VersionCause,
    pub by: String,
    /// The file that came with it, and the rows of it that could not be used.
    pub file: Option<(UploadId, u64)>,
}

impl Draft {
    /// One that reads what the newest version reads.
    pub fn on(head: &VersionRecord, changes: Changes, cause: VersionCause, by: String) -> Self {
        Self { changes, segments: head.segments, cause, by, file: None }
    }
}

impl Datasets {
    /// The versions of a dataset, the newest first; of very many the last [`MAX_VERSIONS_LISTED`].
    pub async fn versions(&self, id: DatasetId) -> Result<Vec<DatasetVersion>> {
        self.get(id).await?;
        let rows = sqlx::query(VERSION).bind(id).bind(0_i64).bind(MAX_VERSIONS_LISTED).fetch_all(&self.db.pool).await?;
        rows.iter().map(|row| Ok(record_from(row)?.version)).collect()
    }

    /// # Errors
    /// There is no such dataset or version.
    pub async fn version(&self, id: DatasetId, number: VersionNumber) -> Result<DatasetVersion> {
        Ok(self.record(id, Some(number)).await?.version)
    }

    /// A version ready to be read, the newest where none is named. Opened once and shared from then on.
    ///
    /// # Errors
    /// There is no such dataset or version, or its files cannot be read.
    pub async fn snapshot(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<Arc<Snapshot>> {
        let number = self.resolve(id, version).await?;
        if let Some(snapshot) = self.shared.opened.get(id, number) {
            return Ok(snapshot);
        }
        let segments = self.record(id, Some(number)).await?.segments;
        let datasets = self.clone();
        blocking(move || datasets.open_version(id, number, segments)).await
    }

    fn open_version(&self, id: DatasetId, number: VersionNumber, segments: usize) -> Result<Arc<Snapshot>> {
        let stored = StoredChanges::read(&self.files.changes(id, number))?;
        let full = stored.since.map(|since| self.changes_in_full(id, since)).transpose()?;
        let segments = self.shared.opened.segments(&self.files, id, segments)?;
        let snapshot = Arc::new(Snapshot::new(segments, stored.into_changes(full.as_ref())));
        self.shared.opened.put(id, number, snapshot.clone());
        Ok(snapshot)
    }

    /// All rows of a version, the newest where none is named, in the order of their ids.
    pub async fn load(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<Vec<Row>> {
        let snapshot = self.snapshot(id, version).await?;
        blocking(move || Ok((0..snapshot.len()).map(|place| snapshot.row(place)).collect())).await
    }

    /// One row of the newest version by its place, counted from 0.
    pub(crate) async fn row(&self, id: DatasetId, place: u64) -> Result<Row> {
        let snapshot = self.snapshot(id, None).await?;
        match usize::try_from(place).ok().filter(|place| *place < snapshot.len()) {
            Some(place) => Ok(snapshot.row(place)),
            None => Err(UserError::not_found(format!(
                "There is no row {}; the dataset has {}.",
                place.saturating_add(1),
                snapshot.len()
            ))
            .into()),
        }
    }

    /// Makes the version that does `step` on top of `version`, which must be the newest one.
    ///
    /// # Errors
    /// The dataset has moved on, nothing would change, a row is not there, or the labels could not be learnt any more.
    pub async fn apply_changes(
        &self,
        id: DatasetId,
        version: VersionNumber,
        step: Changes,
        cause: VersionCause,
        by: &str,
    ) -> Result<DatasetVersion> {
        let (datasets, by) = (self.clone(), by.to_string());
        to_the_end(async move {
            let _turn = datasets.turn(id).await;
            let head = datasets.record(id, None).await?;
            check_head(&head, version)?;
            let snapshot = datasets.snapshot(id, Some(version)).await?;
            let changes = changes::apply(&snapshot, &step)?;
            datasets.commit(&head, Draft::on(&head, changes, cause, by)).await
        })
        .await
    }

    /// Makes a version that takes the changes of `version` back.
    ///
    /// # Errors
    /// It is the first one, its rows have been changed again since, or all of it has been taken back already.
    pub async fn undo(&self, id: DatasetId, version: VersionNumber, by: &str) -> Result<DatasetVersion> {
        let (datasets, by) = (self.clone(), by.to_string());
        to_the_end(async move {
            let _turn = datasets.turn(id).await;
            let head = datasets.record(id, None).await?;
            datasets.record(id, Some(version)).await?;
            if version <= 1 {
                return Err(UserError::invalid(
                    "Version 1 is the file as it came; there is nothing before it to go back to.",
                )
                .into());
            }
            let parent = datasets.snapshot(id, Some(version - 1)).await?;
            let undone = datasets.snapshot(id, Some(version)).await?;
            let newest = datasets.snapshot(id, Some(head.version.number)).await?;
            let (changes, changed_since) = blocking(move || Ok(changes::take_back(&parent, &undone, &newest))).await?;
            if !changed_since.is_empty() {
                return Err(datasets.cannot_take_back(id, version, &changed_since).await?.into());
            }
            let cause = VersionCause::Undone { version };
            datasets.commit(&head, Draft::on(&head, changes, cause, by)).await
        })
        .await
    }

    /// Makes a version with the rows of an earlier one.
    ///
    /// # Errors
    /// There is no such version, or the newest one has the same rows.
    pub async fn restore(&self, id: DatasetId, version: VersionNumber, by: &str) -> Result<DatasetVersion> {
        let (datasets, by) = (self.clone(), by.to_string());
        to_the_end(async move {
            let _turn = datasets.turn(id).await;
            let head = datasets.record(id, None).await?;
            let wanted = datasets.snapshot(id, Some(version)).await?;
            let newest = datasets.snapshot(id, Some(head.version.number)).await?;
            let changes = blocking(move || Ok(changes::go_back(&wanted, &newest))).await?;
            let cause = VersionCause::WentBack { version };
            datasets.commit(&head, Draft::on(&head, changes, cause, by)).await
        })
        .await
    }

    async fn cannot_take_back(
        &self,
        id: DatasetId,
        version: VersionNumber,
        changed_since: &[u32],
    ) -> Result<UserError> {
        let count = changed_since.len();
        let rows = if count == 1 { "one of its rows was".to_string() } else { format!("{count} of its rows were") };
        let last = match changed_since.first() {
            Some(row) => self.last_change(id, *row).await?,
            None => None,
        };
        let (who, what) = match &last {
            Some(last) => (
                format!(", the last time by {} in version {}", last.by, last.number),
                format!("Take version {} back first, or change the rows by hand.", last.number),
            ),
            None => (String::new(), "Change the rows by hand.".to_string()),
        };
        Ok(UserError::conflict(format!(
            "Version {version} cannot be taken back: {rows} changed again since{who}. {what}"
        )))
    }

    /// Makes the version that follows `head`. The caller has the dataset's turn.
    pub(super) async fn commit(&self, head: &VersionRecord, draft: Draft) -> Result<DatasetVersion> {
        let (id, parent) = (head.version.dataset, head.version.number);
        let number = parent + 1;
        let before = self.snapshot(id, Some(parent)).await?;
        let Draft { changes, segments, cause, by, file } = draft;
        if changes == *before.changes() && segments == head.segments {
            return Err(UserError::conflict("Nothing would change: the rows are like that already.").into());
        }
        let (datasets, at_ms) = (self.clone(), (self.clock)());
        let (version, snapshot) = blocking(move || {
            let snapshot = Snapshot::new(datasets.shared.opened.segments(&datasets.files, id, segments)?, changes);
            let version = describe(id, number, Some(&before), &snapshot, Made { cause, by, at_ms });
            check_labels(&version.labels)?;
            datasets.store_changes(id, number, &snapshot)?;
            Ok((version, snapshot))
        })
        .await?;
        let stored = self.store_version(&version, segments, file.as_ref()).await;
        if stored.is_err() {
            // Should this fail as well, the next version of that number replaces the file.
            let _ = std::fs::remove_file(self.files.changes(id, number));
        }
        stored?;
        self.shared.opened.put(id, number, Arc::new(snapshot));
        self.examine_soon(id, number);
        Ok(version)
    }

    fn store_changes(&self, id: DatasetId, number: VersionNumber, snapshot: &Snapshot) -> Result<()> {
        let path = self.files.changes(id, number);
        if snapshot.changes().is_empty() {
            // What a process that did not get to the end may have left under this number.
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ServiceError::io(&path, error)),
                _ => Ok(()),
            };
        }
        let parent = number - 1;
        let full = StoredChanges::read_since(&self.files.changes(id, parent))?.unwrap_or(parent);
        let earlier = self.changes_in_full(id, full)?;
        StoredChanges::of(snapshot.changes(), Some((full, &earlier))).write(&path)
    }

    /// The changes of a version that is stored in full.
    fn changes_in_full(&self, id: DatasetId, number: VersionNumber) -> Result<Changes> {
        match self.shared.opened.get(id, number) {
            Some(snapshot) => Ok(snapshot.changes().clone()),
            None => Ok(StoredChanges::read(&self.files.changes(id, number))?.entries),
        }
    }

    async fn store_version(
        &self,
        version: &DatasetVersion,
        segments: usize,
        file: Option<&(UploadId, u64)>,
    ) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        let moved = sqlx::query(
            "UPDATE datasets SET version = $2, row_count = $3, labels = $4, rejected_count = rejected_count + $6 \
             WHERE id = $1 AND version = $5",
        )
        .bind(version.dataset)
        .bind(version.number)
        .bind(version.rows as i64)
        .bind(to_json(&version.labels)?)
        .bind(version.number - 1)
        .bind(file.map_or(0, |(_, rejected)| *rejected as i64))
        .execute(&mut *transaction)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(UserError::conflict(
                "Somebody else has just changed the dataset, and nothing was done. Look at it again, then repeat what \
                 you wanted.",
            )
            .into());
        }
        insert_version(&mut transaction, version, segments, file.map(|(upload, _)| upload)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The version, or the newest one.
    pub(super) async fn record(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<VersionRecord> {
        let number = self.resolve(id, version).await?;
        let row = sqlx::query(VERSION).bind(id).bind(number).bind(1_i64).fetch_optional(&self.db.pool).await?;
        match row {
            // Asked for, 0 would be any.
            Some(row) if number > 0 => record_from(&row),
            _ => {
                let newest = self.resolve(id, None).await?;
                Err(UserError::not_found(format!(
                    "The dataset has no version {number}; its versions are 1 to {newest}."
                ))
                .into())
            }
        }
    }

    /// The number of the newest version, unless one is named.
    pub(crate) async fn resolve(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<VersionNumber> {
        if let Some(version) = version {
            return Ok(version);
        }
        let row =
            sqlx::query("SELECT version FROM datasets WHERE id = $1").bind(id).fetch_optional(&self.db.pool).await?;
        match row {
            Some(row) => Ok(row.try_get("version")?),
            None => Err(super::no_such_dataset(id)),
        }
    }
}

/// # Errors
/// The newest version is another one.
pub(super) fn check_head(head: &VersionRecord, seen: VersionNumber) -> Result<()> {
    let DatasetVersion { number, by, .. } = &head.version;
    if *number == seen {
        return Ok(());
    }
    Err(UserError::conflict(format!(
        "The dataset has moved on: version {number} was made by {by} after version {seen}, which you are looking at. \
         Look at the newest version, then try again."
    ))
    .into())
}

pub(super) async fn insert_version(
    transaction: &mut Transaction<'static, Any>,
    version: &DatasetVersion,
    segments: usize,
    upload: Option<&UploadId>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO dataset_versions (dataset_id, number, hash, parent, cause, made_by, at_ms, row_count, added, \
         removed, relabelled, rewritten, labels, segments, upload) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(version.dataset)
    .bind(version.number)
    .bind(&version.hash)
    .bind((version.number > 1).then_some(version.number - 1))
    .bind(to_json(&version.cause)?)
    .bind(&version.by)
    .bind(version.at_ms)
    .bind(version.rows as i64)
    .bind(version.added as i64)
    .bind(version.removed as i64)
    .bind(version.relabelled as i64)
    .bind(version.rewritten as i64)
    .bind(to_json(&version.labels)?)
    .bind(segments as i64)
    .bind(upload.map(UploadId::as_str))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What is known of a version's making.
pub(super) struct Made {
    pub cause: VersionCause,
    pub by: String,
    pub at_ms: i64,
}

/// What there is to say of a version: its hash, its labels, and what it changes.
pub(super) fn describe(
    dataset: DatasetId,
    number: VersionNumber,
    parent: Option<&Snapshot>,
    snapshot: &Snapshot,
    made: Made,
) -> DatasetVersion {
    let difference = difference(parent, snapshot);
    DatasetVersion {
        dataset,
        number,
        hash: hash_of(snapshot),
        cause: made.cause,
        by: display_by(&made.by),
        at_ms: made.at_ms,
        rows: snapshot.len() as u64,
        added: difference.added,
        removed: difference.removed,
        relabelled: difference.relabelled,
        rewritten: difference.rewritten,
        labels: snapshot.label_counts(),
        runs: 0,
    }
}

/// SHA-256 over the rows in their order: of text and label each the length in bytes, as eight bytes with the lowest
/// first, and the UTF-8. The lengths keep two rows from looking like one.
fn hash_of(snapshot: &Snapshot) -> String {
    let mut hash = Sha256::new();
    let mut waiting: Vec<u8> = Vec::with_capacity(96 * 1024);
    for place in 0..snapshot.len() {
        for words in [snapshot.text(place), snapshot.label_name(place)] {
            waiting.extend_from_slice(&(words.len() as u64).to_le_bytes());
            waiting.extend_from_slice(words.as_bytes());
        }
        if waiting.len() >= 64 * 1024 {
            hash.update(&waiting);
            waiting.clear();
        }
    }
    hash.update(&waiting);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a person wants to be called, in bearable length.
fn display_by(by: &str) -> String {
    let by: String = by.trim().chars().filter(|letter| !letter.is_control()).take(MAX_BY_CHARS).collect();
    if by.is_empty() { NOBODY.to_string() } else { by }
}

fn record_from(row: &AnyRow) -> Result<VersionRecord> {
    let count = |column: &'static str| -> Result<u64> { Ok(row.try_get::<i64, _>(column)? as u64) };
    Ok(VersionRecord {
        version: DatasetVersion {
            dataset: row.try_get("dataset_id")?,
            number: row.try_get("number")?,
            hash: row.try_get("hash")?,
            cause: json_column(row, "cause")?,
            by: row.try_get("made_by")?,
            at_ms: row.try_get("at_ms")?,
            rows: count("row_count")?,
            added: count("added")?,
            removed: count("removed")?,
            relabelled: count("relabelled")?,
            rewritten: count("rewritten")?,
            labels: json_column(row, "labels")?,
            runs: count("runs")?,
        },
        segments: count("segments")? as usize,
    })
}

/// As `dataset_versions.verdict` has it.
pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Fair => "fair",
        Verdict::Poor => "poor",
    }
}

pub(super) fn verdict_from(word: &str) -> Option<Verdict> {
    [Verdict::Good, Verdict::Fair, Verdict::Poor].into_iter().find(|verdict| verdict_word(*verdict) == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::snapshot_of;

    #[test]
    fn the_hash_is_of_the_rows_and_nothing_else() {
        let rows = [("one", "a"), ("two", "b")];
        // printf of the bytes as the comment of `hash_of` has them, through coreutils' sha256sum.
        assert_eq!(hash_of(&snapshot_of(&rows)), "8c614ae9ab3f606f82fb268e1ed675d15ac5e2fd089e0ccd208b76a00126243d");
        for other in [[("one", "b"), ("two", "b")], [("two", "b"), ("one", "a")], [("onea", ""), ("two", "b")]] {
            assert_ne!(hash_of(&snapshot_of(&rows)), hash_of(&snapshot_of(&other)));
        }
    }
}
