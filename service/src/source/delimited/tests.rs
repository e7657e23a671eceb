use super::*;
use crate::source::container::Container;
use crate::source::decoded::PIECE_BYTES;
use encoding_rs::{Encoding, UTF_8, UTF_16LE, WINDOWS_1252};
use std::io::Write;

const COMMA: Dialect = Dialect { delimiter: b',', quote: Some(b'"') };

#[derive(Clone, Debug)]
struct Found {
    line: u64,
    fields: Vec<String>,
}

fn read_as(
    bytes: &[u8],
    encoding: &'static Encoding,
    dialect: Dialect,
    width: Option<usize>,
) -> Vec<std::result::Result<Found, RejectedRow>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let stream = Container::open(file.path(), None).unwrap().stream().unwrap();
    let mut records = DelimitedRecords::new(Decoded::new(stream, encoding), dialect);
    if let Some(width) = width {
        records.expect_width(width);
    }
    let mut all = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        all.push(record.map(|line| Found { line, fields: records.fields().iter().map(String::from).collect() }));
    }
    all
}

fn read(text: &str, width: Option<usize>) -> Vec<std::result::Result<Found, RejectedRow>> {
    read_as(text.as_bytes(), UTF_8, COMMA, width)
}

/// The slow twin: the csv crate, over everything that quotes, commas and line ends can do in a few characters.
#[test]
fn splits_as_the_csv_crate_does() {
    let alphabet = ['a', ',', '"', '\n', '\r'];
    for number in 0..5_usize.pow(6) {
        let mut rest = number;
        let text: String = (0..6)
            .map(|_| {
                let c = alphabet[rest % 5];
                rest /= 5;
                c
            })
            .collect();
        let mut expected: Vec<Vec<String>> = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes())
            .records()
            .map(|record| record.unwrap().iter().map(String::from).collect())
            .collect();
        // Lines of white space only are nothing here and a row with one field there.
        expected.retain(|fields| !(fields.len() == 1 && fields[0].trim().is_empty()));
        let found = read(&text, None);
        // An unclosed or stray quote is where the two part on purpose.
        if found.iter().any(|record| record.is_err()) {
            continue;
        }
        let mut found: Vec<Vec<String>> = found.into_iter().map(|record| record.unwrap().fields).collect();
        found.retain(|fields| !(fields.len() == 1 && fields[0].trim().is_empty()));
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn lines_are_counted_from_one_whatever_ends_them() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["text,label", "", "\"two", "lines\",a", "last,b"].join(end);
        let lines: Vec<u64> = read(&text, Some(2)).into_iter().map(|record| record.unwrap().line).collect();
        assert_eq!(lines, [1, 3, 5], "{end:?}");
    }
}

#[test]
fn a_quote_that_never_closes_costs_one_line() {
    for (text, bad_line) in [
        ("text,label\n\"never closed,a\ngood,a\nfine,b\n".to_string(), 2),
        // Closed by the quote of another row.
        ("text,label\n\"never closed,a\ngood,a\nfine,b\n\"quoted\",b\n".to_string(), 2),
        // Not closed within the largest record.
        (format!("text,label\n\"never closed,a\n{}", "good,a\n".repeat(300_000)), 2),
    ] {
        let records = read(&text, Some(2));
        let rejected: Vec<_> = records.iter().filter_map(|record| record.as_ref().err()).collect();
        assert_eq!(rejected.len(), 1, "{rejected:?}");
        assert_eq!(rejected[0].line, bad_line);
        assert!(rejected[0].reason.contains("quote"), "{}", rejected[0].reason);
        assert_eq!(rejected[0].excerpt, "\"never closed,a");
        assert_eq!(records.len(), text.lines().count());
    }
}

#[test]
fn a_line_longer_than_a_megabyte_is_passed_over() {
    let text = format!("text,label\n{},a\r\ngood,b\n", "x".repeat(3 * MAX_RECORD_BYTES));
    let records = read(&text, Some(2));
    assert_eq!(records.len(), 3);
    let rejected = records[1].as_ref().unwrap_err();
    assert!(rejected.reason.contains("1 MB"));
    assert!(rejected.excerpt.len() < 200);
    assert_eq!(records[2].as_ref().unwrap().line, 3);
    // And one that ends with the file.
    assert_eq!(read(&"x".repeat(2 * MAX_RECORD_BYTES), Some(2)).len(), 1);
}

#[test]
fn a_line_with_too_many_fields_is_passed_over() {
    let text = format!("text,label\n{}\ngood,b\n", "x,".repeat(1_000_000));
    let records = read(&text, Some(2));
    assert_eq!(records.len(), 3);
    let rejected = records[1].as_ref().unwrap_err();
    assert!(rejected.line == 2 && rejected.reason.contains("more than"), "{rejected:?}");
    assert_eq!(records[2].as_ref().unwrap().line, 3);
}

#[test]
fn a_row_with_the_wrong_number_of_fields_says_both_numbers() {
    let records = read("text,label\nonly\na,b,c\nx,y\n", Some(2));
    assert_eq!(records[1].as_ref().unwrap_err().reason, "expected 2 fields, found 1");
    assert_eq!(records[2].as_ref().unwrap_err().reason, "expected 2 fields, found 3");
    assert!(records[3].is_ok());
}

#[test]
fn another_character_quotes_or_none_does() {
    let fields = |quote: Option<u8>| {
        let text = "'it''s, so',\"a\"\n";
        read_as(text.as_bytes(), UTF_8, Dialect { delimiter: b',', quote }, None)[0].clone().unwrap().fields
    };
    assert_eq!(fields(Some(b'\'')), ["it's, so", "\"a\""]);
    assert_eq!(fields(None), ["'it''s", " so'", "\"a\""]);
}

#[test]
fn encodings_are_decoded_and_a_mark_at_the_beginning_is_no_text() {
    let first = |bytes: &[u8], encoding| read_as(bytes, encoding, COMMA, None)[0].clone().unwrap().fields;
    assert_eq!(first(b"caf\xe9,b\n", WINDOWS_1252), ["café", "b"]);
    assert_eq!(first(b"\xef\xbb\xbfcaf\xc3\xa9,b\n", UTF_8), ["café", "b"]);
    let utf_16: Vec<u8> = "\u{feff}café,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(first(&utf_16, UTF_16LE), ["café", "b"]);
    // A character that is cut by the edge of a piece is put together again.
    let long = format!("{}é,b\n", "x".repeat(PIECE_BYTES - 1));
    assert_eq!(first(long.as_bytes(), UTF_8)[0].chars().last(), Some('é'));
}
