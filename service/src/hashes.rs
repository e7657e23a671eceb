//! SHA-256 of what a run is made of: rows, base models, adapters. Files of gigabytes are read once and then known by their
//! length and time.

use crate::db::Database;
use crate::error::{Result, ServiceError};
use domain::manifest::PartHash;
use engine::train::Example;
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Read at once.
const PIECE_BYTES: usize = 1 << 20;

/// What of a folder makes the model; a README beside it does not.
const MODEL_ENDINGS: [&str; 5] = ["safetensors", "json", "model", "jinja", "txt"];

/// What of an adapter's folder makes its answers; what is noted beside it may change.
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Of texts and labels, in order: each with its length before it, so that nothing can stand for something else.
pub fn hash_rows(labels: &[String], rows: &[Example]) -> PartHash {
    let mut hasher = Sha256::new();
    for row in rows {
        for words in [row.text.as_str(), labels.get(row.label).map_or("", String::as_str)] {
            hasher.update((words.len() as u64).to_le_bytes());
            hasher.update(words.as_bytes());
        }
    }
    PartHash { rows: rows.len() as u64, hash: hex(&hasher.finalize()) }
}

/// Of a base model: the file's own hash, or of a folder that of its files' names and hashes. Blocks.
pub fn hash_base(path: &Path) -> Result<String> {
    if path.is_file() {
        return hash_file(path);
    }
    hash_folder(path, &model_files(path)?)
}

/// Of an adapter's weights and configuration. Blocks.
pub fn hash_adapter(folder: &Path) -> Result<String> {
    let files: Vec<PathBuf> = ADAPTER_FILES.iter().map(|name| folder.join(name)).collect();
    hash_folder(folder, &files)
}

fn model_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| ServiceError::io(folder, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // Files of the Hub's cache are links to what they are called by.
        if MODEL_ENDINGS.contains(&ending) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn hash_folder(folder: &Path, files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(file).to_string_lossy();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(hash_file(file)?.as_bytes());
    }
    Ok(hex(&hasher.finalize()))
}

fn hash_file(path: &Path) -> Result<String> {
    let io = |error| ServiceError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece).map_err(io)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&piece[..read]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Remembers the hashes of base models from start to start.
#[derive(Clone)]
pub(crate) struct KnownHashes {
    db: Database,
}

impl KnownHashes {
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// Of a base model, read only if it is not as it was when it was read last.
    pub async fn of_base(&self, path: PathBuf) -> Result<String> {
        let (name, measured) = (path.to_string_lossy().into_owned(), path.clone());
        let (bytes, modified_ms) = crate::datasets::blocking(move || measure(&measured)).await?;
        let known = sqlx::query("SELECT hash FROM file_hashes WHERE path = $1 AND bytes = $2 AND modified_ms = $3")
            .bind(&name)
            .bind(bytes)
            .bind(modified_ms)
            .fetch_optional(&self.db.pool)
            .await?;
        if let Some(row) = known {
            return Ok(row.try_get("hash")?);
        }
        let hash = crate::datasets::blocking(move || hash_base(&path)).await?;
        sqlx::query(
            "INSERT INTO file_hashes (path, bytes, modified_ms, hash) VALUES ($1, $2, $3, $4) ON CONFLICT (path) DO \
             UPDATE SET bytes = $2, modified_ms = $3, hash = $4",
        )
        .bind(name)
        .bind(bytes)
        .bind(modified_ms)
        .bind(&hash)
        .execute(&self.db.pool)
        .await?;
        Ok(hash)
    }
}

/// Length of all its files, and the time of the one that was changed last.
fn measure(path: &Path) -> Result<(i64, i64)> {
    let files = if path.is_file() { vec![path.to_path_buf()] } else { model_files(path)? };
    let (mut bytes, mut newest) = (0, 0);
    for file in files {
        let metadata = std::fs::metadata(&file).map_err(|error| ServiceError::io(&file, error))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        bytes += metadata.len() as i64;
        newest = newest.max(modified.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)));
    }
    Ok((bytes, newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, label: usize) -> Example {
        Example { text: text.to_string(), label }
    }

    #[test]
    fn rows_have_their_own_hash_whatever_their_borders() {
        let labels = ["a".to_string(), "b".to_string()];
        let of = |rows: &[Example]| hash_rows(&labels, rows).hash;
        assert_eq!(of(&[row("x", 0)]), of(&[row("x", 0)]));
        assert_ne!(of(&[row("x", 0)]), of(&[row("x", 1)]));
        assert_ne!(of(&[row("xa", 0), row("y", 0)]), of(&[row("x", 0), row("ay", 0)]));
        assert_ne!(of(&[row("x", 0), row("y", 0)]), of(&[row("y", 0), row("x", 0)]));
        // SHA-256 of nothing.
        assert!(of(&[]).starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    }

    #[test]
    fn a_model_is_its_files_and_not_what_lies_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, words: &str| std::fs::write(folder.path().join(name), words).unwrap();
        write("config.json", "{}");
        write("model.safetensors", "weights");
        let first = hash_base(folder.path()).unwrap();
        write("README.md", "read me");
        assert_eq!(hash_base(folder.path()).unwrap(), first);
        write("model.safetensors", "others");
        assert_ne!(hash_base(folder.path()).unwrap(), first);
        // FIPS 180-2, "abc".
        write("one.gguf", "abc");
        assert_eq!(
            hash_base(&folder.path().join("one.gguf")).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hash_adapter(folder.path()).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hash_is_remembered_until_the_file_changes() {
        let (folder, database) = crate::test_support::database().await;
        let known = KnownHashes::new(database);
        let file = folder.path().join("base.gguf");
        std::fs::write(&file, "abc").unwrap();
        let first = known.of_base(file.clone()).await.unwrap();
        assert_eq!(known.of_base(file.clone()).await.unwrap(), first);
        std::fs::write(&file, "abcd").unwrap();
        assert_ne!(known.of_base(file).await.unwrap(), first);
    }
}
