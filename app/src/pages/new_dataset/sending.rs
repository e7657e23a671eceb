//! Sends a file by XMLHttpRequest: the one way in a browser to learn how much of an upload has left. Browser only.

use crate::api::datasets::Upload;
use crate::error::ApiError;
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::error::UserError;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use leptos::wasm_bindgen::JsCast;
use leptos::wasm_bindgen::closure::Closure;
use web_sys::{File, FormData, ProgressEvent, XmlHttpRequest};

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq)]
pub enum UploadState {
    Idle,
    Sending(Sent),
    /// All bytes are there; the server reads them.
    Reading {
        file_name: String,
    },
    Failed(ApiError),
    /// The name of the finished upload.
    Done(String),
}

/// How much of a file is on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub file_name: String,
    pub bytes: f64,
    pub total: f64,
    pub seconds: f64,
}

impl Sent {
    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        if self.total > 0.0 { self.bytes / self.total } else { 0.0 }
    }

    /// Bytes per second, once there is something to measure.
    pub fn rate(&self) -> Option<f64> {
        (self.seconds > 0.3 && self.bytes > 0.0).then(|| self.bytes / self.seconds)
    }
}

/// An upload under way; stopped when dropped.
pub struct Sending {
    request: XmlHttpRequest,
    // The browser calls these as long as the request lives.
    _on_progress: Closure<dyn FnMut(ProgressEvent)>,
    _on_end: Closure<dyn FnMut(ProgressEvent)>,
}

impl Sending {
    /// Begins to send `file` and keeps `state` up to date until the end.
    pub fn begin(file: &File, state: RwSignal<UploadState>) -> Result<Self, ApiError> {
        if file.size() > MAX_UPLOAD_BYTES as f64 {
            return Err(UserError::invalid(format!(
                "{} is {} large; at most {} can be uploaded. Split the file and make a dataset of each part.",
                file.name(),
                crate::format::bytes(file.size()),
                crate::format::bytes(MAX_UPLOAD_BYTES as f64)
            ))
            .into());
        }
        let file_name = file.name();
        let begun = js_sys::Date::now();
        state.set(UploadState::Sending(Sent {
            file_name: file_name.clone(),
            bytes: 0.0,
            total: file.size(),
            seconds: 0.0,
        }));

        let on_progress = Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| {
            let file_name = file_name.clone();
            let (bytes, total) = (event.loaded(), event.total());
            let seconds = (js_sys::Date::now() - begun) / 1000.0;
            let _ = state.try_set(if bytes < total {
                UploadState::Sending(Sent { file_name, bytes, total, seconds })
            } else {
                UploadState::Reading { file_name }
            });
        });
        let request = XmlHttpRequest::new().map_err(|_| unreachable_server("no XMLHttpRequest"))?;
        let answered = request.clone();
        let on_end = Closure::<dyn FnMut(ProgressEvent)>::new(move |_| {
            let _ = state.try_set(match read_answer(&answered) {
                Ok(upload) => UploadState::Done(upload),
                Err(error) => UploadState::Failed(error),
            });
        });
        if let Ok(upload) = request.upload() {
            upload.set_onprogress(Some(on_progress.as_ref().unchecked_ref()));
        }
        request.set_onload(Some(on_end.as_ref().unchecked_ref()));
        request.set_onerror(Some(on_end.as_ref().unchecked_ref()));
        send(&request, file).map_err(|_| unreachable_server("the request could not be sent"))?;
        Ok(Self { request, _on_progress: on_progress, _on_end: on_end })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.request.set_onload(None);
        self.request.set_onerror(None);
        let _ = self.request.abort();
    }
}

fn send(request: &XmlHttpRequest, file: &File) -> Result<(), leptos::wasm_bindgen::JsValue> {
    let form = FormData::new()?;
    form.append_with_blob_and_filename("file", file, &file.name())?;
    request.open("POST", Upload::url())?;
    request.set_request_header("Accept", "application/json")?;
    request.send_with_opt_form_data(Some(&form))
}

fn read_answer(request: &XmlHttpRequest) -> Result<String, ApiError> {
    let status = request.status().unwrap_or(0);
    let text = request.response_text().ok().flatten().unwrap_or_default();
    match status {
        200 => serde_json::from_str(&text).map_err(|error| unreachable_server(&error.to_string())),
        0 => Err(unreachable_server("the connection broke")),
        // Too large: refused before it reached a server function, in plain words.
        413 => Err(UserError::invalid(text.trim()).into()),
        _ => Err(ApiError::de(text.into_bytes().into())),
    }
}

fn unreachable_server(detail: &str) -> ApiError {
    ApiError::from_server_fn_error(ServerFnErrorErr::Request(detail.to_string()))
}
