//! Reading a sheet of an Excel workbook (.xlsx), cell by cell, on a thread of its own: the reader borrows from the workbook,
//! and a channel of rows is what both ends can hold on to.

mod guard;

use super::columns::{is_header, name_columns};
use super::container::Container;
use super::fields::Fields;
use super::{MAX_COLUMNS, MAX_RECORD_BYTES, excerpt, too_many_columns};
use crate::error::{Result, ServiceError};
use calamine::{DataRef, ExcelDateTime, Reader, SheetType, Xlsx, XlsxError};
use domain::dataset::RejectedRow;
use domain::error::UserError;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Rows that are sent at a time, and bytes of them.
const BATCH_ROWS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Batches that wait to be taken.
const BATCHES: usize = 4;
/// Rows that tell whether there is a header and how many columns there are.
const LOOK_ROWS: usize = 100;
/// Cells of a sheet by which it is told from an empty one.
const CELLS_LOOKED_AT: usize = 1000;
/// Most sheets that are offered.
const MAX_SHEETS: usize = 200;

/// A row of a sheet: its number, from 1, and its cells as far as the last that holds something.
type SheetRow = (u64, std::result::Result<Fields, &'static str>);

/// Goes through the rows of a sheet that hold anything.
pub struct ExcelRecords {
    pub columns: Vec<String>,
    pub sheets: Vec<String>,
    /// The one that is read.
    pub sheet: String,
    /// The first row names the columns.
    pub has_header: bool,
    rows: SheetRows,
    /// Rows that were looked at and are still to be taken.
    ahead: VecDeque<SheetRow>,
    fields: Fields,
}

impl ExcelRecords {
    /// `has_header`: `None` to find out; `sheet`: `None` for the first.
    ///
    /// # Errors
    /// It is no workbook, or one that claims what cannot be, or has no such sheet, in words for the person.
    pub fn open(container: &Container, sheet: Option<&str>, has_header: Option<bool>) -> Result<Self> {
        guard::check(container.file()?, container.path())?;
        let mut rows = SheetRows::open(container, sheet)?;
        let mut ahead = VecDeque::new();
        while ahead.len() < LOOK_ROWS {
            let Some(row) = rows.next_row()? else { break };
            ahead.push_back(row);
        }
        let seen: Vec<Fields> = ahead.iter().filter_map(|(_, row)| row.as_ref().ok().cloned()).collect();
        let Some((first, below)) = seen.split_first() else {
            return Err(UserError::invalid(format!(
                "Sheet \"{}\" of the workbook is empty. Choose another sheet.",
                rows.sheet
            ))
            .into());
        };
        let has_header = has_header.unwrap_or_else(|| is_header(first, below));
        let columns = match has_header {
            true => name_columns(first.iter()),
            false => name_columns(vec![""; usual_width(&seen)]),
        };
        if has_header {
            while let Some((_, row)) = ahead.pop_front() {
                if row.is_ok() {
                    break;
                }
            }
        }
        let (sheets, sheet) = (rows.sheets.clone(), rows.sheet.clone());
        Ok(Self { columns, sheets, sheet, has_header, rows, ahead, fields: Fields::default() })
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn excerpt(&self) -> String {
        excerpt(&self.fields.iter().collect::<Vec<_>>().join(" "))
    }

    pub fn share(&self) -> f64 {
        self.rows.share()
    }

    /// As [`super::records::Records::next_record`], with the row's number in the place of its line.
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        let row = match self.ahead.pop_front() {
            Some(row) => Some(row),
            None => self.rows.next_row()?,
        };
        let Some((line, row)) = row else { return Ok(None) };
        let reject = |reason: String, excerpt: String| Ok(Some(Err(RejectedRow { line, reason, excerpt })));
        match row {
            Ok(fields) => self.fields = fields,
            Err(reason) => return reject(reason.to_string(), String::new()),
        }
        let (found, width) = (self.fields.len(), self.columns.len());
        if found > width {
            let reason = format!("expected {width} cells, found one in column {found}");
            return reject(reason, self.excerpt());
        }
        self.fields.fill_up(width);
        Ok(Some(Ok(line)))
    }
}

/// The width that most rows have, and the larger of those that are as usual.
fn usual_width(rows: &[Fields]) -> usize {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *widths.entry(row.len()).or_default() += 1);
    widths.into_iter().max_by_key(|(width, rows)| (*rows, *width)).map_or(0, |(width, _)| width)
}

