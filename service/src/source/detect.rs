//! What a file seems to be and how it might be read: a proposal that a person confirms or corrects.

use super::columns::{self, ChosenColumns};
use super::container::{Container, compression_of};
use super::dialect::{self, Chosen};
use super::excel::ExcelRecords;
use super::fields::Fields;
use super::plan::Plan;
use super::records::Records;
use super::{encoding, kind, labels, names};
use crate::error::Result;
use domain::dataset::{LabelCount, RejectedRow};
use domain::error::UserError;
use domain::reading::{Compression, FileFormat, LabelMerge, ReadOptions, ReadWish, TextSource, UploadPreview};
use encoding_rs::UTF_8;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes that tell what kind of file it is.
const BEGINNING_BYTES: usize = 1 << 20;
/// Records that columns and labels are looked for in, and bytes of them.
const SAMPLE_RECORDS: usize = 10_000;
const SAMPLE_BYTES: usize = 8 << 20;
/// Rows that the preview shows, and characters of a field there.
const PREVIEW_ROWS: usize = 8;
const PREVIEW_FIELD_CHARS: usize = 300;
/// Rows that cannot be read, and labels, that the preview shows.
const PREVIEW_TROUBLE: usize = 20;
const PREVIEW_LABELS: usize = 500;

/// Everything that a preview shows but the upload's own name and size.
#[derive(Clone, Debug)]
pub struct Detected {
    pub compression: Option<Compression>,
    pub members: Vec<String>,
    pub sheets: Vec<String>,
    pub shape: Option<String>,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub texts: Vec<String>,
    pub options: ReadOptions,
    pub labels: Vec<LabelCount>,
    pub merges: Vec<LabelMerge>,
    pub labels_are_integers: bool,
    pub rows_looked_at: u64,
    pub trouble: Vec<RejectedRow>,
}

/// Looks at a file. What `wish` names is taken as it says, the rest is found out. Of a long file only the beginning is
/// read as a table; for the encoding all of it is looked at, unless `wish` names that. Blocks.
///
/// # Errors
/// The file is no table or cannot be read as wished, in words for the person.
pub fn detect(path: &Path, wish: &ReadWish) -> Result<Detected> {
    let container = Container::open(path, wish.member.as_deref())?;
    let beginning = container.stream()?.beginning(BEGINNING_BYTES)?;
    let mut options = way_of_reading(&container, &beginning, wish)?;
    let mut records = if options.format == FileFormat::Excel {
        // What only the sheet tells is found while it is opened, as that takes longest.
        let records = ExcelRecords::open(&container, wish.sheet.as_deref(), wish.has_header)?;
        (options.sheet, options.has_header) = (Some(records.sheet.clone()), records.has_header);
        Records::Excel(records)
    } else {
        Records::open(&container, &options, None)?
    };
    let sample = Sample::take(&mut records)?;
    if sample.rows.is_empty() {
        let first = sample.trouble.first().map(|row| format!(" Line {}: {}.", row.line, row.reason));
        return Err(UserError::invalid(format!(
            "The file has a header and no rows below it. It needs one row per text, with its label.{}",
            first.unwrap_or_default()
        ))
        .into());
    }
    propose(container, options, records, sample, wish)
}

/// Format, encoding and dialect.
fn way_of_reading(container: &Container, beginning: &[u8], wish: &ReadWish) -> Result<ReadOptions> {
    let format = match wish.format {
        Some(format) => format,
        None => format_of(container, beginning)?,
    };
    let is_text = matches!(format, FileFormat::Delimited | FileFormat::Json | FileFormat::JsonLines);
    let encoding = match &wish.encoding {
        Some(name) if is_text => encoding::named(name)?,
        None if is_text => encoding::detect(container, beginning)?,
        _ => UTF_8,
    };
    let mut options = ReadOptions {
        format,
        encoding: encoding.name().to_string(),
        delimiter: wish.delimiter.unwrap_or(','),
        quote: wish.quote.unwrap_or(Some('"')),
        has_header: wish.has_header.unwrap_or(true),
        member: container.member().map(String::from),
        sheet: wish.sheet.clone(),
        text: TextSource::Column(0),
        label_column: 0,
        split_column: None,
        label_names: BTreeMap::new(),
    };
    if format == FileFormat::Delimited {
        let chosen = Chosen { delimiter: wish.delimiter, quote: wish.quote };
        (options.delimiter, options.quote) = dialect::likeliest(container, encoding, chosen)?;
        if wish.has_header.is_none() {
            let dialect = dialect::checked(options.delimiter, options.quote)?;
            let rows = dialect::beginning(container, encoding, dialect)?.rows;
            options.has_header = rows.split_first().is_none_or(|(first, below)| columns::is_header(first, below));
        }
    }
    Ok(options)
}

fn format_of(container: &Container, beginning: &[u8]) -> Result<FileFormat> {
    if container.is_workbook {
        return Ok(FileFormat::Excel);
    }
    if container.compression.is_some() && container.holds_workbook(beginning)? {
        return Ok(FileFormat::Excel);
    }
    if container.compression.is_some() && compression_of(beginning).is_some() {
        return Err(UserError::invalid(
            "The file is an archive inside an archive. Unpack it and upload the table itself.",
        )
        .into());
    }
    Ok(kind::recognise(beginning)?)
}

