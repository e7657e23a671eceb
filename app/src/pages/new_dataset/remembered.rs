//! Uploads that this browser has begun, so that the same file goes on after a reload. Browser only.

use leptos::prelude::window;
use serde::{Deserialize, Serialize};

const KEY: &str = "ayar-uploads";
/// Older ones are forgotten; the server keeps them for a day anyway.
const MOST: usize = 20;

/// An upload and the file that it is of. The same name, size and time of the last change are taken for the same file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RememberedUpload {
    pub upload: String,
    pub file_name: String,
    pub bytes: f64,
    pub changed_at_ms: f64,
}

impl RememberedUpload {
    pub fn is_of(&self, file: &web_sys::File) -> bool {
        self.file_name == file.name() && self.bytes == file.size() && self.changed_at_ms == file.last_modified()
    }
}

/// The newest last.
pub fn all() -> Vec<RememberedUpload> {
    let stored = storage().and_then(|storage| storage.get_item(KEY).ok().flatten()).unwrap_or_default();
    serde_json::from_str(&stored).unwrap_or_default()
}

pub fn find(file: &web_sys::File) -> Option<String> {
    all().into_iter().rev().find(|known| known.is_of(file)).map(|known| known.upload)
}

pub fn remember(upload: &str, file: &web_sys::File) {
    let mut known = all();
    known.retain(|known| known.upload != upload && !known.is_of(file));
    known.push(RememberedUpload {
        upload: upload.to_string(),
        file_name: file.name(),
        bytes: file.size(),
        changed_at_ms: file.last_modified(),
    });
    let first = known.len().saturating_sub(MOST);
    write(&known[first..]);
}

pub fn forget(upload: &str) {
    let mut known = all();
    known.retain(|known| known.upload != upload);
    write(&known);
}

/// A browser that keeps nothing only loses the going on after a reload.
fn write(known: &[RememberedUpload]) {
    if let (Some(storage), Ok(json)) = (storage(), serde_json::to_string(known)) {
        let _ = storage.set_item(KEY, &json);
    }
}

fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}
