//! Files for tests, written by other code than that which reads them.

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::Type;
use std::io::Write;
use std::sync::Arc;
use zip::write::SimpleFileOptions;

pub fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// How a Parquet file is written.
pub struct ParquetWay<'a> {
    pub has_dictionary: bool,
    pub compression: Compression,
    /// Rows of a group.
    pub group: usize,
    /// The metadata that the Hugging Face datasets library writes.
    pub note: Option<&'a str>,
}

impl Default for ParquetWay<'_> {
    fn default() -> Self {
        Self { has_dictionary: true, compression: Compression::SNAPPY, group: 1000, note: None }
    }
}

/// Columns of texts; an empty field is a null.
pub fn parquet(columns: &[String], rows: &[Vec<String>], way: &ParquetWay) -> Vec<u8> {
    let column = |name: &String| {
        let column = Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(Some(LogicalType::String));
        Arc::new(column.build().unwrap())
    };
    let schema = Type::group_type_builder("schema").with_fields(columns.iter().map(column).collect()).build().unwrap();
    let note = way.note.map(|note| vec![KeyValue::new("huggingface".to_string(), note.to_string())]);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(way.has_dictionary)
        .set_compression(way.compression)
        .set_key_value_metadata(note)
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    for rows in rows.chunks(way.group) {
        let mut group = writer.next_row_group().unwrap();
        let mut index = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            let fields = rows.iter().map(|row| row[index].as_str());
            let levels: Vec<i16> = fields.clone().map(|field| i16::from(!field.is_empty())).collect();
            let values: Vec<ByteArray> = fields.filter(|field| !field.is_empty()).map(ByteArray::from).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
            index += 1;
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

pub fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A workbook of sheets, each given as the XML of its rows.
pub fn workbook(sheets: &[(&str, &str)], shared: &[&str]) -> Vec<u8> {
    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
    let numbered = || sheets.iter().enumerate().map(|(index, sheet)| (index + 1, sheet));
    let names: String = numbered()
        .map(|(id, (name, _))| format!("<sheet name=\"{}\" sheetId=\"{id}\" r:id=\"rId{id}\"/>", xml(name)))
        .collect();
    let relations: String = numbered()
        .map(|(id, _)| {
            format!("<Relationship Id=\"rId{id}\" Type=\"{OFFICE}/worksheet\" Target=\"worksheets/sheet{id}.xml\"/>")
        })
        .collect();
    let strings: String =
        shared.iter().map(|text| format!("<si><t xml:space=\"preserve\">{}</t></si>", xml(text))).collect();
    // 0 is plain, 1 a date, 2 a date with its time, 3 a duration.
    let styles = "<numFmts count=\"0\"/><cellXfs count=\"4\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/>\
                  <xf numFmtId=\"22\"/><xf numFmtId=\"46\"/></cellXfs>";
    let mut files = vec![
        (
            "[Content_Types].xml".to_string(),
            "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>".to_string(),
        ),
        (
            "_rels/.rels".to_string(),
            format!(
                "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"rId1\" Type=\"{OFFICE}/officeDocument\" \
                 Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        ),
        (
            "xl/workbook.xml".to_string(),
            format!("<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets>{names}</sheets></workbook>"),
        ),
        (
            "xl/_rels/workbook.xml.rels".to_string(),
            format!("<Relationships xmlns=\"{PACKAGE}\">{relations}</Relationships>"),
        ),
        ("xl/styles.xml".to_string(), format!("<styleSheet xmlns=\"{MAIN}\">{styles}</styleSheet>")),
        (
            "xl/sharedStrings.xml".to_string(),
            format!("<sst xmlns=\"{MAIN}\" uniqueCount=\"{}\">{strings}</sst>", shared.len()),
        ),
    ];
    for (id, (_, rows)) in numbered() {
        let sheet = format!("<worksheet xmlns=\"{MAIN}\"><sheetData>{rows}</sheetData></worksheet>");
        files.push((format!("xl/worksheets/sheet{id}.xml"), sheet));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    zip(&files)
}

/// The XML of rows with texts in their cells.
pub fn sheet_rows<'a>(rows: impl IntoIterator<Item = impl IntoIterator<Item = &'a str>>) -> String {
    let cell = |text: &str| format!("<c t=\"inlineStr\"><is><t xml:space=\"preserve\">{}</t></is></c>", xml(text));
    let row = |cells: Vec<&str>| cells.into_iter().map(cell).collect::<String>();
    rows.into_iter().map(|cells| format!("<row>{}</row>", row(cells.into_iter().collect()))).collect()
}
