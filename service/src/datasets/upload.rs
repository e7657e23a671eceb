//! A file on its way in: streamed to disk in one go or in several, looked at, and kept until it is imported or a day old.

use super::{Datasets, blocking};
use crate::error::{Result, ServiceError};
use crate::files::{self, Files, UploadId};
use crate::source::detect;
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::error::{ErrorKind, UserError};
use domain::reading::{Compression, ReadWish, UploadPreview, UploadStatus};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncWriteExt, BufWriter};

/// How long an upload waits for its import, counted from the last byte that came.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most uploads that wait at a time.
const MAX_WAITING: usize = 500;
/// Room on the disk that uploads leave to the database and to runs.
const SPARE_BYTES: u64 = 256 << 20;
/// Bytes after which an upload of unknown length looks at the disk again.
const LOOK_AGAIN_BYTES: u64 = 64 << 20;

/// Where uploads lie, and which are being written by a request of this process. Clones share everything.
#[derive(Clone)]
pub struct Uploads {
    files: Files,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// What is remembered of an upload beside its bytes.
#[derive(Serialize, Deserialize)]
pub struct UploadNote {
    pub file_name: String,
    /// Those that were announced; as many as there are, once it is whole.
    pub bytes: u64,
    /// The encoding that was found, so that reading again need not look for it. Not of archives, which hold several files.
    encoding: Option<String>,
}

/// An upload in one go. Dropped before it is finished, it leaves nothing behind.
pub struct Upload {
    id: UploadId,
    folder: PathBuf,
    file: BufWriter<tokio::fs::File>,
    file_name: String,
    bytes: u64,
    is_finished: bool,
}

/// One stretch of an upload that may come in several. What has been written counts, finished or not.
pub struct UploadAppend {
    /// `None` while a write is under way, and after one that failed.
    place: Option<AppendPlace>,
}

struct AppendPlace {
    id: UploadId,
    folder: PathBuf,
    file: File,
    note: UploadNote,
    received: u64,
    /// Keeps others from appending; a write that outlives its request keeps it, too.
    _busy: Busy,
}

/// An upload that is being written; free again when this is dropped.
struct Busy {
    id: String,
    busy: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

pub fn source(folder: &Path) -> PathBuf {
    folder.join("source")
}

fn note_file(folder: &Path) -> PathBuf {
    folder.join("upload.json")
}

impl Uploads {
    pub fn new(files: Files) -> Self {
        Self { files, busy: Arc::default() }
    }

    fn claim(&self, id: &UploadId) -> Result<Busy> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(id.as_str().to_string()) {
            return Err(UserError::conflict(
                "Another request is sending this file right now. Wait until it ends, then ask how far it came.",
            )
            .into());
        }
        Ok(Busy { id: id.as_str().to_string(), busy: Arc::clone(&self.busy) })
    }

    /// A folder for an upload, after those that nobody wants any more have gone.
    fn make_folder(&self) -> Result<(UploadId, PathBuf)> {
        let waiting = remove_old(&self.files)?;
        if waiting >= MAX_WAITING {
            let message = "Too many files wait to be imported. Import them, or try again tomorrow, when they are gone.";
            return Err(UserError::new(ErrorKind::Busy, message).into());
        }
        let id = UploadId::new();
        let folder = self.files.upload(&id);
        std::fs::create_dir(&folder).map_err(|error| ServiceError::io(&folder, error))?;
        Ok((id, folder))
    }
}

impl Datasets {
    /// Starts taking in a file that comes in one go. `file_name` is for people only; nothing on disk is called by it.
    ///
    /// # Errors
    /// The disk is full, or too many uploads wait.
    pub async fn begin_upload(&self, file_name: &str) -> Result<Upload> {
        let (uploads, file_name) = (self.uploads.clone(), display_name(file_name));
        blocking(move || {
            check_room(uploads.files.root(), 0)?;
            let (id, folder) = uploads.make_folder()?;
            let path = source(&folder);
            let file = File::create(&path).map_err(|error| ServiceError::io(&path, error))?;
            let file = BufWriter::with_capacity(256 * 1024, tokio::fs::File::from_std(file));
            Ok(Upload { id, folder, file, file_name, bytes: 0, is_finished: false })
        })
        .await
    }

