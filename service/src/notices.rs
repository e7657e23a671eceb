//! What servers on one PostgreSQL tell each other, by LISTEN and NOTIFY. A notice only says where to look: the tables are
//! the truth, and whoever missed some looks everywhere. On SQLite nobody else is there to be told.

use crate::db::{Database, DatabaseKind};
use crate::deployments::Deployments;
use crate::error::Result;
use crate::feed::Feed;
use crate::runs::Runs;
use domain::run::RunId;
use sqlx::postgres::PgListener;
use sqlx::{Any, Transaction};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

const CHANNEL: &str = "ayar";
/// How long to wait before the next try where the database cannot be reached.
const AFTER_TROUBLE: Duration = Duration::from_secs(2);

/// Something that another server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A run has a new event.
    Event(RunId),
    /// The status of a run has changed, which is an event, too.
    Status(RunId),
    /// A deployment was made, moved or removed.
    Deployments,
    /// Some may have been missed.
    Anything,
}

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Notices {
    db: Database,
    process: ProcessId,
}

/// Those who have to know what other servers do.
pub(crate) struct Listener {
    pub runs: Runs,
    pub feed: Feed,
    pub deployments: Deployments,
}

/// The word that tells this process from all others, those before it included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId(Arc<str>);

impl ProcessId {
    pub fn new() -> Self {
        // Every `RandomState` has keys from the system's random numbers.
        Self(format!("{:016x}", RandomState::new().hash_one(1_u8)).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Notices {
    pub fn new(db: Database, process: ProcessId) -> Self {
        Self { db, process }
    }

    /// Reaches the others when the transaction is through. One that is told twice in it comes once.
    pub async fn tell(&self, transaction: &mut Transaction<'static, Any>, notice: Notice) -> Result<()> {
        if self.db.kind() == DatabaseKind::Sqlite {
            return Ok(());
        }
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(format!("{} {}", self.process.as_str(), notice.words()))
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }

    /// Hands on what the others tell, until it is dropped; [`Notice::Anything`] first, and whenever the connection was
    /// lost. On SQLite it waits for ever.
    pub async fn listen(self, listener: Listener) {
        if self.db.kind() == DatabaseKind::Sqlite {
            return std::future::pending().await;
        }
        loop {
            if let Err(error) = self.follow(&listener).await {
                tracing::warn!(%error, "the other servers cannot be heard; trying again");
            }
            tokio::time::sleep(AFTER_TROUBLE).await;
        }
    }

    async fn follow(&self, listener: &Listener) -> Result<()> {
        let mut connection = PgListener::connect(self.db.url()).await?;
        connection.listen(CHANNEL).await?;
        listener.hear(Notice::Anything).await;
        loop {
            match connection.try_recv().await? {
                Some(told) => {
                    if let Some(notice) = self.told_elsewhere(told.payload()) {
                        listener.hear(notice).await;
                    }
                }
                // The connection was lost, and is there again.
                None => listener.hear(Notice::Anything).await,
            }
        }
    }

    /// None: our own, or words of a newer program.
    fn told_elsewhere(&self, payload: &str) -> Option<Notice> {
        let (process, words) = payload.split_once(' ')?;
        if process == self.process.as_str() {
            return None;
        }
        Notice::parse(words)
    }
}

impl Listener {
    async fn hear(&self, notice: Notice) {
        let heard = match notice {
            Notice::Event(run) => self.feed.hear(run).await,
            Notice::Status(run) => {
                self.runs.wake();
                self.feed.hear(run).await
            }
            Notice::Deployments => self.deployments.hear().await,
            Notice::Anything => {
                self.runs.wake();
                self.feed.look_again();
                self.deployments.hear().await
            }
        };
        if let Err(error) = heard {
            tracing::warn!(%error, ?notice, "what another server did could not be read; the next notice shows it, too");
        }
    }
}

impl Notice {
    fn words(self) -> String {
        match self {
            Self::Event(run) => format!("event {run}"),
            Self::Status(run) => format!("status {run}"),
            Self::Deployments => "deployments".to_string(),
            Self::Anything => "anything".to_string(),
        }
    }

    fn parse(words: &str) -> Option<Self> {
        match words.split_once(' ') {
            Some(("event", run)) => run.parse().ok().map(Self::Event),
            Some(("status", run)) => run.parse().ok().map(Self::Status),
            None if words == "deployments" => Some(Self::Deployments),
            None if words == "anything" => Some(Self::Anything),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        for notice in [Notice::Event(7), Notice::Status(i64::MAX), Notice::Deployments, Notice::Anything] {
            assert_eq!(Notice::parse(&notice.words()), Some(notice));
        }
        for strange in ["", "event", "event x", "event 1 2", "sale 7"] {
            assert_eq!(Notice::parse(strange), None, "{strange}");
        }
        assert_ne!(ProcessId::new(), ProcessId::new());
    }
}
