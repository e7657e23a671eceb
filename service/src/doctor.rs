//! The data doctor: what is wrong with a version's rows, why that matters, and how it is repaired.
//!
//! Pure: a snapshot in, a report out. `examine` finds, `repair` turns a finding and a choice into changes of rows, `twins`
//! says which rows belong together when they are dealt to the sides of a split.

mod balance;
mod charts;
mod control;
mod giveaways;
mod groups;
mod health;
mod html;
mod language;
mod leakage;
mod length;
mod mojibake;
mod near;
mod personal;
mod progress;
mod repair;
mod repeats;
#[cfg(test)]
mod samples;
mod scan;
#[cfg(test)]
mod tests;
mod texts;
mod words;

pub use groups::Groups;
pub use repair::{repair, repaired_text};

use crate::datasets::Snapshot;
use crate::error::Result;
use domain::finding::{Examination, FindingKind, Severity};
use domain::version::{RowId, VersionNumber};
use progress::Progress;
use scan::Scanned;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::time::Instant;
use texts::SameTexts;
use words::{Found, percent, rows};

/// What a version is examined against, beside its own rows.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Rows of its files that could not be used.
    pub rejected: u64,
    /// How many tokens a text has with its prompt under the base model; `None`: lengths in tokens are left out.
    pub tokens: Option<&'a (dyn Fn(&str) -> usize + Sync)>,
    /// Most tokens that a text may have with its prompt.
    pub max_length: usize,
    /// The rows that are kept for the test alone.
    pub frozen_test: Option<&'a HashSet<RowId>>,
}

/// What was found, and the rows of each finding.
#[derive(Clone, Debug)]
pub struct Report {
    pub examination: Examination,
    /// Of every finding, though some have no rows of their own.
    pub groups: BTreeMap<FindingKind, Groups>,
}

/// Examines a version, on all cores. `on_progress` hears the step and the share of the whole from 0 to 1, often, and
/// ends the examination by breaking.
///
/// The languages come last: they take longest per row, and everything else is known by then.
///
/// # Errors
/// It was stopped.
pub fn examine(
    snapshot: &Snapshot,
    surroundings: &Surroundings,
    version: VersionNumber,
    on_progress: &mut dyn FnMut(&str, f64) -> ControlFlow<()>,
) -> Result<Report> {
    let started = Instant::now();
    let mut progress = Progress::new(on_progress);
    progress.begin("texts, duplicates and contradictions", 0.12)?;
    let scanned = Scanned::look(snapshot, &mut progress)?;
    let same = SameTexts::find(&scanned.hashes);
    let ceiling = repeats::ceiling(snapshot, &same);
    let labels = snapshot.label_counts();
    let mut found = scanned.findings(snapshot);
    found.extend(rejected(surroundings.rejected, snapshot.len()));
    found.extend(repeats::exact_duplicates(snapshot, &same));
    found.extend(repeats::contradictions(snapshot, &same, ceiling));
    found.extend(balance::class_imbalance(snapshot, &labels));
    found.extend(balance::few_rows(snapshot, &labels));
    found.extend(balance::one_class_split(snapshot, &labels));
    let mut charts = charts::charts(snapshot, &same, labels.clone(), &scanned.lengths);
    drop(scanned);

    progress.begin("near duplicates", 0.45)?;
    let group = near::groups(snapshot, &same, &mut progress)?;
    found.extend(repeats::near_duplicates(snapshot, &same, &group));
    found.extend(leakage::leakage(snapshot, &same, &group, surroundings.frozen_test));
    drop(group);

    progress.begin("words that give labels away", 0.5)?;
    found.extend(giveaways::giveaways(snapshot, &same, &mut progress)?);

    progress.begin("lengths in tokens", 0.6)?;
    let lengths = length::measure(snapshot, surroundings, &mut progress)?;
    found.extend(lengths.found);
    (charts.tokens, charts.token_sample) = (lengths.tokens, lengths.sample);

    progress.begin("languages", 1.0)?;
    let (languages, mixture) = language::languages(snapshot, &mut progress)?;
    found.extend(mixture);
    charts.languages = languages;

    found.sort_by_key(|found| (std::cmp::Reverse((found.finding.severity, found.finding.rows)), found.finding.kind));
    let facts = health::Facts { rows: snapshot.len(), labels: &labels, ceiling };
    let health = health::health(&facts, &found);
    let (findings, groups) =
        found.into_iter().map(|Found { finding, groups }| (finding.clone(), (finding.kind, groups))).unzip();
    let examination = Examination {
        version,
        rows: snapshot.len() as u64,
        rejected: surroundings.rejected,
        ceiling,
        health,
        findings,
        charts,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok(Report { examination, groups })
}

/// A group's number per place: rows with the same text, or nearly the same, directly or over others, share one. It is
/// the place of the group's first row.
///
/// Splits keep a group on one side.
pub fn twins(snapshot: &Snapshot) -> Vec<u32> {
    let mut progress = Progress::silent();
    let groups = SameTexts::of(snapshot).and_then(|same| near::groups(snapshot, &same, &mut progress));
    // The only error is to be stopped, and nobody hears of this progress to stop it.
    groups.unwrap_or_else(|_| (0..snapshot.len() as u32).collect())
}

/// From this share of the file on, what could not be read is no slip.
const PROBLEM_SHARE: f64 = 0.05;

fn rejected(rejected: u64, used: usize) -> Option<Found> {
    let count = usize::try_from(rejected).unwrap_or(usize::MAX);
    if count == 0 {
        return None;
    }
    let whole = used.saturating_add(count);
    let severity = match count as f64 / whole as f64 {
        share if share >= PROBLEM_SHARE => Severity::Problem,
        _ => words::severity_by_share(count, whole),
    };
    let headline = format!("{} ({}) could not be used", rows(count), percent(count, whole));
    let why = "They are not in the dataset: they could not be read, or have no text or no label; the reasons stand beside \
               them, with their lines.";
    let mut found = Found::new(FindingKind::Rejected, severity, headline, why);
    found.finding.rows = rejected;
    found.finding.groups = rejected;
    Some(found)
}
