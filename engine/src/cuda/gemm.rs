//! Matrix products through cuBLASLt, each shape with the fastest of the algorithms that it offers, found by timing.

use crate::cuda::buffer::Buffer;
use crate::cuda::card::Card;
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use cudarc::cublaslt::result::{self as cublas, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::sys as driver;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

/// Memory that algorithms may work in, as NVIDIA recommends for Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;

/// Every operand begins at such an address.
const ALIGNMENT: u32 = 16;

/// Algorithms that are timed for a shape, best guess first; of a product of more than [`LARGE`] operations only the first
/// few, which differ less and take longer.
const CANDIDATES: usize = 8;
const CANDIDATES_OF_LARGE: usize = 3;
const LARGE: f64 = 2e11;

/// Rows of packed tokens differ from step to step. Shapes share an algorithm whose rows come to the same number when
/// they are filled up to a multiple of this, or of an eighth of their number where that is more.
const LEAST_BUCKET: usize = 64;

/// Times that a candidate is timed, after one run to warm up.
const TIMINGS: usize = 2;

/// d = alpha · op(a) op(b) + beta · c, where op transposes or does not.
pub struct Product<'a> {
    pub a: &'a Matrix,
    pub transpose_a: bool,
    pub b: &'a Matrix,
    pub transpose_b: bool,
    /// With its factor `beta`; may be `d` itself.
    pub c: Option<(&'a Matrix, f32)>,
    pub d: &'a Matrix,
    pub alpha: f32,
}

impl<'a> Product<'a> {
    /// d = a bᵀ, as in y = x Wᵀ.
    pub fn transposed(a: &'a Matrix, b: &'a Matrix, d: &'a Matrix) -> Self {
        Self { a, transpose_a: false, b, transpose_b: true, c: None, d, alpha: 1.0 }
    }

    /// d = a b, as in dx = dy W.
    pub fn plain(a: &'a Matrix, b: &'a Matrix, d: &'a Matrix) -> Self {
        Self { a, transpose_a: false, b, transpose_b: false, c: None, d, alpha: 1.0 }
    }

    /// d = aᵀ b, as in dA = dzᵀ x.
    pub fn outer(a: &'a Matrix, b: &'a Matrix, d: &'a Matrix) -> Self {
        Self { a, transpose_a: true, b, transpose_b: false, c: None, d, alpha: 1.0 }
    }

    pub fn times(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }

    pub fn plus(self, c: &'a Matrix) -> Self {
        Self { c: Some((c, 1.0)), ..self }
    }

    /// Adds to what `d` holds, or replaces it.
    pub fn accumulate(self, add: bool) -> Self {
        if add { Self { c: Some((self.d, 1.0)), ..self } } else { self }
    }

    pub fn run(&self) -> Result<(), EngineError> {
        let card = self.d.card();
        card.gemm().run(card, self, Where::InOrder)
    }

    /// On the side stream: what follows does not wait for it. Its operands must not be dropped or overwritten until the
    /// card has been joined.
    pub fn run_aside(&self) -> Result<(), EngineError> {
        let card = self.d.card();
        card.gemm().run(card, self, Where::Aside(card.fork()?))
    }

    /// (m, k, n) of d (m, n).
    fn sizes(&self) -> Result<(usize, usize, usize), EngineError> {
        let (m, k) = if self.transpose_a { (self.a.columns, self.a.rows) } else { (self.a.rows, self.a.columns) };
        let (k_of_b, n) = if self.transpose_b { (self.b.columns, self.b.rows) } else { (self.b.rows, self.b.columns) };
        let fits_c = self.c.is_none_or(|(c, _)| (c.rows, c.columns, c.kind) == (m, n, self.d.kind));
        let operands = self.a.kind == Kind::Bf16 && self.b.kind == Kind::Bf16;
        if k != k_of_b || (self.d.rows, self.d.columns) != (m, n) || !fits_c || !operands {
            return Err(EngineError::invalid(format!(
                "a product of {m}x{k} and {k_of_b}x{n} does not fit a result of {}x{}",
                self.d.rows, self.d.columns
            )));
        }
        Ok((m, k, n))
    }
}

/// The stream that a product runs on.
#[derive(Clone, Copy)]
enum Where {
    InOrder,
    Aside(driver::CUstream),
}

/// What decides the algorithm of a product.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    m: usize,
    k: usize,
    n: usize,
    transpose_a: bool,
    transpose_b: bool,
    strides: [usize; 4],
    kind: Kind,
    adds: bool,
}

