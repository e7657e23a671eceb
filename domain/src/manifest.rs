//! The manifest of a run: all that decides its numbers, by hash where it is large. From it the run can be started again,
//! and what no longer matches is named.

use crate::catalogue::{AdapterSource, ModelId};
use crate::dataset::DatasetId;
use crate::error::UserError;
use crate::model::DeviceInfo;
use crate::spec::TrainSpec;
use crate::split::Split;
use crate::version::VersionNumber;
use serde::{Deserialize, Serialize};

/// Of the form below. One of a later program is refused, not misread.
pub const MANIFEST_FORMAT: u32 = 1;

/// What a run was made of. Hashes are SHA-256 in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Of the run.
    pub name: String,
    /// The program, such as `ayar 0.1.0`.
    pub program: String,
    pub device: DeviceInfo,
    pub data: ManifestData,
    /// The rows of each part, in the order in which they are numbered.
    pub train: PartHash,
    pub validation: PartHash,
    pub test: PartHash,
    /// In the order of the classifier's probabilities.
    pub labels: Vec<String>,
    pub base: ManifestBase,
    /// The adapter that training began from; `None`: a fresh one, which follows from the seed.
    pub start_from: Option<ManifestStart>,
    /// Every knob, the prompt's template and the seed among them.
    pub spec: TrainSpec,
    /// Milliseconds since 1970, UTC: when the run was taken up.
    pub made_at_ms: i64,
}

/// Where the rows came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum ManifestData {
    /// Datasets of a server, dealt by a split.
    Datasets {
        dataset: PinnedDataset,
        /// Where the split names datasets of their own.
        validation: Option<PinnedDataset>,
        test: Option<PinnedDataset>,
        /// The number of the frozen test set, where the split takes it.
        frozen_test: Option<i64>,
        split: Split,
    },
    /// Files of the command line, one per part.
    Files { train: String, validation: Option<String>, test: String, text_column: String, label_column: String },
}

/// A version of a dataset, by its number and by its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedDataset {
    pub id: DatasetId,
    pub name: String,
    pub version: VersionNumber,
    /// Of its rows: the version's own name.
    pub hash: String,
}

/// The rows of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHash {
    pub rows: u64,
    /// Of texts and labels, in order.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBase {
    /// In the catalogue of the server; `None` on the command line.
    pub id: Option<ModelId>,
    pub name: String,
    /// Of its files.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestStart {
    /// `None` on the command line, where it is a folder.
    pub source: Option<AdapterSource>,
    /// The folder on the command line.
    pub folder: Option<String>,
    /// Of its weights and its configuration.
    pub hash: String,
}

/// How a run came out that was started from another's manifest, beside that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reproduction {
    /// The run whose manifest it was, and its name.
    pub of: i64,
    pub of_name: String,
    /// Steps of both so far.
    pub steps_compared: u64,
    /// The first step whose loss is not the same to the last bit.
    pub first_other_step: Option<u64>,
    /// Test rows whose probabilities after training are not the same to the last bit; `None` while one of the runs has
    /// none yet.
    pub other_predictions: Option<u64>,
}

impl Manifest {
    /// A manifest from a file, which anybody may have written.
    ///
    /// # Errors
    /// It is of a later form, or its recipe has a knob out of range.
    pub fn check(&self) -> Result<(), UserError> {
        if self.format != MANIFEST_FORMAT {
            return Err(UserError::invalid(format!(
                "The manifest is of form {}; this program reads form {MANIFEST_FORMAT}. It was written by {}.",
                self.format, self.program
            )));
        }
        self.spec.check()
    }

    /// What is not as it was and is no reason to refuse, but may show in the numbers.
    pub fn cautions(&self, program: &str, device: &DeviceInfo) -> Vec<String> {
        let mut cautions = Vec::new();
        if self.program != program {
            cautions.push(format!("the program was {}, and is {program} now", self.program));
        }
        if self.device.name != device.name || self.device.id != device.id {
            cautions.push(format!("the device was {}, and is {} now", self.device.name, device.name));
        } else if !device.id.starts_with("cpu") {
            cautions.push("a card adds up in no fixed order".to_string());
        }
        cautions
    }
}

