//! Whole files, from their bytes to rows.

use super::test_files::{ParquetWay, file, gzip, parquet, sheet_rows, workbook, zip, zstd};
use super::*;
use domain::reading::{Compression, FileFormat};

fn look(bytes: &[u8], wish: &ReadWish) -> Result<Detected> {
    detect(file(bytes).path(), wish)
}

fn look_as_it_is(bytes: &[u8]) -> Detected {
    look(bytes, &ReadWish::default()).unwrap()
}

/// Text, label and part.
type Taken = (String, String, Option<Part>);

/// What is proposed for the file, carried out.
fn rows_of(bytes: &[u8]) -> (Vec<Taken>, Vec<RejectedRow>) {
    let file = file(bytes);
    let options = detect(file.path(), &ReadWish::default()).unwrap().options;
    let (mut rows, mut rejected) = (Vec::new(), Vec::new());
    let mut share = 0.0;
    read(file.path(), &options, &mut |row, read| {
        assert!(read >= share && read <= 1.0, "{read} after {share}");
        share = read;
        match row {
            Ok(SourceRow { row, part }) => rows.push((row.text, row.label, part)),
            Err(row) => rejected.push(row),
        }
        Ok(true)
    })
    .unwrap();
    (rows, rejected)
}

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let error = look(bytes, &ReadWish::default()).err().unwrap_or_else(|| panic!("it was read"));
    assert!(matches!(error, crate::ServiceError::User(_)), "{error}");
    error.to_string()
}

const TABLE: &str = "text,label\nwarm sun,a\ncold rain,b\nmore sun,a\nmore rain,b\n";

#[test]
fn columns_are_found_by_name_and_labels_may_be_missing() {
    let table = file(b"id;Text;label\n1;good words;a \n2;;b\n3;fine;\n");
    let (rows, rejected) = read_table(table.path(), "text", Some("label")).unwrap();
    assert_eq!(rows, [Row { line: 2, text: "good words".into(), label: "a".into() }]);
    assert_eq!(rejected.len(), 2);
    let (rows, rejected) = read_table(table.path(), "Text", None).unwrap();
    assert_eq!((rows.len(), rejected.len()), (2, 1));
    let error = read_table(table.path(), "words", None).unwrap_err().to_string();
    assert!(error.contains("words") && error.contains("id, Text, label"), "{error}");
}

#[test]
fn a_file_of_texts_alone_has_one_column() {
    let texts = file(b"text\nfirst\nsecond\n");
    assert_eq!(read_table(texts.path(), "text", None).unwrap().0.len(), 2);
    assert!(read_table(texts.path(), "text", Some("label")).is_err());
}

#[test]
fn one_table_is_the_same_rows_in_every_format() {
    let rows: Vec<Vec<String>> =
        TABLE.lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect();
    let columns = ["text", "label"].map(String::from);
    let lines: String =
        rows.iter().map(|row| format!("{{\"text\": {:?}, \"label\": {:?}}}\n", row[0], row[1])).collect();
    let list = format!("[{}]", lines.trim_end().replace('\n', ","));
    let sheet = sheet_rows(TABLE.lines().map(|line| line.split(',')));
    let formats = [
        (TABLE.as_bytes().to_vec(), FileFormat::Delimited),
        (TABLE.replace(',', "\t").into_bytes(), FileFormat::Delimited),
        (TABLE.encode_utf16().flat_map(u16::to_le_bytes).collect(), FileFormat::Delimited),
        (lines.into_bytes(), FileFormat::JsonLines),
        (list.into_bytes(), FileFormat::Json),
        (parquet(&columns, &rows, &ParquetWay::default()), FileFormat::Parquet),
        (workbook(&[("Sheet", &sheet)], &[]), FileFormat::Excel),
    ];
    let expected: Vec<Taken> = rows.into_iter().map(|row| (row[0].clone(), row[1].clone(), None)).collect();
    for (bytes, format) in formats {
        for (wrapped, compression) in [
            (bytes.clone(), None),
            (gzip(&bytes), Some(Compression::Gzip)),
            (zstd(&bytes), Some(Compression::Zstd)),
            (zip(&[("readme.md", b"no"), ("data/table.csv", &bytes)]), Some(Compression::Zip)),
        ] {
            let detected = look_as_it_is(&wrapped);
            assert_eq!((detected.options.format, detected.compression), (format, compression));
            assert_eq!(detected.columns, columns);
            assert_eq!(rows_of(&wrapped), (expected.clone(), vec![]), "{format:?} {compression:?}");
        }
    }
}

