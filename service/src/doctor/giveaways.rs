//! Words that give a label away: they occur in the rows of one label alone, and in many of them. Often they are no part
//! of what a person would judge by, such as the name of the source that all rows of one label were taken from.
//!
//! A word counts where at least 2 % of the label's texts have it (and ten of them), no row of another label has, and
//! chance is no explanation: a word that had nothing to do with the label, of which the share p of all texts is, would
//! fall on that label alone in n texts with probability p^n, and among the w words that are tried at least one does with
//! at most w p^n (Bonferroni). That must be below one in a thousand.

use super::groups::Groups;
use super::progress::{Progress, over_places};
use super::texts::{SameTexts, hash};
use super::words::{Found, counted, percent, quoted_list};
use crate::datasets::Snapshot;
use crate::error::Result;
use domain::finding::{FindingKind, Repair, Severity};
use std::collections::{HashMap, HashSet};

const MIN_TEXTS: usize = 10;
const MIN_SHARE: f64 = 0.02;
/// A label that one word gives away in so much of its texts is no longer a task.
const PROBLEM_SHARE: f64 = 0.2;
const MAX_CHANCE: f64 = 0.001;
const MAX_WORDS: usize = 20;
/// Words whose removal is offered.
const MAX_OFFERED: usize = 8;
/// Texts of a label in which candidates are looked for, and of all labels together.
const SAMPLE_OF_LABEL: usize = 20_000;
const SAMPLE: usize = 200_000;
/// Candidates that are followed through all rows, the most frequent ones.
const MAX_CANDIDATES: usize = 20_000;
/// Longer words are codes and links; in bytes.
const MAX_WORD: usize = 64;
const MAX_WORDS_OF_TEXT: usize = 10_000;

/// A word without its case, by a hash: in the tables there are millions.
type WordHash = u64;

struct Giveaway {
    word: String,
    label: usize,
    /// Different texts of the label that have it.
    texts: usize,
    of_texts: usize,
    rows: Vec<u32>,
}

pub(super) fn giveaways(snapshot: &Snapshot, same: &SameTexts, progress: &mut Progress) -> Result<Option<Found>> {
    let mut by_label: Vec<Vec<u32>> = vec![Vec::new(); snapshot.labels().len()];
    for place in 0..snapshot.len() {
        if same.is_first(place) {
            by_label[snapshot.label(place)].push(place as u32);
        }
    }
    let texts: usize = by_label.iter().map(Vec::len).sum();
    let labels = by_label.iter().filter(|places| !places.is_empty()).count();
    if labels < 2 {
        return Ok(None);
    }
    let candidates = candidates(snapshot, &by_label, SAMPLE_OF_LABEL.min(SAMPLE / labels));
    let tried = candidates.tried;
    let counted = follow(snapshot, same, &candidates.words, progress)?;
    let mut giveaways: Vec<(WordHash, usize, usize)> = counted
        .into_iter()
        .filter_map(|(word, use_)| {
            let label = use_.label?;
            let of_texts = by_label[label].len();
            let enough = use_.texts >= MIN_TEXTS && use_.texts as f64 >= MIN_SHARE * of_texts as f64;
            let chance = tried as f64 * (of_texts as f64 / texts as f64).powf(use_.texts as f64);
            (enough && chance < MAX_CHANCE).then_some((word, label, use_.texts))
        })
        .collect();
    // Those that give away most of their label first.
    let share = |(_, label, count): &(WordHash, usize, usize)| *count as f64 / by_label[*label].len() as f64;
    giveaways.sort_by(|a, b| share(b).total_cmp(&share(a)).then_with(|| a.0.cmp(&b.0)));
    giveaways.truncate(MAX_WORDS);
    let wanted: HashMap<WordHash, usize> =
        giveaways.iter().enumerate().map(|(number, (word, _, _))| (*word, number)).collect();
    let mut found: Vec<Giveaway> = giveaways
        .iter()
        .map(|(_, label, texts)| Giveaway {
            word: String::new(),
            label: *label,
            texts: *texts,
            of_texts: by_label[*label].len(),
            rows: Vec::new(),
        })
        .collect();
    if found.is_empty() {
        return Ok(None);
    }
    collect_rows(snapshot, &wanted, &mut found)?;
    Ok(Some(told(snapshot, found)))
}

