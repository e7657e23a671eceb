use super::*;
use crate::source::test_files::{file, sheet_rows, workbook, zip};

struct Read {
    columns: Vec<String>,
    sheets: Vec<String>,
    rows: Vec<std::result::Result<(u64, Vec<String>), RejectedRow>>,
}

fn read(bytes: &[u8], sheet: Option<&str>) -> Result<Read> {
    let file = file(bytes);
    let container = Container::open(file.path(), None).unwrap();
    let mut records = ExcelRecords::open(&container, sheet, None)?;
    let mut rows = Vec::new();
    while let Some(record) = records.next_record()? {
        rows.push(record.map(|line| (line, records.fields().iter().map(String::from).collect())));
    }
    Ok(Read { columns: records.columns, sheets: records.sheets, rows })
}

#[test]
fn cells_are_read_as_people_see_them() {
    let header = sheet_rows([["text", "label", "x"]]);
    let cells = "<row r=\"3\"><c r=\"A3\" t=\"s\"><v>0</v></c><c r=\"C3\"><v>1.0</v></c></row>\
                 <row r=\"4\"><c r=\"A4\" s=\"1\"><v>45413</v></c><c r=\"B4\" s=\"2\"><v>45413.5</v></c>\
                 <c r=\"C4\" s=\"3\"><v>1.0004166</v></c></row>\
                 <row r=\"5\"><c r=\"A5\"><v>0.30000000000000004</v></c><c r=\"B5\" t=\"b\"><v>1</v></c>\
                 <c r=\"C5\" t=\"e\"><v>#N/A</v></c></row>\
                 <row r=\"6\"><c r=\"A6\" t=\"str\"><f>A1&amp;B1</f><v>sum</v></c><c r=\"B6\"><v>-12345678901</v></c></row>\
                 <row r=\"7\"><c r=\"B7\" s=\"1\"/></row>\
                 <row r=\"8\"><c r=\"A8\"><v>1</v></c><c r=\"E8\"><v>2</v></c></row>";
    let read = read(&workbook(&[("Data", &format!("{header}{cells}"))], &["çay & <süt>"]), None).unwrap();
    assert_eq!(read.columns, ["text", "label", "x"]);
    let good: Vec<(u64, Vec<&str>)> = read.rows[..4]
        .iter()
        .map(|row| row.as_ref().unwrap())
        .map(|(line, fields)| (*line, fields.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        good,
        [
            (3, vec!["çay & <süt>", "", "1"]),
            (4, vec!["2024-05-01", "2024-05-01 12:00:00", "24:00:36"]),
            (5, vec!["0.3", "TRUE", "#N/A"]),
            (6, vec!["sum", "-12345678901", ""]),
        ]
    );
    let rejected = read.rows[4].as_ref().unwrap_err();
    assert!(rejected.line == 8 && rejected.reason.contains("column 5"), "{rejected:?}");
}

#[test]
fn sheets_are_listed_and_chosen() {
    let first = sheet_rows([["text", "label"], ["a", "b"]]);
    let second = sheet_rows([["words", "kind"], ["c", "d"]]);
    let bytes = workbook(&[("One & only", &first), ("Two", &second), ("Empty", "")], &[]);
    let by_default = read(&bytes, None).unwrap();
    assert_eq!(
        (by_default.sheets, by_default.columns),
        (vec!["One & only".into(), "Two".into(), "Empty".into()], vec!["text".to_string(), "label".into()])
    );
    assert_eq!(read(&bytes, Some("Two")).unwrap().columns, ["words", "kind"]);
    for (sheet, words) in
        [("Three", "no sheet \"Three\"; it has One & only, Two"), ("Empty", "\"Empty\" of the workbook is empty")]
    {
        let error = read(&bytes, Some(sheet)).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_sheet_that_is_left_half_read_lets_go() {
    let rows = sheet_rows((0..5000).map(|_| ["some words", "a"]));
    let file = file(&workbook(&[("Long", &rows)], &[]));
    let mut records = ExcelRecords::open(&Container::open(file.path(), None).unwrap(), None, Some(false)).unwrap();
    assert!(records.next_record().unwrap().is_some());
    let thread = records.rows.thread.take().unwrap();
    drop(records);
    thread.join().unwrap().unwrap();
}

#[test]
fn hostile_workbooks_are_refused_in_words() {
    let plain = sheet_rows([["text", "label"], ["a", "b"]]);
    let far = "<row r=\"1\"><c r=\"A1\"><v>1</v></c><c r=\"XFD1\"><v>1</v></c></row>";
    let long = sheet_rows([["text", "label"], [&"x".repeat(20 << 20), "b"]]);
    let mut strings = workbook(&[("S", &plain)], &["x"]);
    let at = strings.windows(2).position(|pair| pair == b"PK").unwrap();
    assert_eq!(at, 0);
    strings.truncate(strings.len() / 2);
    let claimed = |count: &str| {
        let sst = format!("<sst uniqueCount=\"{count}\"><si><t>x</t></si></sst>");
        let mut files = vec![("xl/sharedStrings.xml", sst.as_bytes())];
        files.push(("[Content_Types].xml", b"<Types/>"));
        files.push(("xl/workbook.xml", b"<workbook/>"));
        zip(&files)
    };
    for (bytes, words) in [
        (workbook(&[("S", far)], &[]), "more than 2000 columns"),
        (workbook(&[("S", &long)], &[]), "far more than a table"),
        (claimed("99999999999"), "more texts than it has"),
        (claimed("999999999999999999999999"), "more texts than it has"),
        (claimed("1"), "damaged"),
        (workbook(&[("S", "<row><c><v>1</v></row></c>")], &[]), "damaged"),
        (workbook(&[], &[]), "no sheet"),
    ] {
        let error = read(&bytes, None).err().unwrap().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    // A long cell that would not be a bomb costs its row.
    let noise: String =
        (0..1_500_000_u32).map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let read =
        read(&workbook(&[("S", &sheet_rows([["text", "label"], [&noise, "b"], ["c", "d"]]))], &[]), None).unwrap();
    assert!(read.rows[0].as_ref().unwrap_err().reason.contains("1 MB"));
    assert!(read.rows[1].is_ok());
}
