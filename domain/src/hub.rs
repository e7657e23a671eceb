//! The words of the Hugging Face Hub: what a person names there, what of it would be fetched, and how far that is.

use crate::error::UserError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The revision meant where none is named.
pub const DEFAULT_REVISION: &str = "main";

/// Longest owner or name of a repository, as the Hub has it.
const LONGEST_NAME: usize = 96;
const LONGEST_REVISION: usize = 200;
const LONGEST_FILE: usize = 500;
/// Longest part between two slashes that common file systems take.
const LONGEST_SEGMENT: usize = 255;
/// Longest text that is looked at: all the parts above with the rest of a URL.
const LONGEST_ADDRESS: usize = 2_000;

/// What a person names on the Hub: a repository, at a revision, and for GGUF one file of it.
///
/// Written `owner/name`, `owner/name@revision` or `owner/name/folder/file.gguf@revision`; in JSON, too, so that what
/// comes from outside is parsed by the same rules wherever it comes in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HubAddress {
    /// `owner/name`.
    pub repo: String,
    /// Path of a GGUF file in the repository; `None` means what a model or an adapter consists of.
    pub file: Option<String>,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubAddress {
    /// Reads what a person typed, or the URL of a page of the Hub (or of a mirror: any host will do).
    ///
    /// # Errors
    /// In words, what about the text is no address.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let text = text.trim();
        if text.len() > LONGEST_ADDRESS {
            return Err(invalid(&text.chars().take(40).collect::<String>(), "it is too long"));
        }
        let address = match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
            Some(rest) => Self::from_page(text, rest)?,
            None => Self::from_name(text)?,
        };
        address.check()?;
        Ok(address)
    }

    /// The rules of [`HubAddress::parse`], for an address that was put together from its parts.
    ///
    /// # Errors
    /// In words, which part cannot be.
    pub fn check(&self) -> Result<(), UserError> {
        let refuse = |reason: String| Err(invalid(&self.to_string(), &reason));
        let Some((owner, name)) = self.repo.split_once('/') else {
            return refuse("a repository is named by its owner and its name, with a slash between".to_owned());
        };
        for part in [owner, name] {
            if let Err(reason) = check_repository_part(part) {
                return refuse(reason);
            }
        }
        if let Some(file) = &self.file {
            if !is_plain_path(file) || file.len() > LONGEST_FILE {
                return refuse(format!("“{}” is no path of a file in a repository", shown(file)));
            }
            if !file.to_ascii_lowercase().ends_with(".gguf") {
                return refuse(format!(
                    "“{}” is no GGUF file; only such files are fetched alone, other models by the name of their repository",
                    shown(file)
                ));
            }
        }
        if !is_revision(&self.revision) {
            return refuse(format!("“{}” is no branch, tag or commit", shown(&self.revision)));
        }
        Ok(())
    }

    /// `owner/name/file@revision`.
    fn from_name(text: &str) -> Result<Self, UserError> {
        let (path, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let mut parts = path.splitn(3, '/');
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else {
            return Err(invalid(text, "a repository is named by its owner and its name, with a slash between"));
        };
        Ok(Self {
            repo: format!("{owner}/{name}"),
            file: parts.next().map(str::to_owned),
            revision: revision.to_owned(),
        })
    }

    /// What comes behind `https://`: `host/owner/name`, then perhaps `tree/revision` or `blob/revision/file`.
    fn from_page(text: &str, rest: &str) -> Result<Self, UserError> {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let mut segments = Vec::new();
        for segment in path.split('/').skip(1).filter(|segment| !segment.is_empty()) {
            segments.push(percent_decoded(segment).ok_or_else(|| invalid(text, "its %-signs cannot be read"))?);
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (owner, name, revision, file) = match segments.as_slice() {
            [owner, name] => (owner, name, DEFAULT_REVISION, None),
            [owner, name, "tree", revision] => (owner, name, *revision, None),
            [owner, name, "blob" | "resolve", revision, file @ ..] if !file.is_empty() => {
                (owner, name, *revision, Some(file.join("/")))
            }
            _ => return Err(invalid(text, "it is not the page of a model, nor of a file of one")),
        };
        Ok(Self { repo: format!("{owner}/{name}"), file, revision: revision.to_owned() })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repo)?;
        if let Some(file) = &self.file {
            write!(formatter, "/{file}")?;
        }
        if self.revision == DEFAULT_REVISION {
            return Ok(());
        }
        write!(formatter, "@{}", self.revision)
    }
}

