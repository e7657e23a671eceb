//! Writing so that a name stands for a whole export or for nothing: beside its place, flushed to the disk, renamed.

use crate::error::EngineError;
use crate::weights::safetensors::sync_parent;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Bytes between two looks at whether to go on.
const BYTES_PER_LOOK: usize = 8 << 20;

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    pub done_bytes: u64,
    /// Of the tensors; known before the first is written.
    pub total_bytes: u64,
}

/// Why an export ended before its end.
pub(super) enum Halt {
    /// It was asked to.
    Stopped,
    Failed(EngineError),
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

/// Counts the bytes of tensors that are written and asks whether to go on.
pub(super) struct Meter<'a> {
    progress: ExportProgress,
    on_progress: &'a mut dyn FnMut(ExportProgress) -> ControlFlow<()>,
}

impl<'a> Meter<'a> {
    pub fn start(on_progress: &'a mut dyn FnMut(ExportProgress) -> ControlFlow<()>) -> Self {
        Self { progress: ExportProgress { done_bytes: 0, total_bytes: 0 }, on_progress }
    }

    pub fn expect(&mut self, total_bytes: u64) -> Result<(), Halt> {
        self.progress.total_bytes = total_bytes;
        self.advance(0)
    }

    fn advance(&mut self, bytes: usize) -> Result<(), Halt> {
        self.progress.done_bytes += bytes as u64;
        if (self.on_progress)(self.progress).is_break() { Err(Halt::Stopped) } else { Ok(()) }
    }
}

/// The place beside which an export grows. Dropped before [`Aside::finish`], it leaves nothing.
pub(super) struct Aside {
    place: PathBuf,
    partial: PathBuf,
    finished: bool,
}

impl Aside {
    /// Where the export is to stand in the end. What a killed export has left beside it is removed.
    ///
    /// # Errors
    /// Something stands at the place already: an export never replaces anything.
    pub fn of(place: &Path) -> Result<Self, EngineError> {
        refuse_taken(place)?;
        let partial = place.with_added_extension("partial");
        remove(&partial).map_err(|source| EngineError::io(&partial, source))?;
        Ok(Self { place: place.to_path_buf(), partial, finished: false })
    }

    /// What is written to meanwhile: the caller makes a file or a folder of it.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Puts what is whole and flushed into its place.
    pub fn finish(mut self) -> Result<(), EngineError> {
        refuse_taken(&self.place)?;
        let rename = || {
            if self.partial.is_dir() {
                File::open(&self.partial)?.sync_all()?;
            }
            fs::rename(&self.partial, &self.place)?;
            sync_parent(&self.place)
        };
        rename().map_err(|source| EngineError::io(&self.place, source))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.finished {
            // Whatever led here is the error to tell; what cannot be removed now goes when the export is tried again.
            let _ = remove(&self.partial);
        }
    }
}

fn refuse_taken(place: &Path) -> Result<(), EngineError> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(EngineError::io(place, error)),
        Ok(_) => {
            Err(EngineError::bad_file(place, "is there already, and an export replaces nothing. Name another place"))
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A file of tensors, written from front to back.
pub(super) struct TensorFile<'a, 'm> {
    file: File,
    path: PathBuf,
    meter: &'a mut Meter<'m>,
}

impl<'a, 'm> TensorFile<'a, 'm> {
    pub fn create(path: &Path, meter: &'a mut Meter<'m>) -> Result<Self, EngineError> {
        let file = File::create_new(path).map_err(|source| EngineError::io(path, source))?;
        Ok(Self { file, path: path.to_path_buf(), meter })
    }

    /// What is not counted: a header, padding.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.file.write_all(bytes).map_err(|source| EngineError::io(&self.path, source))
    }

    /// A tensor's bytes, or a piece of them.
    pub fn write_counted(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        for piece in bytes.chunks(BYTES_PER_LOOK) {
            self.write(piece)?;
            self.meter.advance(piece.len())?;
        }
        Ok(())
    }

    /// Flushes everything to the disk.
    pub fn close(self) -> Result<(), EngineError> {
        self.file.sync_all().map_err(|source| EngineError::io(&self.path, source))
    }
}
