//! Labels that cross-validated models disagree with, and people's decisions on them.

use crate::dataset::DatasetId;
use crate::run::RunId;
use crate::version::{RowId, VersionNumber};
use serde::{Deserialize, Serialize};

pub type LabelCheckId = i64;

/// What a person decides on a doubtful row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// The label stands as it is.
    Accept,
    Relabel {
        label: String,
    },
    Drop,
}

/// A row whose label the models doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoubtfulRow {
    pub row: RowId,
    pub text: String,
    /// The label that it has.
    pub given: String,
    /// The label that the models hold for right.
    pub suggested: String,
    /// What the models give the two, from 0 to 1.
    pub p_given: f64,
    pub p_suggested: f64,
    pub decision: Option<Decision>,
    /// Who decided.
    pub by: Option<String>,
    /// Who has the row open at the moment.
    pub held_by: Option<String>,
}

/// Where a label check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelCheckStatus {
    /// Its runs wait or are at work.
    Working,
    /// The doubtful rows are there to be reviewed.
    Ready,
    /// The decisions have become a version.
    Applied,
    Failed,
}

/// A cross-validation over a dataset: every row is judged by a model that was not trained on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelCheck {
    pub id: LabelCheckId,
    pub dataset: DatasetId,
    pub version: VersionNumber,
    pub status: LabelCheckStatus,
    /// One per fold.
    pub runs: Vec<RunId>,
    pub runs_done: u64,
    /// Rows that were judged.
    pub judged: u64,
    pub doubtful: u64,
    pub decided: u64,
    /// Share of judged rows whose label the models agree with.
    pub agreement: Option<f64>,
    pub failure: Option<String>,
    /// The version that the decisions have become.
    pub applied_as: Option<VersionNumber>,
    /// Rows with decisions that were changed meanwhile, and were left as they are.
    pub skipped: u64,
    pub by: String,
    pub created_at_ms: i64,
}
