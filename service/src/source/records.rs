//! The records of a file, whatever its format: columns, and one record's fields after the other.

use super::columns::name_columns;
use super::container::Container;
use super::decoded::Decoded;
use super::delimited::DelimitedRecords;
use super::excel::ExcelRecords;
use super::fields::Fields;
use super::json::JsonRecords;
use super::parquet::ParquetRecords;
use super::{dialect, encoding};
use crate::error::Result;
use domain::dataset::RejectedRow;
use domain::error::UserError;
use domain::reading::{FileFormat, ReadOptions};
use std::collections::BTreeMap;

/// Records that tell how many columns a file without a header has.
const WIDTH_RECORDS: usize = 100;

/// Goes through the records of a file.
pub enum Records {
    Delimited(Vec<String>, DelimitedRecords),
    Json(JsonRecords),
    Parquet(ParquetRecords),
    Excel(ExcelRecords),
}

impl Records {
    /// Of the options, what concerns the text, the label and the split is not looked at. `needed` are the columns whose
    /// fields are wanted, `None` all of them; the others' may be empty.
    ///
    /// # Errors
    /// The file cannot be read in this way, in words for the person.
    pub fn open(container: &Container, options: &ReadOptions, needed: Option<&[usize]>) -> Result<Self> {
        match options.format {
            FileFormat::Delimited => Self::open_delimited(container, options),
            FileFormat::Json | FileFormat::JsonLines => {
                let encoding = encoding::named(&options.encoding)?;
                Ok(Self::Json(JsonRecords::open(container, encoding, options.format, needed)?))
            }
            FileFormat::Parquet => Ok(Self::Parquet(ParquetRecords::open(container, needed)?)),
            FileFormat::Excel => {
                let records = ExcelRecords::open(container, options.sheet.as_deref(), Some(options.has_header))?;
                Ok(Self::Excel(records))
            }
        }
    }

    fn open_delimited(container: &Container, options: &ReadOptions) -> Result<Self> {
        let encoding = encoding::named(&options.encoding)?;
        let dialect = dialect::checked(options.delimiter, options.quote)?;
        let mut records = DelimitedRecords::new(Decoded::new(container.stream()?, encoding), dialect);
        let columns = if options.has_header {
            match records.next_record()? {
                Some(Ok(_)) => name_columns(records.fields().iter()),
                Some(Err(rejected)) => {
                    return Err(UserError::invalid(format!(
                        "The header cannot be read: line {}, {}.",
                        rejected.line, rejected.reason
                    ))
                    .into());
                }
                None => return Err(UserError::invalid("The file is empty. It needs one row per text.").into()),
            }
        } else {
            let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
            for row in dialect::beginning(container, encoding, dialect)?.rows.iter().take(WIDTH_RECORDS) {
                *widths.entry(row.len()).or_default() += 1;
            }
            widths.remove(&0);
            let width = widths.into_iter().max_by_key(|(width, rows)| (*rows, *width)).map_or(0, |(width, _)| width);
            name_columns(vec![""; width])
        };
        records.expect_width(columns.len());
        Ok(Self::Delimited(columns, records))
    }

    /// The same records from the beginning with the fields of these columns; for those that were opened to learn the
    /// columns and have not been read yet.
    pub fn narrowed(self, container: &Container, options: &ReadOptions, needed: &[usize]) -> Result<Self> {
        match self {
            // Opening a workbook is most of the work, and these two read all fields anyway.
            Self::Delimited(..) | Self::Excel(_) => Ok(self),
            Self::Json(_) | Self::Parquet(_) => Self::open(container, options, Some(needed)),
        }
    }

    pub fn columns(&self) -> &[String] {
        match self {
            Self::Delimited(columns, _) => columns,
            Self::Json(records) => &records.columns,
            Self::Parquet(records) => &records.columns,
            Self::Excel(records) => &records.columns,
        }
    }

    /// The line on which the next record begins, or why there is none at this place; `None` at the end of the file.
    /// Formats without lines have the row's number there.
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        match self {
            Self::Delimited(_, records) => records.next_record(),
            Self::Json(records) => records.next_record(),
            Self::Parquet(records) => records.next_record(),
            Self::Excel(records) => records.next_record(),
        }
    }

    /// Of the last record, as many as there are columns.
    pub fn fields(&self) -> &Fields {
        match self {
            Self::Delimited(_, records) => records.fields(),
            Self::Json(records) => records.fields(),
            Self::Parquet(records) => records.fields(),
            Self::Excel(records) => records.fields(),
        }
    }

    /// The beginning of the last record as it stands in the file.
    pub fn excerpt(&self) -> String {
        match self {
            Self::Delimited(_, records) => records.excerpt(),
            Self::Json(records) => records.excerpt(),
            Self::Parquet(records) => records.excerpt(),
            Self::Excel(records) => records.excerpt(),
        }
    }

    /// How much of the file has been read, from 0 to 1.
    pub fn share(&self) -> f64 {
        match self {
            Self::Delimited(_, records) => records.share(),
            Self::Json(records) => records.share(),
            Self::Parquet(records) => records.share(),
            Self::Excel(records) => records.share(),
        }
    }

    /// The sheets of a workbook.
    pub fn sheets(&self) -> &[String] {
        match self {
            Self::Excel(records) => &records.sheets,
            _ => &[],
        }
    }

    /// How JSON or nested values were understood, in words.
    pub fn shape(&self) -> Option<&'static str> {
        match self {
            Self::Json(records) => records.shape,
            Self::Parquet(records) => records.words,
            _ => None,
        }
    }

    /// What may name the labels.
    pub fn notes(&self) -> &[serde_json::Value] {
        match self {
            Self::Json(records) => &records.notes,
            Self::Parquet(records) => &records.notes,
            _ => &[],
        }
    }
}
