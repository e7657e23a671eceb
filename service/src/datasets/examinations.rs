//! The thread that examines versions, one after the other, and what it has found so far.
//!
//! A version is examined when it is made and when somebody asks. What was found is stored beside the version; what waits
//! is not, since whoever wants to see it asks again after a restart.

use super::examined::{Examined, ExaminedRows};
use super::versions::verdict_word;
use super::{Datasets, blocking};
use crate::doctor::{self, Surroundings};
use crate::error::{Result, ServiceError};
use crate::models::{BasePath, Models};
use crate::token_counter::TokenCounter;
use crate::worker::{StopSignal, words_of};
use domain::catalogue::OWN_MODEL;
use domain::dataset::DatasetId;
use domain::finding::{Examination, ExaminationState};
use domain::version::VersionNumber;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Examinations that are kept in memory, and the rows that their groups name in all.
const KEPT: usize = 8;
const KEPT_ROWS: usize = 32 << 20;
/// Failures that are remembered.
const KEPT_FAILURES: usize = 100;
/// Most versions that wait; those that were asked for longest ago are not examined until somebody asks again.
const MAX_WAITING: usize = 1000;
/// Share of an examination from which on the time left can be told.
const TELLING_SHARE: f64 = 0.05;

type Key = (DatasetId, VersionNumber);

/// What waits, what is being examined, and what has been.
#[derive(Default)]
pub(super) struct Examinations {
    state: Mutex<State>,
    /// Wakes the thread.
    asked: Notify,
}

#[derive(Default)]
struct State {
    /// The one that was asked for last stands last and is examined next.
    waiting: Vec<Key>,
    working: Option<Working>,
    /// With the reasons, the latest last.
    failed: Vec<(Key, String)>,
    /// Those that were read last stand last.
    kept: Vec<(Key, Arc<Examined>)>,
}

struct Working {
    key: Key,
    step: String,
    share: f64,
    started: Instant,
}

