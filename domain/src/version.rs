//! The versions of a dataset: each is immutable, named by the hash of its rows, and says what changed.

use crate::dataset::{DatasetId, LabelCount};
use crate::finding::{FindingKind, Repair};
use crate::split::Part;
use serde::{Deserialize, Serialize};

/// A row's number within its dataset: given once, in the order of arrival, and never again, whatever later versions do
/// to the row.
pub type RowId = u32;

/// A version's number within its dataset, from 1.
pub type VersionNumber = i64;

/// A row of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedRow {
    pub id: RowId,
    /// Line of its file on which it began, counted from 1.
    pub line: u64,
    pub text: String,
    pub label: String,
    /// The part that its file put it in.
    pub part: Option<Part>,
    /// The text or the label is not as the file had it.
    pub is_changed: bool,
    /// What the examination found on this row.
    pub findings: Vec<FindingKind>,
}

/// What a version made of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowChange {
    Dropped,
    /// What is `None` stays.
    Edited {
        text: Option<String>,
        label: Option<String>,
    },
    /// Back to what the file had.
    Restored,
}

/// Why a version came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum VersionCause {
    Imported {
        file_name: String,
    },
    /// A further file: added to the rows, or in their place.
    FileAdded {
        file_name: String,
        replace: bool,
    },
    Repaired {
        finding: FindingKind,
        repair: Repair,
    },
    /// A person edited rows by hand.
    Edited,
    /// Decisions of a label review.
    Reviewed {
        check: i64,
    },
    /// The changes of that version were taken back.
    Undone {
        version: VersionNumber,
    },
    /// The rows are again what they were in that version.
    WentBack {
        version: VersionNumber,
    },
}

/// One version of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetVersion {
    pub dataset: DatasetId,
    pub number: VersionNumber,
    /// SHA-256 over the rows, in hexadecimal: the same rows have the same hash, however they came to be.
    pub hash: String,
    pub cause: VersionCause,
    pub by: String,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    pub rows: u64,
    /// Against the version before.
    pub added: u64,
    pub removed: u64,
    pub relabelled: u64,
    /// Rows whose text changed.
    pub rewritten: u64,
    /// Most frequent first, then by name.
    pub labels: Vec<LabelCount>,
    /// Runs that pin this version.
    pub runs: u64,
}

/// Which rows of a version are asked for. They are numbered from 0 in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowQuery {
    /// `None`: the newest.
    pub version: Option<VersionNumber>,
    /// Words that must all occur in the text or the label, whatever their case.
    pub search: String,
    pub label: Option<String>,
    pub part: Option<Part>,
    pub finding: Option<FindingKind>,
    /// Of the matching ones.
    pub first: u64,
    pub count: u64,
}

/// Rows that match a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSlice {
    pub version: VersionNumber,
    pub first: u64,
    pub rows: Vec<NumberedRow>,
    /// All that match.
    pub matching: u64,
}

/// A change that a person makes to one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowEdit {
    pub row: RowId,
    /// As the person saw it: an edit of a row that has changed since is refused.
    pub seen_text: String,
    pub seen_label: String,
    pub change: RowChange,
    pub by: String,
}

/// Who is called what where nobody has said.
pub const NOBODY: &str = "someone";
