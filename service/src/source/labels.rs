//! Labels as a file has them: those that look like one and might be merged, and names for integers.

use domain::dataset::{LabelCount, count_labels};
use domain::reading::LabelMerge;
use std::collections::BTreeMap;

/// More different labels than this are no labels, and nothing is made of them.
const MAX_COMPARED: usize = 2000;

/// Words that mean the same, and what they mean. Short signs and numbers are in [`SIGNS`].
const SYNONYMS: [(&str, &[&str]); 6] = [
    ("positive", &["positive", "positiv", "positif", "pozitif", "pos", "olumlu"]),
    ("negative", &["negative", "negativ", "negatif", "neg", "olumsuz"]),
    ("neutral", &["neutral", "neut", "neu", "nötr", "notr", "tarafsız", "tarafsiz"]),
    ("yes", &["yes", "y", "true", "t", "evet", "doğru", "dogru"]),
    ("no", &["no", "n", "false", "f", "hayır", "hayir", "yanlış", "yanlis"]),
    ("other", &["other", "others", "diğer", "diger"]),
];

/// Signs mean something only beside a word that means it, too.
const SIGNS: [(&str, &[&str]); 5] = [
    ("positive", &["+", "+1", "1", "1.0"]),
    ("negative", &["-", "-1", "-1.0"]),
    ("neutral", &["0", "0.0"]),
    ("yes", &["1", "1.0", "+"]),
    ("no", &["0", "0.0", "-"]),
];

/// How far two labels have to be changed to be the same; the least first.
const STEPS: [(fn(&str) -> String, &str); 4] = [
    (trimmed, "differ in white space only"),
    (folded, "differ in upper and lower case only"),
    (bare, "differ in punctuation only"),
    (meaning, "are written differently and seem to mean the same"),
];

/// Labels that may be one, the most rows first. Nothing is merged by this.
pub fn propose_merges(labels: &[LabelCount]) -> Vec<LabelMerge> {
    if labels.len() > MAX_COMPARED {
        return Vec::new();
    }
    let mut groups: BTreeMap<String, Vec<&LabelCount>> = BTreeMap::new();
    for count in labels {
        groups.entry(meaning(&count.label)).or_default().push(count);
    }
    add_signs(&mut groups, labels);
    groups.retain(|_, group| group.len() > 1);
    let mut merges: Vec<LabelMerge> = groups.into_values().map(merge_of).collect();
    merges.sort_by_key(|merge| std::cmp::Reverse(merge.from.iter().map(|count| count.rows).sum::<u64>()));
    merges
}

/// Moves `+`, `1` and the like to the words that they stand for. Numbers that count something else, as stars do, stay.
fn add_signs<'a>(groups: &mut BTreeMap<String, Vec<&'a LabelCount>>, labels: &'a [LabelCount]) {
    let numbers = labels.iter().filter_map(|count| count.label.trim().parse::<f64>().ok());
    if numbers.into_iter().any(|number| ![-1.0, 0.0, 1.0].contains(&number)) {
        return;
    }
    let has_minus = labels.iter().any(|count| count.label.trim().parse::<f64>() == Ok(-1.0));
    for (word, signs) in SIGNS {
        if !groups.contains_key(word) {
            continue;
        }
        let signs = signs.iter().copied();
        // Without -1, a 0 beside 1 and words of feeling is the negative one.
        let zeros = (word == "negative" && !has_minus).then_some(["0", "0.0"]).into_iter().flatten();
        let is_taken = |sign: &str| word == "neutral" && !has_minus && sign.starts_with('0');
        for sign in signs.chain(zeros).filter(|sign| !is_taken(sign)) {
            let moved = groups.remove(sign).unwrap_or_default();
            groups.entry(word.to_string()).or_default().extend(moved);
        }
    }
}