    /// Announces a file of so many bytes that may come in several stretches.
    ///
    /// # Errors
    /// It is too large, or the disk has no room for it.
    pub async fn reserve_upload(&self, file_name: &str, bytes: u64) -> Result<UploadStatus> {
        let (uploads, file_name) = (self.uploads.clone(), display_name(file_name));
        blocking(move || {
            if bytes > MAX_UPLOAD_BYTES {
                return Err(too_large());
            }
            check_room(uploads.files.root(), bytes)?;
            let (id, folder) = uploads.make_folder()?;
            let note = UploadNote { file_name, bytes, encoding: None };
            let path = source(&folder);
            let made = File::create(&path).map_err(|error| ServiceError::io(&path, error));
            if let Err(error) = made.and_then(|_| write_note(&folder, &note)) {
                files::remove_folder(&folder)?;
                return Err(error);
            }
            Ok(status(&id, &note, 0))
        })
        .await
    }

    /// How far an upload has come in.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn upload_status(&self, upload: &str) -> Result<UploadStatus> {
        let (files, id) = (self.files.clone(), UploadId::parse(upload)?);
        blocking(move || {
            let folder = files.upload(&id);
            let note = read_note(&folder)?;
            Ok(status(&id, &note, received(&folder)?))
        })
        .await
    }

    /// Goes on with an upload at `offset`, which must be what has come in so far.
    ///
    /// # Errors
    /// There is no such upload; it has come in up to another byte; another request is sending it.
    pub async fn append_upload(&self, upload: &str, offset: u64) -> Result<UploadAppend> {
        let (uploads, id) = (self.uploads.clone(), UploadId::parse(upload)?);
        blocking(move || {
            let busy = uploads.claim(&id)?;
            let folder = uploads.files.upload(&id);
            let note = read_note(&folder)?;
            let received = received(&folder)?;
            if offset != received {
                return Err(UserError::conflict(format!(
                    "The file has come in up to byte {received}, not {offset}. Go on from there."
                ))
                .into());
            }
            check_room(&folder, note.bytes - received)?;
            let path = source(&folder);
            let io = |error| ServiceError::io(&path, error);
            let mut file = File::options().write(true).open(&path).map_err(io)?;
            file.seek(SeekFrom::Start(received)).map_err(io)?;
            Ok(UploadAppend { place: Some(AppendPlace { id, folder, file, note, received, _busy: busy }) })
        })
        .await
    }

    /// What an upload that has come in whole holds, read as wished and else as it seems to be meant.
    ///
    /// # Errors
    /// There is no such upload, it has not come in whole, or it is no table when read in this way.
    pub async fn preview(&self, upload: &str, wish: &ReadWish) -> Result<UploadPreview> {
        let (files, id, wish) = (self.files.clone(), UploadId::parse(upload)?, wish.clone());
        blocking(move || {
            let folder = files.upload(&id);
            preview(&id, &folder, read_whole_note(&folder)?, wish)
        })
        .await
    }
}

impl Upload {
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// More than [`MAX_UPLOAD_BYTES`] in all, or the disk does not take them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let before = self.bytes / LOOK_AGAIN_BYTES;
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_UPLOAD_BYTES {
            return Err(too_large());
        }
        if self.bytes / LOOK_AGAIN_BYTES != before {
            check_room(&self.folder, 0)?;
        }
        self.file.write_all(bytes).await.map_err(|error| ServiceError::io(&source(&self.folder), error))
    }

    /// The last byte has come: says what the file holds.
    ///
    /// # Errors
    /// The file is no table; it is thrown away, and the message says what it seems to be.
    pub async fn finish(mut self) -> Result<UploadPreview> {
        self.file.flush().await.map_err(|error| ServiceError::io(&source(&self.folder), error))?;
        let (id, folder) = (self.id.clone(), self.folder.clone());
        let note = UploadNote { file_name: self.file_name.clone(), bytes: self.bytes, encoding: None };
        let preview = blocking(move || preview(&id, &folder, note, ReadWish::default())).await?;
        self.is_finished = true;
        Ok(preview)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = files::remove_folder(&self.folder)
        {
            tracing::warn!(%error, "a given-up upload could not be removed; it goes with the next start");
        }
    }
}

