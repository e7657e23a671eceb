//! The header of a safetensors file: an error, or tensors that fill the file without gap or overlap.
#![no_main]

use engine::weights::safetensors::read_header;
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Bounded<{ 64 << 20 }> = Bounded;

fuzz_target!(|bytes: &[u8]| {
    // The JSON alone: its length before it and the data behind it are made to fit, or nothing else would be found.
    let data_bytes = last_offset(bytes).min(1 << 40);
    let file = [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat();
    let file_size = file.len() as u64 + data_bytes;
    let Ok(header) = read_header(&mut &file[..], file_size) else { return };
    let mut at = 0;
    for name in header.metadata.offset_keys() {
        let info = header.metadata.info(&name).unwrap();
        let (start, end) = info.data_offsets;
        assert!(start == at && start <= end);
        let elements: usize = info.shape.iter().product();
        assert_eq!(elements * info.dtype.bitsize(), (end - start) * 8);
        at = end;
    }
    assert_eq!(header.data_start + at as u64, file_size);
});

/// The largest number that stands before a closing bracket.
fn last_offset(json: &[u8]) -> u64 {
    let ends = json.iter().enumerate().filter(|(_, byte)| **byte == b']').map(|(end, _)| end);
    ends.filter_map(|end| {
        let digits = json[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&json[end - digits..end]).ok()?.parse().ok()
    })
    .max()
    .unwrap_or(0)
}
