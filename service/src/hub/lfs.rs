//! Large files go to the Hub by Git LFS: one request tells which of them it has already and where the others are to be
//! stored, in one piece (`basic`) or in several (`multipart`, the Hub's own extension).

use super::HubError;
use super::client::Client;
use super::push::LocalFile;
use super::watched::REPORT_EVERY;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Instant;

const CONTENT_TYPE: &str = "application/vnd.git-lfs+json";
const MOST_AT_ONCE: usize = 100;
/// Storage such as S3 takes no more parts.
const MOST_PARTS: u64 = 10_000;
const LONGEST_ANSWER: u64 = 64 << 10;

#[derive(Serialize)]
struct BatchRequest<'a> {
    operation: &'a str,
    transfers: [&'a str; 2],
    hash_algo: &'a str,
    #[serde(rename = "ref")]
    reference: Reference<'a>,
    objects: Vec<Object<'a>>,
}

#[derive(Serialize)]
struct Reference<'a> {
    name: &'a str,
}

/// How LFS names a content.
#[derive(Serialize)]
struct Object<'a> {
    oid: &'a str,
    size: u64,
}

#[derive(Deserialize)]
struct BatchAnswer {
    objects: Vec<ObjectAnswer>,
}

#[derive(Deserialize)]
struct ObjectAnswer {
    oid: String,
    error: Option<ObjectError>,
    actions: Option<Actions>,
}

#[derive(Deserialize)]
struct ObjectError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Completion<'a> {
    oid: &'a str,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    #[serde(rename = "partNumber")]
    number: u64,
    etag: String,
}

/// Stores the files' contents with the Hub, those that it does not have yet; no commit names them so far. `report` is
/// told a file's index and how many of its bytes the Hub has.
pub(super) fn store(
    client: &Client,
    repo: &str,
    revision: &str,
    files: &[(usize, &LocalFile)],
    report: &dyn Fn(usize, u64),
) -> Result<(), HubError> {
    for files in files.chunks(MOST_AT_ONCE) {
        let answer = ask(client, repo, revision, files)?;
        for (index, file) in files {
            let object = answer.objects.iter().find(|object| object.oid == file.hashes.sha256);
            let object =
                object.ok_or_else(|| client.bad_answer(format!("it does not say where {} goes", file.name)))?;
            let upload = Upload { client, file, report: &|sent| report(*index, sent) };
            upload.carry_out(object)?;
            report(*index, file.bytes);
        }
    }
    Ok(())
}

fn ask(client: &Client, repo: &str, revision: &str, files: &[(usize, &LocalFile)]) -> Result<BatchAnswer, HubError> {
    let request = BatchRequest {
        operation: "upload",
        transfers: ["basic", "multipart"],
        hash_algo: "sha256",
        reference: Reference { name: revision },
        objects: files.iter().map(|(_, file)| Object { oid: &file.hashes.sha256, size: file.bytes }).collect(),
    };
    let body = as_json(client, &request)?;
    let url = client.url(&format!("/{repo}.git/info/lfs/objects/batch"));
    client.patiently(|| client.post_json(&url, CONTENT_TYPE, &body, repo))
}

struct Upload<'a> {
    client: &'a Client,
    file: &'a LocalFile,
    report: &'a dyn Fn(u64),
}

