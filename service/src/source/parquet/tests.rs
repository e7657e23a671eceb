use super::*;
use crate::source::test_files::{ParquetWay, file, parquet};
use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

fn open(bytes: &[u8], needed: Option<&[usize]>) -> Result<ParquetRecords> {
    let file = file(bytes);
    ParquetRecords::open(&Container::open(file.path(), None).unwrap(), needed)
}

fn rows(records: &mut ParquetRecords) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    while let Some(record) = records.next_record()? {
        assert_eq!(record.unwrap(), rows.len() as u64 + 1);
        rows.push(records.fields().iter().map(String::from).collect());
    }
    Ok(rows)
}

fn texts(count: usize) -> Vec<u8> {
    let rows: Vec<Vec<String>> =
        (0..count).map(|row| vec![format!("text number {row}"), (row % 3).to_string()]).collect();
    let way = ParquetWay { compression: Compression::UNCOMPRESSED, group: 40, ..ParquetWay::default() };
    parquet(&["text".to_string(), "label".to_string()], &rows, &way)
}

/// A file of one row in that schema, its leaves written by `write`, one after the other.
fn written(schema: &str, write: impl Fn(usize, &mut ::parquet::file::writer::SerializedColumnWriter)) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::new())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut leaf = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        write(leaf, &mut column);
        column.close().unwrap();
        leaf += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn only_what_is_needed_is_read_and_the_labels_names_are_found() {
    let note = r#"{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}"#;
    let row = |text: &str, label: &str| vec![text.to_string(), label.to_string(), "more".to_string()];
    let columns = ["text", "label", "other"].map(String::from);
    let way = ParquetWay { note: Some(note), ..ParquetWay::default() };
    let bytes = parquet(&columns, &[row("a", "0"), row("", "1")], &way);
    let mut records = open(&bytes, Some(&[0, 1])).unwrap();
    assert_eq!(records.columns, columns);
    assert_eq!(rows(&mut records).unwrap(), [["a", "0", ""], ["", "1", ""]]);
    assert_eq!(records.share(), 1.0);
    assert_eq!(crate::source::names::find(&records.notes, "label").unwrap(), ["neg", "pos"]);
}

#[test]
fn numbers_dates_and_bytes_are_words() {
    let schema = "message schema { REQUIRED INT32 day (DATE); REQUIRED INT64 at (TIMESTAMP(MILLIS, true)); \
                  REQUIRED DOUBLE share; REQUIRED BYTE_ARRAY text; REQUIRED BYTE_ARRAY image; }";
    let bytes = written(schema, |leaf, column| {
        let bytes = |bytes: &[u8]| [ByteArray::from(bytes.to_vec())];
        let written = match leaf {
            0 => column.typed::<Int32Type>().write_batch(&[19_844], None, None),
            1 => column.typed::<Int64Type>().write_batch(&[1_714_564_800_000], None, None),
            2 => column.typed::<DoubleType>().write_batch(&[1.0], None, None),
            3 => column.typed::<ByteArrayType>().write_batch(&bytes("çay".as_bytes()), None, None),
            _ => column.typed::<ByteArrayType>().write_batch(&bytes(&[0xff, 0xd8, 0xff]), None, None),
        };
        written.unwrap();
    });
    let found = rows(&mut open(&bytes, None).unwrap()).unwrap();
    assert_eq!(found[0], ["2024-05-01", "2024-05-01 12:00:00 +00:00", "1.0", "çay", "(3 bytes)"]);
}

#[test]
fn conversations_in_lists_become_columns() {
    let schema = "message schema { REQUIRED BYTE_ARRAY id (UTF8); REQUIRED group messages (LIST) { REPEATED group list { \
                  REQUIRED group element { REQUIRED BYTE_ARRAY role (UTF8); REQUIRED BYTE_ARRAY content (UTF8); } } } }";
    let bytes = written(schema, |leaf, column| {
        let values = [vec!["7"], vec!["user", "assistant"], vec!["How?", "So."]][leaf].iter();
        let values: Vec<ByteArray> = values.map(|value| ByteArray::from(*value)).collect();
        let (levels, repeats): (Option<&[i16]>, Option<&[i16]>) =
            if leaf == 0 { (None, None) } else { (Some(&[1, 1]), Some(&[0, 1])) };
        column.typed::<ByteArrayType>().write_batch(&values, levels, repeats).unwrap();
    });
    let mut records = open(&bytes, None).unwrap();
    assert_eq!(
        (records.columns.join("|"), records.words),
        ("system|user|assistant|id".into(), Some("chat messages (OpenAI)"))
    );
    assert_eq!(rows(&mut records).unwrap(), [["", "How?", "So.", "7"]]);
}

#[test]
fn a_footer_that_lies_is_refused_in_words() {
    let good = texts(100);
    let length = good.len();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    for (bytes, words) in [
        (changed(&|bytes| bytes.truncate(length / 2)), "does not end as"),
        (changed(&|bytes| bytes[length - 8..length - 4].copy_from_slice(&[0xff; 4])), "longer than the file"),
        (changed(&|bytes| bytes[length - 8..length - 4].copy_from_slice(&[1, 0, 0, 0])), "damaged"),
        (changed(&|bytes| bytes[length - 1] = b'E'), "encrypted"),
        (b"PAR1".to_vec(), "does not end as"),
        (b"PAR1\0\0\0\0PAR1".to_vec(), "damaged"),
    ] {
        let error = open(&bytes, None).err().unwrap().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

/// Every byte of the file, one after the other, turned into others: an error or rows, and neither panic nor wait.
#[test]
fn a_file_with_any_byte_changed_is_read_or_refused() {
    let good = texts(50);
    std::panic::set_hook(Box::new(|_| {}));
    let (mut read, mut refused) = (0, 0);
    for place in 0..good.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[place] ^= change;
            match open(&bytes, None).and_then(|mut records| {
                let mut count = 0;
                while records.next_record()?.is_some() {
                    count += 1;
                }
                Ok(count)
            }) {
                Ok(count) => {
                    assert!(count <= 100, "{count} rows with byte {place} changed by {change}");
                    read += 1;
                }
                Err(ServiceError::User(_)) => refused += 1,
                Err(error) => panic!("byte {place}: {error}"),
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}
