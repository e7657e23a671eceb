//! What a file is wrapped in: gzip, zstd, or a zip archive of which one file is read. Everything is unpacked as it is
//! read, never as a whole in memory, and no more of it than a real file of that size could hold.

use crate::error::{Result, ServiceError};
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::error::UserError;
use domain::reading::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zip::{CompressionMethod, ZipArchive};

/// A file may unpack to this whatever its size.
pub const FREE_UNPACKED_BYTES: u64 = 64 << 20;
/// And beyond that to so many times its size: text shrinks to a tenth, tables of repeated words to a fiftieth.
pub const MAX_RATIO: u64 = 200;
/// Most that any file may unpack to.
const MAX_UNPACKED_BYTES: u64 = 8 * MAX_UPLOAD_BYTES;
/// What may be read of a zip archive to learn which files it holds.
const DIRECTORY_BYTES: u64 = 32 << 20;
/// Most files of an archive that are offered.
const MAX_MEMBERS: usize = 200;
/// Endings of files that can be read, the likeliest to be data first.
const DATA_ENDINGS: [&str; 13] =
    ["parquet", "csv", "jsonl", "ndjson", "json", "tsv", "xlsx", "xlsm", "tab", "psv", "pq", "dat", "txt"];
/// Largest note about a dataset beside its files that is read for the names of labels.
const NOTE_BYTES: usize = 1 << 20;

/// A file on the disk and what it is wrapped in.
pub struct Container {
    path: PathBuf,
    bytes: u64,
    pub compression: Option<Compression>,
    /// The files of a zip archive that can be read, the one that is proposed first.
    pub members: Vec<String>,
    /// The workbook's own parts are what this zip archive holds.
    pub is_workbook: bool,
    member: Option<Member>,
    /// Notes of the Hugging Face datasets library that stand beside the files of an archive.
    pub notes: Vec<String>,
}

/// A file in a zip archive.
#[derive(Clone)]
struct Member {
    name: String,
    /// Where its packed bytes begin.
    start: u64,
    packed: u64,
    unpacked: u64,
    crc32: u32,
    is_deflated: bool,
}

