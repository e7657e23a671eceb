use super::*;
use std::io::Write;

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn columns_are_found_by_name_and_labels_may_be_missing() {
    let file = file(b"id;Text;label\n1;good words;a\n2;;b\n3;fine;\n");
    let (rows, rejected) = read_table(file.path(), "text", Some("label")).unwrap();
    assert_eq!(rows, [Row { line: 2, text: "good words".into(), label: "a".into() }]);
    assert_eq!(rejected.len(), 2);
    let (rows, rejected) = read_table(file.path(), "Text", None).unwrap();
    assert_eq!((rows.len(), rejected.len()), (2, 1));
    let error = read_table(file.path(), "words", None).unwrap_err().to_string();
    assert!(error.contains("words") && error.contains("id, Text, label"), "{error}");
}

#[test]
fn a_file_of_texts_alone_has_one_column() {
    let file = file(b"text\nfirst\nsecond\n");
    assert_eq!(read_table(file.path(), "text", None).unwrap().0.len(), 2);
    assert!(read_table(file.path(), "text", Some("label")).is_err());
}
