//! Keys by which programs ask: shown once, stored as hashes, limited to scopes and in time.

use super::secret::{hash, random_secret};
use super::{CalledBy, Caller, DAY_MS, MINUTE_MS, People, WORKSPACE, role_from};
use crate::db::{json_column, to_json};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::people::access::Power;
use domain::people::{Actor, ApiKey, NewApiKey, Role, Secret, check_key};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What every key begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "ayar_";
/// Of one person, or of nobody.
const MOST: usize = 100;
/// Letters of a key that stay visible.
const HINT_LETTERS: usize = PREFIX.len() + 4;
const SELECTED: &str =
    "SELECT api_keys.*, people.name AS owner FROM api_keys LEFT JOIN people ON people.id = api_keys.person_id";

impl People {
    /// Whether a word could be a key of ours; others belong to other programs.
    pub fn is_key(word: &str) -> bool {
        word.starts_with(PREFIX)
    }

    /// Who asks with that key. It may no more than its owner may at that time.
    pub async fn by_key(&self, key: &str) -> Result<Option<Caller>> {
        let now_ms = self.now_ms();
        let row = sqlx::query(
            "SELECT api_keys.id, api_keys.name, api_keys.scopes, api_keys.used_at_ms, api_keys.person_id, \
             people.name AS owner, memberships.role FROM api_keys \
             LEFT JOIN people ON people.id = api_keys.person_id LEFT JOIN memberships ON \
             memberships.person_id = api_keys.person_id AND memberships.workspace_id = api_keys.workspace_id \
             WHERE api_keys.token_hash = $1 AND (api_keys.expires_at_ms IS NULL OR api_keys.expires_at_ms > $2)",
        )
        .bind(hash(key))
        .bind(now_ms)
        .fetch_optional(&self.db.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (id, user_id): (i64, Option<i64>) = (row.try_get("id")?, row.try_get("person_id")?);
        let name: String = row.try_get("name")?;
        let (role, name) = match (user_id, row.try_get::<Option<String>, _>("role")?) {
            (None, _) => (Role::Administrator, format!("the key {name}")),
            (Some(_), None) => return Ok(None),
            (Some(_), Some(_)) => (role_from(&row)?, format!("{} (key {name})", row.try_get::<String, _>("owner")?)),
        };
        let used_at_ms: Option<i64> = row.try_get("used_at_ms")?;
        if used_at_ms.is_none_or(|used| now_ms >= used + MINUTE_MS) {
            sqlx::query("UPDATE api_keys SET used_at_ms = $2 WHERE id = $1")
                .bind(id)
                .bind(now_ms)
                .execute(&self.db.pool)
                .await?;
        }
        let power = Power { role, scopes: Some(json_column(&row, "scopes")?) };
        Ok(Some(Caller { actor: Actor { user_id, name }, power: Some(power), by: CalledBy::Key(id) }))
    }

    /// A key of the caller's, or of nobody on a server that is open. It is shown once.
    ///
    /// # Errors
    /// What it is to be cannot be, or there are too many.
    pub async fn make_key(&self, caller: &Caller, new: NewApiKey) -> Result<Secret> {
        let owner = key_owner(caller)?;
        let new = check_key(new)?;
        if self.keys(caller).await?.len() >= MOST {
            return Err(UserError::conflict(format!("There are {MOST} keys already. Revoke one first.")).into());
        }
        let key = Secret(format!("{PREFIX}{}", random_secret()?.0));
        let now_ms = self.now_ms();
        sqlx::query(
            "INSERT INTO api_keys (id, token_hash, hint, name, scopes, person_id, workspace_id, created_at_ms, \
             expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(self.db.next_number("api_key").await?)
        .bind(hash(&key.0))
        .bind(&key.0[..HINT_LETTERS])
        .bind(&new.name)
        .bind(to_json(&new.scopes)?)
        .bind(owner)
        .bind(WORKSPACE)
        .bind(now_ms)
        .bind(new.days.map(|days| now_ms + i64::from(days) * DAY_MS))
        .execute(&self.db.pool)
        .await?;
        Ok(key)
    }

    /// The caller's own keys, the newest first; those that have expired, too.
    pub async fn keys(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        let owner = key_owner(caller)?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECTED} WHERE api_keys.person_id = $1 OR ($1 IS NULL AND api_keys.person_id IS NULL) \
             ORDER BY api_keys.created_at_ms DESC, api_keys.id DESC"
        )))
        .bind(owner)
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter().map(key_from).collect()
    }

    /// Everybody's keys, the newest first.
    pub async fn all_keys(&self) -> Result<Vec<ApiKey>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECTED} ORDER BY api_keys.created_at_ms DESC, api_keys.id DESC"
        )))
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter().map(key_from).collect()
    }

    /// From now on the caller's own key opens nothing.
    ///
    /// # Errors
    /// It is none of theirs.
    pub async fn revoke_key(&self, caller: &Caller, key: i64) -> Result<()> {
        let owner = key_owner(caller)?;
        let revoked = sqlx::query(
            "DELETE FROM api_keys WHERE id = $1 AND (person_id = $2 OR ($2 IS NULL AND person_id IS NULL))",
        )
        .bind(key)
        .bind(owner)
        .execute(&self.db.pool)
        .await?;
        if revoked.rows_affected() == 0 { Err(no_such()) } else { Ok(()) }
    }

    /// As [`People::revoke_key`], whoever's it is.
    pub async fn revoke_any_key(&self, key: i64) -> Result<()> {
        let revoked = sqlx::query("DELETE FROM api_keys WHERE id = $1").bind(key).execute(&self.db.pool).await?;
        if revoked.rows_affected() == 0 { Err(no_such()) } else { Ok(()) }
    }
}

/// Whose keys the caller makes: their own, or nobody's on a server that asks nobody.
fn key_owner(caller: &Caller) -> Result<Option<i64>> {
    match caller.by {
        CalledBy::Open => Ok(None),
        _ => Ok(Some(caller.person()?.0)),
    }
}

fn key_from(row: &AnyRow) -> Result<ApiKey> {
    Ok(ApiKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        hint: row.try_get("hint")?,
        scopes: json_column(row, "scopes")?,
        owner: row.try_get("owner")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        used_at_ms: row.try_get("used_at_ms")?,
    })
}

fn no_such() -> ServiceError {
    UserError::not_found("There is no such key any more.").into()
}
