//! Sums over the cards of one host, through NVIDIA's NCCL, opened at run time.
//!
//! Five of its functions are enough, so they are looked up by name here: their signatures have not changed since NCCL 2.4.

use crate::cuda::card::Card;
use crate::cuda::library;
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

const NCCL_FLOAT32: c_int = 7;
const NCCL_SUM: c_int = 0;

type CommPointer = *mut c_void;

struct Nccl {
    comm_init_all: unsafe extern "C" fn(*mut CommPointer, c_int, *const c_int) -> c_int,
    all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, CommPointer, *mut c_void) -> c_int,
    comm_destroy: unsafe extern "C" fn(CommPointer) -> c_int,
    comm_abort: unsafe extern "C" fn(CommPointer) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

fn nccl() -> Result<&'static Nccl, EngineError> {
    static NCCL: OnceLock<Result<Nccl, String>> = OnceLock::new();
    NCCL.get_or_init(load).as_ref().map_err(|reason| EngineError::invalid(reason.clone()))
}

fn load() -> Result<Nccl, String> {
    let name = "libnccl.so.2";
    let library = library::open_library(name, library::folders).ok_or_else(|| {
        format!("Training on several cards needs {name}. Install NCCL, or `pip install nvidia-nccl-cu13`.")
    })?;
    macro_rules! function {
        ($symbol:literal) => {
            // SAFETY: the library is never closed, and the signatures are those of its header.
            *unsafe { library.get($symbol) }.map_err(|error| format!("{name}: {error}"))?
        };
    }
    let nccl = Nccl {
        comm_init_all: function!(b"ncclCommInitAll\0"),
        all_reduce: function!(b"ncclAllReduce\0"),
        comm_destroy: function!(b"ncclCommDestroy\0"),
        comm_abort: function!(b"ncclCommAbort\0"),
        error_string: function!(b"ncclGetErrorString\0"),
    };
    std::mem::forget(library);
    Ok(nccl)
}

fn check(nccl: &Nccl, what: &str, status: c_int) -> Result<(), EngineError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: NCCL returns a string of its own for any status.
    let words = unsafe { CStr::from_ptr((nccl.error_string)(status)) };
    Err(EngineError::DeviceLost(format!("NCCL's {what} failed: {}", words.to_string_lossy())))
}

/// One card's end of a group of cards.
pub struct Communicator {
    pointer: CommPointer,
    card: Arc<Card>,
}

// SAFETY: a communicator is used by one thread at a time.
unsafe impl Send for Communicator {}
// SAFETY: as above; `sum` is only called by the thread that works for its card.
unsafe impl Sync for Communicator {}

impl Communicator {
    /// Brings cards together, all at once, so that none can be left waiting for another. One end for each, in order.
    pub fn join(cards: &[Arc<Card>]) -> Result<Vec<Self>, EngineError> {
        let nccl = nccl()?;
        let numbers: Vec<c_int> = cards.iter().map(|card| card.index as c_int).collect();
        let mut pointers = vec![std::ptr::null_mut(); cards.len()];
        // SAFETY: there are as many numbers and places as cards.
        let status = unsafe { (nccl.comm_init_all)(pointers.as_mut_ptr(), cards.len() as c_int, numbers.as_ptr()) };
        check(nccl, "ncclCommInitAll", status)?;
        Ok(pointers.into_iter().zip(cards).map(|(pointer, card)| Self { pointer, card: card.clone() }).collect())
    }

    /// Every card's matrix becomes the sum of all. Contiguous, f32. Each card's thread calls it for its own.
    pub fn sum(&self, matrix: &Matrix) -> Result<(), EngineError> {
        if matrix.kind != Kind::F32 || !matrix.is_contiguous() {
            return Err(EngineError::invalid("only contiguous f32 matrices are summed over cards"));
        }
        let nccl = nccl()?;
        let place = matrix.address();
        // SAFETY: the matrix lies on this communicator's card, and the sum is made in place.
        let status = unsafe {
            (nccl.all_reduce)(
                place as *const c_void,
                place as *mut c_void,
                matrix.rows * matrix.columns,
                NCCL_FLOAT32,
                NCCL_SUM,
                self.pointer,
                self.card.stream().cast(),
            )
        };
        check(nccl, "ncclAllReduce", status)
    }

    /// Gives up: a card that waits for one that failed goes on. The group cannot be used any more.
    pub fn abort(&mut self) {
        let pointer = std::mem::replace(&mut self.pointer, std::ptr::null_mut());
        if let (Ok(nccl), Ok(()), false) = (nccl(), self.card.bind(), pointer.is_null()) {
            // SAFETY: made by `join`; the pointer is not used again.
            unsafe { (nccl.comm_abort)(pointer) };
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        if let (Ok(nccl), Ok(()), false) = (nccl(), self.card.bind(), self.pointer.is_null()) {
            // SAFETY: made by `join`, destroyed here alone. What fails now is lost with the process.
            unsafe { (nccl.comm_destroy)(self.pointer) };
        }
    }
}
