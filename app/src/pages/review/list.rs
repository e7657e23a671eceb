use super::queue::{FETCHED, Queue};
use super::row::in_words;
use crate::components::LabelName;
use crate::format;
use crate::reviewer;
use domain::review::DoubtfulRow;
use leptos::prelude::*;

/// The queue around the row that is looked at: what is decided, by whom, and who looks at what.
#[component]
pub fn QueueList(queue: Queue, labels: Vec<String>) -> impl IntoView {
    let shown = Memo::new(move |_| {
        let first = queue.window();
        queue.rows.read().range(first..first + FETCHED).map(|(place, _)| *place).collect::<Vec<u64>>()
    });
    view! {
        <nav class="card review-list" aria-label="Rows in the queue">
            <h2 class="card-title">"Queue"</h2>
            <ol class="queue">
                <For
                    each=move || shown.get()
                    key=|place| *place
                    children=move |place| view! { <QueueEntry queue place labels=labels.clone() /> }
                />
            </ol>
        </nav>
    }
    .into_any()
}

#[component]
fn QueueEntry(queue: Queue, place: u64, labels: Vec<String>) -> impl IntoView {
    let row = Memo::new(move |_| queue.rows.read().get(&place).cloned());
    let is_here = Memo::new(move |_| queue.place.get() == place);
    view! {
        <li class="queue-entry" class:is-decided=move || row.read().as_ref().is_some_and(|row| row.decision.is_some())>
            <button
                type="button"
                class="queue-button"
                aria-current=move || is_here.get().then_some("true")
                on:click=move |_| queue.go_to(place)
            >
                <span class="soft small number">{format::count(place + 1)}</span>
                {move || row.get().map(|row| view! { <Words queue row labels=labels.clone() /> })}
            </button>
        </li>
    }
    .into_any()
}

#[component]
fn Words(queue: Queue, row: DoubtfulRow, labels: Vec<String>) -> impl IntoView {
    let me = reviewer::by(queue.name);
    let index = labels.iter().position(|label| *label == row.given);
    let state = match (&row.decision, &row.by, &row.held_by) {
        (Some(decision), Some(by), _) => Some(format!("{} ({by})", in_words(decision))),
        (Some(decision), None, _) => Some(in_words(decision)),
        (None, _, Some(who)) if *who != me => Some(format!("{who} looks at it")),
        _ => None,
    };
    view! {
        <span class="queue-text">{format::excerpt(&row.text, 120)}</span>
        <span class="queue-state small">
            {match state {
                Some(state) => view! { <span class="soft">{state}</span> }.into_any(),
                None => view! { <LabelName index name=row.given /> }.into_any(),
            }}
        </span>
    }
    .into_any()
}
