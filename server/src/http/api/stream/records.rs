//! Rows out of a body that comes in pieces, held to a length so that no row can fill the memory.

use super::Format;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// Longest row, in bytes.
const LONGEST_ROW: usize = 256 << 10;
/// Most columns.
const MOST_COLUMNS: usize = 1000;

/// A row as it came, and its text or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// From 1, the header not counted.
    pub row: u64,
    pub text: Result<String, String>,
    /// The cells of a line of CSV.
    pub cells: Vec<Vec<u8>>,
    /// What a line of JSON calls itself.
    pub id: Option<serde_json::Value>,
}

impl Record {
    pub fn bytes(&self) -> usize {
        self.cells.iter().map(Vec::len).sum::<usize>() + self.text.as_ref().map_or(0, String::len)
    }
}

pub struct RecordReader {
    format: Format,
    text_column: String,
    /// What has come and not been read.
    pending: Vec<u8>,
    /// Of `pending`, what has been looked at.
    read: usize,
    is_begun: bool,
    rows: u64,
    csv: Box<Reader>,
    header: Vec<Vec<u8>>,
    text_at: usize,
    /// The row that is being read.
    cells: Vec<u8>,
    cells_used: usize,
    ends: Vec<usize>,
    ends_used: usize,
}

impl RecordReader {
    pub fn new(format: Format, text_column: String) -> Self {
        let delimiter = match format {
            Format::Delimited(delimiter) => delimiter,
            Format::JsonLines => b',',
        };
        let is_csv = matches!(format, Format::Delimited(_));
        Self {
            format,
            text_column,
            pending: Vec::new(),
            read: 0,
            is_begun: false,
            rows: 0,
            csv: Box::new(ReaderBuilder::new().delimiter(delimiter).build()),
            header: Vec::new(),
            text_at: 0,
            cells: vec![0; if is_csv { LONGEST_ROW } else { 0 }],
            cells_used: 0,
            ends: vec![0; if is_csv { MOST_COLUMNS } else { 0 }],
            ends_used: 0,
        }
    }

    /// The names of the columns of CSV, once the first row has been asked for.
    pub fn header(&self) -> Vec<Vec<u8>> {
        self.header.clone()
    }

    /// In place of the row that cannot be read.
    pub fn after_the_last(&self) -> Record {
        Record { row: self.rows + 1, text: Err(String::new()), cells: Vec::new(), id: None }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.read);
        self.read = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next row, if all of it is there; `ended`: nothing more comes.
    ///
    /// # Errors
    /// No further row can be read.
    pub fn next(&mut self, ended: bool) -> Result<Option<Record>, String> {
        if !self.is_begun {
            if self.pending.len() < 3 && !ended {
                return Ok(None);
            }
            if self.pending.starts_with(b"\xEF\xBB\xBF") {
                self.read = 3;
            }
            self.is_begun = true;
        }
        match self.format {
            Format::JsonLines => self.next_line(ended),
            Format::Delimited(_) => {
                if self.header.is_empty() {
                    let Some(header) = self.next_cells(ended)? else { return self.no_header(ended) };
                    self.text_at = self.text_cell(&header)?;
                    self.header = header;
                }
                let Some(cells) = self.next_cells(ended)? else { return Ok(None) };
                self.rows += 1;
                let text = match cells.get(self.text_at) {
                    None => Err(format!("The row has {} cells and none for the text.", cells.len())),
                    Some(cell) => std::str::from_utf8(cell).map(String::from).map_err(|_| NOT_UTF8.to_string()),
                };
                Ok(Some(Record { row: self.rows, text, cells, id: None }))
            }
        }
    }

    fn no_header(&self, ended: bool) -> Result<Option<Record>, String> {
        if ended { Err("The file is empty: it has not even a header.".to_string()) } else { Ok(None) }
    }

    fn text_cell(&self, header: &[Vec<u8>]) -> Result<usize, String> {
        let is_it = |cell: &Vec<u8>| cell.as_slice() == self.text_column.as_bytes();
        header.iter().position(is_it).ok_or_else(|| {
            let names: Vec<String> =
                header.iter().take(20).map(|cell| format!("\"{}\"", String::from_utf8_lossy(cell))).collect();
            format!(
                "No column is called \"{}\"; there are {}. Name the one with the texts: ?text_column=NAME.",
                self.text_column,
                names.join(", ")
            )
        })
    }

    fn next_cells(&mut self, ended: bool) -> Result<Option<Vec<Vec<u8>>>, String> {
        loop {
            let input = &self.pending[self.read..];
            if input.is_empty() && !ended {
                return Ok(None);
            }
            let (result, read, written, ends) =
                self.csv.read_record(input, &mut self.cells[self.cells_used..], &mut self.ends[self.ends_used..]);
            self.read += read;
            self.cells_used += written;
            self.ends_used += ends;
            match result {
                ReadRecordResult::InputEmpty if ended => {}
                ReadRecordResult::InputEmpty => return Ok(None),
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::OutputFull => {
                    return Err(format!(
                        "Row {} is longer than {} KB; perhaps a quote is not closed.",
                        self.rows + 1,
                        LONGEST_ROW >> 10
                    ));
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(format!("Row {} has more than {MOST_COLUMNS} columns.", self.rows + 1));
                }
                ReadRecordResult::Record => {
                    let mut begin = 0;
                    let cells = self.ends[..self.ends_used].iter().map(|&end| {
                        let cell = self.cells[begin..end].to_vec();
                        begin = end;
                        cell
                    });
                    let cells = cells.collect();
                    (self.cells_used, self.ends_used) = (0, 0);
                    return Ok(Some(cells));
                }
            }
        }
    }

