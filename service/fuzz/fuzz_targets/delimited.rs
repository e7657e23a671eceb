//! Delimited rows in any encoding: rows, or a refusal in words.
#![no_main]

use domain::reading::{FileFormat, ReadWish};
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;
use service_fuzz::look_and_read;

// Three pieces of a file, some megabytes of sample, and what the process has anyway.
#[global_allocator]
static ALLOCATOR: Bounded<{ 128 << 20 }> = Bounded;

fuzz_target!(|bytes: &[u8]| {
    look_and_read(bytes, &ReadWish { format: Some(FileFormat::Delimited), ..ReadWish::default() });
});
