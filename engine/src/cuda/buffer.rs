//! Pieces of memory that a card can read, and points in the order of its work.

use crate::cuda::card::Card;
use crate::error::EngineError;
use cudarc::driver::result;
use cudarc::driver::sys;
use std::ffi::c_void;
use std::sync::Arc;

/// A piece of a card's memory, or of the host's that the card can read.
pub struct Buffer {
    pub(super) card: Arc<Card>,
    pub(super) address: u64,
    pub(super) bytes: usize,
    in_host_memory: bool,
}

impl Buffer {
    /// Memory whose content is whatever lay there.
    pub fn new(card: &Arc<Card>, bytes: usize) -> Result<Self, EngineError> {
        Ok(Self { card: card.clone(), address: card.allocate(bytes)?, bytes, in_host_memory: false })
    }

    /// Memory of the host that the card reads over the bus: for tables of which a step needs a few rows.
    pub fn in_host_memory(card: &Arc<Card>, bytes: usize) -> Result<Self, EngineError> {
        card.bind()?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: a plain request; under unified addressing the card reads it at the same address.
        let place = unsafe { result::malloc_host(bytes.max(1), flags) }.map_err(|error| card.failed(error))?;
        Ok(Self { card: card.clone(), address: place as u64, bytes, in_host_memory: true })
    }

    /// The bytes of memory in the host, for the host's use; `None` where they lie on the card.
    ///
    /// # Safety
    /// The memory has been written since it was allocated, and nothing that the card was asked for still uses it.
    pub(super) unsafe fn host_bytes(&mut self) -> Option<&mut [u8]> {
        // SAFETY: the memory is as long as this and lives as long as the buffer; the caller vouches for the rest.
        self.in_host_memory.then(|| unsafe { std::slice::from_raw_parts_mut(self.address as *mut u8, self.bytes) })
    }

    pub fn zeros(card: &Arc<Card>, bytes: usize) -> Result<Self, EngineError> {
        let buffer = Self::new(card, bytes)?;
        buffer.clear(0, bytes)?;
        Ok(buffer)
    }

    pub fn of<T: Copy>(card: &Arc<Card>, values: &[T]) -> Result<Self, EngineError> {
        let buffer = Self::new(card, size_of_val(values))?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    pub fn clear(&self, offset: usize, bytes: usize) -> Result<(), EngineError> {
        debug_assert!(offset + bytes <= self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range lies in the buffer.
        unsafe { result::memset_d8_async(self.address + offset as u64, 0, bytes, self.card.stream()) }
            .map_err(|error| self.card.failed(error))
    }

    /// The values may be changed or dropped as soon as this returns: the driver copies from ordinary memory at once.
    pub fn write<T: Copy>(&self, offset: usize, values: &[T]) -> Result<(), EngineError> {
        if offset + size_of_val(values) > self.bytes {
            return Err(EngineError::invalid("more values than the card's buffer holds"));
        }
        if values.is_empty() {
            return Ok(());
        }
        self.card.bind()?;
        // SAFETY: the range lies in the buffer.
        unsafe { result::memcpy_htod_async(self.address + offset as u64, values, self.card.stream()) }
            .map_err(|error| self.card.failed(error))
    }

    /// Waits for everything before, then reads.
    pub fn read<T: Copy + Default>(&self, offset: usize, count: usize) -> Result<Vec<T>, EngineError> {
        let mut values = vec![T::default(); count];
        if offset + size_of_val(values.as_slice()) > self.bytes {
            return Err(EngineError::invalid("fewer values in the card's buffer than are asked for"));
        }
        if count == 0 {
            return Ok(values);
        }
        self.card.bind()?;
        // SAFETY: the range lies in the buffer, and the copy has ended before `values` is handed on.
        unsafe { result::memcpy_dtoh_async(&mut values, self.address + offset as u64, self.card.stream()) }
            .map_err(|error| self.card.failed(error))?;
        self.card.synchronize()?;
        Ok(values)
    }

    /// Copies from another place that the card reads.
    pub(super) fn write_from(&self, offset: usize, address: u64, bytes: usize) -> Result<(), EngineError> {
        if offset + bytes > self.bytes {
            return Err(EngineError::invalid("more values than the buffer holds"));
        }
        // SAFETY: the range lies in the buffer. Under unified addressing the driver knows which memory is whose.
        unsafe { result::memcpy_dtod_async(self.address + offset as u64, address, bytes, self.card.stream()) }
            .map_err(|error| self.card.failed(error))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.in_host_memory {
            // Kernels may still be reading it. What cannot be freed is lost with the process.
            if self.card.synchronize().is_ok() {
                // SAFETY: the address came from `malloc_host` and is freed here alone.
                let _ = unsafe { result::free_host(self.address as *mut c_void) };
            }
            return;
        }
        self.card.free(self.address, self.bytes);
    }
}

/// A point in the order of a card's work, which can be waited for.
pub(super) struct Event {
    card: Arc<Card>,
    event: sys::CUevent,
}

// SAFETY: as for the card.
unsafe impl Send for Event {}

impl Event {
    /// Waiting for it does not keep a core busy.
    pub fn new(card: &Arc<Card>) -> Result<Self, EngineError> {
        card.bind()?;
        let mut event = std::ptr::null_mut();
        let (blocking, untimed) =
            (sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        let flags = blocking as u32 | untimed as u32;
        // SAFETY: the event is written to a place of its own.
        unsafe { sys::cuEventCreate(&mut event, flags) }.result().map_err(|error| card.failed(error))?;
        Ok(Self { card: card.clone(), event })
    }

    /// Is now behind everything asked for so far.
    pub fn record(&self) -> Result<(), EngineError> {
        // SAFETY: the event lives as long as this, the stream as long as the card.
        unsafe { result::event::record(self.event, self.card.stream()) }.map_err(|error| self.card.failed(error))
    }

    /// Waits until everything before it is done; one that was never recorded is no wait.
    pub fn wait(&self) -> Result<(), EngineError> {
        // SAFETY: as above.
        unsafe { result::event::synchronize(self.event) }.map_err(|error| self.card.failed(error))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.card.bind().is_ok() {
            // SAFETY: the event is destroyed here alone. What cannot be destroyed is lost with its card.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}
