//! Texts that occur several times: exact duplicates, near duplicates, contradictions and what they cost.

use super::groups::Groups;
use super::texts::SameTexts;
use super::words::{Found, counted, number, percent, quoted_list, rows, severity_by_share};
use crate::datasets::Snapshot;
use domain::finding::{FindingKind, Repair, Severity};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A ceiling below this makes scores hard to read: the best classifier there is would look like a poor one.
const LOW_CEILING: f64 = 0.98;
/// Labels whose preference is offered.
const MAX_PREFERRED: usize = 20;

/// Rows of one text by label (its place in the snapshot's labels).
pub(super) fn label_counts(snapshot: &Snapshot, places: &[u32]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for place in places {
        *counts.entry(snapshot.label(*place as usize)).or_default() += 1;
    }
    counts
}

/// The label that most of a text's rows have; `None`: several have as many.
pub(super) fn majority(counts: &BTreeMap<usize, usize>) -> Option<usize> {
    let most = counts.values().max()?;
    let mut labels = counts.iter().filter(|(_, count)| *count == most);
    let (label, _) = labels.next()?;
    labels.next().is_none().then_some(*label)
}

/// The highest accuracy that any classifier can have: it gives one answer per text, at best the text's most frequent
/// label. With n(t, l) rows of text t and label l:
///
/// ceiling = sum over t of max over l of n(t, l) / sum over t and l of n(t, l)
pub(super) fn ceiling(snapshot: &Snapshot, same: &SameTexts) -> f64 {
    if snapshot.is_empty() {
        return 1.0;
    }
    // A text that occurs once loses nothing, so only repeated ones are looked at.
    let lost: usize = same
        .repeated()
        .map(|places| places.len() - label_counts(snapshot, places).values().max().copied().unwrap_or_default())
        .sum();
    (snapshot.len() - lost) as f64 / snapshot.len() as f64
}

/// How many times texts occur, for those that do more than once, and how many such texts there are.
pub(super) fn repetitions(same: &SameTexts, texts: usize) -> Vec<(u64, u64)> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for places in same.repeated() {
        *counts.entry(places.len() as u64).or_default() += 1;
    }
    let once = texts as u64 - counts.values().sum::<u64>();
    std::iter::once((1, once)).filter(|(_, texts)| *texts > 0).chain(counts).collect()
}

pub(super) fn exact_duplicates(snapshot: &Snapshot, same: &SameTexts) -> Option<Found> {
    let mut groups = Groups::default();
    let (mut copies, mut same_label) = (0, 0);
    for places in same.repeated() {
        copies += places.len() - 1;
        same_label += places.len() - label_counts(snapshot, places).len();
        groups.push(places.iter().map(|place| snapshot.id(*place as usize)));
    }
    if copies == 0 {
        return None;
    }
    let headline = format!(
        "{} ({}) repeat the text of an earlier row, {} of them with the same label",
        rows(copies),
        percent(copies, snapshot.len()),
        number(same_label)
    );
    let why = "A text that occurs several times weighs several times in training, and in the test it is counted several \
               times.";
    let texts = groups.len();
    let mut found = Found::new(FindingKind::ExactDuplicates, severity_by_share(copies, snapshot.len()), headline, why)
        .with_groups(groups)
        .with_fact("rows that repeat an earlier text", copies)
        .with_fact("of them with the same label", same_label)
        .with_fact("of them with another label", copies - same_label)
        .with_fact("texts that occur more than once", texts);
    found.finding.rows = copies as u64;
    if same_label > 0 {
        let title = format!("Keep the first of each text and label (removes {})", rows(same_label));
        found = found.with_repair(Repair::KeepFirst, title);
    }
    Some(found)
}

/// `group` holds the first place of each place's group, exact and near duplicates together.
pub(super) fn near_duplicates(snapshot: &Snapshot, same: &SameTexts, group: &[u32]) -> Option<Found> {
    let mut joined: BTreeSet<u32> = BTreeSet::new();
    for (place, first) in group.iter().enumerate() {
        if same.is_first(place) && *first as usize != place {
            joined.insert(*first);
        }
    }
    if joined.is_empty() {
        return None;
    }
    let mut members: BTreeMap<u32, Vec<u32>> = joined.into_iter().map(|first| (first, Vec::new())).collect();
    for (place, first) in group.iter().enumerate() {
        if let Some(members) = members.get_mut(first) {
            members.push(place as u32);
        }
    }
    let mut groups = Groups::default();
    let (mut copies, mut several_labels, mut same_label) = (0, 0, 0);
    for places in members.values() {
        let labels = label_counts(snapshot, places).len();
        copies += places.iter().filter(|place| same.is_first(**place as usize)).count() - 1;
        several_labels += usize::from(labels > 1);
        same_label += places.len() - labels;
        groups.push(places.iter().map(|place| snapshot.id(*place as usize)));
    }
    let headline = format!(
        "{} ({}) nearly repeat another one, in {}",
        counted(copies, "text", "texts"),
        percent(copies, snapshot.len()),
        counted(groups.len(), "group", "groups")
    );
    let why = "Texts that share at least four fifths of their letter sequences teach little that is new; splits keep such \
               a group on one side, so that the test stays a test.";
    let mut found = Found::new(FindingKind::NearDuplicates, Severity::Note, headline, why)
        .with_groups(groups)
        .with_fact("texts that nearly repeat another one", copies)
        .with_fact("groups of texts whose labels differ", several_labels);
    found.finding.rows = copies as u64;
    if copies as f64 >= 0.05 * snapshot.len() as f64 {
        found.finding.severity = Severity::Warning;
    }
    if same_label > 0 {
        let title = format!("Keep the first of each group and label (removes {})", rows(same_label));
        found = found.with_repair(Repair::KeepFirst, title);
    }
    Some(found)
}

