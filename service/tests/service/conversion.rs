//! A data folder of the program as it was before datasets had versions.

use crate::support::{Place, told};
use domain::dataset::{RejectedRow, Row};
use domain::version::{NOBODY, RowQuery, VersionCause};
use service::{Service, ServiceConfig};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::path::Path;

/// The tables as the first two migrations make them.
async fn old_database(folder: &Path) -> SqlitePool {
    let migrations = tempfile::tempdir().unwrap();
    for name in ["0001_start.sql", "0002_models_and_exports.sql"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
        std::fs::copy(from, migrations.path().join(name)).unwrap();
    }
    let options = SqliteConnectOptions::new().filename(folder.join("ayar.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    Migrator::new(migrations.path()).await.unwrap().run(&pool).await.unwrap();
    pool
}

/// There was nothing but SQLite then.
async fn open(place: &Place) -> Service {
    Service::open(ServiceConfig { database_url: None, ..place.config() }).await.unwrap()
}

fn json_lines<T: serde::Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_without_versions_becomes_version_one_and_loses_nothing() {
    let place = Place::new();
    let pool = old_database(place.path()).await;
    let rows: Vec<Row> = (0..40)
        .map(|i| Row {
            line: i + 2,
            text: format!("line\nbreak \"{i}\" ñ"),
            label: ["up", "down"][i as usize % 2].into(),
        })
        .collect();
    let rejected = [RejectedRow { line: 42, reason: "empty text".into(), excerpt: ",up".into() }];
    for id in [3, 4] {
        sqlx::query(
            "INSERT INTO datasets (id, upload, name, file_name, text_column, label_column, row_count, rejected_count, \
             labels, created_at_ms) VALUES ($1, 'u' || $1, 'News', 'news.csv', 'headline', 'kind', 40, 1, \
             '[{\"label\":\"down\",\"rows\":20},{\"label\":\"up\",\"rows\":20}]', 1234)",
        )
        .bind(id)
        .execute(&pool)
        .await
        .unwrap();
        let folder = place.path().join(format!("datasets/{id}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("rows.jsonl"), json_lines(&rows)).unwrap();
        std::fs::write(folder.join("rejected.jsonl"), json_lines(&rejected)).unwrap();
    }
    sqlx::query("UPDATE counters SET value = 4 WHERE name = 'dataset'").execute(&pool).await.unwrap();
    pool.close().await;
    // The rows of one are damaged; and of the other an earlier attempt came only half-way.
    std::fs::write(place.path().join("datasets/4/rows.jsonl"), "{\"line\":1,").unwrap();
    std::fs::create_dir_all(place.path().join("datasets/3/segments/0")).unwrap();
    std::fs::create_dir_all(place.path().join("datasets/3/conversion.partial")).unwrap();

    for _ in 0..2 {
        let service = open(&place).await;
        let list = service.datasets.list().await.unwrap();
        assert_eq!(list.len(), 1, "the damaged one is left out");
        assert_eq!((list[0].id, list[0].version, list[0].rows, list[0].rejected), (3, 1, 40, 1));
        assert_eq!(service.datasets.load(3, None).await.unwrap(), rows);
        assert_eq!(service.datasets.rejected(3, 0).await.unwrap(), (rejected.to_vec(), 1));
        let versions = service.datasets.versions(3).await.unwrap();
        assert_eq!(versions.len(), 1);
        let first = &versions[0];
        assert_eq!((first.by.as_str(), first.at_ms, first.rows, first.added), (NOBODY, 1234, 40, 40));
        assert_eq!(first.cause, VersionCause::Imported { file_name: "news.csv".to_string() });
        assert_eq!(first.labels, list[0].labels);
        let all = RowQuery { count: 100, ..RowQuery::default() };
        assert_eq!(service.datasets.rows(3, &all).await.unwrap().matching, 40);
        assert!(told(service.datasets.rows(4, &all).await.unwrap_err()).message.contains("version"));
        service.shutdown().await;
    }
    assert!(!place.path().join("datasets/3/rows.jsonl").exists());
    assert!(place.path().join("datasets/4/rows.jsonl").exists(), "what could not be read is left as it was");
}
