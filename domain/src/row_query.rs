//! Which test rows of a run are wanted, and in which order: the same in the page's address, in the links of an export and
//! on the server.

use crate::run::{Moment, TestRow};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What training did to a row's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    #[default]
    All,
    /// Wrong before, right after.
    Fixed,
    /// Right before, wrong after.
    Broken,
    /// Wrong after.
    Wrong,
    /// Right after.
    Right,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::All, Self::Wrong, Self::Fixed, Self::Broken, Self::Right];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Fixed => "fixed",
            Self::Broken => "broken",
            Self::Wrong => "wrong",
            Self::Right => "right",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Fixed => "Fixed by training",
            Self::Broken => "Broken by training",
            Self::Wrong => "Wrong after training",
            Self::Right => "Right after training",
        }
    }

    fn takes(self, row: &TestRow) -> bool {
        let right = |moment| row.answer(moment).map(|answer| answer.label == row.truth);
        match self {
            Self::All => true,
            Self::Fixed => right(Moment::Before) == Some(false) && right(Moment::After) == Some(true),
            Self::Broken => right(Moment::Before) == Some(true) && right(Moment::After) == Some(false),
            Self::Wrong => right(Moment::After) == Some(false),
            Self::Right => right(Moment::After) == Some(true),
        }
    }
}

/// What the data check has found in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    #[default]
    Any,
    Clean,
    Contradicted,
    InTraining,
    /// Longer than the context: the answer is to its beginning.
    Cut,
}

impl Finding {
    pub const ALL: [Self; 5] = [Self::Any, Self::Clean, Self::Contradicted, Self::InTraining, Self::Cut];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Clean => "clean",
            Self::Contradicted => "contradicted",
            Self::InTraining => "in_training",
            Self::Cut => "cut",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.as_str() == word)
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Any => "Any",
            Self::Clean => "Clean",
            Self::Contradicted => "Contradicted elsewhere",
            Self::InTraining => "Also in training",
            Self::Cut => "Cut to the context",
        }
    }

    fn takes(self, row: &TestRow) -> bool {
        match self {
            Self::Any => true,
            Self::Clean => row.flags.is_clean(),
            Self::Contradicted => row.flags.is_contradicted,
            Self::InTraining => row.flags.is_in_training,
            Self::Cut => row.after.as_ref().or(row.before.as_ref()).is_some_and(|answer| answer.cut),
        }
    }
}

/// What rows are put in order by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOrder {
    /// As they were tested.
    #[default]
    Tested,
    Confidence,
    /// Probability of the true label: the smallest are the worst mistakes.
    OfTruth,
    Length,
    Text,
    Truth,
    Answer,
}

impl RowOrder {
    pub const ALL: [Self; 7] =
        [Self::Tested, Self::Confidence, Self::OfTruth, Self::Length, Self::Text, Self::Truth, Self::Answer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tested => "tested",
            Self::Confidence => "confidence",
            Self::OfTruth => "of_truth",
            Self::Length => "length",
            Self::Text => "text",
            Self::Truth => "truth",
            Self::Answer => "answer",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.as_str() == word)
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Tested => "As tested",
            Self::Confidence => "Confidence",
            Self::OfTruth => "Probability of the true label",
            Self::Length => "Length",
            Self::Text => "Text",
            Self::Truth => "True label",
            Self::Answer => "Answer",
        }
    }
}

/// Rows of a page.
pub const PAGE_SIZE: u64 = 25;

/// Longest text that is looked for.
const LONGEST_SEARCH_CHARS: usize = 200;

/// A wish for test rows. What is not set takes all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowQuery {
    pub outcome: Outcome,
    /// Places in the run's labels.
    pub truth: Option<usize>,
    pub answer: Option<usize>,
    /// Of which classifier `answer` and the confidence are: the one before training where this is set.
    pub of_base: bool,
    /// Confidence in percent, both ends included.
    pub least_confidence: Option<f64>,
    pub most_confidence: Option<f64>,
    /// Characters.
    pub shortest: Option<u64>,
    pub longest: Option<u64>,
    pub finding: Finding,
    /// Looked for in the text, whatever its case.
    pub words: String,
    pub order: RowOrder,
    pub descending: bool,
    /// Counted from 0.
    pub page: u64,
}