fn told(snapshot: &Snapshot, giveaways: Vec<Giveaway>) -> Found {
    let words: Vec<&str> = giveaways.iter().map(|giveaway| giveaway.word.as_str()).collect();
    let headline = format!(
        "{} in one label's rows alone: {}",
        if words.len() == 1 {
            "1 word occurs".to_string()
        } else {
            format!("{} occur", counted(words.len(), "word", "words"))
        },
        quoted_list(&words)
    );
    let severity = if giveaways.iter().any(|giveaway| giveaway.texts as f64 >= PROBLEM_SHARE * giveaway.of_texts as f64)
    {
        Severity::Problem
    } else {
        Severity::Warning
    };
    let why = "A classifier learns such a word instead of the meaning, scores well here, and fails on texts without it; \
               keep it only if later texts will have it, too.";
    let mut found = Found::new(FindingKind::Giveaways, severity, headline, why);
    let mut groups = Groups::default();
    let mut rows: HashSet<u32> = HashSet::new();
    for giveaway in giveaways {
        let label = &snapshot.labels()[giveaway.label];
        let share = percent(giveaway.texts, giveaway.of_texts);
        found = found
            .with_fact(format!("texts of \"{label}\" with \"{}\" ({share} of them)", giveaway.word), giveaway.texts);
        if found.finding.repairs.len() < MAX_OFFERED {
            let title = format!("Take \"{}\" out of the texts", giveaway.word);
            found = found.with_repair(Repair::RemoveWord { word: giveaway.word.clone() }, title);
        }
        rows.extend(&giveaway.rows);
        groups.push_with_note(giveaway.rows, giveaway.word);
    }
    found = found.with_groups(groups);
    found.finding.rows = rows.len() as u64;
    found
}

/// What is known of a word.
#[derive(Clone, Copy)]
struct Use {
    /// `None`: rows of several labels have it.
    label: Option<usize>,
    texts: usize,
}

struct Candidates {
    words: HashSet<WordHash>,
    /// Different words that were looked at.
    tried: usize,
}

/// Words of a sample of each label's texts that occur in no other label's sample, and in half as many texts as they will
/// have to, since a sample scatters.
fn candidates(snapshot: &Snapshot, by_label: &[Vec<u32>], of_label: usize) -> Candidates {
    let mut uses: HashMap<WordHash, Use> = HashMap::new();
    let mut words = Vec::new();
    for (label, places) in by_label.iter().enumerate() {
        for number in super::length::evenly(places.len(), of_label) {
            words_into(snapshot.text(places[number] as usize), &mut words);
            for word in &words {
                let use_ = uses.entry(*word).or_insert(Use { label: Some(label), texts: 0 });
                use_.texts += 1;
                if use_.label != Some(label) {
                    use_.label = None;
                }
            }
        }
    }
    let tried = uses.len();
    let mut frequent: Vec<(usize, WordHash)> = uses
        .into_iter()
        .filter_map(|(word, use_)| {
            let all = by_label[use_.label?].len();
            let looked_at = all.min(of_label);
            let needed = (MIN_SHARE * looked_at as f64).max(MIN_TEXTS as f64 * looked_at as f64 / all as f64) / 2.0;
            (use_.texts as f64 >= needed).then_some((use_.texts, word))
        })
        .collect();
    frequent.sort_unstable_by(|a, b| b.cmp(a));
    frequent.truncate(MAX_CANDIDATES);
    Candidates { words: frequent.into_iter().map(|(_, word)| word).collect(), tried }
}

/// The candidates' uses in all rows. Copies of a text do not count again, but their labels do.
fn follow(
    snapshot: &Snapshot,
    same: &SameTexts,
    candidates: &HashSet<WordHash>,
    progress: &mut Progress,
) -> Result<HashMap<WordHash, Use>> {
    if candidates.is_empty() {
        return Ok(HashMap::new());
    }
    let blocks = over_places(snapshot.len(), progress, |places| {
        let mut uses: HashMap<WordHash, Use> = HashMap::new();
        let mut words = Vec::new();
        for place in places {
            words_into(snapshot.text(place), &mut words);
            let use_ = Use { label: Some(snapshot.label(place)), texts: usize::from(same.is_first(place)) };
            for word in words.iter().filter(|word| candidates.contains(word)) {
                merge(&mut uses, *word, use_);
            }
        }
        uses
    })?;
    let mut all = HashMap::new();
    for (word, use_) in blocks.into_iter().flatten() {
        merge(&mut all, word, use_);
    }
    Ok(all)
}

fn merge(uses: &mut HashMap<WordHash, Use>, word: WordHash, more: Use) {
    let use_ = uses.entry(word).or_insert(Use { label: more.label, texts: 0 });
    use_.texts += more.texts;
    if use_.label != more.label {
        use_.label = None;
    }
}

fn collect_rows(snapshot: &Snapshot, wanted: &HashMap<WordHash, usize>, found: &mut [Giveaway]) -> Result<()> {
    let blocks = over_places(snapshot.len(), &mut Progress::silent(), |places| {
        let mut rows = Vec::new();
        let mut words = Vec::new();
        for place in places {
            words_into(snapshot.text(place), &mut words);
            rows.extend(words.iter().filter_map(|word| wanted.get(word)).map(|number| (*number, place)));
        }
        rows
    })?;
    for (number, place) in blocks.into_iter().flatten() {
        let giveaway = &mut found[number];
        if giveaway.word.is_empty() {
            let is_it = |word: &&str| wanted.get(&word_hash(word)) == Some(&number);
            giveaway.word =
                words_of(snapshot.text(place)).map(|(_, word)| word).find(is_it).unwrap_or_default().to_lowercase();
        }
        giveaway.rows.push(snapshot.id(place));
    }
    Ok(())
}

