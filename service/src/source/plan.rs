//! From a record's fields to a row of the dataset: the text from a column or a template, the label and its name, the part
//! of the split.

use super::fields::Fields;
use super::{MAX_RECORD_BYTES, SourceRow};
use domain::dataset::Row;
use domain::error::UserError;
use domain::reading::{ReadOptions, TextSource};
use domain::split::Part;
use std::collections::BTreeMap;

/// Longest template, in bytes.
const MAX_TEMPLATE_BYTES: usize = 10_000;

/// What is taken of every record.
pub struct Plan {
    text: TextPlan,
    /// Without a label column, rows have an empty label.
    label: Option<usize>,
    split: Option<usize>,
    names: BTreeMap<String, String>,
}

enum TextPlan {
    Column(usize),
    Template(Vec<Piece>),
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Stands before the next column and goes with it.
    Words(String),
    Column(usize),
}

impl Plan {
    /// # Errors
    /// Columns that are not there, or one that is both text and label, in words for the person.
    pub fn new(columns: &[String], options: &ReadOptions) -> Result<Self, UserError> {
        let width = columns.len();
        let is_missing = |column: usize| column >= width;
        let text = match &options.text {
            TextSource::Column(column) => TextPlan::Column(*column),
            TextSource::Template(template) => TextPlan::Template(parse_template(template, columns)?),
        };
        let is_text_missing = matches!(text, TextPlan::Column(column) if is_missing(column));
        if is_text_missing || is_missing(options.label_column) || options.split_column.is_some_and(is_missing) {
            return Err(UserError::invalid(format!(
                "Read in this way, the file has {width} column{}. Choose the text and the label among them, or another \
                 way of reading.",
                if width == 1 { "" } else { "s" }
            )));
        }
        let uses = |column: usize| match &text {
            TextPlan::Column(text) => *text == column,
            TextPlan::Template(pieces) => pieces.contains(&Piece::Column(column)),
        };
        if uses(options.label_column) {
            return Err(UserError::invalid(format!(
                "Column \"{}\" is chosen for both the text and the label. Choose two different columns.",
                columns[options.label_column]
            )));
        }
        if options.split_column == Some(options.label_column) {
            return Err(UserError::invalid(format!(
                "Column \"{}\" is chosen for both the label and the split. Choose two different columns.",
                columns[options.label_column]
            )));
        }
        Ok(Self {
            text,
            label: Some(options.label_column),
            split: options.split_column,
            names: options.label_names.clone(),
        })
    }

    /// Texts alone, or texts with labels that are trimmed and otherwise taken as they are.
    pub fn of_columns(text: usize, label: Option<usize>) -> Self {
        Self { text: TextPlan::Column(text), label, split: None, names: BTreeMap::new() }
    }

    /// The columns that rows are made of.
    pub fn needed(&self) -> Vec<usize> {
        let text: Vec<usize> = match &self.text {
            TextPlan::Column(column) => vec![*column],
            TextPlan::Template(pieces) => {
                let column = |piece: &Piece| if let Piece::Column(column) = piece { Some(*column) } else { None };
                pieces.iter().filter_map(column).collect()
            }
        };
        let mut needed: Vec<usize> = text.into_iter().chain(self.label).chain(self.split).collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The row, or why the record is none.
    pub fn row(&self, line: u64, fields: &Fields) -> Result<SourceRow, &'static str> {
        let text = self.text(fields)?;
        let label = self.label.map(|column| fields.get(column));
        let is_empty = |label: &str| label.trim().is_empty();
        match (text.as_str(), label) {
            _ if !is_text(&text) => return Err("the text holds bytes that are no text"),
            (_, Some(label)) if !is_text(label) => return Err("the label holds bytes that are no text"),
            ("", Some(label)) if is_empty(label) => return Err("empty text and empty label"),
            ("", _) => return Err("empty text"),
            (_, Some(label)) if is_empty(label) => return Err("empty label"),
            _ => {}
        }
        let part = self.split.and_then(|column| part_named(fields.get(column)));
        Ok(SourceRow { row: Row { line, text, label: self.name(label.unwrap_or_default()) }, part })
    }

    /// The text that the record gives, whatever it is worth.
    pub fn text(&self, fields: &Fields) -> Result<String, &'static str> {
        match &self.text {
            TextPlan::Column(column) => Ok(fields.get(*column).trim().to_string()),
            TextPlan::Template(pieces) => join(pieces, fields),
        }
    }

    /// What the label is called. White space around it belongs to it: without a person's consent, `a` and `a ` are two.
    fn name(&self, label: &str) -> String {
        let name = self.names.get(label).or_else(|| self.names.get(label.trim()));
        name.map_or_else(|| label.to_string(), |name| name.trim().to_string())
    }
}

