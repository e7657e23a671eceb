//! Versions and findings in words.

use crate::format;
use domain::finding::{FindingKind, Repair, Severity};
use domain::version::{DatasetVersion, VersionCause};

/// `514 rows removed, 3 relabelled`, or that nothing changed.
pub fn changes(version: &DatasetVersion) -> String {
    let counts = [
        (version.added, "added"),
        (version.removed, "removed"),
        (version.relabelled, "relabelled"),
        (version.rewritten, "rewritten"),
    ];
    changed_rows(&counts)
}

/// The same of any counts; the first says what is counted.
pub fn changed_rows(counts: &[(u64, &str)]) -> String {
    let mut words = Vec::new();
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        words.push(match words.is_empty() {
            true => format!("{} {what}", format::counted(*count, "row", "rows")),
            false => format!("{} {what}", format::count(*count)),
        });
    }
    if words.is_empty() { "no row changed".to_owned() } else { words.join(", ") }
}

pub fn cause(cause: &VersionCause) -> String {
    match cause {
        VersionCause::Imported { file_name } => format!("Imported from {file_name}"),
        VersionCause::FileAdded { file_name, replace: false } => format!("{file_name} added"),
        VersionCause::FileAdded { file_name, replace: true } => format!("Replaced by {file_name}"),
        VersionCause::Repaired { finding, repair: by } => format!("{}: {}", finding_name(*finding), repair(by)),
        VersionCause::Edited => "Edited by hand".to_owned(),
        VersionCause::Reviewed { check } => format!("Decisions of label check {check}"),
        VersionCause::WentBack { version } => format!("Back to version {version}"),
        VersionCause::Undone { version } => format!("Version {version} undone"),
    }
}

/// What a finding is called, in a list and beside a row.
pub fn finding_name(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Rejected => "Rejected rows",
        FindingKind::CutTexts => "Cut texts",
        FindingKind::ControlCharacters => "Control characters",
        FindingKind::HtmlRemains => "HTML remains",
        FindingKind::Mojibake => "Garbled characters",
        FindingKind::ExactDuplicates => "Duplicates",
        FindingKind::NearDuplicates => "Near duplicates",
        FindingKind::Contradictions => "Contradictions",
        FindingKind::Leakage => "Leakage",
        FindingKind::ClassImbalance => "Unequal labels",
        FindingKind::FewRows => "Rare labels",
        FindingKind::OneClassSplit => "One-sided parts",
        FindingKind::TooLong => "Too long",
        FindingKind::Giveaways => "Giveaway words",
        FindingKind::PersonalData => "Personal data",
        FindingKind::LanguageMix => "Languages",
    }
}

pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

fn repair(repair: &Repair) -> String {
    match repair {
        Repair::DropRows => "rows dropped".to_owned(),
        Repair::RemoveControlCharacters => "characters removed".to_owned(),
        Repair::StripHtml => "tags and entities taken out".to_owned(),
        Repair::RepairMojibake => "characters repaired".to_owned(),
        Repair::KeepFirst => "the first of each kept".to_owned(),
        Repair::KeepMajorityLabel => "the most frequent label kept".to_owned(),
        Repair::PreferLabel { label } => format!("“{label}” preferred"),
        Repair::DropFromTraining => "training rows dropped".to_owned(),
        Repair::CapPerLabel { rows } => format!("at most {} per label", format::counted(*rows, "row", "rows")),
        Repair::RemoveWord { word } => format!("“{word}” taken out"),
        Repair::MaskPersonalData => "masked".to_owned(),
        Repair::KeepLanguage { language } => format!("only {} kept", language_name(language)),
    }
}

/// The name of a language by its ISO 639-3 code, as far as texts are recognised; the code itself of others.
pub fn language_name(code: &str) -> String {
    let name = match code {
        "ara" => "Arabic",
        "ben" => "Bengali",
        "bul" => "Bulgarian",
        "cat" => "Catalan",
        "ces" => "Czech",
        "cmn" => "Chinese",
        "dan" => "Danish",
        "deu" => "German",
        "ell" => "Greek",
        "eng" => "English",
        "epo" => "Esperanto",
        "est" => "Estonian",
        "fin" => "Finnish",
        "fra" => "French",
        "heb" => "Hebrew",
        "hin" => "Hindi",
        "hrv" => "Croatian",
        "hun" => "Hungarian",
        "ind" => "Indonesian",
        "ita" => "Italian",
        "jpn" => "Japanese",
        "kor" => "Korean",
        "lat" => "Latin",
        "lav" => "Latvian",
        "lit" => "Lithuanian",
        "nld" => "Dutch",
        "nob" => "Norwegian",
        "pes" => "Persian",
        "pol" => "Polish",
        "por" => "Portuguese",
        "ron" => "Romanian",
        "rus" => "Russian",
        "slk" => "Slovak",
        "slv" => "Slovene",
        "spa" => "Spanish",
        "srp" => "Serbian",
        "swe" => "Swedish",
        "tha" => "Thai",
        "tur" => "Turkish",
        "ukr" => "Ukrainian",
        "urd" => "Urdu",
        "vie" => "Vietnamese",
        other => other,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_in_words() {
        assert_eq!(
            changed_rows(&[(0, "added"), (514, "removed"), (3, "relabelled")]),
            "514 rows removed, 3 relabelled"
        );
        assert_eq!(changed_rows(&[(1, "rewritten")]), "1 row rewritten");
        assert_eq!(changed_rows(&[(0, "removed")]), "no row changed");
    }

    #[test]
    fn causes_say_what_was_done() {
        let repaired = VersionCause::Repaired {
            finding: FindingKind::Contradictions,
            repair: Repair::PreferLabel { label: "neutral".into() },
        };
        assert_eq!(cause(&repaired), "Contradictions: “neutral” preferred");
        assert_eq!(cause(&VersionCause::Undone { version: 2 }), "Version 2 undone");
    }
}
