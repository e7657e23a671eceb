//! Repairs: from a finding and a choice to the changes of rows.

use super::groups::Groups;
use super::repeats::{label_counts, majority};
use super::texts::{hash, normalise_into};
use super::words::quoted_list;
use super::{control, giveaways, html, language, mojibake, personal};
use crate::datasets::{Changes, Snapshot};
use crate::error::Result;
use domain::error::UserError;
use domain::finding::{FindingKind, Repair};
use domain::version::{RowChange, RowId};
use rayon::prelude::*;
use std::collections::HashSet;
use whatlang::Lang;

/// The changes that a repair makes: only of rows that become other than they are.
///
/// `groups` are the finding's rows. A text of which nothing is left is dropped.
///
/// # Errors
/// The repair is none for this finding, names a label, word or language that is not there, or would leave no rows.
pub fn repair(snapshot: &Snapshot, kind: FindingKind, repair: &Repair, groups: &Groups) -> Result<Changes> {
    use FindingKind as Kind;
    let changes = match (kind, repair) {
        (
            Kind::CutTexts
            | Kind::ControlCharacters
            | Kind::HtmlRemains
            | Kind::Mojibake
            | Kind::Contradictions
            | Kind::FewRows
            | Kind::TooLong
            | Kind::PersonalData,
            Repair::DropRows,
        ) => drop_rows(snapshot, groups.ids().iter().copied()),
        (Kind::ControlCharacters, Repair::RemoveControlCharacters)
        | (Kind::HtmlRemains, Repair::StripHtml)
        | (Kind::Mojibake, Repair::RepairMojibake)
        | (Kind::PersonalData, Repair::MaskPersonalData) => rewrite(snapshot, kind, repair, groups.ids()),
        (Kind::ExactDuplicates | Kind::NearDuplicates, Repair::KeepFirst) => keep_first(snapshot, groups),
        (Kind::Contradictions, Repair::KeepMajorityLabel) => keep_labels(snapshot, groups, |counts| majority(&counts)),
        (Kind::Contradictions, Repair::PreferLabel { label }) => prefer_label(snapshot, groups, label)?,
        (Kind::Leakage, Repair::DropFromTraining) => {
            let going = (0..groups.len()).flat_map(|group| {
                let rows = groups.rows(group);
                rows.get(groups.staying(group)..).unwrap_or_default().iter().copied()
            });
            drop_rows(snapshot, going)
        }
        (Kind::ClassImbalance, Repair::CapPerLabel { rows }) => cap_per_label(snapshot, *rows)?,
        (Kind::Giveaways, Repair::RemoveWord { word }) => {
            let Some(group) = (0..groups.len()).find(|group| groups.note(*group) == word) else {
                return Err(refused(format!("\"{word}\" is none of the words that were found.")));
            };
            rewrite(snapshot, kind, repair, groups.rows(group))
        }
        (Kind::LanguageMix, Repair::KeepLanguage { language }) => keep_language(snapshot, language)?,
        _ => return Err(refused("This repair does not belong to this finding.".to_string())),
    };
    let dropped = changes.values().filter(|change| **change == RowChange::Dropped).count();
    if dropped > 0 && dropped == snapshot.len() {
        return Err(refused("This repair would leave no rows.".to_string()));
    }
    Ok(changes)
}

/// A text after a repair that rewrites texts; `None`: the repair does another thing, or leaves this text as it is.
pub fn repaired_text(kind: FindingKind, repair: &Repair, text: &str) -> Option<String> {
    match (kind, repair) {
        (FindingKind::ControlCharacters, Repair::RemoveControlCharacters) => control::repaired(text),
        (FindingKind::HtmlRemains, Repair::StripHtml) => html::repaired(text),
        (FindingKind::Mojibake, Repair::RepairMojibake) => mojibake::repaired(text),
        (FindingKind::PersonalData, Repair::MaskPersonalData) => personal::masked(text),
        (FindingKind::Giveaways, Repair::RemoveWord { word }) => giveaways::without_word(text, word),
        _ => None,
    }
}

fn refused(words: String) -> crate::ServiceError {
    UserError::invalid(format!("{words} Choose one of the repairs that the finding offers.")).into()
}

fn drop_rows(snapshot: &Snapshot, ids: impl Iterator<Item = RowId>) -> Changes {
    ids.filter(|id| snapshot.place(*id).is_some()).map(|id| (id, RowChange::Dropped)).collect()
}

