//! The models that runs can begin from: bases and adapters, from the Hub or from the disk.

use crate::export::{ExportKind, MergeInto, ParityReport};
use crate::hub::{FileProgress, HubCheck, PushProgress};
use crate::model::{BaseModelInfo, DeviceInfo};
use crate::run::RunId;
use serde::{Deserialize, Serialize};

/// Number of a model in the catalogue.
pub type ModelId = i64;

/// The model that the server was started with. It is always there.
pub const OWN_MODEL: ModelId = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A whole model, which runs train adapters for.
    Base,
    /// A LoRA adapter in PEFT's format, made elsewhere.
    Adapter,
}

impl ModelKind {
    /// The word in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Adapter => "adapter",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Base, Self::Adapter].into_iter().find(|kind| kind.as_str() == word)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelStatus {
    /// For an earlier download to end.
    Waiting,
    Downloading,
    /// By a person. What has come is kept.
    Paused,
    Ready,
    /// What has come is kept.
    Failed,
}

/// What can happen to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelAction {
    Claim,
    Pause,
    Resume,
    Finish,
    Fail,
    /// The process ended while it was downloading.
    Recover,
}

impl ModelStatus {
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Downloading, Self::Paused, Self::Ready, Self::Failed];

    /// The only place that says which transition exists. `None`: that cannot happen in this state.
    pub fn after(self, action: ModelAction) -> Option<Self> {
        use ModelAction::*;
        match (self, action) {
            (Self::Waiting, Claim) => Some(Self::Downloading),
            (Self::Waiting | Self::Downloading, Pause) => Some(Self::Paused),
            (Self::Paused | Self::Failed, Resume) => Some(Self::Waiting),
            (Self::Downloading, Finish) => Some(Self::Ready),
            (Self::Downloading, Fail) => Some(Self::Failed),
            (Self::Downloading, Recover) => Some(Self::Waiting),
            _ => None,
        }
    }

    /// Something will change by itself.
    pub fn is_moving(self) -> bool {
        matches!(self, Self::Waiting | Self::Downloading)
    }

    /// The word in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Downloading => "downloading",
            Self::Paused => "paused",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// A model as lists and its card show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    pub id: ModelId,
    pub kind: ModelKind,
    pub status: ModelStatus,
    /// As the person named it: an address on the Hub, or a path on the server's disk.
    pub source: String,
    pub from_hub: bool,
    /// The commit that was fetched.
    pub commit: Option<String>,
    /// Of a base that is ready.
    pub info: Option<BaseModelInfo>,
    /// Of an adapter that is ready.
    pub adapter: Option<AdapterInfo>,
    /// It brings a chat template, which runs can wrap their prompt in.
    pub has_chat_template: bool,
    /// On the disk, when all is there.
    pub total_bytes: u64,
    pub done_bytes: u64,
    /// While it downloads.
    pub download: Option<DownloadProgress>,
    /// Why it failed.
    pub failure: Option<String>,
    pub added_at_ms: i64,
    /// Runs that began from it.
    pub runs: u64,
}

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DownloadProgress {
    pub files: Vec<FileProgress>,
    /// Over the last seconds.
    pub bytes_per_second: f64,
    /// At that rate; `None` as long as nothing comes.
    pub seconds_left: Option<f64>,
}

/// An adapter as a run or a classifier needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// The model in the catalogue that it belongs on.
    pub base: ModelId,
    pub base_name: String,
    pub r: usize,
    /// In the order of its probabilities; empty where nobody has said what it answers, so that it can be trained
    /// further but not classified with.
    pub labels: Vec<String>,
}

/// What a person adds to the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewModel {
    /// An address on the Hub, or a path on the server's disk: absolute, or beginning with `./`.
    pub source: String,
    /// For an adapter: the model in the catalogue that it belongs on.
    pub base: ModelId,
    /// For an adapter of others, which does not say what it answers: its labels.
    pub labels: Vec<String>,
    /// For such an adapter: its prompt, the usual one where this is `None`.
    pub prompt_template: Option<String>,
}

/// What is known of a model before it is added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCheck {
    pub source: String,
    pub kind: ModelKind,
    /// For one on the Hub.
    pub hub: Option<HubCheck>,
    pub info: Option<BaseModelInfo>,
    /// What training in 4 bits takes on the server's device, about.
    pub memory_bytes: Option<u64>,
    pub device: DeviceInfo,
    /// It is an adapter that says itself what it answers.
    pub labels: Vec<String>,
    /// Why it cannot be added, in words; empty where it can.
    pub problems: Vec<String>,
    /// What does not hinder, but should be known.
    pub warnings: Vec<String>,
}

/// Whose account the Hub is asked with. The token itself never leaves the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HubAccount {
    pub endpoint: String,
    pub offline: bool,
    pub token: TokenSource,
    /// Whose it is; `None` where the Hub does not know it or was not reached.
    pub user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    None,
    /// `HF_TOKEN` or the file that other tools keep it in.
    Environment,
    /// Typed in the interface.
    Typed,
}

/// What training starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterSource {
    /// What a finished run left.
    Run(RunId),
    /// One of the catalogue.
    Model(ModelId),
}

/// Number of an export.
pub type ExportId = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportStatus {
    Waiting,
    Writing,
    /// The exported model is loaded again and scores the test rows.
    Checking,
    Ready,
    Failed,
}

impl ExportStatus {
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Writing, Self::Checking, Self::Ready, Self::Failed];

    /// Something will change by itself.
    pub fn is_moving(self) -> bool {
        matches!(self, Self::Waiting | Self::Writing | Self::Checking)
    }

    /// The word in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Writing => "writing",
            Self::Checking => "checking",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// One way in which a run's result was written out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportSummary {
    pub id: ExportId,
    pub run: RunId,
    pub kind: ExportKind,
    pub merge_into: MergeInto,
    pub status: ExportStatus,
    /// While it is written.
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// When it is ready; each can be downloaded from `/runs/{run}/exports/{id}/{name}`.
    pub files: Vec<ExportFile>,
    pub parity: Option<ParityReport>,
    pub failure: Option<String>,
    pub created_at_ms: i64,
    pub push: Option<Push>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFile {
    pub name: String,
    pub bytes: u64,
}

/// An export on its way to the Hub, or there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// `owner/name`.
    pub repo: String,
    pub private: bool,
    pub state: PushState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PushState {
    Waiting,
    Pushing {
        files: Vec<PushProgress>,
    },
    /// As one commit; `url` shows it.
    Done {
        url: String,
    },
    /// Nothing has changed on the Hub; what was sent need not be sent again.
    Failed {
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for status in ModelStatus::ALL {
            assert_eq!(ModelStatus::parse(status.as_str()), Some(status));
        }
        for status in ExportStatus::ALL {
            assert_eq!(ExportStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn what_is_ready_stays_ready() {
        use ModelAction::*;
        for action in [Claim, Pause, Resume, Finish, Fail, Recover] {
            assert_eq!(ModelStatus::Ready.after(action), None);
        }
        assert_eq!(ModelStatus::Downloading.after(Recover), Some(ModelStatus::Waiting));
        assert_eq!(ModelStatus::Failed.after(Resume), Some(ModelStatus::Waiting));
    }
}
