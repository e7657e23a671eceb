//! Lists that several people watch and change: fetched again and again while somebody looks.

use crate::error::ApiError;
use leptos::prelude::*;
use std::time::Duration;

/// Between two looks while something in the list moves by itself.
const WHILE_MOVING: Duration = Duration::from_secs(1);
/// Between two looks otherwise: another person may have changed something.
const WHILE_STILL: Duration = Duration::from_secs(5);

/// What was fetched last. It stays while it is fetched anew, and when that fails.
pub struct Polled<T: Send + Sync + 'static> {
    pub value: RwSignal<T>,
    /// Why the last look failed; what is shown may be out of date.
    pub lost: RwSignal<Option<ApiError>>,
    look: Action<(), Result<T, ApiError>>,
}

impl<T: Send + Sync + 'static> Clone for Polled<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Polled<T> {}

impl<T: Send + Sync + 'static> Polled<T> {
    /// Fetches now, as after something was changed here.
    pub fn look(self) {
        self.look.dispatch(());
    }

    /// Fetches whenever an action of this page has come to its end, well or not.
    pub fn look_after<I, O>(self, action: Action<I, O>)
    where
        I: Send + Sync + 'static,
        O: Send + Sync + 'static,
    {
        Effect::new(move |before: Option<usize>| {
            let ended = action.version().get();
            if before.is_some_and(|before| before != ended) {
                self.look();
            }
            ended
        });
    }
}

/// Starts with what came with the page and fetches it again as long as the current owner lives: every second while
/// `moves` says so of it, else every five. Browser only, since effects run nowhere else.
pub fn poll<T, F>(
    first: T,
    fetch: impl Fn() -> F + Send + Sync + 'static,
    moves: impl Fn(&T) -> bool + Send + Sync + 'static,
) -> Polled<T>
where
    T: Clone + PartialEq + Send + Sync + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let polled =
        Polled { value: RwSignal::new(first), lost: RwSignal::new(None), look: Action::new(move |(): &()| fetch()) };
    Effect::new(move |_| {
        polled.look.version().track();
        match polled.look.value().get() {
            Some(Ok(fresh)) => {
                if *polled.value.read_untracked() != fresh {
                    polled.value.set(fresh);
                }
                polled.lost.set(None);
            }
            Some(Err(error)) => polled.lost.set(Some(error)),
            None => {}
        }
        let wait = if polled.value.with_untracked(&moves) { WHILE_MOVING } else { WHILE_STILL };
        if let Ok(timer) = set_timeout_with_handle(move || polled.look(), wait) {
            on_cleanup(move || timer.clear());
        }
    });
    polled
}
