//! The form that confirms an upload: words under field names, as a plain HTML form sends them and as they stand in the
//! address of the page, and how they become a [`ReadWish`] and an [`ImportRequest`].

use domain::dataset::LabelCount;
use domain::error::UserError;
use domain::reading::{FileFormat, ImportInto, ImportRequest, LabelMerge, ReadOptions, ReadWish, TextSource};
use domain::version::NOBODY;
use leptos_router::location::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was chosen and typed, by field. What is not there stays as it was detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImportForm(BTreeMap<String, String>);

/// Fields that say how the file is read, from the outermost layer to the innermost.
const READING: [&str; 12] = [
    "member",
    "format",
    "sheet",
    "encoding",
    "delimiter",
    "quote",
    "header",
    "text",
    "text_column",
    "template",
    "label_column",
    "split_column",
];

/// Fields that say what becomes of it.
const RESULT: [&str; 5] = ["upload", "name", "target", "into", "by"];

/// Before the number of a merge that was agreed to.
const MERGE: &str = "merge.";
/// Before the label, as the file has it, that gets a name.
const NAMED: &str = "named.";
/// Columns depend on everything that cuts the file into fields.
const COLUMNS: [&str; 5] = ["text", "text_column", "template", "label_column", "split_column"];

/// `split_column`: the file has none, whatever was detected.
pub const NO_SPLIT: &str = "none";
/// `quote`: no character quotes.
pub const NO_QUOTE: &str = "none";

/// A merge in its check box.
#[derive(Serialize, Deserialize)]
struct AgreedMerge {
    into: String,
    from: Vec<String>,
}

impl ImportForm {
    /// The form of an upload of which nothing is known yet.
    pub fn of(upload: &str) -> Self {
        let mut form = Self::default();
        form.set("upload", upload);
        form
    }

