use crate::api::versions::query_rows;
use crate::error::ApiError;
use domain::dataset::DatasetId;
use domain::version::{NumberedRow, RowQuery, RowSlice};
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Rows that are fetched at once.
pub const WINDOW: u64 = 100;

/// Windows that are kept; those farthest from what is looked at go first.
const MOST_WINDOWS: usize = 40;

/// The rows that match a question, as far as they have been fetched. Rows are numbered among the matching ones, from 0.
#[derive(Clone, Copy)]
pub struct RowStore {
    dataset: DatasetId,
    question: Memo<RowQuery>,
    windows: RwSignal<BTreeMap<u64, Window>>,
    pub matching: RwSignal<u64>,
    /// Why rows could not be fetched.
    pub trouble: RwSignal<Option<ApiError>>,
    /// Counts the questions; answers to an earlier one are not taken.
    pub round: RwSignal<u64>,
    under_way: StoredValue<BTreeSet<u64>>,
}

#[derive(Clone)]
struct Window {
    rows: Vec<NumberedRow>,
    round: u64,
}

impl RowStore {
    /// Begins with what came with the page, or with why nothing came.
    pub fn new(dataset: DatasetId, question: Memo<RowQuery>, first: &RowSlice, trouble: Option<ApiError>) -> Self {
        let store = Self {
            dataset,
            question,
            windows: RwSignal::new(BTreeMap::new()),
            matching: RwSignal::new(first.matching),
            trouble: RwSignal::new(trouble),
            round: RwSignal::new(0),
            under_way: StoredValue::new(BTreeSet::new()),
        };
        if first.first.is_multiple_of(WINDOW) && !first.rows.is_empty() {
            let window = Window { rows: first.rows.clone(), round: 0 };
            store.windows.update(|windows| drop(windows.insert(first.first / WINDOW, window)));
        }
        store
    }

    /// `None`: not fetched yet.
    pub fn row(self, place: u64) -> Option<NumberedRow> {
        let windows = self.windows.read();
        windows.get(&(place / WINDOW))?.rows.get((place % WINDOW) as usize).cloned()
    }

    /// The question has changed. `keep`: what is there stays in sight until the answer has come, as after an edit.
    pub fn ask_anew(self, keep: bool) {
        self.under_way.set_value(BTreeSet::new());
        if !keep {
            self.windows.update(BTreeMap::clear);
        }
        self.trouble.set(None);
        self.round.update(|round| *round += 1);
    }

    /// Fetches what of these rows is not there or out of date.
    pub fn fetch_missing(self, rows: Range<u64>) {
        let last = rows.end.max(rows.start + 1) - 1;
        let (Some(round), Some(question)) = (self.round.try_get_untracked(), self.question.try_get_untracked()) else {
            return;
        };
        let windows = rows.start / WINDOW..=last / WINDOW;
        self.forget_far_from(*windows.start());
        for number in windows {
            let is_there =
                self.windows.with_untracked(|known| known.get(&number).is_some_and(|known| known.round == round));
            if is_there || self.under_way.try_update_value(|under_way| under_way.insert(number)) != Some(true) {
                continue;
            }
            let question = question.clone();
            spawn_local(async move {
                let answer = whole_window(self.dataset, question, number).await;
                self.take_in(round, number, answer);
            });
        }
    }

    fn take_in(self, round: u64, number: u64, answer: Result<RowSlice, ApiError>) {
        if self.round.try_get_untracked() != Some(round) {
            return;
        }
        self.under_way.try_update_value(|under_way| under_way.remove(&number));
        match answer {
            Ok(slice) => {
                self.trouble.try_set(None);
                if self.matching.try_get_untracked() != Some(slice.matching) {
                    self.matching.try_set(slice.matching);
                }
                self.windows.try_update(|windows| windows.insert(number, Window { rows: slice.rows, round }));
            }
            Err(error) => {
                self.trouble.try_set(Some(error));
            }
        }
    }

    fn forget_far_from(self, number: u64) {
        if self.windows.with_untracked(|windows| windows.len() <= MOST_WINDOWS) {
            return;
        }
        self.windows.update(|windows| {
            while windows.len() > MOST_WINDOWS {
                let Some(far) = windows.keys().copied().max_by_key(|known| known.abs_diff(number)) else { return };
                windows.remove(&far);
            }
        });
    }
}

/// All rows of a window: where texts are very long, an answer ends early.
async fn whole_window(dataset: DatasetId, question: RowQuery, number: u64) -> Result<RowSlice, ApiError> {
    let first = number * WINDOW;
    let mut slice = query_rows(dataset, RowQuery { first, count: WINDOW, ..question.clone() }).await?;
    loop {
        let (have, all) = (slice.rows.len() as u64, slice.matching.saturating_sub(first).min(WINDOW));
        if have >= all {
            return Ok(slice);
        }
        let rest = RowQuery { first: first + have, count: all - have, ..question.clone() };
        let more = query_rows(dataset, rest).await?;
        if more.rows.is_empty() {
            return Ok(slice);
        }
        slice.rows.extend(more.rows);
    }
}
