//! Reading Parquet, row group by row group, with the columns that are needed only.

mod pages;

use super::container::Container;
use super::fields::Fields;
use super::json::{Json, Shape};
use super::{MAX_COLUMNS, MAX_RECORD_BYTES, excerpt, too_many_columns};
use crate::error::{Result, ServiceError};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;
use domain::dataset::RejectedRow;
use domain::error::UserError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Longest footer. It is read as a whole, and takes some fifty times its length in memory at the worst.
const MAX_FOOTER_BYTES: u64 = 16 << 20;
/// Rows that a file may have whatever its size, and beyond that to each of its bytes: nulls and repeated values take
/// next to nothing in Parquet, and a file of a kilobyte can claim billions.
const FREE_ROWS: u64 = 8 << 20;
const ROWS_PER_BYTE: u64 = 25;
/// Values of a column that are read ahead take at most this, in pages that they keep in memory.
const BATCH_BYTES: u64 = 64 << 20;
const MAX_BATCH_ROWS: u64 = 1024;
/// Records that the columns of nested values are looked for in.
const SHAPE_RECORDS: usize = 200;

/// Goes through the rows of a Parquet file. Rows are counted from 1; they have no lines.
pub struct ParquetRecords {
    pub columns: Vec<String>,
    /// What may name the labels.
    pub notes: Vec<serde_json::Value>,
    pub words: Option<&'static str>,
    rows: Option<RowIter<'static>>,
    /// Of nested values; without it every column is plain.
    shape: Option<Shape>,
    /// Places of the columns that are read, in order, where all are plain.
    read: Vec<usize>,
    total: u64,
    row: u64,
    fields: Fields,
    field: String,
}

impl ParquetRecords {
    /// `needed` are the columns that are wanted, `None` all of them.
    ///
    /// # Errors
    /// The file is no Parquet file, damaged, or claims what cannot be, in words for the person.
    pub fn open(container: &Container, needed: Option<&[usize]>) -> Result<Self> {
        let file = container.file()?;
        let bytes = check_footer(&file, container)?;
        let open = || Ok(SerializedFileReader::new(file.try_clone()?)?);
        let reader = guarded(|| open())?;
        let metadata = reader.metadata();
        let file_metadata = metadata.file_metadata();
        let root = file_metadata.schema().clone();
        let notes = file_metadata.key_value_metadata().into_iter().flatten();
        let notes = notes.filter(|note| note.key == "huggingface").filter_map(|note| note.value.as_deref());
        let notes = notes.filter_map(|note| serde_json::from_str(note).ok()).collect();
        let claimed: Option<u64> = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok()).sum();
        let total = claimed.filter(|total| *total <= FREE_ROWS.max(bytes.saturating_mul(ROWS_PER_BYTE)));
        let Some(total) = total else {
            return Err(UserError::invalid(
                "The Parquet file says that it has more rows than a file of its size can hold; it is damaged. Write it \
                 again.",
            )
            .into());
        };
        let names: Vec<String> = root.get_fields().iter().map(|field| field.name().to_string()).collect();
        if names.len() > MAX_COLUMNS {
            return Err(too_many_columns().into());
        }
        let mut records = Self {
            columns: names,
            notes,
            words: None,
            rows: None,
            shape: None,
            read: Vec::new(),
            total,
            row: 0,
            fields: Fields::default(),
            field: String::new(),
        };
        let is_plain = |field: &Arc<Type>| field.is_primitive() && !is_repeated(field);
        if root.get_fields().iter().all(is_plain) {
            records.columns = super::columns::name_columns(&records.columns);
            records.read = match needed {
                Some(needed) => needed.iter().copied().filter(|column| *column < records.columns.len()).collect(),
                None => (0..records.columns.len()).collect(),
            };
            if !records.read.is_empty() {
                records.rows = Some(rows_of(&file, reader, &root, &records.read)?);
            }
            return Ok(records);
        }
        let all: Vec<usize> = (0..root.get_fields().len()).collect();
        records.find_shape(rows_of(&file, reader, &root, &all)?)?;
        records.rows = Some(rows_of(&file, guarded(open)?, &root, &all)?);
        Ok(records)
    }

    /// Nested values become columns as those of JSON do.
    fn find_shape(&mut self, mut rows: RowIter<'static>) -> Result<()> {
        let mut sample = Vec::new();
        while sample.len() < SHAPE_RECORDS {
            let Some(row) = next_row(&mut rows, sample.len() as u64 + 1)? else { break };
            sample.push(json_of_row(&row));
        }
        let shape = Shape::find(&sample, &[]);
        if shape.columns.len() > MAX_COLUMNS {
            return Err(too_many_columns().into());
        }
        (self.columns, self.words) = (super::columns::name_columns(&shape.columns), shape.words);
        self.shape = Some(shape);
        Ok(())
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn excerpt(&self) -> String {
        excerpt(self.fields.iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join(" ").as_str())
    }

    pub fn share(&self) -> f64 {
        self.row as f64 / self.total.max(1) as f64
    }

    /// As [`super::records::Records::next_record`], with the row's number in the place of its line.
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let Some(row) = next_row(rows, self.row + 1)? else {
            return match self.row == self.total {
                true => Ok(None),
                false => Err(UserError::invalid(format!(
                    "The Parquet file says that it has {} rows, but it ends after row {}; it is damaged. Write it again.",
                    self.total, self.row
                ))
                .into()),
            };
        };
        self.row += 1;
        let taken = match &mut self.shape {
            Some(shape) => shape.write(&json_of_row(&row), &mut self.fields),
            None => self.write_plain(&row),
        };
        Ok(Some(taken.map(|()| self.row).map_err(|reason| RejectedRow {
            line: self.row,
            reason,
            excerpt: self.excerpt(),
        })))
    }

    fn write_plain(&mut self, row: &Row) -> std::result::Result<(), String> {
        self.fields.clear();
        for (column, (_, field)) in self.read.iter().zip(row.get_column_iter()) {
            self.fields.fill_up(*column);
            self.field.clear();
            write_field(field, &mut self.field);
            if self.field.len() > MAX_RECORD_BYTES {
                return Err(format!("the value of column \"{}\" is longer than 1 MB", self.columns[*column]));
            }
            self.fields.push(&self.field);
        }
        self.fields.fill_up(self.columns.len());
        Ok(())
    }
}