/// The receiving end of the thread that reads.
struct SheetRows {
    sheets: Vec<String>,
    sheet: String,
    batches: Option<Receiver<Vec<SheetRow>>>,
    batch: VecDeque<SheetRow>,
    thread: Option<JoinHandle<std::result::Result<(), UserError>>>,
    read: Arc<AtomicU64>,
    bytes: u64,
}

impl SheetRows {
    fn open(container: &Container, wished: Option<&str>) -> Result<Self> {
        let file = container.file()?;
        let bytes = file.metadata().map_err(|error| ServiceError::io(container.path(), error))?.len();
        let read = Arc::new(AtomicU64::new(0));
        let counted = BufReader::with_capacity(1 << 16, Counted { file, read: Arc::clone(&read) });
        let (batch_sender, batches) = sync_channel(BATCHES);
        let (sheets_sender, sheets) = sync_channel(1);
        let wished = wished.map(String::from);
        let thread = std::thread::Builder::new().name("workbook".to_string()).spawn(move || {
            let mut workbook = Xlsx::new(counted).map_err(explain)?;
            let (sheets, sheet) = choose_sheet(&mut workbook, wished.as_deref())?;
            if sheets_sender.send((sheets, sheet.clone())).is_ok() {
                send_rows(&mut workbook, &sheet, &batch_sender)?;
            }
            Ok(())
        });
        let thread = thread.map_err(|error| ServiceError::io(container.path(), error))?;
        let mut rows = Self {
            sheets: Vec::new(),
            sheet: String::new(),
            batches: Some(batches),
            batch: VecDeque::new(),
            thread: Some(thread),
            read,
            bytes,
        };
        match sheets.recv() {
            Ok((sheets, sheet)) => (rows.sheets, rows.sheet) = (sheets, sheet),
            Err(_) => rows.join()?,
        }
        Ok(rows)
    }

    fn next_row(&mut self) -> Result<Option<SheetRow>> {
        loop {
            if let Some(row) = self.batch.pop_front() {
                return Ok(Some(row));
            }
            let Some(batches) = &self.batches else { return Ok(None) };
            match batches.recv() {
                Ok(batch) => self.batch = batch.into(),
                Err(_) => {
                    self.batches = None;
                    self.join()?;
                }
            }
        }
    }

    /// How the thread ended; a panic in the crate that reads is a damaged workbook.
    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let damaged = || UserError::invalid("The workbook is damaged and cannot be read. Save it again, or as CSV.");
        Ok(thread.join().unwrap_or_else(|_| Err(damaged()))?)
    }

    fn share(&self) -> f64 {
        (self.read.load(Ordering::Relaxed) as f64 / self.bytes.max(1) as f64).min(1.0)
    }
}

impl Drop for SheetRows {
    /// The thread ends with the next batch, which nobody takes any more.
    fn drop(&mut self) {
        self.batches = None;
    }
}

/// The sheets, and the one to read: where none is wished for, the first that holds a table.
fn choose_sheet(
    workbook: &mut Xlsx<BufReader<Counted>>,
    wished: Option<&str>,
) -> std::result::Result<(Vec<String>, String), UserError> {
    let sheets = workbook.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    let sheets: Vec<String> = sheets.map(|sheet| sheet.name.clone()).take(MAX_SHEETS).collect();
    let chosen = match wished {
        Some(wished) => sheets.iter().find(|sheet| *sheet == wished),
        None => sheets.iter().find(|sheet| holds_a_table(workbook, sheet)).or(sheets.first()),
    };
    let chosen = chosen.cloned().ok_or_else(|| match wished {
        Some(wished) => {
            let wished: String = wished.chars().take(100).collect();
            UserError::invalid(format!("The workbook has no sheet \"{wished}\"; it has {}.", sheets.join(", ")))
        }
        None => UserError::invalid("The workbook has no sheet with cells."),
    })?;
    Ok((sheets, chosen))
}