impl Container {
    /// Looks at the beginning of the file, and at the directory of an archive.
    ///
    /// # Errors
    /// An archive that is damaged, encrypted or holds nothing that can be read.
    pub fn open(path: &Path, wished_member: Option<&str>) -> Result<Self> {
        let mut file = File::open(path).map_err(|error| ServiceError::io(path, error))?;
        let bytes = file.metadata().map_err(|error| ServiceError::io(path, error))?.len();
        let mut magic = Vec::new();
        Read::by_ref(&mut file).take(4).read_to_end(&mut magic).map_err(|error| ServiceError::io(path, error))?;
        let compression = compression_of(&magic);
        let mut container = Self {
            path: path.to_path_buf(),
            bytes,
            compression,
            members: Vec::new(),
            is_workbook: false,
            member: None,
            notes: Vec::new(),
        };
        if compression == Some(Compression::Zip) {
            container.open_archive(file, wished_member)?;
        }
        Ok(container)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file inside the archive that is read.
    pub fn member(&self) -> Option<&str> {
        self.member.as_ref().map(|member| member.name.as_str())
    }

    fn open_archive(&mut self, file: File, wished: Option<&str>) -> Result<()> {
        let (mut archive, _) = open_zip(file).map_err(|_| damaged("zip archive"))?;
        let names: Vec<String> = (0..archive.len()).map(|index| name_of(&archive, index)).collect();
        if is_workbook(&names) {
            // A workbook is a zip archive itself; it is not shown as one.
            (self.is_workbook, self.compression) = (true, None);
            return Ok(());
        }
        if let Some(what) = document_of(&names, &mut archive) {
            return Err(UserError::invalid(format!(
                "The file is {what}, which cannot be read. Save the table as CSV or as an Excel workbook (.xlsx), and \
                 upload that."
            ))
            .into());
        }
        let mut members: Vec<(usize, Member)> = Vec::new();
        let mut is_encrypted = false;
        let mut has_archive = false;
        for (index, name) in names.into_iter().enumerate() {
            let ending = ending_of(&name);
            has_archive |= ["zip", "gz", "zst", "7z", "tar", "tgz", "rar", "bz2", "xz"].contains(&ending.as_str());
            let rank = DATA_ENDINGS.iter().position(|known| *known == ending);
            let is_note = is_dataset_note(&name);
            if !is_note && (rank.is_none() || is_hidden(&name) || members.len() >= MAX_MEMBERS) {
                continue;
            }
            let entry = archive.by_index_raw(index).map_err(|_| damaged("zip archive"))?;
            if entry.encrypted() {
                is_encrypted = true;
                continue;
            }
            let is_deflated = match entry.compression() {
                CompressionMethod::Stored => false,
                CompressionMethod::Deflated => true,
                _ => continue,
            };
            let Some(start) = entry.data_start().filter(|_| !entry.is_dir()) else { continue };
            let member = Member {
                name,
                start,
                packed: entry.compressed_size(),
                unpacked: entry.size(),
                crc32: entry.crc32(),
                is_deflated,
            };
            drop(entry);
            if is_note {
                self.notes.extend(self.read_note(&member));
            } else if let Some(rank) = rank {
                members.push((rank, member));
            }
        }
        // What is most likely data first; among the like, the largest.
        members.sort_by_key(|(rank, member)| (*rank, std::cmp::Reverse(member.unpacked)));
        self.members = members.iter().map(|(_, member)| member.name.clone()).collect();
        let chosen = match wished {
            Some(wished) => members.into_iter().find(|(_, member)| member.name == wished),
            None => members.into_iter().next(),
        };
        self.member = chosen.map(|(_, member)| member);
        if self.member.is_some() {
            return Ok(());
        }
        let problem = match wished {
            Some(wished) => format!("The archive holds no file \"{wished}\". Choose one of those that it holds."),
            None if is_encrypted => {
                "The files of the zip archive are encrypted. Unpack it and upload the table itself.".to_string()
            }
            None if has_archive => {
                "The zip archive holds further archives. Unpack it and upload the table itself.".to_string()
            }
            None => "The zip archive holds no file that can be read: none is CSV, TSV, JSON, JSON Lines, Parquet or \
                     Excel (.xlsx), or they are packed in an unusual way. Unpack it and upload the table itself."
                .to_string(),
        };
        Err(UserError::invalid(problem).into())
    }

    /// A note that cannot be read names no labels, and that is all.
    fn read_note(&self, member: &Member) -> Option<String> {
        String::from_utf8(self.unpack(Some(member)).ok()?.beginning(NOTE_BYTES).ok()?).ok()
    }

    /// The unpacked bytes from the beginning.
    pub fn stream(&self) -> Result<Stream> {
        self.unpack(self.member.as_ref())
    }

    fn unpack(&self, member: Option<&Member>) -> Result<Stream> {
        let mut file = File::open(&self.path).map_err(|error| ServiceError::io(&self.path, error))?;
        let read = Rc::new(Cell::new(0));
        let mut size = self.bytes;
        let mut check = None;
        if let Some(member) = member {
            file.seek(SeekFrom::Start(member.start)).map_err(|error| ServiceError::io(&self.path, error))?;
            size = member.packed;
            check = Some(Check { crc: flate2::Crc::new(), crc32: member.crc32, bytes: member.unpacked });
        }
        let counted = Counted { file, read: Rc::clone(&read) };
        let inner: Box<dyn Read> = match (self.compression, member) {
            (Some(Compression::Gzip), _) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, counted))),
            (Some(Compression::Zstd), _) => Box::new(
                zstd::stream::read::Decoder::new(counted).map_err(|error| ServiceError::io(&self.path, error))?,
            ),
            (Some(Compression::Zip), Some(member)) if member.is_deflated => {
                Box::new(DeflateDecoder::new(BufReader::with_capacity(1 << 16, counted.take(member.packed))))
            }
            (Some(Compression::Zip), Some(member)) => Box::new(counted.take(member.packed)),
            _ => Box::new(counted),
        };
        Ok(Stream { inner, read, size, unpacked: 0, check, path: self.path.clone(), compression: self.compression })
    }

    /// What is packed here is a workbook, by its beginning and its own directory.
    pub fn holds_workbook(&self, beginning: &[u8]) -> Result<bool> {
        if compression_of(beginning) != Some(Compression::Zip) {
            return Ok(false);
        }
        let Ok((archive, _)) = open_zip(self.file()?) else { return Ok(false) };
        let names: Vec<String> = (0..archive.len()).map(|index| name_of(&archive, index)).collect();
        Ok(is_workbook(&names))
    }

    /// The unpacked file, for formats that are read here and there: the file itself, or a copy without a name that
    /// goes with the last handle on it.
    pub fn file(&self) -> Result<File> {
        if self.compression.is_none() {
            return File::open(&self.path).map_err(|error| ServiceError::io(&self.path, error));
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Beside the file, where there is room for it; a folder that is only readable is no reason to fail.
        let beside = folder.and_then(|folder| tempfile::tempfile_in(folder).ok());
        let io = |error| ServiceError::io(&self.path, error);
        let mut copy = beside.map_or_else(tempfile::tempfile, Ok).map_err(io)?;
        let mut stream = self.stream()?;
        let mut piece = vec![0; 1 << 18];
        let mut total = 0_u64;
        loop {
            let read = stream.next_piece(&mut piece)?;
            if read == 0 {
                break;
            }
            total += read as u64;
            if total > MAX_UPLOAD_BYTES {
                return Err(too_large_unpacked());
            }
            copy.write_all(&piece[..read]).map_err(io)?;
        }
        copy.rewind().map_err(io)?;
        Ok(copy)
    }
}

