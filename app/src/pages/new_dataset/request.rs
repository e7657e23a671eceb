//! One request by XMLHttpRequest: the one way in a browser to learn how much of it has left. Browser only.

use futures::channel::oneshot;
use leptos::wasm_bindgen::JsCast;
use leptos::wasm_bindgen::closure::Closure;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use web_sys::{Blob, ProgressEvent, XmlHttpRequest};

/// A request that takes longer counts as broken: its piece is then sent again from what has arrived of it.
const TIMEOUT_MS: u32 = 300_000;

/// What a request carries.
pub enum Content<'a> {
    Nothing,
    Json(String),
    Piece(&'a Blob),
}

/// What came back, whatever its status.
pub struct Answer {
    pub status: u16,
    pub text: String,
}

/// There was no answer: the connection broke, or the request was stopped.
pub struct NoAnswer;

/// Stops what is under way, from elsewhere on the page.
#[derive(Clone, Default)]
pub struct StopSwitch(Rc<Inner>);

#[derive(Default)]
struct Inner {
    is_stopped: Cell<bool>,
    request: RefCell<Option<XmlHttpRequest>>,
}

impl StopSwitch {
    pub fn stop(&self) {
        self.0.is_stopped.set(true);
        // Taken first: aborting calls the request's end, which wants to take it as well.
        let request = self.0.request.borrow_mut().take();
        if let Some(request) = request {
            let _ = request.abort();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.get()
    }
}

/// Sends a request and waits for its end. `on_sent` is told how many bytes of the content have left.
pub async fn send(
    method: &str,
    url: &str,
    content: Content<'_>,
    switch: &StopSwitch,
    on_sent: impl FnMut(f64) + 'static,
) -> Result<Answer, NoAnswer> {
    if switch.is_stopped() {
        return Err(NoAnswer);
    }
    let request = XmlHttpRequest::new().map_err(|_| NoAnswer)?;
    let (sender, ended) = oneshot::channel();
    let mut sender = Some(sender);
    // The browser calls these while the request lives; they are dropped after its end.
    let on_end = Closure::<dyn FnMut()>::new(move || {
        if let Some(sender) = sender.take() {
            // Nobody waits any more where the page has gone.
            let _ = sender.send(());
        }
    });
    let mut on_sent = on_sent;
    let on_progress = Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| on_sent(event.loaded()));
    request.set_onloadend(Some(on_end.as_ref().unchecked_ref()));
    if let Ok(upload) = request.upload() {
        upload.set_onprogress(Some(on_progress.as_ref().unchecked_ref()));
    }
    start(&request, method, url, content).map_err(|_| NoAnswer)?;
    *switch.0.request.borrow_mut() = Some(request.clone());
    let _ = ended.await;
    switch.0.request.borrow_mut().take();
    match request.status() {
        Ok(status) if status > 0 => {
            Ok(Answer { status, text: request.response_text().ok().flatten().unwrap_or_default() })
        }
        _ => Err(NoAnswer),
    }
}

fn start(
    request: &XmlHttpRequest,
    method: &str,
    url: &str,
    content: Content<'_>,
) -> Result<(), leptos::wasm_bindgen::JsValue> {
    request.open(method, url)?;
    request.set_timeout(TIMEOUT_MS);
    match content {
        Content::Nothing => request.send(),
        Content::Json(json) => {
            request.set_request_header("content-type", "application/json")?;
            request.send_with_opt_str(Some(&json))
        }
        Content::Piece(piece) => {
            request.set_request_header("content-type", "application/octet-stream")?;
            request.send_with_opt_blob(Some(piece))
        }
    }
}
