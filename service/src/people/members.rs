//! Members: their roles, and their leaving. There is always an administrator.

use super::{People, WORKSPACE};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::people::Role;
use sqlx::{Any, Row, Transaction};

/// Holds for a membership that is no administrator's, or one of several administrators'.
const ANOTHER_ADMINISTRATOR: &str = "(role <> 'administrator' OR EXISTS (SELECT 1 FROM memberships other WHERE \
     other.workspace_id = $2 AND other.role = 'administrator' AND other.person_id <> $1))";

impl People {
    /// It counts from the person's next request on.
    ///
    /// # Errors
    /// They are no member, or the last administrator.
    pub async fn change_role(&self, person: i64, role: Role) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        let changed = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE memberships SET role = $3 WHERE person_id = $1 AND workspace_id = $2 \
             AND ($3 = 'administrator' OR {ANOTHER_ADMINISTRATOR})"
        )))
        .bind(person)
        .bind(WORKSPACE)
        .bind(role.as_str())
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(why_not(&mut transaction, person).await);
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Their sessions and keys end with the membership. Their name stays beside what they did.
    ///
    /// # Errors
    /// They are no member, or the last administrator.
    pub async fn remove(&self, person: i64) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        let removed = sqlx::query(sqlx::AssertSqlSafe(format!(
            "DELETE FROM memberships WHERE person_id = $1 AND workspace_id = $2 AND {ANOTHER_ADMINISTRATOR}"
        )))
        .bind(person)
        .bind(WORKSPACE)
        .execute(&mut *transaction)
        .await?;
        if removed.rows_affected() == 0 {
            return Err(why_not(&mut transaction, person).await);
        }
        for statement in [
            "DELETE FROM sessions WHERE person_id = $1",
            "DELETE FROM api_keys WHERE person_id = $1",
            "DELETE FROM one_time_links WHERE person_id = $1",
            "UPDATE people SET email = NULL, password_hash = NULL WHERE id = $1",
        ] {
            sqlx::query(statement).bind(person).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn why_not(transaction: &mut Transaction<'static, Any>, person: i64) -> ServiceError {
    let row = sqlx::query("SELECT role FROM memberships WHERE person_id = $1 AND workspace_id = $2")
        .bind(person)
        .bind(WORKSPACE)
        .fetch_optional(&mut **transaction)
        .await;
    match row.map(|row| row.map(|row| row.try_get::<String, _>("role"))) {
        Ok(Some(_)) => UserError::conflict(
            "This is the last administrator. Make somebody else one first, so that somebody can let others in.",
        )
        .into(),
        Ok(None) => UserError::not_found("There is no such person any more.").into(),
        Err(error) => error.into(),
    }
}
