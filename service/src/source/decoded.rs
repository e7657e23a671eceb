//! Bytes of a file as text, a piece at a time.

use super::container::Stream;
use crate::error::Result;
use encoding_rs::{CoderResult, Decoder, Encoding};

/// Bytes read at a time.
pub const PIECE_BYTES: usize = 256 * 1024;

/// The text that has been read and not been passed yet, and where the rest comes from.
pub struct Decoded {
    stream: Stream,
    decoder: Decoder,
    /// Bytes fresh from the stream.
    raw: Vec<u8>,
    text: String,
    /// What lies before has been passed.
    at: usize,
    ended: bool,
}

impl Decoded {
    /// A byte-order mark at the beginning is no text.
    pub fn new(stream: Stream, encoding: &'static Encoding) -> Self {
        Self {
            stream,
            decoder: encoding.new_decoder_with_bom_removal(),
            raw: vec![0; PIECE_BYTES],
            text: String::new(),
            at: 0,
            ended: false,
        }
    }

    /// What has been read and not been passed.
    pub fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The rest is all that there is.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    pub fn share(&self) -> f64 {
        self.stream.share()
    }

    /// Passes over the first `bytes` of the rest; they stay readable by [`Decoded::passed`] until more is read.
    pub fn pass(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The last `bytes` that were passed.
    pub fn passed(&self, bytes: usize) -> &str {
        &self.text[self.at.saturating_sub(bytes)..self.at]
    }

    /// Appends the next piece of the file to the rest.
    pub fn read_more(&mut self) -> Result<()> {
        self.text.drain(..self.at);
        self.at = 0;
        let read = self.stream.next_piece(&mut self.raw)?;
        self.ended = read == 0;
        let mut undecoded = &self.raw[..read];
        // One call decodes all, given room for the worst case; the loop is there for the decoder's word on it.
        loop {
            let room = self.decoder.max_utf8_buffer_length(undecoded.len()).unwrap_or(PIECE_BYTES * 4);
            self.text.reserve(room);
            let (outcome, consumed, _) = self.decoder.decode_to_string(undecoded, &mut self.text, self.ended);
            undecoded = &undecoded[consumed..];
            if outcome == CoderResult::InputEmpty {
                return Ok(());
            }
        }
    }
}

/// Line ends of every kind: `\n`, `\r\n` and the lone `\r` of old Macs. A carriage return at the very end counts.
pub fn count_line_ends(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let is_end = |at: &usize| bytes[*at] == b'\n' || bytes.get(at + 1) != Some(&b'\n');
    memchr::memchr2_iter(b'\n', b'\r', bytes).filter(is_end).count() as u64
}