/// What the first bytes say; `None`: nothing that is unpacked here.
pub fn compression_of(magic: &[u8]) -> Option<Compression> {
    [(&b"\x1f\x8b"[..], Compression::Gzip), (b"\x28\xb5\x2f\xfd", Compression::Zstd), (b"PK\x03\x04", Compression::Zip)]
        .into_iter()
        .find_map(|(start, compression)| magic.starts_with(start).then_some(compression))
}

/// Opens the directory of a zip archive. It is read by a crate that takes the directory's word for its length, so
/// what may be read for it is limited here.
///
/// Also gives what may still be read; setting it lifts the limit.
pub fn open_zip<F: Read + Seek>(file: F) -> zip::result::ZipResult<(ZipArchive<Limited<F>>, Rc<Cell<u64>>)> {
    let left = Rc::new(Cell::new(DIRECTORY_BYTES));
    Ok((ZipArchive::new(Limited { file, left: Rc::clone(&left) })?, left))
}

/// A file of which only so many bytes may be read.
pub struct Limited<F> {
    file: F,
    left: Rc<Cell<u64>>,
}

impl<F: Read> Read for Limited<F> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(bytes)?;
        let left = self.left.get().checked_sub(read as u64);
        self.left.set(left.ok_or_else(|| std::io::Error::other("too long a directory"))?);
        Ok(read)
    }
}

impl<F: Seek> Seek for Limited<F> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

fn name_of<F: Read + Seek>(archive: &ZipArchive<F>, index: usize) -> String {
    archive.name_for_index(index).and_then(|name| name.ok()).map(|name| name.into_owned()).unwrap_or_default()
}

fn is_workbook(names: &[String]) -> bool {
    names.iter().any(|name| name == "[Content_Types].xml") && names.iter().any(|name| name.ends_with("workbook.xml"))
}

/// What a zip archive is that is a document of another kind.
fn document_of<F: Read + Seek>(names: &[String], archive: &mut ZipArchive<F>) -> Option<&'static str> {
    let holds = |name: &str| names.iter().any(|held| held == name);
    if holds("word/document.xml") {
        return Some("a Word document");
    }
    if holds("ppt/presentation.xml") {
        return Some("a presentation");
    }
    if holds("xl/workbook.bin") {
        return Some("a binary Excel workbook (.xlsb)");
    }
    let index = names.iter().position(|name| name == "mimetype")?;
    let mut mimetype = Vec::new();
    archive.by_index(index).ok()?.take(100).read_to_end(&mut mimetype).ok()?;
    mimetype.starts_with(b"application/vnd.oasis.opendocument").then_some("an OpenDocument file (.ods)")
}

