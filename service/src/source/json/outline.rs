//! Where in a JSON file the rows are.

use super::cursor::{Cursor, Ending};
use super::value::Json;
use crate::error::Result;
use crate::source::MAX_COLUMNS;
use crate::source::plan::part_named;
use domain::error::UserError;

/// Keys that lists of rows go by.
const ROW_KEYS: [&str; 9] = ["data", "rows", "examples", "records", "items", "samples", "train", "results", "entries"];
/// Keys beside the rows that say something about labels.
const NOTE_KEYS: [&str; 7] = ["features", "names", "label_names", "class_names", "classes", "id2label", "dataset_info"];
/// Longest such note, in bytes.
const NOTE_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One row per line.
    Lines,
    /// A list of rows and nothing else.
    List,
    /// An object in which the values of these keys are lists of rows. Several are the parts of a split.
    Lists(Vec<String>),
    /// An object whose values are rows.
    Rows,
    /// An object whose values are columns.
    Columns(Vec<String>),
}

/// A file's layout and what stands beside its rows.
#[derive(Debug)]
pub struct Outline {
    pub layout: Layout,
    /// Names of the columns, where rows are lists.
    pub names: Vec<String>,
    /// What may name the labels.
    pub notes: Vec<serde_json::Value>,
}

/// What the value of a key begins like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    ListOfRows,
    ListOfLists,
    List,
    Object,
    Plain,
}

impl Outline {
    pub fn of_lines() -> Self {
        Self { layout: Layout::Lines, names: Vec::new(), notes: Vec::new() }
    }

    /// Goes through the outermost values of the file.
    ///
    /// # Errors
    /// There are no rows in it.
    pub fn find(cursor: &mut Cursor) -> Result<Self> {
        let mut outline = Self { layout: Layout::List, names: Vec::new(), notes: Vec::new() };
        match cursor.peek()? {
            Some(b'[') => return Ok(outline),
            Some(b'{') => cursor.expect(b'{')?,
            _ => return Err(UserError::invalid("The file holds no JSON object and no list of rows.").into()),
        }
        let mut starts: Vec<(String, Start)> = Vec::new();
        // Entries of the first value that is an object, to tell columns from rows.
        let mut inner = None;
        let mut entries = 0_usize;
        loop {
            if matches!(cursor.peek()?, Some(b'}') | None) {
                break;
            }
            if entries > 0 {
                cursor.expect(b',')?;
            }
            let key = cursor.key()?;
            let start = start_of(cursor.peek_two()?);
            let found = cursor.pass_value()?;
            entries += 1;
            if found.end == Ending::Whole
                && (start == Start::Object && inner.is_none() || is_told(&key, cursor.value()))
            {
                outline.look_inside(&key, start, cursor.value(), &mut inner);
            }
            if starts.len() <= MAX_COLUMNS {
                starts.push((key, start));
            }
            if found.end == Ending::Cut {
                break;
            }
        }
        outline.layout = layout_of(starts, entries, inner)?;
        Ok(outline)
    }

    fn look_inside(&mut self, key: &str, start: Start, value: &str, inner: &mut Option<usize>) {
        if start == Start::Object
            && inner.is_none()
            && let Ok(Json::Object(entries)) = Json::parse(value)
        {
            *inner = Some(entries.len());
        }
        if key == "columns"
            && let Ok(names) = serde_json::from_str(value)
        {
            self.names = names;
        }
        if NOTE_KEYS.contains(&key)
            && let Ok(note) = serde_json::from_str::<serde_json::Value>(value)
        {
            self.notes.push(serde_json::json!({ key: note }));
        }
    }
}

/// Says something about the rows, and is short enough to be read for it.
fn is_told(key: &str, value: &str) -> bool {
    (key == "columns" || NOTE_KEYS.contains(&key)) && value.len() <= NOTE_BYTES
}

fn start_of(marks: [u8; 2]) -> Start {
    match marks {
        [b'[', b'{'] => Start::ListOfRows,
        [b'[', b'['] => Start::ListOfLists,
        [b'[', _] => Start::List,
        [b'{', _] => Start::Object,
        _ => Start::Plain,
    }
}

fn layout_of(starts: Vec<(String, Start)>, entries: usize, inner: Option<usize>) -> Result<Layout> {
    let keys_of = |wanted: &[Start]| -> Vec<String> {
        let is_wanted = |(key, start): &&(String, Start)| wanted.contains(start) && !NOTE_KEYS.contains(&key.as_str());
        starts.iter().filter(is_wanted).map(|(key, _)| key.clone()).collect()
    };
    let is_columns = |key: &str| starts.iter().any(|(known, start)| known == key && *start == Start::List);
    let mut lists = keys_of(&[Start::ListOfRows]);
    if lists.is_empty() && is_columns("columns") {
        lists = keys_of(&[Start::ListOfLists]);
    }
    if !lists.is_empty() {
        if !lists.iter().all(|key| part_named(key).is_some()) {
            let known = lists.iter().position(|key| ROW_KEYS.contains(&key.as_str())).unwrap_or(0);
            lists = vec![lists.swap_remove(known)];
        }
        return Ok(Layout::Lists(lists));
    }
    let objects = keys_of(&[Start::Object]);
    let is_number = |key: &String| key.parse::<u64>().is_ok();
    let are_rows = objects.iter().all(is_number) || inner.is_some_and(|inner| entries > inner);
    if !objects.is_empty() && are_rows {
        return Ok(Layout::Rows);
    }
    let columns = keys_of(&[Start::Object, Start::List, Start::ListOfLists]);
    if columns.is_empty() {
        return Err(UserError::invalid(
            "The JSON is one object without rows in it. It should be a list of objects, an object with such a list, or \
             an object with a list for every column.",
        )
        .into());
    }
    Ok(Layout::Columns(columns))
}
