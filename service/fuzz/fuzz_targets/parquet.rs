//! A Parquet file: rows, or a refusal in words, whatever its footer and its pages say.
#![no_main]

use domain::reading::{FileFormat, ReadWish};
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;
use service_fuzz::{let_parsers_panic, look_and_read};

// A page may claim 256 MB, and a dictionary and the page behind it are there at a time.
#[global_allocator]
static ALLOCATOR: Bounded<{ 1536 << 20 }> = Bounded;

fuzz_target!(init: let_parsers_panic(), |bytes: &[u8]| {
    look_and_read(bytes, &ReadWish { format: Some(FileFormat::Parquet), ..ReadWish::default() });
});
