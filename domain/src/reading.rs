//! How a file is to be read: what was detected, what a person corrected, and what it then looks like.

use crate::dataset::{DatasetId, LabelCount};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a file holds, once it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// CSV, TSV and their relatives.
    Delimited,
    /// One JSON object per line.
    JsonLines,
    /// An array of objects, or an object of columns.
    Json,
    Parquet,
    /// An .xlsx workbook.
    Excel,
}

impl FileFormat {
    pub const ALL: [Self; 5] = [Self::Delimited, Self::JsonLines, Self::Json, Self::Parquet, Self::Excel];

    /// The word in addresses, forms and arguments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delimited => "delimited",
            Self::JsonLines => "json_lines",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Excel => "excel",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Delimited => "CSV or the like",
            Self::JsonLines => "JSON Lines",
            Self::Json => "JSON",
            Self::Parquet => "Parquet",
            Self::Excel => "Excel",
        }
    }

    /// The file is text, so that it has an encoding.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Delimited | Self::JsonLines | Self::Json)
    }

    /// The first row may name the columns, or not.
    pub fn may_lack_header(self) -> bool {
        matches!(self, Self::Delimited | Self::Excel)
    }
}

/// What a file is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    Gzip,
    Zstd,
    /// An archive; one of its files is read.
    Zip,
}

impl Compression {
    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }
}

/// Where a row's text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    Column(usize),
    /// Several columns joined: `{name}` is replaced by that column's field, such as `{title}\n{body}`.
    Template(String),
}

/// How a file is read, in full. A preview proposes one; the person confirms or corrects it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    pub format: FileFormat,
    /// The encoding's name in the WHATWG's list, such as `UTF-8` or `windows-1254`. Says nothing for Parquet and Excel.
    pub encoding: String,
    /// The character between fields: comma, tab, semicolon or pipe. Delimited files only.
    pub delimiter: char,
    /// The character around fields that hold a delimiter: `"`, `'`, or none. Delimited files only.
    pub quote: Option<char>,
    /// The first row names the columns. Delimited files and workbooks only.
    pub has_header: bool,
    /// The file inside a zip archive.
    pub member: Option<String>,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
    pub text: TextSource,
    pub label_column: usize,
    /// A column that says `train`, `validation` or `test`.
    pub split_column: Option<usize>,
    /// From a label as the file has it to the name that it gets: names for integers, and aliases that a person has agreed
    /// to merge. Labels that are not here stay as they are.
    pub label_names: BTreeMap<String, String>,
}

/// What a person wants read otherwise than it was detected; `None`: as detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadWish {
    pub format: Option<FileFormat>,
    pub encoding: Option<String>,
    pub delimiter: Option<char>,
    /// `Some(None)`: no character quotes.
    pub quote: Option<Option<char>>,
    pub has_header: Option<bool>,
    pub member: Option<String>,
    pub sheet: Option<String>,
    pub text: Option<TextSource>,
    pub label_column: Option<usize>,
    pub split_column: Option<usize>,
}

/// Labels that look like one: `pos`, `Positive ` and `positive`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelMerge {
    /// The name that they would share.
    pub into: String,
    /// As they stand in the file, most frequent first.
    pub from: Vec<LabelCount>,
    /// Why they look alike, in words.
    pub reason: String,
}

/// What a person sees of a file before it is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPreview {
    /// Names the upload until it is imported or forgotten.
    pub upload: String,
    pub file_name: String,
    /// As it was sent.
    pub bytes: u64,
    pub compression: Option<Compression>,
    /// The files in a zip archive that can be read.
    pub members: Vec<String>,
    /// The sheets of a workbook.
    pub sheets: Vec<String>,
    /// The shape in which JSON was understood, in words, such as `chat messages (OpenAI)`.
    pub shape: Option<String>,
    pub columns: Vec<String>,
    /// The first rows, as many fields as `columns`.
    pub rows: Vec<Vec<String>>,
    /// The first rows' texts as the options make them.
    pub texts: Vec<String>,
    /// How the file was read for this, and what is proposed for the rest.
    pub options: ReadOptions,
    /// Of the rows looked at: labels as the file has them.
    pub labels: Vec<LabelCount>,
    /// Labels that may be one; nothing is merged without consent.
    pub merges: Vec<LabelMerge>,
    /// The labels are all integers, and nothing in the file names them.
    pub labels_are_integers: bool,
    /// Rows that the labels were counted in; of a long file its beginning.
    pub rows_looked_at: u64,
    /// The first rows that cannot be read this way.
    pub trouble: Vec<crate::dataset::RejectedRow>,
}

/// What becomes of a confirmed upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// Of the new dataset; empty: the file's name.
    pub name: String,
    pub options: ReadOptions,
    /// `None`: a new dataset.
    pub into: Option<ImportInto>,
    /// Who does it, as that person wants to be called.
    pub by: String,
}

/// A dataset that a file is added to as its next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportInto {
    pub dataset: DatasetId,
    /// Rows that the file does not have are removed; else they stay.
    pub replace: bool,
}

/// How far an upload has come in. A sender that was cut off goes on from `received`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStatus {
    pub upload: String,
    pub file_name: String,
    /// Bytes that are safe on the server's disk.
    pub received: u64,
    /// Bytes that the sender has announced.
    pub bytes: u64,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportProgress {
    pub rows: u64,
    pub rejected: u64,
    /// Share of the file that has been read, from 0 to 1.
    pub share: f64,
    pub seconds: f64,
}
