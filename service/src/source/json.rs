//! Reading JSON: one object per line, a list of objects wherever in the file it is, or an object of columns. Only the
//! object at hand is in memory.

mod columns;
mod cursor;
mod outline;
mod shape;
mod value;

use super::columns::name_columns;
use super::container::Container;
use super::decoded::Decoded;
use super::fields::Fields;
use super::{excerpt, too_many_columns};
use crate::error::Result;
use crate::source::MAX_COLUMNS;
use columns::JsonColumns;
use cursor::{Cursor, Ending, Found};
use domain::dataset::RejectedRow;
use domain::error::UserError;
use domain::reading::FileFormat;
use encoding_rs::Encoding;
use outline::{Layout, Outline};
pub use shape::Shape;
pub use value::Json;

/// Records that the columns are looked for in, and bytes of them.
const SHAPE_RECORDS: usize = 1000;
const SHAPE_BYTES: usize = 4 << 20;
/// The column that says which of several lists a row is from.
const PART_COLUMN: &str = "split";

/// Goes through the rows of a JSON file.
pub struct JsonRecords {
    pub columns: Vec<String>,
    /// What may name the labels.
    pub notes: Vec<serde_json::Value>,
    /// In words for the person.
    pub shape: Option<&'static str>,
    source: Source,
    fields: Fields,
}

enum Source {
    Items(Items, Shape),
    Columns(JsonColumns),
}

impl JsonRecords {
    /// `needed` are the columns that are wanted, `None` all of them.
    pub fn open(
        container: &Container,
        encoding: &'static Encoding,
        format: FileFormat,
        needed: Option<&[usize]>,
    ) -> Result<Self> {
        let cursor = || Ok(Cursor::new(Decoded::new(container.stream()?, encoding)));
        let outline = match format {
            FileFormat::JsonLines => Outline::of_lines(),
            _ => Outline::find(&mut cursor()?)?,
        };
        if let Layout::Columns(names) = &outline.layout {
            let source = JsonColumns::open(cursor, names, needed)?;
            return Ok(Self {
                columns: name_columns(names),
                notes: outline.notes,
                shape: Some("one list or object per column"),
                source: Source::Columns(source),
                fields: Fields::default(),
            });
        }
        let shape = Items::new(cursor()?, outline.layout.clone()).shape(&outline.names)?;
        let items = Items::new(cursor()?, outline.layout);
        let mut names = shape.columns.clone();
        if items.has_parts() {
            names.push(PART_COLUMN.to_string());
        }
        if names.len() > MAX_COLUMNS {
            return Err(too_many_columns().into());
        }
        Ok(Self {
            columns: name_columns(&names),
            notes: outline.notes,
            shape: shape.words,
            source: Source::Items(items, shape),
            fields: Fields::default(),
        })
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn excerpt(&self) -> String {
        match &self.source {
            Source::Items(items, _) => excerpt(items.cursor.value()),
            Source::Columns(_) => excerpt(&self.fields.iter().collect::<Vec<_>>().join(" ")),
        }
    }

    pub fn share(&self) -> f64 {
        match &self.source {
            Source::Items(items, _) => items.cursor.share(),
            Source::Columns(columns) => columns.share(),
        }
    }

    /// As [`super::records::Records::next_record`].
    pub fn next_record(&mut self) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        let (items, shape) = match &mut self.source {
            Source::Columns(columns) => return columns.next_record(&mut self.fields),
            Source::Items(items, shape) => (items, shape),
        };
        let Some(found) = items.next_item()? else { return Ok(None) };
        let taken = items.parse(&found).and_then(|record| shape.write(&record, &mut self.fields));
        if let Err(reason) = taken {
            return Ok(Some(Err(RejectedRow { line: found.line, reason, excerpt: excerpt(items.cursor.value()) })));
        }
        if items.has_parts() {
            self.fields.push(&items.list);
        }
        Ok(Some(Ok(found.line)))
    }
}

