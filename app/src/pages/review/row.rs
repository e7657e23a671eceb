use super::queue::{Key, Queue};
use crate::components::{ButtonKind, ErrorNotice, LabelName, label_class};
use crate::format;
use crate::reviewer;
use domain::review::{Decision, DoubtfulRow, LabelCheckStatus};
use leptos::prelude::*;

/// Of a text, which may have millions of characters.
const SHOWN_CHARS: usize = 20_000;

/// The row that is looked at: its text, what it is labelled, what the classifiers hold for right, and what can be decided.
#[component]
pub fn ReviewedRow(queue: Queue, labels: Vec<String>) -> impl IntoView {
    let names = labels.clone();
    let row = Memo::new(move |_| queue.current());
    let place = move || {
        let check = queue.check.read();
        format!("Row {} of {}", format::count(queue.place.get() + 1), format::count(check.doubtful))
    };
    let content = move || match row.get() {
        Some(row) => view! { <Opinions queue row labels=names.clone() /> }.into_any(),
        None => view! { <p class="loading">"Fetching the row…"</p> }.into_any(),
    };
    view! {
        <section class="card review-row" aria-labelledby="review-place">
            <header class="row-between">
                <h2 class="card-title" id="review-place" aria-live="polite">
                    {place}
                </h2>
                <div class="row">
                    <KeyButton queue key=Key::Previous letter="←" words="Previous" />
                    <KeyButton queue key=Key::Next letter="→" words="Next" />
                </div>
            </header>
            {content}
            {move || queue.refused.get().map(|error| view! { <ErrorNotice error /> })}
            {move || queue.lost.get().map(|error| view! { <p class="small soft" role="status">{error.message()}</p> })}
            <Choices queue row labels />
        </section>
    }
    .into_any()
}

#[component]
fn Opinions(queue: Queue, row: DoubtfulRow, labels: Vec<String>) -> impl IntoView {
    let opinion = |what: &'static str, label: &str, share: f64| {
        let index = labels.iter().position(|known| known == label);
        let class = index.map_or_else(|| "opinion".to_owned(), |index| format!("opinion {}", label_class(index)));
        let width = format!("width:{:.1}%", 100.0 * share.clamp(0.0, 1.0));
        view! {
            <div class=class>
                <dt class="small soft">{what}</dt>
                <dd class="opinion-name">
                    <LabelName index name=label.to_owned() />
                </dd>
                <dd class="opinion-bar">
                    <span class="opinion-track" aria-hidden="true">
                        <span class="opinion-fill" style=width></span>
                    </span>
                    <span class="number">{format::percent(share)}</span>
                </dd>
            </div>
        }
    };
    let me = reviewer::by(queue.name);
    let held = row.held_by.clone().filter(|who| *who != me).map(|who| {
        view! { <p class="review-held small">{format!("{who} looks at this row, too.")}</p> }
    });
    let decided = row.decision.as_ref().map(|decision| {
        let who = match row.by.as_deref() {
            Some(by) if by == me => "You".to_owned(),
            Some(by) => by.to_owned(),
            None => "Somebody".to_owned(),
        };
        view! { <p class="review-decided">{format!("{who} decided: {}.", in_words(decision))}</p> }
    });
    view! {
        <blockquote class="review-text">{format::excerpt(&row.text, SHOWN_CHARS)}</blockquote>
        <dl class="opinions">
            {opinion("It is labelled", &row.given, row.p_given)}
            {opinion("The classifiers say", &row.suggested, row.p_suggested)}
        </dl>
        <div class="review-notes" role="status">
            {held} {decided}
        </div>
    }
    .into_any()
}

pub fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::Accept => "the label stands".to_owned(),
        Decision::Relabel { label } => format!("relabelled “{label}”"),
        Decision::Drop => "dropped".to_owned(),
    }
}

/// The buttons, each with its key.
#[component]
fn Choices(queue: Queue, row: Memo<Option<DoubtfulRow>>, labels: Vec<String>) -> impl IntoView {
    let relabel = labels
        .into_iter()
        .enumerate()
        .map(|(index, label)| {
            let letter = if index < 9 { (index + 1).to_string() } else { String::new() };
            let suggested = label.clone();
            let is_suggested =
                Signal::derive(move || row.read().as_ref().is_some_and(|row| row.suggested == suggested));
            let key = Key::Decide(Decision::Relabel { label: label.clone() });
            view! { <KeyButton queue key letter words=label is_suggested /> }
        })
        .collect_view();
    let is_open = move || queue.check.read().status == LabelCheckStatus::Ready;
    view! {
        <Show when=is_open>
            <div class="review-choices" role="group" aria-label="Decide">
                <KeyButton queue key=Key::Decide(Decision::Accept) letter="A" words="Accept the label" />
                <KeyButton queue key=Key::Decide(Decision::Drop) letter="D" words="Drop the row" />
                <KeyButton queue key=Key::Undo letter="U" words="Undo my decision" />
            </div>
        </Show>
        <div class="review-choices" role="group" aria-label="Relabel" hidden=move || !is_open()>
            <span class="small soft">"Relabel"</span>
            {relabel}
        </div>
    }
    .into_any()
}

#[component]
fn KeyButton(
    queue: Queue,
    key: Key,
    #[prop(into)] letter: String,
    #[prop(into)] words: String,
    #[prop(optional, into)] is_suggested: Signal<bool>,
) -> impl IntoView {
    let has_letter = !letter.is_empty();
    let shortcut = match letter.as_str() {
        "←" => "ArrowLeft".to_owned(),
        "→" => "ArrowRight".to_owned(),
        letter => letter.to_owned(),
    };
    view! {
        <button
            type="button"
            class=ButtonKind::Plain.class()
            class:is-suggested=is_suggested
            aria-keyshortcuts=has_letter.then_some(shortcut)
            disabled=move || queue.is_deciding.get()
            on:click=move |_| queue.act(key.clone())
        >
            {has_letter.then(|| view! { <kbd aria-hidden="true">{letter}</kbd> })}
            {words}
        </button>
    }
    .into_any()
}
