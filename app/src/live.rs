//! The one websocket hook: follows a run's events, reconnects, and resumes after the last event seen.

#[cfg(feature = "hydrate")]
mod socket;

use domain::run::{RunId, RunPicture, RunStatus};
use leptos::prelude::*;

/// How the page hears of what the run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Nothing is listened to: the script has not arrived, or the run is finished and will not change.
    Still,
    Connecting,
    Live,
    /// The connection was lost; it is tried again by itself.
    Reconnecting,
}

/// A run that is being watched.
#[derive(Clone, Copy, Debug)]
pub struct LiveRun {
    pub picture: RwSignal<RunPicture>,
    pub connection: RwSignal<Connection>,
}

/// Watches a run from the picture that came with the page on. The watch ends with the current owner, that is when the
/// person leaves the page, or when the run is finished.
pub fn watch_run(run: RunId, initial: RunPicture) -> LiveRun {
    let live = LiveRun { picture: RwSignal::new(initial), connection: RwSignal::new(Connection::Still) };
    // Effects run in the browser only, after the page has been taken over.
    Effect::new(move |_| follow(run, live));
    live
}

#[cfg(feature = "hydrate")]
use socket::follow;

#[cfg(not(feature = "hydrate"))]
fn follow(_run: RunId, _live: LiveRun) {}

/// A finished run never changes again; any other settled one may be resumed, by this person or another.
pub fn may_change(picture: &RunPicture) -> bool {
    picture.status != Some(RunStatus::Finished)
}

/// Milliseconds to wait before the next try: 250, then twice as long every time, up to 8 seconds.
pub fn next_wait_ms(wait_ms: u32) -> u32 {
    (wait_ms * 2).clamp(FIRST_WAIT_MS, 8000)
}

pub const FIRST_WAIT_MS: u32 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_eight_seconds() {
        let mut wait = FIRST_WAIT_MS;
        let waits: Vec<u32> = (0..7)
            .map(|_| {
                let now = wait;
                wait = next_wait_ms(wait);
                now
            })
            .collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 8000]);
    }
}
