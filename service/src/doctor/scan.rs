//! One look at every text: its hash and length, and what is wrong with it by itself.

use super::groups::Groups;
use super::personal::{self, Personal};
use super::progress::{Progress, over_places};
use super::texts::{self, TextHash};
use super::words::{Found, counted, percent, rows, severity_by_share};
use super::{control, html, mojibake};
use crate::datasets::Snapshot;
use crate::error::Result;
use domain::finding::{FindingKind, Repair, Severity};

/// What the look at every text has brought, by place.
pub(super) struct Scanned {
    pub hashes: Vec<TextHash>,
    /// In characters.
    pub lengths: Vec<u32>,
    marks: Vec<u8>,
}

const ENDS_WITH_DOTS: u8 = 1;
const ENDS_IN_WORD: u8 = 2;
const CONTROL: u8 = 4;
const HTML: u8 = 8;
const MOJIBAKE: u8 = 16;
/// For e-mail addresses; phone numbers and IBANs have the next bits.
const PERSONAL: u8 = 32;

/// A text that is cut is that long at least, in characters; shorter ones end in dots because they trail off.
const MIN_CUT_LENGTH: u32 = 40;
/// So many rows, and this share of all, must be exactly as long as the longest to look cut at a limit.
const MIN_PILE: usize = 20;
const PILE_SHARE: f64 = 0.01;

