//! Datasets of the Hugging Face Hub: what a person names, what can be had of it, and how far it has come.

use crate::error::UserError;
use crate::hub::{DEFAULT_REVISION, FileProgress, check_repository_part, is_revision, percent_decoded, shown};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest text that is looked at.
const LONGEST_ADDRESS: usize = 2_000;

/// A dataset at a revision: `owner/name`, `owner/name@revision`; the oldest ones have a name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubDatasetAddress {
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubDatasetAddress {
    /// Reads what a person typed, or the URL of a dataset's page (of any host: it may be a mirror's).
    ///
    /// # Errors
    /// In words, what about the text is no address.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let text = text.trim();
        if text.len() > LONGEST_ADDRESS {
            return Err(invalid(text, "it is too long"));
        }
        let address = match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
            Some(rest) => Self::from_page(text, rest)?,
            None => {
                let (repo, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
                let repo = repo.strip_prefix("datasets/").unwrap_or(repo).trim_end_matches('/');
                Self { repo: repo.to_owned(), revision: revision.to_owned() }
            }
        };
        address.check(text)?;
        Ok(address)
    }

    /// What comes behind `https://`: `host/datasets/owner/name`, then perhaps `tree/revision` or `viewer/…`.
    fn from_page(text: &str, rest: &str) -> Result<Self, UserError> {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let mut segments = Vec::new();
        for segment in path.split('/').skip(1).filter(|segment| !segment.is_empty()) {
            segments.push(percent_decoded(segment).ok_or_else(|| invalid(text, "its %-signs cannot be read"))?);
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["datasets", rest @ ..] = segments.as_slice() else {
            return Err(invalid(text, "it is not the page of a dataset"));
        };
        let (repo, revision) = match rest {
            [owner, name, "tree" | "blob" | "resolve", revision, ..] => (format!("{owner}/{name}"), *revision),
            [owner, name, ..] => (format!("{owner}/{name}"), DEFAULT_REVISION),
            [name] => ((*name).to_owned(), DEFAULT_REVISION),
            [] => return Err(invalid(text, "it names no dataset")),
        };
        Ok(Self { repo, revision: revision.to_owned() })
    }

    fn check(&self, text: &str) -> Result<(), UserError> {
        let parts: Vec<&str> = self.repo.split('/').collect();
        if parts.len() > 2 {
            return Err(invalid(text, "a dataset is named by its owner and its name, with a slash between"));
        }
        for part in parts {
            check_repository_part(part).map_err(|reason| invalid(text, &reason))?;
        }
        if !is_revision(&self.revision) {
            return Err(invalid(text, &format!("“{}” is no branch, tag or commit", shown(&self.revision))));
        }
        Ok(())
    }
}

impl fmt::Display for HubDatasetAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repo)?;
        if self.revision == DEFAULT_REVISION { Ok(()) } else { write!(formatter, "@{}", self.revision) }
    }
}

fn invalid(text: &str, reason: &str) -> UserError {
    UserError::invalid(format!(
        "“{}” is no dataset on the Hub: {reason}. Write owner/name or owner/name@revision, or paste the URL of the \
         dataset's page.",
        shown(text)
    ))
}

/// A dataset on the Hub whose files can be imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubDataset {
    /// `owner/name`, or a name alone for the oldest ones.
    pub id: String,
    pub revision: String,
    /// The commit that the revision stands for now.
    pub commit: String,
    /// Those that can be read, Parquet first.
    pub files: Vec<HubDatasetFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubDatasetFile {
    /// Path in the repository.
    pub path: String,
    pub bytes: u64,
}

impl HubDatasetFile {
    /// The configuration and the split that the path stands for: `("", "train")` for
    /// `data/train-00000-of-00002.parquet`, `("sst2", "test")` for `sst2/test-00000-of-00001.parquet`, and the same for
    /// `sst2/test/0000.parquet`, which is how the Hub names the files that it has converted itself.
    pub fn place(&self) -> (&str, &str) {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = name.split('.').next().unwrap_or(name);
        let (config, split) = match stem.bytes().all(|byte| byte.is_ascii_digit()) {
            true => folder.rsplit_once('/').unwrap_or(("", folder)),
            false => (folder, shard_of(stem).unwrap_or(stem)),
        };
        (if config == "data" { "" } else { config }, split)
    }
}

/// `train` of `train-00000-of-00002`.
fn shard_of(stem: &str) -> Option<&str> {
    let (rest, shards) = stem.rsplit_once("-of-")?;
    let (split, shard) = rest.rsplit_once('-')?;
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(shards) && is_number(shard)).then_some(split)
}

/// Files of a Hub dataset on their way to the server, and then the upload that they become.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HubFetch {
    pub id: String,
    pub files: Vec<FileProgress>,
    pub state: HubFetchState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum HubFetchState {
    Fetching,
    /// All there; several files are written one after the other into one.
    Joining,
    /// The name of the upload.
    Done {
        upload: String,
    },
    Failed {
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_named_as_on_the_hub() {
        for (text, repo, revision) in [
            ("stanfordnlp/imdb", "stanfordnlp/imdb", "main"),
            (" imdb ", "imdb", "main"),
            ("datasets/o/n@v1.0", "o/n", "v1.0"),
            ("o/n@refs/convert/parquet", "o/n", "refs/convert/parquet"),
            ("https://hub.example/datasets/o/n?x=1", "o/n", "main"),
            ("https://hub.example/datasets/o/n/tree/dev/data", "o/n", "dev"),
            ("http://127.0.0.1:8080/datasets/imdb", "imdb", "main"),
        ] {
            let address = HubDatasetAddress::parse(text).unwrap();
            assert_eq!((address.repo.as_str(), address.revision.as_str()), (repo, revision), "{text}");
        }
        for hostile in
            ["", "a/b/c", "../x", "o/n@../x", "https://hub.example/o/n", "o/n@", "o/%2e%2e", &"x".repeat(3000)]
        {
            assert!(HubDatasetAddress::parse(hostile).is_err(), "{hostile}");
        }
        assert_eq!(HubDatasetAddress::parse("o/n@v1").unwrap().to_string(), "o/n@v1");
    }

    #[test]
    fn a_path_on_the_hub_tells_configuration_and_split() {
        for (path, place) in [
            ("data/train-00000-of-00002.parquet", ("", "train")),
            ("sst2/test-00000-of-00001.parquet", ("sst2", "test")),
            ("plain_text/unsupervised/0003.parquet", ("plain_text", "unsupervised")),
            ("default/partial-train/0000.parquet", ("default", "partial-train")),
            ("train.parquet", ("", "train")),
            ("a/b/dev.csv.gz", ("a/b", "dev")),
            ("0000.parquet", ("", "")),
            ("data/one-of-many.parquet", ("", "one-of-many")),
        ] {
            assert_eq!(HubDatasetFile { path: path.to_string(), bytes: 1 }.place(), place, "{path}");
        }
    }
}
