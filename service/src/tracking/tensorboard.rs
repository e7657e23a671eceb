//! TensorBoard's event files: protobuf messages of type `Event`, framed as TensorFlow's record files.
//!
//! A record is its length (u64, little-endian), the masked CRC-32C of those 8 bytes, the message, and the masked CRC-32C
//! of the message. The fields are those of `tensorflow/core/util/event.proto` and `summary.proto`; so few are needed that
//! they are written by hand.

use domain::run::{Moment, RunEvent};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// What is written is on the disk this soon.
const FLUSH_EVERY: Duration = Duration::from_secs(2);

/// An event file that grows with a run.
pub struct EventFile {
    writer: BufWriter<File>,
    flushed: Instant,
}

impl EventFile {
    /// A new file in the folder, which is made if it is missing. Earlier attempts of a run have files of their own there;
    /// TensorBoard reads them together.
    pub fn create(folder: &Path, at_ms: i64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut at = at_ms;
        let file = loop {
            // Two attempts within one second must not share a file.
            match File::create_new(folder.join(file_name(at))) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => at += 1000,
                other => break other?,
            }
        };
        let mut writer = BufWriter::new(file);
        writer.write_all(&begin(at_ms))?;
        Ok(Self { writer, flushed: Instant::now() })
    }

    pub fn write(&mut self, event: &RunEvent, at_ms: i64) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for record in points_of(event, at_ms) {
            frame(&record, &mut bytes);
        }
        self.writer.write_all(&bytes)?;
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> std::io::Result<()> {
        self.flushed = Instant::now();
        self.writer.flush()
    }
}

/// As TensorBoard looks for them: `tfevents` is in the name, and files are read in the order of their names.
pub fn file_name(at_ms: i64) -> String {
    format!("events.out.tfevents.{}.ayar", at_ms.max(0) / 1000)
}

/// The record that every file begins with.
pub fn begin(at_ms: i64) -> Vec<u8> {
    let mut event = wall_time(at_ms);
    put_bytes(&mut event, FILE_VERSION, b"brain.Event:2");
    let mut bytes = Vec::new();
    frame(&event, &mut bytes);
    bytes
}

// Fields of `Event`.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;
// Of `SessionLog`: from this step on, what came before is void.
const SESSION_STATUS: u64 = 1;
const SESSION_START: u64 = 1;
// Of `Summary` and of `Summary.Value`.
const VALUE: u64 = 1;
const TAG: u64 = 1;
const SIMPLE_VALUE: u64 = 2;

/// The messages that an event of a run becomes; none for what is no number.
pub fn points_of(event: &RunEvent, at_ms: i64) -> Vec<Vec<u8>> {
    match event {
        RunEvent::Resumed { from_step } => {
            let mut log = Vec::new();
            put_varint(&mut log, SESSION_STATUS << 3);
            put_varint(&mut log, SESSION_START);
            let mut event = wall_time(at_ms);
            put_varint(&mut event, STEP << 3);
            // The first step that comes again.
            put_varint(&mut event, from_step + 1);
            put_bytes(&mut event, SESSION_LOG, &log);
            vec![event]
        }
        _ => match scalars_of(event) {
            Some((step, scalars)) => vec![scalar_event(at_ms, step, &scalars)],
            None => Vec::new(),
        },
    }
}

/// The step and the named numbers of an event.
pub(super) fn scalars_of(event: &RunEvent) -> Option<(u64, Vec<(&'static str, f64)>)> {
    Some(match event {
        RunEvent::Step(point) => (
            point.step,
            vec![
                ("train/loss", point.loss),
                ("train/learning_rate", point.learning_rate),
                ("train/grad_norm", point.grad_norm),
                ("train/rows_per_second", point.rows_per_second),
                ("train/epoch", point.epoch),
            ],
        ),
        RunEvent::Validation(point) => (
            point.step,
            vec![
                ("validation/loss", point.loss),
                ("validation/accuracy", point.accuracy),
                ("validation/macro_f1", point.macro_f1),
            ],
        ),
        RunEvent::Evaluation { moment, evaluation } => {
            let [accuracy, macro_f1] = match moment {
                Moment::Before => ["test/accuracy_before", "test/macro_f1_before"],
                Moment::After => ["test/accuracy_after", "test/macro_f1_after"],
            };
            (0, vec![(accuracy, evaluation.accuracy), (macro_f1, evaluation.macro_f1)])
        }
        _ => return None,
    })
}

fn scalar_event(at_ms: i64, step: u64, scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut one = Vec::new();
        put_bytes(&mut one, TAG, tag.as_bytes());
        // Wire type 5: four bytes.
        put_varint(&mut one, SIMPLE_VALUE << 3 | 5);
        one.extend((*value as f32).to_le_bytes());
        put_bytes(&mut summary, VALUE, &one);
    }
    let mut event = wall_time(at_ms);
    put_varint(&mut event, STEP << 3);
    put_varint(&mut event, step);
    put_bytes(&mut event, SUMMARY, &summary);
    event
}

/// The beginning of an `Event`: seconds since 1970.
fn wall_time(at_ms: i64) -> Vec<u8> {
    let mut event = Vec::new();
    // Wire type 1: eight bytes.
    put_varint(&mut event, WALL_TIME << 3 | 1);
    event.extend((at_ms as f64 / 1000.0).to_le_bytes());
    event
}