impl PartHash {
    /// # Errors
    /// The rows are not those that were hashed; `part` is what they are called.
    pub fn require(&self, part: &str, now: &Self) -> Result<(), UserError> {
        if self == now {
            return Ok(());
        }
        let what = if self.rows == now.rows {
            format!("other {} rows than the {} of the manifest: their hash is", now.rows, self.rows)
        } else {
            format!("{} rows, where the manifest has {}: their hash is", now.rows, self.rows)
        };
        Err(UserError::conflict(format!(
            "The {part} part has {what} {}, and was {}. Nothing was started.",
            short(&now.hash),
            short(&self.hash)
        )))
    }
}

/// The beginning of a hash, as people compare it.
pub fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

impl Reproduction {
    /// What came of it, in a sentence.
    pub fn in_words(&self) -> String {
        let steps = self.steps_compared;
        match (self.first_other_step, self.other_predictions) {
            (Some(step), _) => format!("The losses differ from step {step} on."),
            (None, None) => format!("All losses of {steps} steps so far are the same to the last bit."),
            (None, Some(0)) => {
                format!("All losses of {steps} steps and all test predictions are the same to the last bit.")
            }
            (None, Some(rows)) => {
                format!("All losses of {steps} steps are the same to the last bit; {rows} test predictions differ.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let part = |rows| PartHash { rows, hash: format!("{rows:064}") };
        Manifest {
            format: MANIFEST_FORMAT,
            name: "First".into(),
            program: "ayar 0.1.0".into(),
            device: DeviceInfo { id: "cpu".into(), name: "CPU, 2 cores".into(), memory_bytes: None, detail: None },
            data: ManifestData::Datasets {
                dataset: PinnedDataset { id: 1, name: "News".into(), version: 2, hash: "ab".into() },
                validation: None,
                test: None,
                frozen_test: None,
                split: Split::default(),
            },
            train: part(6),
            validation: part(1),
            test: part(3),
            labels: vec!["a".into(), "b".into()],
            base: ManifestBase { id: Some(0), name: "tohum-16m".into(), hash: "cd".into() },
            start_from: None,
            spec: TrainSpec::small_base(),
            made_at_ms: 5,
        }
    }

    #[test]
    fn a_manifest_reads_back_and_a_strange_one_is_refused() {
        let written = serde_json::to_string_pretty(&manifest()).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&written).unwrap(), manifest());
        assert!(manifest().check().is_ok());
        let later = Manifest { format: 2, ..manifest() };
        assert!(later.check().unwrap_err().message.contains("form 2"));
        let wild = Manifest { spec: TrainSpec { r: 0, ..TrainSpec::default() }, ..manifest() };
        assert!(wild.check().unwrap_err().message.contains("LoRA rank"));
    }

    #[test]
    fn other_rows_are_told_apart_from_fewer() {
        let part = |rows, digit: &str| PartHash { rows, hash: digit.repeat(64) };
        assert!(part(3, "a").require("test", &part(3, "a")).is_ok());
        let other = part(3, "a").require("test", &part(3, "b")).unwrap_err().message;
        assert!(other.contains("The test part has other 3 rows") && other.contains("bbbbbbbbbbbb,"), "{other}");
        let fewer = part(3, "a").require("training", &part(2, "b")).unwrap_err().message;
        assert!(fewer.contains("2 rows, where the manifest has 3"), "{fewer}");
    }

    #[test]
    fn what_may_show_in_the_numbers_is_told() {
        let manifest = manifest();
        assert!(manifest.cautions("ayar 0.1.0", &manifest.device).is_empty());
        let card = DeviceInfo { id: "cuda:0".into(), name: "H200".into(), memory_bytes: None, detail: None };
        let cautions = manifest.cautions("ayar 0.2.0", &card);
        assert_eq!(cautions.len(), 2, "{cautions:?}");
    }

    #[test]
    fn a_reproduction_is_told_in_a_sentence() {
        let same = Reproduction {
            of: 1,
            of_name: "First".into(),
            steps_compared: 9,
            first_other_step: None,
            other_predictions: Some(0),
        };
        assert!(same.in_words().contains("all test predictions are the same"));
        assert!(Reproduction { first_other_step: Some(4), ..same.clone() }.in_words().contains("step 4"));
        assert!(Reproduction { other_predictions: None, ..same }.in_words().contains("so far"));
    }
}
