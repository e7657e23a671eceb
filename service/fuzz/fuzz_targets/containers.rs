//! A file as it comes: gzip, zstd, zip or none of them, and whatever is in it.
#![no_main]

use domain::reading::ReadWish;
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;
use service_fuzz::{let_parsers_panic, look_and_read};

// zstd keeps up to 128 MB of what it has unpacked.
#[global_allocator]
static ALLOCATOR: Bounded<{ 512 << 20 }> = Bounded;

fuzz_target!(init: let_parsers_panic(), |bytes: &[u8]| {
    look_and_read(bytes, &ReadWish::default());
});