fn ending_of(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or_default();
    file.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
}

fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX")
}

/// Written by the Hugging Face datasets library beside the data.
fn is_dataset_note(name: &str) -> bool {
    matches!(name.rsplit('/').next(), Some("dataset_infos.json" | "dataset_info.json"))
}

fn damaged(what: &str) -> ServiceError {
    UserError::invalid(format!(
        "The {what} cannot be unpacked: it is damaged or was cut. Make it again, or upload the table itself."
    ))
    .into()
}

fn too_large_unpacked() -> ServiceError {
    UserError::invalid(format!(
        "The file unpacks to far more than a table of its size could hold (over {MAX_RATIO} times its size, or over {} \
         GB). Unpack it and upload the table itself.",
        MAX_UPLOAD_BYTES >> 30
    ))
    .into()
}

/// Counts what is read of the file on the disk.
struct Counted<F> {
    file: F,
    read: Rc<Cell<u64>>,
}

impl<F: Read> Read for Counted<F> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(bytes)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// What an archive says of a file, held against what comes out.
struct Check {
    crc: flate2::Crc,
    crc32: u32,
    bytes: u64,
}

/// Unpacked bytes, one piece after the other.
pub struct Stream {
    inner: Box<dyn Read>,
    /// Bytes of the file on the disk that have been read, of `size`.
    read: Rc<Cell<u64>>,
    size: u64,
    unpacked: u64,
    check: Option<Check>,
    path: PathBuf,
    compression: Option<Compression>,
}

impl Stream {
    /// Fills `bytes` with what comes next, in part or in whole; 0 at the end.
    ///
    /// # Errors
    /// The disk does not do as told; or, in words for the person, the file is damaged or a bomb.
    pub fn next_piece(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let read = loop {
            match self.inner.read(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| self.explain(error))?;
        if self.compression.is_none() {
            return Ok(read);
        }
        self.unpacked += read as u64;
        let is_bomb = self.unpacked > FREE_UNPACKED_BYTES && self.unpacked / MAX_RATIO > self.read.get();
        if is_bomb || self.unpacked > MAX_UNPACKED_BYTES {
            return Err(too_large_unpacked());
        }
        if let Some(check) = &mut self.check {
            check.crc.update(&bytes[..read]);
            let is_whole = check.bytes == self.unpacked && check.crc.sum() == check.crc32;
            if read == 0 && !is_whole && !bytes.is_empty() {
                return Err(damaged("zip archive"));
            }
        }
        Ok(read)
    }

    fn explain(&self, error: std::io::Error) -> ServiceError {
        use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let what = match self.compression {
            Some(Compression::Gzip) => "gzip file",
            Some(Compression::Zstd) => "zstd file",
            Some(Compression::Zip) => "zip archive",
            None => return ServiceError::io(&self.path, error),
        };
        // The decoders' own words; troubles of the disk come with the system's number.
        if error.raw_os_error().is_none() && matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
        {
            return damaged(what);
        }
        ServiceError::io(&self.path, error)
    }

    /// How much of the file on the disk has been read, from 0 to 1.
    pub fn share(&self) -> f64 {
        (self.read.get() as f64 / self.size.max(1) as f64).min(1.0)
    }

    /// Up to so many bytes of what comes next.
    pub fn beginning(&mut self, bytes: usize) -> Result<Vec<u8>> {
        let mut beginning = vec![0; bytes];
        let mut length = 0;
        while length < bytes {
            let read = self.next_piece(&mut beginning[length..])?;
            if read == 0 {
                break;
            }
            length += read;
        }
        beginning.truncate(length);
        Ok(beginning)
    }
}
