//! One card: its memory, its kernels, the stream on which things run in order, and the one beside it.

use crate::cuda::gemm::{Gemm, Product};
use crate::cuda::library::{self, failed};
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::profile::Profile;
use crate::error::EngineError;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The compiled kernels, file by file, with the names of their entry points.
const MODULES: [(&[u8], &[&str]); 6] = [
    (
        include_bytes!(concat!(env!("OUT_DIR"), "/rows.fatbin")),
        &["gather_rows", "scatter_rows", "rms_norm", "rms_norm_backward", "add_to_rows", "dropout"],
    ),
    (
        include_bytes!(concat!(env!("OUT_DIR"), "/activations.fatbin")),
        &["rope", "rope_backward", "swiglu", "swiglu_backward"],
    ),
    (include_bytes!(concat!(env!("OUT_DIR"), "/attention.fatbin")), crate::cuda::attention::KERNELS),
    (include_bytes!(concat!(env!("OUT_DIR"), "/loss.fatbin")), &["cross_entropy", "log_probabilities"]),
    (include_bytes!(concat!(env!("OUT_DIR"), "/nf4.fatbin")), &["nf4_dequantize", "nf4_quantize", "fill_normal"]),
    (
        include_bytes!(concat!(env!("OUT_DIR"), "/optimizer.fatbin")),
        &["sum_of_squares", "adamw", "round_to_bf16", "copy_columns"],
    ),
];

/// An open card.
pub struct Card {
    /// "cuda:0"
    pub id: String,
    /// The driver's number of it.
    pub(super) index: usize,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// For products that nothing waits for until the pass is through.
    side: sys::CUstream,
    side_may_begin: sys::CUevent,
    /// Two, so that one part of the side's work can be waited for while the next is under way.
    side_is_through: [sys::CUevent; 2],
    kernels: HashMap<&'static str, sys::CUfunction>,
    gemm: Mutex<Gemm>,
    /// Held while one pass is being launched, so that two threads' passes do not share what is there once.
    pass: Mutex<()>,
    /// Bytes handed out now, and the most there ever were.
    used: AtomicUsize,
    peak: AtomicUsize,
    /// No more than this is handed out; a test or a benchmark lowers it.
    limit: AtomicUsize,
    total: usize,
    matmul_gflops: OnceLock<f64>,
    pub(super) profile: Profile,
}

// SAFETY: the driver's functions may be called from any thread once the context is current there, which `bind` sees
// to; what changes lies behind locks and atomics.
unsafe impl Send for Card {}
// SAFETY: as above.
unsafe impl Sync for Card {}

const WAIT: sys::CUevent_wait_flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;

/// Grid, block and shared memory of a launch.
#[derive(Clone, Copy)]
pub struct Launch {
    pub grid: (usize, usize),
    pub threads: usize,
    pub shared_bytes: usize,
}

impl Launch {
    pub fn rows(rows: usize, threads: usize) -> Self {
        Self { grid: (rows, 1), threads, shared_bytes: 0 }
    }

    /// One thread for each of `count` pieces.
    pub fn pieces(count: usize) -> Self {
        Self { grid: (count.div_ceil(256), 1), threads: 256, shared_bytes: 0 }
    }
}

/// A kernel's argument, in the eight bytes from which the driver reads as many as the parameter has.
pub trait Argument {
    fn word(&self) -> u64;
}

macro_rules! arguments {
    ($($kind:ty => |$value:ident| $word:expr),* $(,)?) => {
        $(impl Argument for $kind {
            fn word(&self) -> u64 {
                let $value = *self;
                $word
            }
        })*
    };
}

arguments! {
    u64 => |value| value,
    i64 => |value| value as u64,
    i32 => |value| u64::from(value as u32),
    f32 => |value| u64::from(value.to_bits()),
    // Sizes and strides are int64_t in every kernel; widths and counts that are int are passed as i32.
    usize => |value| value as u64,
}

