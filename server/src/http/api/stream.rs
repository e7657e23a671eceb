//! `POST /v1/classify/stream`: rows of CSV or JSON lines in, the same rows with their labels out, while the first are
//! still coming. However long the file, a request holds a few rows in memory.

mod answers;
mod records;

use super::classify::Threshold;
use super::{ApiRefusal, ErrorBody, media_type};
use answers::AnswerWriter;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::deployment::word_of;
use futures::stream as streams;
use http_body_util::BodyExt;
use records::{Record, RecordReader};
use serde::Deserialize;
use service::Service;
use service::classifiers::check_text;
use service::deployments::StreamRoute;
use std::io;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;

/// Streams at the same time.
const AT_ONCE: usize = 8;
static STREAMS: Semaphore = Semaphore::const_new(AT_ONCE);
/// Rows that are classified together.
const ROWS_TOGETHER: usize = 64;
/// Bytes of texts after which no further row is added to them.
const BYTES_TOGETHER: usize = 256 << 10;
/// A sender who is silent for so long has gone.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// Rows that have come wait so long for more before they are classified.
const LINGER: Duration = Duration::from_millis(20);
/// A reader who takes nothing for so long has gone.
const LONGEST_STALL: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
pub struct StreamQuery {
    model: Option<String>,
    text_column: Option<String>,
    abstain_below: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With its delimiter.
    Delimited(u8),
    JsonLines,
}

impl Format {
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "text/csv" => Some(Self::Delimited(b',')),
            "text/tab-separated-values" => Some(Self::Delimited(b'\t')),
            "application/x-ndjson" | "application/jsonl" | "application/jsonlines" => Some(Self::JsonLines),
            _ => None,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Delimited(b'\t') => "text/tab-separated-values; charset=utf-8",
            Self::Delimited(_) => "text/csv; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
        }
    }
}

