//! What is shown once: a new key or link, from the request that makes it to the page that shows it. It is kept in memory
//! alone, so that it stands in no address and in no file.

use super::secret::random_secret;
use super::{Caller, MINUTE_MS, People};
use crate::error::Result;
use domain::people::Secret;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

const KEPT_MS: i64 = 5 * MINUTE_MS;
const MOST: usize = 200;

#[derive(Default)]
pub struct Revealed(Mutex<VecDeque<Waiting>>);

struct Waiting {
    ticket: Secret,
    word: Secret,
    person: Option<i64>,
    until_ms: i64,
}

impl People {
    /// Keeps it for the page that comes next, and returns the ticket by which that page gets it.
    pub fn keep_to_show(&self, caller: &Caller, word: Secret) -> Result<Secret> {
        let ticket = random_secret()?;
        let mut waiting = self.revealed.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.pop_front();
        }
        let (person, until_ms) = (caller.actor.user_id, self.now_ms() + KEPT_MS);
        waiting.push_back(Waiting { ticket: ticket.clone(), word, person, until_ms });
        Ok(ticket)
    }

    /// What was kept under that ticket, once, and for whoever made it.
    pub fn show_once(&self, caller: &Caller, ticket: &str) -> Option<Secret> {
        let now_ms = self.now_ms();
        let mut waiting = self.revealed.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|kept| now_ms < kept.until_ms);
        let at = waiting.iter().position(|kept| kept.ticket.0 == ticket && kept.person == caller.actor.user_id)?;
        waiting.remove(at).map(|kept| kept.word)
    }
}