/// Base 128, the lowest seven bits first.
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Wire type 2: a length and so many bytes.
fn put_bytes(bytes: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_varint(bytes, field << 3 | 2);
    put_varint(bytes, value.len() as u64);
    bytes.extend(value);
}

/// One record of the file.
pub fn frame(record: &[u8], bytes: &mut Vec<u8>) {
    let length = (record.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(masked_crc32c(&length).to_le_bytes());
    bytes.extend(record);
    bytes.extend(masked_crc32c(record).to_le_bytes());
}

/// TensorFlow's mask: a sum over bytes that hold sums themselves would be weak.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4): polynomial 0x1edc6f41, bits reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc = CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    !crc
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use domain::run::{LogLevel, StepPoint, ValidationPoint};

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// Reads a file as the format's description says, without the functions that write it.
    struct Reader<'a>(&'a [u8]);

    impl<'a> Reader<'a> {
        fn take(&mut self, count: usize) -> &'a [u8] {
            let (taken, rest) = self.0.split_at(count);
            self.0 = rest;
            taken
        }

        fn u32(&mut self) -> u32 {
            u32::from_le_bytes(self.take(4).try_into().unwrap())
        }

        fn record(&mut self) -> Option<&'a [u8]> {
            if self.0.is_empty() {
                return None;
            }
            let unmask = |masked: u32| masked.wrapping_sub(0xa282_ead8).rotate_left(15);
            let head = self.take(8);
            assert_eq!(unmask(self.u32()), crc32c(head));
            let record = self.take(u64::from_le_bytes(head.try_into().unwrap()) as usize);
            assert_eq!(unmask(self.u32()), crc32c(record));
            Some(record)
        }

        fn varint(&mut self) -> u64 {
            let mut value = 0;
            for place in 0.. {
                let byte = self.take(1)[0];
                value |= u64::from(byte & 0x7f) << (7 * place);
                if byte < 0x80 {
                    break;
                }
            }
            value
        }

        /// Number, and bytes or value of every field.
        fn fields(bytes: &'a [u8]) -> Vec<(u64, Vec<u8>)> {
            let mut reader = Reader(bytes);
            let mut fields = Vec::new();
            while !reader.0.is_empty() {
                let key = reader.varint();
                let value = match key & 7 {
                    0 => reader.varint().to_le_bytes().to_vec(),
                    1 => reader.take(8).to_vec(),
                    2 => {
                        let length = reader.varint() as usize;
                        reader.take(length).to_vec()
                    }
                    5 => reader.take(4).to_vec(),
                    other => panic!("wire type {other}"),
                };
                fields.push((key >> 3, value));
            }
            fields
        }
    }

    fn step(step: u64) -> RunEvent {
        RunEvent::Step(StepPoint {
            step,
            total_steps: 900,
            epoch: 0.5,
            loss: 1.25,
            learning_rate: 1e-3,
            grad_norm: 2.0,
            rows_per_second: 10.0,
            elapsed_seconds: 1.0,
            seconds_left: 1.0,
        })
    }

    #[test]
    fn a_file_reads_back_as_the_format_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 1_700_000_000_500).unwrap();
        file.write(&step(300), 1_700_000_001_000).unwrap();
        file.write(&RunEvent::Log { level: LogLevel::Info, message: "no number".into() }, 0).unwrap();
        file.write(&RunEvent::Resumed { from_step: 299 }, 1_700_000_002_000).unwrap();
        let look = ValidationPoint {
            step: 300,
            epoch: 1.0,
            elapsed_seconds: 2.0,
            loss: 0.5,
            accuracy: 0.75,
            macro_f1: 0.7,
            best: true,
        };
        file.write(&RunEvent::Validation(look), 1_700_000_003_000).unwrap();
        file.flush().unwrap();
        let bytes = std::fs::read(folder.path().join("events.out.tfevents.1700000000.ayar")).unwrap();
        let mut reader = Reader(&bytes);
        let mut events = Vec::new();
        while let Some(record) = reader.record() {
            events.push(Reader::fields(record));
        }
        assert_eq!(events.len(), 4);
        assert_eq!(events[0], [(1, 1_700_000_000.5f64.to_le_bytes().to_vec()), (3, b"brain.Event:2".to_vec())]);
        assert_eq!(events[1][1], (2, 300u64.to_le_bytes().to_vec()));
        let values: Vec<Vec<(u64, Vec<u8>)>> =
            Reader::fields(&events[1][2].1).iter().map(|(_, value)| Reader::fields(value)).collect();
        assert_eq!(values.len(), 5);
        assert_eq!(values[0], [(1, b"train/loss".to_vec()), (2, 1.25f32.to_le_bytes().to_vec())]);
        // Steps from 300 on are void.
        assert_eq!(events[2][1], (2, 300u64.to_le_bytes().to_vec()));
        assert_eq!(Reader::fields(&events[2][2].1), [(1, 1u64.to_le_bytes().to_vec())]);
        assert_eq!((events[2][2].0, events[3][2].0), (7, 5));

        // A second attempt in the same second has a file of its own.
        EventFile::create(folder.path(), 1_700_000_000_900).unwrap().flush().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
