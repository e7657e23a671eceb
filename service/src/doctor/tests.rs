//! Whole examinations, and repairs examined again.

use super::samples::{snapshot_of, snapshot_with_parts};
use super::*;
use crate::datasets::{Changes, Snapshot};
use domain::finding::{Finding, Repair};
use domain::split::Part;
use domain::version::RowChange;

const ALONE: Surroundings = Surroundings { rejected: 0, tokens: None, max_length: usize::MAX, frozen_test: None };

fn examined(snapshot: &Snapshot) -> Report {
    examine(snapshot, &ALONE, 1, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

fn finding(report: &Report, kind: FindingKind) -> Option<&Finding> {
    report.examination.findings.iter().find(|finding| finding.kind == kind)
}

fn apply(snapshot: &Snapshot, changes: Changes) -> Snapshot {
    let mut all = snapshot.changes().clone();
    all.extend(changes);
    Snapshot::new(snapshot.segments().to_vec(), all)
}

/// Applies the finding's offers one at a time, each to the snapshot as it is.
fn after_each_offer(snapshot: &Snapshot, kind: FindingKind) -> Vec<(Repair, Snapshot)> {
    let report = examined(snapshot);
    let offers = &finding(&report, kind).unwrap_or_else(|| panic!("no {kind:?}")).repairs;
    offers
        .iter()
        .map(|offer| {
            let changes = repair(snapshot, kind, &offer.repair, &report.groups[&kind]).unwrap();
            assert!(!changes.is_empty(), "{offer:?}");
            (offer.repair.clone(), apply(snapshot, changes))
        })
        .collect()
}

#[test]
fn what_is_repaired_is_found_no_more() {
    let train = Some(Part::Train);
    let long = "Profit for the first quarter of the year rose from the year before, the company said on Monday by";
    let near = [format!("{long} 3 %"), format!("{long} 5 %")];
    let rows: Vec<(&str, &str, Option<Part>)> = vec![
        ("a\u{1}b", "a", train),
        ("<p>Good &amp; cheap</p>", "a", train),
        ("<br>", "b", train),
        ("Deutsche BÃ¶rse", "b", train),
        ("mail me@example.org", "b", train),
        ("twice", "a", train),
        ("Twice", "a", train),
        ("both", "a", train),
        ("both", "b", train),
        ("leaks", "a", train),
        ("leaks", "a", Some(Part::Test)),
        (&near[0], "a", train),
        (&near[1], "a", train),
        ("plain", "b", Some(Part::Test)),
    ];
    let snapshot = snapshot_with_parts(&rows);
    for kind in [
        FindingKind::ControlCharacters,
        FindingKind::HtmlRemains,
        FindingKind::Mojibake,
        FindingKind::PersonalData,
        FindingKind::NearDuplicates,
        FindingKind::Contradictions,
        FindingKind::Leakage,
    ] {
        for (repair, repaired) in after_each_offer(&snapshot, kind) {
            assert!(finding(&examined(&repaired), kind).is_none(), "{kind:?} after {repair:?}");
        }
    }
    // Texts with two labels are still there twice, and now offer nothing here.
    for (_, repaired) in after_each_offer(&snapshot, FindingKind::ExactDuplicates) {
        let report = examined(&repaired);
        let left = finding(&report, FindingKind::ExactDuplicates).unwrap();
        assert_eq!((left.rows, left.repairs.len()), (1, 0));
        assert_eq!(repaired.len(), snapshot.len() - 2);
    }
    let report = examined(&snapshot);
    let groups = &report.groups[&FindingKind::HtmlRemains];
    let changes = repair(&snapshot, FindingKind::HtmlRemains, &Repair::StripHtml, groups).unwrap();
    let rewritten = RowChange::Edited { text: Some("Good & cheap".into()), label: None };
    assert_eq!(changes, Changes::from([(1, rewritten), (2, RowChange::Dropped)]));
}

#[test]
fn contradictions_set_the_ceiling_and_keep_the_label_that_is_chosen() {
    let snapshot = snapshot_of(&[
        ("tie", "a"),
        ("Tie", "b"),
        ("most", "a"),
        ("most", "a"),
        ("most", "b"),
        ("fine", "a"),
        ("fine", "a"),
        ("other", "b"),
        ("none of it", "c"),
        ("none  of it", "b"),
    ]);
    let report = examined(&snapshot);
    assert!((report.examination.ceiling - 0.7).abs() < 1e-12);
    let found = finding(&report, FindingKind::Contradictions).unwrap();
    assert_eq!((found.groups, found.rows), (3, 7));
    assert!(found.headline.starts_with("3 texts carry more than one label"), "{}", found.headline);
    assert_eq!((found.facts[0].name.as_str(), found.facts[0].count), ("texts labelled both \"a\" and \"b\"", 2));
    let groups = &report.groups[&FindingKind::Contradictions];
    let dropped = |choice: Repair| -> Vec<u32> {
        repair(&snapshot, FindingKind::Contradictions, &choice, groups).unwrap().into_keys().collect()
    };
    assert_eq!(dropped(Repair::KeepMajorityLabel), [0, 1, 4, 8, 9]);
    assert_eq!(dropped(Repair::PreferLabel { label: "b".into() }), [0, 2, 3, 8]);
    assert_eq!(dropped(Repair::PreferLabel { label: "c".into() }), [9]);
    assert_eq!(dropped(Repair::DropRows), [0, 1, 2, 3, 4, 8, 9]);
    assert_eq!(found.repairs[0].repair, Repair::PreferLabel { label: "c".into() }, "most texts tie");
}

#[test]
fn repairs_that_do_not_fit_are_refused_in_words() {
    let snapshot = snapshot_of(&[("both", "a"), ("both", "b")]);
    let report = examined(&snapshot);
    let groups = &report.groups[&FindingKind::Contradictions];
    for (kind, wrong) in [
        (FindingKind::Contradictions, Repair::StripHtml),
        (FindingKind::Contradictions, Repair::PreferLabel { label: "x".into() }),
        (FindingKind::Contradictions, Repair::DropRows),
        (FindingKind::Rejected, Repair::DropRows),
        (FindingKind::Giveaways, Repair::RemoveWord { word: "word".into() }),
        (FindingKind::LanguageMix, Repair::KeepLanguage { language: "elvish".into() }),
        (FindingKind::ClassImbalance, Repair::CapPerLabel { rows: 0 }),
    ] {
        let error = repair(&snapshot, kind, &wrong, groups).unwrap_err();
        assert!(error.to_string().contains("Choose one of the repairs"), "{error}");
    }
}

#[test]
fn a_cap_keeps_the_same_rows_when_the_dataset_grows() {
    let texts: Vec<String> = (0..40).map(|row| format!("text {row}")).collect();
    let rows: Vec<(&str, &str)> =
        texts.iter().map(|text| (text.as_str(), if text.ends_with('7') { "b" } else { "a" })).collect();
    let cap = Repair::CapPerLabel { rows: 5 };
    let kept = |count: usize| -> Vec<String> {
        let snapshot = snapshot_of(&rows[..count]);
        let changes = repair(&snapshot, FindingKind::ClassImbalance, &cap, &Groups::default()).unwrap();
        let capped = apply(&snapshot, changes);
        assert!(capped.label_counts().iter().all(|count| count.rows <= 5));
        (0..capped.len()).map(|place| capped.text(place).to_string()).collect()
    };
    let (before, after) = (kept(30), kept(40));
    // Of what was kept before, only what a new row has pushed out is missing.
    let new = after.iter().filter(|text| !texts[..30].contains(text)).count();
    assert!(before.iter().filter(|text| !after.contains(text)).count() <= new);
}

#[test]
fn an_examination_tells_its_steps_and_stops_when_it_is_told_to() {
    let snapshot = snapshot_of(&[("one", "a"), ("two", "b")]);
    let mut steps = Vec::new();
    let mut shares = Vec::new();
    examine(&snapshot, &ALONE, 1, &mut |step, share| {
        steps.push(step.to_string());
        shares.push(share);
        ControlFlow::Continue(())
    })
    .unwrap();
    steps.dedup();
    assert_eq!(
        (steps.first().unwrap().as_str(), steps.last().unwrap().as_str()),
        ("texts, duplicates and contradictions", "languages")
    );
    assert!(shares.is_sorted() && shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
    let error = examine(&snapshot, &ALONE, 1, &mut |_, _| ControlFlow::Break(())).unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
}

#[test]
fn an_empty_version_is_examined_too() {
    let report = examined(&snapshot_of(&[]));
    assert_eq!((report.examination.rows, report.examination.ceiling), (0, 1.0));
    assert!(report.examination.findings.is_empty());
    assert!(twins(&snapshot_of(&[])).is_empty());
}

#[test]
fn rejected_rows_are_a_finding() {
    let snapshot = snapshot_of(&[("one", "a"), ("two", "b")]);
    let surroundings = Surroundings { rejected: 3, ..ALONE };
    let report = examine(&snapshot, &surroundings, 4, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let found = finding(&report, FindingKind::Rejected).unwrap();
    assert_eq!((found.rows, found.severity, report.examination.version), (3, Severity::Problem, 4));
    assert_eq!(found.headline, "3 rows (60 %) could not be used");
}

/// The notebook's own data, where it lies beside the checkout.
#[test]
fn the_figures_of_the_notebooks_data_come_out() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/seed.csv");
    let Ok(mut reader) = csv::Reader::from_path(path) else { return };
    let rows: Vec<(String, String)> = reader.deserialize().map(|row| row.unwrap()).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|(text, label)| (text.as_str(), label.as_str())).collect();
    let snapshot = snapshot_of(&rows);
    let report = examined(&snapshot);
    let examination = &report.examination;
    assert_eq!(examination.rows, 5842);
    assert_eq!(format!("{:.1}", 100.0 * examination.ceiling), "91.2");
    assert_eq!(examination.health.verdict, domain::finding::Verdict::Poor);

    let duplicates = finding(&report, FindingKind::ExactDuplicates).unwrap();
    assert_eq!(duplicates.rows, 520);
    assert!(duplicates.headline.contains("6 of them with the same label"), "{}", duplicates.headline);
    let contradictions = finding(&report, FindingKind::Contradictions).unwrap();
    assert_eq!(contradictions.groups, 514);
    assert!(contradictions.headline.contains("60 % of all \"negative\" rows"), "{}", contradictions.headline);
    let both = &contradictions.facts[0];
    assert_eq!((both.name.contains("\"negative\" and \"neutral\""), both.count), (true, 514), "{}", both.name);

    let mojibake = &report.groups[&FindingKind::Mojibake];
    let spoilt: Vec<&str> = mojibake.ids().iter().map(|id| snapshot.text(*id as usize)).collect();
    assert_eq!(spoilt.len(), 127, "{spoilt:#?}");
    let restored: Vec<String> = spoilt
        .iter()
        .map(|text| repaired_text(FindingKind::Mojibake, &Repair::RepairMojibake, text).unwrap())
        .collect();
    for name in ["Lännen", "Ålandsbanken", "Möglichkeit", "Ülemiste", "£3.5bn", "Börse", "Äänekoski", "Télécom", "Åmål"]
    {
        assert!(restored.iter().any(|text| text.contains(name)), "{name}");
    }
    let changes = repair(&snapshot, FindingKind::Mojibake, &Repair::RepairMojibake, mojibake).unwrap();
    assert!(finding(&examined(&apply(&snapshot, changes)), FindingKind::Mojibake).is_none());
}