impl Card {
    /// The card of a number, opened once in the life of the process.
    pub fn open(index: usize) -> Result<Arc<Self>, EngineError> {
        static CARDS: Mutex<BTreeMap<usize, Arc<Card>>> = Mutex::new(BTreeMap::new());
        let mut cards = CARDS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(card) = cards.get(&index) {
            card.bind()?;
            return Ok(card.clone());
        }
        let card = Self::open_once(index)?;
        cards.insert(index, card.clone());
        Ok(card)
    }

    fn open_once(index: usize) -> Result<Arc<Self>, EngineError> {
        library::open().map_err(EngineError::Invalid)?;
        let id = format!("cuda:{index}");
        let fail = |error: DriverError| failed(&id, 0, error);
        let device = result::device::get(index as i32).map_err(fail)?;
        // SAFETY: `device` is the driver's own; the context stays retained as long as the card is open.
        let (context, total) = unsafe {
            let context = result::primary_ctx::retain(device).map_err(fail)?;
            result::ctx::set_current(context).map_err(fail)?;
            (context, result::device::total_mem(device).map_err(fail)?)
        };
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(fail)?;
        let side = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(fail)?;
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(fail);
        let (side_may_begin, side_is_through) = (event()?, [event()?, event()?]);
        keep_freed_memory(device).map_err(fail)?;
        let kernels = load_kernels().map_err(fail)?;
        Ok(Arc::new(Self {
            id: id.clone(),
            index,
            device,
            context,
            stream,
            side,
            side_may_begin,
            side_is_through,
            kernels,
            gemm: Mutex::new(Gemm::new()?),
            pass: Mutex::new(()),
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            limit: AtomicUsize::new(total),
            total,
            matmul_gflops: OnceLock::new(),
            profile: Profile::default(),
        }))
    }

    /// Makes this card's context the thread's own. Every way into the card begins with it.
    pub fn bind(&self) -> Result<(), EngineError> {
        // SAFETY: the context is retained until the card is dropped.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| self.failed(error))
    }