impl UploadAppend {
    /// Appends bytes; they have reached the file when this returns.
    ///
    /// # Errors
    /// More bytes than were announced; the disk does not take them. Of a full disk the whole upload goes, so that it
    /// does not stay full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut place = self.taken()?;
        let bytes = bytes.to_vec();
        let (place, written) = blocking(move || {
            let written = place.write(&bytes);
            Ok((place, written))
        })
        .await?;
        written?;
        self.place = Some(place);
        Ok(())
    }

    /// This stretch is over: makes sure of it on the disk and says how far the upload has come.
    pub async fn finish(mut self) -> Result<UploadStatus> {
        let place = self.taken()?;
        blocking(move || {
            place.file.sync_all().map_err(|error| ServiceError::io(&source(&place.folder), error))?;
            Ok(status(&place.id, &place.note, place.received))
        })
        .await
    }

    fn taken(&mut self) -> Result<AppendPlace> {
        let broken =
            || UserError::conflict("This request has failed before. Ask how far the file came, and go on there.");
        Ok(self.place.take().ok_or_else(broken)?)
    }
}

impl AppendPlace {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let after = self.received + bytes.len() as u64;
        if after > self.note.bytes {
            return Err(UserError::invalid(format!(
                "More bytes came than the {} that were announced. Upload the file again.",
                self.note.bytes
            ))
            .into());
        }
        if self.received / LOOK_AGAIN_BYTES != after / LOOK_AGAIN_BYTES {
            check_room(&self.folder, 0)?;
        }
        if let Err(error) = self.file.write_all(bytes) {
            if error.kind() == std::io::ErrorKind::StorageFull {
                files::remove_folder(&self.folder)?;
            }
            return Err(ServiceError::io(&source(&self.folder), error));
        }
        self.received = after;
        Ok(())
    }
}

/// Reads the upload and remembers what need not be found out again.
fn preview(id: &UploadId, folder: &Path, mut note: UploadNote, mut wish: ReadWish) -> Result<UploadPreview> {
    let is_as_found = wish.encoding.is_none();
    if is_as_found {
        wish.encoding = note.encoding.clone();
    }
    let detected = detect(&source(folder), &wish)?;
    if is_as_found && note.encoding.is_none() {
        let encoding = Some(detected.options.encoding.clone());
        note.encoding = encoding.filter(|_| detected.compression != Some(Compression::Zip));
        write_note(folder, &note)?;
    }
    Ok(detected.into_preview(id.as_str(), &note.file_name, note.bytes))
}

fn status(id: &UploadId, note: &UploadNote, received: u64) -> UploadStatus {
    UploadStatus { upload: id.as_str().to_string(), file_name: note.file_name.clone(), received, bytes: note.bytes }
}

fn received(folder: &Path) -> Result<u64> {
    let path = source(folder);
    std::fs::metadata(&path).map(|metadata| metadata.len()).map_err(|error| ServiceError::io(&path, error))
}

fn write_note(folder: &Path, note: &UploadNote) -> Result<()> {
    files::write_whole(&note_file(folder), |writer| files::write_json_line(writer, note))
}

/// # Errors
/// The upload is not there.
pub fn read_note(folder: &Path) -> Result<UploadNote> {
    let path = note_file(folder);
    let json = match std::fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(UserError::not_found(
                "This upload is not there any more: uploads are kept for a day until they are imported. Upload the \
                 file again.",
            )
            .into());
        }
        Err(error) => return Err(ServiceError::io(&path, error)),
    };
    serde_json::from_slice(&json).map_err(|error| ServiceError::stored("upload.json", error))
}

