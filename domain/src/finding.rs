//! What the examination of a dataset finds, why it matters, and what can be done about it.

use crate::dataset::LabelCount;
use crate::version::{NumberedRow, VersionNumber};
use serde::{Deserialize, Serialize};

/// What can be wrong with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Rows of the file that could not be read, or without text or label; they are not in the dataset.
    Rejected,
    /// Texts that seem to end before their end.
    CutTexts,
    ControlCharacters,
    HtmlRemains,
    Mojibake,
    ExactDuplicates,
    NearDuplicates,
    /// One text, several labels.
    Contradictions,
    /// Texts on two sides of the split that the file brings, or of the frozen test set.
    Leakage,
    ClassImbalance,
    /// Labels with too few rows to learn and to test.
    FewRows,
    /// A side of the split with one label only, or without one of the labels.
    OneClassSplit,
    /// Longer than the model's context.
    TooLong,
    /// A word that occurs in one label's rows alone, and in many of them.
    Giveaways,
    PersonalData,
    LanguageMix,
}

impl FindingKind {
    pub const ALL: [Self; 16] = [
        Self::Rejected,
        Self::CutTexts,
        Self::ControlCharacters,
        Self::HtmlRemains,
        Self::Mojibake,
        Self::ExactDuplicates,
        Self::NearDuplicates,
        Self::Contradictions,
        Self::Leakage,
        Self::ClassImbalance,
        Self::FewRows,
        Self::OneClassSplit,
        Self::TooLong,
        Self::Giveaways,
        Self::PersonalData,
        Self::LanguageMix,
    ];

    /// The word in addresses and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::CutTexts => "cut_texts",
            Self::ControlCharacters => "control_characters",
            Self::HtmlRemains => "html_remains",
            Self::Mojibake => "mojibake",
            Self::ExactDuplicates => "exact_duplicates",
            Self::NearDuplicates => "near_duplicates",
            Self::Contradictions => "contradictions",
            Self::Leakage => "leakage",
            Self::ClassImbalance => "class_imbalance",
            Self::FewRows => "few_rows",
            Self::OneClassSplit => "one_class_split",
            Self::TooLong => "too_long",
            Self::Giveaways => "giveaways",
            Self::PersonalData => "personal_data",
            Self::LanguageMix => "language_mix",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Costs accuracy, or makes scores look other than they are, a little.
    Warning,
    /// Scores on this data cannot be trusted, or a label cannot be learnt.
    Problem,
}

/// What can be done about a finding. Each is previewed, applied as a new version, and can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "repair")]
pub enum Repair {
    /// All affected rows go.
    DropRows,
    RemoveControlCharacters,
    /// Tags go, entities become characters.
    StripHtml,
    RepairMojibake,
    /// Of each group of the same text and label the first row stays.
    KeepFirst,
    /// Contradictions: each text keeps its most frequent label; where labels tie, all its rows go.
    KeepMajorityLabel,
    /// Contradictions: where this label is among a text's labels, the text keeps it alone.
    PreferLabel {
        label: String,
    },
    /// Leakage: the row on the training side goes, the test row stays.
    DropFromTraining,
    /// Of every label at most so many rows stay, the first ones by hash of their text.
    CapPerLabel {
        rows: u64,
    },
    /// Giveaways: the word is taken out of the texts.
    RemoveWord {
        word: String,
    },
    /// E-mail addresses, phone numbers and IBANs become `[email]`, `[phone]` and `[iban]`.
    MaskPersonalData,
    /// Language mix: rows in other languages go. ISO 639-3.
    KeepLanguage {
        language: String,
    },
}

/// A repair on offer, with its name on the button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairOffer {
    pub repair: Repair,
    pub title: String,
}