    /// Begins a pass: binds the thread, and keeps other threads' passes waiting until the guard is dropped.
    pub fn begin(&self) -> Result<MutexGuard<'_, ()>, EngineError> {
        self.bind()?;
        Ok(self.pass.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn failed(&self, error: DriverError) -> EngineError {
        failed(&self.id, 0, error)
    }

    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// The side stream, from here on behind all that was asked for so far.
    pub(super) fn fork(&self) -> Result<sys::CUstream, EngineError> {
        // SAFETY: streams and events live as long as the card. A wait is for what was recorded last before it.
        unsafe {
            result::event::record(self.side_may_begin, self.stream)
                .and_then(|()| result::stream::wait_event(self.side, self.side_may_begin, WAIT))
        }
        .map_err(|error| self.failed(error))?;
        Ok(self.side)
    }

    /// Remembers what the side stream has been asked for so far, as part `turn` of two that take turns.
    pub(super) fn mark_aside(&self, turn: usize) -> Result<(), EngineError> {
        // SAFETY: as above.
        unsafe { result::event::record(self.side_is_through[turn % 2], self.side) }.map_err(|error| self.failed(error))
    }

    /// All that is asked for from here on comes behind what the mark of this turn remembers.
    pub(super) fn join(&self, turn: usize) -> Result<(), EngineError> {
        // SAFETY: as above.
        unsafe { result::stream::wait_event(self.stream, self.side_is_through[turn % 2], WAIT) }
            .map_err(|error| self.failed(error))
    }

    pub(super) fn gemm(&self) -> MutexGuard<'_, Gemm> {
        self.gemm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Launches a kernel.
    ///
    /// The arguments must be those of the kernel, in order; every wrapper in this module stands beside its kernel's
    /// description.
    pub(super) fn launch(
        &self,
        kernel: &'static str,
        launch: Launch,
        arguments: &[&dyn Argument],
    ) -> Result<(), EngineError> {
        if launch.grid.0 == 0 || launch.grid.1 == 0 {
            return Ok(());
        }
        let function =
            *self.kernels.get(kernel).ok_or_else(|| EngineError::invalid(format!("there is no kernel {kernel}")))?;
        let mut words: Vec<u64> = arguments.iter().map(|argument| argument.word()).collect();
        let mut places: Vec<*mut c_void> = words.iter_mut().map(|word| std::ptr::from_mut(word).cast()).collect();
        let grid = (launch.grid.0 as u32, launch.grid.1 as u32, 1);
        let block = (launch.threads as u32, 1, 1);
        // SAFETY: buffers that a kernel is given live until the stream has passed it, since freeing is ordered on the
        // same stream; sizes are those that the wrappers checked.
        let launched = self.profile.timed(self, &|| kernel.to_string(), || unsafe {
            result::launch_kernel(function, grid, block, launch.shared_bytes as u32, self.stream, &mut places)
        });
        // A kernel is brought to the card when it is first launched, for which there may be no room.
        launched.map_err(|error| failed(&format!("{} ({kernel})", self.id), 0, error))
    }

    /// Makes the card fail as a broken one does, by a write to memory that nobody has: for tests of what follows. Nothing
    /// can be done with it in this process afterwards.
    #[doc(hidden)]
    pub fn fail(&self) -> Result<(), EngineError> {
        self.bind()?;
        self.launch("round_to_bf16", Launch::pieces(256), &[&64u64, &64u64, &256usize])?;
        self.synchronize()
    }

    /// Lets a kernel use more shared memory than every card has by default.
    pub(super) fn allow_shared_memory(&self, kernel: &'static str, bytes: usize) -> Result<(), EngineError> {
        let Some(&function) = self.kernels.get(kernel) else { return Ok(()) };
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function belongs to a module that is never unloaded.
        unsafe { result::function::set_function_attribute(function, attribute, bytes as i32) }
            .map_err(|error| self.failed(error))
    }

    /// Waits until everything asked for so far is done.
    pub fn synchronize(&self) -> Result<(), EngineError> {
        self.bind()?;
        // SAFETY: the stream lives as long as the card.
        unsafe { result::stream::synchronize(self.stream) }.map_err(|error| self.failed(error))
    }

    /// Memory that is neither handed out nor the driver's, in bytes.
    pub fn free_bytes(&self) -> Result<usize, EngineError> {
        self.bind()?;
        let (free, _) = result::mem_get_info().map_err(|error| self.failed(error))?;
        let used = self.used.load(Ordering::Relaxed);
        // Memory that was freed here is kept for the next request, so the driver counts it as taken.
        let kept = self.pool_bytes().saturating_sub(used);
        Ok((free + kept).min(self.limit.load(Ordering::Relaxed).saturating_sub(used)))
    }

    /// Bytes that the pool holds, handed out or kept.
    fn pool_bytes(&self) -> usize {
        let mut bytes = 0u64;
        // SAFETY: the attribute is a 64-bit number.
        let read = unsafe {
            result::device::get_default_mem_pool(self.device).and_then(|pool| {
                let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT;
                result::mem_pool::get_attribute(pool, attribute, std::ptr::from_mut(&mut bytes).cast())
            })
        };
        if read.is_ok() { bytes as usize } else { 0 }
    }

    /// The most bytes that were handed out at once since [`Self::forget_peak`].
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn forget_peak(&self) {
        self.peak.store(self.used.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// From now on no more than so many bytes are handed out, as on a smaller card.
    pub fn limit_memory(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// The card's memory, or the limit that was set, in bytes.
    pub fn total_bytes(&self) -> usize {
        self.total.min(self.limit.load(Ordering::Relaxed))
    }

    /// What this process and all others have taken of the card, the driver's own part included, in bytes.
    pub fn taken_bytes(&self) -> Result<usize, EngineError> {
        self.bind()?;
        let (free, total) = result::mem_get_info().map_err(|error| self.failed(error))?;
        Ok(total - free)
    }

    /// Milliseconds that `work` takes on the card.
    pub fn milliseconds(&self, work: &mut dyn FnMut() -> Result<(), EngineError>) -> Result<f64, EngineError> {
        self.bind()?;
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(|error| self.failed(error));
        let (began, ended) = (event()?, event()?);
        // SAFETY: both events are destroyed below and nowhere else.
        let measured = unsafe {
            result::event::record(began, self.stream).map_err(|error| self.failed(error))?;
            work()?;
            result::event::record(ended, self.stream).map_err(|error| self.failed(error))?;
            let measured = result::event::synchronize(ended).and_then(|()| result::event::elapsed(began, ended));
            // An event that cannot be destroyed is lost with its card.
            let _ = (result::event::destroy(began), result::event::destroy(ended));
            measured
        };
        Ok(f64::from(measured.map_err(|error| self.failed(error))?))
    }

    /// Billions of floating-point operations per second of a large bf16 product (4096 x 4096 x 14336), measured once:
    /// the limit that a step is held against.
    pub fn matmul_gflops(self: &Arc<Self>) -> f64 {
        if let Some(measured) = self.matmul_gflops.get() {
            return *measured;
        }
        match self.measure_products() {
            Ok(measured) => *self.matmul_gflops.get_or_init(|| measured),
            // No memory to measure in, just now: a small card's rate for this once.
            Err(_) => 50_000.0,
        }
    }

    fn measure_products(self: &Arc<Self>) -> Result<f64, EngineError> {
        let _pass = self.begin()?;
        let (m, k, n) = (4096, 4096, 14_336);
        let (a, b) = (Matrix::random(self, m, k, 1.0, 1)?, Matrix::random(self, n, k, 1.0, 2)?);
        let c = Matrix::new(self, Kind::Bf16, m, n)?;
        let product = || Product::transposed(&a, &b, &c).run();
        product()?;
        let mut times = Vec::new();
        for _ in 0..10 {
            times.push(self.milliseconds(&mut || product())?);
        }
        times.sort_by(f64::total_cmp);
        Ok(2.0 * (m * k * n) as f64 / (times[times.len() / 2] / 1e3) / 1e9)
    }

    /// Takes back what [`Self::allocate`] gave, once everything asked for so far is done with it.
    pub(super) fn free(&self, address: u64, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        // A card that cannot take its memory back is lost, and the next call will say so.
        if self.bind().is_ok() {
            // SAFETY: the address came from `allocate`, and its buffer frees it once.
            let _ = unsafe { result::free_async(address, self.stream) };
        }
    }

    /// Memory whose content is whatever lay there.
    pub(super) fn allocate(&self, bytes: usize) -> Result<u64, EngineError> {
        let wanted = bytes as u64;
        let out_of_memory = || EngineError::OutOfMemory { device: self.id.clone(), wanted_bytes: wanted };
        self.bind()?;
        if self.used.load(Ordering::Relaxed) + bytes > self.limit.load(Ordering::Relaxed) {
            return Err(out_of_memory());
        }
        // SAFETY: plain requests; the address is freed once, by the buffer's drop.
        let address = unsafe {
            match result::malloc_async(self.stream, bytes.max(1)) {
                Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                    // What was freed lies in pieces: give it all back, and ask once more.
                    for stream in [self.stream, self.side] {
                        result::stream::synchronize(stream).map_err(|error| self.failed(error))?;
                    }
                    result::device::get_default_mem_pool(self.device)
                        .and_then(|pool| result::mem_pool::trim_to(pool, 0))
                        .map_err(|error| self.failed(error))?;
                    result::malloc_async(self.stream, bytes.max(1))
                }
                other => other,
            }
        }
        .map_err(|error| failed(&self.id, wanted, error))?;
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(used, Ordering::Relaxed);
        Ok(address)
    }
}

/// Memory that is freed stays with the process for the next request: by default every wait would give it back to the
/// driver, and asking again takes longer than most kernels.
fn keep_freed_memory(device: sys::CUdevice) -> Result<(), DriverError> {
    let mut everything = u64::MAX;
    // SAFETY: the attribute is a 64-bit number.
    unsafe {
        let pool = result::device::get_default_mem_pool(device)?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, std::ptr::from_mut(&mut everything).cast())
    }
}

fn load_kernels() -> Result<HashMap<&'static str, sys::CUfunction>, DriverError> {
    let mut kernels = HashMap::new();
    for (image, names) in MODULES {
        // SAFETY: the image is what nvcc wrote. Modules are never unloaded.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }?;
        for &name in names {
            let Ok(entry) = CString::new(name) else { continue };
            // SAFETY: the module was just loaded.
            kernels.insert(name, unsafe { result::module::get_function(module, entry) }?);
        }
    }
    Ok(kernels)
}
