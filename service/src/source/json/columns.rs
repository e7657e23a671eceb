//! A JSON object of columns, as pandas writes it: `{"text": ["a", "b"], "label": {"0": "x", "1": "y"}}`. The columns
//! stand one behind the other in the file, so each that is wanted is read by a cursor of its own.

use super::cursor::{Cursor, Ending};
use super::value::Json;
use crate::error::Result;
use crate::source::fields::Fields;
use domain::dataset::RejectedRow;
use domain::error::UserError;

/// Most columns that are read at a time; each takes half a megabyte.
const MAX_CURSORS: usize = 64;

pub struct JsonColumns {
    /// By their places among all columns.
    cursors: Vec<(usize, ColumnCursor)>,
    width: usize,
    row: String,
}

/// Stands before a value of a column, or before its end.
struct ColumnCursor {
    cursor: Cursor,
    name: String,
    /// Values have keys.
    is_object: bool,
    is_first: bool,
}

/// A value of a column.
struct Entry {
    line: u64,
    /// In an object of values.
    key: Option<String>,
    value: std::result::Result<Json, String>,
}

impl JsonColumns {
    pub fn open(cursor: impl Fn() -> Result<Cursor>, names: &[String], needed: Option<&[usize]>) -> Result<Self> {
        let wanted: Vec<usize> = match needed {
            Some(needed) => needed.iter().copied().filter(|column| *column < names.len()).collect(),
            None => (0..names.len()).collect(),
        };
        if wanted.len() > MAX_CURSORS {
            return Err(UserError::invalid(format!(
                "The JSON is an object of {} columns; written in this way, at most {MAX_CURSORS} can be read. Write one \
                 object per line instead (in pandas: orient=\"records\", lines=True).",
                wanted.len()
            ))
            .into());
        }
        let open = |column: usize| Ok((column, ColumnCursor::open(cursor()?, &names[column])?));
        let cursors = wanted.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { cursors, width: names.len(), row: String::new() })
    }

    pub fn share(&self) -> f64 {
        self.cursors.first().map_or(1.0, |(_, column)| column.cursor.share())
    }

    /// # Errors
    /// The columns do not fit together, or the JSON breaks off.
    pub fn next_record(&mut self, fields: &mut Fields) -> Result<Option<std::result::Result<u64, RejectedRow>>> {
        let mut first: Option<(u64, Option<String>)> = None;
        let mut problem = None;
        let mut ended = 0;
        fields.clear();
        for (read, (column, cursor)) in self.cursors.iter_mut().enumerate() {
            let Some(entry) = cursor.next_entry()? else {
                ended += 1;
                continue;
            };
            if ended > 0 || first.as_ref().is_some_and(|(_, key)| *key != entry.key) {
                return Err(UserError::invalid(format!(
                    "The columns of the JSON do not fit together: at line {} column \"{}\" has another row than the \
                     first column.",
                    entry.line, cursor.name
                ))
                .into());
            }
            fields.fill_up(*column);
            self.row.clear();
            match entry.value {
                Ok(value) => value.write_field(&mut self.row),
                Err(reason) => problem = problem.or(Some(reason)),
            }
            fields.push(&self.row);
            if read == 0 {
                first = Some((entry.line, entry.key));
            }
        }
        fields.fill_up(self.width);
        let Some((line, _)) = first else { return Ok(None) };
        if ended > 0 {
            let short = "The columns of the JSON do not fit together: one has fewer values than the first.";
            return Err(UserError::invalid(short).into());
        }
        Ok(Some(match problem {
            Some(reason) => Err(RejectedRow { line, reason, excerpt: String::new() }),
            None => Ok(line),
        }))
    }
}

impl ColumnCursor {
    fn open(mut cursor: Cursor, name: &str) -> Result<Self> {
        cursor.expect(b'{')?;
        loop {
            let is_it = cursor.key()? == name;
            let start = cursor.peek()?;
            if is_it && matches!(start, Some(b'[' | b'{')) {
                let is_object = start == Some(b'{');
                cursor.expect(if is_object { b'{' } else { b'[' })?;
                return Ok(Self { cursor, name: name.to_string(), is_object, is_first: true });
            }
            cursor.pass_value()?;
            cursor.expect(b',')?;
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>> {
        let end = if self.is_object { b'}' } else { b']' };
        match self.cursor.peek()? {
            Some(byte) if byte == end => return Ok(None),
            Some(_) if std::mem::take(&mut self.is_first) => {}
            _ => self.cursor.expect(b',')?,
        }
        let key = if self.is_object { Some(self.cursor.key()?) } else { None };
        let found = self.cursor.pass_value()?;
        let value = match found.end {
            Ending::Whole => Json::parse(self.cursor.value()),
            Ending::TooLong => Err("the value is longer than 1 MB".to_string()),
            Ending::Cut => Err("the file ends inside this value; it was cut".to_string()),
        };
        Ok(Some(Entry { line: found.line, key, value }))
    }
}
