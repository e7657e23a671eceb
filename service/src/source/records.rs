//! The records of a file, whatever its format: columns, and one record's fields after the other.

use super::columns::name_columns;
use super::container::Container;
use super::decoded::Decoded;
use super::delimited::DelimitedRecords;
use super::fields::Fields;
use super::{dialect, encoding};
use crate::error::Result;
use domain::dataset::RejectedRow;
use domain::error::UserError;
use domain::reading::{FileFormat, ReadOptions};
use std::collections::BTreeMap;

/// Records that tell how many columns a file without a header has.
const WIDTH_RECORDS: usize = 100;

/// Goes through the records of a file.
pub struct Records {
    pub columns: Vec<String>,
    source: Source,
}

enum Source {
    Delimited(DelimitedRecords),
}

impl Records {
    /// Of the options, what concerns the text, the label and the split is not looked at. `needed` are the columns whose
    /// fields are wanted, `None` all of them; the others' may be empty.
    ///
    /// # Errors
    /// The file cannot be read in this way, in words for the person.
    pub fn open(container: &Container, options: &ReadOptions, needed: Option<&[usize]>) -> Result<Self> {
        let _ = needed;
        match options.format {
            FileFormat::Delimited => Self::open_delimited(container, options),
            _ => Err(UserError::invalid("This format cannot be read yet.").into()),
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
        Ok(Self { columns, source: Source::Delimited(records) })
    }

    /// The line on which the next record begins, or why there is none at this place; `None` at the end of the file.
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        match &mut self.source {
            Source::Delimited(records) => records.next_record(),
        }
    }

    /// Of the last record, as many as there are columns.
    pub fn fields(&self) -> &Fields {
        match &self.source {
            Source::Delimited(records) => records.fields(),
        }
    }

    /// The beginning of the last record as it stands in the file.
    pub fn excerpt(&self) -> String {
        match &self.source {
            Source::Delimited(records) => records.excerpt(),
        }
    }

    /// How much of the file has been read, from 0 to 1.
    pub fn share(&self) -> f64 {
        match &self.source {
            Source::Delimited(records) => records.share(),
        }
    }
}
