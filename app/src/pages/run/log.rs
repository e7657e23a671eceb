use crate::components::Card;
use crate::format;
use crate::live::LiveRun;
use domain::run::{LogLevel, LogLine, RunPicture};
use leptos::prelude::*;

/// What the run has said, newest first.
#[component]
pub fn RunLog(live: LiveRun) -> impl IntoView {
    let lines = Memo::new(move |_| numbered(&live.picture.read()));
    // The server writes UTC; the browser then the person's own time.
    let offset_minutes = RwSignal::new(0.0);
    Effect::new(move |_| offset_minutes.set(js_sys::Date::new_0().get_timezone_offset()));
    view! {
        <Card title="Log">
            {move || lines.read().is_empty().then(|| view! { <p class="soft">"Nothing has been said yet."</p> })}
            <ol class="run-log" tabindex="0" aria-label="Log, newest first">
                <For each=move || lines.get() key=|(number, line)| (*number, line.at_ms) let((_, line))>
                    <Line line offset_minutes />
                </For>
            </ol>
        </Card>
    }
    .into_any()
}

/// Newest first, with their place in the picture, which tells two equal lines apart.
fn numbered(picture: &RunPicture) -> Vec<(usize, LogLine)> {
    picture.log.iter().cloned().enumerate().rev().collect()
}

#[component]
fn Line(line: LogLine, offset_minutes: RwSignal<f64>) -> impl IntoView {
    let at_ms = line.at_ms;
    let clock = move || format::iso(at_ms - (offset_minutes.get() * 60_000.0) as i64)[11..19].to_string();
    let (class, word) = match line.level {
        LogLevel::Info => ("run-log-line", None),
        LogLevel::Warning => ("run-log-line is-warning", Some("Warning: ")),
        LogLevel::Error => ("run-log-line is-error", Some("Error: ")),
    };
    view! {
        <li class=class>
            <time datetime=format::iso(at_ms)>{clock}</time>
            <span>{word}{line.message}</span>
        </li>
    }
    .into_any()
}
