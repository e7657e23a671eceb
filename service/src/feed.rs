//! The history of each run: stored first, then told to those who watch.
//!
//! The table is the truth. A watcher subscribes first and then reads what it has not seen, so that nothing falls between
//! the two; what then comes live is taken only if it is the very next event. Anything else (too slow and overtaken, two
//! writers at once) sends it back to the table. So a watcher sees every event once and in order, however it is
//! disturbed. What another server records comes the same way: its notice has the table read, once for all who watch here.
//!
//! An event is turned into JSON once, however many watch.

use crate::Clock;
use crate::db::{Database, json_column, to_json};
use crate::error::Result;
use crate::notices::{Notice, Notices};
use domain::run::{RunEvent, RunId, StoredEvent};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

/// Most events that a watcher is given at once.
pub const BATCH: usize = 1000;
/// Events that wait for a slow watcher before it has to go back to the table.
const WAITING: usize = 1024;
/// The number of no event: watchers that get it look at the table, as they do at every gap.
const LOOK: i64 = i64::MAX;

/// Recording and watching. Clones share everything.
#[derive(Clone)]
pub struct Feed {
    db: Database,
    clock: Clock,
    /// Who watches which run; `None` once the feed is closed.
    watchers: Arc<Mutex<Option<Watchers>>>,
    notices: Notices,
}

type Watchers = HashMap<RunId, Channel>;

/// The way to a run's watchers here.
struct Channel {
    sender: broadcast::Sender<Told>,
    /// The last event that went this way; 0: none yet.
    told: i64,
}

/// An event as it is sent: the JSON of a [`StoredEvent`]. Clones share it.
#[derive(Clone, Debug)]
pub struct Told {
    pub seq: i64,
    pub json: Arc<str>,
}

/// One viewer's place in a run's history.
pub struct Watch {
    db: Database,
    run: RunId,
    /// The last event that was given out.
    seen: i64,
    live: broadcast::Receiver<Told>,
    /// The table may hold events that have not been given out.
    is_behind: bool,
}

impl Feed {
    pub(crate) fn new(db: Database, notices: Notices, clock: Clock) -> Self {
        Self { db, clock, watchers: Arc::new(Mutex::new(Some(HashMap::new()))), notices }
    }

    /// Stores an event and tells it to those who watch.
    pub async fn record(&self, run: RunId, event: RunEvent) -> Result<StoredEvent> {
        let mut transaction = self.db.begin_write().await?;
        let stored = self.insert(&mut transaction, run, (self.clock)(), event).await?;
        transaction.commit().await?;
        self.announce(run, std::slice::from_ref(&stored));
        Ok(stored)
    }

    /// Stores an event as part of a larger change. The transaction holds the write lock, so the number after the last
    /// one is free. To be announced once the transaction is through.
    pub(crate) async fn insert(
        &self,
        transaction: &mut Transaction<'static, Any>,
        run: RunId,
        at_ms: i64,
        event: RunEvent,
    ) -> Result<StoredEvent> {
        let row = sqlx::query(
            "INSERT INTO run_events (run_id, seq, at_ms, event) SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3 \
             FROM run_events WHERE run_id = $1 RETURNING seq",
        )
        .bind(run)
        .bind(at_ms)
        .bind(to_json(&event)?)
        .fetch_all(&mut **transaction)
        .await?
        .pop()
        .ok_or(sqlx::Error::RowNotFound)?;
        let is_status = matches!(event, RunEvent::Status { .. });
        self.notices.tell(transaction, if is_status { Notice::Status(run) } else { Notice::Event(run) }).await?;
        Ok(StoredEvent { seq: row.try_get("seq")?, at_ms, event })
    }

    /// Hurries events that are stored to those who watch.
    pub(crate) fn announce(&self, run: RunId, events: &[StoredEvent]) {
        let told = events.iter().filter_map(|event| match serde_json::to_string(event) {
            Ok(json) => Some(Told { seq: event.seq, json: json.into() }),
            Err(error) => {
                // It is in the table; the next one sends the watchers there.
                tracing::error!(%error, run, seq = event.seq, "an event cannot be written as JSON");
                None
            }
        });
        self.send(run, told);
    }