/// # Errors
/// The upload is not there, or has not come in whole.
pub fn read_whole_note(folder: &Path) -> Result<UploadNote> {
    let note = read_note(folder)?;
    let received = received(folder)?;
    if received != note.bytes {
        return Err(UserError::conflict(format!(
            "Of the file's {} bytes {received} have come in. Send the rest first.",
            note.bytes
        ))
        .into());
    }
    Ok(note)
}

/// The file system of `folder` takes so many bytes more and still has some to spare.
fn check_room(folder: &Path, bytes: u64) -> Result<()> {
    let room = rustix::fs::statvfs(folder).map_err(|error| ServiceError::io(folder, error.into()))?;
    check_free(room.f_bavail.saturating_mul(room.f_frsize), bytes)
}

fn check_free(free: u64, bytes: u64) -> Result<()> {
    if free >= bytes.saturating_add(SPARE_BYTES) {
        return Ok(());
    }
    let message = format!(
        "The disk is full: it has room for {} MB, and this file needs {} MB more and {} MB to spare. Make room in the \
         data folder, then try again.",
        free >> 20,
        bytes.div_ceil(1 << 20),
        SPARE_BYTES >> 20
    );
    Err(UserError::internal(message).into())
}

fn too_large() -> ServiceError {
    UserError::invalid(format!(
        "The file is larger than {} GB, which is the most that can be uploaded. Split it, or leave out columns that are \
         not needed.",
        MAX_UPLOAD_BYTES >> 30
    ))
    .into()
}

/// At the start of the process: imports that were cut off become uploads again; uploads that nobody wanted for a day,
/// and those in one go that never arrived in full, go.
pub fn sweep(files: &Files) -> Result<()> {
    let uploads = files.uploads();
    let io = |error| ServiceError::io(&uploads, error);
    for entry in std::fs::read_dir(&uploads).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut folder = entry.path();
        if let Some(id) = name.strip_suffix(files::IN_IMPORT) {
            let back = uploads.join(id);
            std::fs::rename(&folder, &back).map_err(io)?;
            folder = back;
        }
        if !note_file(&folder).exists() {
            files::remove_folder(&folder)?;
        }
    }
    remove_old(files)?;
    Ok(())
}

/// Removes uploads that nothing has come to for a day, but not those in import. Returns how many remain.
fn remove_old(files: &Files) -> Result<usize> {
    let uploads = files.uploads();
    let io = |error| ServiceError::io(&uploads, error);
    let mut remaining = 0;
    for entry in std::fs::read_dir(&uploads).map_err(io)? {
        let folder = entry.map_err(io)?.path();
        if age(&folder) > KEPT && !folder.to_string_lossy().ends_with(files::IN_IMPORT) {
            files::remove_folder(&folder)?;
        } else {
            remaining += 1;
        }
    }
    Ok(remaining)
}

/// Since anything in the folder changed.
fn age(folder: &Path) -> Duration {
    let changed = [folder.to_path_buf(), source(folder), note_file(folder)]
        .iter()
        .filter_map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .max();
    SystemTime::now().duration_since(changed.unwrap_or(SystemTime::UNIX_EPOCH)).unwrap_or_default()
}

/// The last part of a path, without control characters, of bearable length.
fn display_name(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|letter| !letter.is_control()).take(200).collect();
    let name = name.trim();
    if name.is_empty() { "upload.csv".to_string() } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_only_shown() {
        for (given, shown) in [
            ("headlines.csv", "headlines.csv"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\my file.csv", "my file.csv"),
            ("a\u{0}\nb.csv", "ab.csv"),
            ("", "upload.csv"),
            ("dir/", "upload.csv"),
        ] {
            assert_eq!(display_name(given), shown);
        }
    }

    #[test]
    fn a_disk_without_room_is_told_before_it_is_full() {
        assert!(check_free(1 << 30, 700 << 20).is_ok());
        let error = check_free(1 << 30, 800 << 20).unwrap_err().to_string();
        assert!(error.contains("disk is full") && error.contains("1024 MB") && error.contains("800 MB"), "{error}");
        assert!(check_free(u64::MAX - 1, u64::MAX).is_err());
        check_room(&std::env::temp_dir(), 0).unwrap();
    }
}
