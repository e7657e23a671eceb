//! A database of a test's own on the PostgreSQL server that AYAR_TEST_DATABASE names, such as
//! `postgres://postgres@127.0.0.1:5433`. Without it tests use SQLite.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::sync::atomic::{AtomicU64, Ordering};

/// Gone again when it is dropped.
pub struct OwnDatabase {
    /// The server and the name of the database on it.
    on_server: Option<(String, String)>,
}

impl OwnDatabase {
    pub fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let Ok(server) = std::env::var("AYAR_TEST_DATABASE") else { return Self { on_server: None } };
        let name = format!("ayar_test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        on_the_server(&server, format!("CREATE DATABASE {name}"));
        Self { on_server: Some((server, name)) }
    }

    /// None: a SQLite file in the test's folder.
    pub fn url(&self) -> Option<String> {
        self.on_server.as_ref().map(|(server, name)| format!("{server}/{name}"))
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.on_server {
            // Connections of a service that has not been shut down are cut.
            on_the_server(server, format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// On a thread with a runtime of its own: a test's runtime cannot wait for itself.
fn on_the_server(server: &str, statement: String) {
    let url = format!("{server}/postgres");
    let done = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await?;
            connection.execute(AssertSqlSafe(statement)).await?;
            connection.close().await
        })
    });
    done.join().unwrap().unwrap();
}
