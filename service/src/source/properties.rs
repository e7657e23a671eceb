//! Any table, written in any dialect, format, encoding and wrapping, reads back the same.

use super::container::Container;
use super::records::Records;
use super::test_files::{ParquetWay, file, gzip, parquet, sheet_rows, workbook, zip, zstd};
use ::parquet::basic::Compression as ParquetCompression;
use domain::reading::{FileFormat, ReadOptions, TextSource};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, WINDOWS_1254};
use proptest::prelude::*;

type Table = Vec<Vec<String>>;

/// Fields of everything that has a meaning somewhere, beside letters of several scripts.
fn field() -> impl Strategy<Value = String> {
    let letters = prop::char::ranges(vec!['a'..='e', '0'..='2', '\u{e0}'..='\u{ff}', 'Ā'..='ƿ', '一'..='三'].into());
    let marks = prop::sample::select(vec![
        '"', '\'', ',', '\t', ';', '|', '\n', '\r', ' ', '\\', '{', '}', '[', ']', ':', '&', '<', '>', '\u{1}',
        '\u{85}', '\u{feff}', '😀', '=',
    ]);
    prop::collection::vec(prop_oneof![3 => letters, 2 => marks], 0..12).prop_map(String::from_iter)
}

/// A header and rows of the same width; the first field is never empty, so that no row is an empty line.
fn table() -> impl Strategy<Value = Table> {
    (2_usize..5).prop_flat_map(|width| {
        prop::collection::vec(prop::collection::vec(field(), width), 1..12).prop_map(move |mut rows| {
            rows.iter_mut().for_each(|row| row[0].insert(0, 'x'));
            rows.insert(0, (0..width).map(|column| format!("column {column}")).collect());
            rows
        })
    })
}

fn options(format: FileFormat, encoding: &'static Encoding) -> ReadOptions {
    ReadOptions {
        format,
        encoding: encoding.name().to_string(),
        delimiter: ',',
        quote: Some('"'),
        has_header: true,
        member: None,
        sheet: None,
        text: TextSource::Column(0),
        label_column: 1,
        split_column: None,
        label_names: Default::default(),
    }
}

fn read_back(bytes: &[u8], options: &ReadOptions) -> Table {
    let file = file(bytes);
    let container = Container::open(file.path(), None).unwrap();
    let mut records = Records::open(&container, options, None).unwrap();
    let mut table = vec![records.columns().to_vec()];
    while let Some(record) = records.next_record().unwrap() {
        record.unwrap();
        table.push(records.fields().iter().map(String::from).collect());
    }
    assert!(records.share() > 0.0 && records.share() <= 1.0);
    table
}

/// Wraps the file in what is chosen.
fn wrapped(bytes: Vec<u8>, wrapping: usize) -> Vec<u8> {
    match wrapping {
        0 => bytes,
        1 => gzip(&bytes),
        2 => zstd(&bytes),
        _ => zip(&[("notes/read me.md", b"no data"), ("table.csv", &bytes)]),
    }
}

/// What can be written in the encoding; the rest is a question mark. Not in UTF-16, which encoding_rs only reads.
fn encoded(text: &str, encoding: &'static Encoding, has_mark: bool) -> Vec<u8> {
    let marked = if has_mark { format!("\u{feff}{text}") } else { text.to_string() };
    match encoding {
        _ if encoding == UTF_16LE => marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ if encoding == UTF_16BE => marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ if encoding == UTF_8 => marked.into_bytes(),
        _ => encoding.encode(text).0.into_owned(),
    }
}