impl TryFrom<String> for HubAddress {
    type Error = UserError;

    fn try_from(text: String) -> Result<Self, UserError> {
        Self::parse(&text)
    }
}

impl From<HubAddress> for String {
    fn from(address: HubAddress) -> Self {
        address.to_string()
    }
}

/// True where `path` stays below the folder that it is joined to, on every file system: parts between slashes, none of
/// them empty, none beginning with a dot, none with control characters or backslashes. For names that come from a
/// server as well as for those that a person types.
pub fn is_plain_path(path: &str) -> bool {
    path.split('/').all(|segment| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.len() <= LONGEST_SEGMENT
            && !segment.chars().any(|character| character.is_control() || "\\:*?\"<>|@".contains(character))
    })
}

/// The Hub's own rules, which make the name of the folder in the cache unambiguous: letters, digits, `-`, `_`, `.`; no
/// `--` and no `..`; beginning and ending with a letter, a digit or `_`; not ending in `.git`.
pub(crate) fn check_repository_part(part: &str) -> Result<(), String> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if part.is_empty() {
        return Err("the owner or the name of the repository is missing".to_owned());
    }
    if part.len() > LONGEST_NAME {
        return Err(format!("“{}” is longer than {LONGEST_NAME} characters", shown(part)));
    }
    let of_known_characters = part.chars().all(|character| is_word(character) || "-.".contains(character));
    let within_words = part.starts_with(is_word) && part.ends_with(is_word);
    if !of_known_characters || !within_words || part.contains("--") || part.contains("..") || part.ends_with(".git") {
        return Err(format!("“{}” is no name of an owner or a repository", shown(part)));
    }
    Ok(())
}

pub(crate) fn is_revision(revision: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || "-_./+".contains(character);
    revision.len() <= LONGEST_REVISION
        && revision.chars().all(known)
        && !revision.starts_with('-')
        && !revision.contains("..")
        && is_plain_path(revision)
}

pub(crate) fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = behind;
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

/// Short enough for a sentence.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(100).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn invalid(text: &str, reason: &str) -> UserError {
    UserError::invalid(format!(
        "“{}” is no address on the Hub: {reason}. Write owner/name, owner/name@revision, owner/name/file.gguf, or paste \
         the URL of the model's page.",
        shown(text)
    ))
}

/// What of a repository is fetched, and so how it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HubKind {
    /// Safetensors with configuration and tokenizer, as Transformers has it.
    Model,
    /// One GGUF file.
    Gguf,
    /// A LoRA adapter in PEFT's format.
    Adapter,
}

/// Whether the Hub lets us have a repository, and what to do if it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum HubAccess {
    /// Anyone may have it.
    Open,
    /// It is private or its licence had to be accepted, and the token may have it.
    Granted,
    /// It may be had with a token only, and there is none; `url` is where one is made.
    TokenMissing { url: String },
    /// There is a token, and the Hub does not know it.
    TokenInvalid,
    /// Its licence has to be accepted first, at `url`, by the person whose token it is.
    LicenceNotAccepted { url: String },
    /// No such repository, revision or file, or a private one of others: the Hub does not tell which.
    NotFound,
    /// The Hub was not asked; what is said is what the cache knows.
    Offline,
}

/// One file that would be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubFile {
    /// Path in the repository.
    pub name: String,
    pub bytes: u64,
    /// True where the cache has it already.
    pub cached: bool,
}

/// All that is known of an address before anything is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubCheck {
    pub address: HubAddress,
    pub kind: HubKind,
    /// The commit that the revision stands for now.
    pub commit: Option<String>,
    pub access: HubAccess,
    /// Whose token is used; `None` without a valid one.
    pub user: Option<String>,
    /// As the repository states it, such as `llama3` or `apache-2.0`.
    pub licence: Option<String>,
    /// Those that would be fetched.
    pub files: Vec<HubFile>,
    pub total_bytes: u64,
    /// What is still to be fetched, less the beginnings that the cache keeps from an attempt that was cut off.
    pub missing_bytes: u64,
    /// On the file system of the cache, where it can be told.
    pub disk_free_bytes: Option<u64>,
    /// Such as `LlamaForCausalLM` from config.json, or `llama` from the header of a GGUF file, where it could be read.
    pub architecture: Option<String>,
    /// The text of config.json (of adapter_config.json for an adapter), where it could be read.
    pub config_json: Option<String>,
    /// Why it cannot be fetched, in words for the person who asked; empty where it can.
    pub problems: Vec<String>,
}