fn is_repeated(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == ::parquet::basic::Repetition::REPEATED
}

/// The file's length; its footer lies within it and is of a bearable length.
fn check_footer(file: &File, container: &Container) -> Result<u64> {
    let io = |error| ServiceError::io(container.path(), error);
    let bytes = file.metadata().map_err(io)?.len();
    let mut tail = [0; 8];
    let start = bytes.checked_sub(12);
    if let Some(start) = start {
        file.read_exact_at(&mut tail, start + 4).map_err(io)?;
    }
    let (length, magic) = tail.split_at(4);
    let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
    let problem = match (start, magic) {
        (Some(_), b"PARE") => "it is encrypted, which cannot be read",
        (Some(start), b"PAR1") if length > start => "its footer is longer than the file",
        (Some(_), b"PAR1") if length > MAX_FOOTER_BYTES => "its footer is too long; write it with fewer row groups",
        (Some(_), b"PAR1") => return Ok(bytes),
        _ => "it does not end as a Parquet file does; it is damaged or was cut",
    };
    Err(UserError::invalid(format!("The Parquet file cannot be read: {problem}.")).into())
}

/// The rows with these columns alone, once their pages have been looked at.
fn rows_of(
    file: &File,
    reader: SerializedFileReader<File>,
    root: &Type,
    columns: &[usize],
) -> Result<RowIter<'static>> {
    let fields: Vec<Arc<Type>> = columns.iter().filter_map(|column| root.get_fields().get(*column).cloned()).collect();
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let mut largest = 1;
    for group in reader.metadata().row_groups() {
        for chunk in group.columns() {
            let path = chunk.column_path().parts();
            if !fields.iter().any(|field| path.first().is_some_and(|name| name == field.name())) {
                continue;
            }
            // A page offset below zero would be a panic of the crate's.
            let places = [chunk.dictionary_page_offset(), Some(chunk.data_page_offset())];
            let start = places.into_iter().flatten().min().and_then(|start| u64::try_from(start).ok());
            let length = u64::try_from(chunk.compressed_size()).ok();
            let end = start.zip(length).and_then(|(start, length)| start.checked_add(length));
            let (Some(start), Some(end)) = (start, end.filter(|end| *end <= bytes)) else {
                return Err(UserError::invalid(format!(
                    "Column \"{}\" of the Parquet file is said to lie outside of the file; it is damaged or was cut.",
                    path.join(".")
                ))
                .into());
            };
            largest = largest.max(pages::check(file, start, end, &path.join("."))?);
        }
    }
    let batch = (BATCH_BYTES / largest).clamp(1, MAX_BATCH_ROWS) as usize;
    guarded(|| {
        let projection = Type::group_type_builder(root.name()).with_fields(fields).build()?;
        Ok(RowIter::from_file_into(Box::new(reader)).project(Some(projection))?.with_batch_size(batch))
    })
}

fn next_row(rows: &mut RowIter<'static>, row: u64) -> Result<Option<Row>> {
    guarded(|| rows.next().transpose()).map_err(|error| match error {
        ServiceError::User(error) => UserError::invalid(format!("{} This is at row {row}.", error.message)).into(),
        error => error,
    })
}

/// Calls into the parquet crate, which panics on some files that are not what they say.
fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    let problem = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it is not what it says it is".to_string(),
    };
    let problem: String = problem.chars().filter(|letter| !letter.is_control()).take(200).collect();
    Err(UserError::invalid(format!("The Parquet file is damaged and cannot be read: {problem}.")).into())
}

fn json_of_row(row: &Row) -> Json {
    Json::Object(row.get_column_iter().map(|(name, field)| (name.clone(), json_of(field))).collect())
}

fn json_of(field: &Field) -> Json {
    match field {
        Field::Null => Json::Null,
        Field::Bool(value) => Json::Bool(*value),
        Field::Group(row) => json_of_row(row),
        Field::ListInternal(list) => Json::List(list.elements().iter().map(json_of).collect()),
        Field::MapInternal(map) => {
            let key = |field: &Field| {
                let mut key = String::new();
                write_field(field, &mut key);
                key
            };
            Json::Object(map.entries().iter().map(|(name, value)| (key(name), json_of(value))).collect())
        }
        field => {
            let mut words = String::new();
            write_field(field, &mut words);
            match field {
                Field::Str(_) | Field::Bytes(_) | Field::Date(_) => Json::Text(words),
                _ => Json::Number(words),
            }
        }
    }
}

/// As a field of a table.
fn write_field(field: &Field, words: &mut String) {
    match field {
        Field::Null => {}
        Field::Str(text) => words.push_str(text),
        // Texts that older writers have not marked as such.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => words.push_str(text),
            Err(_) => words.push_str(&format!("({} bytes)", bytes.len())),
        },
        Field::Double(number) => words.push_str(&format!("{number:?}")),
        Field::Float(number) => words.push_str(&format!("{number:?}")),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => json_of(field).write_field(words),
        field => words.push_str(&field.to_string()),
    }
}

#[cfg(test)]
mod tests;
