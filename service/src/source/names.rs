//! Names for integer labels, in the notes that the Hugging Face datasets library leaves: in a Parquet file's metadata, in
//! `dataset_infos.json`, in the answers of its server, or as a plain list of names beside the rows.

use serde_json::Value;

/// Objects inside objects are looked into up to here.
const MAX_DEPTH: usize = 6;
/// Most names that are taken.
const MAX_NAMES: usize = 2000;

/// The names of that column's labels, 0 first.
pub fn find(notes: &[Value], column: &str) -> Option<Vec<String>> {
    notes.iter().find_map(|note| of_feature(note, column, 0)).or_else(|| notes.iter().find_map(plain))
}

/// `{"features": {"label": {"names": [...]}}}`, or `{"features": [{"name": "label", "type": {"names": [...]}}]}`.
fn of_feature(note: &Value, column: &str, depth: usize) -> Option<Vec<String>> {
    if depth > MAX_DEPTH {
        return None;
    }
    match note {
        Value::Object(entries) => {
            let is_it = entries.get("name").and_then(Value::as_str) == Some(column);
            let feature = if is_it { entries.get("type") } else { entries.get(column) };
            let names = feature.and_then(|feature| feature.get("names")).and_then(names_in);
            names.or_else(|| entries.values().find_map(|value| of_feature(value, column, depth + 1)))
        }
        Value::Array(values) => values.iter().find_map(|value| of_feature(value, column, depth + 1)),
        _ => None,
    }
}

/// `{"label_names": [...]}` and the like, of a file with one column of labels.
fn plain(note: &Value) -> Option<Vec<String>> {
    ["label_names", "class_names", "names", "classes", "id2label"].iter().find_map(|key| names_in(note.get(*key)?))
}

/// A list of names, or an object from numbers to names.
fn names_in(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| value.as_str().map(String::from);
    match value {
        Value::Array(values) if !values.is_empty() && values.len() <= MAX_NAMES => values.iter().map(name).collect(),
        Value::Object(entries) if !entries.is_empty() && entries.len() <= MAX_NAMES => {
            (0..entries.len()).map(|index| name(entries.get(&index.to_string())?)).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_the_library_writes_them() {
        for note in [
            r#"{"info": {"features": {"text": {"_type": "Value"}, "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}"#,
            r#"{"default": {"features": {"label": {"names": {"0": "neg", "1": "pos"}}}}}"#,
            r#"{"features": [{"feature_idx": 1, "name": "label", "type": {"names": ["neg", "pos"]}}]}"#,
            r#"{"label_names": ["neg", "pos"]}"#,
            r#"{"id2label": {"1": "pos", "0": "neg"}}"#,
        ] {
            let note: Value = serde_json::from_str(note).unwrap();
            assert_eq!(find(&[note], "label").unwrap(), ["neg", "pos"]);
        }
        let other =
            serde_json::from_str(r#"{"features": {"topic": {"names": ["a"]}, "label": {"names": [1]}}}"#).unwrap();
        assert_eq!(find(&[other], "label"), None);
    }
}
