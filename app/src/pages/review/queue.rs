use crate::api::label_checks::{Review, decide_row, get_review, hold_row, withdraw_decision};
use crate::error::ApiError;
use crate::reviewer;
use domain::review::{Decision, DoubtfulRow, LabelCheck, LabelCheckId, LabelCheckStatus};
use domain::version::RowId;
use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::wasm_bindgen::JsCast;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at what the others do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A row that somebody looks at is held for a while only, so the hold is renewed.
const HOLD_EVERY: Duration = Duration::from_secs(30);
/// After a row was opened, or the last letter of a name.
const HOLD_AFTER: Duration = Duration::from_millis(500);
/// Rows that are fetched at once, around the one that is looked at.
pub const FETCHED: u64 = 40;

/// The queue as everybody's decisions have made it, and the place in it that this person is at.
#[derive(Clone, Copy)]
pub struct Queue {
    pub check: RwSignal<LabelCheck>,
    /// By their places in the queue, as far as they have been fetched.
    pub rows: RwSignal<BTreeMap<u64, DoubtfulRow>>,
    pub place: RwSignal<u64>,
    /// Why the last decision was not taken.
    pub refused: RwSignal<Option<ApiError>>,
    /// Why the last look failed.
    pub lost: RwSignal<Option<ApiError>>,
    /// The reviewer's, as typed.
    pub name: RwSignal<String>,
    /// Places of this person's own decisions, the last one last.
    own: StoredValue<Vec<u64>>,
    is_looking: StoredValue<bool>,
    pub is_deciding: RwSignal<bool>,
}

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Decide(Decision),
    Next,
    Previous,
    /// Takes this person's own decision back: that on the row in sight, else their last one.
    Undo,
}

impl Queue {
    pub fn new(review: Review, name: RwSignal<String>) -> Self {
        let rows: BTreeMap<u64, DoubtfulRow> =
            review.rows.into_iter().enumerate().map(|(index, row)| (review.first + index as u64, row)).collect();
        let first_open = rows.iter().find(|(_, row)| row.decision.is_none()).map_or(0, |(place, _)| *place);
        Self {
            check: RwSignal::new(review.check),
            rows: RwSignal::new(rows),
            place: RwSignal::new(first_open),
            refused: RwSignal::new(None),
            lost: RwSignal::new(None),
            name,
            own: StoredValue::new(Vec::new()),
            is_looking: StoredValue::new(false),
            is_deciding: RwSignal::new(false),
        }
    }

    pub fn id(self) -> LabelCheckId {
        self.check.with_untracked(|check| check.id)
    }

    pub fn current(self) -> Option<DoubtfulRow> {
        self.rows.read().get(&self.place.get()).cloned()
    }

    /// First row of what is fetched around the one that is looked at.
    pub fn window(self) -> u64 {
        self.place.get().saturating_sub(FETCHED / 2)
    }

    /// Looks every second at what the others have decided, and tells them what is looked at here.
    pub fn follow_others(self) {
        Effect::new(move |_| {
            self.place.track();
            self.look();
        });
        let row = Memo::new(move |_| self.current().map(|row| row.row));
        Effect::new(move |_| {
            let Some(row) = row.get() else { return };
            // Who has no name holds nothing: it would keep those out who have one.
            if self.name.read().trim().is_empty() {
                return;
            }
            let hold = move || {
                let (check, by) = (self.id(), reviewer::by(self.name));
                // Who does not hear of it is told by the server at the latest when they decide.
                spawn_local(async move { drop(hold_row(check, row, by).await) });
            };
            // Not for every letter of a name that is being typed.
            if let Ok(timer) = set_timeout_with_handle(hold, HOLD_AFTER) {
                on_cleanup(move || timer.clear());
            }
            if let Ok(timer) = set_interval_with_handle(hold, HOLD_EVERY) {
                on_cleanup(move || timer.clear());
            }
        });
        Effect::new(move |_| {
            if let Ok(timer) = set_interval_with_handle(move || self.look(), LOOK_EVERY) {
                on_cleanup(move || timer.clear());
            }
        });
    }

    /// Fetches the rows around the place.
    pub fn look(self) {
        if self.is_looking.try_get_value() != Some(false) {
            return;
        }
        self.is_looking.set_value(true);
        let (check, first) = (self.id(), untrack(|| self.window()));
        spawn_local(async move {
            let answer = get_review(check, first, FETCHED).await;
            self.is_looking.try_set_value(false);
            match answer {
                Ok(review) => self.take_in(review),
                Err(error) => {
                    self.lost.try_set(Some(error));
                }
            }
        });
    }

    fn take_in(self, review: Review) {
        let Review { check, first, rows } = review;
        if self.check.try_with_untracked(|known| *known != check) == Some(true) {
            self.check.set(check);
        }
        let fresh = (first..).zip(rows);
        let is_news =
            self.rows.try_with_untracked(|known| fresh.clone().any(|(place, row)| known.get(&place) != Some(&row)));
        if is_news == Some(true) {
            self.rows.update(|known| known.extend(fresh));
        }
        self.lost.try_set(None);
    }

    pub fn go_to(self, place: u64) {
        let last = self.check.with_untracked(|check| check.doubtful.saturating_sub(1));
        self.refused.set(None);
        self.place.set(place.min(last));
    }

