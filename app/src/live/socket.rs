//! The browser's end of the live feed.

use super::{Connection, FIRST_WAIT_MS, LiveRun, may_change, next_wait_ms};
use domain::run::{RunId, StoredEvent};
use futures::StreamExt;
use gloo_net::websocket::{Message, futures::WebSocket};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;

/// Connects, and connects again whenever the connection ends, until the run is finished or the page is left.
pub fn follow(run: RunId, live: LiveRun) {
    spawn_local_scoped_with_cancellation(async move {
        let mut wait_ms = FIRST_WAIT_MS;
        live.connection.set(Connection::Connecting);
        while live.picture.with_untracked(may_change) {
            if listen(run, live).await {
                wait_ms = FIRST_WAIT_MS;
            }
            if !live.picture.with_untracked(may_change) {
                break;
            }
            live.connection.set(Connection::Reconnecting);
            TimeoutFuture::new(wait_ms).await;
            wait_ms = next_wait_ms(wait_ms);
        }
        live.connection.set(Connection::Still);
    });
}

/// One connection, from its opening to its end. Says whether the server was there.
async fn listen(run: RunId, live: LiveRun) -> bool {
    let after = live.picture.with_untracked(|picture| picture.last_seq);
    let Some(url) = events_url(run, after) else { return false };
    let Ok(mut socket) = WebSocket::open(&url) else { return false };
    if !opened(&socket).await {
        return false;
    }
    live.connection.set(Connection::Live);
    while let Some(message) = socket.next().await {
        let Ok(Message::Text(text)) = message else { break };
        let Ok(events) = serde_json::from_str::<Vec<StoredEvent>>(&text) else {
            // A page older than the server does not understand it; a reload does.
            leptos::logging::error!("The live feed sent something that is no list of events.");
            break;
        };
        live.picture.update(|picture| events.iter().for_each(|event| picture.apply(event)));
        if !live.picture.with_untracked(may_change) {
            break;
        }
    }
    true
}

/// Waits for the connection to be made or refused.
async fn opened(socket: &WebSocket) -> bool {
    use gloo_net::websocket::State;
    loop {
        match socket.state() {
            State::Open => return true,
            State::Connecting => TimeoutFuture::new(20).await,
            State::Closing | State::Closed => return false,
        }
    }
}

fn events_url(run: RunId, after: i64) -> Option<String> {
    let location = window().location();
    let scheme = if location.protocol().ok()? == "https:" { "wss" } else { "ws" };
    Some(format!("{scheme}://{}/runs/{run}/events?after={after}", location.host().ok()?))
}