/// The rows of a file, one JSON value after the other.
struct Items {
    cursor: Cursor,
    layout: Layout,
    stage: Stage,
    /// The key of the list that the last row is from.
    list: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    /// Among the keys of an object, some of which hold lists of rows.
    Keys,
    /// Before a row or the end of the list.
    BeforeRow,
    /// Before a comma or the end of the list.
    AfterRow,
    Done,
}

impl Items {
    fn new(cursor: Cursor, layout: Layout) -> Self {
        Self { cursor, layout, stage: Stage::Start, list: String::new() }
    }

    /// Rows come from several lists, which are the parts of a split.
    fn has_parts(&self) -> bool {
        matches!(&self.layout, Layout::Lists(keys) if keys.len() > 1)
    }

    /// The shape that the first rows have.
    fn shape(mut self, names: &[String]) -> Result<Shape> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < SHAPE_RECORDS && bytes < SHAPE_BYTES {
            let Some(found) = self.next_item()? else { break };
            // Room is taken by what cannot be read, too, or a file of nothing else would be gone through to its end.
            bytes += self.cursor.value().len() + 64;
            records.extend(self.parse(&found));
        }
        Ok(Shape::find(&records, names))
    }

    /// The value that was found, or in words why it is none.
    fn parse(&self, found: &Found) -> std::result::Result<Json, String> {
        match found.end {
            Ending::TooLong => Err("the row is longer than 1 MB".to_string()),
            Ending::Cut => Err("the file ends inside this row; it was cut".to_string()),
            Ending::Whole => Json::parse(self.cursor.value()),
        }
    }

    /// Passes over the next row; `None` behind the last one.
    fn next_item(&mut self) -> Result<Option<Found>> {
        if self.layout == Layout::Lines {
            return self.cursor.pass_line();
        }
        loop {
            match self.stage {
                Stage::Start => {
                    self.cursor.expect(if self.layout == Layout::List { b'[' } else { b'{' })?;
                    self.stage = if matches!(self.layout, Layout::Lists(_)) { Stage::Keys } else { Stage::BeforeRow };
                }
                Stage::Keys => match self.cursor.peek()? {
                    None => return Ok(Some(self.cut())),
                    Some(b'}') => self.stage = Stage::Done,
                    Some(b',') => self.cursor.expect(b',')?,
                    Some(_) => self.enter_key()?,
                },
                Stage::BeforeRow if self.cursor.take(self.end())? => self.leave_list(),
                Stage::BeforeRow => {
                    if self.cursor.peek()?.is_none() {
                        return Ok(Some(self.cut()));
                    }
                    if self.layout == Layout::Rows {
                        self.cursor.key()?;
                    }
                    let found = self.cursor.pass_value()?;
                    self.stage = if found.end == Ending::Cut { Stage::Done } else { Stage::AfterRow };
                    return Ok(Some(found));
                }
                Stage::AfterRow if self.cursor.take(self.end())? => self.leave_list(),
                Stage::AfterRow => {
                    if self.cursor.peek()?.is_none() {
                        return Ok(Some(self.cut()));
                    }
                    self.cursor.expect(b',')?;
                    self.stage = Stage::BeforeRow;
                }
                Stage::Done => return Ok(None),
            }
        }
    }

    /// The file ends where more should come.
    fn cut(&mut self) -> Found {
        self.stage = Stage::Done;
        Found { line: self.cursor.line(), end: Ending::Cut }
    }

    fn end(&self) -> u8 {
        if self.layout == Layout::Rows { b'}' } else { b']' }
    }

    fn leave_list(&mut self) {
        self.stage = if matches!(self.layout, Layout::Lists(_)) { Stage::Keys } else { Stage::Done };
    }

    fn enter_key(&mut self) -> Result<()> {
        let key = self.cursor.key()?;
        let Layout::Lists(keys) = &self.layout else { return Ok(()) };
        if keys.contains(&key) && self.cursor.take(b'[')? {
            self.list = key;
            self.stage = Stage::BeforeRow;
            return Ok(());
        }
        let found = self.cursor.pass_value()?;
        if found.end == Ending::Cut {
            return Err(UserError::invalid(format!(
                "The JSON ends inside the value that begins on line {}; the file was cut.",
                found.line
            ))
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
