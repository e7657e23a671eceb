//! A Hub, a cache, and short ways to do what every test does.

use crate::server::{HubOptions, Seen, TestHub};
use domain::hub::{FileProgress, HubAddress};
use service::hub::{Download, Hub, HubError, HubSettings, HubToken, Patience};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Place {
    pub server: TestHub,
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::with(HubOptions::default())
    }

    pub fn with(options: HubOptions) -> Self {
        Self { server: TestHub::start(options), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn cache(&self) -> PathBuf {
        self.path().join("hub")
    }

    pub fn settings(&self, token: Option<&str>) -> HubSettings {
        HubSettings {
            endpoint: self.server.endpoint(),
            token: token.map(|token| HubToken::parse(token).unwrap()),
            cache: self.cache(),
            offline: false,
        }
    }

    /// Nobody, in a hurry.
    pub fn hub(&self) -> Hub {
        self.hub_of(None)
    }

    pub fn hub_of(&self, token: Option<&str>) -> Hub {
        Hub::new(self.settings(token)).with_patience(hurry())
    }

    pub fn offline(&self) -> Hub {
        Hub::new(HubSettings { offline: true, ..self.settings(None) })
    }

    /// `ada/tiny`: a model with weights of that size. Returns the commit.
    pub fn put_model(&self, weights: &[u8]) -> String {
        self.server.put(
            "ada/tiny",
            &[
                ("README.md", b"---\nlicense: apache-2.0\n---\nTiny\n"),
                ("config.json", br#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}"#),
                ("tokenizer.json", b"{}"),
                ("model.safetensors", weights),
            ],
        )
    }

    /// Where the cache has the weights of `ada/tiny`.
    pub fn blob(&self, name: &str) -> PathBuf {
        self.cache().join("models--ada--tiny/blobs").join(name)
    }
}

pub fn hurry() -> Patience {
    Patience {
        stall: Duration::from_millis(500),
        pause: Duration::from_millis(5),
        retries: 3,
        progress_bytes: 64 << 10,
    }
}

pub fn address(text: &str) -> HubAddress {
    HubAddress::parse(text).unwrap()
}

/// To the end, whatever is reported.
pub fn download(hub: &Hub, text: &str) -> Result<(PathBuf, String), HubError> {
    match hub.download(&address(text), &mut |_| ControlFlow::Continue(()))? {
        Download::Complete { path, commit } => Ok((path, commit)),
        Download::Stopped => panic!("nobody stopped it"),
    }
}

/// Bytes that no two parts of a file share.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// The requests for contents of large files.
pub fn objects(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|seen| !seen.at_hub && seen.method == "GET").collect()
}

/// The first byte that a request asked for.
pub fn first_byte(seen: &Seen) -> u64 {
    let range = seen.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    range.map_or(0, |first| first.parse().unwrap())
}

pub fn bytes_of(files: &[FileProgress]) -> u64 {
    files.iter().map(|file| file.done_bytes).sum()
}
