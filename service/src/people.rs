//! People: their accounts, sessions, invitations and keys, and who it is that asks.
//!
//! There is one workspace; everybody is a member of it with one role. Tokens, links and keys are random and stored as
//! hashes: what the database holds opens nothing.

mod accounts;
mod api_keys;
mod invitations;
mod links;
mod members;
mod password;
mod revealed;
mod secret;
mod sessions;
mod throttle;

use crate::Clock;
use crate::db::Database;
use crate::error::Result;
use crate::files::Files;
pub use accounts::{NewAccount, SignInTry};
use domain::error::UserError;
use domain::people::access::Power;
use domain::people::{Actor, Me, Person, Role};
use password::Passwords;
use revealed::Revealed;
pub use sessions::{NewSession, SESSION_LASTS_S};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::path::Path;
use std::sync::Arc;
use throttle::AddressThrottle;

/// The one there is.
const WORKSPACE: i64 = 1;
const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Clones share everything.
#[derive(Clone)]
pub struct People {
    db: Database,
    clock: Clock,
    passwords: Passwords,
    throttle: Arc<AddressThrottle>,
    revealed: Arc<Revealed>,
}

/// Who asks, by what they have sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    /// What they may; None: nobody knows who it is.
    pub power: Option<Power>,
    pub by: CalledBy,
}

/// How somebody is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalledBy {
    /// The server asks nobody.
    Open,
    /// Not at all.
    Nothing,
    /// A session, by its number.
    Session(i64),
    /// A key, by its number.
    Key(i64),
}

/// Where a request comes from, as far as that can be told: all of one household or one proxy are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub String);

impl Caller {
    /// On a server that asks nobody for their name.
    pub fn open() -> Self {
        let power = Power { role: Role::Administrator, scopes: None };
        Self { actor: Actor::somebody(), power: Some(power), by: CalledBy::Open }
    }

    pub fn nobody() -> Self {
        Self { actor: Actor::somebody(), power: None, by: CalledBy::Nothing }
    }

    /// As pages show it.
    pub fn me(&self) -> Me {
        let signed_in = match (&self.by, &self.power) {
            (CalledBy::Session(_), Some(power)) => Some((self.actor.name.clone(), power.role)),
            _ => None,
        };
        Me { is_open: self.by == CalledBy::Open, signed_in }
    }

    /// The person whose session it is.
    ///
    /// # Errors
    /// It is no session: on an open server there are no accounts, and a key is no person.
    fn person(&self) -> Result<(i64, i64)> {
        match (&self.by, self.actor.user_id) {
            (CalledBy::Session(session), Some(person)) => Ok((person, *session)),
            (CalledBy::Open, _) => Err(UserError::conflict(
                "This server is open: it has no accounts in use. Start it with --access sign-in to use them.",
            )
            .into()),
            _ => Err(UserError::sign_in("Sign in first.").into()),
        }
    }
}

impl People {
    pub(crate) fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock, passwords: Passwords::default(), throttle: Arc::default(), revealed: Arc::default() }
    }

    /// The people of a data folder alone, also while a server uses it.
    ///
    /// # Errors
    /// There is no such folder, or its database cannot be opened.
    pub async fn open_beside(data_dir: &Path, database_url: Option<&str>) -> Result<Self> {
        if !data_dir.is_dir() {
            return Err(UserError::not_found(format!("There is no data folder {}.", data_dir.display())).into());
        }
        let files = Files::open(data_dir)?;
        let db = Database::open(database_url, &files.database()).await?;
        Ok(Self::new(db, crate::system_clock))
    }

    /// Everybody, by name.
    pub async fn list(&self) -> Result<Vec<Person>> {
        let rows = sqlx::query(
            "SELECT people.id, people.name, people.email, people.created_at_ms, memberships.role, \
             (SELECT MAX(sessions.used_at_ms) FROM sessions WHERE sessions.person_id = people.id) AS seen_at_ms \
             FROM people JOIN memberships ON memberships.person_id = people.id \
             WHERE memberships.workspace_id = $1 AND people.email IS NOT NULL ORDER BY people.name, people.id",
        )
        .bind(WORKSPACE)
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter().map(person_from).collect()
    }

    /// Whether a caller who was let in may still read: what lasts as long as a websocket asks again from time to time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn may_still_read(&self, caller: &Caller) -> Result<bool> {
        let (statement, id) = match caller.by {
            CalledBy::Open => return Ok(true),
            CalledBy::Nothing => return Ok(false),
            CalledBy::Session(id) => ("SELECT id FROM sessions WHERE id = $1 AND expires_at_ms > $2", id),
            CalledBy::Key(id) => {
                ("SELECT id FROM api_keys WHERE id = $1 AND (expires_at_ms IS NULL OR expires_at_ms > $2)", id)
            }
        };
        let row = sqlx::query(statement).bind(id).bind(self.now_ms()).fetch_optional(&self.db.pool).await?;
        Ok(row.is_some())
    }

    /// The server's time, by which links and keys expire.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }
}

fn person_from(row: &AnyRow) -> Result<Person> {
    Ok(Person {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        role: role_from(row)?,
        created_at_ms: row.try_get("created_at_ms")?,
        seen_at_ms: row.try_get("seen_at_ms")?,
    })
}

fn role_from(row: &AnyRow) -> Result<Role> {
    let word: String = row.try_get("role")?;
    word.parse().map_err(|_| sqlx::Error::Decode(format!("\"{word}\" is no role").into()).into())
}

#[cfg(test)]
mod tests;