#[test]
fn of_a_workbook_the_first_sheet_with_a_table_is_proposed() {
    let cover = sheet_rows([["Headlines of the year"], ["for the team"]]);
    let table = sheet_rows(TABLE.lines().map(|line| line.split(',')));
    let bytes = workbook(&[("Empty", ""), ("Cover", &cover), ("Rows", &table), ("More", &table)], &[]);
    let detected = look_as_it_is(&bytes);
    assert_eq!(detected.options.sheet.as_deref(), Some("Rows"));
    assert_eq!(detected.sheets, ["Empty", "Cover", "Rows", "More"]);
    assert_eq!(rows_of(&bytes).0.len(), 4);
    let error = refused(&workbook(&[("Empty", "")], &[]));
    assert!(error.contains("\"Empty\" of the workbook is empty"), "{error}");
}

#[test]
fn a_preview_shows_what_the_file_is_and_what_is_proposed() {
    let mut text = "headline;stand;part\n".to_string();
    for i in 0..40 {
        text += &format!(
            "Headline number {i};{};{}\n",
            ["pos", "Positive ", "neg"][i % 3],
            ["train", "dev", "test"][i % 3]
        );
    }
    text += "only two;fields\n;neg;train\n";
    let detected = look_as_it_is(text.as_bytes());
    assert_eq!((detected.options.delimiter, detected.options.has_header), (';', true));
    assert_eq!((detected.options.text, detected.options.label_column), (TextSource::Column(0), 1));
    assert_eq!(detected.options.split_column, Some(2));
    assert_eq!((detected.rows.len(), detected.texts[7].as_str()), (8, "Headline number 7"));
    assert_eq!(
        detected.labels.iter().map(|count| count.label.as_str()).collect::<Vec<_>>(),
        ["neg", "pos", "Positive "]
    );
    assert_eq!((detected.merges.len(), detected.merges[0].into.as_str()), (1, "pos"));
    // Nothing is merged unasked; white space that tells nothing apart is taken off.
    assert_eq!(detected.options.label_names.into_iter().collect::<Vec<_>>(), [("Positive ".into(), "Positive".into())]);
    assert!(!detected.labels_are_integers);
    assert_eq!(detected.rows_looked_at, 41);
    let trouble: Vec<(u64, &str)> = detected.trouble.iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(trouble, [(42, "expected 3 fields, found 2"), (43, "empty text")]);
    let (rows, _) = rows_of(text.as_bytes());
    assert_eq!(rows[1], ("Headline number 1".into(), "Positive".into(), Some(Part::Validation)));
}

#[test]
fn wishes_are_followed() {
    let wish = |change: fn(&mut ReadWish)| {
        let mut wish = ReadWish::default();
        change(&mut wish);
        look(TABLE.as_bytes(), &wish)
    };
    let detected = wish(|wish| wish.has_header = Some(false)).unwrap();
    assert_eq!((detected.columns, detected.rows.len()), (vec!["Column 1".to_string(), "Column 2".into()], 5));
    let detected = wish(|wish| (wish.text, wish.label_column) = (Some(TextSource::Column(1)), Some(0))).unwrap();
    assert_eq!(detected.texts[0], "a");
    let detected = wish(|wish| wish.text = Some(TextSource::Template("It says: {text}".into()))).unwrap();
    assert_eq!(detected.texts[0], "It says: warm sun");
    let error = wish(|wish| wish.text = Some(TextSource::Template("{txt}".into()))).unwrap_err().to_string();
    assert!(error.contains("\"txt\"; the file has text, label"), "{error}");
    for change in [
        (|wish: &mut ReadWish| wish.format = Some(FileFormat::Parquet)) as fn(&mut ReadWish),
        |wish| wish.format = Some(FileFormat::Excel),
        |wish| wish.format = Some(FileFormat::Json),
        |wish| wish.format = Some(FileFormat::JsonLines),
        |wish| wish.label_column = Some(7),
        |wish| wish.split_column = Some(7),
    ] {
        let error = wish(change).unwrap_err();
        assert!(matches!(error, crate::ServiceError::User(_)), "{error}");
    }
}

#[test]
fn instructions_and_conversations_have_their_texts_and_labels() {
    let alpaca = |instruction: fn(usize) -> String, input: &str| -> Detected {
        let line = |i: usize| {
            format!(
                "{{\"instruction\": {:?}, \"input\": \"{input}{}\", \"output\": \"{}\"}}\n",
                instruction(i),
                i % 7,
                i % 2
            )
        };
        look_as_it_is((0..20).map(line).collect::<String>().as_bytes())
    };
    let same = alpaca(|_| "Tell the mood.".into(), "words ");
    assert_eq!((same.options.text, same.options.label_column), (TextSource::Column(1), 2));
    assert_eq!(same.shape.as_deref(), Some("instructions (Alpaca)"));
    let both = alpaca(|i| format!("Tell mood {i}."), "words ");
    assert_eq!(both.texts[1], "Tell mood 1.\nwords 1");
    let chat: String = (0..20)
        .map(|i| format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"How {i}?\"}}, {{\"role\": \"assistant\", \"content\": \"{}\"}}]}}\n", ["good", "bad"][i % 2]))
        .collect();
    let (rows, _) = rows_of(chat.as_bytes());
    assert_eq!((rows.len(), &rows[0]), (20, &("How 0?".to_string(), "good".to_string(), None)));
}

