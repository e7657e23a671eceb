use crate::api::queue::{MoveQueuedRun, PauseQueue, ResumeQueue, SetRunPriority};
use crate::components::{Button, Card, Notice, TimeStamp, Tone};
use crate::format;
use domain::queue::{Priority, QueueMove, QueuePause, QueueView, QueuedRun};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// What waits, in its order, and who may change that. Plain forms, which work without a script.
#[component]
pub fn QueueCard(queue: QueueView) -> impl IntoView {
    let QueueView { waiting, at_work, paused } = queue;
    if waiting.is_empty() && paused.is_none() {
        return ().into_any();
    }
    let note = match (waiting.len() as u64, at_work.len() as u64) {
        (0, _) => "Nothing waits.".to_string(),
        (n, 0) => format!("{} in this order.", format::counted(n, "run waits", "runs wait")),
        (n, work) => {
            let at_work = format::counted(work, "is at work", "are at work");
            format!("{} in this order; {at_work}.", format::counted(n, "run waits", "runs wait"))
        }
    };
    let many = waiting.len();
    let rows =
        waiting.into_iter().enumerate().map(|(place, queued)| view! { <QueuedRow queued place many /> }).collect_view();
    view! {
        <Card title="Queue" note>
            <div class="stack">
                <PauseOfQueue paused />
                <ol class="queue">{rows}</ol>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn PauseOfQueue(paused: Option<QueuePause>) -> impl IntoView {
    let Some(QueuePause { by, at_ms }) = paused else {
        return view! {
            <form method="post" action=PauseQueue::url()>
                <Button type_="submit">"Pause the queue"</Button>
            </form>
        }
        .into_any();
    };
    view! {
        <Notice tone=Tone::Warning title="The queue is paused">
            <p>"By " {by} ", " <TimeStamp at_ms /> ". What is at work goes on; nothing new is taken up."</p>
            <form method="post" action=ResumeQueue::url()>
                <Button type_="submit">"Go on with the queue"</Button>
            </form>
        </Notice>
    }
    .into_any()
}

#[component]
fn QueuedRow(queued: QueuedRun, place: usize, many: usize) -> impl IntoView {
    let QueuedRun { run, name, priority, person, held_up } = queued;
    let moves = QueueMove::ALL
        .into_iter()
        .map(|to| {
            let (words, sign, is_end) = match to {
                QueueMove::Front => ("to the front", "⤒", place == 0),
                QueueMove::Up => ("up", "↑", place == 0),
                QueueMove::Down => ("down", "↓", place + 1 == many),
            };
            view! {
                <form method="post" action=MoveQueuedRun::url()>
                    <input type="hidden" name="id" value=run.to_string() />
                    <input type="hidden" name="to" value=to.as_str() />
                    <button
                        type="submit"
                        class="button button-quiet"
                        aria-label=format!("Move {name} {words}")
                        title=format!("Move {words}")
                        disabled=is_end
                    >
                        {sign}
                    </button>
                </form>
            }
        })
        .collect_view();
    let options = Priority::ALL
        .into_iter()
        .map(|other| view! { <option value=other.as_str() selected=other == priority>{other.as_str()}</option> })
        .collect_view();
    view! {
        <li class="queue-row">
            <div class="queue-name">
                <a href=format!("/runs/{run}")>{name.clone()}</a>
                {(!person.is_empty()).then(|| view! { <span class="small soft">{format!("by {person}")}</span> })}
                {held_up.map(|reason| view! { <p class="queue-held-up small">{reason}</p> })}
            </div>
            <form method="post" action=SetRunPriority::url() class="row">
                <input type="hidden" name="id" value=run.to_string() />
                <select name="priority" class="input" aria-label=format!("Priority of {name}")>
                    {options}
                </select>
                <button type="submit" class="button" aria-label=format!("Set the priority of {name}")>
                    "Set"
                </button>
            </form>
            <div class="row">{moves}</div>
        </li>
    }
    .into_any()
}