impl Scanned {
    pub fn look(snapshot: &Snapshot, progress: &mut Progress) -> Result<Self> {
        let blocks = over_places(snapshot.len(), progress, |places| {
            let mut normalised = String::new();
            let mut block = Self { hashes: Vec::new(), lengths: Vec::new(), marks: Vec::new() };
            for place in places {
                let text = snapshot.text(place);
                texts::normalise_into(text, &mut normalised);
                block.hashes.push(texts::hash(&normalised));
                block.lengths.push(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
                block.marks.push(marks(text));
            }
            block
        })?;
        let mut all = Self {
            hashes: Vec::with_capacity(snapshot.len()),
            lengths: Vec::with_capacity(snapshot.len()),
            marks: Vec::with_capacity(snapshot.len()),
        };
        for block in blocks {
            all.hashes.extend(block.hashes);
            all.lengths.extend(block.lengths);
            all.marks.extend(block.marks);
        }
        Ok(all)
    }

    /// Everything that concerns texts by themselves.
    pub fn findings(&self, snapshot: &Snapshot) -> Vec<Found> {
        [
            self.cut_texts(snapshot),
            self.marked(snapshot, CONTROL).map(|found| control_characters(found, snapshot.len())),
            self.marked(snapshot, HTML).map(|found| html_remains(found, snapshot.len())),
            self.marked(snapshot, MOJIBAKE).map(|found| mojibake_found(found, snapshot.len())),
            self.personal_data(snapshot),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn count(&self, mark: u8) -> usize {
        self.marks.iter().filter(|marks| *marks & mark != 0).count()
    }

    /// The rows with any of the marks; `None`: there are none.
    fn marked(&self, snapshot: &Snapshot, mark: u8) -> Option<Groups> {
        let ids: Vec<u32> = (0..self.marks.len())
            .filter(|place| self.marks[*place] & mark != 0)
            .map(|place| snapshot.id(place))
            .collect();
        (!ids.is_empty()).then(|| Groups::singles(ids))
    }

    fn cut_texts(&self, snapshot: &Snapshot) -> Option<Found> {
        let longest = *self.lengths.iter().max()?;
        let at_limit = |place: usize| self.lengths[place] == longest && self.marks[place] & ENDS_IN_WORD != 0;
        let all_longest = self.lengths.iter().filter(|length| **length == longest).count();
        let pile = (0..self.lengths.len()).filter(|place| at_limit(*place)).count();
        let is_pile = longest >= MIN_CUT_LENGTH
            && pile >= MIN_PILE
            && pile as f64 >= PILE_SHARE * self.lengths.len() as f64
            && pile * 2 > all_longest;
        let is_dotted = |place: usize| self.marks[place] & ENDS_WITH_DOTS != 0 && self.lengths[place] >= MIN_CUT_LENGTH;
        let is_cut = |place: &usize| is_dotted(*place) || is_pile && at_limit(*place);
        let ids: Vec<u32> = (0..self.lengths.len()).filter(is_cut).map(|place| snapshot.id(place)).collect();
        if ids.is_empty() {
            return None;
        }
        let dotted = (0..self.lengths.len()).filter(|place| is_dotted(*place)).count();
        let headline = format!(
            "{} ({}) seem to end before the end of the sentence",
            counted(ids.len(), "text", "texts"),
            percent(ids.len(), snapshot.len())
        );
        let why = "What was cut off cannot be learnt from; if the classifier is to see whole texts later, take them whole \
                   from their source.";
        let found = Found::new(FindingKind::CutTexts, severity_by_share(ids.len(), snapshot.len()), headline, why)
            .with_fact(
                format!("texts that are exactly {longest} characters long and end in a word"),
                if is_pile { pile } else { 0 },
            )
            .with_fact("texts that end in dots within a sentence", dotted)
            .with_groups(Groups::singles(ids));
        Some(found.with_repair(Repair::DropRows, "Remove the cut rows"))
    }

    fn personal_data(&self, snapshot: &Snapshot) -> Option<Found> {
        let all = Personal::ALL.iter().fold(0, |marks, kind| marks | personal_mark(*kind));
        let groups = self.marked(snapshot, all)?;
        let headline = format!(
            "{} personal data",
            if groups.len() == 1 { "1 row holds".to_string() } else { format!("{} hold", rows(groups.len())) }
        );
        let why = "Whatever is in the training texts can come out of a trained model again, and data protection law asks \
                   for a reason to keep it.";
        let mut found = Found::new(FindingKind::PersonalData, Severity::Warning, headline, why);
        for kind in Personal::ALL {
            found = found.with_fact(format!("rows with {}", kind.plural()), self.count(personal_mark(kind)));
        }
        Some(found.with_groups(groups).with_repair(Repair::MaskPersonalData, "Mask personal data"))
    }
}

fn marks(text: &str) -> u8 {
    let mut marks = ending(text);
    if control::repaired(text).is_some() {
        marks |= CONTROL;
    }
    if html::repaired(text).is_some() {
        marks |= HTML;
    }
    if let Some(right) = mojibake::repaired(text) {
        marks |= MOJIBAKE;
        // What looks like control characters may be part of it.
        if control::repaired(&right).is_none() {
            marks &= !CONTROL;
        }
    }
    personal::each(text, |kind, _, _| marks |= personal_mark(kind));
    marks
}

fn personal_mark(kind: Personal) -> u8 {
    match kind {
        Personal::Email => PERSONAL,
        Personal::Phone => PERSONAL << 1,
        Personal::Iban => PERSONAL << 2,
    }
}

/// How a text ends: within a word, or in dots behind a small letter. A link behind the dots is how messages are cut that
/// are shared.
fn ending(text: &str) -> u8 {
    let text = text.trim_end();
    let without_link = match text.rsplit_once(char::is_whitespace) {
        Some((head, link)) if link.starts_with("http") => head.trim_end(),
        _ => text,
    };
    if let Some(head) = without_link.strip_suffix('…').or_else(|| without_link.strip_suffix("...")) {
        // Four dots and more, or a space before them, are a manner of writing.
        return if head.ends_with(char::is_lowercase) { ENDS_WITH_DOTS } else { 0 };
    }
    if text.ends_with(char::is_alphanumeric) { ENDS_IN_WORD } else { 0 }
}

fn control_characters(groups: Groups, all: usize) -> Found {
    let count = groups.len();
    let headline =
        format!("{} ({}) hold invisible control characters", counted(count, "text", "texts"), percent(count, all));
    let why = "They cost tokens, hide words from the search and make equal texts look different.";
    Found::new(FindingKind::ControlCharacters, severity_by_share(count, all), headline, why)
        .with_groups(groups)
        .with_repair(Repair::RemoveControlCharacters, "Remove control characters")
}

fn html_remains(groups: Groups, all: usize) -> Found {
    let count = groups.len();
    let headline = format!("{} ({}) hold remains of HTML", counted(count, "text", "texts"), percent(count, all));
    let why = "Tags and entities such as &amp; take the place of words, and texts that the classifier sees later may not \
               have them.";
    Found::new(FindingKind::HtmlRemains, severity_by_share(count, all), headline, why)
        .with_groups(groups)
        .with_repair(Repair::StripHtml, "Remove tags and decode entities")
}

fn mojibake_found(groups: Groups, all: usize) -> Found {
    let count = groups.len();
    let headline = format!(
        "{} ({}) hold characters that were read in the wrong encoding (mojibake)",
        counted(count, "text", "texts"),
        percent(count, all)
    );
    let why = "A word such as \"BÃ¶rse\" is not the word \"Börse\" that the classifier will meet later, so what is learnt \
               on it is lost.";
    Found::new(FindingKind::Mojibake, severity_by_share(count, all), headline, why)
        .with_groups(groups)
        .with_repair(Repair::RepairMojibake, "Restore the characters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::snapshot_of;

    fn kinds(texts: &[String]) -> Vec<(FindingKind, u64)> {
        let rows: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "a")).collect();
        let snapshot = snapshot_of(&rows);
        let scanned = Scanned::look(&snapshot, &mut Progress::silent()).unwrap();
        scanned.findings(&snapshot).iter().map(|found| (found.finding.kind, found.finding.rows)).collect()
    }

    #[test]
    fn a_pile_at_the_longest_length_is_cut() {
        let mut texts: Vec<String> = (0..60).map(|row| format!("a whole sentence, number {row}.")).collect();
        texts
            .extend((0..25).map(|row| format!("{row:>04} {}", "a sentence that goes on and on without end".repeat(3))));
        assert_eq!(kinds(&texts), [(FindingKind::CutTexts, 25)]);
        // The same with their ends.
        for text in &mut texts[60..] {
            text.push('.');
        }
        assert_eq!(kinds(&texts), []);
        // Too few for a pile.
        assert_eq!(kinds(&texts[..60].iter().map(|text| text.replace('.', "")).collect::<Vec<_>>()[..15]), []);
    }

    #[test]
    fn dots_within_a_sentence_cut() {
        let long = "The company said on Monday that it would not go on with";
        let texts = [
            format!("{long}..."),
            format!("{long}…"),
            format!("{long}… https://example.org/x"),
            format!("{long}."),
            format!("{long} ..."),
            "well...".to_string(),
        ];
        assert_eq!(kinds(&texts), [(FindingKind::CutTexts, 3)]);
    }

    #[test]
    fn each_kind_counts_its_rows() {
        let texts = [
            "a\u{1}b",
            "<p>x</p>",
            "Deutsche BÃ¶rse",
            "me@example.org",
            "+49 30 1234567 and DE89370400440532013000",
            "Ã\u{84}rger",
            "nothing at all",
            "AT&T, a < b",
        ]
        .map(String::from);
        let expected = [
            (FindingKind::ControlCharacters, 1),
            (FindingKind::HtmlRemains, 1),
            (FindingKind::Mojibake, 2),
            (FindingKind::PersonalData, 2),
        ];
        assert_eq!(kinds(&texts), expected);
    }
}
