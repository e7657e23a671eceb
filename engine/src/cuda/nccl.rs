//! Sums over the cards of one host, through NVIDIA's NCCL, opened at run time.
//!
//! Five of its functions are enough, so they are looked up by name here: their signatures have not changed since NCCL 2.0.

use crate::cuda::card::Card;
use crate::cuda::library;
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

const UNIQUE_ID_BYTES: usize = 128;
const NCCL_FLOAT32: c_int = 7;
const NCCL_SUM: c_int = 0;

/// Tells the ranks of one group from those of others.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UniqueId([c_char; UNIQUE_ID_BYTES]);

type CommPointer = *mut c_void;

struct Nccl {
    get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    comm_init_rank: unsafe extern "C" fn(*mut CommPointer, c_int, UniqueId, c_int) -> c_int,
    all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, CommPointer, *mut c_void) -> c_int,
    comm_destroy: unsafe extern "C" fn(CommPointer) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

fn nccl() -> Result<&'static Nccl, EngineError> {
    static NCCL: OnceLock<Result<Nccl, String>> = OnceLock::new();
    NCCL.get_or_init(load).as_ref().map_err(|reason| EngineError::invalid(reason.clone()))
}

fn load() -> Result<Nccl, String> {
    let name = "libnccl.so.2";
    if !library::keep_open(name, &library::folders()) {
        return Err(format!(
            "Training on several cards needs {name}. Install NCCL, or `pip install nvidia-nccl-cu13`."
        ));
    }
    // SAFETY: the library is open and stays so, and the signatures are those of its header.
    unsafe {
        let library = libloading::Library::new(name)
            .or_else(|error| {
                library::folders().iter().find_map(|at| libloading::Library::new(at.join(name)).ok()).ok_or(error)
            })
            .map_err(|error| error.to_string())?;
        macro_rules! function {
            ($symbol:literal) => {
                *library.get($symbol).map_err(|error| format!("{name}: {error}"))?
            };
        }
        let nccl = Nccl {
            get_unique_id: function!(b"ncclGetUniqueId\0"),
            comm_init_rank: function!(b"ncclCommInitRank\0"),
            all_reduce: function!(b"ncclAllReduce\0"),
            comm_destroy: function!(b"ncclCommDestroy\0"),
            error_string: function!(b"ncclGetErrorString\0"),
        };
        std::mem::forget(library);
        Ok(nccl)
    }
}

fn check(nccl: &Nccl, what: &str, status: c_int) -> Result<(), EngineError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: NCCL returns a string of its own for any status.
    let words = unsafe { CStr::from_ptr((nccl.error_string)(status)) };
    Err(EngineError::DeviceLost(format!("NCCL's {what} failed: {}", words.to_string_lossy())))
}

impl UniqueId {
    pub fn new() -> Result<Self, EngineError> {
        let nccl = nccl()?;
        let mut id = Self([0; UNIQUE_ID_BYTES]);
        // SAFETY: NCCL fills the 128 bytes.
        check(nccl, "ncclGetUniqueId", unsafe { (nccl.get_unique_id)(&mut id) })?;
        Ok(id)
    }
}

/// One rank's end of a group of cards.
pub struct Communicator {
    pointer: CommPointer,
    card: Arc<Card>,
}

// SAFETY: a communicator is used by one thread at a time.
unsafe impl Send for Communicator {}
// SAFETY: as above; `sum` is only called by the thread that works for its card.
unsafe impl Sync for Communicator {}

impl Communicator {
    /// Joins the group. Returns when all `ranks` have, so every rank must call it from a thread of its own.
    pub fn join(card: &Arc<Card>, ranks: usize, id: UniqueId, rank: usize) -> Result<Self, EngineError> {
        let nccl = nccl()?;
        card.bind()?;
        let mut pointer = std::ptr::null_mut();
        // SAFETY: the card's context is current.
        let status = unsafe { (nccl.comm_init_rank)(&mut pointer, ranks as c_int, id, rank as c_int) };
        check(nccl, "ncclCommInitRank", status)?;
        Ok(Self { pointer, card: card.clone() })
    }

    /// Every rank's matrix becomes the sum of all. Contiguous, f32.
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
}

impl Drop for Communicator {
    fn drop(&mut self) {
        if let (Ok(nccl), Ok(())) = (nccl(), self.card.bind()) {
            // SAFETY: made by `join`, destroyed here alone. What fails now is lost with the process.
            unsafe { (nccl.comm_destroy)(self.pointer) };
        }
    }
}