#[test]
fn integers_are_named_by_what_the_file_or_the_archive_says() {
    let rows: Vec<Vec<String>> = (0..10).map(|i| vec![format!("text {i}"), (i % 2).to_string()]).collect();
    let columns = ["text", "label"].map(String::from);
    let note = r#"{"info": {"features": {"label": {"names": ["neg", "pos"]}}}}"#;
    let bytes = parquet(&columns, &rows, &ParquetWay { note: Some(note), ..ParquetWay::default() });
    let detected = look_as_it_is(&bytes);
    assert!(!detected.labels_are_integers);
    assert_eq!(rows_of(&bytes).0[1].1, "pos");
    let without = parquet(&columns, &rows, &ParquetWay::default());
    assert!(look_as_it_is(&without).labels_are_integers);
    let infos = r#"{"default": {"features": {"label": {"names": ["neg", "pos"]}}}}"#;
    let archive = zip(&[("set/dataset_infos.json", infos.as_bytes()), ("set/train.parquet", &without)]);
    let detected = look_as_it_is(&archive);
    assert_eq!(detected.members, ["set/train.parquet"]);
    assert_eq!(rows_of(&archive).0[1].1, "pos");
}

#[test]
fn a_file_of_an_archive_is_chosen() {
    let other = TABLE.replace("sun", "moon").repeat(3);
    let archive =
        zip(&[("small.csv", TABLE.as_bytes()), ("__MACOSX/small.csv", b"x"), ("large.csv", other.as_bytes())]);
    let detected = look_as_it_is(&archive);
    assert_eq!(detected.members, ["large.csv", "small.csv"]);
    assert_eq!(detected.options.member.as_deref(), Some("large.csv"));
    let wish = ReadWish { member: Some("small.csv".into()), ..ReadWish::default() };
    assert_eq!(look(&archive, &wish).unwrap().texts[0], "warm sun");
    let wish = ReadWish { member: Some("../../etc/passwd".into()), ..ReadWish::default() };
    assert!(look(&archive, &wish).unwrap_err().to_string().contains("holds no file"));
}

#[test]
fn what_unpacks_to_far_too_much_or_to_archives_is_refused() {
    let zeros = "x,y\n".repeat(80 << 18);
    for bomb in [gzip(zeros.as_bytes()), zip(&[("bomb.csv", zeros.as_bytes())]), zstd(zeros.as_bytes())] {
        assert!(bomb.len() < 1 << 20);
        assert!(refused(&bomb).contains("unpacks to far more"));
    }
    let packed = gzip(TABLE.as_bytes());
    for (bytes, words) in [
        (gzip(&packed), "archive inside an archive"),
        (zstd(&zip(&[("a.csv", TABLE.as_bytes())])), "archive inside an archive"),
        (zip(&[("a.csv", &packed)]), "archive inside an archive"),
        (zip(&[("a.csv.gz", &packed)]), "further archives"),
        (zip(&[("a.png", b"x")]), "no file that can be read"),
        (zip(&[("word/document.xml", b"x")]), "a Word document"),
        (zip(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")]), "OpenDocument"),
        (packed[..packed.len() / 2].to_vec(), "gzip file cannot be unpacked"),
        (zip(&[("a.csv", TABLE.as_bytes())])[..60].to_vec(), "zip archive cannot be unpacked"),
    ] {
        let error = refused(&bytes);
        assert!(error.contains(words), "{words}: {error}");
    }
    // A byte that was changed on the way is noticed, whether or not it still unpacks.
    let mut archive = zip(&[("a.csv", TABLE.repeat(50).as_bytes())]);
    archive[50] ^= 0x10;
    assert!(look(&archive, &ReadWish::default()).is_err());
}

#[test]
fn bad_cells_cost_their_rows_and_are_told_with_their_lines() {
    let long = "x".repeat(10 << 20);
    let text = format!("text,label\ngood,a\n{long},b\nna\0ught,a\nfine\u{1},b\nragged\n\"open,a\nlast,b\n");
    let (rows, rejected) = rows_of(text.as_bytes());
    assert_eq!(rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["good", "fine\u{1}", "last"]);
    let told: Vec<(u64, &str)> = rejected.iter().map(|row| (row.line, row.reason.as_str())).collect();
    for ((line, reason), (known, words)) in told.iter().zip([
        (3, "longer than 1 MB"),
        (4, "no text"),
        (6, "expected 2 fields, found 1"),
        (7, "never closes"),
    ]) {
        assert!(*line == known && reason.contains(words), "{told:?}");
    }
    assert_eq!(told.len(), 4);
    assert!(refused("a,".repeat(1_000_000).as_bytes()).contains("more than 2000 fields"));
}
