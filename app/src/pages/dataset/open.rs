use crate::api::findings::get_examination;
use crate::api::versions::newer_versions;
use crate::error::ApiError;
use crate::polled::{Polled, poll};
use crate::reviewer;
use domain::dataset::DatasetId;
use domain::finding::{Examination, ExaminationState};
use domain::version::{DatasetVersion, VersionNumber};
use leptos::prelude::*;
use std::time::Duration;

/// The dataset of this page and the version of it that is looked at.
#[derive(Clone, Copy)]
pub struct OpenDataset {
    pub id: DatasetId,
    /// Newest first; other people's come in by themselves.
    pub versions: Polled<Vec<DatasetVersion>>,
    pub newest: Memo<VersionNumber>,
    /// The one that the address asks for, else the newest.
    pub shown: Memo<VersionNumber>,
    /// The same in full.
    pub version: Memo<DatasetVersion>,
    /// What has just happened, for the bar at the bottom.
    pub news: RwSignal<Option<News>>,
    /// As typed; [`reviewer::by`] makes it what is sent.
    pub reviewer: RwSignal<String>,
    known: StoredValue<Vec<DatasetVersion>>,
    /// The newest version that this page made itself.
    own: StoredValue<VersionNumber>,
}

/// Something that the person should hear of, wherever they look on the page.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A version that was made here; it can be undone.
    Made(DatasetVersion),
    /// A version that somebody else made meanwhile.
    MadeByOthers(DatasetVersion),
    Refused(ApiError),
}

impl OpenDataset {
    /// `asked`: the version that the address names.
    pub fn new(id: DatasetId, versions: Vec<DatasetVersion>, asked: Memo<Option<VersionNumber>>) -> Self {
        let newest_now = versions.first().map_or(1, |version| version.number);
        let known = StoredValue::new(versions.clone());
        // They never change: only what is not known yet is fetched.
        let fetch = move || async move {
            let after = known.try_with_value(|known| known.first().map(|newest| newest.number)).flatten();
            let newer = newer_versions(id, after.unwrap_or_default()).await?;
            known.try_update_value(|known| newer.into_iter().rev().for_each(|version| add(known, version)));
            Ok(known.try_get_value().unwrap_or_default())
        };
        let versions = poll(versions, fetch, |_| false);
        let newest = Memo::new(move |_| versions.value.read().first().map_or(1, |version| version.number));
        let shown = Memo::new(move |_| {
            let is_there = |number: &VersionNumber| versions.value.read().iter().any(|each| each.number == *number);
            asked.get().filter(is_there).unwrap_or_else(|| newest.get())
        });
        let version = Memo::new(move |_| {
            let shown = shown.get();
            let versions = versions.value.read();
            versions.iter().find(|version| version.number == shown).cloned().unwrap_or_else(|| no_version(id))
        });
        let dataset = Self {
            id,
            versions,
            newest,
            shown,
            version,
            news: RwSignal::new(None),
            reviewer: reviewer::remembered_name(),
            known,
            own: StoredValue::new(newest_now),
        };
        dataset.tell_of_others();
        dataset
    }

    pub fn is_newest(self) -> bool {
        self.shown.get() == self.newest.get()
    }

    pub fn by(self) -> String {
        reviewer::by(self.reviewer)
    }

    /// Takes in what an edit, a repair or an undo has come to, and says so.
    pub fn take_in(self, outcome: Result<DatasetVersion, ApiError>) {
        match outcome {
            Ok(version) => {
                self.own.try_set_value(version.number);
                self.known.try_update_value(|known| add(known, version.clone()));
                self.versions.value.try_update(|versions| add(versions, version.clone()));
                self.news.try_set(Some(News::Made(version)));
            }
            Err(error) => {
                self.news.try_set(Some(News::Refused(error)));
            }
        }
        // And whatever others have done at the same time.
        self.versions.look();
    }

    fn tell_of_others(self) {
        Effect::new(move |_| {
            let versions = self.versions.value.read();
            let Some(newest) = versions.first() else { return };
            if newest.number > self.own.get_value() {
                self.own.set_value(newest.number);
                self.news.set(Some(News::MadeByOthers(newest.clone())));
            }
        });
    }
}

/// Puts a version before the others where it is the next one. Where it is not, somebody else was faster, and all that is
/// new comes with the next look.
fn add(versions: &mut Vec<DatasetVersion>, version: DatasetVersion) {
    if versions.first().is_none_or(|newest| newest.number + 1 == version.number) {
        versions.insert(0, version);
    }
}

/// Every dataset has a version; this stands in where a broken answer has none.
fn no_version(dataset: DatasetId) -> DatasetVersion {
    DatasetVersion {
        dataset,
        number: 1,
        hash: String::new(),
        cause: domain::version::VersionCause::Edited,
        by: String::new(),
        at_ms: 0,
        rows: 0,
        added: 0,
        removed: 0,
        relabelled: 0,
        rewritten: 0,
        labels: Vec::new(),
        runs: 0,
    }
}

/// Between two looks at an examination that is under way.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The examination of the shown version.
#[derive(Clone, Copy)]
pub struct Examined {
    pub state: RwSignal<ExaminationState>,
    /// The last report. While another version is being examined it is still that of the one before.
    pub report: Memo<Option<Examination>>,
    /// The report is that of the shown version.
    pub is_current: Memo<bool>,
    /// Why the last look failed.
    pub lost: RwSignal<Option<ApiError>>,
}

impl Examined {
    /// Starts with what came with the page and looks twice a second until the examination has ended; anew whenever
    /// another version is shown.
    pub fn watch(dataset: OpenDataset, first: ExaminationState) -> Self {
        let shown = dataset.shown;
        let state = RwSignal::new(first);
        let lost = RwSignal::new(None);
        let report = Memo::new(move |before: Option<&Option<Examination>>| match &*state.read() {
            ExaminationState::Done { examination } => Some((**examination).clone()),
            _ => before.cloned().flatten(),
        });
        let is_current = Memo::new(move |_| report.read().as_ref().is_some_and(|report| report.version == shown.get()));
        let look = Action::new(move |version: &VersionNumber| {
            let version = *version;
            async move { (version, get_examination(dataset.id, version).await) }
        });
        Effect::new(move |before: Option<VersionNumber>| {
            let version = shown.get();
            if before.is_some_and(|before| before != version) {
                state.set(ExaminationState::Waiting);
                look.dispatch(version);
            }
            version
        });
        Effect::new(move |_| {
            look.version().track();
            let answer = look.value().get_untracked().filter(|(version, _)| *version == shown.get_untracked());
            match answer {
                Some((_, Ok(fresh))) => {
                    state.set(fresh);
                    lost.set(None);
                }
                Some((_, Err(error))) => lost.set(Some(error)),
                None => {}
            }
            if !is_under_way(&state.read_untracked()) {
                return;
            }
            let again = move || {
                look.dispatch(shown.get_untracked());
            };
            if let Ok(timer) = set_timeout_with_handle(again, LOOK_EVERY) {
                on_cleanup(move || timer.clear());
            }
        });
        Self { state, report, is_current, lost }
    }
}

fn is_under_way(state: &ExaminationState) -> bool {
    matches!(state, ExaminationState::Waiting | ExaminationState::Working { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_added_one_after_the_other() {
        let mut versions = Vec::new();
        for number in [101, 102, 104, 102, 103] {
            add(&mut versions, DatasetVersion { number, ..no_version(7) });
        }
        assert_eq!(versions.iter().map(|version| version.number).collect::<Vec<_>>(), [103, 102, 101]);
    }
}