/// One number of a finding with its name, such as `texts labelled both "a" and "b"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingFact {
    pub name: String,
    pub count: u64,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    pub severity: Severity,
    /// Rows that it concerns.
    pub rows: u64,
    /// Groups that they form: one per repeated or contradicted text; as many as rows where each stands for itself.
    pub groups: u64,
    /// What was found, in one line with its numbers: `514 texts carry more than one label`.
    pub headline: String,
    /// Why it matters, in one sentence.
    pub why: String,
    /// The finer numbers, most telling first; at most 20.
    pub facts: Vec<FindingFact>,
    /// The most sensible one first.
    pub repairs: Vec<RepairOffer>,
}

/// A histogram; bucket `i` counts values from `edges[i]` up to below `edges[i + 1]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub edges: Vec<f64>,
    pub counts: Vec<u64>,
}

/// Lengths of texts in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LengthSummary {
    pub shortest: u64,
    pub quarter: u64,
    pub median: u64,
    pub three_quarters: u64,
    pub longest: u64,
}

/// What the dataset page draws.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetCharts {
    /// Most frequent first.
    pub labels: Vec<LabelCount>,
    /// Characters per text, on buckets that grow.
    pub lengths: Histogram,
    /// In the order of `labels`.
    pub label_lengths: Vec<LengthSummary>,
    /// Tokens per text under the server's own base model, of evenly chosen rows.
    pub tokens: Histogram,
    /// How many rows `tokens` counts.
    pub token_sample: u64,
    /// `(times, texts)`: so many texts occur so many times; from 2 on, exact repetitions.
    pub repetitions: Vec<(u64, u64)>,
    /// ISO 639-3 code and rows, most frequent first; empty until languages have been looked at.
    pub languages: Vec<LabelCount>,
}

/// The share of rows that are fine, and a verdict, as a manager would want to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    /// Usable, with the warnings in mind.
    Fair,
    /// To be repaired before a score is believed.
    Poor,
}

/// The health of a version in a few words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub verdict: Verdict,
    /// One sentence.
    pub summary: String,
    /// Two to four sentences: what is wrong, what it does, what to do first.
    pub sentences: Vec<String>,
    /// Rows without any finding of weight.
    pub clean_rows: u64,
}

/// The whole report on one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examination {
    pub version: VersionNumber,
    pub rows: u64,
    pub rejected: u64,
    /// The highest accuracy that any classifier can have on these rows, since one text gets one answer: the mean over all
    /// rows of whether the row has its text's most frequent label.
    pub ceiling: f64,
    pub health: Health,
    /// Weightiest first.
    pub findings: Vec<Finding>,
    pub charts: DatasetCharts,
    pub seconds: f64,
}

/// Where an examination stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ExaminationState {
    Waiting,
    Working {
        /// What is being looked for, such as `near duplicates`.
        step: String,
        /// Of the whole, from 0 to 1.
        share: f64,
        seconds: f64,
        /// Estimated from the share so far.
        seconds_left: Option<f64>,
    },
    Done {
        examination: Box<Examination>,
    },
    Failed {
        reason: String,
    },
}

/// Rows that belong together in a finding: the repetitions of one text, the two sides of a leak; else one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingGroup {
    pub rows: Vec<NumberedRow>,
    /// What of the rows is at issue, such as the word that gives the label away; empty where the rows speak.
    pub note: String,
    /// The first row's text after the repair, where the first repair on offer rewrites texts.
    pub repaired: Option<String>,
    /// Rows of the group beyond those listed.
    pub more: u64,
}

/// Some of a finding's groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingPage {
    pub groups: Vec<FindingGroup>,
    pub first: u64,
    pub total: u64,
}

/// A row before and after a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairedRow {
    pub before: NumberedRow,
    /// Text and label afterwards; `None`: the row goes.
    pub after: Option<(String, String)>,
}

/// What a repair would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairPreview {
    /// The version that it was worked out on; applying it to a later one is refused.
    pub version: VersionNumber,
    /// The first rows that change.
    pub rows: Vec<RepairedRow>,
    pub removed: u64,
    pub relabelled: u64,
    pub rewritten: u64,
    /// Afterwards.
    pub labels: Vec<LabelCount>,
}
