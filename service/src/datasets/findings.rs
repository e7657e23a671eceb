//! The rows of a finding as a page shows them, and the repairs: looked at first, then made a version of.

use super::changes::{self, difference};
use super::examined::Examined;
use super::rows::{MAX_ROWS_AT_ONCE, numbered, to_index};
use super::snapshot::{Changes, Snapshot};
use super::{Datasets, PAGE_SIZE, blocking};
use crate::doctor::{self, Groups};
use crate::error::Result;
use domain::dataset::{DatasetId, RejectedRow};
use domain::error::UserError;
use domain::finding::{FindingGroup, FindingKind, FindingPage, Repair, RepairPreview, RepairedRow};
use domain::version::{DatasetVersion, NumberedRow, RowId, VersionCause, VersionNumber};
use std::sync::Arc;

/// Rows of a group that are listed.
const GROUP_ROWS: usize = 20;
/// Rows that the preview of a repair lists.
const PREVIEW_ROWS: usize = 20;
/// Bytes of texts after which a page of groups ends early, though not before its first group.
const MAX_PAGE_BYTES: usize = 16 << 20;

impl Datasets {
    /// Some groups of a finding, counted from 0. Rows that could not be used stand for themselves.
    ///
    /// # Errors
    /// There is no such dataset or version, or it has not been examined yet.
    pub async fn finding(
        &self,
        id: DatasetId,
        version: Option<VersionNumber>,
        kind: FindingKind,
        first: u64,
        count: u64,
    ) -> Result<FindingPage> {
        let count = count.min(MAX_ROWS_AT_ONCE);
        if kind == FindingKind::Rejected {
            return self.rejected_groups(id, first, count).await;
        }
        let number = self.record(id, version).await?.version.number;
        let snapshot = self.snapshot(id, Some(number)).await?;
        let datasets = self.clone();
        blocking(move || {
            let examined = datasets.examined_or_refuse(id, number)?;
            Ok(page(&snapshot, &examined, kind, first, count))
        })
        .await
    }

    async fn rejected_groups(&self, id: DatasetId, first: u64, count: u64) -> Result<FindingPage> {
        let mut groups = Vec::new();
        let mut total = 0;
        let mut page = first / PAGE_SIZE;
        let mut skip = to_index(first % PAGE_SIZE);
        while groups.len() < to_index(count) {
            let (rows, all) = self.rejected(id, page).await?;
            total = all;
            let is_last = rows.len() < to_index(PAGE_SIZE);
            groups.extend(rows.into_iter().skip(skip).map(rejected_group));
            if is_last {
                break;
            }
            (page, skip) = (page + 1, 0);
        }
        groups.truncate(to_index(count));
        Ok(FindingPage { groups, first, total })
    }

    /// What a repair would make of the newest version.
    ///
    /// # Errors
    /// It has not been examined yet, or the repair is none for this finding.
    pub async fn preview_repair(&self, id: DatasetId, kind: FindingKind, repair: &Repair) -> Result<RepairPreview> {
        let number = self.resolve(id, None).await?;
        let snapshot = self.snapshot(id, Some(number)).await?;
        let (datasets, repair) = (self.clone(), repair.clone());
        blocking(move || {
            let examined = datasets.examined_or_refuse(id, number)?;
            let step = repair_step(&snapshot, &examined, kind, &repair)?;
            let repaired = Snapshot::new(snapshot.segments().to_vec(), changes::apply(&snapshot, &step)?);
            let difference = difference(Some(&snapshot), &repaired);
            let row = |(id, _): (&RowId, _)| {
                let before = numbered(&snapshot, Some(&examined.rows), snapshot.place(*id)?);
                let after = repaired
                    .place(*id)
                    .map(|place| (repaired.text(place).to_string(), repaired.label_name(place).to_string()));
                Some(RepairedRow { before, after })
            };
            Ok(RepairPreview {
                version: number,
                rows: step.iter().filter_map(row).take(PREVIEW_ROWS).collect(),
                removed: difference.removed,
                relabelled: difference.relabelled,
                rewritten: difference.rewritten,
                labels: repaired.label_counts(),
            })
        })
        .await
    }