/// How far one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    Waiting,
    Downloading,
    /// All bytes are here; their hash is compared with the Hub's.
    Verifying,
    Done,
}

/// One file of a download under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProgress {
    /// Path in the repository.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What of it is on the disk.
    pub done_bytes: u64,
    pub state: FileState,
}

/// One repository in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedRepository {
    pub repo: String,
    /// Branches and tags, then commits that none of them stands for.
    pub revisions: Vec<String>,
    /// What it takes on the disk, with the beginnings of files that are not whole yet.
    pub bytes: u64,
    /// Its folder.
    pub path: String,
}

/// One file of an upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushProgress {
    /// Path in the repository.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What of it the Hub has.
    pub done_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(repo: &str, file: Option<&str>, revision: &str) -> HubAddress {
        HubAddress { repo: repo.to_owned(), file: file.map(str::to_owned), revision: revision.to_owned() }
    }

    #[test]
    fn an_address_reads_as_it_is_written() {
        let cases = [
            ("meta-llama/Meta-Llama-3-8B", address("meta-llama/Meta-Llama-3-8B", None, "main")),
            ("o/n@v1.0", address("o/n", None, "v1.0")),
            ("o/n@refs/pr/1", address("o/n", None, "refs/pr/1")),
            ("o/n/model-q4_0.gguf", address("o/n", Some("model-q4_0.gguf"), "main")),
            ("o/n/a b/m.GGUF@0123abc", address("o/n", Some("a b/m.GGUF"), "0123abc")),
        ];
        for (text, expected) in cases {
            let parsed = HubAddress::parse(text).unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!(HubAddress::parse("  o/n@main ").unwrap(), address("o/n", None, "main"));
    }

    #[test]
    fn a_pasted_page_is_an_address() {
        let cases = [
            ("https://hub.example/o/n", address("o/n", None, "main")),
            ("https://hub.example/o/n/", address("o/n", None, "main")),
            ("http://127.0.0.1:8080/o/n?library=peft#files", address("o/n", None, "main")),
            ("https://hub.example/o/n/tree/refs%2Fpr%2F1", address("o/n", None, "refs/pr/1")),
            ("https://hub.example/o/n/blob/v1/a/m.gguf", address("o/n", Some("a/m.gguf"), "v1")),
            ("https://hub.example/o/n/resolve/main/m%20x.gguf?download=true", address("o/n", Some("m x.gguf"), "main")),
        ];
        for (text, expected) in cases {
            assert_eq!(HubAddress::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_in_words() {
        let long = "x".repeat(97);
        let hostile = [
            "",
            "gpt2",
            "/",
            "o/",
            "/n",
            "o/n@",
            "../n",
            "o/..",
            "o/.n",
            "o/n.git",
            "o/a--b",
            "o/n-",
            "ö/n",
            "o/n name",
            "o/n/../../x.gguf",
            "o/n//x.gguf",
            "o/n/.hidden/x.gguf",
            "o/n/a\\x.gguf",
            "o/n/C:x.gguf",
            "o/n/x.safetensors",
            "o/n@../x",
            "o/n@a..b",
            "o/n@/main",
            "o/n@-x",
            "o/n@a b",
            "o/n/x.gguf@main@main",
            "https://hub.example/o",
            "https://hub.example/datasets/o/n/x",
            "https://hub.example/o/n/tree/main/folder",
            "https://hub.example/o/n/blob/main",
            "https://hub.example/o/n/blob/main/..%2F..%2Fx.gguf",
            "https://hub.example/o/n/blob/main/%00.gguf",
            "https://hub.example/o/%zz",
            "https://hub.example/o/%f",
            &format!("o/{long}"),
            &"o/n/".repeat(1_000),
        ];
        for text in hostile {
            let error = HubAddress::parse(text).expect_err(text);
            assert!(error.message.contains("is no address on the Hub"), "{error}");
            assert!(error.message.len() < 700, "{error}");
        }
        assert!(address("o/n/..", None, "main").check().is_err());
        assert!(address("o/n", Some("/x.gguf"), "main").check().is_err());
    }

    #[test]
    fn json_goes_through_the_same_rules() {
        let parsed: HubAddress = serde_json::from_str("\"o/n@v1\"").unwrap();
        assert_eq!(parsed, address("o/n", None, "v1"));
        assert_eq!(serde_json::to_string(&parsed).unwrap(), "\"o/n@v1\"");
        assert!(serde_json::from_str::<HubAddress>("\"../../etc\"").is_err());
    }
}