/// Whether one of the first cells that hold something stands beside the first column: a text and its label need two.
/// A cover page or an empty sheet does not, and one that cannot be read is left to whoever chooses it.
fn holds_a_table(workbook: &mut Xlsx<BufReader<Counted>>, sheet: &str) -> bool {
    let Ok(mut cells) = workbook.worksheet_cells_reader(sheet) else { return false };
    let mut words = String::new();
    for _ in 0..CELLS_LOOKED_AT {
        let Ok(Some(cell)) = cells.next_cell() else { return false };
        words.clear();
        write_cell(cell.get_value(), &mut words);
        if !words.is_empty() && cell.get_position().1 > 0 {
            return true;
        }
    }
    false
}

/// Sends all rows of a sheet, until nobody takes them.
fn send_rows(
    workbook: &mut Xlsx<BufReader<Counted>>,
    sheet: &str,
    batches: &SyncSender<Vec<SheetRow>>,
) -> std::result::Result<(), UserError> {
    let mut cells = workbook.worksheet_cells_reader(sheet).map_err(explain)?;
    let mut batch: Vec<SheetRow> = Vec::new();
    let mut batch_bytes = 0;
    let mut row: Option<SheetRow> = None;
    let mut words = String::new();
    while let Some(cell) = cells.next_cell().map_err(explain)? {
        let (number, column) = cell.get_position();
        words.clear();
        write_cell(cell.get_value(), &mut words);
        if words.is_empty() {
            continue;
        }
        let (line, column) = (u64::from(number) + 1, column as usize);
        if column >= MAX_COLUMNS {
            return Err(too_many_columns());
        }
        if row.as_ref().is_none_or(|(last, _)| *last != line) {
            batch_bytes += row.as_ref().and_then(|(_, row)| row.as_ref().ok()).map_or(0, Fields::bytes);
            batch.extend(row.replace((line, Ok(Fields::default()))));
            if batch.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                if batches.send(std::mem::take(&mut batch)).is_err() {
                    return Ok(());
                }
                batch_bytes = 0;
            }
        }
        if let Some((_, row)) = &mut row {
            add_cell(row, column, &words);
        }
    }
    batch.extend(row);
    // That nobody takes the last rows is no trouble.
    let _ = batches.send(batch);
    Ok(())
}

fn add_cell(row: &mut std::result::Result<Fields, &'static str>, column: usize, words: &str) {
    let Ok(fields) = row else { return };
    if fields.bytes() + words.len() > MAX_RECORD_BYTES {
        *row = Err("the row is longer than 1 MB");
    } else if column < fields.len() {
        *row = Err("its cells are not in order");
    } else {
        fields.fill_up(column);
        fields.push(words);
    }
}

/// A cell as people see it, but for the number of digits: dates as dates, whole numbers without a point.
fn write_cell(value: &DataRef, words: &mut String) {
    match value {
        DataRef::Empty => {}
        DataRef::String(text) => words.push_str(text),
        DataRef::SharedString(text) => words.push_str(text),
        DataRef::Int(number) => words.push_str(&number.to_string()),
        DataRef::Float(number) => words.push_str(&plain_number(*number)),
        DataRef::Bool(is_true) => words.push_str(if *is_true { "TRUE" } else { "FALSE" }),
        DataRef::DateTime(time) => words.push_str(&date(time)),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => words.push_str(text),
        DataRef::Error(error) => words.push_str(&error.to_string()),
    }
}

/// Fifteen digits, which is what Excel keeps: 0.1 + 0.2 is 0.3 there.
fn plain_number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    rounded.to_string()
}

fn date(time: &ExcelDateTime) -> String {
    if time.is_duration() {
        let seconds = (time.as_f64() * 86_400.0).round() as i64;
        let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
        return format!("{sign}{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    match time.as_f64() {
        days if days < 1.0 => clock,
        days if days.fract() == 0.0 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02} {clock}"),
    }
}

fn explain(error: XlsxError) -> UserError {
    if matches!(error, XlsxError::Password) {
        return UserError::invalid("The workbook is protected by a password. Save it without one and upload that.");
    }
    let problem: String = error.to_string().chars().filter(|letter| !letter.is_control()).take(200).collect();
    UserError::invalid(format!("The workbook is damaged and cannot be read: {problem}. Save it again, or as CSV."))
}

/// Counts what is read of the workbook.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(bytes)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests;
