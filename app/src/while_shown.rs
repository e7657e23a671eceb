//! What a resource is asked for.

use leptos::prelude::*;

/// The source of a resource: what the memo says, and nothing once its page is being left. The router may tell a page its
/// address for the last time when the page's memos are gone already, while its resources still look at them; with
/// [`Memo::get`] that would be a panic, which ends all scripts of the page.
pub fn while_shown<T>(value: Memo<T>) -> impl Fn() -> T + Send + Sync + 'static
where
    T: Default + Clone + PartialEq + Send + Sync + 'static,
{
    move || value.try_get().unwrap_or_default()
}
