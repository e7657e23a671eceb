//! Where the time of a step goes: events around every launch.

use crate::bench::ProfileLine;
use crate::cuda::card::Card;
use crate::error::EngineError;
use cudarc::driver::result;
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What ran since profiling began, where it has: its name, and the events around it.
#[derive(Default)]
pub(super) struct Profile(Mutex<Option<Vec<(String, sys::CUevent, sys::CUevent)>>>);

impl Profile {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<(String, sys::CUevent, sys::CUevent)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Does `work`, with events around it while profiling.
    pub fn timed<T>(&self, card: &Card, name: &dyn Fn() -> String, work: impl FnOnce() -> T) -> T {
        if !self.is_on() {
            return work();
        }
        let record = || {
            let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).ok()?;
            // SAFETY: the event was just made; the stream lives as long as the card.
            unsafe { result::event::record(event, card.stream()) }.ok().map(|()| event)
        };
        let began = record();
        let done = work();
        if let (Some(began), Some(ended), Some(profiled)) = (began, record(), self.lock().as_mut()) {
            profiled.push((name(), began, ended));
        }
        done
    }
}

impl Card {
    /// From now on every launch is timed, and nothing runs aside. That costs time itself, a microsecond or two a launch.
    pub fn begin_profile(&self) {
        *self.profile.lock() = Some(Vec::new());
    }

    /// Ends profiling: what ran, the longest first.
    pub fn end_profile(&self) -> Result<Vec<ProfileLine>, EngineError> {
        self.synchronize()?;
        let profiled = self.profile.lock().take().unwrap_or_default();
        let mut sums: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for (name, began, ended) in profiled {
            // SAFETY: both events were made by `timed` and are destroyed here alone.
            let milliseconds = unsafe {
                let elapsed = result::event::elapsed(began, ended);
                let _ = (result::event::destroy(began), result::event::destroy(ended));
                elapsed.map_err(|error| self.failed(error))?
            };
            let sum = sums.entry(name).or_default();
            sum.0 += 1;
            sum.1 += f64::from(milliseconds);
        }
        let line = |(name, (launches, milliseconds))| ProfileLine { name, launches, milliseconds };
        let mut lines: Vec<ProfileLine> = sums.into_iter().map(line).collect();
        lines.sort_by(|one, other| other.milliseconds.total_cmp(&one.milliseconds));
        Ok(lines)
    }
}