fn propose(
    container: Container,
    mut options: ReadOptions,
    records: Records,
    sample: Sample,
    wish: &ReadWish,
) -> Result<Detected> {
    let columns = records.columns().to_vec();
    let chosen_text = match &wish.text {
        Some(TextSource::Column(column)) => Some(*column),
        _ => None,
    };
    let chosen = ChosenColumns { text: chosen_text, label: wish.label_column };
    let proposal = columns::propose(&columns, sample.rows.iter().map(|(_, fields)| fields), chosen);
    let alpaca = || alpaca_text(&columns, &sample).filter(|_| records.shape().is_some());
    options.text = wish.text.clone().or_else(alpaca).unwrap_or(TextSource::Column(proposal.text));
    options.label_column = proposal.label;
    options.split_column = wish.split_column.or(proposal.split);

    let label_of = |(_, fields): &(u64, Fields)| fields.get(options.label_column).to_string();
    let all_labels: Vec<String> = sample.rows.iter().map(label_of).filter(|label| !label.trim().is_empty()).collect();
    let counts = labels::count(all_labels.iter().map(String::as_str), usize::MAX);
    let notes = container.notes.iter().filter_map(|note| serde_json::from_str(note).ok());
    let notes: Vec<serde_json::Value> = records.notes().iter().cloned().chain(notes).collect();
    let names = columns.get(options.label_column).and_then(|label| names::find(&notes, label)).unwrap_or_default();
    options.label_names = labels::trim_names(&counts);
    let named = labels::name_integers(&counts, &names);
    let labels_are_integers = labels::are_integers(&counts) && named.is_empty();
    options.label_names.extend(named);

    // A table of one column has nothing to choose from; the person is to see it all the same and read it otherwise.
    let plan = match Plan::new(&columns, &options) {
        Ok(plan) => plan,
        Err(_) if columns.len() < 2 && chosen_text.is_none() => Plan::of_columns(proposal.text, Some(proposal.label)),
        Err(error) => return Err(error.into()),
    };
    let mut trouble = sample.trouble;
    for (line, fields) in &sample.rows {
        if trouble.len() >= PREVIEW_TROUBLE {
            break;
        }
        if let Err(reason) = plan.row(*line, fields) {
            let excerpt = super::excerpt(&fields.iter().collect::<Vec<_>>().join(" "));
            trouble.push(RejectedRow { line: *line, reason: reason.to_string(), excerpt });
        }
    }
    trouble.sort_by_key(|row| row.line);
    let shown = sample.rows.iter().take(PREVIEW_ROWS).map(|(_, fields)| fields);
    Ok(Detected {
        compression: container.compression,
        members: container.members,
        sheets: records.sheets().to_vec(),
        shape: records.shape().map(String::from),
        rows: shown.clone().map(|fields| fields.iter().map(shorten).collect()).collect(),
        texts: shown.map(|fields| shorten(&plan.text(fields).unwrap_or_default())).collect(),
        merges: labels::propose_merges(&counts),
        labels_are_integers,
        labels: counts.into_iter().take(PREVIEW_LABELS).collect(),
        rows_looked_at: sample.rows.len() as u64,
        columns,
        options,
        trouble,
    })
}

/// Of instructions with an input, both are the text, unless one of them is the same or missing on every row.
fn alpaca_text(columns: &[String], sample: &Sample) -> Option<TextSource> {
    let place = |name: &str| columns.iter().position(|column| column == name);
    let (instruction, input, _) = (place("instruction")?, place("input")?, place("output")?);
    let varies = |column: usize| {
        let mut values = sample.rows.iter().map(|(_, fields)| fields.get(column).trim());
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    Some(match (varies(instruction), varies(input)) {
        (false, true) => TextSource::Column(input),
        (true, false) => TextSource::Column(instruction),
        _ => TextSource::Template("{instruction}\n{input}".to_string()),
    })
}

/// The first records of a file.
struct Sample {
    /// With the lines on which they begin.
    rows: Vec<(u64, Fields)>,
    /// The first that are none.
    trouble: Vec<RejectedRow>,
}

impl Sample {
    fn take(records: &mut Records) -> Result<Self> {
        let (mut rows, mut trouble, mut bytes, mut rejected) = (Vec::new(), Vec::new(), 0, 0);
        while rows.len() < SAMPLE_RECORDS && bytes < SAMPLE_BYTES && rejected < SAMPLE_RECORDS {
            match records.next_record()? {
                Some(Ok(line)) => {
                    let mut fields = records.fields().clone();
                    fields.fill_up(records.columns().len());
                    bytes += fields.bytes();
                    rows.push((line, fields));
                }
                Some(Err(row)) => {
                    rejected += 1;
                    if trouble.len() < PREVIEW_TROUBLE {
                        trouble.push(row);
                    }
                }
                None => break,
            }
        }
        Ok(Self { rows, trouble })
    }
}

impl Detected {
    /// With what only the upload knows.
    pub fn into_preview(self, upload: &str, file_name: &str, bytes: u64) -> UploadPreview {
        UploadPreview {
            upload: upload.to_string(),
            file_name: file_name.to_string(),
            bytes,
            compression: self.compression,
            members: self.members,
            sheets: self.sheets,
            shape: self.shape,
            columns: self.columns,
            rows: self.rows,
            texts: self.texts,
            options: self.options,
            labels: self.labels,
            merges: self.merges,
            labels_are_integers: self.labels_are_integers,
            rows_looked_at: self.rows_looked_at,
            trouble: self.trouble,
        }
    }
}

fn shorten(field: &str) -> String {
    let mut letters = field.chars();
    let mut short: String = letters.by_ref().take(PREVIEW_FIELD_CHARS).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}
