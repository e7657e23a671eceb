use super::*;
use encoding_rs::{UTF_8, UTF_16LE};
use std::io::Write;

struct Read {
    columns: Vec<String>,
    rows: Vec<std::result::Result<(u64, Vec<String>), RejectedRow>>,
}

fn read_as(bytes: &[u8], encoding: &'static Encoding, format: FileFormat) -> Result<Read> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let container = Container::open(file.path(), None).unwrap();
    let mut records = JsonRecords::open(&container, encoding, format, None)?;
    let mut rows = Vec::new();
    while let Some(record) = records.next_record()? {
        rows.push(record.map(|line| (line, records.fields().iter().map(String::from).collect())));
    }
    Ok(Read { columns: records.columns, rows })
}

fn read(text: &str) -> Result<Read> {
    read_as(text.as_bytes(), UTF_8, FileFormat::Json)
}

fn good(read: &Read) -> Vec<Vec<&str>> {
    read.rows.iter().flatten().map(|(_, fields)| fields.iter().map(String::as_str).collect()).collect()
}

#[test]
fn the_same_rows_are_found_in_every_layout() {
    for text in [
        r#"[{"t": "a", "l": 1}, {"t": "b", "l": 2}]"#,
        r#"{"version": [1, 2], "data": [{"t": "a", "l": 1}, {"t": "b", "l": 2}], "more": [{"x": 1}]}"#,
        r#"{"0": {"t": "a", "l": 1}, "1": {"t": "b", "l": 2}}"#,
        r#"{"p": {"t": "a", "l": 1}, "q": {"t": "b", "l": 2}, "r": {}}"#,
        r#"{"t": {"0": "a", "1": "b"}, "l": {"0": 1, "1": 2}}"#,
        r#"{"t": ["a", "b"], "l": [1, 2]}"#,
        r#"{"columns": ["t", "l"], "index": [0, 1], "data": [["a", 1], ["b", 2]]}"#,
        r#"{"schema": {"fields": []}, "data": [{"t": "a", "l": 1}, {"t": "b", "l": 2}]}"#,
    ] {
        let found = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.columns, ["t", "l"], "{text}");
        assert_eq!(good(&found)[..2], [["a", "1"], ["b", "2"]], "{text}");
    }
    let lines = "{\"t\": \"a\", \"l\": 1}\n\n{\"t\": \"b\", \"l\": 2}\r\n";
    let utf_16: Vec<u8> = lines.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, encoding) in [(lines.as_bytes(), UTF_8), (&utf_16, UTF_16LE)] {
        let found = read_as(bytes, encoding, FileFormat::JsonLines).unwrap();
        assert_eq!(good(&found), [["a", "1"], ["b", "2"]]);
        assert_eq!(found.rows[1].as_ref().unwrap().0, 3);
    }
}

#[test]
fn lists_that_are_parts_of_a_split_are_all_read() {
    let found = read(r#"{"train": [{"t": "a"}], "test": [{"t": "b"}, {"t": "c"}]}"#).unwrap();
    assert_eq!(found.columns, ["t", "split"]);
    assert_eq!(good(&found), [["a", "train"], ["b", "test"], ["c", "test"]]);
}

#[test]
fn rows_that_are_none_have_their_line_and_the_others_are_read() {
    let long = "x".repeat(3 << 20);
    let text = format!(
        "[\n{{\"t\": \"a\"}},\n{{\"t\": nonsense}},\n7,\n{{\"t\": \"{long}\"}},\n{{\"t\": \"b\"}},\n{{\"t\": \"c"
    );
    let found = read(&text).unwrap();
    assert_eq!(good(&found), [["a"], ["b"]]);
    let bad: Vec<(u64, &str)> =
        found.rows.iter().filter_map(|row| row.as_ref().err()).map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(bad.len(), 4, "{bad:?}");
    for ((line, reason), (known, word)) in
        bad.into_iter().zip([(3, "not valid JSON"), (4, "must be an object"), (5, "1 MB"), (7, "cut")])
    {
        assert!(line == known && reason.contains(word), "{line}: {reason}");
    }
    let lines = format!("{{\"t\": \"a\"}}\nnonsense\n\"{long}\"\n{{\"t\": \"b\"}}");
    let found = read_as(lines.as_bytes(), UTF_8, FileFormat::JsonLines).unwrap();
    assert_eq!(found.rows.iter().map(|row| row.is_ok()).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(found.rows[3].as_ref().unwrap().0, 4);
}

#[test]
fn files_that_hold_no_rows_or_break_off_are_refused_with_the_line() {
    for (text, words) in [
        ("7", "no JSON object"),
        ("{\"a\": 1, \"b\": \"x\"}", "one object without rows"),
        ("[\n{\"t\": 1}\n{\"t\": 2}]", "line 3"),
        ("{\"data\" [{\"t\": 1}]}", "line 1"),
        ("{\"t\": [1, 2], \"l\": [1]}", "do not fit"),
        ("{\"t\": [1], \"l\": [1, 2]}", "do not fit"),
        ("{\"t\": {\"0\": 1, \"1\": 2}, \"l\": {\"0\": 1, \"2\": 2}}", "do not fit"),
    ] {
        let error = read(text).err().unwrap_or_else(|| panic!("{text} passed")).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let keys: Vec<String> = (0..3000).map(|key| format!("\"k{key}\": 1")).collect();
    let error = read(&format!("[{{{}}}]", keys.join(", "))).err().unwrap().to_string();
    assert!(error.contains("more than 2000 columns"), "{error}");
}

#[test]
fn what_names_the_labels_is_kept() {
    let text =
        r#"{"features": [{"name": "label", "type": {"names": ["neg", "pos"]}}], "rows": [{"text": "a", "label": 1}]}"#;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let container = Container::open(file.path(), None).unwrap();
    let records = JsonRecords::open(&container, UTF_8, FileFormat::Json, None).unwrap();
    assert_eq!(records.columns, ["text", "label"]);
    assert_eq!(records.notes.len(), 1);
}
