//! How often somebody may try to sign in. Every try counts as a failure before it is looked at, so that many at once
//! are no way around; one that succeeds takes that back.

use super::secret::hash;
use super::{DAY_MS, HOUR_MS, MINUTE_MS, People};
use crate::db::Database;
use crate::error::Result;
use domain::error::UserError;
use sqlx::Row;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Failures of one account until the pauses begin.
const FREE_OF_ACCOUNT: i64 = 5;
/// Failures from one address: behind it may be a whole office.
const FREE_OF_ADDRESS: i64 = 20;
const FIRST_PAUSE_MS: i64 = 5 * 1000;
const LONGEST_PAUSE_MS: i64 = 15 * MINUTE_MS;
/// So long after the last try and its pause, it begins anew.
const FORGOTTEN_AFTER_MS: i64 = HOUR_MS;
/// Accounts and addresses that are remembered at most.
const REMEMBERED: usize = 10_000;

/// The pause after so many failures: it doubles with each.
fn pause_ms(failures: i64, free: i64) -> i64 {
    match failures - free {
        over if over < 0 => 0,
        over => (FIRST_PAUSE_MS << over.min(20)).min(LONGEST_PAUSE_MS),
    }
}

fn too_often(wait_ms: i64) -> UserError {
    let seconds = (wait_ms as f64 / 1000.0).ceil().max(1.0);
    UserError::busy_for(seconds, format!("There were too many tries. Wait {seconds:.0} s, then try again."))
}

#[derive(Clone, Copy)]
struct Tries {
    failures: i64,
    last_at_ms: i64,
    blocked_until_ms: i64,
}

impl Tries {
    const NONE: Self = Self { failures: 0, last_at_ms: 0, blocked_until_ms: 0 };

    /// # Errors
    /// It has to wait.
    fn and_one_more(self, free: i64, now_ms: i64) -> std::result::Result<Self, UserError> {
        if now_ms < self.blocked_until_ms {
            return Err(too_often(self.blocked_until_ms - now_ms));
        }
        let is_old = now_ms >= self.last_at_ms.max(self.blocked_until_ms) + FORGOTTEN_AFTER_MS;
        let failures = if is_old { 1 } else { self.failures + 1 };
        Ok(Self { failures, last_at_ms: now_ms, blocked_until_ms: now_ms + pause_ms(failures, free) })
    }
}

/// Tries by address, in memory.
#[derive(Default)]
pub struct AddressThrottle(Mutex<HashMap<String, Tries>>);

impl AddressThrottle {
    /// # Errors
    /// From there came too many.
    pub fn count(&self, address: &str, now_ms: i64) -> Result<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(address) {
            known.retain(|_, tries| now_ms < tries.last_at_ms.max(tries.blocked_until_ms) + FORGOTTEN_AFTER_MS);
            if known.len() >= REMEMBERED {
                // Of so many addresses, those go that may try anyway.
                known.retain(|_, tries| now_ms < tries.blocked_until_ms);
            }
            if known.len() >= REMEMBERED {
                return Err(too_often(FIRST_PAUSE_MS).into());
            }
        }
        let tries = known.get(address).copied().unwrap_or(Tries::NONE).and_one_more(FREE_OF_ADDRESS, now_ms)?;
        known.insert(address.to_string(), tries);
        Ok(())
    }

    /// One of them was none of those that guess. The others still count: who has an account could else guess at others'.
    pub fn take_back(&self, address: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tries) = known.get_mut(address) {
            tries.failures = (tries.failures - 1).max(0);
            tries.blocked_until_ms = 0;
        }
    }
}

impl People {
    /// Counts a try, whether there is such an account or not.
    ///
    /// # Errors
    /// There were too many for this account, or from this address.
    pub(super) async fn count_try(&self, email: &str, address: &str) -> Result<()> {
        let now_ms = self.now_ms();
        self.throttle.count(address, now_ms)?;
        let account = hash(email);
        let mut transaction = self.db.begin_write().await?;
        let row =
            sqlx::query("SELECT failures, last_at_ms, blocked_until_ms FROM sign_in_tries WHERE account_hash = $1")
                .bind(&account)
                .fetch_optional(&mut *transaction)
                .await?;
        let before = match row {
            Some(row) => Tries {
                failures: row.try_get("failures")?,
                last_at_ms: row.try_get("last_at_ms")?,
                blocked_until_ms: row.try_get("blocked_until_ms")?,
            },
            None => Tries::NONE,
        };
        let tries = before.and_one_more(FREE_OF_ACCOUNT, now_ms)?;
        sqlx::query(
            "INSERT INTO sign_in_tries (account_hash, failures, last_at_ms, blocked_until_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account_hash) DO UPDATE SET failures = $2, last_at_ms = $3, blocked_until_ms = $4",
        )
        .bind(&account)
        .bind(tries.failures)
        .bind(tries.last_at_ms)
        .bind(tries.blocked_until_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if before.failures == 0 {
            forget_old(&self.db, now_ms).await?;
        }
        Ok(())
    }

    /// The account begins anew: somebody has signed in, or has a new password.
    pub(super) async fn forget_tries(&self, email: &str) -> Result<()> {
        sqlx::query("DELETE FROM sign_in_tries WHERE account_hash = $1")
            .bind(hash(email))
            .execute(&self.db.pool)
            .await?;
        Ok(())
    }
}

async fn forget_old(db: &Database, now_ms: i64) -> Result<()> {
    sqlx::query(
        "DELETE FROM sign_in_tries WHERE last_at_ms < $1 OR last_at_ms <= \
         (SELECT older.last_at_ms FROM sign_in_tries older ORDER BY older.last_at_ms DESC LIMIT 1 OFFSET $2)",
    )
    .bind(now_ms - DAY_MS)
    .bind(REMEMBERED as i64)
    .execute(&db.pool)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        let pauses: Vec<i64> = (1..20).map(|failures| pause_ms(failures, FREE_OF_ACCOUNT) / 1000).collect();
        assert_eq!(&pauses[..9], &[0, 0, 0, 0, 5, 10, 20, 40, 80]);
        assert_eq!(pauses[18], 900);
        assert_eq!(pause_ms(i64::MAX, FREE_OF_ACCOUNT), LONGEST_PAUSE_MS);
    }

    #[test]
    fn an_address_waits_and_is_forgotten() {
        let throttle = AddressThrottle::default();
        for _ in 0..FREE_OF_ADDRESS {
            throttle.count("a", 1000).unwrap();
        }
        let refused = UserError::from(throttle.count("a", 1000 + FIRST_PAUSE_MS - 1).unwrap_err());
        assert_eq!(refused.retry_after_s, Some(1));
        throttle.count("b", 1000).unwrap();
        throttle.count("a", 1000 + FIRST_PAUSE_MS).unwrap();
        assert!(throttle.count("a", 1000 + 2 * FIRST_PAUSE_MS).is_err(), "the next pause is twice as long");
        throttle.take_back("a");
        throttle.count("a", 1000 + 2 * FIRST_PAUSE_MS).unwrap();
        let later = 1000 + 2 * DAY_MS;
        for _ in 0..FREE_OF_ADDRESS {
            throttle.count("a", later).unwrap();
        }
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = AddressThrottle::default();
        for address in 0..2 * REMEMBERED {
            throttle.count(&address.to_string(), 1000).unwrap();
        }
        assert!(throttle.0.lock().unwrap().len() <= REMEMBERED);
    }
}