/// The words of a text, each once.
fn words_into(text: &str, words: &mut Vec<WordHash>) {
    words.clear();
    words.extend(words_of(text).map(|(_, word)| word_hash(word)));
    words.sort_unstable();
    words.dedup();
}

/// Runs of letters, digits and underscores, with a `#`, `@` or `$` before them, and where they begin. One character and
/// numbers alone say nothing.
fn words_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[from..];
            let begin = from + rest.find(is_of_word)?;
            let length = text[begin..].find(|next| !is_of_word(next)).unwrap_or(text.len() - begin);
            let end = begin + length;
            from = end;
            let sign = usize::from(text[..begin].ends_with(['#', '@', '$']));
            let word = &text[begin - sign..end];
            let says_something =
                word.len() > 1 && word.len() <= MAX_WORD && !word.bytes().all(|byte| byte.is_ascii_digit());
            if says_something {
                return Some((begin - sign, word));
            }
        }
    })
    .take(MAX_WORDS_OF_TEXT)
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word_hash(word: &str) -> WordHash {
    if word.is_ascii() {
        let mut lower = [0_u8; MAX_WORD];
        let lower = &mut lower[..word.len().min(MAX_WORD)];
        for (lower, byte) in lower.iter_mut().zip(word.bytes()) {
            *lower = byte.to_ascii_lowercase();
        }
        return std::str::from_utf8(lower).map_or(0, |word| hash(word) as WordHash);
    }
    hash(&word.to_lowercase()) as WordHash
}

/// The text without a word, whatever its case; `None`: it does not have it.
pub(super) fn without_word(text: &str, word: &str) -> Option<String> {
    let wanted = word_hash(word);
    let mut kept = String::with_capacity(text.len());
    let mut copied = 0;
    for (begin, _) in words_of(text).filter(|(_, found)| word_hash(found) == wanted) {
        let end = begin + text[begin..].len()
            - text[begin..].trim_start_matches(['#', '@', '$']).trim_start_matches(is_of_word).len();
        kept.push_str(&text[copied..begin]);
        // One of the two spaces around it goes with it.
        let space = usize::from((kept.is_empty() || kept.ends_with(' ')) && text[end..].starts_with(' '));
        copied = end + space;
    }
    if copied == 0 {
        return None;
    }
    kept.push_str(&text[copied..]);
    Some(kept.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::snapshot_of;

    fn find(rows: &[(String, &str)]) -> Option<Found> {
        let rows: Vec<(&str, &str)> = rows.iter().map(|(text, label)| (text.as_str(), *label)).collect();
        let snapshot = snapshot_of(&rows);
        let same = SameTexts::of(&snapshot).unwrap();
        giveaways(&snapshot, &same, &mut Progress::silent()).unwrap()
    }

    fn rows() -> Vec<(String, &'static str)> {
        (0..400).map(|row| (format!("text {row} says nothing much about it"), ["good", "bad"][row % 2])).collect()
    }

    #[test]
    fn a_word_of_one_label_alone_is_found() {
        let mut rows = rows();
        assert!(find(&rows).is_none());
        for row in (0..60).step_by(2) {
            rows[row].0.push_str(" Reuters: #Buy");
        }
        let found = find(&rows).unwrap();
        assert_eq!((found.finding.rows, found.groups.len()), (30, 2));
        assert_eq!(found.finding.severity, Severity::Warning);
        let mut words: Vec<&str> = (0..2).map(|group| found.groups.note(group)).collect();
        words.sort_unstable();
        assert_eq!(words, ["#buy", "reuters"]);
        // One row of the other label has it.
        rows[1].0.push_str(" REUTERS #buy");
        assert!(find(&rows).is_none());
    }

    #[test]
    fn few_texts_and_copies_are_chance() {
        let mut few = rows();
        for row in (0..18).step_by(2) {
            few[row].0.push_str(" Reuters");
        }
        assert!(find(&few).is_none(), "nine texts");
        let mut copies = rows();
        copies.extend((0..30).map(|_| ("the same Reuters text".to_string(), "good")));
        assert!(find(&copies).is_none(), "one text, many times");
        // Ten texts of a label that nearly all texts have are no surprise.
        let mut common: Vec<(String, &str)> = (0..400).map(|row| (format!("text {row}"), "good")).collect();
        common.extend((0..20).map(|row| (format!("other {row} text"), "bad")));
        for (text, _) in &mut common[..12] {
            text.push_str(" Reuters");
        }
        let found = find(&common).unwrap();
        assert_eq!((found.groups.len(), found.groups.note(0)), (1, "other"));
    }

    #[test]
    fn a_word_is_taken_out_whatever_its_case() {
        for (text, expected) in [
            ("Reuters - profit rose", Some("- profit rose")),
            ("profit (REUTERS) rose, reuters.", Some("profit () rose, .")),
            ("says reuters today", Some("says today")),
            ("Reuters", Some("")),
            ("Reuters2 and @reuters", None),
        ] {
            assert_eq!(without_word(text, "reuters").as_deref(), expected, "{text}");
        }
        assert_eq!(without_word("for #Öl now", "#öl").as_deref(), Some("for now"));
    }
}
