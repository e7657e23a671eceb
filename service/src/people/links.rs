//! Links that open once: the one that makes the first administrator, and those that set a lost password anew.

use super::accounts::{NewAccount, set_password};
use super::secret::{hash, random_secret};
use super::{DAY_MS, NewSession, People, WORKSPACE};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::people::{Role, Secret, check_password, parse_email};
use sqlx::Row;

const LASTS_MS: i64 = DAY_MS;

impl People {
    /// The token of a link that makes the first administrator, in place of any before; `None` once there is one.
    pub async fn setup_link(&self) -> Result<Option<Secret>> {
        let token = random_secret()?;
        let mut transaction = self.db.begin_write().await?;
        sqlx::query("DELETE FROM one_time_links WHERE person_id IS NULL").execute(&mut *transaction).await?;
        // The one statement both asks and stores: no administrator can come in between.
        let made = sqlx::query(
            "INSERT INTO one_time_links (token_hash, expires_at_ms) SELECT $1, $2 WHERE NOT EXISTS \
             (SELECT 1 FROM memberships WHERE workspace_id = $3 AND role = 'administrator')",
        )
        .bind(hash(&token.0))
        .bind(self.now_ms() + LASTS_MS)
        .bind(WORKSPACE)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok((made.rows_affected() == 1).then_some(token))
    }

    /// # Errors
    /// The link does not open.
    pub async fn check_setup(&self, token: &str) -> Result<()> {
        self.link(token).await?.is_none().then_some(()).ok_or_else(closed)
    }

    /// Makes the first administrator, and signs them in.
    ///
    /// # Errors
    /// The link does not open, or what was typed cannot be used; the link then stays open.
    pub async fn set_up(&self, token: &str, account: NewAccount) -> Result<NewSession> {
        self.check_setup(token).await?;
        let account = self.check_account(account).await?;
        let mut transaction = self.db.begin_write().await?;
        let used = sqlx::query(
            "DELETE FROM one_time_links WHERE token_hash = $1 AND person_id IS NULL AND expires_at_ms > $2 AND NOT \
             EXISTS (SELECT 1 FROM memberships WHERE workspace_id = $3 AND role = 'administrator')",
        )
        .bind(hash(token))
        .bind(self.now_ms())
        .bind(WORKSPACE)
        .execute(&mut *transaction)
        .await?;
        if used.rows_affected() != 1 {
            return Err(closed());
        }
        let session = self.add_member(&mut transaction, account, Role::Administrator).await?;
        transaction.commit().await?;
        Ok(session)
    }

    /// The token of a link by which the person with that address sets a new password, in place of any before.
    ///
    /// # Errors
    /// Nobody has that address.
    pub async fn reset_link(&self, email: &str) -> Result<Secret> {
        let email = parse_email(email)?;
        let row =
            sqlx::query("SELECT id FROM people WHERE email = $1").bind(&email).fetch_optional(&self.db.pool).await?;
        let Some(row) = row else {
            return Err(UserError::not_found(format!("Nobody has an account with the address {email}.")).into());
        };
        self.reset_link_of(row.try_get("id")?).await
    }

    /// As [`People::reset_link`], by the person's number.
    pub async fn reset_link_of(&self, person: i64) -> Result<Secret> {
        let token = random_secret()?;
        let mut transaction = self.db.begin_write().await?;
        sqlx::query("DELETE FROM one_time_links WHERE person_id = $1").bind(person).execute(&mut *transaction).await?;
        let made = sqlx::query(
            "INSERT INTO one_time_links (token_hash, person_id, expires_at_ms) SELECT $1, id, $3 FROM people \
             WHERE id = $2 AND email IS NOT NULL",
        )
        .bind(hash(&token.0))
        .bind(person)
        .bind(self.now_ms() + LASTS_MS)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        match made.rows_affected() {
            1 => Ok(token),
            _ => Err(UserError::not_found("There is no such person any more.").into()),
        }
    }

    /// Whose password the link sets: their name and address.
    ///
    /// # Errors
    /// The link does not open.
    pub async fn check_reset(&self, token: &str) -> Result<(String, String)> {
        let person = self.link(token).await?.ok_or_else(closed)?;
        let row =
            sqlx::query("SELECT name, email FROM people WHERE id = $1").bind(person).fetch_one(&self.db.pool).await?;
        Ok((row.try_get("name")?, row.try_get::<Option<String>, _>("email")?.ok_or_else(closed)?))
    }

    /// Sets a new password and signs in; all other sessions of that person end.
    ///
    /// # Errors
    /// The link does not open, or the password is too weak; the link then stays open.
    pub async fn reset_password(&self, token: &str, password: &Secret, browser: &str) -> Result<NewSession> {
        let (name, email) = self.check_reset(token).await?;
        check_password(&password.0, &name, &email)?;
        let password_hash = self.passwords.hash(password).await?;
        let session = self.db.next_number("session").await?;
        let mut transaction = self.db.begin_write().await?;
        let used = sqlx::query(
            "DELETE FROM one_time_links WHERE token_hash = $1 AND person_id IS NOT NULL AND expires_at_ms > $2 \
             RETURNING person_id",
        )
        .bind(hash(token))
        .bind(self.now_ms())
        .fetch_all(&mut *transaction)
        .await?
        .pop();
        let person: i64 = used.ok_or_else(closed)?.try_get("person_id")?;
        set_password(&mut transaction, person, &password_hash).await?;
        sqlx::query("DELETE FROM sessions WHERE person_id = $1").bind(person).execute(&mut *transaction).await?;
        let new = self.begin_session(&mut transaction, session, person, browser).await?;
        transaction.commit().await?;
        self.forget_tries(&email).await?;
        Ok(new)
    }

    /// Whose link it is; `None` for the one that makes the first administrator.
    async fn link(&self, token: &str) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT person_id FROM one_time_links WHERE token_hash = $1 AND expires_at_ms > $2")
            .bind(hash(token))
            .bind(self.now_ms())
            .fetch_optional(&self.db.pool)
            .await?;
        Ok(row.ok_or_else(closed)?.try_get("person_id")?)
    }
}

fn closed() -> ServiceError {
    UserError::not_found(
        "This link is not open: it was used, has expired after a day, or was replaced by a newer one. The server prints a \
         new one when it starts without an administrator; `ayar people reset-link` makes one for a lost password.",
    )
    .into()
}
