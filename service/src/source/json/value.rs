//! One JSON value as a file has it: keys in their order, numbers as words.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// # Errors
    /// It is no JSON, in a few words without a place.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            let words = error.to_string();
            let words = words.split(" at line ").next().unwrap_or_default();
            format!("not valid JSON: {words} at character {}", error.column())
        })
    }

    /// As a field of a table: nothing for null, plain words for what is plain, JSON for the rest.
    pub fn write_field(&self, field: &mut String) {
        match self {
            Self::Null => {}
            Self::Text(text) => field.push_str(text),
            _ => self.write_json(field),
        }
    }

    fn write_json(&self, json: &mut String) {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(is_true) => json.push_str(if *is_true { "true" } else { "false" }),
            Self::Number(number) => json.push_str(number),
            Self::Text(text) => json.push_str(&quote(text)),
            Self::List(values) => {
                json.push('[');
                for (index, value) in values.iter().enumerate() {
                    json.push_str(if index > 0 { ", " } else { "" });
                    value.write_json(json);
                }
                json.push(']');
            }
            Self::Object(entries) => {
                json.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    json.push_str(if index > 0 { ", " } else { "" });
                    json.push_str(&quote(key));
                    json.push_str(": ");
                    value.write_json(json);
                }
                json.push('}');
            }
        }
    }

    pub fn get(&self, wanted: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries.iter().rev().find(|(key, _)| key == wanted).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(serde_json::Value::from(value).to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_string()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_plain_words_or_json() {
        for (json, field) in [
            ("null", ""),
            ("true", "true"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.0", "1.0"),
            ("0.1", "0.1"),
            ("\"a \\u00e7 \\ud83d\\ude00\\n\"", "a ç 😀\n"),
            ("[1, \"a\\\"\", null]", "[1, \"a\\\"\", null]"),
            ("{\"z\": 1, \"a\": {\"b\": []}}", "{\"z\": 1, \"a\": {\"b\": []}}"),
        ] {
            let mut found = String::new();
            Json::parse(json).unwrap().write_field(&mut found);
            assert_eq!(found, field, "{json}");
        }
        for broken in ["", "{", "{\"a\" 1}", "\"\\ud83d\"", "nul", &"[".repeat(100_000)] {
            let reason = Json::parse(broken).unwrap_err();
            assert!(reason.starts_with("not valid JSON") && !reason.contains("line"), "{reason}");
        }
    }
}