    /// Sends the decision and goes on to the next row that nobody has decided.
    pub fn decide(self, decision: Decision) {
        let Some(row) = self.row_to_decide(self.place.get_untracked()) else { return };
        let (check, by, place) = (self.id(), reviewer::by(self.name), self.place.get_untracked());
        spawn_local(async move {
            let answer = decide_row(check, row, decision, by).await;
            if self.take_answer(place, answer) {
                self.own.try_update_value(|own| {
                    own.retain(|known| *known != place);
                    own.push(place);
                });
                self.go_on_from(place);
            }
        });
    }

    /// Takes a decision of this person's back and shows its row.
    pub fn undo(self) {
        let me = reviewer::by(self.name);
        let is_mine = untrack(|| self.current()).is_some_and(|row| row.by.as_ref() == Some(&me));
        let last = self.own.with_value(|own| own.last().copied());
        let here = self.place.get_untracked();
        let Some(place) = Some(here).filter(|_| is_mine).or(last) else { return };
        let Some(row) = self.row_to_decide(place) else { return };
        let check = self.id();
        self.go_to(place);
        spawn_local(async move {
            let answer = withdraw_decision(check, row, me).await;
            self.take_answer(place, answer);
            self.own.try_update_value(|own| own.retain(|known| *known != place));
        });
    }

    /// The row at a place, where something can be decided at all; from here on it is being decided.
    fn row_to_decide(self, place: u64) -> Option<RowId> {
        let row = self.rows.with_untracked(|rows| rows.get(&place).map(|row| row.row))?;
        let is_open = self.check.with_untracked(|check| check.status == LabelCheckStatus::Ready);
        if !is_open || self.is_deciding.get_untracked() {
            return None;
        }
        self.is_deciding.set(true);
        Some(row)
    }

    /// Shows what the server has made of a decision; whether it was taken.
    fn take_answer(self, place: u64, answer: Result<DoubtfulRow, ApiError>) -> bool {
        self.is_deciding.try_set(false);
        let is_taken = answer.is_ok();
        match answer {
            Ok(row) => {
                self.rows.try_update(|rows| rows.insert(place, row));
                self.refused.try_set(None);
            }
            Err(error) => {
                self.refused.try_set(Some(error));
            }
        }
        self.look();
        is_taken
    }

    fn go_on_from(self, place: u64) {
        // The person may have moved on by themselves.
        if self.place.try_get_untracked() != Some(place) {
            return;
        }
        let next = self.rows.with_untracked(|rows| {
            rows.range(place + 1..).find(|(_, row)| row.decision.is_none()).map(|(place, _)| *place)
        });
        self.go_to(next.unwrap_or(place + 1));
    }

    pub fn act(self, key: Key) {
        match key {
            Key::Decide(decision) => self.decide(decision),
            Key::Next => self.go_to(self.place.get_untracked() + 1),
            Key::Previous => self.go_to(self.place.get_untracked().saturating_sub(1)),
            Key::Undo => self.undo(),
        }
    }

    /// The whole page has keys, but for its fields.
    pub fn listen_to_keys(self, labels: Vec<String>) {
        Effect::new(move |_| {
            let labels = labels.clone();
            let listener = window_event_listener(ev::keydown, move |event| {
                let held = event.alt_key() || event.ctrl_key() || event.meta_key() || event.repeat();
                if held || is_in_field(&event) {
                    return;
                }
                if let Some(key) = read_key(&event.key(), &labels) {
                    event.prevent_default();
                    self.act(key);
                }
            });
            on_cleanup(move || listener.remove());
        });
    }
}

/// What the key means: A accepts, 1 to 9 give that label, D drops, arrows move, U takes one's own decision back.
fn read_key(key: &str, labels: &[String]) -> Option<Key> {
    match key {
        "a" | "A" => Some(Key::Decide(Decision::Accept)),
        "d" | "D" => Some(Key::Decide(Decision::Drop)),
        "u" | "U" => Some(Key::Undo),
        "ArrowRight" | "ArrowDown" => Some(Key::Next),
        "ArrowLeft" | "ArrowUp" => Some(Key::Previous),
        digit => {
            let place = digit.parse::<usize>().ok().filter(|digit| (1..=9).contains(digit))?;
            let label = labels.get(place - 1)?.clone();
            Some(Key::Decide(Decision::Relabel { label }))
        }
    }
}

fn is_in_field(event: &ev::KeyboardEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<leptos::web_sys::Element>().ok());
    target.is_some_and(|target| matches!(target.tag_name().as_str(), "INPUT" | "SELECT" | "TEXTAREA"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_decide() {
        let labels = ["bad".to_string(), "good".to_string()];
        let relabel = Key::Decide(Decision::Relabel { label: "good".into() });
        assert_eq!(read_key("a", &labels), Some(Key::Decide(Decision::Accept)));
        assert_eq!(read_key("D", &labels), Some(Key::Decide(Decision::Drop)));
        assert_eq!(read_key("2", &labels), Some(relabel));
        assert_eq!(read_key("u", &labels), Some(Key::Undo));
        for nothing in ["3", "0", "10", "-1", "Enter", "Tab", ""] {
            assert_eq!(read_key(nothing, &labels), None, "{nothing}");
        }
    }
}
