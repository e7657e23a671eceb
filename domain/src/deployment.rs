//! A deployment: a name that programs ask, and the version that answers under it. The version can be moved, tried out on
//! a part of the requests, and taken back; every move stays in the history.

pub mod demo;
pub mod figures;

use crate::catalogue::AdapterSource;
use crate::error::UserError;
use serde::{Deserialize, Serialize};

/// Longest name, in bytes: that of a part of a host's name.
pub const MAX_NAME_BYTES: usize = 63;

/// How addresses, forms and answers name what classifies: `run-3` for what run 3 left, `model-4` for an adapter of the
/// catalogue.
pub fn word_of(source: AdapterSource) -> String {
    match source {
        AdapterSource::Run(id) => format!("run-{id}"),
        AdapterSource::Model(id) => format!("model-{id}"),
    }
}

/// The reverse of [`word_of`].
pub fn parse_source(word: &str) -> Option<AdapterSource> {
    match word.split_once('-')? {
        ("run", id) => id.parse().ok().map(AdapterSource::Run),
        ("model", id) => id.parse().ok().map(AdapterSource::Model),
        _ => None,
    }
}

/// # Errors
/// It could not stand in an address, or would name a run or a model.
pub fn check_name(name: &str) -> Result<(), UserError> {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_fine) || name.starts_with('-') {
        return Err(UserError::invalid(format!(
            "The name of a deployment has 1 to {MAX_NAME_BYTES} small letters a to z, digits and hyphens, and begins \
             with none of the last, such as \"headlines\"."
        )));
    }
    if parse_source(name).is_some() {
        return Err(UserError::invalid(format!(
            "\"{name}\" names a run or a model itself. Choose another name, such as \"headlines\"."
        )));
    }
    Ok(())
}

/// A deployment as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub name: String,
    pub version: AdapterSource,
    /// The version in words: the run's or the model's name.
    pub version_name: String,
    pub canary: Option<Canary>,
    pub created_at_ms: i64,
    /// The newest first.
    pub moves: Vec<Move>,
}

/// A version that is tried out on a part of the requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    pub version: AdapterSource,
    pub version_name: String,
    /// Of the requests, 1 to 100.
    pub percent: u32,
}

/// # Errors
/// It is no share of the requests.
pub fn check_percent(percent: u32) -> Result<(), UserError> {
    if (1..=100).contains(&percent) {
        return Ok(());
    }
    Err(UserError::invalid("A new version is tried out on 1 to 100 percent of the requests."))
}

/// Whether the request with that number, counted from 0, goes to the version that is tried out: of any hundred in a row
/// exactly `percent` do, spread as evenly as can be.
pub fn goes_to_canary(number: u64, percent: u32) -> bool {
    let percent = u64::from(percent.min(100));
    let number = number % 100;
    (number + 1) * percent / 100 > number * percent / 100
}

/// One entry of a deployment's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// From 1 within the deployment, without gaps.
    pub number: i64,
    pub action: MoveAction,
    pub version: AdapterSource,
    pub version_name: String,
    /// Who did it; empty where nobody has said.
    pub by: String,
    pub at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveAction {
    Created,
    Moved,
    RolledBack,
    CanaryStarted { percent: u32 },
    CanaryStopped,
}

impl MoveAction {
    /// Whether all requests that go to no canary are answered by another version from then on.
    pub fn moves_version(self) -> bool {
        matches!(self, Self::Created | Self::Moved | Self::RolledBack)
    }
}

impl Deployment {
    /// What a roll back goes to: the version before the present one.
    pub fn previous(&self) -> Option<&Move> {
        let mut versions = self.moves.iter().filter(|entry| entry.action.moves_version());
        versions.find(|entry| entry.version != self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_in_an_address_and_name_nothing_else() {
        for name in ["headlines", "a", "news-2026", "run", "run-x", "7"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "Headlines", "a b", "-a", "a/b", "..", "run-3", "model-12", "ä", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn sources_read_back() {
        for source in [AdapterSource::Run(3), AdapterSource::Model(12)] {
            assert_eq!(parse_source(&word_of(source)), Some(source));
        }
        for word in ["", "run", "run-", "run-x", "dataset-1", "3"] {
            assert_eq!(parse_source(word), None, "{word}");
        }
    }

    #[test]
    fn a_canary_gets_its_share_of_any_hundred() {
        for percent in [1, 5, 33, 50, 99, 100] {
            for start in [0, 7, 12_345] {
                let gets = (start..start + 100).filter(|number| goes_to_canary(*number, percent)).count();
                assert_eq!(gets, percent as usize);
            }
        }
        assert!(check_percent(0).is_err() && check_percent(101).is_err() && check_percent(5).is_ok());
    }
}
