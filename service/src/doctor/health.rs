//! The whole report in a few sentences, for somebody who has never trained a classifier.

use super::words::{Found, number, percent, quoted_list, rows};
use domain::dataset::LabelCount;
use domain::finding::{FindingKind, Health, Severity, Verdict};
use std::collections::HashSet;

/// Sentences about single findings.
const MAX_SENTENCES: usize = 3;

/// What the sentences are about, beside the findings.
pub(super) struct Facts<'a> {
    pub rows: usize,
    pub labels: &'a [LabelCount],
    pub ceiling: f64,
}

/// `findings`: weightiest first.
pub(super) fn health(facts: &Facts, findings: &[Found]) -> Health {
    let clean_rows = facts.rows.saturating_sub(rows_of_weight(findings).len());
    let worst = findings.iter().map(|found| found.finding.severity).max();
    let verdict = match worst {
        Some(Severity::Problem) => Verdict::Poor,
        Some(Severity::Warning) => Verdict::Fair,
        Some(Severity::Note) | None => Verdict::Good,
    };
    let size = format!(
        "{} with {} labels, {} of the rows without a fault",
        rows(facts.rows),
        number(facts.labels.len()),
        percent(clean_rows, facts.rows)
    );
    let summary = match verdict {
        Verdict::Good => format!("This dataset can be trained on as it is: {size}."),
        Verdict::Fair => format!("This dataset can be used with some care: {size}."),
        Verdict::Poor => format!("This dataset should be repaired before any score is believed: {size}."),
    };
    Health { verdict, summary, sentences: sentences(facts, findings), clean_rows: clean_rows as u64 }
}

/// Rows with a fault of their own that matters. Of texts that repeat, the first row is no fault.
fn rows_of_weight(findings: &[Found]) -> HashSet<u32> {
    let mut rows = HashSet::new();
    for found in findings.iter().filter(|found| found.finding.severity > Severity::Note) {
        let groups = &found.groups;
        match found.finding.kind {
            FindingKind::ExactDuplicates | FindingKind::NearDuplicates => {
                rows.extend((0..groups.len()).flat_map(|group| groups.rows(group).iter().skip(1)));
            }
            FindingKind::FewRows
            | FindingKind::ClassImbalance
            | FindingKind::OneClassSplit
            | FindingKind::LanguageMix => {}
            _ => rows.extend(groups.ids()),
        }
    }
    rows
}

fn sentences(facts: &Facts, findings: &[Found]) -> Vec<String> {
    let weighty: Vec<&Found> = findings.iter().filter(|found| found.finding.severity > Severity::Note).collect();
    let mut sentences: Vec<String> = weighty.iter().take(MAX_SENTENCES).map(|found| sentence(facts, found)).collect();
    let Some(first) = weighty.first() else {
        return vec![
            "No fault was found that would cost accuracy or make scores look better than they are.".to_string(),
            "Start a run; afterwards look at the rows whose labels the models doubt.".to_string(),
        ];
    };
    let first_offer = weighty.iter().find_map(|found| found.finding.repairs.first());
    sentences.push(match first_offer {
        Some(offer) => {
            let more = if weighty.len() > 1 { ", then go down the list of findings" } else { "" };
            format!("Do this first: {}{more}.", lower_first(&offer.title))
        }
        None => {
            format!("{} cannot be repaired here: it needs other rows, or another split.", subject(first.finding.kind))
        }
    });
    sentences
}

/// Numbers first, then what they do.
fn sentence(facts: &Facts, found: &Found) -> String {
    let headline = &found.finding.headline;
    match found.finding.kind {
        FindingKind::Contradictions => format!(
            "{headline}. No classifier can answer more than {:.1} % of all rows as they are labelled.",
            100.0 * facts.ceiling
        ),
        FindingKind::Leakage => format!("{headline}. The score on them measures memory and looks too good."),
        FindingKind::ClassImbalance => {
            let names: Vec<&str> = facts.labels.iter().rev().take(1).map(|count| count.label.as_str()).collect();
            format!("{headline}. Expect {} to be recognised worst.", quoted_list(&names))
        }
        FindingKind::ExactDuplicates => format!("{headline}. Repeated texts count several times."),
        FindingKind::Mojibake => format!("{headline}. They can be restored without loss in most cases."),
        FindingKind::Giveaways => format!("{headline}. The classifier may learn these words instead of the meaning."),
        FindingKind::PersonalData => format!("{headline}. A trained model can repeat what it was shown."),
        _ => format!("{headline}."),
    }
}

fn subject(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::FewRows => "That a label has few rows",
        FindingKind::OneClassSplit => "That the parts lack labels",
        FindingKind::Rejected => "What could not be read of the file",
        _ => "This",
    }
}

fn lower_first(title: &str) -> String {
    let mut characters = title.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::groups::Groups;
    use super::*;
    use domain::finding::Repair;

    fn labels() -> Vec<LabelCount> {
        vec![LabelCount { label: "a".into(), rows: 80 }, LabelCount { label: "b".into(), rows: 20 }]
    }

    fn told(findings: &[Found]) -> Health {
        health(&Facts { rows: 100, labels: &labels(), ceiling: 0.912 }, findings)
    }

    #[test]
    fn good_data_is_said_to_be_good() {
        let note = Found::new(FindingKind::HtmlRemains, Severity::Note, "1 text".into(), "")
            .with_groups(Groups::singles(vec![4]));
        for findings in [vec![], vec![note]] {
            let health = told(&findings);
            assert_eq!((health.verdict, health.clean_rows, health.sentences.len()), (Verdict::Good, 100, 2));
            assert!(health.summary.contains("100 rows with 2 labels"), "{}", health.summary);
        }
    }

    #[test]
    fn what_to_do_first_is_the_first_repair() {
        let mut repeated = Groups::default();
        repeated.push([1, 2, 3]);
        let findings = [
            Found::new(FindingKind::Contradictions, Severity::Problem, "2 texts carry more than one label".into(), "")
                .with_groups(Groups::singles(vec![1, 2, 7, 8]))
                .with_repair(Repair::DropRows, "Remove them"),
            Found::new(FindingKind::ExactDuplicates, Severity::Warning, "2 rows repeat".into(), "")
                .with_groups(repeated),
        ];
        let health = told(&findings);
        assert_eq!((health.verdict, health.clean_rows), (Verdict::Poor, 95));
        assert_eq!(health.sentences.len(), 3);
        assert!(health.sentences[0].contains("91.2 %"), "{}", health.sentences[0]);
        assert_eq!(health.sentences[2], "Do this first: remove them, then go down the list of findings.");
    }
}
