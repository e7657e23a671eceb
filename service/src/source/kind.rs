//! What a file is, by its first bytes, and in words what it is where it is no table.

use super::encoding::utf_16_without_mark;
use domain::error::UserError;
use domain::reading::FileFormat;
use encoding_rs::{Encoding, UTF_8};

const EXPORT: &str = "Export the table as CSV, with one row per text and a column for the label, and upload that.";

/// What stands at the beginning of files that are no tables of text.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls); save it as .xlsx"),
    (b"ARROW1", "an Arrow file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "an image or a sound"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"SQLite format 3", "a SQLite database"),
    (b"GGUF", "a language model (GGUF)"),
    (b"{\\rtf", "a rich-text document"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
];

/// What stands before the names of the files in a tar archive.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// The format that the beginning of an unpacked file speaks for. Of a workbook, the zip directory tells, not this.
///
/// # Errors
/// What is no table, in words for the person.
pub fn recognise(beginning: &[u8]) -> Result<FileFormat, UserError> {
    let seems = |what: &str| Err(UserError::invalid(format!("This is no table; it seems to be {what}. {EXPORT}")));
    if beginning.trim_ascii().is_empty() {
        return Err(UserError::invalid("The file is empty. Upload a file with one row per text and its label."));
    }
    if beginning.starts_with(b"PAR1") {
        return Ok(FileFormat::Parquet);
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        return seems(what);
    }
    if beginning.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return seems("a tar archive; unpack it first");
    }
    let encoding =
        Encoding::for_bom(beginning).map(|(encoding, _)| encoding).or_else(|| utf_16_without_mark(beginning));
    if encoding.is_none() {
        // A stray zero byte spoils one row; more of them, or a crowd of other control bytes, are no text at all.
        let is_control = |byte: &&u8| matches!(byte, 0..=8 | 14..=26 | 28..=31);
        if beginning.iter().filter(is_control).count() * 50 > beginning.len() {
            return seems("a binary file");
        }
    }
    let (text, _) = encoding.unwrap_or(UTF_8).decode_with_bom_removal(beginning);
    let text = text.trim_start();
    let lower = text.chars().take(64).collect::<String>().to_ascii_lowercase();
    if lower.starts_with("<!doctype") || lower.starts_with("<html") || lower.starts_with("<?xml") {
        return seems("a web page or XML");
    }
    Ok(match () {
        () if !is_json(text) => FileFormat::Delimited,
        () if is_one_value_per_line(text) => FileFormat::JsonLines,
        () => FileFormat::Json,
    })
}

/// An object with a quoted key, or an array of objects, arrays or strings.
fn is_json(text: &str) -> bool {
    let mut marks = text.chars().filter(|letter| !letter.is_whitespace());
    match (marks.next(), marks.next()) {
        (Some('{'), next) => matches!(next, Some('"' | '}')),
        (Some('['), next) => matches!(next, Some('{' | '[' | '"')),
        _ => false,
    }
}

/// The first line is a JSON object or array, and so begins the second, if there is one. An object of columns on the
/// only line is no line of a row.
fn is_one_value_per_line(text: &str) -> bool {
    let (first, rest) = text.split_once(['\n', '\r']).unwrap_or((text, ""));
    let first = first.trim_end();
    if !(first.starts_with('{') && first.ends_with('}') || first.starts_with('[') && first.ends_with(']')) {
        return false;
    }
    let next = rest.trim_start();
    if !next.is_empty() {
        return next.starts_with(&first[..1]);
    }
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(first) else { return false };
    // One row: its values are plain, or a conversation.
    let is_rows = |value: &serde_json::Value| value.is_object() || value.is_array();
    !object.iter().any(|(key, value)| is_rows(value) && !matches!(key.as_str(), "messages" | "conversations"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_table_is_named() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b" \n\n", "empty"),
            (b"\xd0\xcf\x11\xe0", ".xlsx"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"%PDF-1.7", "PDF"),
            (b"<!DOCTYPE html>", "web page"),
            (b"\x01\x02\x03\x04\x05abc", "binary"),
            (b"\0\0\0\0\0\0\0\0", "binary"),
        ] {
            let problem = recognise(bytes).err().unwrap_or_else(|| panic!("{bytes:?} passed"));
            assert!(problem.message.contains(word), "{problem}");
        }
    }

    #[test]
    fn formats_are_recognised() {
        use FileFormat::{Delimited, Json, JsonLines, Parquet};
        for (bytes, format) in [
            (&b"text,label\na,b"[..], Delimited),
            (b"[a],b\n", Delimited),
            (b"\xff\xfet\0e\0x\0t\0", Delimited),
            (b"t\0e\0x\0t\0,\0l\0a\0b\0e\0l\0", Delimited),
            (b"Product,Class\n", Delimited),
            (b"PAR1\x15\x04", Parquet),
            (b"{\"text\": \"a\"}\n", JsonLines),
            (b"\xef\xbb\xbf{\"text\": \"a\"}\n{\"text\"", JsonLines),
            (b"{\0\"\0a\0\"\0:\x001\0}\0\n\0{\0", JsonLines),
            (b"[\"a\", \"b\"]\n[\"c\", \"d\"]\n", JsonLines),
            (b"{\"messages\": [{\"role\": \"user\"}]}\n", JsonLines),
            (b"[\n  {\"text\": 1}]", Json),
            (b"[{\"text\": 1}]", Json),
            (b"{\"data\": [{\"text\": 1}]}", Json),
            (b"{\"text\": {\"0\": \"a\"}}\n", Json),
            (b"{\n  \"text\": \"a\"", Json),
        ] {
            assert_eq!(recognise(bytes).unwrap(), format, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
