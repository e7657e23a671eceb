//! A file examined where it lies, for the command line: read as an import reads it, into a folder that the caller throws
//! away, without a database. Blocks.

use crate::datasets::{Segment, SegmentWriter, Snapshot};
use crate::doctor::{self, Surroundings};
use crate::error::{Result, ServiceError};
use crate::source;
use crate::token_counter::TokenCounter;
use domain::dataset::{RejectedRow, check_labels};
use domain::finding::Examination;
use domain::reading::{ReadOptions, ReadWish, UploadPreview};
use engine::BaseReader;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Rows that cannot be used, of which the lines are told.
const MOST_REJECTED_TOLD: usize = 20;

/// What a file holds and how it fares.
#[derive(Debug)]
pub struct Checkup {
    /// The first of the rows that cannot be used; the examination has their number.
    pub rejected: Vec<RejectedRow>,
    pub examination: Examination,
}

/// How a file on the disk would be read, as the page of a new dataset shows it.
///
/// # Errors
/// It is no table, or cannot be read as wished, in words for the person.
pub fn look_at_file(path: &Path, wish: &ReadWish) -> Result<UploadPreview> {
    let bytes = std::fs::metadata(path).map_err(|error| ServiceError::io(path, error))?.len();
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(source::detect(path, wish)?.into_preview("", &file_name, bytes))
}

/// Examines a file, with lengths in the tokens of `model` if one is given: a GGUF file or a folder. `on_progress` hears
/// what is being done and the share of it, from 0 to 1, and ends it by breaking.
///
/// # Errors
/// The model cannot be read, the file cannot be read so, its labels are none that a classifier can learn, the scratch folder cannot be written.
pub fn check_file(
    path: &Path,
    options: &ReadOptions,
    model: Option<&Path>,
    scratch: &Path,
    on_progress: &mut dyn FnMut(&str, f64) -> ControlFlow<()>,
) -> Result<Checkup> {
    let folder = scratch.join("rows");
    let mut writer = SegmentWriter::create(&folder)?;
    let (mut rejected, mut rejected_rows) = (Vec::new(), 0);
    source::read(path, options, &mut |row, share| {
        match row {
            Ok(row) => writer.write(&row.row, row.part)?,
            Err(row) => {
                rejected_rows += 1;
                if rejected.len() < MOST_REJECTED_TOLD {
                    rejected.push(row);
                }
            }
        }
        Ok(on_progress("reading", share).is_continue())
    })?;
    check_labels(writer.labels())?;
    writer.finish(&path.file_name().unwrap_or_default().to_string_lossy(), rejected_rows)?;
    let snapshot = Snapshot::new(vec![Arc::new(Segment::open(&folder)?)], BTreeMap::new());
    let counter = model.map(BaseReader::open).transpose()?.map(|reader| TokenCounter::new(reader, snapshot.labels()));
    let tokens = counter.as_ref().map(|counter| |text: &str| counter.tokens(text));
    let surroundings = Surroundings {
        rejected: rejected_rows,
        tokens: tokens.as_ref().map(|tokens| tokens as &(dyn Fn(&str) -> usize + Sync)),
        max_length: counter.as_ref().map_or(usize::MAX, TokenCounter::max_length),
        frozen_test: None,
    };
    let report = doctor::examine(&snapshot, &surroundings, 1, on_progress)?;
    Ok(Checkup { rejected, examination: report.examination })
}