/// The template with its fields. An empty field takes the words before it along, so that nothing is left of it.
fn join(pieces: &[Piece], fields: &Fields) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut words = "";
    let mut has_field = false;
    let mut is_first = true;
    let mut is_last_empty = false;
    for piece in pieces {
        let column = match piece {
            Piece::Words(piece) => {
                words = piece;
                continue;
            }
            Piece::Column(column) => *column,
        };
        let field = fields.get(column).trim();
        is_last_empty = field.is_empty();
        if !is_last_empty {
            // What separates two fields separates nothing where the first is missing.
            let is_separator = |letter: char| letter.is_whitespace() || letter.is_ascii_punctuation();
            text += if has_field || is_first { words } else { words.trim_start_matches(is_separator) };
            text += field;
            has_field = true;
            if text.len() > MAX_RECORD_BYTES {
                return Err("the joined text is longer than 1 MB");
            }
        }
        (words, is_first) = ("", false);
    }
    if has_field && !is_last_empty {
        text += words;
    }
    Ok(text.trim().to_string())
}

/// `{title}\n{body}` as words and columns; `{{` and `}}` stand for braces.
fn parse_template(template: &str, columns: &[String]) -> Result<Vec<Piece>, UserError> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(UserError::invalid("The template of the text is too long: at most 10,000 characters."));
    }
    let mut pieces = Vec::new();
    let mut words = String::new();
    let mut letters = template.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let is_twice = letters.peek().is_some_and(|(_, next)| *next == letter);
        match letter {
            '{' | '}' if is_twice => {
                words.push(letter);
                letters.next();
            }
            '{' => {
                let rest = &template[at + 1..];
                let Some(length) = rest.find('}') else {
                    return Err(UserError::invalid(
                        "A { in the template has no }. Write {column} for a column's field, or {{ for a brace.",
                    ));
                };
                let name = &rest[..length];
                while letters.next_if(|(place, _)| *place <= at + 1 + length).is_some() {}
                if !words.is_empty() {
                    pieces.push(Piece::Words(std::mem::take(&mut words)));
                }
                pieces.push(Piece::Column(find_column(columns, name)?));
            }
            _ => words.push(letter),
        }
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Column(_))) {
        return Err(UserError::invalid(format!(
            "The template names no column. Write a column's name in braces, such as {{{}}}.",
            columns.first().map_or("text", String::as_str)
        )));
    }
    if !words.is_empty() {
        pieces.push(Piece::Words(words));
    }
    Ok(pieces)
}

/// The column of that name, or of that name in other cases.
pub fn find_column(columns: &[String], name: &str) -> Result<usize, UserError> {
    let exact = columns.iter().position(|column| column == name);
    let found = exact.or_else(|| columns.iter().position(|column| column.eq_ignore_ascii_case(name.trim())));
    found.ok_or_else(|| {
        let name: String = name.chars().take(100).collect();
        let mut known = columns.iter().take(30).map(String::as_str).collect::<Vec<_>>().join(", ");
        if columns.len() > 30 {
            known += ", ...";
        }
        UserError::invalid(format!("There is no column \"{name}\"; the file has {known}."))
    })
}

/// The part that a word in a split column names.
pub fn part_named(word: &str) -> Option<Part> {
    let word = word.trim();
    if word.len() > 20 {
        return None;
    }
    match word.to_lowercase().as_str() {
        "train" | "training" | "eğitim" | "egitim" => Some(Part::Train),
        "validation" | "valid" | "val" | "dev" | "development" | "doğrulama" | "dogrulama" => Some(Part::Validation),
        "test" | "testing" | "eval" | "evaluation" => Some(Part::Test),
        _ => None,
    }
}