pub(super) fn contradictions(snapshot: &Snapshot, same: &SameTexts, ceiling: f64) -> Option<Found> {
    let mut groups = Groups::default();
    let mut pairs: HashMap<(usize, usize), usize> = HashMap::new();
    let mut rows_of_label: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ties = 0;
    for places in same.repeated() {
        let counts = label_counts(snapshot, places);
        if counts.len() < 2 {
            continue;
        }
        let labels: Vec<usize> = counts.keys().copied().collect();
        for (place, one) in labels.iter().enumerate() {
            for other in &labels[place + 1..] {
                *pairs.entry((*one, *other)).or_default() += 1;
            }
        }
        for (label, rows) in &counts {
            *rows_of_label.entry(*label).or_default() += rows;
        }
        ties += usize::from(majority(&counts).is_none());
        groups.push(places.iter().map(|place| snapshot.id(*place as usize)));
    }
    if groups.is_empty() {
        return None;
    }
    let name = |label: usize| snapshot.labels()[label].as_str();
    let totals: HashMap<String, u64> =
        snapshot.label_counts().into_iter().map(|count| (count.label, count.rows)).collect();
    let total = |label: usize| totals.get(name(label)).copied().unwrap_or_default() as usize;
    let mut pairs: Vec<((usize, usize), usize)> = pairs.into_iter().collect();
    pairs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    // Those with the largest share of rows concerned first: they suffer most.
    let mut concerned: Vec<(usize, usize)> = rows_of_label.into_iter().collect();
    concerned.sort_by_key(|(label, rows)| (std::cmp::Reverse(rows * 1_000_000 / total(*label).max(1)), *label));

    let texts = groups.len();
    let severity = if ceiling < LOW_CEILING { Severity::Problem } else { Severity::Warning };
    let found =
        Found::new(FindingKind::Contradictions, severity, contradiction_headline(texts, &concerned, total, name), "");
    let mut found = found.with_groups(groups);
    found.finding.why = format!(
        "A classifier gives one text one answer, so none can be right on more than {:.1} % of all rows, and what it learns \
         from these texts pulls both ways.",
        100.0 * ceiling
    );
    for ((one, other), count) in pairs.iter().take(8) {
        let names = quoted_list(&[name(*one), name(*other)]);
        found = found.with_fact(format!("texts labelled both {names}"), *count);
    }
    for (label, count) in concerned.iter().take(8) {
        let share = percent(*count, total(*label));
        found = found.with_fact(format!("rows of \"{}\" concerned ({share} of that label)", name(*label)), *count);
    }
    found = found.with_fact("texts without a majority: all their rows go if the majority is kept", ties);
    Some(with_contradiction_repairs(found, texts, ties, concerned, total, name))
}

fn contradiction_headline<'a>(
    texts: usize,
    concerned: &[(usize, usize)],
    total: impl Fn(usize) -> usize,
    name: impl Fn(usize) -> &'a str,
) -> String {
    let carry = if texts == 1 { "carries" } else { "carry" };
    let headline = format!("{} {carry} more than one label", counted(texts, "text", "texts"));
    match concerned.first() {
        Some((label, rows)) => {
            format!("{headline}; that concerns {} of all \"{}\" rows", percent(*rows, total(*label)), name(*label))
        }
        None => headline,
    }
}

/// Where most texts have no majority, keeping it would throw both answers away; then the rarer label comes first, since
/// it was chosen against a common one.
fn with_contradiction_repairs<'a>(
    mut found: Found,
    texts: usize,
    ties: usize,
    concerned: Vec<(usize, usize)>,
    total: impl Fn(usize) -> usize,
    name: impl Fn(usize) -> &'a str,
) -> Found {
    let mut labels: Vec<usize> = concerned.into_iter().map(|(label, _)| label).collect();
    labels.sort_by_key(|label| (total(*label), *label));
    let majority_first = ties * 2 <= texts;
    let keep_majority = "Keep each text's most frequent label; where labels tie, remove its rows";
    if majority_first {
        found = found.with_repair(Repair::KeepMajorityLabel, keep_majority);
    }
    for label in labels.into_iter().take(MAX_PREFERRED) {
        let title = format!("Keep \"{}\" where it is among a text's labels", name(label));
        found = found.with_repair(Repair::PreferLabel { label: name(label).to_string() }, title);
    }
    if !majority_first {
        found = found.with_repair(Repair::KeepMajorityLabel, keep_majority);
    }
    let rows_in_all = rows(found.finding.rows as usize);
    found.with_repair(Repair::DropRows, format!("Remove all {rows_in_all} of these texts"))
}
