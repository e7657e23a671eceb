//! Rows of a version as a page asks for them: by words, label, part and finding, a window at a time.
//!
//! A list that is scrolled asks for many windows of one query, so the places that match the last few queries are kept.

use super::examined::ExaminedRows;
use super::folding::{Needle, fold_into};
use super::snapshot::Snapshot;
use super::{Datasets, blocking};
use crate::error::Result;
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::finding::FindingKind;
use domain::split::Part;
use domain::version::{NumberedRow, RowQuery, RowSlice, VersionNumber};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Most rows that one answer has.
pub const MAX_ROWS_AT_ONCE: u64 = 500;
/// Bytes of texts after which an answer ends early, though not before its first row.
const MAX_SLICE_BYTES: usize = 16 << 20;
/// Most words that are searched for; more are left out.
const MAX_WORDS: usize = 16;
/// Rows that one processor looks through before it takes the next ones.
const ROWS_AT_ONCE: usize = 8 * 1024;
/// Queries whose places are kept, and the places that they have in all.
const KEPT_QUERIES: usize = 16;
const KEPT_PLACES: usize = 16 << 20;

impl Datasets {
    /// The rows that match a query, from `first` on. There are fewer than asked for where they end, where more than
    /// [`MAX_ROWS_AT_ONCE`] are asked for, and where texts are very long.
    ///
    /// # Errors
    /// There is no such dataset or version, or rows with a finding are asked for before the examination is done.
    pub async fn rows(&self, id: DatasetId, query: &RowQuery) -> Result<RowSlice> {
        let version = self.resolve(id, query.version).await?;
        let snapshot = self.snapshot(id, Some(version)).await?;
        let (datasets, query) = (self.clone(), query.clone());
        blocking(move || {
            let examined = datasets.examined_rows(id, version)?;
            if query.finding.is_some() && examined.is_none() {
                return Err(UserError::conflict(
                    "This version has not been examined yet, so its rows cannot be chosen by what is wrong with them. \
                     Try again when the examination is done.",
                )
                .into());
            }
            let first = query.first;
            let count = query.count.min(MAX_ROWS_AT_ONCE);
            let (places, matching) = if is_for_all(&query) {
                let end = first.saturating_add(count).min(snapshot.len() as u64);
                ((first..end).map(|place| place as usize).collect(), snapshot.len() as u64)
            } else {
                let key = (id, version, RowQuery { version: None, first: 0, count: 0, ..query });
                let found = datasets.shared.searches.get_or(key, |query| find(&snapshot, query, examined.as_deref()));
                let window = found.iter().skip(to_index(first)).take(to_index(count));
                (window.map(|place| *place as usize).collect::<Vec<usize>>(), found.len() as u64)
            };
            let rows = slice(&snapshot, examined.as_deref(), &places);
            Ok(RowSlice { version, first, rows, matching })
        })
        .await
    }
}

fn is_for_all(query: &RowQuery) -> bool {
    query.search.trim().is_empty() && query.label.is_none() && query.part.is_none() && query.finding.is_none()
}

fn slice(snapshot: &Snapshot, examined: Option<&ExaminedRows>, places: &[usize]) -> Vec<NumberedRow> {
    let mut bytes = 0;
    let mut rows = Vec::with_capacity(places.len());
    for &place in places {
        bytes += snapshot.text(place).len();
        if bytes > MAX_SLICE_BYTES && !rows.is_empty() {
            break;
        }
        rows.push(numbered(snapshot, examined, place));
    }
    rows
}

/// A row as pages show it.
pub(super) fn numbered(snapshot: &Snapshot, examined: Option<&ExaminedRows>, place: usize) -> NumberedRow {
    let id = snapshot.id(place);
    NumberedRow {
        id,
        line: snapshot.line(place),
        text: snapshot.text(place).to_string(),
        label: snapshot.label_name(place).to_string(),
        part: snapshot.part(place),
        is_changed: snapshot.is_changed(place),
        findings: examined.map(|examined| examined.findings(id)).unwrap_or_default(),
    }
}

/// The places of the rows that match, in their order.
fn find(snapshot: &Snapshot, query: &RowQuery, examined: Option<&ExaminedRows>) -> Vec<u32> {
    let Some(wanted) = Wanted::of(snapshot, query, examined) else { return Vec::new() };
    let starts: Vec<usize> = (0..snapshot.len()).step_by(ROWS_AT_ONCE).collect();
    let found: Vec<Vec<u32>> = starts
        .into_par_iter()
        .map(|start| {
            let end = (start + ROWS_AT_ONCE).min(snapshot.len());
            let mut folded = Vec::new();
            (start..end).filter(|place| wanted.fits(*place, &mut folded)).map(|place| place as u32).collect()
        })
        .collect();
    found.concat()
}

/// A query made ready for a snapshot.
struct Wanted<'a> {
    snapshot: &'a Snapshot,
    label: Option<usize>,
    part: Option<Part>,
    finding: Option<(&'a ExaminedRows, FindingKind)>,
    words: Vec<Needle>,
    /// For every word, the labels that hold it.
    in_label: Vec<Vec<bool>>,
}

