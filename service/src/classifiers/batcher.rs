//! The thread that has the device: pass after pass.

use super::ServingLimits;
use super::open::OpenClassifiers;
use super::queue::{Queue, Request};
use crate::error::{Result, ServiceError};
use crate::models::Models;
use crate::worker::words_of;
use domain::error::UserError;
use domain::prediction::Prediction;
use engine::Classifier;
use engine::classify::{Part, predict_together};
use engine::text::template::EncodedPrompt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Most rows of a pass, however fast the device.
const MOST_ROWS: usize = 256;
/// Rows that a request gets in a pass before the others get theirs.
const ROWS_IN_TURN: usize = 4;
/// Tokens of the first pass, before anything has been measured.
const FIRST_TOKENS: f64 = 300.0;

pub fn answer_all(models: &Models, queue: &Queue, limits: ServingLimits) {
    let mut open = OpenClassifiers::new(limits.adapter_bytes);
    let mut speed = Speed { tokens_per_second: 0.0 };
    while let Some(requests) = queue.take(MOST_ROWS) {
        let tokens = speed.tokens_in(limits);
        let outcome = catch_unwind(AssertUnwindSafe(|| pass(requests, tokens, &mut open, models)));
        match outcome {
            Ok(Passed { left, tokens, rows, seconds }) => {
                speed.saw(tokens, seconds);
                queue.put_back(left, (rows > 0).then(|| seconds / rows as f64));
            }
            Err(panic) => {
                // The requests went with it, which tells those who wait.
                tracing::error!("a pass broke: {}", words_of(panic.as_ref()));
                open.clear();
                queue.put_back(Vec::new(), None);
            }
        }
    }
}

/// What the device does in a second, over the last passes.
struct Speed {
    tokens_per_second: f64,
}

impl Speed {
    /// Tokens that a pass of the budget has.
    fn tokens_in(&self, limits: ServingLimits) -> f64 {
        if self.tokens_per_second == 0.0 {
            return FIRST_TOKENS;
        }
        self.tokens_per_second * limits.pass_budget.as_secs_f64()
    }

    fn saw(&mut self, tokens: usize, seconds: f64) {
        if tokens == 0 || seconds <= 0.0 {
            return;
        }
        let now = tokens as f64 / seconds;
        self.tokens_per_second =
            if self.tokens_per_second == 0.0 { now } else { 0.8 * self.tokens_per_second + 0.2 * now };
    }
}

struct Passed {
    /// Requests that are not done.
    left: Vec<Request>,
    tokens: usize,
    rows: usize,
    seconds: f64,
}

/// A request of a pass.
struct Taking {
    request: Request,
    classifier: Arc<Classifier>,
    rows: usize,
}

/// Computes about so many tokens of the requests, each taking its turns, and answers those that are done.
fn pass(requests: Vec<Request>, tokens: f64, open: &mut OpenClassifiers, models: &Models) -> Passed {
    let mut takings = Vec::with_capacity(requests.len());
    for request in requests {
        // What opening one costs is no one else's trouble but the time.
        match open.get(request.key, &request.trained, models) {
            Ok(classifier) => takings.push(Taking { request, classifier, rows: 0 }),
            Err(error) => request.fail(error),
        }
    }
    let tokens = fill(&mut takings, tokens);

    // Requests for the same classifier are one part.
    let began = Instant::now();
    let (taking_part, mut left): (Vec<_>, Vec<_>) = takings.into_iter().partition(|taking| taking.rows > 0);
    let mut taking_part = taking_part;
    taking_part.sort_by_key(|taking| Arc::as_ptr(&taking.classifier) as usize);
    let answers = compute(&mut taking_part);
    let seconds = began.elapsed().as_secs_f64();
    let rows = taking_part.iter().map(|taking| taking.rows).sum();
    match answers {
        Ok(predictions) => {
            let mut predictions = predictions.into_iter();
            for mut taking in taking_part {
                taking.request.done.extend(predictions.by_ref().take(taking.rows));
                taking.request.duration_ms += seconds * 1000.0;
                if taking.request.left() == 0 { taking.request.finish() } else { left.push(taking) }
            }
        }
        Err(error) => fail_all(taking_part, error),
    }
    Passed { left: left.into_iter().map(|taking| taking.request).collect(), tokens, rows, seconds }
}

/// Gives out turns until the tokens are spent; the first row goes in any case. Returns the tokens that were given out.
fn fill(takings: &mut [Taking], budget: f64) -> usize {
    let (mut tokens, mut rows) = (0, 0);
    loop {
        let mut gave = false;
        for taking in takings.iter_mut() {
            for _ in 0..ROWS_IN_TURN {
                let Some(cost) = taking.next_cost() else { break };
                let is_over = tokens > 0 && (tokens + cost) as f64 > budget;
                // A device that wants many rows at once gets them; the budget is about tokens either way.
                if is_over || rows == MOST_ROWS {
                    return tokens;
                }
                taking.rows += 1;
                (tokens, rows, gave) = (tokens + cost, rows + 1, true);
            }
        }
        if !gave {
            return tokens;
        }
    }
}

impl Taking {
    /// Tokens of the next row, whose prompt is made now if it is not; `None` if there is none.
    fn next_cost(&mut self) -> Option<usize> {
        let request = &mut self.request;
        if self.rows >= request.left() {
            return None;
        }
        if request.prompts.len() <= self.rows {
            let text = request.texts.get(request.done.len() + self.rows)?;
            request.prompts.push_back(self.classifier.encode(text));
        }
        Some(self.classifier.own_tokens(request.prompts.get(self.rows)?))
    }
}

/// The answers to the rows of all requests, in order; requests for one classifier stand together.
fn compute(takings: &mut [Taking]) -> Result<Vec<Prediction>> {
    if takings.is_empty() {
        return Ok(Vec::new());
    }
    let mut prompts: Vec<Vec<EncodedPrompt>> = Vec::new();
    let mut classifiers: Vec<Arc<Classifier>> = Vec::new();
    for taking in takings.iter_mut() {
        let own: Vec<EncodedPrompt> = taking.request.prompts.drain(..taking.rows).collect();
        match (classifiers.last(), prompts.last_mut()) {
            (Some(last), Some(rows)) if Arc::ptr_eq(last, &taking.classifier) => rows.extend(own),
            _ => {
                classifiers.push(taking.classifier.clone());
                prompts.push(own);
            }
        }
    }
    let parts: Vec<Part> = classifiers
        .iter()
        .zip(&prompts)
        .map(|(classifier, prompts)| Part { classifier: classifier.as_ref(), prompts })
        .collect();
    Ok(predict_together(&parts)?.into_iter().flatten().collect())
}

/// Everybody in the pass is told: whose rows it was cannot be told apart.
fn fail_all(takings: Vec<Taking>, error: ServiceError) {
    let told = UserError::from(error);
    for taking in takings {
        taking.request.fail(told.clone().into());
    }
}
