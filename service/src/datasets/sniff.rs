//! What a file seems to be: a table or something else, its encoding, its delimiter, its text and label columns. All of it
//! is a proposal that a person confirms, except that what is no table is refused.

use super::read::{Record, Records};
use crate::error::{Result, ServiceError};
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use domain::dataset::{MAX_LABEL_CHARS, MAX_LABELS, ReadOptions};
use domain::error::UserError;
use encoding_rs::{Encoding, UTF_8};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];
/// Records that guesses are made from.
const SAMPLE_RECORDS: usize = 1000;
/// Bytes that tell what kind of file it is.
const BEGINNING_BYTES: usize = 64 * 1024;

/// A file's first records under one delimiter.
pub struct Sample {
    pub delimiter: char,
    pub header: Vec<String>,
    /// Those that could be read, whatever their number of fields.
    pub records: Vec<Record>,
}

/// Refuses what is no table, and says what it seems to be.
pub fn check_kind(path: &Path) -> Result<()> {
    let mut beginning = Vec::new();
    File::open(path)
        .and_then(|file| file.take(BEGINNING_BYTES as u64).read_to_end(&mut beginning))
        .map_err(|error| ServiceError::io(path, error))?;
    match name_kind(&beginning) {
        Some(problem) => Err(UserError::invalid(problem).into()),
        None => Ok(()),
    }
}

const EXPORT: &str = "Export the table as CSV, with one row per text and a column for the label, and upload that.";

/// What stands at the beginning of files that are no tables of text.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "an image or a sound"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"SQLite format 3", "a SQLite database"),
    (b"GGUF", "a language model (GGUF)"),
    (b"{\\rtf", "a rich-text document"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
];

/// Why these beginning bytes are no table, in words for the person; `None` if they may be one.
fn name_kind(beginning: &[u8]) -> Option<String> {
    let seems = |what: &str| Some(format!("This is no CSV file; it seems to be {what}. {EXPORT}"));
    if beginning.trim_ascii().is_empty() {
        return Some("The file is empty. Upload a CSV file with a header and one row per text.".to_string());
    }
    if beginning.starts_with(b"PK\x03\x04") {
        let holds = |name: &[u8]| beginning.windows(name.len()).any(|window| window == name);
        return seems(match () {
            () if holds(b"opendocument.spreadsheet") => "an OpenDocument spreadsheet (.ods)",
            () if holds(b"xl/") || holds(b"[Content_Types].xml") => "an Excel workbook (.xlsx)",
            () => "a zip archive; unpack it first",
        });
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        return seems(what);
    }
    if Encoding::for_bom(beginning).is_some() {
        return None;
    }
    let zeros = beginning.iter().filter(|byte| **byte == 0).count();
    if zeros * 3 > beginning.len() {
        return Some(
            "The file seems to be UTF-16 text without a byte-order mark. Save it as CSV in UTF-8 and upload that."
                .to_string(),
        );
    }
    // A stray zero byte spoils one row; more of them, or a crowd of other control bytes, are no text at all.
    let is_control = |byte: &&u8| matches!(byte, 0..=8 | 14..=26 | 28..=31);
    if beginning.iter().filter(is_control).count() * 50 > beginning.len() {
        return seems("a binary file");
    }
    let text = beginning.trim_ascii_start();
    let is_json = match text {
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')),
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')),
        _ => false,
    };
    if is_json {
        return seems("JSON");
    }
    let lower = text[..text.len().min(64)].to_ascii_lowercase();
    if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") || lower.starts_with(b"<?xml") {
        return seems("a web page or XML");
    }
    None
}

