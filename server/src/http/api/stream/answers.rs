//! Rows with their answers, in the format in which they came.

use super::Format;
use super::records::Record;
use crate::http::api::classify::{LabelledText, Threshold};
use domain::prediction::Prediction;
use serde::Serialize;

pub struct AnswerWriter {
    format: Format,
    labels: Vec<String>,
    threshold: Threshold,
    columns: usize,
    /// Of CSV, until it has been written.
    header: Option<Vec<Vec<u8>>>,
}

#[derive(Serialize)]
struct Line<'a> {
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    #[serde(flatten)]
    answer: Option<LabelledText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl AnswerWriter {
    pub fn new(format: Format, header: Vec<Vec<u8>>, labels: Vec<String>, threshold: Threshold) -> Self {
        Self { format, labels, threshold, columns: header.len(), header: Some(header) }
    }

    /// Appends a row.
    pub fn write(&mut self, to: &mut Vec<u8>, record: &Record, answer: Result<&Prediction, &str>) {
        match self.format {
            Format::JsonLines => self.write_line(to, record, answer),
            Format::Delimited(delimiter) => self.write_cells(to, delimiter, record, answer),
        }
    }

    fn write_line(&self, to: &mut Vec<u8>, record: &Record, answer: Result<&Prediction, &str>) {
        let line = Line {
            row: record.row,
            id: record.id.as_ref(),
            answer: answer.ok().map(|prediction| LabelledText::new(&self.labels, prediction, self.threshold)),
            error: answer.err(),
        };
        if serde_json::to_writer(&mut *to, &line).is_ok() {
            to.push(b'\n');
        }
    }

    fn write_cells(&mut self, to: &mut Vec<u8>, delimiter: u8, record: &Record, answer: Result<&Prediction, &str>) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(to);
        // Into memory: nothing fails.
        if let Some(header) = self.header.take() {
            let new: [&[u8]; 3] = [b"predicted_label", b"confidence", b"error"];
            let _ = writer.write_record(header.iter().map(Vec::as_slice).chain(new));
        }
        let empty = Vec::new();
        let cells = record.cells.iter().chain(std::iter::repeat(&empty)).take(self.columns.max(record.cells.len()));
        let (label, confidence) = match answer {
            Ok(prediction) => {
                let label = self.labels.get(prediction.label).filter(|_| self.threshold.lets_through(prediction));
                (label.cloned().unwrap_or_default(), format!("{}", prediction.confidence()))
            }
            Err(_) => Default::default(),
        };
        let new = [label.as_bytes(), confidence.as_bytes(), answer.err().unwrap_or_default().as_bytes()];
        let _ = writer.write_record(cells.map(Vec::as_slice).chain(new));
        let _ = writer.flush();
    }
}