/// Classify a file of any length
///
/// CSV (`text/csv`, `text/tab-separated-values`) with a header, or one JSON object or string per line
/// (`application/x-ndjson`). The answer begins while rows are still coming: send and read at the same time. CSV comes back
/// with the columns `predicted_label`, `confidence` and `error`; a line of JSON as an object with `row`, `id` if there was
/// one, `label`, `confidence` and `probabilities`. A row that cannot be classified has an `error` in its place. All rows
/// are answered by the same version, which the header `x-ayar-version` names.
#[utoipa::path(
    post,
    path = "/v1/classify/stream",
    tag = "classify",
    params(
        ("model" = String, Query, description = "As `model` at /v1/classify"),
        ("text_column" = Option<String>, Query, description = "Where the texts are: `text` unless it says otherwise"),
        ("abstain_below" = Option<f32>, Query, description = "As at /v1/classify; such a row has no label"),
    ),
    request_body(content(
        (String = "text/csv", example = "text\nProfit rose by a third.\n"),
        (String = "application/x-ndjson", example = "{\"text\": \"Profit rose by a third.\"}\n"),
    )),
    responses(
        (status = 200, description = "The rows with their answers", body = String),
        (status = 400, description = "The first rows cannot be read", body = ErrorBody),
        (status = 404, description = "No such deployment, run or model", body = ErrorBody),
        (status = 415, description = "Another content type", body = ErrorBody),
        (status = 429, description = "Too many streams at once", body = ErrorBody),
    )
)]
pub async fn stream(
    State(service): State<Service>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match begin(service, query, &headers, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn begin(service: Service, query: StreamQuery, headers: &HeaderMap, body: Body) -> Result<Response, ApiRefusal> {
    let media_type = media_type(headers);
    let Some(format) = Format::of(&media_type) else {
        return Err(ApiRefusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "The content type \"{media_type}\" is no stream of rows. Send text/csv, text/tab-separated-values or \
                 application/x-ndjson."
            ),
        ));
    };
    let Some(model) = query.model else {
        return Err(ApiRefusal::new(
            StatusCode::BAD_REQUEST,
            "Say what is to classify: /v1/classify/stream?model=NAME, the name of a deployment or a run such as run-3.",
        ));
    };
    let threshold = Threshold::parse(query.abstain_below)?;
    let Ok(permit) = STREAMS.try_acquire() else {
        let message = format!("{AT_ONCE} streams are being answered already. Try again in a moment.");
        return Err(ApiRefusal::busy(5.0, &message));
    };
    let route = service.deployments.route_stream(&model).await?;
    let text_column = query.text_column.unwrap_or_else(|| "text".to_string());
    let mut source = Source { body, records: RecordReader::new(format, text_column), ended: false };
    // While there still is a status code to tell it with.
    let first = source.next_records().await.map_err(|reason| ApiRefusal::new(StatusCode::BAD_REQUEST, reason))?;

    let mut response_headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))];
    if let Ok(version) = HeaderValue::from_str(&word_of(route.version)) {
        response_headers.push((HeaderName::from_static("x-ayar-version"), version));
    }
    let calibrated = if route.temperature.is_some() { "true" } else { "false" };
    response_headers.push((HeaderName::from_static("x-ayar-calibrated"), HeaderValue::from_static(calibrated)));

    // Two pieces at most lie ready for a slow reader; until it takes them, nothing more is read.
    let (pieces, answer) = mpsc::channel::<io::Result<Bytes>>(2);
    let writer = AnswerWriter::new(format, source.records.header(), route.labels.clone(), threshold);
    tokio::spawn(answer_rows(Answering { service, route, source, writer, pieces, _permit: permit }, first));
    let body = streams::unfold(answer, async |mut answer| answer.recv().await.map(|piece| (piece, answer)));
    let mut response = Body::from_stream(body).into_response();
    for (name, value) in response_headers {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

struct Answering {
    service: Service,
    route: StreamRoute,
    source: Source,
    writer: AnswerWriter,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    _permit: SemaphorePermit<'static>,
}

/// Ends with the rows, with the reader, or with a trouble, which stands in a last row before the answer is cut off, so
/// that nobody takes it for complete.
async fn answer_rows(mut answering: Answering, first: Vec<Record>) {
    let mut records = first;
    let reader = answering.pieces.clone();
    loop {
        if records.is_empty() {
            return;
        }
        let outcome = tokio::select! {
            outcome = answering.classify(&records) => outcome,
            () = reader.closed() => return,
        };
        let piece = match outcome {
            Ok(piece) => piece,
            Err(reason) => return answering.break_off(&reason).await,
        };
        if !answering.send(Ok(piece)).await {
            return;
        }
        let next = tokio::select! {
            next = answering.source.next_records() => next,
            () = reader.closed() => return,
        };
        match next {
            Ok(next) => records = next,
            Err(reason) => return answering.break_off(&reason).await,
        }
    }
}

impl Answering {
    async fn classify(&mut self, records: &[Record]) -> Result<Bytes, String> {
        let mut texts = Vec::with_capacity(records.len());
        let mut faults = Vec::with_capacity(records.len());
        for record in records {
            let checked = record.text.as_ref().map_err(Clone::clone).and_then(|text| {
                check_text("The text", text).map_err(|error| error.message)?;
                Ok(text.clone())
            });
            match checked {
                Ok(text) => {
                    texts.push(text);
                    faults.push(None);
                }
                Err(reason) => faults.push(Some(reason)),
            }
        }
        let mut predictions = Vec::new();
        if !texts.is_empty() {
            let answered = self.service.deployments.classify_streamed(&self.route, texts).await;
            predictions = answered.map_err(|error| domain::error::UserError::from(error).message)?.predictions;
        }
        let mut predictions = predictions.into_iter();
        let mut piece = Vec::new();
        for (record, fault) in records.iter().zip(faults) {
            let answer = match fault {
                None => predictions.next().ok_or_else(|| "An answer is missing.".to_string()),
                Some(reason) => Err(reason),
            };
            self.writer.write(&mut piece, record, answer.as_ref().map_err(String::as_str));
        }
        Ok(piece.into())
    }

    async fn break_off(&mut self, reason: &str) {
        let mut piece = Vec::new();
        self.writer.write(&mut piece, &self.source.records.after_the_last(), Err(reason));
        if self.send(Ok(piece.into())).await {
            self.send(Err(io::Error::other(reason.to_string()))).await;
        }
    }

    /// False: there is nobody to send to.
    async fn send(&mut self, piece: io::Result<Bytes>) -> bool {
        matches!(timeout(LONGEST_STALL, self.pieces.send(piece)).await, Ok(Ok(())))
    }
}

/// The rows of a body.
struct Source {
    body: Body,
    records: RecordReader,
    ended: bool,
}

impl Source {
    /// The next rows that go together; none at the end.
    async fn next_records(&mut self) -> Result<Vec<Record>, String> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        loop {
            while taken.len() < ROWS_TOGETHER && bytes < BYTES_TOGETHER {
                match self.records.next(self.ended)? {
                    Some(record) => {
                        bytes += record.bytes();
                        taken.push(record);
                    }
                    None => break,
                }
            }
            if self.ended || taken.len() == ROWS_TOGETHER || bytes >= BYTES_TOGETHER {
                return Ok(taken);
            }
            let patience = if taken.is_empty() { LONGEST_SILENCE } else { LINGER };
            match timeout(patience, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.records.feed(&data);
                    }
                }
                Ok(None) => self.ended = true,
                Ok(Some(Err(error))) => return Err(format!("The body broke off: {error}.")),
                Err(_) if taken.is_empty() => {
                    return Err(format!("Nothing came for {} s.", LONGEST_SILENCE.as_secs()));
                }
                Err(_) => return Ok(taken),
            }
        }
    }
}