    fn send(&self, run: RunId, events: impl Iterator<Item = Told>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watchers) = watchers.as_mut() else { return };
        let Some(channel) = watchers.get_mut(&run) else { return };
        for event in events {
            if event.seq != LOOK {
                channel.told = channel.told.max(event.seq);
            }
            if channel.sender.send(event).is_err() {
                // The last watcher has gone.
                watchers.remove(&run);
                return;
            }
        }
    }

    /// Another server has recorded an event: reads it once for all who watch here.
    pub(crate) async fn hear(&self, run: RunId) -> Result<()> {
        match self.told(run) {
            None => Ok(()),
            // It is not known how far they are: each of them looks for itself.
            Some(0) => {
                let latest = self.latest(run).await?;
                self.send_to_the_table(run, latest);
                Ok(())
            }
            Some(told) => self.hand_on(run, told).await,
        }
    }

    /// Events may have been missed: all who watch look at the table.
    pub(crate) fn look_again(&self) {
        let runs: Vec<RunId> = match self.watchers.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(watchers) => watchers.keys().copied().collect(),
            None => return,
        };
        for run in runs {
            self.send_to_the_table(run, 0);
        }
    }

    /// None: nobody watches it here.
    fn told(&self, run: RunId) -> Option<i64> {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(watchers.as_ref()?.get(&run)?.told)
    }

    async fn latest(&self, run: RunId) -> Result<i64> {
        let row = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS latest FROM run_events WHERE run_id = $1")
            .bind(run)
            .fetch_one(&self.db.pool)
            .await?;
        Ok(row.try_get("latest")?)
    }

    /// `told`: as far as the table goes, at the least.
    fn send_to_the_table(&self, run: RunId, told: i64) {
        if let Some(Some(channel)) =
            self.watchers.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(|watchers| watchers.get_mut(&run))
        {
            channel.told = channel.told.max(told);
        }
        self.send(run, std::iter::once(Told { seq: LOOK, json: "".into() }));
    }

    async fn hand_on(&self, run: RunId, mut told: i64) -> Result<()> {
        loop {
            let events = told_in_table(&self.db, run, told).await?;
            let Some(last) = events.last() else { return Ok(()) };
            told = last.seq;
            let is_all = events.len() < BATCH;
            self.send(run, events.into_iter());
            if is_all {
                return Ok(());
            }
        }
    }

    /// Watches a run from the event after number `after` on; 0 for all of them.
    pub fn watch(&self, run: RunId, after: i64) -> Watch {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let live = match watchers.as_mut() {
            Some(watchers) => {
                // Runs that nobody watches any more need no place.
                watchers.retain(|_, channel| channel.sender.receiver_count() > 0);
                let new = || Channel { sender: broadcast::channel(WAITING).0, told: 0 };
                watchers.entry(run).or_insert_with(new).sender.subscribe()
            }
            // Its sender is gone at once: the watcher reads the table to its end and is through.
            None => broadcast::channel(1).1,
        };
        Watch { db: self.db.clone(), run, seen: after.max(0), live, is_behind: true }
    }

    /// The events after number `after`, at most [`BATCH`] of them.
    pub(crate) async fn read(&self, run: RunId, after: i64) -> Result<Vec<StoredEvent>> {
        let rows = batch(&self.db, run, after).await?;
        rows.iter().map(event_from).collect()
    }

    /// All events of a run so far.
    pub(crate) async fn history(&self, run: RunId) -> Result<Vec<StoredEvent>> {
        let rows = sqlx::query("SELECT seq, at_ms, event FROM run_events WHERE run_id = $1 ORDER BY seq")
            .bind(run)
            .fetch_all(&self.db.pool)
            .await?;
        rows.iter().map(event_from).collect()
    }

    /// Lets every watcher go once it has seen what is stored.
    pub(crate) fn close(&self) {
        *self.watchers.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Watch {
    /// As [`Watch::next_told`], read back.
    pub async fn next(&mut self) -> Option<Vec<StoredEvent>> {
        let events = self.next_told().await?;
        match events.iter().map(|event| serde_json::from_str(&event.json)).collect() {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::error!(%error, run = self.run, "a run's events cannot be read back");
                None
            }
        }
    }

    /// The next events, at least one and at most [`BATCH`]; waits until there are some. `None`: the service stops, or
    /// the table could not be read, which the log tells. Giving up the waiting loses nothing.
    pub async fn next_told(&mut self) -> Option<Vec<Told>> {
        loop {
            if self.is_behind {
                match self.read_table().await {
                    Ok(events) if events.is_empty() => self.is_behind = false,
                    Ok(events) => {
                        self.is_behind = events.len() == BATCH;
                        return self.give_out(events);
                    }
                    Err(error) => {
                        tracing::error!(%error, run = self.run, "a run's events could not be read");
                        return None;
                    }
                }
            }
            let mut events = Vec::new();
            match self.live.recv().await {
                Ok(event) => self.take_live(event, &mut events),
                Err(RecvError::Lagged(_)) => self.is_behind = true,
                Err(RecvError::Closed) => return self.read_to_the_end().await,
            }
            while !self.is_behind && events.len() < BATCH {
                match self.live.try_recv() {
                    Ok(event) => self.take_live(event, &mut events),
                    Err(TryRecvError::Lagged(_)) => self.is_behind = true,
                    // If it is closed, the next call finds that out.
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            if !events.is_empty() {
                return Some(events);
            }
        }
    }

    fn take_live(&mut self, event: Told, events: &mut Vec<Told>) {
        if event.seq <= self.seen {
            return;
        }
        if event.seq > self.seen + 1 {
            // One in between has not come; the table has it.
            self.is_behind = true;
            return;
        }
        self.seen = event.seq;
        events.push(event);
    }

    fn give_out(&mut self, events: Vec<Told>) -> Option<Vec<Told>> {
        self.seen = events.last()?.seq;
        Some(events)
    }

    async fn read_to_the_end(&mut self) -> Option<Vec<Told>> {
        // The database may be closed by now, too; then this is the end as well.
        let events = self.read_table().await.ok()?;
        self.give_out(events)
    }

    async fn read_table(&self) -> Result<Vec<Told>> {
        told_in_table(&self.db, self.run, self.seen).await
    }
}

/// The events after number `after`, at most [`BATCH`] of them. The table holds JSON already.
async fn told_in_table(db: &Database, run: RunId, after: i64) -> Result<Vec<Told>> {
    let rows = batch(db, run, after).await?;
    rows.iter()
        .map(|row| {
            let (seq, at_ms): (i64, i64) = (row.try_get("seq")?, row.try_get("at_ms")?);
            let event: &str = row.try_get("event")?;
            Ok(Told { seq, json: format!("{{\"seq\":{seq},\"at_ms\":{at_ms},\"event\":{event}}}").into() })
        })
        .collect()
}

async fn batch(db: &Database, run: RunId, after: i64) -> Result<Vec<AnyRow>> {
    let rows =
        sqlx::query("SELECT seq, at_ms, event FROM run_events WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(run)
            .bind(after)
            .bind(BATCH as i64)
            .fetch_all(&db.pool)
            .await?;
    Ok(rows)
}

fn event_from(row: &AnyRow) -> Result<StoredEvent> {
    Ok(StoredEvent { seq: row.try_get("seq")?, at_ms: row.try_get("at_ms")?, event: json_column(row, "event")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notices::ProcessId;
    use crate::test_support::{Place, database, insert_run};
    use domain::run::{LogLevel, RunStatus};

    fn event(number: usize) -> RunEvent {
        RunEvent::Log { level: LogLevel::Info, message: number.to_string() }
    }

    async fn feed() -> (Place, Feed) {
        let (folder, database) = database().await;
        insert_run(&database, 1, RunStatus::Running).await.unwrap();
        let notices = Notices::new(database.clone(), ProcessId::new());
        (folder, Feed::new(database, notices, || 7))
    }

    /// Takes events until there are so many, and sees to it that none is missing, double or out of order.
    async fn take(watch: &mut Watch, after: i64, count: usize) {
        let mut seen = Vec::new();
        while seen.len() < count {
            let events = watch.next().await.expect("the feed is open");
            assert!(!events.is_empty() && events.len() <= BATCH);
            seen.extend(events.into_iter().map(|event| event.seq));
        }
        assert_eq!(seen, (after + 1..=after + count as i64).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_gap_and_no_double_while_several_record() {
        const WRITERS: usize = 4;
        const EACH: usize = 150;
        let (_folder, feed) = feed().await;
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let feed = feed.clone();
            tasks.push(tokio::spawn(async move {
                for number in 0..EACH {
                    feed.record(1, event(writer * EACH + number)).await.unwrap();
                }
            }));
        }
        // Watchers come while events do, and begin at different places.
        for after in [0, 5, 40] {
            let feed = feed.clone();
            tasks.push(tokio::spawn(async move {
                take(&mut feed.watch(1, after), after, WRITERS * EACH - after as usize).await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(feed.history(1).await.unwrap().len(), WRITERS * EACH);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_watcher_that_was_overtaken_reads_the_table_again() {
        let (_folder, feed) = feed().await;
        let mut watch = feed.watch(1, 0);
        feed.record(1, event(0)).await.unwrap();
        take(&mut watch, 0, 1).await;
        // More than wait for it, and more than one batch.
        let count = WAITING + BATCH + 10;
        let mut transaction = feed.db.begin_write().await.unwrap();
        let mut stored = Vec::new();
        for number in 0..count {
            stored.push(feed.insert(&mut transaction, 1, 7, event(number)).await.unwrap());
        }
        transaction.commit().await.unwrap();
        feed.announce(1, &stored);
        take(&mut watch, 1, count).await;
        // And live again.
        feed.record(1, event(0)).await.unwrap();
        take(&mut watch, 1 + count as i64, 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_told_out_of_order_come_in_order() {
        let (_folder, feed) = feed().await;
        let mut watch = feed.watch(1, 0);
        assert!(feed.history(1).await.unwrap().is_empty());
        let mut stored = Vec::new();
        for number in 0..3 {
            let mut transaction = feed.db.begin_write().await.unwrap();
            stored.push(feed.insert(&mut transaction, 1, 7, event(number)).await.unwrap());
            transaction.commit().await.unwrap();
        }
        for place in [2, 0, 1, 0] {
            feed.announce(1, &stored[place..=place]);
        }
        take(&mut watch, 0, 3).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn when_the_feed_closes_watchers_see_the_rest_and_then_the_end() {
        let (_folder, feed) = feed().await;
        let mut watch = feed.watch(1, 0);
        feed.record(1, event(0)).await.unwrap();
        feed.close();
        feed.record(1, event(1)).await.unwrap();
        take(&mut watch, 0, 2).await;
        assert_eq!(watch.next().await, None);
        let mut late = feed.watch(1, 1);
        take(&mut late, 1, 1).await;
        assert_eq!(late.next().await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_who_watch_share_the_json_of_an_event_and_it_is_that_of_the_table() {
        let (_folder, feed) = feed().await;
        let (mut one, mut other) = (feed.watch(1, 0), feed.watch(1, 0));
        let first = feed.record(1, event(0)).await.unwrap();
        // Both have come to the end of the table.
        assert_eq!((one.next().await.unwrap(), other.next().await.unwrap()), (vec![first.clone()], vec![first]));
        for watch in [&mut one, &mut other] {
            assert!(tokio::time::timeout(std::time::Duration::from_millis(200), watch.next_told()).await.is_err());
        }
        let second = feed.record(1, event(1)).await.unwrap();
        let (live, same) = (one.next_told().await.unwrap(), other.next_told().await.unwrap());
        assert!(Arc::ptr_eq(&live[0].json, &same[0].json));
        let read = feed.watch(1, 1).next_told().await.unwrap();
        assert_eq!(read[0].json, live[0].json);
        assert_eq!(serde_json::from_str::<StoredEvent>(&read[0].json).unwrap(), second);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_is_not_there_has_no_history() {
        let (_folder, feed) = feed().await;
        assert!(feed.record(2, event(0)).await.is_err());
    }
}