impl Upload<'_> {
    fn carry_out(&self, object: &ObjectAnswer) -> Result<(), HubError> {
        if let Some(error) = &object.error {
            let message = format!("{}: {}", self.file.name, error.message.chars().take(300).collect::<String>());
            return Err(HubError::Refused { status: error.code, message });
        }
        let Some(actions) = &object.actions else { return Ok(()) };
        if let Some(upload) = &actions.upload {
            match upload.header.get("chunk_size").and_then(number) {
                Some(part_bytes) => self.in_parts(upload, part_bytes)?,
                None => self.in_one_piece(upload)?,
            }
        }
        let Some(verify) = &actions.verify else { return Ok(()) };
        let body = as_json(self.client, &Object { oid: &self.file.hashes.sha256, size: self.file.bytes })?;
        self.tell(&self.client.own_url(&verify.href), &body)
    }

    fn in_one_piece(&self, upload: &Action) -> Result<(), HubError> {
        let headers: Vec<(&str, &str)> =
            upload.header.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
        self.put(&self.client.own_url(&upload.href), &headers, 0, self.file.bytes).map(|_| ())
    }

    /// `header` holds the addresses of the parts under their numbers, from 1.
    fn in_parts(&self, upload: &Action, part_bytes: u64) -> Result<(), HubError> {
        let count = self.file.bytes.div_ceil(part_bytes.max(1));
        if part_bytes == 0 || count > MOST_PARTS {
            return Err(self.client.bad_answer("it wants a file in parts of a size that cannot be"));
        }
        let mut parts = Vec::new();
        for number in 1..=count {
            // Some servers write the numbers with zeros before them.
            let named = upload.header.iter().find(|(name, _)| name.parse() == Ok(number));
            let url = named.and_then(|(_, url)| url.as_str());
            let url = url.ok_or_else(|| self.client.bad_answer("it lacks the address of a part of a file"))?;
            let begin = (number - 1) * part_bytes;
            let etag = self.put(url, &[], begin, part_bytes.min(self.file.bytes - begin))?;
            let etag = etag.ok_or_else(|| self.client.bad_answer("it does not name a part that it got"))?;
            parts.push(Part { number, etag });
        }
        let body = as_json(self.client, &Completion { oid: &self.file.hashes.sha256, parts })?;
        self.tell(&self.client.own_url(&upload.href), &body)
    }

    /// Sends a stretch of the file and returns the ETag of what was stored.
    fn put(&self, url: &str, headers: &[(&str, &str)], begin: u64, bytes: u64) -> Result<Option<String>, HubError> {
        let path = &self.file.path;
        self.client.patiently(|| {
            let mut file = File::open(path).map_err(|error| HubError::io(path, error))?;
            file.seek(SeekFrom::Start(begin)).map_err(|error| HubError::io(path, error))?;
            let mut stretch = Stretch { upload: self, file, begin, bytes, sent: 0, told: Instant::now(), error: None };
            let answer = self.client.put(url, headers, &mut stretch, bytes);
            if let Some(error) = stretch.error {
                return Err(HubError::io(path, error));
            }
            let answer = self.client.accepted(answer?, &self.file.name)?;
            let etag = answer.headers().get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned);
            // Reading the end lets the next request have the connection.
            self.client.read(answer, LONGEST_ANSWER)?;
            Ok(etag)
        })
    }

    fn tell(&self, url: &str, body: &[u8]) -> Result<(), HubError> {
        self.client.patiently(|| {
            let answer = self.client.post(url, CONTENT_TYPE, body)?;
            self.client.read(self.client.accepted(answer, &self.file.name)?, LONGEST_ANSWER).map(|_| ())
        })
    }
}

/// A stretch of a file on its way, as long as was promised or an error.
struct Stretch<'a> {
    upload: &'a Upload<'a>,
    file: File,
    begin: u64,
    bytes: u64,
    sent: u64,
    told: Instant,
    /// What is wrong with the file, as opposed to the connection.
    error: Option<io::Error>,
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.upload.client.is_stopped() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let left = usize::try_from(self.bytes - self.sent).unwrap_or(usize::MAX).min(buffer.len());
        if left == 0 {
            return Ok(0);
        }
        let read = match self.file.read(&mut buffer[..left]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was uploaded")),
            other => other,
        };
        match read {
            Ok(read) => {
                self.sent += read as u64;
                if self.told.elapsed() >= REPORT_EVERY {
                    self.told = Instant::now();
                    (self.upload.report)(self.begin + self.sent);
                }
                Ok(read)
            }
            Err(error) => {
                self.error = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }
}

/// The Hub writes numbers among headers as texts.
fn number(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn as_json(client: &Client, value: &impl Serialize) -> Result<Vec<u8>, HubError> {
    serde_json::to_vec(value).map_err(|error| client.bad_answer(error.to_string()))
}
