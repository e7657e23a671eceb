//! The database: opening it, its transactions, its numbers. The SQL itself stands with the noun it is about.

use crate::error::{Result, ServiceError};
use domain::error::UserError;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Connection, Row, Transaction};
use std::path::Path;
use std::time::Duration;

/// A handle on the database; clones share the connections.
#[derive(Clone)]
pub struct Database {
    pub pool: AnyPool,
    is_sqlite: bool,
}

impl Database {
    /// Connects and brings the tables up to date. Without a URL, a SQLite file at `default_file`, made if missing.
    pub async fn open(url: Option<&str>, default_file: &Path) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let url = match url {
            Some(url) => url.to_string(),
            None => sqlite_url(default_file)?,
        };
        let is_sqlite = url.starts_with("sqlite:");
        if !is_sqlite {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(UserError::invalid(format!(
                "The database URL starts with \"{scheme}:\"; this build knows sqlite: only, such as \
                 sqlite:///var/lib/ayar/ayar.db?mode=rwc."
            ))
            .into());
        }
        let pool = AnyPoolOptions::new()
            // SQLite has one writer at a time; more connections only help readers.
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Before anything else, so that the others wait for a lock instead of failing.
                    sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut *connection).await?;
                    // Readers do not wait for the writer. With the log, NORMAL cannot corrupt the file; after a
                    // power cut the last moments may be missing, and a run then goes on from its checkpoint.
                    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await?;
                    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *connection).await?;
                    sqlx::query("PRAGMA foreign_keys = ON").execute(&mut *connection).await?;
                    Ok(())
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // On a full disk SQLite ends a transaction by itself, and the driver's count of open ones stays
                    // wrong: such a connection would refuse every later transaction. It is given up instead.
                    let Ok(probe) = connection.begin_with("BEGIN").await else { return Ok(false) };
                    Ok(probe.rollback().await.is_ok())
                })
            })
            .connect(&url)
            .await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool, is_sqlite })
    }

    /// A transaction that reads before it writes. SQLite takes the write lock at once: taken later, it could be
    /// refused without waiting, because what was read may be old by then.
    pub async fn begin_write(&self) -> Result<Transaction<'static, Any>> {
        let transaction =
            if self.is_sqlite { self.pool.begin_with("BEGIN IMMEDIATE") } else { self.pool.begin_with("BEGIN") };
        Ok(transaction.await?)
    }

    /// The next number of a counter; never given out twice, even if the transaction around its use fails.
    pub async fn next_number(&self, counter: &str) -> Result<i64> {
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
            .bind(counter)
            .fetch_all(&self.pool)
            .await?
            .pop()
            .ok_or(sqlx::Error::RowNotFound)?;
        Ok(row.try_get("value")?)
    }

    pub async fn fact(&self, name: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    pub async fn set_fact(&self, name: &str, value: &str) -> Result<()> {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2")
            .bind(name)
            .bind(value)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// Reads a column that holds JSON.
pub fn json_column<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T> {
    let json: String = row.try_get(column)?;
    serde_json::from_str(&json).map_err(|error| ServiceError::stored(column, error))
}

/// JSON for a column. Our own types have string keys and no failing fields, so this does not fail in practice.
pub fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| ServiceError::stored(std::any::type_name::<T>(), error))
}

fn sqlite_url(file: &Path) -> Result<String> {
    let Some(path) = file.to_str() else {
        return Err(UserError::invalid(format!(
            "The data folder {} has a name that is no text; choose another one.",
            file.display()
        ))
        .into());
    };
    // `?` and `#` would end the path, `%` would begin an escape.
    let mut escaped = String::with_capacity(path.len());
    for letter in path.chars() {
        match letter {
            '%' => escaped.push_str("%25"),
            '?' => escaped.push_str("%3F"),
            '#' => escaped.push_str("%23"),
            ' ' => escaped.push_str("%20"),
            other => escaped.push(other),
        }
    }
    Ok(format!("sqlite://{escaped}?mode=rwc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_with_odd_letters_works_and_numbers_are_given_out_once() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a b%20c#d?é");
        std::fs::create_dir(&odd).unwrap();
        let database = Database::open(None, &odd.join("ayar.db")).await.unwrap();
        assert!(odd.join("ayar.db").exists());

        let asked = (0..20).map(|_| {
            let database = database.clone();
            tokio::spawn(async move { database.next_number("run").await.unwrap() })
        });
        let mut numbers = BTreeSet::new();
        for number in asked.collect::<Vec<_>>() {
            numbers.insert(number.await.unwrap());
        }
        assert_eq!(numbers, (1..=20).collect());

        assert_eq!(database.fact("sample").await.unwrap(), None);
        database.set_fact("sample", "done").await.unwrap();
        database.set_fact("sample", "done again").await.unwrap();
        assert_eq!(database.fact("sample").await.unwrap().as_deref(), Some("done again"));

        // A second opening finds the tables as they are.
        database.pool.close().await;
        let again = Database::open(None, &odd.join("ayar.db")).await.unwrap();
        assert_eq!(again.next_number("run").await.unwrap(), 21);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_does_not_spoil_the_connections() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(None, &folder.path().join("ayar.db")).await.unwrap();
        for _ in 0..10 {
            let mut transaction = database.begin_write().await.unwrap();
            // This connection takes the disk for full.
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut *transaction).await.unwrap();
            let large = sqlx::query("INSERT INTO meta (name, value) VALUES ('large', $1)")
                .bind("x".repeat(1 << 20))
                .execute(&mut *transaction)
                .await;
            let error = ServiceError::from(large.unwrap_err());
            assert!(UserError::from(error).message.contains("disk is full"));
        }
        let transaction = database.begin_write().await.unwrap();
        transaction.commit().await.unwrap();
        database.set_fact("small", "fits").await.unwrap();
    }

    #[tokio::test]
    async fn another_kind_of_database_is_refused_in_words() {
        let error = Database::open(Some("postgres://localhost/ayar"), Path::new("unused")).await.err().unwrap();
        assert!(error.to_string().contains("postgres"), "{error}");
    }
}
