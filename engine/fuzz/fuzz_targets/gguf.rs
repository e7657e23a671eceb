//! The header of a GGUF file: an error, or tensors that lie within the file and apart from each other.
#![no_main]

use engine::weights::gguf_header::read_header;
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Bounded<{ 64 << 20 }> = Bounded;

fuzz_target!(|bytes: &[u8]| {
    // The data itself is not read: files may be far longer than what is given of them.
    let file_size = bytes.len() as u64 + (1 << 20);
    let Ok(header) = read_header(&mut &bytes[..], file_size) else { return };
    let mut places: Vec<(u64, u64)> = Vec::new();
    for entry in header.tensors.values() {
        assert!(entry.elements() > 0 && entry.shape.len() <= 4);
        places.push((entry.offset, entry.offset.checked_add(entry.size).unwrap()));
    }
    places.sort_unstable();
    assert!(places.iter().all(|(start, end)| start < end && *end <= file_size));
    assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0));
});
