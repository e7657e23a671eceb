//! Which of several servers on one PostgreSQL does what only one may do at a time: downloads, exports, sweeps. It is the
//! one that holds a lock of the database's; when its connection ends, for whatever reason, another one gets it. On SQLite
//! it is the only one.
//!
//! For the moment between a lost connection and the word of it two may be at work; every claim is guarded in its table, so
//! that each piece of work is still done by one of them.

use crate::db::{Database, DatabaseKind};
use crate::error::Result;
use crate::exports::Exports;
use crate::models::Models;
use sqlx::{Connection, PgConnection, Row};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// The number of the lock; any would do that nothing else uses.
const LEADER_LOCK: i64 = 0x6179_6173;
/// How often the lock is tried, and whether the connection stands is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Work that another server has queued is found after this long.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// Clones look at the same.
#[derive(Clone)]
pub(crate) struct Leader {
    is_here: watch::Receiver<bool>,
    has_others: bool,
}

impl Leader {
    /// With the task that holds the lock, if there has to be one; to be aborted at the end. Whenever this server becomes
    /// the one, downloads and exports that the last one was at are queued again.
    pub fn start(db: &Database, models: Models, exports: Exports) -> (Self, Option<JoinHandle<()>>) {
        if db.kind() == DatabaseKind::Sqlite {
            // The sender may go: what was sent stays.
            return (Self { is_here: watch::channel(true).1, has_others: false }, None);
        }
        let (told, is_here) = watch::channel(false);
        let url = db.url().to_string();
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = hold(&url, &told, &models, &exports).await {
                    tracing::warn!(%error, "the lock of the server that leads was lost; trying again");
                }
                told.send_replace(false);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        (Self { is_here, has_others: true }, Some(task))
    }

    /// Waits until this server is the one, or until it ends.
    pub async fn turn(&self) {
        let mut is_here = self.is_here.clone();
        // An error says that the task has ended with the server.
        let _ = is_here.wait_for(|is_here| *is_here).await;
    }

    /// Waits for word that something is to be done. That of other servers does not come; so it looks now and then.
    pub async fn rest(&self, word: &Notify) {
        if !self.has_others {
            return word.notified().await;
        }
        // Either way it is time to look.
        let _ = tokio::time::timeout(POLL_EVERY, word.notified()).await;
    }
}

/// Waits for the lock and keeps it as long as the connection stands.
async fn hold(url: &str, told: &watch::Sender<bool>, models: &Models, exports: &Exports) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    loop {
        let row = sqlx::query("SELECT pg_try_advisory_lock($1) AS is_ours")
            .bind(LEADER_LOCK)
            .fetch_one(&mut connection)
            .await?;
        if row.try_get("is_ours")? {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    models.recover().await?;
    exports.recover().await?;
    tracing::info!("this server does what one server does for all");
    told.send_replace(true);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        connection.ping().await?;
    }
}
