//! How often somebody may ask: so many at once, and so many a minute after that.

use domain::error::UserError;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Askers that are remembered at most; one who asks no more is forgotten.
const REMEMBERED: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub at_once: u32,
    pub per_minute: u32,
}

/// For each asker the moment from which on nothing that it has asked counts any more.
#[derive(Default)]
pub struct RateLimits(Mutex<HashMap<String, Instant>>);

impl RateLimits {
    /// Counts a request of that asker.
    ///
    /// # Errors
    /// It has asked too often; the error says in how many seconds it may again.
    pub fn count(&self, asker: &str, rate: Rate, now: Instant) -> Result<(), UserError> {
        let each = Duration::from_secs(60) / rate.per_minute.max(1);
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= REMEMBERED {
            asked.retain(|_, free_at| *free_at > now);
            if asked.len() >= REMEMBERED {
                // So many at once are no people: all begin anew, which lets each ask a few times more.
                asked.clear();
            }
        }
        let free_at = asked.get(asker).copied().unwrap_or(now).max(now);
        let ahead = free_at.duration_since(now);
        let most = each * (rate.at_once.max(1) - 1);
        if ahead > most {
            let seconds = (ahead - most).as_secs_f64();
            return Err(UserError::busy_for(
                seconds,
                format!("That was too often in a short time. Try again in {} s.", seconds.ceil().max(1.0)),
            ));
        }
        asked.insert(asker.to_string(), free_at + each);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_and_then_slowly() {
        let limits = RateLimits::default();
        let rate = Rate { at_once: 5, per_minute: 60 };
        let start = Instant::now();
        for _ in 0..5 {
            limits.count("a", rate, start).unwrap();
        }
        let refused = limits.count("a", rate, start).unwrap_err();
        assert_eq!(refused.retry_after_s, Some(1));
        limits.count("b", rate, start).unwrap();
        limits.count("a", rate, start + Duration::from_secs(1)).unwrap();
        assert!(limits.count("a", rate, start + Duration::from_secs(1)).is_err());
        for _ in 0..5 {
            limits.count("a", rate, start + Duration::from_secs(60)).unwrap();
        }
    }

    #[test]
    fn memory_is_bounded() {
        let limits = RateLimits::default();
        let rate = Rate { at_once: 5, per_minute: 60 };
        let start = Instant::now();
        for asker in 0..3 * REMEMBERED {
            limits.count(&asker.to_string(), rate, start).unwrap();
        }
        assert!(limits.0.lock().unwrap().len() <= REMEMBERED);
    }
}