fn encodable(field: &str, encoding: &'static Encoding) -> String {
    if [UTF_8, UTF_16LE, UTF_16BE].contains(&encoding) {
        return field.to_string();
    }
    let or_mark = |letter: char| if encoding.encode(letter.encode_utf8(&mut [0; 4])).2 { '?' } else { letter };
    field.chars().map(or_mark).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delimited_rows_read_back(
        mut table in table(),
        delimiter in prop::sample::select(vec![',', '\t', ';', '|']),
        quote in prop::sample::select(vec![Some('"'), Some('\''), None]),
        quotes_all in any::<bool>(),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        ends_line in any::<bool>(),
        encoding in prop::sample::select(vec![UTF_8, UTF_16LE, UTF_16BE, WINDOWS_1252, WINDOWS_1254]),
        has_mark in any::<bool>(),
        has_header in any::<bool>(),
        wrapping in 0_usize..4,
    ) {
        for field in table.iter_mut().flatten() {
            *field = encodable(field, encoding);
            // Where nothing quotes, what has a meaning cannot be written.
            if quote.is_none() {
                field.retain(|letter| letter != delimiter && letter != '\n' && letter != '\r');
            }
        }
        let written = |field: &String| match quote {
            Some(quote) if quotes_all || field.contains([quote, delimiter, '\n', '\r']) => {
                format!("{quote}{}{quote}", field.replace(quote, &format!("{quote}{quote}")))
            }
            _ => field.clone(),
        };
        let line = |row: &Vec<String>| row.iter().map(written).collect::<Vec<_>>().join(&delimiter.to_string());
        let rows = if has_header { &table[..] } else { &table[1..] };
        let mut text = rows.iter().map(line).collect::<Vec<_>>().join(line_end);
        if ends_line {
            text += line_end;
        }
        let bytes = wrapped(encoded(&text, encoding, has_mark), wrapping);
        let options = ReadOptions { delimiter, quote, has_header, ..options(FileFormat::Delimited, encoding) };
        let found = read_back(&bytes, &options);
        prop_assert_eq!(&found[1..], &table[1..]);
        prop_assert_eq!(found[0] == table[0], has_header);
    }

    #[test]
    fn json_reads_back(
        table in table(),
        layout in 0_usize..6,
        encoding in prop::sample::select(vec![UTF_8, UTF_16LE]),
        is_pretty in any::<bool>(),
        wrapping in 0_usize..4,
    ) {
        use serde_json::{Map, Value, json};
        let object = |row: &Vec<String>| -> Value {
            Value::Object(table[0].iter().cloned().zip(row.iter().cloned().map(Value::from)).collect::<Map<_, _>>())
        };
        let objects: Vec<Value> = table[1..].iter().map(object).collect();
        let rows = || (0..objects.len()).map(|row| row.to_string());
        let columns = |is_list: bool| -> Value {
            let column = |index: usize| -> Value {
                let values = table[1..].iter().map(|row| Value::from(row[index].clone()));
                if is_list { values.collect() } else { Value::Object(rows().zip(values).collect()) }
            };
            Value::Object(table[0].iter().cloned().zip((0..table[0].len()).map(column)).collect())
        };
        let value = match layout {
            0 => Value::Array(objects.clone()),
            1 => json!({"about": {"x": [1]}, "rows": objects}),
            2 => columns(true),
            // Rows as keys stand in the order of their names here.
            3 if objects.len() <= 10 => columns(false),
            4 => json!({"columns": table[0], "data": table[1..]}),
            _ => Value::Null,
        };
        let (text, format) = match value {
            Value::Null => {
                let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
                (lines.join("\n"), FileFormat::JsonLines)
            }
            value if is_pretty => (serde_json::to_string_pretty(&value).unwrap(), FileFormat::Json),
            value => (value.to_string(), FileFormat::Json),
        };
        let bytes = wrapped(encoded(&text, encoding, false), wrapping);
        prop_assert_eq!(read_back(&bytes, &options(format, encoding)), table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parquet_reads_back(
        table in table(),
        has_dictionary in any::<bool>(),
        compression in prop::sample::select(vec![
            ParquetCompression::UNCOMPRESSED, ParquetCompression::SNAPPY, ParquetCompression::ZSTD(Default::default()),
            ParquetCompression::GZIP(Default::default()), ParquetCompression::LZ4_RAW,
            ParquetCompression::BROTLI(Default::default()),
        ]),
        group in 1_usize..6,
        wrapping in 0_usize..3,
    ) {
        let way = ParquetWay { has_dictionary, compression, group, note: None };
        let bytes = wrapped(parquet(&table[0], &table[1..], &way), wrapping);
        prop_assert_eq!(read_back(&bytes, &options(FileFormat::Parquet, UTF_8)), table);
    }

    #[test]
    fn workbooks_read_back(mut table in table(), wrapping in 0_usize..3) {
        for field in table.iter_mut().flatten() {
            // XML has no control characters, and makes one line end of every kind of it.
            field.retain(|letter| !letter.is_control() || letter == '\n' || letter == '\t');
        }
        let rows = sheet_rows(table.iter().map(|row| row.iter().map(String::as_str)));
        let bytes = wrapped(workbook(&[("Sheet 1", &rows)], &[]), wrapping);
        prop_assert_eq!(read_back(&bytes, &options(FileFormat::Excel, UTF_8)), table);
    }
}