impl Datasets {
    /// Where the examination of a version stands, of the newest one where none is named. One that has not been
    /// examined is from now on waiting for it.
    ///
    /// # Errors
    /// There is no such dataset or version.
    pub async fn examination(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<ExaminationState> {
        let number = self.record(id, version).await?.version.number;
        let datasets = self.clone();
        if let Some(examined) = blocking(move || datasets.examined(id, number)).await? {
            return Ok(ExaminationState::Done { examination: Box::new(examined.examination.clone()) });
        }
        let key = (id, number);
        let mut state = self.shared.examinations.lock();
        if let Some(working) = state.working.as_ref().filter(|working| working.key == key) {
            return Ok(working.tell());
        }
        if let Some((_, reason)) = state.failed.iter().find(|(failed, _)| *failed == key) {
            return Ok(ExaminationState::Failed { reason: reason.clone() });
        }
        if !state.waiting.contains(&key) {
            state.wait(key);
            self.shared.examinations.asked.notify_one();
        }
        Ok(ExaminationState::Waiting)
    }

    /// Examines a version anew: an earlier attempt has failed, or what it is held against has changed, such as the
    /// frozen test set.
    ///
    /// # Errors
    /// There is no such dataset or version, or what was found before cannot be removed.
    pub async fn examine_again(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<ExaminationState> {
        let number = self.record(id, version).await?.version.number;
        let folder = self.files.examination(id, number);
        blocking(move || crate::files::remove_folder(&folder)).await?;
        {
            let mut state = self.shared.examinations.lock();
            state.failed.retain(|(key, _)| *key != (id, number));
            state.kept.retain(|(key, _)| *key != (id, number));
        }
        self.shared.searches.forget(id);
        self.examination(id, Some(number)).await
    }

    /// A version has been made. Those of the same dataset that still wait would be out of date before they are looked
    /// at.
    pub(super) fn examine_soon(&self, id: DatasetId, version: VersionNumber) {
        let mut state = self.shared.examinations.lock();
        state.waiting.retain(|(dataset, _)| *dataset != id);
        state.wait((id, version));
        self.shared.examinations.asked.notify_one();
    }

    /// Which rows have which findings; `None` as long as the version has not been examined. Blocks.
    pub(super) fn examined_rows(&self, id: DatasetId, version: VersionNumber) -> Result<Option<Arc<ExaminedRows>>> {
        Ok(self.examined(id, version)?.map(|examined| examined.rows.clone()))
    }

    /// What has been found in a version. Blocks.
    pub(super) fn examined(&self, id: DatasetId, version: VersionNumber) -> Result<Option<Arc<Examined>>> {
        let key = (id, version);
        if let Some(examined) = self.shared.examinations.lock().kept(key) {
            return Ok(Some(examined));
        }
        let examined = match Examined::read(&self.files.examination(id, version)) {
            Ok(Some(examined)) => Arc::new(examined),
            Ok(None) => return Ok(None),
            Err(error) => {
                // It can be found out again.
                tracing::warn!(%error, dataset = id, version, "an examination cannot be read and will be done again");
                return Ok(None);
            }
        };
        self.shared.examinations.lock().keep(key, examined.clone());
        Ok(Some(examined))
    }

    /// Starts the thread. It ends when the signal is asked and [`Datasets::wake`] is called.
    pub(crate) fn start_examiner(&self, models: Models, stop: StopSignal) -> Result<JoinHandle<()>> {
        let examiner = Examiner { datasets: self.clone(), models, stop, handle: Handle::current() };
        std::thread::Builder::new()
            .name("examiner".to_string())
            .spawn(move || examiner.work())
            .map_err(|error| ServiceError::io("examiner thread".as_ref(), error))
    }

    /// So that the thread looks at what waits and at its signal.
    pub(crate) fn wake(&self) {
        self.shared.examinations.asked.notify_one();
    }
}

struct Examiner {
    datasets: Datasets,
    models: Models,
    stop: StopSignal,
    handle: Handle,
}

impl Examiner {
    fn work(&self) {
        let examinations = &self.datasets.shared.examinations;
        while !self.stop.is_asked() {
            let next = examinations.lock().begin();
            match next {
                Some(key) => self.carry_out(key),
                // A notice that came since the list was found empty is kept until here.
                None => self.handle.block_on(examinations.asked.notified()),
            }
        }
    }

    fn carry_out(&self, key: Key) {
        let (dataset, version) = key;
        // A panic must cost this examination only.
        let examined = catch_unwind(AssertUnwindSafe(|| self.examine(key)))
            .unwrap_or_else(|panic| Err(ServiceError::Panicked(words_of(panic.as_ref()))));
        let mut state = self.datasets.shared.examinations.lock();
        state.working = None;
        match examined {
            Ok(examined) => {
                tracing::info!(dataset, version, seconds = examined.examination.seconds, "examined");
                state.keep(key, Arc::new(examined));
            }
            Err(_) if self.stop.is_asked() => {}
            Err(error) => {
                let reason = error.reason();
                tracing::error!(dataset, version, %reason, "an examination failed");
                state.fail(key, reason);
            }
        }
    }

    fn examine(&self, key: Key) -> Result<Examined> {
        let (id, version) = key;
        let snapshot = self.handle.block_on(self.datasets.snapshot(id, Some(version)))?;
        let counter = self.token_counter(snapshot.labels());
        let tokens = counter.as_ref().map(|counter| |text: &str| counter.tokens(text));
        let frozen = self.handle.block_on(self.datasets.frozen_rows_in_force(id))?;
        let surroundings = Surroundings {
            rejected: snapshot.rejected(),
            tokens: tokens.as_ref().map(|tokens| tokens as &(dyn Fn(&str) -> usize + Sync)),
            max_length: counter.as_ref().map_or(usize::MAX, TokenCounter::max_length),
            frozen_test: frozen.as_ref(),
        };
        let report = doctor::examine(&snapshot, &surroundings, version, &mut |step, share| {
            self.datasets.shared.examinations.lock().tell(step, share);
            if self.stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let examined = Examined::new(report);
        // First, so that whoever sees the report finds the verdict in lists, too.
        self.handle.block_on(self.store_verdict(key, &examined.examination))?;
        examined.write(&self.datasets.files.examination(id, version))?;
        Ok(examined)
    }

    async fn store_verdict(&self, (id, version): Key, examination: &Examination) -> Result<()> {
        sqlx::query("UPDATE dataset_versions SET verdict = $3 WHERE dataset_id = $1 AND number = $2")
            .bind(id)
            .bind(version)
            .bind(verdict_word(examination.health.verdict))
            .execute(&self.datasets.db.pool)
            .await?;
        Ok(())
    }

    /// Without a model that can be read, the lengths in tokens are left out; the other findings do not need it.
    fn token_counter(&self, labels: &[String]) -> Option<TokenCounter> {
        let read = || -> Result<TokenCounter> {
            let base: BasePath = self.handle.block_on(self.models.base(OWN_MODEL))?;
            Ok(TokenCounter::new(self.models.reader(&base)?, labels))
        };
        read().map_err(|error| tracing::warn!(%error, "texts are examined without counting their tokens")).ok()
    }
}

impl Examinations {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, key: Key) {
        self.waiting.retain(|waiting| *waiting != key);
        self.waiting.push(key);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.remove(0);
        }
    }

    fn begin(&mut self) -> Option<Key> {
        let key = self.waiting.pop()?;
        self.working = Some(Working { key, step: String::new(), share: 0.0, started: Instant::now() });
        Some(key)
    }

    fn tell(&mut self, step: &str, share: f64) {
        let Some(working) = &mut self.working else { return };
        if working.step != step {
            working.step = step.to_string();
        }
        working.share = share.clamp(0.0, 1.0);
    }

    fn fail(&mut self, key: Key, reason: String) {
        self.failed.push((key, reason));
        if self.failed.len() > KEPT_FAILURES {
            self.failed.remove(0);
        }
    }

    fn kept(&mut self, key: Key) -> Option<Arc<Examined>> {
        let place = self.kept.iter().position(|(kept, _)| *kept == key)?;
        let kept = self.kept.remove(place);
        let examined = kept.1.clone();
        self.kept.push(kept);
        Some(examined)
    }

    fn keep(&mut self, key: Key, examined: Arc<Examined>) {
        self.kept.retain(|(kept, _)| *kept != key);
        self.kept.push((key, examined));
        let mut rows: usize = self.kept.iter().map(|(_, examined)| examined.grouped_rows()).sum();
        while self.kept.len() > 1 && (self.kept.len() > KEPT || rows > KEPT_ROWS) {
            rows -= self.kept.remove(0).1.grouped_rows();
        }
    }
}

impl Working {
    fn tell(&self) -> ExaminationState {
        let seconds = self.started.elapsed().as_secs_f64();
        let seconds_left = (self.share >= TELLING_SHARE).then(|| seconds * (1.0 - self.share) / self.share);
        ExaminationState::Working { step: self.step.clone(), share: self.share, seconds, seconds_left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_asked_for_last_is_examined_first() {
        let mut state = State::default();
        for key in [(1, 1), (2, 1), (1, 2), (2, 1)] {
            state.wait(key);
        }
        assert_eq!(std::iter::from_fn(|| state.begin()).collect::<Vec<_>>(), [(2, 1), (1, 2), (1, 1)]);
    }

    #[test]
    fn the_time_left_follows_from_what_is_done() {
        let started = Instant::now() - std::time::Duration::from_secs(30);
        let mut working = Working { key: (1, 1), step: "near duplicates".to_string(), share: 0.75, started };
        let ExaminationState::Working { step, share, seconds, seconds_left: Some(left) } = working.tell() else {
            panic!("it is at work")
        };
        assert_eq!((step.as_str(), share), ("near duplicates", 0.75));
        assert!((30.0..31.0).contains(&seconds) && (10.0..10.5).contains(&left), "{seconds} {left}");
        working.share = 0.01;
        assert!(matches!(working.tell(), ExaminationState::Working { seconds_left: None, .. }));
    }
}
