//! Invitations: links that make whoever opens them a member with a role.

use super::accounts::NewAccount;
use super::secret::{hash, random_secret};
use super::{Caller, DAY_MS, NewSession, People, WORKSPACE, role_from};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::people::{Invitation, Role, Secret};
use sqlx::Row;
use sqlx::any::AnyRow;

const LASTS_MS: i64 = 7 * DAY_MS;
/// Invitations that are open at the same time.
const MOST: usize = 200;

impl People {
    /// The token of a link, which is shown once.
    ///
    /// # Errors
    /// Too many are open.
    pub async fn invite(&self, caller: &Caller, role: Role) -> Result<Secret> {
        if self.invitations().await?.len() >= MOST {
            return Err(UserError::conflict(format!("{MOST} invitations are open. Withdraw one first.")).into());
        }
        let (token, now_ms) = (random_secret()?, self.now_ms());
        sqlx::query(
            "INSERT INTO invitations (id, token_hash, workspace_id, role, invited_by, created_at_ms, expires_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.db.next_number("invitation").await?)
        .bind(hash(&token.0))
        .bind(WORKSPACE)
        .bind(role.as_str())
        .bind(&caller.actor.name)
        .bind(now_ms)
        .bind(now_ms + LASTS_MS)
        .execute(&self.db.pool)
        .await?;
        Ok(token)
    }

    /// Those that are open, the newest first.
    pub async fn invitations(&self) -> Result<Vec<Invitation>> {
        let rows = sqlx::query(
            "SELECT * FROM invitations WHERE workspace_id = $1 AND expires_at_ms > $2 ORDER BY created_at_ms DESC, id DESC",
        )
        .bind(WORKSPACE)
        .bind(self.now_ms())
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter().map(invitation_from).collect()
    }

    /// # Errors
    /// The link does not open.
    pub async fn invitation(&self, token: &str) -> Result<Invitation> {
        let row = sqlx::query("SELECT * FROM invitations WHERE token_hash = $1 AND expires_at_ms > $2")
            .bind(hash(token))
            .bind(self.now_ms())
            .fetch_optional(&self.db.pool)
            .await?;
        row.as_ref().map(invitation_from).transpose()?.ok_or_else(closed)
    }

    /// From now on the link opens nothing.
    ///
    /// # Errors
    /// It does not open any more.
    pub async fn withdraw_invitation(&self, invitation: i64) -> Result<()> {
        let withdrawn =
            sqlx::query("DELETE FROM invitations WHERE id = $1").bind(invitation).execute(&self.db.pool).await?;
        if withdrawn.rows_affected() == 0 {
            return Err(closed());
        }
        Ok(())
    }

    /// Makes a member of whoever has the link, and signs them in.
    ///
    /// # Errors
    /// The link does not open, or what was typed cannot be used; the link then stays open.
    pub async fn accept_invitation(&self, token: &str, account: NewAccount) -> Result<NewSession> {
        // Ahead of the hashing, so that guessing costs little.
        self.invitation(token).await?;
        let account = self.check_account(account).await?;
        let mut transaction = self.db.begin_write().await?;
        let used = sqlx::query("DELETE FROM invitations WHERE token_hash = $1 AND expires_at_ms > $2 RETURNING role")
            .bind(hash(token))
            .bind(self.now_ms())
            .fetch_all(&mut *transaction)
            .await?
            .pop()
            .ok_or_else(closed)?;
        let session = self.add_member(&mut transaction, account, role_from(&used)?).await?;
        sqlx::query("DELETE FROM invitations WHERE expires_at_ms <= $1")
            .bind(self.now_ms())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(session)
    }
}

fn invitation_from(row: &AnyRow) -> Result<Invitation> {
    Ok(Invitation {
        id: row.try_get("id")?,
        role: role_from(row)?,
        invited_by: row.try_get("invited_by")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
    })
}

fn closed() -> ServiceError {
    UserError::not_found(
        "This invitation is not open: it was used, withdrawn, or has expired after a week. Ask an administrator for \
         another one.",
    )
    .into()
}