/// The encoding: the byte-order mark's, or UTF-8 where the file is that but for a few rows, or the one that its
/// letters speak for.
///
/// The whole file is looked at: the first letter beyond ASCII may stand anywhere.
pub fn detect_encoding(path: &Path) -> Result<&'static Encoding> {
    let mut file = File::open(path).map_err(|error| ServiceError::io(path, error))?;
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let mut odd_lines = OddLines::default();
    let (mut valid, mut invalid) = (0_u64, 0_u64);
    let mut bytes = Vec::new();
    let mut is_first = true;
    loop {
        let held = bytes.len();
        bytes.resize(held + BEGINNING_BYTES, 0);
        let read = file.read(&mut bytes[held..]).map_err(|error| ServiceError::io(path, error))?;
        bytes.truncate(held + read);
        if std::mem::take(&mut is_first)
            && let Some((encoding, _)) = Encoding::for_bom(&bytes)
        {
            return Ok(encoding);
        }
        detector.feed(&bytes[held..], read == 0);
        let rest = count_utf8(&bytes, read == 0, &mut valid, &mut invalid);
        odd_lines.collect(&bytes[held..]);
        if read == 0 {
            break;
        }
        bytes.drain(..rest);
    }
    // Letters beyond ASCII that are right as UTF-8 are so by design, never by chance.
    if invalid == 0 || valid > invalid {
        return Ok(UTF_8);
    }
    let guess = detector.guess(None, Utf8Detection::Deny);
    // A file of plain ASCII with a few broken bytes gets some guess, too. It is taken only if it makes sense of them;
    // else these rows are to be shown as what they are.
    Ok(if odd_lines.make_sense_in(guess) { guess } else { UTF_8 })
}

/// Counts characters beyond ASCII that are right as UTF-8 and bytes that are not; returns where an unfinished
/// character begins.
fn count_utf8(bytes: &[u8], is_end: bool, valid: &mut u64, invalid: &mut u64) -> usize {
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        *valid += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count() as u64;
        at += chunk.valid().len();
        let broken = chunk.invalid();
        if broken.is_empty() {
            continue;
        }
        let is_unfinished = at + broken.len() == bytes.len()
            && std::str::from_utf8(broken).is_err_and(|error| error.error_len().is_none());
        if is_unfinished && !is_end {
            return at;
        }
        *invalid += 1;
        at += broken.len();
    }
    at
}

/// The first lines that hold bytes beyond ASCII.
#[derive(Default)]
struct OddLines {
    lines: Vec<Vec<u8>>,
}

impl OddLines {
    fn collect(&mut self, bytes: &[u8]) {
        let odd = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_ascii());
        let room = 200_usize.saturating_sub(self.lines.len());
        self.lines.extend(odd.take(room).map(|line| line[..line.len().min(4096)].to_vec()));
    }

    fn make_sense_in(&self, encoding: &'static Encoding) -> bool {
        let sensible = self.lines.iter().filter(|line| {
            let (text, had_errors) = encoding.decode_without_bom_handling(line);
            !had_errors && is_plausible(&text)
        });
        sensible.count() * 2 > self.lines.len()
    }
}

/// Letters beyond ASCII stand in words, marks beyond ASCII are those that people type, and the Latin letters that
/// broken bytes turn into do not begin a word.
fn is_plausible(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    letters.iter().enumerate().all(|(at, letter)| {
        if letter.is_ascii() {
            return !letter.is_control() || letter.is_whitespace();
        }
        if !letter.is_alphabetic() {
            return !letter.is_control() && *letter != '\u{FFFD}';
        }
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1);
        match letter {
            // The bytes FF and FE, read as western European: at the end of a French name, at the beginning of an
            // Icelandic word, hardly elsewhere.
            'ÿ' | 'Ÿ' => before.is_some_and(|before| before.is_ascii_alphabetic()),
            'þ' | 'Þ' => after.is_some_and(|after| after.is_alphabetic()),
            _ => before.is_some_and(char::is_alphabetic) || after.is_some_and(|after| after.is_alphabetic()),
        }
    })
}

