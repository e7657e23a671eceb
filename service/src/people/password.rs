//! Hashing passwords: slow on purpose, so only a few at once, and never in the way of other work.

use super::secret::{random_bytes, random_secret};
use crate::datasets::blocking;
use crate::error::{Result, ServiceError};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use domain::error::UserError;
use domain::people::Secret;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// The least that OWASP recommends for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
/// So many are worked on at once; each takes its memory and a processor for some hundredths of a second.
const AT_ONCE: usize = 2;
/// So many more may wait.
const WAITING: usize = 30;

/// Clones share the places.
#[derive(Clone)]
pub struct Passwords {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { working: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(AT_ONCE + WAITING)) }
    }
}

impl Passwords {
    /// What is stored of a password.
    ///
    /// # Errors
    /// Too many are being hashed.
    pub async fn hash(&self, password: &Secret) -> Result<String> {
        let password = password.clone();
        self.work(move || hash_with(&password, &random_bytes::<16>()?, [MEMORY_KIB, PASSES, LANES])).await
    }

    /// Whether it is the password of that hash. Without a hash the answer is no, after the same time.
    ///
    /// # Errors
    /// Too many are being checked.
    pub async fn is_right(&self, password: &Secret, stored: Option<String>) -> Result<bool> {
        let password = password.clone();
        self.work(move || {
            let nobodys = of_nobody();
            Ok(is_hash_of(&password, stored.as_deref().unwrap_or(nobodys))? && stored.is_some())
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let busy = || UserError::busy_for(2.0, "Many people are signing in right now. Try again in a moment.");
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let _working = self.working.acquire().await.map_err(|_| busy())?;
        blocking(work).await
    }
}

/// In the notation of the PHC, such as `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
fn hash_with(password: &Secret, salt: &[u8], [memory, passes, lanes]: [u32; 3]) -> Result<String> {
    let mut hash = [0; HASH_BYTES];
    Params::new(memory, passes, lanes, Some(HASH_BYTES))
        .and_then(|params| {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                password.0.as_bytes(),
                salt,
                &mut hash,
            )
        })
        .map_err(|error| ServiceError::Panicked(format!("a password could not be hashed: {error}")))?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"))
}

fn is_hash_of(password: &Secret, stored: &str) -> Result<bool> {
    let unreadable = || ServiceError::Panicked("the hash of a password is not written as it should be".to_string());
    let (salt, costs) = parse(stored).ok_or_else(unreadable)?;
    let again = hash_with(password, &salt, costs)?;
    // All of it is looked at, however early the two differ.
    let differing = again.bytes().zip(stored.bytes()).fold(0, |differing, (one, other)| differing | (one ^ other));
    Ok(again.len() == stored.len() && differing == 0)
}

fn parse(stored: &str) -> Option<(Vec<u8>, [u32; 3])> {
    let mut parts = stored.strip_prefix("$argon2id$v=19$")?.split('$');
    let costs: Vec<u32> =
        parts.next()?.split(',').map(|cost| cost.split_once('=')?.1.parse().ok()).collect::<Option<_>>()?;
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    Some((salt, costs.try_into().ok()?))
}

/// A hash of what nobody knows, for accounts that there are not: checking against it takes as long as any other.
fn of_nobody() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let hash =
            random_secret().and_then(|secret| hash_with(&secret, &random_bytes::<16>()?, [MEMORY_KIB, PASSES, LANES]));
        hash.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::default();
        let secret = |word: &str| Secret(word.to_string());
        let hash = passwords.hash(&secret("purple tram nine")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !hash.contains("purple"));
        assert_ne!(hash, passwords.hash(&secret("purple tram nine")).await.unwrap(), "each has a salt of its own");
        assert!(passwords.is_right(&secret("purple tram nine"), Some(hash.clone())).await.unwrap());
        for wrong in ["", "purple tram nin", "purple tram ninE"] {
            assert!(!passwords.is_right(&secret(wrong), Some(hash.clone())).await.unwrap());
        }
        assert!(!passwords.is_right(&secret("purple tram nine"), None).await.unwrap());
        // Hashes with other costs still count.
        let cheap = hash_with(&secret("old"), &[7; 16], [64, 1, 1]).unwrap();
        assert!(passwords.is_right(&secret("old"), Some(cheap)).await.unwrap());
        assert!(passwords.is_right(&secret("old"), Some("plain".to_string())).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_so_many_wait() {
        let passwords = Passwords::default();
        let _all = passwords.waiting.clone().acquire_many_owned((AT_ONCE + WAITING) as u32).await.unwrap();
        let refused = UserError::from(passwords.hash(&Secret("x".to_string())).await.unwrap_err());
        assert_eq!(refused.kind, domain::error::ErrorKind::Busy);
    }
}
