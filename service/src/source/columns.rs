//! Which columns hold the texts, the labels and the split: proposed by their names and by what stands in them, for a
//! person to confirm.

use super::fields::Fields;
use super::plan::part_named;
use domain::dataset::{MAX_LABEL_CHARS, MAX_LABELS};
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a column's name that are kept.
const MAX_NAME_CHARS: usize = 100;

const LABEL_NAMES: [&str; 22] = [
    "label",
    "labels",
    "sentiment",
    "category",
    "class",
    "target",
    "topic",
    "intent",
    "tag",
    "kategori",
    "etiket",
    "sınıf",
    "duygu",
    "konu",
    "assistant",
    "completion",
    "output",
    "answer",
    "response",
    "gold",
    "y",
    "stars",
];
const TEXT_NAMES: [&str; 24] = [
    "text",
    "sentence",
    "headline",
    "title",
    "content",
    "message",
    "review",
    "body",
    "tweet",
    "comment",
    "description",
    "news headline",
    "metin",
    "yorum",
    "cümle",
    "haber",
    "başlık",
    "user",
    "prompt",
    "question",
    "utterance",
    "input",
    "instruction",
    "x",
];
const SPLIT_NAMES: [&str; 8] = ["split", "part", "partition", "fold", "set", "subset", "dataset_split", "bölüm"];

/// The columns that are proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub text: usize,
    pub label: usize,
    pub split: Option<usize>,
}

/// Every column gets a name of its own: what stands in the header, or its number.
pub fn name_columns(header: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = Vec::new();
    for (index, name) in header.into_iter().enumerate() {
        let name = match name.as_ref().trim() {
            "" => format!("Column {}", index + 1),
            name => name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NAME_CHARS).collect(),
        };
        let count = given.entry(name.clone()).or_default();
        *count += 1;
        names.push(if *count == 1 { name } else { format!("{name} ({count})") });
    }
    names
}

/// Is the first row the columns' names, or data already?
pub fn is_header(first: &Fields, rows: &[Fields]) -> bool {
    let names: Vec<String> = first.iter().map(|name| name.trim().to_lowercase()).collect();
    let is_known = |name: &String| {
        let name = name.as_str();
        LABEL_NAMES.contains(&name) || TEXT_NAMES.contains(&name) || SPLIT_NAMES.contains(&name) || name == "id"
    };
    if names.iter().any(is_known) || rows.is_empty() {
        return true;
    }
    let is_number = |name: &String| name.parse::<f64>().is_ok();
    let is_numbering = names.iter().enumerate().all(|(index, name)| name.parse() == Ok(index));
    if is_numbering && names.len() > 1 {
        return true;
    }
    if names.iter().any(is_number) {
        return false;
    }
    // A column's name is no value of it; of a column whose values repeat this tells.
    let repeats = |index: usize| {
        let values: Vec<String> = rows.iter().map(|row| row.get(index).trim().to_lowercase()).collect();
        let distinct: BTreeSet<&String> = values.iter().collect();
        !names[index].is_empty() && distinct.len() * 2 <= values.len() + 1 && distinct.contains(&names[index])
    };
    !(0..names.len()).any(repeats)
}

/// The columns that a person has chosen already.
#[derive(Clone, Copy, Default)]
pub struct ChosenColumns {
    pub text: Option<usize>,
    pub label: Option<usize>,
}

/// Proposes what has not been chosen. Of a table without columns, column 0 is proposed.
pub fn propose<'a>(
    columns: &[String],
    rows: impl Iterator<Item = &'a Fields> + Clone,
    chosen: ChosenColumns,
) -> Proposal {
    let describe = |(index, name): (usize, &String)| describe(index, name, rows.clone());
    let columns: Vec<Column> = columns.iter().enumerate().map(describe).collect();
    let split =
        columns.iter().filter(|column| column.is_split()).max_by_key(|column| column.is_named_split()).map(|c| c.index);
    let free = |column: &Column| Some(column.index) != split || columns.len() <= 2;
    let unless = |is_free: bool, score: f64| if is_free { score } else { f64::NEG_INFINITY };
    let label_score = |column: &Column| unless(free(column) && Some(column.index) != chosen.text, column.label_score());
    let label = chosen.label.unwrap_or_else(|| pick(&columns, label_score));
    let text_score = |column: &Column| unless(free(column) && column.index != label, column.text_score());
    let text = chosen.text.unwrap_or_else(|| pick(&columns, text_score));
    Proposal { text, label, split: split.filter(|split| *split != label && *split != text) }
}

struct Column {
    index: usize,
    name: String,
    filled: usize,
    distinct: usize,
    mean_chars: f64,
    numeric_share: f64,
    /// Share of the values that name a part of a split, and how many parts they name.
    part_share: f64,
    parts: usize,
}