/// The first records under a delimiter.
pub fn sample(path: &Path, encoding: &'static Encoding, delimiter: char) -> Result<Sample> {
    let mut records = Records::open(path, encoding, delimiter)?;
    let header = match records.next_record()? {
        Some(Ok(record)) => record.fields,
        Some(Err(rejected)) => {
            return Err(UserError::invalid(format!(
                "The header cannot be read: line {}, {}.",
                rejected.line, rejected.reason
            ))
            .into());
        }
        None => return Err(UserError::invalid("The file is empty. It needs a header and one row per text.").into()),
    };
    let mut rows = Vec::new();
    while rows.len() < SAMPLE_RECORDS {
        match records.next_record()? {
            Some(Ok(record)) => rows.push(record),
            Some(Err(_)) => {}
            None => break,
        }
    }
    Ok(Sample { delimiter, header: name_columns(header), records: rows })
}

fn name_columns(header: Vec<String>) -> Vec<String> {
    let name = |(index, name): (usize, String)| match name.trim() {
        "" => format!("Column {}", index + 1),
        name => name.chars().take(100).collect(),
    };
    header.into_iter().enumerate().map(name).collect()
}

/// The sample under the delimiter that makes the most even table.
pub fn best_sample(path: &Path, encoding: &'static Encoding) -> Result<Sample> {
    let mut best: Option<(f64, Sample)> = None;
    for delimiter in DELIMITERS {
        let sample = sample(path, encoding, delimiter)?;
        let width = sample.header.len();
        if width < 2 {
            continue;
        }
        let even = sample.records.iter().filter(|record| record.fields.len() == width).count();
        let share = even as f64 / sample.records.len().max(1) as f64;
        // Among equally even tables the first delimiter of the list wins: it is the more usual one.
        if best.as_ref().is_none_or(|(best, _)| share > *best) {
            best = Some((share, sample));
        }
    }
    let Some((_, sample)) = best else {
        return Err(UserError::invalid(
            "The file has one column only. A text and its label are needed on every row, separated by a comma, a tab, a \
             semicolon or a pipe (|), under a header that names the columns.",
        )
        .into());
    };
    Ok(sample)
}

impl Sample {
    /// Which columns hold the texts and the labels, by their names and by what stands in them.
    pub fn propose(&self) -> ReadOptions {
        let columns: Vec<Column> = (0..self.header.len()).map(|index| self.describe(index)).collect();
        let label_column = pick(&columns, Column::label_score);
        let text_column =
            pick(&columns, |column| if column.index == label_column { f64::NEG_INFINITY } else { column.text_score() });
        ReadOptions { delimiter: self.delimiter, text_column, label_column }
    }

    fn describe(&self, index: usize) -> Column {
        let values: Vec<&str> = self
            .records
            .iter()
            .filter(|record| record.fields.len() == self.header.len())
            .map(|record| record.fields[index].trim())
            .filter(|value| !value.is_empty())
            .collect();
        let letters: usize = values.iter().map(|value| value.chars().count()).sum();
        let numbers = values.iter().filter(|value| value.parse::<f64>().is_ok()).count();
        Column {
            index,
            name: self.header[index].to_lowercase(),
            filled: values.len(),
            distinct: values.iter().collect::<BTreeSet<_>>().len(),
            mean_chars: letters as f64 / values.len().max(1) as f64,
            numeric_share: numbers as f64 / values.len().max(1) as f64,
        }
    }
}

struct Column {
    index: usize,
    name: String,
    filled: usize,
    distinct: usize,
    mean_chars: f64,
    numeric_share: f64,
}

const LABEL_NAMES: [&str; 12] = [
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
    "y",
];
const TEXT_NAMES: [&str; 14] = [
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
    "x",
];

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
}

fn named_as(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| name == *known || (known.len() > 3 && name.contains(known)))
}