    /// A form from the address of its page. A plain form that is sent back to the page has other names there.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut form = Self::default();
        for field in READING.into_iter().chain(RESULT) {
            if let Some(words) = lookup(field).or_else(|| lookup(&format!("form[{field}]"))) {
                form.set(field, words);
            }
        }
        form
    }

    pub fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    pub fn set(&mut self, field: &str, words: impl Into<String>) {
        let words = words.into();
        match words.is_empty() {
            true => self.0.remove(field),
            false => self.0.insert(field.to_string(), words),
        };
    }

    /// Changes a field that says how the file is read, and forgets the choices that made sense only before: another
    /// file of the archive has other columns.
    pub fn choose(&mut self, field: &str, words: impl Into<String>) {
        let stale: &[&str] = match field {
            "member" => &READING[1..],
            "format" => &READING[2..],
            "sheet" | "delimiter" | "quote" => &COLUMNS,
            _ => &[],
        };
        for stale in stale {
            self.0.remove(*stale);
        }
        // What was agreed on labels holds for the labels that were in sight.
        if field != "split_column" && field != "template" {
            self.0.retain(|field, _| !field.starts_with(MERGE) && !field.starts_with(NAMED));
        }
        self.set(field, words);
    }

    /// The page on which this form stands. What was typed about labels is not in it.
    pub fn address(&self) -> String {
        let pairs = RESULT.into_iter().chain(READING).filter_map(|field| {
            let words = self.0.get(field)?;
            Some(format!("{field}={}", Url::escape(words)))
        });
        format!("/datasets/new?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// What is to be read otherwise than it was detected.
    pub fn wish(&self) -> ReadWish {
        let word = |field| Some(self.get(field)).filter(|words: &&str| !words.is_empty());
        ReadWish {
            format: word("format").and_then(FileFormat::parse),
            encoding: word("encoding").map(String::from),
            delimiter: word("delimiter").and_then(|words| words.chars().next()),
            quote: word("quote").map(|words| if words == NO_QUOTE { None } else { words.chars().next() }),
            has_header: word("header").map(|words| words == "yes"),
            member: word("member").map(String::from),
            sheet: word("sheet").map(String::from),
            text: self.text(),
            label_column: word("label_column").and_then(|words| words.parse().ok()),
            split_column: word("split_column").and_then(|words| words.parse().ok()),
        }
    }

    fn text(&self) -> Option<TextSource> {
        if self.get("text") == "template" {
            // Browsers send line breaks as CR LF.
            let template = self.get("template").replace("\r\n", "\n");
            return (!template.is_empty()).then_some(TextSource::Template(template));
        }
        self.get("text_column").parse().ok().map(TextSource::Column)
    }

    /// Agrees to a merge, or takes that back.
    pub fn agree(&mut self, place: usize, merge: &LabelMerge, agreed: bool) {
        let words = if agreed { merge_words(merge) } else { String::new() };
        self.set(&merge_field(place), words);
    }

    pub fn has_agreed(&self, place: usize) -> bool {
        !self.get(&merge_field(place)).is_empty()
    }

    /// What a label of the file is to be called; empty: as it is.
    pub fn name_of(&self, label: &str) -> &str {
        self.get(&named_field(label))
    }

    /// The request, given how the file was read with [`ImportForm::wish`].
    ///
    /// # Errors
    /// No dataset is chosen to add to, or a merge is none.
    pub fn request(&self, options: ReadOptions) -> Result<ImportRequest, UserError> {
        let split_column = if self.get("split_column") == NO_SPLIT { None } else { options.split_column };
        let label_names = self.label_names(&options)?;
        let by = self.get("by").trim();
        Ok(ImportRequest {
            name: self.get("name").trim().to_string(),
            options: ReadOptions { split_column, label_names, ..options },
            into: self.destination()?,
            by: if by.is_empty() { NOBODY.to_string() } else { by.chars().take(100).collect() },
        })
    }

    fn label_names(&self, options: &ReadOptions) -> Result<BTreeMap<String, String>, UserError> {
        // Names that the file brings count until a person writes others.
        let mut names = options.label_names.clone();
        for (field, words) in &self.0 {
            if let Some(label) = field.strip_prefix(NAMED) {
                names.insert(label.to_string(), words.trim().to_string());
            } else if field.starts_with(MERGE) {
                let merge: AgreedMerge = serde_json::from_str(words)
                    .map_err(|_| UserError::invalid("A merge of labels did not arrive whole. Choose it again."))?;
                names.extend(merge.from.into_iter().map(|label| (label, merge.into.clone())));
            }
        }
        names.retain(|label, name| !name.is_empty() && label != name);
        Ok(names)
    }

    fn destination(&self) -> Result<Option<ImportInto>, UserError> {
        let replace = match self.get("target") {
            "add" => false,
            "replace" => true,
            _ => return Ok(None),
        };
        let dataset = self
            .get("into")
            .parse()
            .map_err(|_| UserError::invalid("Choose the dataset that the file is to be added to."))?;
        Ok(Some(ImportInto { dataset, replace }))
    }
}

pub fn merge_field(place: usize) -> String {
    format!("{MERGE}{place}")
}

/// What the check box of a merge sends.
pub fn merge_words(merge: &LabelMerge) -> String {
    let from = merge.from.iter().map(|count: &LabelCount| count.label.clone()).collect();
    serde_json::to_string(&AgreedMerge { into: merge.into.clone(), from }).unwrap_or_default()
}

pub fn named_field(label: &str) -> String {
    format!("{NAMED}{label}")
}

/// `Headlines 2024` from `Headlines 2024.csv.gz`.
pub fn name_of_file(file_name: &str) -> String {
    const ENDINGS: [&str; 12] =
        ["csv", "tsv", "txt", "tab", "json", "jsonl", "ndjson", "parquet", "xlsx", "gz", "zst", "zip"];
    let mut name = file_name;
    while let Some((stem, ending)) = name.rsplit_once('.') {
        if stem.trim().is_empty() || !ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) {
            break;
        }
        name = stem;
    }
    name.trim().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ReadOptions {
        ReadOptions {
            format: FileFormat::Delimited,
            encoding: "UTF-8".into(),
            delimiter: ',',
            quote: Some('"'),
            has_header: true,
            member: None,
            sheet: None,
            text: TextSource::Column(0),
            label_column: 1,
            split_column: Some(2),
            label_names: BTreeMap::from([("0".to_string(), "negative".to_string())]),
        }
    }

    #[test]
    fn nothing_chosen_is_nothing_wished() {
        assert_eq!(ImportForm::of("x").wish(), ReadWish::default());
        let request = ImportForm::of("x").request(options()).unwrap();
        assert_eq!((request.options, request.into, request.by.as_str()), (options(), None, NOBODY));
    }

    #[test]
    fn an_address_keeps_what_was_chosen() {
        let mut form = ImportForm::of("0123");
        for (field, words) in [("delimiter", "\t"), ("quote", NO_QUOTE), ("header", "no"), ("encoding", "windows-1254")]
        {
            form.choose(field, words);
        }
        form.choose("text", "template");
        form.choose("template", "{title} & more\n{body}");
        let address = form.address();
        let query = address.split_once('?').unwrap().1;
        let pairs: BTreeMap<String, String> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(field, words)| (field.to_string(), Url::unescape(words)))
            .collect();
        let back = ImportForm::from_lookup(|field| pairs.get(field).cloned());
        assert_eq!(back, form);
        let wish = back.wish();
        assert_eq!((wish.delimiter, wish.quote, wish.has_header), (Some('\t'), Some(None), Some(false)));
        assert_eq!(wish.text, Some(TextSource::Template("{title} & more\n{body}".into())));

        // As a plain form sends it back to the page.
        let plain = ImportForm::from_lookup(|field| (field == "form[delimiter]").then(|| ";".to_string()));
        assert_eq!(plain.wish().delimiter, Some(';'));
    }

    #[test]
    fn another_layer_forgets_what_was_within() {
        let mut form = ImportForm::of("0123");
        form.choose("sheet", "Second");
        form.choose("label_column", "3");
        form.choose("encoding", "UTF-16LE");
        form.choose("delimiter", ";");
        assert_eq!((form.get("label_column"), form.get("encoding")), ("", "UTF-16LE"));
        form.choose("member", "b.csv");
        assert_eq!((form.get("sheet"), form.get("delimiter"), form.get("member")), ("", "", "b.csv"));
    }

    #[test]
    fn merges_count_only_where_they_were_agreed_to() {
        let count = |label: &str| LabelCount { label: label.into(), rows: 2 };
        let merge = LabelMerge {
            into: "positive".into(),
            from: vec![count("positive"), count("pos"), count("Positive ")],
            reason: String::new(),
        };
        let mut form = ImportForm::of("x");
        form.agree(0, &merge, true);
        form.set(&named_field("1"), " up ");
        form.set("split_column", NO_SPLIT);
        let request = form.request(options()).unwrap();
        let names: Vec<_> = request.options.label_names.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(names, [("0", "negative"), ("1", "up"), ("Positive ", "positive"), ("pos", "positive")]);
        assert_eq!(request.options.split_column, None);
        form.agree(0, &merge, false);
        assert_eq!(form.request(options()).unwrap().options.label_names.len(), 2);
        form.set("merge.1", "no JSON");
        assert!(form.request(options()).is_err());
    }

    #[test]
    fn a_dataset_to_add_to_is_chosen_or_missed() {
        let mut form = ImportForm::of("x");
        form.set("target", "replace");
        assert!(form.request(options()).is_err());
        form.set("into", "7");
        assert_eq!(form.request(options()).unwrap().into, Some(ImportInto { dataset: 7, replace: true }));
    }

    #[test]
    fn names_of_files_lose_their_endings() {
        for (file, name) in [
            ("Headlines 2024.csv.gz", "Headlines 2024"),
            ("train.parquet", "train"),
            ("v1.2 final.xlsx", "v1.2 final"),
            ("noending", "noending"),
            (".csv", ".csv"),
        ] {
            assert_eq!(name_of_file(file), name);
        }
    }
}