fn merge_of(mut from: Vec<&LabelCount>) -> LabelMerge {
    from.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
    let same = |step: fn(&str) -> String| {
        let mut forms = from.iter().map(|count| step(&count.label));
        let first = forms.next();
        forms.all(|form| Some(form) == first)
    };
    let reason = STEPS.iter().find(|(step, _)| same(*step)).or(STEPS.last()).map_or("", |(_, reason)| *reason);
    // A word rather than a sign or a number, however many rows have that.
    let is_word = |count: &&&LabelCount| count.label.chars().any(char::is_alphabetic);
    let into = from.iter().find(is_word).or(from.first()).map(|count| count.label.trim().to_string());
    LabelMerge {
        into: into.unwrap_or_default(),
        from: from.into_iter().cloned().collect(),
        reason: format!("They {reason}."),
    }
}

fn trimmed(label: &str) -> String {
    label.trim().to_string()
}

/// Lower case, in which Turkish dotted and dotless letters are one.
fn folded(label: &str) -> String {
    label
        .trim()
        .chars()
        .flat_map(char::to_lowercase)
        .filter(|c| *c != '\u{307}')
        .map(|c| if c == 'ı' { 'i' } else { c })
        .collect()
}

/// Words without punctuation and with single spaces; what has no letter stays as it is, as `+1` and `-1` are two.
fn bare(label: &str) -> String {
    let folded = folded(label);
    if !folded.chars().any(char::is_alphabetic) {
        return folded;
    }
    let words = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn meaning(label: &str) -> String {
    let bare = bare(label);
    if bare.is_empty() {
        return folded(label);
    }
    let known = SYNONYMS.iter().find(|(_, words)| words.iter().any(|word| folded(word) == bare));
    known.map_or(bare, |(word, _)| word.to_string())
}

/// Labels that are one but for white space that stands around all of them: an export's habit, and nobody's choice.
/// From the label as it stands to what it is called.
pub fn trim_names(labels: &[LabelCount]) -> BTreeMap<String, String> {
    let mut forms: BTreeMap<&str, u64> = BTreeMap::new();
    for count in labels {
        *forms.entry(count.label.trim()).or_default() += 1;
    }
    let is_free = |label: &str| label.trim() != label && forms.get(label.trim()) == Some(&1);
    let free = labels.iter().map(|count| count.label.as_str()).filter(|label| is_free(label));
    free.map(|label| (label.to_string(), label.trim().to_string())).collect()
}

/// The labels are whole numbers, all of them.
pub fn are_integers(labels: &[LabelCount]) -> bool {
    !labels.is_empty() && labels.iter().all(|count| integer(&count.label).is_some())
}

/// A whole number, also as `1.0`, which is how tables with gaps write it.
fn integer(label: &str) -> Option<i64> {
    let label = label.trim();
    label.strip_suffix(".0").unwrap_or(label).parse().ok()
}

/// Names for the integers among the labels, where `names` has one for each.
pub fn name_integers(labels: &[LabelCount], names: &[String]) -> BTreeMap<String, String> {
    let name = |count: &LabelCount| {
        let index = usize::try_from(integer(&count.label)?).ok()?;
        let name = names.get(index).filter(|name| !name.trim().is_empty())?;
        Some((count.label.clone(), name.clone()))
    };
    if !are_integers(labels) {
        return BTreeMap::new();
    }
    // Labels that the beginning of the file does not show are named as well.
    let all = names.iter().enumerate().map(|(index, name)| (index.to_string(), name.clone()));
    let named: Option<BTreeMap<String, String>> = labels.iter().map(name).collect();
    named.map(|named| all.filter(|(_, name)| !name.trim().is_empty()).chain(named).collect()).unwrap_or_default()
}

/// Counts labels, most frequent first; at most so many are told.
pub fn count<'a>(labels: impl IntoIterator<Item = &'a str>, at_most: usize) -> Vec<LabelCount> {
    let mut counts = count_labels(labels);
    counts.truncate(at_most);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(labels: &[(&str, u64)]) -> Vec<LabelCount> {
        labels.iter().map(|(label, rows)| LabelCount { label: label.to_string(), rows: *rows }).collect()
    }

    fn merges(labels: &[(&str, u64)]) -> Vec<(String, Vec<String>, String)> {
        let merges = propose_merges(&counts(labels)).into_iter();
        merges.map(|m| (m.into, m.from.into_iter().map(|count| count.label).collect(), m.reason)).collect()
    }

    #[test]
    fn labels_that_look_like_one_are_proposed_with_the_reason() {
        for (labels, into, from, reason) in [
            (&[("a", 5), ("a ", 2), ("b", 3)][..], "a", &["a", "a "][..], "white space"),
            (&[("Spam", 5), ("spam", 2), ("ham", 3)], "Spam", &["Spam", "spam"], "case"),
            (&[("İYİ", 5), ("iyi", 2), ("kötü", 3)], "İYİ", &["İYİ", "iyi"], "case"),
            (&[("not_spam", 5), ("not spam", 7), ("spam", 3)], "not spam", &["not spam", "not_spam"], "punctuation"),
            (&[("pos", 5), ("Positive ", 7), ("1", 9), ("x", 3)], "Positive", &["1", "Positive ", "pos"], "mean"),
            (&[("olumlu", 5), ("positive", 7), ("nötr", 9)], "positive", &["positive", "olumlu"], "mean"),
        ] {
            let found = merges(labels);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(
                (found[0].0.as_str(), &found[0].1[..]),
                (into, &from.iter().map(|f| f.to_string()).collect::<Vec<_>>()[..])
            );
            assert!(found[0].2.contains(reason), "{found:?}");
        }
        let feelings = merges(&[("-1", 3), ("0", 2), ("1", 4), ("negative", 2), ("neutral", 2), ("positive", 2)]);
        assert_eq!(
            feelings.iter().map(|merge| merge.0.as_str()).collect::<Vec<_>>(),
            ["positive", "negative", "neutral"]
        );
        let two = merges(&[("0", 2), ("1", 4), ("neg", 2), ("pos", 2)]);
        assert_eq!(two.iter().map(|merge| merge.1.clone()).collect::<Vec<_>>(), [["1", "pos"], ["0", "neg"]]);
    }

    #[test]
    fn labels_that_differ_in_meaning_stay_apart() {
        for labels in [
            &[("1", 5), ("-1", 5), ("+1!", 1)][..],
            &[("+", 5), ("-", 5)],
            &[("1", 5), ("2", 5), ("3", 5), ("positive", 1)],
            &[("0", 5), ("1", 5)],
            &[("class 1", 5), ("class 2", 5)],
            &[("", 5), ("?", 5), ("!", 5)],
        ] {
            assert_eq!(merges(labels), [], "{labels:?}");
        }
    }

    #[test]
    fn integers_are_named_where_every_one_has_a_name() {
        let names: Vec<String> = ["neg", "neu", "pos"].map(String::from).to_vec();
        let labels = counts(&[("0", 5), ("2.0", 3)]);
        assert!(are_integers(&labels));
        let named = name_integers(&labels, &names);
        assert_eq!((named["0"].as_str(), named["2.0"].as_str(), named["1"].as_str()), ("neg", "pos", "neu"));
        assert!(name_integers(&counts(&[("0", 5), ("3", 5)]), &names).is_empty());
        assert!(name_integers(&counts(&[("0", 5), ("-1", 5)]), &names).is_empty());
        assert!(!are_integers(&counts(&[("0", 5), ("x", 5)])) && !are_integers(&[]));
    }

    #[test]
    fn white_space_around_every_label_is_taken_off_and_two_labels_are_never_made_one() {
        let names = trim_names(&counts(&[(" pos", 5), (" neg", 5), ("a", 1), ("a ", 1)]));
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            [(" neg".into(), "neg".into()), (" pos".into(), "pos".into())]
        );
    }
}
