//! Every path under the data folder. Names of folders are numbers that we gave out or random words that we made, never
//! what a person typed, so no path leads out of it.

use crate::error::{Result, ServiceError};
use domain::catalogue::ExportId;
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::run::RunId;
use domain::version::VersionNumber;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The data folder.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

/// The name of an upload: 32 hexadecimal digits, made by us and checked when it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadId(String);

impl UploadId {
    /// A name that nobody can guess: every `RandomState` has keys from the system's random numbers.
    pub fn new() -> Self {
        Self(format!("{:016x}{:016x}", RandomState::new().hash_one(1_u8), RandomState::new().hash_one(2_u8)))
    }

    pub fn parse(word: &str) -> Result<Self> {
        if word.len() == 32 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(word.to_string()));
        }
        Err(UserError::not_found("There is no such upload. Upload the file again.").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Files {
    /// Makes the folders that are missing.
    pub fn open(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|error| ServiceError::io(root, error))?;
        // An absolute path, so that a later change of the working directory moves nothing.
        let root = root.canonicalize().map_err(|error| ServiceError::io(root, error))?;
        let files = Self { root };
        for folder in [files.uploads(), files.datasets(), files.runs()] {
            std::fs::create_dir_all(&folder).map_err(|error| ServiceError::io(&folder, error))?;
        }
        Ok(files)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn database(&self) -> PathBuf {
        self.root.join("ayar.db")
    }

    /// Locked while a process uses the folder.
    pub fn lock(&self) -> PathBuf {
        self.root.join("ayar.lock")
    }

    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub fn upload(&self, id: &UploadId) -> PathBuf {
        self.uploads().join(id.as_str())
    }

    /// Where an upload stands while it is imported; the renaming decides who imports it.
    pub fn upload_in_import(&self, id: &UploadId) -> PathBuf {
        self.uploads().join(format!("{}{IN_IMPORT}", id.as_str()))
    }

    pub fn datasets(&self) -> PathBuf {
        self.root.join("datasets")
    }

    pub fn dataset(&self, id: DatasetId) -> PathBuf {
        self.datasets().join(id.to_string())
    }

    /// Where a dataset is written before it is whole.
    pub fn dataset_aside(&self, id: DatasetId) -> PathBuf {
        self.datasets().join(format!("{id}{ASIDE}"))
    }

    /// Where the files that a dataset has taken in lie, numbered from 0.
    pub fn segment(&self, id: DatasetId, number: usize) -> PathBuf {
        self.dataset(id).join(SEGMENTS).join(number.to_string())
    }

    /// What a version has made of the segments' rows; not there where it has changed nothing.
    pub fn changes(&self, id: DatasetId, version: VersionNumber) -> PathBuf {
        self.dataset(id).join(VERSIONS).join(format!("{version}{CHANGES}"))
    }

    /// What the examination of a version has found.
    pub fn examination(&self, id: DatasetId, version: VersionNumber) -> PathBuf {
        self.dataset(id).join(EXAMINATIONS).join(version.to_string())
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub fn run(&self, id: RunId) -> PathBuf {
        self.runs().join(id.to_string())
    }

    /// Of one export of a run; its name is its number.
    pub fn export(&self, run: RunId, export: ExportId) -> PathBuf {
        self.run(run).join("exports").join(export.to_string())
    }

    /// The Hub's token that a person has typed.
    pub fn hub_token(&self) -> PathBuf {
        self.root.join("hub_token")
    }

    pub fn predictions(&self, id: RunId) -> PathBuf {
        self.run(id).join("predictions.jsonl")
    }
}

/// Within a dataset's folder.
pub const SEGMENTS: &str = "segments";
pub const VERSIONS: &str = "versions";
pub const EXAMINATIONS: &str = "examinations";
/// Ending of what a version changes.
pub const CHANGES: &str = ".changes";
/// Rows that could not be used, in a segment's folder.
pub const REJECTED: &str = "rejected.jsonl";
/// Ending of what is not whole yet.
pub const ASIDE: &str = ".partial";
pub const IN_IMPORT: &str = ".importing";

/// Writes a file aside, makes sure of it on the disk and renames it into place: whoever looks sees the old file or
/// the new one, never half of one.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let aside = path.with_added_extension("partial");
    let written = File::create(&aside).and_then(|file| {
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&aside, path)
    });
    if let Err(error) = written {
        // What remains is of no use to anybody; that it may not go away changes nothing.
        let _ = std::fs::remove_file(&aside);
        return Err(ServiceError::io(path, error));
    }
    sync_folder_of(path)
}

/// Makes a renaming in the folder of `path` last through a power cut.
pub fn sync_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| ServiceError::io(folder, error))
}

/// One JSON value and a line break.
pub fn write_json_line(writer: &mut impl Write, value: &impl serde::Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}

/// Removes a folder with all that is in it; that it is not there is no error.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ServiceError::io(folder, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_we_made_names_an_upload() {
        let id = UploadId::new();
        assert_eq!(UploadId::parse(id.as_str()).unwrap(), id);
        assert_ne!(UploadId::new(), id);
        for hostile in ["", "..", "../../etc/passwd", "/etc", &"g".repeat(32), &"A".repeat(32), &"a".repeat(33)] {
            assert!(UploadId::parse(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.jsonl");
        write_whole(&path, |writer| write_json_line(writer, &1)).unwrap();
        let failed = write_whole(&path, |writer| {
            write_json_line(writer, &2)?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