impl<'a> Wanted<'a> {
    /// `None`: nothing can match.
    fn of(snapshot: &'a Snapshot, query: &RowQuery, examined: Option<&'a ExaminedRows>) -> Option<Self> {
        let label = match &query.label {
            Some(wanted) => Some(snapshot.labels().iter().position(|label| label == wanted)?),
            None => None,
        };
        let words: Vec<Needle> = query.search.split_whitespace().take(MAX_WORDS).map(Needle::new).collect();
        let mut folded = Vec::new();
        let mut labels_with = |word: &Needle| {
            snapshot
                .labels()
                .iter()
                .map(|label| {
                    fold_into(label, &mut folded);
                    word.is_in(&folded)
                })
                .collect()
        };
        let in_label = words.iter().map(&mut labels_with).collect();
        let finding = query.finding.and_then(|kind| Some((examined?, kind)));
        Some(Self { snapshot, label, part: query.part, finding, words, in_label })
    }

    fn fits(&self, place: usize, folded: &mut Vec<u8>) -> bool {
        if let Some((examined, kind)) = self.finding
            && !examined.has(kind, self.snapshot.id(place))
        {
            return false;
        }
        if self.part.is_some() && self.snapshot.part(place) != self.part {
            return false;
        }
        if self.label.is_none() && self.words.is_empty() {
            return true;
        }
        let label = self.snapshot.label(place);
        if self.label.is_some_and(|wanted| wanted != label) {
            return false;
        }
        let mut is_folded = false;
        self.words.iter().zip(&self.in_label).all(|(word, in_label)| {
            if in_label.get(label).copied().unwrap_or_default() {
                return true;
            }
            if !is_folded {
                fold_into(self.snapshot.text(place), folded);
                is_folded = true;
            }
            word.is_in(folded)
        })
    }
}

type SearchKey = (DatasetId, VersionNumber, RowQuery);

/// The places that the last few queries have found.
#[derive(Default)]
pub(super) struct Searches {
    /// The one that was asked for last stands last.
    kept: Mutex<VecDeque<(SearchKey, Arc<Vec<u32>>)>>,
}

impl Searches {
    fn get_or(&self, key: SearchKey, find: impl FnOnce(&RowQuery) -> Vec<u32>) -> Arc<Vec<u32>> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut kept = lock();
            if let Some(at) = kept.iter().position(|(kept, _)| *kept == key)
                && let Some(found) = kept.remove(at)
            {
                let places = found.1.clone();
                kept.push_back(found);
                return places;
            }
        }
        // Not under the lock: others scroll meanwhile.
        let places = Arc::new(find(&key.2));
        let mut kept = lock();
        kept.push_back((key, places.clone()));
        let mut total: usize = kept.iter().map(|(_, places)| places.len()).sum();
        while kept.len() > 1 && (kept.len() > KEPT_QUERIES || total > KEPT_PLACES) {
            total -= kept.pop_front().map_or(0, |(_, places)| places.len());
        }
        places
    }

    /// What was found with findings that are being looked for again.
    pub(super) fn forget(&self, dataset: DatasetId) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|((id, ..), _)| *id != dataset);
    }
}

/// A place as an index; one that no memory could hold becomes the largest.
pub(super) fn to_index(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::snapshot_of;

    fn found(snapshot: &Snapshot, search: &str, label: Option<&str>) -> Vec<u32> {
        let query =
            RowQuery { search: search.to_string(), label: label.map(String::from), count: 10, ..RowQuery::default() };
        find(snapshot, &query, None)
    }

    #[test]
    fn every_word_is_in_the_text_or_the_label() {
        let snapshot = snapshot_of(&[
            ("Profit ROSE in Istanbul", "positive"),
            ("Zarar İSTANBUL'da açıklandı", "negative"),
            ("profit fell", "negative"),
            ("", "neutral"),
        ]);
        assert_eq!(found(&snapshot, "profit", None), [0, 2]);
        assert_eq!(found(&snapshot, "  rose PROFIT ", None), [0]);
        assert_eq!(found(&snapshot, "profit negat", None), [2]);
        assert_eq!(found(&snapshot, "istanbul", None), [0, 1]);
        assert_eq!(found(&snapshot, "AÇIKLANDI", None), [1]);
        assert_eq!(found(&snapshot, "", Some("negative")), [1, 2]);
        assert_eq!(found(&snapshot, "profit", Some("negative")), [2]);
        assert_eq!(found(&snapshot, "", Some("unknown")), [] as [u32; 0]);
    }

    #[test]
    fn places_come_in_order_from_many_threads() {
        let texts: Vec<String> = (0..50_000).map(|i| format!("row {i}")).collect();
        let rows: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "a")).collect();
        let snapshot = snapshot_of(&rows);
        let expected: Vec<u32> = (0..50_000).filter(|i| format!("row {i}").contains("77")).collect();
        assert_eq!(found(&snapshot, "77", None), expected);
    }

    #[test]
    fn queries_that_were_not_asked_again_are_forgotten() {
        let searches = Searches::default();
        let key = |number: i64| (1, number, RowQuery::default());
        for number in 0..=KEPT_QUERIES as i64 {
            searches.get_or(key(number), |_| vec![number as u32]);
        }
        assert_eq!(*searches.get_or(key(5), |_| unreachable!()), [5]);
        assert_eq!(*searches.get_or(key(0), |_| vec![99]), [99]);
        searches.get_or(key(100), |_| vec![0; KEPT_PLACES]);
        assert_eq!(*searches.get_or(key(5), |_| vec![98]), [98]);
    }
}
