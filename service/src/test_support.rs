//! A database of a test's own, and rows in it that need no engine.

use crate::db::Database;
use crate::error::Result;
use domain::run::{NewRun, RunId, RunStatus};
use domain::spec::TrainSpec;
use std::path::Path;

#[path = "../tests/service/own_database.rs"]
mod own_database;
pub use own_database::OwnDatabase;

/// Where a test's database is, as long as the test runs.
pub struct Place {
    // Dropped in this order.
    _database: OwnDatabase,
    folder: tempfile::TempDir,
}

impl Place {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

pub async fn database() -> (Place, Database) {
    let folder = tempfile::tempdir().unwrap();
    let own = OwnDatabase::new();
    let database = Database::open(own.url().as_deref(), &folder.path().join("ayar.db")).await.unwrap();
    sqlx::query(
        "INSERT INTO datasets (id, upload, name, file_name, text_column, label_column, row_count, rejected_count, \
         labels, created_at_ms) VALUES (1, 'u', 'News', 'news.csv', 'text', 'label', 0, 0, '[]', 0)",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    (Place { _database: own, folder }, database)
}

pub async fn insert_run(database: &Database, id: RunId, status: RunStatus) -> Result<()> {
    let request = NewRun {
        name: format!("run {id}"),
        dataset_id: 1,
        dataset_version: None,
        split: Default::default(),
        spec: TrainSpec::default(),
        base_model: 0,
        start_from: None,
        time_limit_minutes: None,
    };
    sqlx::query(
        "INSERT INTO runs (id, name, status, queue_order, dataset_id, base_model, request, labels, train_rows, \
         validation_rows, test_rows, progress, created_at_ms) VALUES ($1, $2, $3, $1, 1, 'b', $4, '[]', 0, 0, 0, 0.0, 0)",
    )
    .bind(id)
    .bind(&request.name)
    .bind(status.as_str())
    .bind(crate::db::to_json(&request)?)
    .execute(&database.pool)
    .await?;
    Ok(())
}