fn describe<'a>(index: usize, name: &str, rows: impl Iterator<Item = &'a Fields>) -> Column {
    let values: Vec<&str> = rows.map(|row| row.get(index).trim()).filter(|value| !value.is_empty()).collect();
    let share = |count: usize| count as f64 / values.len().max(1) as f64;
    let letters: usize = values.iter().map(|value| value.chars().count()).sum();
    let parts: Vec<_> = values.iter().filter_map(|value| part_named(value)).collect();
    Column {
        index,
        name: name.to_lowercase(),
        filled: values.len(),
        distinct: values.iter().collect::<BTreeSet<_>>().len(),
        mean_chars: share(letters),
        numeric_share: share(values.iter().filter(|value| value.parse::<f64>().is_ok()).count()),
        part_share: share(parts.len()),
        parts: parts.into_iter().collect::<BTreeSet<_>>().len(),
    }
}

impl Column {
    /// Few distinct short values that repeat.
    fn label_score(&self) -> f64 {
        let mut score = -self.mean_chars / MAX_LABEL_CHARS as f64;
        if self.distinct >= 2 && self.distinct <= MAX_LABELS && self.distinct * 2 <= self.filled {
            score += 2.0 - self.distinct as f64 / self.filled.max(1) as f64;
        }
        if named_as(&self.name, &LABEL_NAMES) {
            score += 3.0;
        }
        score
    }

    /// Long values that differ.
    fn text_score(&self) -> f64 {
        let mut score = self.mean_chars.min(500.0) / 100.0 - self.numeric_share;
        score += self.distinct as f64 / self.filled.max(1) as f64;
        if named_as(&self.name, &TEXT_NAMES) {
            score += 3.0;
        }
        score
    }

    fn is_named_split(&self) -> bool {
        SPLIT_NAMES.contains(&self.name.as_str())
    }

    /// A column of that name whose values name parts, or any column that names nothing else.
    fn is_split(&self) -> bool {
        (self.is_named_split() && self.part_share >= 0.5) || (self.part_share == 1.0 && self.parts >= 2)
    }
}

fn named_as(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| name == *known || (known.len() > 3 && name.contains(known)))
}

/// The column with the highest score; the first among equals.
fn pick(columns: &[Column], score: impl Fn(&Column) -> f64) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for column in columns {
        let score = score(column);
        if score > best.1 {
            best = (column.index, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Fields> {
        text.lines().map(|line| line.split('|').collect()).collect()
    }

    #[test]
    fn columns_are_proposed() {
        for (table, text, label, split) in [
            ("text|label\nlong words here|pos\nother words|neg\nmore words|pos", 0, 1, None),
            // Two rows only: nothing repeats, the names decide.
            ("category|comment\nx|short\ny|words", 1, 0, None),
            ("id|stars|review_text\n1|5|good\n2|1|bad\n3|5|fine\n4|1|awful", 2, 1, None),
            ("a|b|c\nsome words|x|train\nmore words|y|test\nand more|x|train\nand on|y|dev", 0, 1, Some(2)),
            ("split|body|kind\ntrain|some text|x\ntrain|a text|y\ntrain|words|x\ntrain|more|y", 1, 2, Some(0)),
            // Rows about trains and tests.
            ("text|label\nlate again|train\nfailed it|test\nlate once more|train\npassed it|test", 0, 1, None),
        ] {
            let all = rows(table);
            let columns = name_columns(all[0].iter());
            assert_eq!(
                propose(&columns, all[1..].iter(), ChosenColumns::default()),
                Proposal { text, label, split },
                "{table}"
            );
        }
        propose(&[], [].iter(), ChosenColumns::default());
        let all = rows("a|b|c\nsome words|x|1\nmore words|y|2\nand more|x|1\nand on|y|2");
        let chosen = ChosenColumns { text: Some(1), label: None };
        assert_eq!(propose(&name_columns(all[0].iter()), all[1..].iter(), chosen).label, 2);
    }

    #[test]
    fn a_first_row_of_data_is_no_header() {
        for (table, expected) in [
            ("text|label\na b|pos\nc d|neg", true),
            ("some words|pos\nother words|neg\nmore words|pos\nlast words|neg", false),
            ("1|words\n2|more words", false),
            ("0|1\nwords|pos\nmore|neg", true),
            ("Haber|Durum\nkâr arttı|iyi\nzarar etti|kötü", true),
            ("words|more", true),
        ] {
            let all = rows(table);
            assert_eq!(is_header(&all[0], &all[1..]), expected, "{table}");
        }
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        assert_eq!(name_columns(["a", " ", "a", "b\nc", "a"]), ["a", "Column 2", "a (2)", "b c", "a (3)"]);
        assert_eq!(name_columns([&"x".repeat(500)])[0].len(), MAX_NAME_CHARS);
    }
}