    /// Makes the version in which a finding is repaired. `version` is the one that the preview was worked out on.
    ///
    /// # Errors
    /// The dataset has moved on since, it has not been examined yet, the repair is none for this finding, or the labels
    /// could not be learnt any more.
    pub async fn apply_repair(
        &self,
        id: DatasetId,
        version: VersionNumber,
        kind: FindingKind,
        repair: &Repair,
        by: &str,
    ) -> Result<DatasetVersion> {
        super::versions::check_head(&self.record(id, None).await?, version)?;
        let snapshot = self.snapshot(id, Some(version)).await?;
        let (datasets, wanted) = (self.clone(), repair.clone());
        let step = blocking(move || {
            let examined = datasets.examined_or_refuse(id, version)?;
            repair_step(&snapshot, &examined, kind, &wanted)
        })
        .await?;
        let cause = VersionCause::Repaired { finding: kind, repair: repair.clone() };
        self.apply_changes(id, version, step, cause, by).await
    }

    fn examined_or_refuse(&self, id: DatasetId, version: VersionNumber) -> Result<Arc<Examined>> {
        let examined = self.examined(id, version)?;
        examined.ok_or_else(|| {
            UserError::conflict(format!(
                "Version {version} has not been examined yet. Try again when the examination is done."
            ))
            .into()
        })
    }
}

fn repair_step(snapshot: &Snapshot, examined: &Examined, kind: FindingKind, repair: &Repair) -> Result<Changes> {
    match examined.groups.get(&kind) {
        Some(groups) => doctor::repair(snapshot, kind, repair, groups),
        None => Err(UserError::conflict(
            "The examination of this version has not found that, so there is nothing to repair.",
        )
        .into()),
    }
}

fn page(snapshot: &Snapshot, examined: &Examined, kind: FindingKind, first: u64, count: u64) -> FindingPage {
    let Some(groups) = examined.groups.get(&kind) else { return FindingPage { groups: Vec::new(), first, total: 0 } };
    let total = groups.len() as u64;
    let finding = examined.examination.findings.iter().find(|finding| finding.kind == kind);
    let repair = finding.and_then(|finding| finding.repairs.first()).map(|offer| &offer.repair);
    let mut bytes = 0;
    let mut listed = Vec::new();
    for number in first..first.saturating_add(count).min(total) {
        let group = group_of(snapshot, examined, groups, to_index(number), kind, repair);
        bytes += group.rows.iter().map(|row| row.text.len()).sum::<usize>();
        if bytes > MAX_PAGE_BYTES && !listed.is_empty() {
            break;
        }
        listed.push(group);
    }
    FindingPage { groups: listed, first, total }
}

fn group_of(
    snapshot: &Snapshot,
    examined: &Examined,
    groups: &Groups,
    number: usize,
    kind: FindingKind,
    repair: Option<&Repair>,
) -> FindingGroup {
    let ids = groups.rows(number);
    let places = ids.iter().filter_map(|id| snapshot.place(*id)).take(GROUP_ROWS);
    let rows: Vec<NumberedRow> = places.map(|place| numbered(snapshot, Some(&examined.rows), place)).collect();
    let repaired = rows.first().zip(repair).and_then(|(row, repair)| doctor::repaired_text(kind, repair, &row.text));
    FindingGroup { more: (ids.len() - rows.len()) as u64, note: groups.note(number).to_string(), repaired, rows }
}

fn rejected_group(row: RejectedRow) -> FindingGroup {
    let RejectedRow { line, reason, excerpt } = row;
    let row = NumberedRow {
        // It is no row of the dataset.
        id: RowId::MAX,
        line,
        text: excerpt,
        label: String::new(),
        part: None,
        is_changed: false,
        findings: vec![FindingKind::Rejected],
    };
    FindingGroup { rows: vec![row], note: reason, repaired: None, more: 0 }
}
