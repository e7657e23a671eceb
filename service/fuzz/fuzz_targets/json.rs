//! JSON in any layout, and JSON Lines: rows, or a refusal in words.
#![no_main]

use domain::reading::{FileFormat, ReadWish};
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;
use service_fuzz::look_and_read;

// A column of an object of columns takes a piece of the file each, of which there are 64 at the most.
#[global_allocator]
static ALLOCATOR: Bounded<{ 256 << 20 }> = Bounded;

fuzz_target!(|bytes: &[u8]| {
    let encoding = Some("UTF-8".to_string());
    for format in [FileFormat::Json, FileFormat::JsonLines] {
        look_and_read(bytes, &ReadWish { format: Some(format), encoding: encoding.clone(), ..ReadWish::default() });
    }
});