/// No zero bytes, and no replacement character, which is what the decoder writes for bytes that mean nothing in the
/// file's encoding. Other control characters are for the examination to find.
fn is_text(words: &str) -> bool {
    let bytes = words.as_bytes();
    let replacement = '\u{FFFD}'.len_utf8();
    memchr::memchr2_iter(0, 0xEF, bytes)
        .all(|at| bytes[at] != 0 && bytes.get(at..at + replacement) != Some("\u{FFFD}".as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::reading::FileFormat;

    fn options(text: TextSource, label_column: usize) -> ReadOptions {
        ReadOptions {
            format: FileFormat::Delimited,
            encoding: "UTF-8".to_string(),
            delimiter: ',',
            quote: Some('"'),
            has_header: true,
            member: None,
            sheet: None,
            text,
            label_column,
            split_column: None,
            label_names: BTreeMap::new(),
        }
    }

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_bad_row_has_its_reason() {
        let plan = Plan::new(&columns(&["text", "label"]), &options(TextSource::Column(0), 1)).unwrap();
        let row = |text: &str, label: &str| plan.row(7, &[text, label].into_iter().collect());
        for (text, label, reason) in [
            (" ", "a", "empty text"),
            ("x", "  ", "empty label"),
            ("", "", "empty text and empty label"),
            ("ab\u{FFFD}", "a", "the text holds bytes that are no text"),
            ("x", "\u{FFFD}", "the label holds bytes that are no text"),
            ("a\0b", "c", "the text holds bytes that are no text"),
        ] {
            assert_eq!(row(text, label).unwrap_err(), reason, "{text:?} {label:?}");
        }
        let good = row(" a\u{1}\u{FEFF} b\t", "c ").unwrap();
        assert_eq!(good.row, Row { line: 7, text: "a\u{1}\u{FEFF} b".into(), label: "c ".into() });
        assert_eq!(good.part, None);
    }

    #[test]
    fn labels_get_the_names_that_were_agreed_on() {
        let mut options = options(TextSource::Column(0), 1);
        options.split_column = Some(2);
        for (from, into) in [("1", "positive"), ("Positive ", "positive"), ("pos", " positive ")] {
            options.label_names.insert(from.to_string(), into.to_string());
        }
        let plan = Plan::new(&columns(&["text", "label", "split"]), &options).unwrap();
        assert_eq!(plan.needed(), [0, 1, 2]);
        for (label, name, word, part) in [
            ("1", "positive", "Training", Some(Part::Train)),
            (" 1", "positive", "dev", Some(Part::Validation)),
            ("Positive ", "positive", "eval ", Some(Part::Test)),
            ("pos", "positive", "", None),
            ("neg", "neg", "unsupervised", None),
        ] {
            let row = plan.row(1, &["x", label, word].into_iter().collect()).unwrap();
            assert_eq!((row.row.label.as_str(), row.part), (name, part), "{label}");
        }
    }

    #[test]
    fn a_template_joins_columns_and_empty_ones_leave_no_trace() {
        let columns = columns(&["title", "body", "label", "note"]);
        for (template, fields, text) in [
            ("{title}\n{body}", ["A", "b", "x", ""], "A\nb"),
            ("{title}\n{body}", ["", "b", "x", ""], "b"),
            ("{title}\n{body}", ["A", " ", "x", ""], "A"),
            ("{title}. {body}", ["", "b", "x", ""], "b"),
            ("Title: {TITLE}\nBody: {body}", ["", "b", "x", ""], "Body: b"),
            ("Title: {title}\nBody: {body}", ["A", "", "x", ""], "Title: A"),
            ("{title} ({body})", ["A", "b", "x", ""], "A (b)"),
            ("{title} ({body})", ["A", "", "x", ""], "A"),
            ("{{{title}}} {note}", ["A", "", "x", "n"], "{A} n"),
            ("{title}{body}", ["{body}", "b", "x", ""], "{body}b"),
        ] {
            let plan = Plan::new(&columns, &options(TextSource::Template(template.to_string()), 2)).unwrap();
            assert_eq!(plan.row(1, &fields.into_iter().collect()).unwrap().row.text, text, "{template} {fields:?}");
        }
        let plan = Plan::new(&columns, &options(TextSource::Template("{title} {body}".into()), 2)).unwrap();
        assert_eq!(plan.row(1, &["", " ", "x", "n"].into_iter().collect()).unwrap_err(), "empty text");
        let long = "x".repeat(MAX_RECORD_BYTES);
        assert!(plan.row(1, &[&long, "y", "x", "n"].into_iter().collect()).unwrap_err().contains("1 MB"));
    }

    #[test]
    fn columns_that_cannot_be_used_are_named() {
        let columns = columns(&["title", "body", "label"]);
        let mut with_split = options(TextSource::Column(0), 2);
        with_split.split_column = Some(2);
        for (options, words) in [
            (options(TextSource::Column(3), 2), "has 3 columns"),
            (options(TextSource::Column(0), 9), "has 3 columns"),
            (options(TextSource::Column(2), 2), "both the text and the label"),
            (options(TextSource::Template("{titel}".into()), 2), "\"titel\"; the file has title, body, label"),
            (options(TextSource::Template("{title} {label}".into()), 2), "both the text and the label"),
            (options(TextSource::Template("words".into()), 2), "such as {title}"),
            (options(TextSource::Template("{title".into()), 2), "has no }"),
            (with_split, "both the label and the split"),
        ] {
            let error = Plan::new(&columns, &options).err().unwrap();
            assert!(error.message.contains(words), "{error}");
        }
    }
}