fn rewrite(snapshot: &Snapshot, kind: FindingKind, repair: &Repair, ids: &[RowId]) -> Changes {
    let changed = ids.par_iter().filter_map(|id| {
        let text = repaired_text(kind, repair, snapshot.text(snapshot.place(*id)?))?;
        if text.trim().is_empty() {
            return Some((*id, RowChange::Dropped));
        }
        Some((*id, RowChange::Edited { text: Some(text), label: None }))
    });
    changed.collect::<Vec<_>>().into_iter().collect()
}

/// Of each group and label the first row stays.
fn keep_first(snapshot: &Snapshot, groups: &Groups) -> Changes {
    let mut changes = Changes::new();
    for group in 0..groups.len() {
        let mut labels = HashSet::new();
        for id in groups.rows(group) {
            let Some(place) = snapshot.place(*id) else { continue };
            if !labels.insert(snapshot.label(place)) {
                changes.insert(*id, RowChange::Dropped);
            }
        }
    }
    changes
}

/// Of each group the rows with the chosen label stay; where none is chosen, none do.
fn keep_labels(
    snapshot: &Snapshot,
    groups: &Groups,
    choose: impl Fn(std::collections::BTreeMap<usize, usize>) -> Option<usize>,
) -> Changes {
    let mut changes = Changes::new();
    for group in 0..groups.len() {
        let rows = groups.rows(group);
        let places: Vec<u32> = rows.iter().filter_map(|id| snapshot.place(*id)).map(|place| place as u32).collect();
        let chosen = choose(label_counts(snapshot, &places));
        for place in places {
            if Some(snapshot.label(place as usize)) != chosen {
                changes.insert(snapshot.id(place as usize), RowChange::Dropped);
            }
        }
    }
    changes
}

/// Texts that do not have the label keep all that they have.
fn prefer_label(snapshot: &Snapshot, groups: &Groups, label: &str) -> Result<Changes> {
    let mut changes = Changes::new();
    let mut is_known = false;
    for group in 0..groups.len() {
        let places: Vec<usize> = groups.rows(group).iter().filter_map(|id| snapshot.place(*id)).collect();
        if !places.iter().any(|place| snapshot.label_name(*place) == label) {
            continue;
        }
        is_known = true;
        let others = places.into_iter().filter(|place| snapshot.label_name(*place) != label);
        changes.extend(others.map(|place| (snapshot.id(place), RowChange::Dropped)));
    }
    if is_known {
        return Ok(changes);
    }
    let names: Vec<&str> = snapshot.labels().iter().map(String::as_str).collect();
    Err(refused(format!("None of these texts has the label \"{label}\"; the labels are {}.", quoted_list(&names))))
}

/// Which rows stay depends on their texts alone, so the same ones do when the dataset grows elsewhere.
fn cap_per_label(snapshot: &Snapshot, cap: u64) -> Result<Changes> {
    if cap == 0 {
        return Err(refused("A label needs at least one row.".to_string()));
    }
    let cap = usize::try_from(cap).unwrap_or(usize::MAX);
    let mut by_label: Vec<Vec<(u128, RowId)>> = vec![Vec::new(); snapshot.labels().len()];
    let mut normalised = String::new();
    for place in 0..snapshot.len() {
        normalise_into(snapshot.text(place), &mut normalised);
        by_label[snapshot.label(place)].push((hash(&normalised), snapshot.id(place)));
    }
    let mut changes = Changes::new();
    for rows in &mut by_label {
        rows.sort_unstable();
        changes.extend(rows.iter().skip(cap).map(|(_, id)| (*id, RowChange::Dropped)));
    }
    Ok(changes)
}

/// Goes over all rows: the examination of a large dataset looks at a sample. Rows whose language is not clear stay.
fn keep_language(snapshot: &Snapshot, code: &str) -> Result<Changes> {
    let Some(kept) = Lang::from_code(code) else {
        return Err(refused(format!("\"{code}\" names no language that can be told (ISO 639-3).")));
    };
    let other = |place: &usize| language::language(snapshot.text(*place)).is_some_and(|found| found != kept);
    let going: Vec<usize> = (0..snapshot.len()).into_par_iter().filter(other).collect();
    Ok(going.into_iter().map(|place| (snapshot.id(place), RowChange::Dropped)).collect())
}
