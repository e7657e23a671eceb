//! The database: opening it, its transactions, its numbers. The SQL itself stands with the noun it is about.

use crate::error::{Result, ServiceError};
use domain::error::UserError;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Connection, Row, Transaction};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A handle on the database; clones share the connections.
#[derive(Clone)]
pub struct Database {
    pub pool: AnyPool,
    kind: DatabaseKind,
    /// Where it is, for those who need a connection of their own. It may hold a password.
    url: Arc<str>,
}

/// What the database is. The statements are the same for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file that one process uses.
    Sqlite,
    /// A server, which several processes use.
    Postgres,
}

/// The number of the lock that stands for the right to write; any would do.
const WRITE_LOCK: i64 = 0x6179_6172;

impl Database {
    /// Connects and brings the tables up to date. Without a URL, a SQLite file at `default_file`, made if missing.
    ///
    /// # Errors
    /// Another kind of database, one that cannot be reached, or one that a newer program has changed.
    pub async fn open(url: Option<&str>, default_file: &Path) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let url = match url {
            Some(url) => url.to_string(),
            None => sqlite_url(default_file)?,
        };
        let kind = DatabaseKind::of(Some(&url))?;
        let options = AnyPoolOptions::new().acquire_timeout(Duration::from_secs(30));
        let options = match kind {
            DatabaseKind::Sqlite => for_sqlite(options),
            // Those who write wait for each other; the others read.
            DatabaseKind::Postgres => options.max_connections(16),
        };
        let pool = options.connect(&url).await.map_err(|error| not_opened(kind, error))?;
        // On PostgreSQL this waits for another server that is at it; a SQLite file is guarded by its folder's lock.
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool, kind, url: url.into() })
    }

    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// To be kept out of logs and answers: it may hold a password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A transaction that reads before it writes: nobody else writes in such a one until it ends, on whatever server.
    ///
    /// SQLite takes the write lock at once: taken later, it could be refused without waiting, because what was read may
    /// be old by then. PostgreSQL would let two of them read the same and write by it; a lock of that name gives the
    /// same guarantee, and every statement after it sees what the one before has left.
    pub async fn begin_write(&self) -> Result<Transaction<'static, Any>> {
        if self.kind == DatabaseKind::Sqlite {
            return Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?);
        }
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITE_LOCK).execute(&mut *transaction).await?;
        Ok(transaction)
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

impl DatabaseKind {
    /// That of a URL; without one it is SQLite.
    ///
    /// # Errors
    /// Another kind.
    pub fn of(url: Option<&str>) -> Result<Self> {
        let Some(url) = url else { return Ok(Self::Sqlite) };
        match url.split(':').next().unwrap_or_default() {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" | "postgresql" => Ok(Self::Postgres),
            // The rest of it is not repeated: it may hold a password.
            scheme => Err(UserError::invalid(format!(
                "The database URL starts with \"{scheme}:\". It has to be like sqlite:///var/lib/ayar/ayar.db?mode=rwc or \
                 postgres://ayar:password@localhost/ayar."
            ))
            .into()),
        }
    }
}

/// A person has to be told where to look: this is the first thing that goes wrong with a database server.
fn not_opened(kind: DatabaseKind, error: sqlx::Error) -> ServiceError {
    match (kind, &error) {
        (DatabaseKind::Postgres, sqlx::Error::Io(_) | sqlx::Error::Database(_) | sqlx::Error::PoolTimedOut) => {
            UserError::internal(format!(
                "The PostgreSQL server of the database URL does not let us in: {error}. Is it running, and are host, user, \
                 password and the name of the database right?"
            ))
            .into()
        }
        _ => error.into(),
    }
}

fn for_sqlite(options: AnyPoolOptions) -> AnyPoolOptions {
    options
        // There is one writer at a time; more connections only help readers.
        .max_connections(8)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // Before anything else, so that the others wait for a lock instead of failing.
                sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut *connection).await?;
                // Readers do not wait for the writer. With the log, NORMAL cannot corrupt the file; after a power cut
                // the last moments may be missing, and a run then goes on from its checkpoint.
                sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await?;
                sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *connection).await?;
                sqlx::query("PRAGMA foreign_keys = ON").execute(&mut *connection).await?;
                Ok(())
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // On a full disk SQLite ends a transaction by itself, and the driver's count of open ones stays wrong:
                // such a connection would refuse every later transaction. It is given up instead.
                let Ok(probe) = connection.begin_with("BEGIN").await else { return Ok(false) };
                Ok(probe.rollback().await.is_ok())
            })
        })
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
        let error = Database::open(Some("mysql://me:secret@localhost/ayar"), Path::new("unused")).await.err().unwrap();
        assert!(error.to_string().contains("\"mysql:\"") && !error.to_string().contains("secret"), "{error}");
    }

    #[tokio::test]
    async fn a_database_server_that_is_not_there_is_told_in_words() {
        let url = "postgres://me:secret@127.0.0.1:1/ayar";
        let error = Database::open(Some(url), Path::new("unused")).await.err().unwrap();
        assert!(error.to_string().contains("Is it running") && !error.to_string().contains("secret"), "{error}");
    }

    /// On whichever database the tests run.
    #[tokio::test(flavor = "multi_thread")]
    async fn two_that_open_at_once_make_the_tables_once_and_write_one_after_the_other() {
        let own = crate::test_support::OwnDatabase::new();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ayar.db");
        let Some(url) = own.url() else { return };
        let (first, second) = tokio::join!(Database::open(Some(&url), &file), Database::open(Some(&url), &file));
        let databases = [first.unwrap(), second.unwrap()];

        // Each reads, waits, and writes what it read plus one.
        let added = (0..20).map(|place| {
            let database = databases[place % 2].clone();
            tokio::spawn(async move {
                let mut transaction = database.begin_write().await.unwrap();
                let row = sqlx::query("SELECT value FROM counters WHERE name = 'run'")
                    .fetch_one(&mut *transaction)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                sqlx::query("UPDATE counters SET value = $1 WHERE name = 'run'")
                    .bind(row.get::<i64, _>("value") + 1)
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
            })
        });
        for added in added.collect::<Vec<_>>() {
            added.await.unwrap();
        }
        assert_eq!(databases[0].next_number("run").await.unwrap(), 21);
    }
}