impl RowQuery {
    /// From the fields of an address; what cannot be read is as if it were not there.
    pub fn from_fields(field: impl Fn(&str) -> Option<String>) -> Self {
        fn number<T: std::str::FromStr>(words: Option<String>) -> Option<T> {
            words?.trim().parse().ok()
        }
        let percent = |name| number::<f64>(field(name)).filter(|value| (0.0..=100.0).contains(value));
        Self {
            outcome: field("rows").and_then(|word| Outcome::parse(&word)).unwrap_or_default(),
            truth: number(field("true")),
            answer: number(field("answer")),
            of_base: field("of").as_deref() == Some("before"),
            least_confidence: percent("from"),
            most_confidence: percent("to"),
            shortest: number(field("shortest")),
            longest: number(field("longest")),
            finding: field("finding").and_then(|word| Finding::parse(&word)).unwrap_or_default(),
            words: field("words").unwrap_or_default().trim().chars().take(LONGEST_SEARCH_CHARS).collect(),
            order: field("order").and_then(|word| RowOrder::parse(&word)).unwrap_or_default(),
            descending: field("down").as_deref() == Some("1"),
            page: number(field("page")).unwrap_or(0),
        }
    }

    /// The fields that [`Self::from_fields`] reads back, as an address has them behind its question mark.
    pub fn to_address(&self) -> String {
        let mut fields: Vec<(&str, String)> = Vec::new();
        let mut put = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
        put("rows", (self.outcome != Outcome::All).then(|| self.outcome.as_str().to_string()));
        put("true", self.truth.map(|label| label.to_string()));
        put("answer", self.answer.map(|label| label.to_string()));
        put("of", self.of_base.then(|| "before".to_string()));
        put("from", self.least_confidence.map(|percent| percent.to_string()));
        put("to", self.most_confidence.map(|percent| percent.to_string()));
        put("shortest", self.shortest.map(|chars| chars.to_string()));
        put("longest", self.longest.map(|chars| chars.to_string()));
        put("finding", (self.finding != Finding::Any).then(|| self.finding.as_str().to_string()));
        put("words", (!self.words.is_empty()).then(|| escaped(&self.words)));
        put("order", (self.order != RowOrder::Tested).then(|| self.order.as_str().to_string()));
        put("down", self.descending.then(|| "1".to_string()));
        put("page", (self.page > 0).then(|| self.page.to_string()));
        let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        fields.join("&")
    }

    /// Anything that leaves rows out.
    pub fn filters(&self) -> bool {
        let everything = Self {
            order: self.order,
            descending: self.descending,
            page: self.page,
            of_base: self.of_base,
            ..Self::default()
        };
        *self != everything
    }

    pub fn moment(&self) -> Moment {
        if self.of_base { Moment::Before } else { Moment::After }
    }

    pub fn takes(&self, row: &TestRow) -> bool {
        let answer = row.answer(self.moment());
        let confidence = answer.map(|answer| 100.0 * f64::from(answer.confidence()));
        let in_confidence = match (self.least_confidence, self.most_confidence) {
            (None, None) => true,
            (least, most) => confidence.is_some_and(|confidence| {
                least.is_none_or(|least| confidence >= least) && most.is_none_or(|most| confidence <= most)
            }),
        };
        in_confidence
            && self.outcome.takes(row)
            && self.truth.is_none_or(|truth| row.truth == truth)
            && self.answer.is_none_or(|label| answer.is_some_and(|answer| answer.label == label))
            && self.finding.takes(row)
            && (self.shortest.is_none() && self.longest.is_none() || {
                let chars = row.text.chars().count() as u64;
                self.shortest.is_none_or(|shortest| chars >= shortest)
                    && self.longest.is_none_or(|longest| chars <= longest)
            })
            && (self.words.is_empty() || row.text.to_lowercase().contains(&self.words.to_lowercase()))
    }

    /// Places of the rows that are taken, in order, on all pages. Rows that are alike stay as they were tested.
    pub fn places(&self, rows: &[TestRow]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..rows.len()).filter(|place| self.takes(&rows[*place])).collect();
        let answer = |place: usize| rows[place].answer(self.moment());
        let by_number = |places: &mut Vec<usize>, number: &dyn Fn(usize) -> f64| {
            places.sort_by(|a, b| number(*a).total_cmp(&number(*b)));
        };
        match self.order {
            RowOrder::Tested => {}
            RowOrder::Confidence => {
                by_number(&mut places, &|place| answer(place).map_or(-1.0, |answer| f64::from(answer.confidence())))
            }
            RowOrder::OfTruth => by_number(&mut places, &|place| {
                let of_truth = answer(place).and_then(|answer| answer.probabilities.get(rows[place].truth).copied());
                of_truth.map_or(-1.0, f64::from)
            }),
            RowOrder::Length => places.sort_by_cached_key(|place| rows[*place].text.chars().count()),
            RowOrder::Text => places.sort_by(|a, b| compare_texts(&rows[*a].text, &rows[*b].text)),
            RowOrder::Truth => places.sort_by_key(|place| rows[*place].truth),
            RowOrder::Answer => places.sort_by_key(|place| answer(*place).map(|answer| answer.label)),
        }
        if self.descending {
            places.reverse();
        }
        places
    }
}

