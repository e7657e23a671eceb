//! What the objects of a JSON file are to a table: plain columns, nested ones with dots in their names, or conversations,
//! of which the user's words and the assistant's answer become columns.

use super::value::Json;
use crate::source::fields::Fields;
use crate::source::{MAX_COLUMNS, MAX_RECORD_BYTES};
use std::collections::HashMap;

/// Objects inside objects up to here become columns of their own; deeper ones stay JSON.
const MAX_DEPTH: usize = 4;
/// Columns that a conversation becomes.
const TURNS: [&str; 3] = ["system", "user", "assistant"];

/// How conversations are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chat {
    /// A list of objects with `role` and `content`.
    OpenAi,
    /// A list of objects with `from` and `value`.
    ShareGpt,
}

/// From objects to the fields of a table.
pub struct Shape {
    pub columns: Vec<String>,
    places: HashMap<String, usize>,
    /// The key of the conversation.
    chat: Option<(String, Chat)>,
    /// In words for the person, where there is something to say.
    pub words: Option<&'static str>,
    /// The fields of the record that is being taken apart.
    slots: Vec<String>,
}

impl Shape {
    /// Of the first records of a file. Records that are lists have numbered columns, unless `names` has names for them.
    pub fn find(records: &[Json], names: &[String]) -> Self {
        let chat = records.iter().find_map(chat_of);
        let mut shape = Self { columns: Vec::new(), places: HashMap::new(), chat, words: None, slots: Vec::new() };
        if shape.chat.is_some() {
            TURNS.iter().for_each(|turn| shape.add(turn));
        }
        for record in records {
            match record {
                Json::Object(entries) => shape.add_keys(&mut String::new(), entries, 1),
                Json::List(values) => (0..values.len()).for_each(|index| match names.get(index) {
                    Some(name) => shape.add(name),
                    None => shape.add(&format!("Column {}", index + 1)),
                }),
                _ => {}
            }
        }
        shape.words = shape.describe();
        shape.slots = vec![String::new(); shape.columns.len()];
        shape
    }

    fn describe(&self) -> Option<&'static str> {
        let has = |name: &str| self.places.contains_key(name);
        match self.chat {
            Some((_, Chat::OpenAi)) => Some("chat messages (OpenAI)"),
            Some((_, Chat::ShareGpt)) => Some("conversations (ShareGPT)"),
            None if has("instruction") && has("output") => Some("instructions (Alpaca)"),
            None => None,
        }
    }

    fn add(&mut self, name: &str) {
        // One more than is allowed, so that there are seen to be too many.
        if !self.places.contains_key(name) && self.columns.len() <= MAX_COLUMNS {
            self.places.insert(name.to_string(), self.columns.len());
            self.columns.push(name.to_string());
        }
    }

    fn add_keys(&mut self, path: &mut String, entries: &[(String, Json)], depth: usize) {
        for (key, value) in entries {
            if depth == 1 && self.chat.as_ref().is_some_and(|(chat, _)| chat == key) {
                continue;
            }
            let length = path.len();
            path.push_str(key);
            match value {
                Json::Object(inner) if depth < MAX_DEPTH && !inner.is_empty() => {
                    path.push('.');
                    self.add_keys(path, inner, depth + 1);
                }
                _ => self.add(path),
            }
            path.truncate(length);
        }
    }

    /// The record's fields, as many as there are columns.
    ///
    /// # Errors
    /// It is neither an object nor a list, or too long.
    pub fn write(&mut self, record: &Json, fields: &mut Fields) -> Result<(), String> {
        self.slots.iter_mut().for_each(String::clear);
        match record {
            Json::Object(entries) => {
                self.write_chat(record);
                self.write_keys(&mut String::new(), entries, 1);
            }
            Json::List(values) if values.len() > self.slots.len() => {
                return Err("more fields than there are columns".to_string());
            }
            Json::List(values) => {
                for (slot, value) in self.slots.iter_mut().zip(values) {
                    value.write_field(slot);
                }
            }
            _ => return Err("a row must be an object with names and values".to_string()),
        }
        fields.clear();
        self.slots.iter().for_each(|slot| fields.push(slot));
        if fields.bytes() > 2 * MAX_RECORD_BYTES { Err("the row is longer than 1 MB".to_string()) } else { Ok(()) }
    }

    fn write_keys(&mut self, path: &mut String, entries: &[(String, Json)], depth: usize) {
        for (key, value) in entries {
            let length = path.len();
            path.push_str(key);
            match (self.places.get(path.as_str()), value) {
                // Of a key that is there twice, the last counts.
                (Some(place), _) if !self.is_turn(*place) => {
                    let slot = &mut self.slots[*place];
                    slot.clear();
                    value.write_field(slot);
                }
                (_, Json::Object(inner)) if depth < MAX_DEPTH => {
                    path.push('.');
                    self.write_keys(path, inner, depth + 1);
                }
                _ => {}
            }
            path.truncate(length);
        }
    }

    fn is_turn(&self, place: usize) -> bool {
        self.chat.is_some() && place < TURNS.len()
    }

    /// What the user has said in all, and the assistant's last answer.
    fn write_chat(&mut self, record: &Json) {
        let Some((key, chat)) = &self.chat else { return };
        let Some(Json::List(messages)) = record.get(key) else { return };
        for message in messages {
            let Some((turn, words)) = turn_of(message, *chat) else { continue };
            let slot = &mut self.slots[turn];
            if TURNS[turn] == "assistant" {
                slot.clear();
            } else if !slot.is_empty() {
                slot.push('\n');
            }
            slot.push_str(&words);
        }
    }
}