    fn next_line(&mut self, ended: bool) -> Result<Option<Record>, String> {
        loop {
            let rest = &self.pending[self.read..];
            let (line, length) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&rest[..end], end + 1),
                None if ended && !rest.is_empty() => (rest, rest.len()),
                None if rest.len() > LONGEST_ROW => (rest, rest.len()),
                None => return Ok(None),
            };
            if line.len() > LONGEST_ROW {
                return Err(format!("Line {} is longer than {} KB.", self.rows + 1, LONGEST_ROW >> 10));
            }
            let line = line.trim_ascii().to_vec();
            self.read += length;
            if line.is_empty() {
                continue;
            }
            self.rows += 1;
            let (text, id) = self.text_of_line(&line);
            return Ok(Some(Record { row: self.rows, text, cells: Vec::new(), id }));
        }
    }

    fn text_of_line(&self, line: &[u8]) -> (Result<String, String>, Option<serde_json::Value>) {
        let Ok(line) = std::str::from_utf8(line) else { return (Err(NOT_UTF8.to_string()), None) };
        match serde_json::from_str(line) {
            Ok(serde_json::Value::String(text)) => (Ok(text), None),
            Ok(serde_json::Value::Object(mut fields)) => {
                let id = fields.remove("id");
                let text = match fields.remove(&self.text_column) {
                    Some(serde_json::Value::String(text)) => Ok(text),
                    Some(_) => Err(format!("\"{}\" is no string.", self.text_column)),
                    None => Err(format!("There is no field \"{}\".", self.text_column)),
                };
                (text, id)
            }
            Ok(_) => (Err("The line is neither a string nor an object.".to_string()), None),
            Err(error) => (Err(format!("The line is no JSON: {error}.")), None),
        }
    }
}

const NOT_UTF8: &str = "The row is not UTF-8.";

#[cfg(test)]
mod tests {
    use super::*;

    /// All rows, the body cut into pieces of `size` bytes.
    fn read(format: Format, body: &[u8], size: usize) -> Result<Vec<Record>, String> {
        let mut reader = RecordReader::new(format, "text".to_string());
        let mut records = Vec::new();
        for piece in body.chunks(size) {
            reader.feed(piece);
            while let Some(record) = reader.next(false)? {
                records.push(record);
            }
        }
        while let Some(record) = reader.next(true)? {
            records.push(record);
        }
        Ok(records)
    }

    const CSV: Format = Format::Delimited(b',');

    #[test]
    fn rows_are_the_same_however_the_body_is_cut() {
        let csv = "\u{feff}id,text\r\n1,\"a, \"\"b\"\"\nc\"\n2,\n3\n4,\u{fc}ber,more\n5,last".as_bytes();
        let lines = b"{\"id\": 7, \"text\": \"a\"}\n\n\"b\"\n[]\n{\"text\": 3}\n{oh\n{}\n\xff\n\"last\"";
        for (format, body, rows) in [(CSV, csv, 5), (Format::JsonLines, &lines[..], 8)] {
            let whole = read(format, body, body.len()).unwrap();
            assert_eq!(whole.len(), rows);
            for size in [1, 2, 3, 7] {
                assert_eq!(read(format, body, size).unwrap(), whole, "{size}");
            }
        }
        let texts: Vec<_> = read(CSV, csv, 5).unwrap().into_iter().map(|record| record.text).collect();
        assert_eq!(texts[0].as_deref(), Ok("a, \"b\"\nc"));
        assert_eq!(texts[1].as_deref(), Ok(""));
        assert!(texts[2].as_ref().is_err_and(|reason| reason.contains("1 cells")));
        assert_eq!((texts[3].as_deref(), texts[4].as_deref()), (Ok("\u{fc}ber"), Ok("last")));
        let lines = read(Format::JsonLines, lines, 4).unwrap();
        assert_eq!(lines[0].id, Some(serde_json::json!(7)));
        assert_eq!(
            lines.iter().map(|line| line.text.is_ok()).collect::<Vec<_>>(),
            [true, true, false, false, false, false, false, true]
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_before_it_fills_the_memory() {
        assert!(
            read(CSV, b"a,b\n1,2\n", 3).unwrap_err().contains("No column is called \"text\"; there are \"a\", \"b\"")
        );
        assert!(read(CSV, b"", 1).unwrap_err().contains("empty"));
        let unclosed = [b"text\n\"", "x".repeat(LONGEST_ROW + 10).as_bytes()].concat();
        assert!(read(CSV, &unclosed, 10_000).unwrap_err().contains("quote"));
        assert!(read(CSV, format!("text{}\n", ",".repeat(2000)).as_bytes(), 100).unwrap_err().contains("columns"));
        let endless = "x".repeat(LONGEST_ROW + 10);
        assert!(read(Format::JsonLines, endless.as_bytes(), 10_000).unwrap_err().contains("Line 1"));
    }
}