fn compare_texts(one: &str, other: &str) -> Ordering {
    let folded = |text: &str| text.chars().take(64).flat_map(char::to_lowercase).collect::<String>();
    folded(one).cmp(&folded(other)).then_with(|| one.cmp(other))
}

/// As a part of an address: everything but letters, digits and a few marks as its bytes.
fn escaped(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for byte in words.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Test rows that were asked for: one page of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowsPage {
    pub rows: Vec<NumberedRow>,
    /// Rows that are taken, on all pages.
    pub matching: u64,
    /// Test rows of the run.
    pub total: u64,
    pub query: RowQuery,
}

/// A test row with its place among the run's test rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberedRow {
    /// Counted from 0.
    pub place: u64,
    #[serde(flatten)]
    pub row: TestRow,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanliness::TestRowFlags;
    use crate::prediction::Prediction;

    fn answer(label: usize, confidence: f32) -> Option<Prediction> {
        let mut probabilities = vec![1.0 - confidence; 2];
        probabilities[label] = confidence;
        Some(Prediction { label, probabilities, cut: false })
    }

    fn row(text: &str, before: Option<Prediction>, after: Option<Prediction>) -> TestRow {
        TestRow { row: None, text: text.into(), truth: 0, before, after, flags: TestRowFlags::default() }
    }

    fn fields(address: &str) -> RowQuery {
        RowQuery::from_fields(|name| {
            address.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_string))
        })
    }

    #[test]
    fn rows_are_told_apart_by_what_training_did_to_them() {
        let fixed = row("t", answer(1, 0.9), answer(0, 0.9));
        let broken = row("t", answer(0, 0.9), answer(1, 0.9));
        let unknown = row("t", None, None);
        let taken = |row: &TestRow| Outcome::ALL.map(|outcome| outcome.takes(row));
        assert_eq!(taken(&fixed), [true, false, true, false, true]);
        assert_eq!(taken(&broken), [true, true, false, true, false]);
        assert_eq!(taken(&unknown), [true, false, false, false, false]);
    }

    #[test]
    fn an_address_reads_back() {
        let query = RowQuery {
            outcome: Outcome::Wrong,
            truth: Some(1),
            answer: Some(0),
            of_base: true,
            least_confidence: Some(12.5),
            most_confidence: Some(90.0),
            shortest: Some(3),
            longest: Some(40),
            finding: Finding::InTraining,
            words: "profit".into(),
            order: RowOrder::OfTruth,
            descending: true,
            page: 4,
        };
        assert_eq!(fields(&query.to_address()), query);
        assert_eq!(RowQuery::default().to_address(), "");
        let hostile = fields("rows=x&true=-1&answer=a&from=1e9&to=NaN&order=&down=yes&page=-3&shortest=9e9");
        assert_eq!(hostile, RowQuery::default());
        assert_eq!(RowQuery { words: "a&b=ü".into(), ..RowQuery::default() }.to_address(), "words=a%26b%3D%C3%BC");
        assert!(query.filters() && !RowQuery { page: 3, ..RowQuery::default() }.filters());
    }

    #[test]
    fn rows_are_filtered_and_put_in_order() {
        let rows = [
            row("A long text about profit", answer(1, 0.6), answer(0, 0.7)),
            row("short", answer(0, 0.9), answer(1, 0.8)),
            row("Profit fell", answer(0, 0.9), answer(0, 0.95)),
        ];
        let places = |address: &str| fields(address).places(&rows);
        assert_eq!(places(""), [0, 1, 2]);
        assert_eq!(places("order=confidence"), [0, 1, 2]);
        assert_eq!(places("order=confidence&down=1"), [2, 1, 0]);
        assert_eq!(places("order=of_truth"), [1, 0, 2]);
        assert_eq!(places("order=length"), [1, 2, 0]);
        assert_eq!(places("order=text"), [0, 2, 1]);
        assert_eq!(places("words=PROFIT"), [0, 2]);
        assert_eq!(places("from=75&to=90"), [1]);
        assert_eq!(places("of=before&answer=1"), [0]);
        assert_eq!(places("true=0&answer=1"), [1]);
        assert_eq!(places("shortest=6&longest=12"), [2]);
        assert_eq!(places("finding=contradicted"), Vec::<usize>::new());
        assert_eq!(places("finding=clean&rows=right"), [0, 2]);
    }
}