/// The conversation that an object holds.
fn chat_of(record: &Json) -> Option<(String, Chat)> {
    ["messages", "conversations", "conversation"].into_iter().find_map(|key| {
        let Json::List(messages) = record.get(key)? else { return None };
        let first = messages.first()?;
        let chat = match () {
            () if first.get("role").is_some() && first.get("content").is_some() => Chat::OpenAi,
            () if first.get("from").is_some() && first.get("value").is_some() => Chat::ShareGpt,
            () => return None,
        };
        Some((key.to_string(), chat))
    })
}

/// Whose turn a message is, by its place in [`TURNS`], and what is said.
fn turn_of(message: &Json, chat: Chat) -> Option<(usize, String)> {
    let (who, what) = match chat {
        Chat::OpenAi => (message.get("role")?.text()?, message.get("content")?),
        Chat::ShareGpt => (message.get("from")?.text()?, message.get("value")?),
    };
    let turn = match who {
        "system" | "developer" => 0,
        "user" | "human" | "prompter" => 1,
        "assistant" | "gpt" | "chatgpt" | "bot" | "model" => 2,
        _ => return None,
    };
    let mut words = String::new();
    match what {
        // Content in parts, of which the texts are read.
        Json::List(parts) => {
            for text in parts.iter().filter_map(|part| part.get("text").and_then(Json::text)) {
                words.push_str(text);
            }
        }
        what => what.write_field(&mut words),
    }
    Some((turn, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(records: &[&str]) -> (Vec<String>, Vec<Vec<String>>, Option<&'static str>) {
        let records: Vec<Json> = records.iter().map(|record| Json::parse(record).unwrap()).collect();
        let mut shape = Shape::find(&records, &[]);
        let rows = records.iter().map(|record| {
            let mut fields = Fields::default();
            shape.write(record, &mut fields).unwrap();
            fields.iter().map(String::from).collect()
        });
        let rows = rows.collect();
        (shape.columns, rows, shape.words)
    }

    #[test]
    fn objects_become_columns_in_the_order_of_their_keys() {
        let (columns, rows, words) = table(&[
            r#"{"text": "a", "label": 1, "meta": {"by": "x", "at": {"day": 2}}, "tags": ["p"]}"#,
            r#"{"label": 0, "text": "b", "new": null, "text": "c"}"#,
        ]);
        assert_eq!(columns, ["text", "label", "meta.by", "meta.at.day", "tags", "new"]);
        assert_eq!(rows[0], ["a", "1", "x", "2", "[\"p\"]", ""]);
        assert_eq!(rows[1], ["c", "0", "", "", "", ""]);
        assert_eq!(words, None);
    }

    #[test]
    fn conversations_become_what_was_said_and_the_answer() {
        let (columns, rows, words) = table(&[
            r#"{"id": 7, "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "Yes"}, {"role": "user", "content": [{"type": "text", "text": "Two?"}]},
                {"role": "assistant", "content": "No"}, {"role": "tool", "content": "x"}]}"#,
            r#"{"id": 8, "user": "not this", "messages": [{"role": "user", "content": "Alone"}]}"#,
        ]);
        assert_eq!(columns, ["system", "user", "assistant", "id"]);
        assert_eq!(rows[0], ["Be kind.", "One?\nTwo?", "No", "7"]);
        assert_eq!(rows[1], ["", "Alone", "", "8"]);
        assert_eq!(words, Some("chat messages (OpenAI)"));
        let (_, rows, words) =
            table(&[r#"{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}"#]);
        assert_eq!((rows[0].join("|"), words), ("|Hi|Ho".to_string(), Some("conversations (ShareGPT)")));
    }

    #[test]
    fn what_is_no_row_says_so() {
        let mut shape = Shape::find(&[Json::parse("[1, 2]").unwrap()], &[]);
        let mut fields = Fields::default();
        assert!(shape.write(&Json::parse("[1, 2, 3]").unwrap(), &mut fields).is_err());
        assert!(shape.write(&Json::parse("7").unwrap(), &mut fields).is_err());
        shape.write(&Json::parse("[\"a\"]").unwrap(), &mut fields).unwrap();
        assert_eq!(fields.iter().collect::<Vec<_>>(), ["a", ""]);
        assert_eq!(
            Shape::find(&[Json::parse(r#"{"instruction": "", "output": ""}"#).unwrap()], &[]).words,
            Some("instructions (Alpaca)")
        );
    }
}
