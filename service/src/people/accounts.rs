//! Accounts: making them, signing in, and changing what is one's own.

use super::{CalledBy, Caller, ClientAddress, NewSession, People, WORKSPACE};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::people::{Role, Secret, check_password, parse_email, parse_name};
use sqlx::{Any, Row, Transaction};

/// What somebody types who becomes a member, and the browser in which they are signed in by that.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub name: String,
    pub email: String,
    pub password: Secret,
    pub browser: String,
}

/// What somebody types who has an account, and where.
#[derive(Clone, Debug)]
pub struct SignInTry<'a> {
    pub email: &'a str,
    pub password: &'a Secret,
    pub address: &'a ClientAddress,
    pub browser: &'a str,
}

/// [`NewAccount`], looked at and ready to be stored.
pub(super) struct CheckedAccount {
    id: i64,
    session: i64,
    name: String,
    pub email: String,
    password_hash: String,
    browser: String,
}

impl People {
    /// Begins a session; the one that asks, if there is one, ends. A wrong password and an unknown address get the same
    /// answer after the same time.
    ///
    /// # Errors
    /// They do not belong together, or there were too many tries.
    pub async fn sign_in(&self, caller: &Caller, typed: SignInTry<'_>) -> Result<NewSession> {
        let SignInTry { email, password, address, browser } = typed;
        // What is no address is looked at like one that nobody has.
        let email = parse_email(email).unwrap_or_default();
        self.count_try(&email, &address.0).await?;
        let row = sqlx::query(
            "SELECT people.id, people.password_hash FROM people JOIN memberships ON memberships.person_id = people.id \
             AND memberships.workspace_id = $2 WHERE people.email = $1",
        )
        .bind(&email)
        .bind(WORKSPACE)
        .fetch_optional(&self.db.pool)
        .await?;
        let stored = row.as_ref().map(|row| row.try_get("password_hash")).transpose()?.flatten();
        let is_right = self.passwords.is_right(password, stored).await?;
        let Some(row) = row.filter(|_| is_right) else {
            return Err(UserError::sign_in("No account has this email address with this password.").into());
        };
        self.throttle.take_back(&address.0);
        self.forget_tries(&email).await?;
        let session = self.db.next_number("session").await?;
        let mut transaction = self.db.begin_write().await?;
        if let CalledBy::Session(before) = caller.by {
            sqlx::query("DELETE FROM sessions WHERE id = $1").bind(before).execute(&mut *transaction).await?;
        }
        let new = self.begin_session(&mut transaction, session, row.try_get("id")?, browser).await?;
        transaction.commit().await?;
        Ok(new)
    }

    /// What the caller is known by.
    pub async fn own_email(&self, caller: &Caller) -> Result<String> {
        let (person, _) = caller.person()?;
        let row = sqlx::query("SELECT email FROM people WHERE id = $1").bind(person).fetch_one(&self.db.pool).await?;
        Ok(row.try_get::<Option<String>, _>("email")?.unwrap_or_default())
    }

    /// # Errors
    /// It is no name.
    pub async fn rename(&self, caller: &Caller, name: &str) -> Result<()> {
        let (person, _) = caller.person()?;
        sqlx::query("UPDATE people SET name = $2 WHERE id = $1")
            .bind(person)
            .bind(parse_name(name)?)
            .execute(&self.db.pool)
            .await?;
        Ok(())
    }

    /// Sets a new password; all other sessions of the caller end.
    ///
    /// # Errors
    /// The old one is wrong, the new one too weak, or there were too many tries.
    pub async fn change_password(
        &self,
        caller: &Caller,
        old: &Secret,
        new: &Secret,
        address: &ClientAddress,
    ) -> Result<()> {
        let (person, session) = caller.person()?;
        let row = sqlx::query("SELECT name, email, password_hash FROM people WHERE id = $1")
            .bind(person)
            .fetch_one(&self.db.pool)
            .await?;
        let email = row.try_get::<Option<String>, _>("email")?.unwrap_or_default();
        check_password(&new.0, &row.try_get::<String, _>("name")?, &email)?;
        self.count_try(&email, &address.0).await?;
        if !self.passwords.is_right(old, row.try_get("password_hash")?).await? {
            return Err(UserError::forbidden("The present password is another one. Nothing was changed.").into());
        }
        self.throttle.take_back(&address.0);
        self.forget_tries(&email).await?;
        let hash = self.passwords.hash(new).await?;
        let mut transaction = self.db.begin_write().await?;
        set_password(&mut transaction, person, &hash).await?;
        sqlx::query("DELETE FROM sessions WHERE person_id = $1 AND id <> $2")
            .bind(person)
            .bind(session)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Looks at what was typed and hashes its password, which takes time, ahead of the transaction that stores it.
    ///
    /// # Errors
    /// Something of it cannot be used.
    pub(super) async fn check_account(&self, new: NewAccount) -> Result<CheckedAccount> {
        let (name, email) = (parse_name(&new.name)?, parse_email(&new.email)?);
        check_password(&new.password.0, &name, &email)?;
        Ok(CheckedAccount {
            password_hash: self.passwords.hash(&new.password).await?,
            id: self.db.next_number("person").await?,
            session: self.db.next_number("session").await?,
            name,
            email,
            browser: new.browser,
        })
    }

    /// Stores it as a member with that role, and signs it in.
    ///
    /// # Errors
    /// The address is somebody's already.
    pub(super) async fn add_member(
        &self,
        transaction: &mut Transaction<'static, Any>,
        account: CheckedAccount,
        role: Role,
    ) -> Result<NewSession> {
        let added = sqlx::query(
            "INSERT INTO people (id, name, email, password_hash, created_at_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (email) DO NOTHING",
        )
        .bind(account.id)
        .bind(&account.name)
        .bind(&account.email)
        .bind(&account.password_hash)
        .bind(self.now_ms())
        .execute(&mut **transaction)
        .await?;
        if added.rows_affected() == 0 {
            return Err(email_is_taken());
        }
        sqlx::query("INSERT INTO memberships (person_id, workspace_id, role) VALUES ($1, $2, $3)")
            .bind(account.id)
            .bind(WORKSPACE)
            .bind(role.as_str())
            .execute(&mut **transaction)
            .await?;
        self.begin_session(transaction, account.session, account.id, &account.browser).await
    }
}

pub(super) async fn set_password(
    transaction: &mut Transaction<'static, Any>,
    person: i64,
    password_hash: &str,
) -> Result<()> {
    sqlx::query("UPDATE people SET password_hash = $2 WHERE id = $1")
        .bind(person)
        .bind(password_hash)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn email_is_taken() -> ServiceError {
    UserError::conflict("There is an account with this email address already. Sign in with it.").into()
}