impl Shape {
    /// The largest shape that shares this one's algorithm. The dimension that counts tokens is m, or k where a is
    /// transposed.
    fn bucket(self) -> Self {
        let up = |size: usize| size.next_multiple_of((size.next_power_of_two() / 8).max(LEAST_BUCKET));
        if self.transpose_a { Self { k: up(self.k), ..self } } else { Self { m: up(self.m), ..self } }
    }
}

/// cuBLASLt on one card.
pub struct Gemm {
    handle: sys::cublasLtHandle_t,
    /// By bucket.
    algorithms: HashMap<Shape, sys::cublasLtMatmulAlgo_t>,
    /// By shape, with the algorithm that it runs on.
    plans: HashMap<Shape, Plan>,
    /// One for each stream.
    workspaces: [OnceLock<Buffer>; 2],
}

// SAFETY: handle and descriptors may be used from any thread, one at a time; they lie behind the card's lock.
unsafe impl Send for Gemm {}

fn failed(error: CublasError) -> EngineError {
    if error.0 == sys::cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED {
        return EngineError::OutOfMemory { device: "the card".to_string(), wanted_bytes: WORKSPACE_BYTES as u64 };
    }
    EngineError::DeviceLost(format!("a matrix product failed: {:?}", error.0))
}

/// Shapes that are remembered with their descriptors. A run meets some dozens for every number of tokens.
const MOST_PLANS: usize = 20_000;

struct Plan {
    descriptors: Descriptors,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// The descriptors of one product, in cuBLASLt's column-major words: dᵀ = op(b)ᵀ op(a)ᵀ, so b comes first.
struct Descriptors {
    product: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 4],
}

impl Descriptors {
    fn of(shape: &Shape) -> Result<Self, EngineError> {
        let float = sys::cudaDataType_t::CUDA_R_32F;
        let bf16 = sys::cudaDataType_t::CUDA_R_16BF;
        let out = if shape.kind == Kind::F32 { float } else { bf16 };
        let product =
            cublas::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, float).map_err(failed)?;
        let mut made = Self { product, layouts: [std::ptr::null_mut(); 4] };
        let attributes = [
            (sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_b),
            (sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_a),
        ];
        for (attribute, transposed) in attributes {
            let value = i32::from(transposed);
            let place: *const c_void = std::ptr::from_ref(&value).cast();
            // SAFETY: the attribute is a 32-bit number.
            unsafe { cublas::set_matmul_desc_attribute(made.product, attribute, place, size_of::<i32>()) }
                .map_err(failed)?;
        }
        let Shape { m, k, n, .. } = *shape;
        let first = if shape.transpose_b { (k, n) } else { (n, k) };
        let second = if shape.transpose_a { (m, k) } else { (k, m) };
        let [a, b, c, d] = shape.strides;
        let wanted = [(bf16, first, b), (bf16, second, a), (out, (n, m), c), (out, (n, m), d)];
        for (layout, (kind, (rows, columns), stride)) in made.layouts.iter_mut().zip(wanted) {
            *layout = cublas::create_matrix_layout(kind, rows as u64, columns as u64, stride as i64).map_err(failed)?;
        }
        Ok(made)
    }

    /// An algorithm that was found for another shape can compute this one.
    fn takes(&self, handle: sys::cublasLtHandle_t, algorithm: &sys::cublasLtMatmulAlgo_t) -> bool {
        let [a, b, c, d] = self.layouts;
        // SAFETY: all zeros are a value of this plain struct, which the call fills.
        let mut found: sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        // SAFETY: descriptors and algorithm are valid; the answer is written to `found`.
        let status = unsafe { sys::cublasLtMatmulAlgoCheck(handle, self.product, a, b, c, d, algorithm, &mut found) };
        let fits = found.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS && found.workspaceSize <= WORKSPACE_BYTES;
        status == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS && fits
    }

    fn candidates(&self, handle: sys::cublasLtHandle_t) -> Result<Vec<sys::cublasLtMatmulAlgo_t>, EngineError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let preference = cublas::create_matmul_pref().map_err(failed)?;
        let set = |attribute, place: *const c_void, bytes| {
            // SAFETY: the caller gives a place of so many bytes.
            unsafe { cublas::set_matmul_pref_attribute(preference, attribute, place, bytes) }.map_err(failed)
        };
        set(
            Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            std::ptr::from_ref(&WORKSPACE_BYTES).cast(),
            size_of::<usize>(),
        )?;
        for operand in [
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            set(operand, std::ptr::from_ref(&ALIGNMENT).cast(), size_of::<u32>())?;
        }
        let mut found: Vec<sys::cublasLtMatmulHeuristicResult_t> = Vec::with_capacity(CANDIDATES);
        let mut count = 0;
        let [a, b, c, d] = self.layouts;
        // SAFETY: there is room for as many results as are asked for; as many as are counted have been written.
        let status = unsafe {
            let status = sys::cublasLtMatmulAlgoGetHeuristic(
                handle,
                self.product,
                a,
                b,
                c,
                d,
                preference,
                CANDIDATES as i32,
                found.as_mut_ptr(),
                &mut count,
            );
            found.set_len(count.clamp(0, CANDIDATES as i32) as usize);
            // One that cannot be destroyed is lost with the process.
            let _ = cublas::destroy_matmul_pref(preference);
            status
        };
        status.result().map_err(failed)?;
        let usable = found.into_iter().filter(|result| result.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS);
        Ok(usable.map(|result| result.algo).collect())
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: made by `of`, and destroyed here alone. One that cannot be destroyed is lost with the process.
        unsafe {
            let _ = cublas::destroy_matmul_desc(self.product);
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                let _ = cublas::destroy_matrix_layout(layout);
            }
        }
    }
}

