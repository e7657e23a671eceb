//! `GET /runs/{id}/events?after=N`: a run's events, live, over a websocket.
//!
//! Every message is a JSON array of `StoredEvent`, at most a thousand of them, beginning after event `N`. A viewer that
//! was away asks for what comes after the last event it has seen, and misses nothing. One that has stopped reading is
//! dropped: its browser answers no more pings, long before what is sent to it fills the buffers in between.

use crate::http::errors::HttpError;
use crate::http::metrics::Metrics;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use domain::run::RunId;
use serde::Deserialize;
use service::Service;
use service::feed::Told;
use service::people::Caller;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Shorter than the minute after which proxies cut a silent connection.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A viewer of whom nothing has been heard for this long, though it was asked twice, is not there.
const SILENT_AT_MOST: Duration = Duration::from_secs(25);
/// A viewer that does not take a message for this long is dropped; its browser comes back by itself.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Viewers have nothing to say; what is longer than a pong is not from ours.
const LONGEST_INCOMING_BYTES: usize = 4 * 1024;

#[derive(Deserialize)]
pub struct Position {
    #[serde(default)]
    after: i64,
}

pub async fn events(
    Path(run): Path<RunId>,
    Query(position): Query<Position>,
    State(service): State<Service>,
    State(metrics): State<Metrics>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // An unknown run is told apart here, while there still is a status code to tell it with.
    if let Err(error) = service.runs.get(run).await {
        return HttpError::from(error).into_response();
    }
    upgrade.max_message_size(LONGEST_INCOMING_BYTES).on_upgrade(move |socket| async move {
        let _counted = metrics.viewer();
        send_events(socket, service, caller, (run, position.after)).await;
    })
}

/// Ends when the viewer leaves or stalls, is signed out, or when the feed ends.
async fn send_events(mut socket: WebSocket, service: Service, caller: Caller, (run, after): (RunId, i64)) {
    let mut watch = service.feed.watch(run, after);
    let mut heard = Instant::now();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            batch = watch.next_told() => match batch {
                Some(events) => Message::Text(array(&events).into()),
                None => return,
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENT_AT_MOST {
                    tracing::info!(run, "a viewer answered no pings for {} s and was dropped", SILENT_AT_MOST.as_secs());
                    return;
                }
                // Who has been signed out since, or removed, sees no more.
                if !service.people.may_still_read(&caller).await.unwrap_or(false) {
                    return;
                }
                Message::Ping(Bytes::new())
            }
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
        };
        match timeout(SEND_TIMEOUT, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::info!(run, "a viewer took no message for {} s and was dropped", SEND_TIMEOUT.as_secs());
                return;
            }
        }
    }
}

fn array(events: &[Told]) -> String {
    let mut json = String::with_capacity(2 + events.iter().map(|event| event.json.len() + 1).sum::<usize>());
    for event in events {
        json.push(if json.is_empty() { '[' } else { ',' });
        json.push_str(&event.json);
    }
    json.push(']');
    json
}
