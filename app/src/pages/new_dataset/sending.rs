//! Sends a file in pieces, each a request of its own: what has arrived is safe, and a connection that breaks costs no
//! more than it had under way. Browser only.

use super::remembered;
use super::request::{Content, NoAnswer, StopSwitch, send};
use crate::error::ApiError;
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::error::UserError;
use domain::reading::UploadStatus;
use futures::channel::oneshot;
use leptos::prelude::*;
use serde_json::json;
use std::time::Duration;
use web_sys::File;

/// Small enough to arrive within minutes on a slow line, large enough that the requests cost nothing.
const PIECE_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// Between two attempts the pause grows up to this.
const LONGEST_PAUSE_SECONDS: u32 = 30;

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq)]
pub enum UploadState {
    /// Others are sent first.
    Waiting,
    Sending(Sent),
    /// The connection broke; it is tried again after a pause.
    Broken {
        share: f64,
        seconds_left: u32,
    },
    Failed(ApiError),
    Stopped,
    /// The name of the finished upload.
    Done(String),
}

/// How much of a file is on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sent {
    pub bytes: f64,
    pub total: f64,
    /// Of `bytes`, those that were sent since `seconds` ago: what had arrived before says nothing of the rate.
    pub bytes_since: f64,
    pub seconds: f64,
}

impl Sent {
    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        if self.total > 0.0 { self.bytes / self.total } else { 1.0 }
    }

    /// Bytes per second, once there is something to measure.
    pub fn rate(&self) -> Option<f64> {
        (self.seconds > 0.3 && self.bytes_since > 0.0).then(|| self.bytes_since / self.seconds)
    }
}

/// Why a step did not succeed.
enum Trouble {
    /// Another attempt may do.
    Passing,
    /// Words for the person; another attempt would bring the same.
    Refused(ApiError),
}

/// Sends the file, keeps `state` up to date and returns at the end, whichever it is. A file of which the server has
/// something already goes on from there.
pub async fn send_file(file: &File, state: RwSignal<UploadState>, switch: &StopSwitch) {
    if file.size() > MAX_UPLOAD_BYTES as f64 {
        state.set(UploadState::Failed(too_large(file)));
        return;
    }
    let mut sender = Sender { file, state, switch, id: remembered::find(file), upload: None, begun: None };
    let mut failures = 0;
    while !switch.is_stopped() {
        match sender.go_on().await {
            Ok(true) => return,
            Ok(false) => failures = 0,
            Err(Trouble::Refused(error)) => {
                state.set(UploadState::Failed(error));
                return;
            }
            Err(Trouble::Passing) => {
                failures += 1;
                sender.pause(failures).await;
            }
        }
    }
    state.set(UploadState::Stopped);
}

struct Sender<'a> {
    file: &'a File,
    state: RwSignal<UploadState>,
    switch: &'a StopSwitch,
    /// The name of the upload, once it is announced.
    id: Option<String>,
    /// What the server has; `None`: to be asked.
    upload: Option<UploadStatus>,
    /// When the first piece left, and what had arrived by then.
    begun: Option<(f64, f64)>,
}

impl Sender<'_> {
    /// One step towards the end: true where it is reached.
    async fn go_on(&mut self) -> Result<bool, Trouble> {
        let Some(status) = self.upload.take() else {
            self.upload = Some(self.find_or_announce().await?);
            return Ok(false);
        };
        if status.received >= status.bytes {
            self.state.set(UploadState::Done(status.upload));
            return Ok(true);
        }
        self.upload = Some(self.send_piece(&status).await?);
        Ok(false)
    }

    async fn find_or_announce(&mut self) -> Result<UploadStatus, Trouble> {
        if let Some(known) = self.id.take() {
            match read(send("GET", &format!("/uploads/{known}"), Content::Nothing, self.switch, |_| {}).await) {
                Ok(status) if status.bytes as f64 == self.file.size() => {
                    self.id = Some(known);
                    return Ok(status);
                }
                Err(Trouble::Passing) => {
                    self.id = Some(known);
                    return Err(Trouble::Passing);
                }
                // Imported or thrown away meanwhile: it is sent anew.
                Ok(_) | Err(Trouble::Refused(_)) => remembered::forget(&known),
            }
        }
        let announced = json!({ "file_name": self.file.name(), "bytes": self.file.size() as u64 }).to_string();
        let status = read(send("POST", "/uploads", Content::Json(announced), self.switch, |_| {}).await)?;
        remembered::remember(&status.upload, self.file);
        self.id = Some(status.upload.clone());
        Ok(status)
    }

    async fn send_piece(&mut self, status: &UploadStatus) -> Result<UploadStatus, Trouble> {
        let (from, total) = (status.received as f64, self.file.size());
        let until = (from + PIECE_BYTES).min(total);
        let piece =
            self.file.slice_with_f64_and_f64(from, until).map_err(|_| Trouble::Refused(unreadable(self.file)))?;
        let (since, there) = *self.begun.get_or_insert((js_sys::Date::now(), from));
        let state = self.state;
        let on_sent = move |sent: f64| {
            let bytes = (from + sent).min(until);
            let seconds = (js_sys::Date::now() - since) / 1000.0;
            let _ = state.try_set(UploadState::Sending(Sent { bytes, total, bytes_since: bytes - there, seconds }));
        };
        on_sent(0.0);
        let url = format!("/uploads/{}?offset={}", status.upload, status.received);
        read(send("PUT", &url, Content::Piece(&piece), self.switch, on_sent).await)
    }

    /// Waits before the next attempt, counting down in sight.
    async fn pause(&self, failures: u32) {
        let share = match &*self.state.read_untracked() {
            UploadState::Sending(sent) => sent.share(),
            UploadState::Broken { share, .. } => *share,
            _ => 0.0,
        };
        let seconds = 2_u32.saturating_pow(failures.min(8)).min(LONGEST_PAUSE_SECONDS);
        for seconds_left in (1..=seconds).rev() {
            if self.switch.is_stopped() {
                return;
            }
            self.state.set(UploadState::Broken { share, seconds_left });
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The status that an answer holds, or what to make of its absence.
fn read(answer: Result<super::request::Answer, NoAnswer>) -> Result<UploadStatus, Trouble> {
    let Ok(answer) = answer else { return Err(Trouble::Passing) };
    match answer.status {
        200..=299 => serde_json::from_str(&answer.text).map_err(|_| Trouble::Passing),
        // Another piece is still being written, or begins elsewhere by now: what has arrived is asked first. The rest is
        // what a server says that starts or a proxy without one.
        409 | 502..=504 => Err(Trouble::Passing),
        _ => Err(Trouble::Refused(UserError::invalid(answer.text.trim()).into())),
    }
}

async fn sleep(duration: Duration) {
    let (sender, ended) = oneshot::channel();
    set_timeout(
        move || {
            let _ = sender.send(());
        },
        duration,
    );
    let _ = ended.await;
}

fn too_large(file: &File) -> ApiError {
    UserError::invalid(format!(
        "{} is {} large; at most {} can be uploaded. Split the file, or leave out columns that are not needed.",
        file.name(),
        crate::format::bytes(file.size()),
        crate::format::bytes(MAX_UPLOAD_BYTES as f64)
    ))
    .into()
}

fn unreadable(file: &File) -> ApiError {
    UserError::invalid(format!("The browser cannot read {} any more. Choose the file again.", file.name())).into()
}
