//! The viewers' process: websockets as browsers open them, and what arrives on them when.

use crate::commands::bench::serve::load::Latencies;
use anyhow::{Context, bail};
use clap::Args;
use domain::run::RunId;
use futures::StreamExt;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// What the process says once every viewer is connected.
pub const READY: &str = "ready";
/// Long enough for the server to find out that nobody answers its pings.
const STALL: Duration = Duration::from_secs(45);

// Given by the measuring process to the one it starts.
#[derive(Args)]
pub struct ViewersArguments {
    #[arg(long, hide = true, requires = "run")]
    watch: Option<String>,
    #[arg(long, hide = true, requires = "watch")]
    run: Option<RunId>,
}

/// The run, and the server that has it.
#[derive(Clone)]
pub struct Watched {
    address: String,
    run: RunId,
}

impl ViewersArguments {
    pub fn watched(&self) -> Option<Watched> {
        Some(Watched { address: self.watch.clone()?, run: self.run? })
    }
}

/// What the viewers have to say.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    pub delivered: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Viewers who missed an event, or had one twice or out of order.
    pub disturbed: u64,
    /// Where the run was long enough for it.
    pub stalled: Option<Stalled>,
}

/// The viewer that stopped reading.
#[derive(Serialize, Deserialize)]
pub struct Stalled {
    pub seconds: f64,
    pub was_dropped: bool,
    /// Events that came after its return.
    pub caught_up: u64,
    pub is_complete: bool,
}

/// As much of an event as is looked at.
#[derive(Deserialize)]
struct Event {
    seq: i64,
    at_ms: i64,
    event: Kind,
}

#[derive(Deserialize)]
struct Kind {
    status: Option<String>,
}

/// One viewer's connection and its place in the run.
struct Viewer {
    socket: WebSocketStream<TcpStream>,
    seen: i64,
    in_order: bool,
    is_over: bool,
}

/// Connects, says that it is ready, and follows the run to its end.
pub async fn watch(watched: Watched, viewers: u64, seconds: u64) -> anyhow::Result<()> {
    let all_there = Arc::new(Barrier::new(viewers as usize + 1));
    let following = (0..viewers).map(|_| tokio::spawn(follow(watched.clone(), all_there.clone())));
    let following: Vec<_> = following.collect();
    let stalls = Duration::from_secs(seconds) > STALL + Duration::from_secs(5);
    let stalling = stalls.then(|| tokio::spawn(stall(watched.clone())));
    all_there.wait().await;
    println!("{READY}");
    let (mut ms, mut disturbed) = (Vec::new(), 0);
    let began = Instant::now();
    for followed in join_all(following).await {
        let (latencies, in_order) = followed??;
        ms.extend(latencies);
        disturbed += u64::from(!in_order);
    }
    let stalled = match stalling {
        Some(stalling) => Some(stalling.await??),
        None => None,
    };
    let delivered = ms.len() as u64;
    let latencies = Latencies::new(ms, began);
    let seen = Seen {
        delivered,
        p50_ms: latencies.quantile(0.5),
        p99_ms: latencies.quantile(0.99),
        max_ms: latencies.quantile(1.0),
        disturbed,
        stalled,
    };
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

/// Milliseconds from the recording of each event to its arrival, and whether each came once and in order.
async fn follow(watched: Watched, all_there: Arc<Barrier>) -> anyhow::Result<(Vec<f64>, bool)> {
    // Those that cannot connect must not keep the others waiting.
    let connected = Viewer::connect(&watched, 0).await;
    all_there.wait().await;
    let mut viewer = connected?;
    let connected_at = now_ms();
    let mut ms = Vec::new();
    while !viewer.is_over {
        let Some(events) = viewer.read().await? else { bail!("A viewer was dropped that read all the time.") };
        let now = now_ms();
        // What was there before is no delivery.
        ms.extend(events.iter().filter(|event| event.at_ms >= connected_at).map(|event| (now - event.at_ms) as f64));
    }
    Ok((ms, viewer.in_order))
}

/// Reads a little, then nothing, then what is left, and comes back for the rest.
async fn stall(watched: Watched) -> anyhow::Result<Stalled> {
    let mut viewer = Viewer::connect(&watched, 0).await?;
    while viewer.seen < 5 {
        viewer.read().await?.context("The viewer was dropped before it stopped reading")?;
    }
    let stopped = Instant::now();
    tokio::time::sleep(STALL).await;
    let seconds = stopped.elapsed().as_secs_f64();
    // What had been sent before it was dropped is still on its way.
    let mut was_dropped = false;
    while !viewer.is_over && !was_dropped {
        was_dropped = !matches!(tokio::time::timeout(Duration::from_secs(5), viewer.read()).await?, Ok(Some(_)));
    }
    let mut back = Viewer::connect(&watched, viewer.seen).await?;
    let before = back.seen;
    while !back.is_over {
        back.read().await?.context("The viewer was dropped after it came back")?;
    }
    let caught_up = (back.seen - before) as u64;
    Ok(Stalled { seconds, was_dropped, caught_up, is_complete: viewer.in_order && back.in_order })
}

impl Viewer {
    async fn connect(watched: &Watched, after: i64) -> anyhow::Result<Self> {
        let Watched { address, run } = watched;
        let stream = TcpStream::connect(address).await.context("The server takes no connection")?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{address}/runs/{run}/events?after={after}");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.context("The server refuses a viewer")?;
        Ok(Self { socket, seen: after, in_order: true, is_over: false })
    }

    /// The events of the next message; `None` where the server has ended the connection.
    async fn read(&mut self) -> anyhow::Result<Option<Vec<Event>>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let events: Vec<Event> = serde_json::from_str(&text)?;
                    for event in &events {
                        self.in_order &= event.seq == self.seen + 1;
                        self.seen = event.seq;
                        self.is_over |= event.event.status.as_deref() == Some("finished");
                    }
                    return Ok(Some(events));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                // Pings are answered by the library.
                Some(Ok(_)) => {}
            }
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
