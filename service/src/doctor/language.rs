//! Which languages the texts are in.

use super::groups::Groups;
use super::length::evenly;
use super::progress::{Progress, over_places};
use super::words::{Found, number, percent, rows};
use crate::datasets::Snapshot;
use crate::error::Result;
use domain::dataset::LabelCount;
use domain::finding::{FindingKind, Repair, Severity};
use std::collections::BTreeMap;
use whatlang::Lang;

/// Rows that are looked at; of more, as many evenly spaced ones.
const SAMPLE: usize = 100_000;
/// Shorter texts say too little; in letters.
const MIN_LETTERS: usize = 20;
/// A language is read off the beginning of a text, in bytes.
const MAX_BYTES: usize = 1000;
/// A second language counts from this share of the rows whose language is known, and this many, on.
const MIN_SHARE: f64 = 0.01;
const MIN_ROWS: usize = 5;
const WARNING_SHARE: f64 = 0.05;

/// Languages by their ISO 639-3 codes, most frequent first, and the finding where there are several.
pub(super) fn languages(snapshot: &Snapshot, progress: &mut Progress) -> Result<(Vec<LabelCount>, Option<Found>)> {
    let sample = evenly(snapshot.len(), SAMPLE);
    let known: Vec<Option<Lang>> = over_places(sample.len(), progress, |places| {
        places.map(|place| language(snapshot.text(sample[place]))).collect::<Vec<_>>()
    })?
    .concat();
    let mut by_language: BTreeMap<&'static str, Vec<u32>> = BTreeMap::new();
    for (place, language) in sample.iter().zip(known) {
        if let Some(language) = language {
            by_language.entry(language.code()).or_default().push(snapshot.id(*place));
        }
    }
    let mut by_language: Vec<(&str, Vec<u32>)> = by_language.into_iter().collect();
    by_language.sort_by_key(|(code, ids)| (std::cmp::Reverse(ids.len()), *code));
    let counts =
        by_language.iter().map(|(code, ids)| LabelCount { label: code.to_string(), rows: ids.len() as u64 }).collect();
    Ok((counts, mixture(snapshot, sample.len(), by_language)))
}

fn mixture(snapshot: &Snapshot, sample: usize, by_language: Vec<(&str, Vec<u32>)>) -> Option<Found> {
    let known: usize = by_language.iter().map(|(_, ids)| ids.len()).sum();
    let matters = |ids: &Vec<u32>| ids.len() >= MIN_ROWS && ids.len() as f64 >= MIN_SHARE * known as f64;
    let mut languages = by_language.into_iter();
    let (main, _) = languages.next()?;
    // What is rarer is more often a mistake of the detection than a language.
    let others: Vec<(&str, Vec<u32>)> = languages.filter(|(_, ids)| matters(ids)).collect();
    let (second, of_second) = others.first()?;
    let foreign: usize = others.iter().map(|(_, ids)| ids.len()).sum();
    let whole = if sample < snapshot.len() { format!(" of a sample of {}", rows(sample)) } else { String::new() };
    let headline = format!(
        "{} of the texts{whole} are not in {}: {} in {}{}",
        percent(foreign, known),
        name(main),
        number(of_second.len()),
        name(second),
        if others.len() > 1 { ", the rest in other languages" } else { "" }
    );
    let why = "What is learnt in one language helps little in another, and a language with few rows is hardly learnt; mix \
               them only if the classifier is to meet both.";
    let severity = if foreign as f64 >= WARNING_SHARE * known as f64 { Severity::Warning } else { Severity::Note };
    let mut found = Found::new(FindingKind::LanguageMix, severity, headline, why);
    let mut groups = Groups::default();
    for (code, ids) in others {
        found = found.with_fact(format!("texts in {}", name(code)), ids.len());
        groups.push_with_note(ids, code.to_string());
    }
    let title = format!("Keep {}; remove the rows in other languages", name(main));
    Some(found.with_groups(groups).with_repair(Repair::KeepLanguage { language: main.to_string() }, title))
}

/// `None`: the text is too short, or could be in several languages.
pub(super) fn language(text: &str) -> Option<Lang> {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    if text.chars().filter(|character| character.is_alphabetic()).count() < MIN_LETTERS {
        return None;
    }
    whatlang::detect(text).filter(whatlang::Info::is_reliable).map(|info| info.lang())
}

fn name(code: &str) -> &str {
    Lang::from_code(code).map_or(code, |language| language.eng_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::snapshot_of;

    const ENGLISH: &str = "The company said on Monday that its profit for the whole year had risen more than expected";
    const GERMAN: &str =
        "Das Unternehmen teilte am Montag mit, dass der Gewinn im ganzen Jahr stärker als erwartet gestiegen ist";

    fn find(english: usize, german: usize, short: usize) -> (Vec<LabelCount>, Option<Found>) {
        let mut rows = vec![(ENGLISH, "a"); english];
        rows.extend(vec![(GERMAN, "a"); german]);
        rows.extend(vec![("Gut so", "a"); short]);
        languages(&snapshot_of(&rows), &mut Progress::silent()).unwrap()
    }

    #[test]
    fn a_second_language_is_found() {
        let (counts, found) = find(90, 10, 7);
        let counts: Vec<(&str, u64)> = counts.iter().map(|count| (count.label.as_str(), count.rows)).collect();
        assert_eq!(counts, [("eng", 90), ("deu", 10)]);
        let found = found.unwrap();
        assert_eq!((found.finding.rows, found.finding.severity), (10, Severity::Warning));
        assert_eq!(found.finding.headline, "10 % of the texts are not in English: 10 in German");
        assert_eq!(found.finding.repairs[0].repair, Repair::KeepLanguage { language: "eng".into() });
    }

    #[test]
    fn one_language_and_a_few_strays_are_none() {
        assert!(find(100, 0, 10).1.is_none());
        assert!(find(100, 4, 0).1.is_none());
        assert!(find(600, 5, 0).1.is_none());
        assert!(find(0, 0, 3).1.is_none());
    }
}
