//! Files of labelled texts, whatever their format: what a file seems to be ([`detect`]), and its rows one after the other
//! ([`read`]), with memory that does not grow with the file.
//!
//! `container` unpacks, `encoding` and `decoded` make text of bytes, `delimited` and its neighbours make records of a
//! format, `records` puts the formats behind one door, and `plan` makes rows of records.

mod columns;
mod container;
mod decoded;
mod delimited;
mod detect;
mod dialect;
mod encoding;
mod excel;
mod fields;
mod json;
mod kind;
mod labels;
mod names;
mod parquet;
mod plan;
mod records;

pub(crate) use container::Container;
pub use detect::{Detected, detect};
pub(crate) use fields::Fields;
pub(crate) use records::Records;

use crate::error::Result;
use domain::dataset::{RejectedRow, Row};
use domain::error::UserError;
use domain::reading::{ReadOptions, ReadWish, TextSource};
use domain::split::Part;
use plan::Plan;
use std::path::Path;

/// Longest record, in bytes of UTF-8.
const MAX_RECORD_BYTES: usize = 1 << 20;
/// Most columns of a file.
const MAX_COLUMNS: usize = 2000;
/// Characters of a rejected row that are kept to recognise it by.
const EXCERPT_CHARS: usize = 120;

/// A row as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    pub row: Row,
    /// The part of the split that the file puts it in.
    pub part: Option<Part>,
}

/// Takes what stands at a row's place and how much of the file has been read, from 0 to 1; says whether to go on.
pub type Take<'a> = dyn FnMut(std::result::Result<SourceRow, RejectedRow>, f64) -> Result<bool> + 'a;

/// The names of the columns that the file has when it is read in this way.
///
/// # Errors
/// It cannot be read in this way.
pub fn columns(path: &Path, options: &ReadOptions) -> Result<Vec<String>> {
    let container = Container::open(path, options.member.as_deref())?;
    Ok(Records::open(&container, options, Some(&[]))?.columns().to_vec())
}

/// Goes through the rows in the order of the file until `take` says `false`. Blocks.
///
/// # Errors
/// The file cannot be read in this way, or is damaged; in words for the person. And what `take` says.
pub fn read(path: &Path, options: &ReadOptions, take: &mut Take) -> Result<()> {
    let container = Container::open(path, options.member.as_deref())?;
    let records = Records::open(&container, options, Some(&[]))?;
    let plan = Plan::new(records.columns(), options)?;
    read_planned(records.narrowed(&container, options, &plan.needed())?, &plan, take)
}

fn read_planned(mut records: Records, plan: &Plan, take: &mut Take) -> Result<()> {
    while let Some(record) = records.next_record()? {
        let row = record.and_then(|line| {
            let reject = |reason: &str| RejectedRow { line, reason: reason.to_string(), excerpt: records.excerpt() };
            plan.row(line, records.fields()).map_err(reject)
        });
        if !take(row, records.share())? {
            break;
        }
    }
    Ok(())
}

/// All rows of a file with the columns of those names, and those that cannot be used. Without a label column, rows have
/// an empty label. Nobody is there to be asked, so that labels are trimmed, and integers are named where the file names
/// them. Blocks.
///
/// # Errors
/// The file is no table or has no such column.
pub fn read_table(path: &Path, text_column: &str, label_column: Option<&str>) -> Result<(Vec<Row>, Vec<RejectedRow>)> {
    let mut wish = ReadWish { has_header: Some(true), ..ReadWish::default() };
    let detected = match detect(path, &wish) {
        // A file of texts alone may have one column; then it needs no delimiter.
        Err(_) if label_column.is_none() => {
            wish.delimiter = Some(',');
            detect(path, &wish)?
        }
        detected => detected?,
    };
    let text = plan::find_column(&detected.columns, text_column)?;
    let label = label_column.map(|name| plan::find_column(&detected.columns, name)).transpose()?;
    let container = Container::open(path, detected.options.member.as_deref())?;
    let (plan, options) = match label {
        None => (Plan::of_columns(text, None), detected.options),
        Some(label) => {
            (wish.text, wish.label_column) = (Some(TextSource::Column(text)), Some(label));
            let options = detect(path, &wish)?.options;
            (Plan::new(&detected.columns, &options)?, options)
        }
    };
    let (mut rows, mut rejected) = (Vec::new(), Vec::new());
    let records = Records::open(&container, &options, Some(&plan.needed()))?;
    read_planned(records, &plan, &mut |row, _| {
        match row {
            Ok(SourceRow { row, .. }) => rows.push(Row { label: row.label.trim().to_string(), ..row }),
            Err(row) => rejected.push(row),
        }
        Ok(true)
    })?;
    Ok((rows, rejected))
}

fn too_many_columns() -> UserError {
    UserError::invalid(format!(
        "The file has more than {MAX_COLUMNS} columns, which is the most that is read. Leave out those that are not \
         needed. If it has fewer, it is read with the wrong character between fields."
    ))
}

/// The beginning of what stands at a place, for a person to recognise it.
fn excerpt(source: &str) -> String {
    let first_line = source.trim_start().lines().next().unwrap_or_default().trim_end();
    let mut letters = first_line.chars();
    // What is no text is shown as the mark for it, and nothing that could disturb a terminal or a page.
    let mut excerpt: String =
        letters.by_ref().take(EXCERPT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if letters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod test_files;
#[cfg(test)]
mod tests;
