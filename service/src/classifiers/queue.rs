//! The line of requests: what waits, who comes next, and when there will be room again.

use super::{Key, ServingLimits, Trained, Turn, gone};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::prediction::Prediction;
use engine::text::template::EncodedPrompt;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Predictions, and milliseconds of the passes that they took part in.
pub type Answered = Result<(Vec<Prediction>, f64)>;

/// A request with how far it is.
pub struct Request {
    pub key: Key,
    pub trained: Arc<Trained>,
    pub texts: Vec<String>,
    /// Prompts of the next texts, made when their turn comes near.
    pub prompts: VecDeque<EncodedPrompt>,
    pub done: Vec<Prediction>,
    pub duration_ms: f64,
    pub is_streamed: bool,
    answer: oneshot::Sender<Answered>,
}

impl Request {
    pub fn new(key: Key, trained: Arc<Trained>, texts: Vec<String>, answer: oneshot::Sender<Answered>) -> Self {
        Self {
            key,
            trained,
            texts,
            prompts: VecDeque::new(),
            done: Vec::new(),
            duration_ms: 0.0,
            is_streamed: false,
            answer,
        }
    }

    /// Texts without an answer yet.
    pub fn left(&self) -> usize {
        self.texts.len() - self.done.len()
    }

    /// Whoever asked has gone.
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    pub fn fail(self, error: ServiceError) {
        // That nobody waits for the answer any more is no trouble.
        let _ = self.answer.send(Err(error));
    }

    pub fn finish(self) {
        let _ = self.answer.send(Ok((self.done, self.duration_ms)));
    }
}

pub struct Queue {
    limits: ServingLimits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    /// What the thread has taken out and not answered yet.
    under_way: Load,
    /// Measured; 0 before the first pass.
    seconds_per_text: f64,
    is_closed: bool,
}

#[derive(Clone, Copy, Default)]
struct Load {
    /// Requests that may be refused, and their texts.
    requests: usize,
    texts: usize,
    /// Texts of streams.
    streamed: usize,
}

impl Load {
    fn of<'r>(requests: impl Iterator<Item = &'r Request>) -> Self {
        requests.fold(Self::default(), |load, request| match request.is_streamed {
            true => Self { streamed: load.streamed + request.left(), ..load },
            false => Self { requests: load.requests + 1, texts: load.texts + request.left(), ..load },
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            texts: self.texts + other.texts,
            streamed: self.streamed + other.streamed,
        }
    }
}

impl Queue {
    pub fn new(limits: ServingLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Condvar::new() }
    }

    /// # Errors
    /// Too much waits for so many texts more. Those whose client has gone are let go first.
    pub fn check_room(&self, texts: usize) -> Result<()> {
        self.room_for(&mut self.state(), texts)
    }

    fn room_for(&self, state: &mut State, texts: usize) -> Result<()> {
        let is_full = |state: &State| {
            let Load { requests, texts: there, .. } = state.load();
            requests >= self.limits.waiting_requests || (requests > 0 && there + texts > self.limits.waiting_texts)
        };
        if !is_full(state) {
            return Ok(());
        }
        state.waiting.retain(|request| !request.is_abandoned());
        if !is_full(state) {
            return Ok(());
        }
        let Load { texts, streamed, .. } = state.load();
        let seconds = (texts + streamed) as f64 * state.seconds_per_text;
        let message = "Too many texts wait to be classified already. Try again in a moment.";
        Err(UserError::busy_for(seconds, message).into())
    }

    pub fn push(&self, mut request: Request, turn: Turn) -> Result<()> {
        let mut state = self.state();
        if state.is_closed {
            return Err(gone());
        }
        match turn {
            Turn::Asked => self.room_for(&mut state, request.texts.len())?,
            Turn::Streamed => request.is_streamed = true,
        }
        state.waiting.push_back(request);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for requests and takes those of a pass out: on one base, the one that has waited longest among them. `None`:
    /// nobody will ask any more.
    ///
    /// Behind the first come those with few texts left, so that a single text does not wait behind a file, and streams
    /// last. A request that is not done after the pass goes to the end of the line ([`Queue::put_back`]).
    pub fn take(&self, most: usize) -> Option<Vec<Request>> {
        let mut state = self.state();
        loop {
            state.waiting.retain(|request| !request.is_abandoned());
            if !state.waiting.is_empty() {
                break;
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let first = state.waiting.pop_front()?;
        let on_its_base = |request: &Request| request.trained.shares_base_with(&first.trained);
        let (mut others, rest): (Vec<_>, Vec<_>) = state.waiting.drain(..).partition(on_its_base);
        others.sort_by_key(|request| (request.is_streamed, request.left()));
        let too_many = others.split_off(others.len().min(most.saturating_sub(1)));
        state.waiting = rest.into();
        state.waiting.extend(too_many);
        let mut taken = vec![first];
        taken.extend(others);
        state.under_way = Load::of(taken.iter());
        Some(taken)
    }

    /// After a pass: what is not done yet, and how long a text took.
    pub fn put_back(&self, requests: Vec<Request>, seconds_per_text: Option<f64>) {
        let mut state = self.state();
        state.under_way = Load::default();
        if let Some(seconds) = seconds_per_text {
            let before = state.seconds_per_text;
            state.seconds_per_text = if before == 0.0 { seconds } else { 0.9 * before + 0.1 * seconds };
        }
        state.waiting.extend(requests);
    }

    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// All that is not answered yet, as it was when the pass under way began.
    fn load(&self) -> Load {
        Load::of(self.waiting.iter()).and(self.under_way)
    }
}
