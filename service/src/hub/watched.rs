//! Work with the network on a thread of its own, so that whoever waits for it can report and stop it at any moment,
//! also while nothing comes.

use super::HubError;
use super::client::Client;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How often the one who waits looks up, and how often progress is told at most.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(100);
/// What a stopped thread may take to end. Only resolving a name and opening a connection, which nothing interrupts,
/// take longer: then the thread ends by itself, within seconds, and without touching what others have locked.
const STOP_WITHIN: Duration = Duration::from_millis(900);

/// Runs `work` and hands what it sends to `on_event`, and `None` where for a while nothing was sent. Returns `None`
/// when `on_event` breaks.
pub(super) fn watched<E: Send + 'static, T: Send + 'static>(
    client: Arc<Client>,
    work: impl FnOnce(&Client, &Sender<E>) -> Result<T, HubError> + Send + 'static,
    mut on_event: impl FnMut(Option<E>) -> ControlFlow<()>,
) -> Result<Option<T>, HubError> {
    let (sender, events) = mpsc::channel();
    let worker = {
        let client = client.clone();
        std::thread::Builder::new()
            .name("hub".to_owned())
            .spawn(move || work(&client, &sender))
            .map_err(|source| HubError::io("a new thread".as_ref(), source))?
    };
    loop {
        let event = match events.recv_timeout(REPORT_EVERY) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if on_event(event).is_break() {
            client.stop();
            wait_for_end(&events);
            return Ok(None);
        }
    }
    match worker.join() {
        Ok(result) => result.map(Some),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn wait_for_end<E>(events: &Receiver<E>) {
    let end = Instant::now() + STOP_WITHIN;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || events.recv_timeout(left).is_err() {
            return;
        }
    }
}
