//! Sessions: browsers in which somebody has signed in. One lasts a month from its last use.

use super::secret::{hash, random_secret};
use super::{CalledBy, Caller, DAY_MS, HOUR_MS, People, WORKSPACE, role_from};
use crate::error::Result;
use domain::error::UserError;
use domain::people::access::Power;
use domain::people::{Actor, Secret, SessionSummary};
use sqlx::{Any, Row, Transaction};

/// Seconds from the last use of a session to its end.
pub const SESSION_LASTS_S: i64 = 30 * DAY_MS / 1000;
/// Of one person; beyond, the longest unused ends.
const MOST: i64 = 50;
const MAX_BROWSER_CHARS: usize = 200;

/// What the browser is to keep, and for how long.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub token: Secret,
    pub lasts_s: i64,
}

impl People {
    /// Who it is whose browser has sent this token, and whether the browser is to keep it for longer now. What the
    /// person may do is read anew each time: a change of their role counts at once.
    pub async fn by_session(&self, token: &str) -> Result<Option<(Caller, bool)>> {
        let now_ms = self.now_ms();
        let row = sqlx::query(
            "SELECT sessions.id, sessions.used_at_ms, people.id AS person_id, people.name, memberships.role \
             FROM sessions JOIN people ON people.id = sessions.person_id \
             JOIN memberships ON memberships.person_id = people.id AND memberships.workspace_id = $2 \
             WHERE sessions.token_hash = $1 AND sessions.expires_at_ms > $3",
        )
        .bind(hash(token))
        .bind(WORKSPACE)
        .bind(now_ms)
        .fetch_optional(&self.db.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let session: i64 = row.try_get("id")?;
        let used_at_ms: i64 = row.try_get("used_at_ms")?;
        let is_renewed = now_ms >= used_at_ms + HOUR_MS;
        if is_renewed {
            sqlx::query("UPDATE sessions SET used_at_ms = $2, expires_at_ms = $3 WHERE id = $1")
                .bind(session)
                .bind(now_ms)
                .bind(now_ms + SESSION_LASTS_S * 1000)
                .execute(&self.db.pool)
                .await?;
        }
        let actor = Actor { user_id: Some(row.try_get("person_id")?), name: row.try_get("name")? };
        let power = Power { role: role_from(&row)?, scopes: None };
        Ok(Some((Caller { actor, power: Some(power), by: CalledBy::Session(session) }, is_renewed)))
    }

    /// Where the caller is signed in, the last used first.
    pub async fn sessions(&self, caller: &Caller) -> Result<Vec<SessionSummary>> {
        let (person, this) = caller.person()?;
        let rows = sqlx::query(
            "SELECT id, browser, created_at_ms, used_at_ms FROM sessions WHERE person_id = $1 AND expires_at_ms > $2 \
             ORDER BY used_at_ms DESC, id DESC",
        )
        .bind(person)
        .bind(self.now_ms())
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let id = row.try_get("id")?;
                Ok(SessionSummary {
                    id,
                    browser: row.try_get("browser")?,
                    created_at_ms: row.try_get("created_at_ms")?,
                    used_at_ms: row.try_get("used_at_ms")?,
                    is_this: id == this,
                })
            })
            .collect()
    }

    /// Ends the session that asks, if there is one.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        if let CalledBy::Session(session) = caller.by {
            sqlx::query("DELETE FROM sessions WHERE id = $1").bind(session).execute(&self.db.pool).await?;
        }
        Ok(())
    }

    /// Ends one of the caller's own sessions.
    ///
    /// # Errors
    /// It is none of theirs.
    pub async fn end_session(&self, caller: &Caller, session: i64) -> Result<()> {
        let (person, _) = caller.person()?;
        let ended = sqlx::query("DELETE FROM sessions WHERE id = $1 AND person_id = $2")
            .bind(session)
            .bind(person)
            .execute(&self.db.pool)
            .await?;
        if ended.rows_affected() == 0 {
            return Err(UserError::not_found("This session has ended already.").into());
        }
        Ok(())
    }

    /// Ends all of the caller's sessions, this one, too.
    pub async fn sign_out_everywhere(&self, caller: &Caller) -> Result<()> {
        let (person, _) = caller.person()?;
        sqlx::query("DELETE FROM sessions WHERE person_id = $1").bind(person).execute(&self.db.pool).await?;
        Ok(())
    }

    /// A new session of that person, in the transaction in which they have shown who they are.
    pub(super) async fn begin_session(
        &self,
        transaction: &mut Transaction<'static, Any>,
        id: i64,
        person: i64,
        browser: &str,
    ) -> Result<NewSession> {
        let token = random_secret()?;
        let now_ms = self.now_ms();
        sqlx::query(
            "DELETE FROM sessions WHERE person_id = $1 AND (expires_at_ms <= $2 OR id IN (SELECT oldest.id FROM \
             sessions oldest WHERE oldest.person_id = $1 ORDER BY oldest.used_at_ms DESC, oldest.id DESC LIMIT $4 OFFSET $3))",
        )
        .bind(person)
        .bind(now_ms)
        .bind(MOST - 1)
        .bind(10 * MOST)
        .execute(&mut **transaction)
        .await?;
        let browser: String = browser.chars().filter(|letter| !letter.is_control()).take(MAX_BROWSER_CHARS).collect();
        sqlx::query(
            "INSERT INTO sessions (id, token_hash, person_id, browser, created_at_ms, used_at_ms, expires_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $5, $6)",
        )
        .bind(id)
        .bind(hash(&token.0))
        .bind(person)
        .bind(browser)
        .bind(now_ms)
        .bind(now_ms + SESSION_LASTS_S * 1000)
        .execute(&mut **transaction)
        .await?;
        Ok(NewSession { token, lasts_s: SESSION_LASTS_S })
    }
}
