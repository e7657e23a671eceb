//! What the fuzz targets share: a limit on memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which ends the process as soon as more than `LIMIT_BYTES` are held at once: a parser's
/// memory is bounded by the length of its input, whatever the input says.
pub struct Bounded<const LIMIT_BYTES: usize>;

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl<const LIMIT_BYTES: usize> GlobalAlloc for Bounded<LIMIT_BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if HELD_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > LIMIT_BYTES {
            // libFuzzer keeps the input. A panic would allocate.
            std::process::abort();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}