impl Gemm {
    pub(super) fn new() -> Result<Self, EngineError> {
        let handle = cublas::create_handle().map_err(failed)?;
        Ok(Self { handle, algorithms: HashMap::new(), plans: HashMap::new(), workspaces: Default::default() })
    }

    fn run(&mut self, card: &Arc<Card>, product: &Product, place: Where) -> Result<(), EngineError> {
        let (m, k, n) = product.sizes()?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        if k == 0 {
            // A sum of nothing.
            return match product.c {
                None => product.d.clear(),
                Some((c, _)) if c.address() == product.d.address() => Ok(()),
                Some((c, _)) => product.d.copy_from(c),
            };
        }
        let (c, _) = product.c.unwrap_or((product.d, 0.0));
        let shape = Shape {
            m,
            k,
            n,
            transpose_a: product.transpose_a,
            transpose_b: product.transpose_b,
            strides: [product.a.stride, product.b.stride, c.stride, product.d.stride],
            kind: product.d.kind,
            adds: product.c.is_some(),
        };
        if !self.plans.contains_key(&shape) {
            let plan = self.plan(card, product, &shape)?;
            if self.plans.len() >= MOST_PLANS {
                self.plans.clear();
            }
            self.plans.insert(shape, plan);
        }
        let Some(plan) = self.plans.get(&shape) else { return Err(no_algorithm(&shape)) };
        let name = || {
            let letter = |transposed| if transposed { "ᵀ" } else { "" };
            let (ta, tb) = (letter(shape.transpose_a), letter(shape.transpose_b));
            format!("product {}{ta} {}{tb} {}", shape.bucket().m, shape.bucket().k, shape.n)
        };
        // A profile is of one stream.
        let place = if card.profile.is_on() { Where::InOrder } else { place };
        card.profile
            .timed(card, &name, || self.launch(card, product, &plan.descriptors, &plan.algorithm, product.d, place))
    }

