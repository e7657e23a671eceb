use super::table::{Columns, Table};
use crate::error::Result;
use domain::dataset::{RejectedRow, Row};
use domain::reading::{ReadOptions, TextSource};
use domain::split::Part;
use encoding_rs::Encoding;
use std::path::Path;

pub struct SourceRow {
    pub row: Row,
    pub part: Option<Part>,
}

fn table<'a>(path: &'a Path, options: &ReadOptions) -> Table<'a> {
    let encoding = Encoding::for_label(options.encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8);
    Table { path, encoding, delimiter: options.delimiter }
}

pub fn columns(path: &Path, options: &ReadOptions) -> Result<Vec<String>> {
    table(path, options).header()
}

pub fn read(
    path: &Path,
    options: &ReadOptions,
    take: &mut dyn FnMut(std::result::Result<SourceRow, RejectedRow>, f64) -> Result<bool>,
) -> Result<()> {
    let TextSource::Column(text) = options.text else { unimplemented!() };
    table(path, options).for_each_row(Columns { text, label: Some(options.label_column) }, |row| {
        take(row.map(|row| SourceRow { row, part: None }), 0.5)
    })
}
