//! Changes that a person makes to one row by hand.

use super::changes::{self, entry};
use super::snapshot::{Changes, Snapshot};
use super::versions::Draft;
use super::{Datasets, to_the_end};
use crate::error::Result;
use domain::dataset::{DatasetId, MAX_LABEL_CHARS};
use domain::error::UserError;
use domain::version::{DatasetVersion, RowChange, RowEdit, RowId, VersionCause};

/// Versions that are looked through for who has changed a row.
const LOOKED_THROUGH: i64 = 20;
/// Characters of a text that a message shows.
const SHOWN_CHARS: usize = 80;

impl Datasets {
    /// Makes the version in which one row is changed as a person wants it.
    ///
    /// # Errors
    /// The row is not as the person saw it: the message says who has changed it, and to what. Or the text or the label
    /// is one that no row can have, nothing would change, or the labels could not be learnt any more.
    pub async fn edit(&self, id: DatasetId, edit: RowEdit) -> Result<DatasetVersion> {
        let datasets = self.clone();
        to_the_end(async move {
            let _turn = datasets.turn(id).await;
            let head = datasets.record(id, None).await?;
            let snapshot = datasets.snapshot(id, Some(head.version.number)).await?;
            if !is_as_seen(&snapshot, &edit) {
                return Err(datasets.seen_otherwise(id, &snapshot, edit.row).await?.into());
            }
            let step = Changes::from([(edit.row, tidy(edit.change)?)]);
            let changes = changes::apply(&snapshot, &step)?;
            datasets.commit(&head, Draft::on(&head, changes, VersionCause::Edited, edit.by)).await
        })
        .await
    }

    /// Why an edit is refused.
    async fn seen_otherwise(&self, id: DatasetId, head: &Snapshot, row: RowId) -> Result<UserError> {
        if row as usize >= head.ids_given() {
            return Ok(UserError::not_found(format!("The dataset has no row {row}.")));
        }
        let who = match self.last_change(id, row).await? {
            Some(version) => format!("{} has changed this row in version {}", version.by, version.number),
            None => "This row has been changed".to_string(),
        };
        let now = match head.place(row) {
            None => "it is not in the dataset any more".to_string(),
            Some(place) => {
                format!("it is now \"{}\" with the label \"{}\"", shown(head.text(place)), head.label_name(place))
            }
        };
        Ok(UserError::conflict(format!(
            "{who}: {now}. Nothing was overwritten. Look at the row as it is, then change it again if you still want to."
        )))
    }

    /// The version that made of a row what it is, as far as the last ones tell.
    pub(super) async fn last_change(&self, id: DatasetId, row: RowId) -> Result<Option<DatasetVersion>> {
        let newest = self.resolve(id, None).await?;
        let mut later = self.snapshot(id, Some(newest)).await?;
        for number in ((newest - LOOKED_THROUGH).max(1)..newest).rev() {
            let earlier = self.snapshot(id, Some(number)).await?;
            if entry(&earlier, row) != entry(&later, row) {
                return Ok(Some(self.version(id, number + 1).await?));
            }
            later = earlier;
        }
        Ok(None)
    }
}

fn is_as_seen(snapshot: &Snapshot, edit: &RowEdit) -> bool {
    let is_seen = |text: &str, label: &str| text == edit.seen_text && label == edit.seen_label;
    if edit.row as usize >= snapshot.ids_given() {
        return false;
    }
    match snapshot.place(edit.row) {
        Some(place) => is_seen(snapshot.text(place), snapshot.label_name(place)),
        // A dropped row can be brought back by one who knows what it was.
        None => {
            edit.change == RowChange::Restored
                && is_seen(snapshot.original_text(edit.row), snapshot.original_label(edit.row))
        }
    }
}

/// White space around a label is nobody's wish, and a label without letters none.
fn tidy(change: RowChange) -> Result<RowChange> {
    let RowChange::Edited { text, label: Some(label) } = change else { return Ok(change) };
    let label = label.trim();
    if label.is_empty() {
        return Err(UserError::invalid("A label cannot be empty. Name one, or drop the row.").into());
    }
    if label.chars().count() > MAX_LABEL_CHARS || label.chars().any(char::is_control) {
        return Err(UserError::invalid(format!(
            "A label can have {MAX_LABEL_CHARS} characters at the most, all on one line."
        ))
        .into());
    }
    Ok(RowChange::Edited { text, label: Some(label.to_string()) })
}

fn shown(text: &str) -> String {
    let mut letters = text.chars();
    let mut short: String = letters.by_ref().take(SHOWN_CHARS).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}