    /// Descriptors of a shape that is new, with its bucket's algorithm, or one of its own where it does not take that.
    fn plan(&mut self, card: &Arc<Card>, product: &Product, shape: &Shape) -> Result<Plan, EngineError> {
        let descriptors = Descriptors::of(shape)?;
        let algorithm = match self.algorithms.get(&shape.bucket()) {
            Some(algorithm) => *algorithm,
            None => {
                let (algorithm, was_timed) = self.choose(card, product, shape, &descriptors)?;
                if was_timed {
                    self.algorithms.insert(shape.bucket(), algorithm);
                }
                algorithm
            }
        };
        let algorithm = match descriptors.takes(self.handle, &algorithm) {
            true => algorithm,
            false => *descriptors.candidates(self.handle)?.first().ok_or_else(|| no_algorithm(shape))?,
        };
        Ok(Plan { descriptors, algorithm })
    }

    /// The fastest candidate, timed on the product itself. Its result goes elsewhere, since a product that adds to its
    /// own result must not run twice; where there is no memory for that, the first candidate is taken, untimed.
    fn choose(
        &mut self,
        card: &Arc<Card>,
        product: &Product,
        shape: &Shape,
        descriptors: &Descriptors,
    ) -> Result<(sys::cublasLtMatmulAlgo_t, bool), EngineError> {
        let candidates = Descriptors::of(&shape.bucket())?.candidates(self.handle)?;
        let first = *candidates.first().ok_or_else(|| no_algorithm(shape))?;
        let aside = match Matrix::new(card, shape.kind, shape.m, product.d.stride) {
            Ok(aside) => aside.narrow_columns(0..shape.n),
            Err(EngineError::OutOfMemory { .. }) => return Ok((first, false)),
            Err(error) => return Err(error),
        };
        let mut best = (f64::INFINITY, first);
        let operations = 2.0 * shape.m as f64 * shape.k as f64 * shape.n as f64;
        let timed = if operations > LARGE { CANDIDATES_OF_LARGE } else { CANDIDATES };
        for candidate in candidates.into_iter().take(timed) {
            let mut attempt = || self.launch(card, product, descriptors, &candidate, &aside, Where::InOrder);
            if attempt().is_err() {
                continue;
            }
            let mut fastest = f64::INFINITY;
            for _ in 0..TIMINGS {
                fastest = fastest.min(card.milliseconds(&mut attempt)?);
            }
            if fastest < best.0 {
                best = (fastest, candidate);
            }
        }
        Ok((best.1, true))
    }

    fn launch(
        &self,
        card: &Arc<Card>,
        product: &Product,
        descriptors: &Descriptors,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        d: &Matrix,
        place: Where,
    ) -> Result<(), EngineError> {
        let (stream, workspace) = match place {
            Where::InOrder => (card.stream(), &self.workspaces[0]),
            Where::Aside(stream) => (stream, &self.workspaces[1]),
        };
        let workspace = match workspace.get() {
            Some(workspace) => workspace,
            None => {
                let made = Buffer::new(card, WORKSPACE_BYTES)?;
                // The memory is there once the stream that it was asked of has passed.
                card.fork()?;
                workspace.get_or_init(|| made)
            }
        };
        let (c, beta) = product.c.unwrap_or((product.d, 0.0));
        let pointer = |matrix: &Matrix| matrix.address() as *const c_void;
        let [first, second, third, fourth] = descriptors.layouts;
        // SAFETY: layouts and matrices have been checked against each other; the workspace is as large as was promised.
        unsafe {
            cublas::matmul(
                self.handle,
                descriptors.product,
                std::ptr::from_ref(&product.alpha).cast(),
                std::ptr::from_ref(&beta).cast(),
                pointer(product.b),
                first,
                pointer(product.a),
                second,
                pointer(c),
                third,
                d.address() as *mut c_void,
                fourth,
                algorithm,
                workspace.address as *mut c_void,
                WORKSPACE_BYTES,
                stream.cast(),
            )
        }
        .map_err(failed)
    }
}

fn no_algorithm(shape: &Shape) -> EngineError {
    EngineError::invalid(format!(
        "cuBLASLt has no way to multiply {}x{} by {}x{} on this card",
        shape.m, shape.k, shape.k, shape.n
    ))
}