/// The column with the highest score; the first among equals.
fn pick(columns: &[Column], score: impl Fn(&Column) -> f64) -> usize {
    let mut best = 0;
    for column in columns {
        if score(column) > score(&columns[best]) {
            best = column.index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn what_is_no_table_is_named() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b" \n\n", "empty"),
            (b"PK\x03\x04....[Content_Types].xml", "Excel"),
            (b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "OpenDocument"),
            (b"PK\x03\x04....readme.txt", "zip"),
            (b"PAR1\x15\x04", "Parquet"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"%PDF-1.7", "PDF"),
            (b"{\"text\": \"a\"}\n", "JSON"),
            (b"[\n  {\"text\": 1}]", "JSON"),
            (b"<!DOCTYPE html>", "web page"),
            (b"t\0e\0x\0t\0,\0l\0a\0b\0e\0l\0", "UTF-16"),
            (b"\x01\x02\x03\x04\x05abc", "binary"),
        ] {
            let problem = name_kind(bytes).unwrap_or_else(|| panic!("{bytes:?} passed"));
            assert!(problem.contains(word), "{problem}");
        }
        for table in [&b"text,label\na,b"[..], b"[a],b\n", b"\xff\xfet\0e\0x\0t\0", b"Product,Class\n"] {
            assert_eq!(name_kind(table), None, "{table:?}");
        }
    }

    #[test]
    fn the_encoding_is_found_and_broken_bytes_are_none() {
        let late = [b"text,label\n".to_vec(), b"plain,a\n".repeat(30_000), "café,b\n".as_bytes().to_vec()].concat();
        let late_latin = [b"text,label\n".to_vec(), b"plain,a\n".repeat(30_000), b"caf\xe9,b\n".to_vec()].concat();
        let russian = encoding_rs::WINDOWS_1251.encode("текст,метка\nприбыль компании выросла,да\n").0.into_owned();
        let some_broken = ["naïve über café,a\n".repeat(3).into_bytes(), b"bro\xffken,b\n".to_vec()].concat();
        for (bytes, name) in [
            (b"text,label\nplain,a\n".to_vec(), "UTF-8"),
            (late, "UTF-8"),
            (late_latin, "windows-1252"),
            (b"text,label\nna\xefve \x93quoted\x94 \x96 caf\xe9,a\n".to_vec(), "windows-1252"),
            (russian, "windows-1251"),
            (b"\xef\xbb\xbftext,label\n".to_vec(), "UTF-8"),
            (b"\xff\xfet\0,\0l\0\n\0".to_vec(), "UTF-16LE"),
            (some_broken, "UTF-8"),
            (b"text,label\nplain,a\n\xff\xfe broken,b\n".to_vec(), "UTF-8"),
            (b"text,label\nplain,a\nbroken \xff\xfe\xfd,b\n".to_vec(), "UTF-8"),
            (b"text,label\nplain,a\nbroken \xc3\x28,b\n".to_vec(), "UTF-8"),
            (b"text,label\nplain,a\n\x80\x81\x82 \xfe\xff,b\n".to_vec(), "UTF-8"),
        ] {
            let name_found = detect_encoding(file(&bytes).path()).unwrap().name();
            assert_eq!(name_found, name, "{:?}", String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(60)..]));
        }
    }

    #[test]
    fn delimiter_and_columns_are_proposed() {
        for (text, delimiter, text_column, label_column) in [
            ("text,label\nlong words here,pos\nother words,neg\nmore words,pos\n", ',', 0, 1),
            ("sentiment\theadline\npos\tProfit, revenue rose\nneg\tLoss, again\npos\tUp; up\nneg\tDown\n", '\t', 1, 0),
            ("id;body;kind\n1;Some text, with a comma;a\n2;Another text;b\n3;A third;a\n4;And on;b\n", ';', 1, 2),
            ("a|b\nsome long text|x\nanother long text|y\na third long text|x\na fourth text|y\n", '|', 0, 1),
            // Two rows only: nothing repeats, the names decide.
            ("category,comment\nx,short\ny,words\n", ',', 1, 0),
            ("id,stars,review_text\n1,5,good\n2,1,bad\n3,5,fine\n4,1,awful\n", ',', 2, 1),
        ] {
            let sample = best_sample(file(text.as_bytes()).path(), UTF_8).unwrap();
            assert_eq!(sample.propose(), ReadOptions { delimiter, text_column, label_column }, "{text}");
        }
    }

    #[test]
    fn one_column_is_no_table() {
        let error = best_sample(file(b"text\njust words\n").path(), UTF_8).err().unwrap();
        assert!(error.to_string().contains("one column"), "{error}");
    }
}
