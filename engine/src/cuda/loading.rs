//! A checkpoint of safetensors shards straight onto a card, where it is quantised.
//!
//! The disk is the limit, so it never waits: several threads read piece after piece, in the order in which the model is
//! built, into page-locked memory, from which the card copies by itself. A tensor lies on the card in bf16 only from
//! its first piece until `build` has quantised it, and pieces that come too early wait in the host's memory, so that
//! neither memory grows with the checkpoint.

use crate::adapter::lora::{GROUPS, module_shape};
use crate::base::Wanted;
use crate::cuda::build::Values;
use crate::cuda::card::{Buffer, Card, Event};
use crate::cuda::llama::CudaLlama;
use crate::cuda::matrix::{Kind, Matrix};
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::weights::hf::tensor_name;
use crate::weights::shards::Shards;
use cudarc::driver::result;
use domain::spec::Quantization;
use half::{bf16, f16};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Instant;

const READERS: usize = 8;

/// While one is copied, the other is filled.
const BUFFERS_PER_READER: usize = 2;

/// How large the pieces are, and how far reading may be ahead of building.
#[derive(Clone, Copy)]
struct Pace {
    /// Of a file at once; a multiple of the largest value's bytes.
    piece_bytes: usize,
    /// Of bf16 on the card, beyond the tensor that is waited for.
    ahead_bytes: u64,
}

/// All buffers together are as much as may be ahead, so a reader seldom waits.
const PACE: Pace = Pace { piece_bytes: 32 << 20, ahead_bytes: 512 << 20 };

/// What was read, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct LoadReport {
    /// Of tensors, as they are stored.
    pub bytes: u64,
    pub seconds: f64,
}

/// Loads a folder's Llama onto a card.
///
/// # Errors
/// The folder is no checkpoint of a Llama, a file cannot be read, or the card's memory does not suffice.
pub fn load_shards(
    card: &Arc<Card>,
    folder: &Path,
    quantization: Quantization,
) -> Result<(CudaLlama, LoadReport), EngineError> {
    load_at(card, folder, quantization, PACE)
}

fn load_at(
    card: &Arc<Card>,
    folder: &Path,
    quantization: Quantization,
    pace: Pace,
) -> Result<(CudaLlama, LoadReport), EngineError> {
    let began = Instant::now();
    let shards = Shards::open(folder)?;
    let config = shards.config()?;
    let plan = ReadPlan::new(&shards, &config, pace)?;
    let llama = with_readers(card, &plan, true, |incoming| {
        let mut arrivals = Arrivals { card, plan: &plan, incoming, begun: BTreeMap::new(), early: Vec::new(), asked: 0 };
        let llama = CudaLlama::build(card, config, quantization, &mut |wanted, rows, columns| {
            arrivals.next(wanted, rows, columns)
        })?;
        match plan.tensors.get(arrivals.asked) {
            None => Ok(llama),
            Some(left) => Err(EngineError::invalid(format!("{:?} was read, but never asked for", left.wanted))),
        }
    })?;
    card.synchronize()?;
    Ok((llama, LoadReport { bytes: plan.bytes, seconds: began.elapsed().as_secs_f64() }))
}

/// Reads the same bytes with the same threads into the same page-locked memory, and drops them: the limit that loading
/// is held against.
pub fn plain_read(card: &Arc<Card>, folder: &Path) -> Result<LoadReport, EngineError> {
    let began = Instant::now();
    let shards = Shards::open(folder)?;
    let plan = ReadPlan::new(&shards, &shards.config()?, PACE)?;
    with_readers(card, &plan, false, |incoming| {
        for _ in 0..plan.pieces {
            incoming.give_back(incoming.next()?.buffer);
        }
        Ok(())
    })?;
    Ok(LoadReport { bytes: plan.bytes, seconds: began.elapsed().as_secs_f64() })
}

/// The tensors in the order in which `CudaLlama::build` asks for them, which is checked while it asks.
fn build_order(config: &LlamaConfig) -> impl Iterator<Item = (Wanted, usize, usize)> {
    let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
    let whole = [(Wanted::Embedding, vocabulary), (Wanted::Head, vocabulary), (Wanted::Norm, 1)];
    let layers = (0..config.num_hidden_layers).flat_map(move |layer| {
        let linears = GROUPS.into_iter().flatten().map(move |&module| {
            let (rows, columns) = module_shape(config, module);
            (Wanted::Projection(layer, module), rows, columns)
        });
        linears.chain([Wanted::InputNorm(layer), Wanted::PostAttentionNorm(layer)].map(|norm| (norm, 1, hidden)))
    });
    whole.map(|(wanted, rows)| (wanted, rows, hidden)).into_iter().chain(layers)
}

/// What is read, in which order, from where.
struct ReadPlan {
    tensors: Vec<Planned>,
    files: Vec<(Arc<Path>, File)>,
    pace: Pace,
    pieces: usize,
    bytes: u64,
}

struct Planned {
    wanted: Wanted,
    rows: usize,
    columns: usize,
    /// `None`: the output layer, where it is tied to the embedding.
    stored: Option<Stored>,
    first_piece: usize,
    /// Bytes of bf16 of all tensors before this one, and with it.
    begins: u64,
    ends: u64,
}

/// Where a tensor lies, in bytes of one of the plan's files.
struct Stored {
    file: usize,
    offset: u64,
    length: u64,
    dtype: Dtype,
}

/// Some of a tensor's stored bytes.
struct Piece {
    tensor: usize,
    offset: u64,
    length: usize,
}

impl ReadPlan {
    /// Finds every tensor and checks its shape and type before anything is read.
    fn new(shards: &Shards, config: &LlamaConfig, pace: Pace) -> Result<Self, EngineError> {
        if let Some(name) = shards.tensors().find(|name| name.ends_with("_proj.bias")) {
            return Err(EngineError::bad_file(shards.folder(), format!("has biases (\"{name}\"), which a Llama has not")));
        }
        let mut plan = Self { tensors: Vec::new(), files: Vec::new(), pace, pieces: 0, bytes: 0 };
        let mut files: BTreeMap<Arc<Path>, usize> = BTreeMap::new();
        let mut begins = 0;
        for (wanted, rows, columns) in build_order(config) {
            let stored = plan.find(shards, &mut files, wanted, rows, columns)?;
            let length = stored.as_ref().map_or(0, |stored| stored.length);
            let ends = begins + if stored.is_some() { 2 * (rows * columns) as u64 } else { 0 };
            plan.tensors.push(Planned { wanted, rows, columns, stored, first_piece: plan.pieces, begins, ends });
            plan.pieces += length.div_ceil(pace.piece_bytes as u64) as usize;
            plan.bytes += length;
            begins = ends;
        }
        Ok(plan)
    }

    fn find(
        &mut self,
        shards: &Shards,
        files: &mut BTreeMap<Arc<Path>, usize>,
        wanted: Wanted,
        rows: usize,
        columns: usize,
    ) -> Result<Option<Stored>, EngineError> {
        let name = tensor_name(wanted);
        let Some(place) = shards.place(&name) else {
            if wanted == Wanted::Head {
                return Ok(None);
            }
            return Err(EngineError::bad_file(shards.folder(), format!("lacks the tensor \"{name}\"")));
        };
        let is_norm = matches!(wanted, Wanted::Norm | Wanted::InputNorm(_) | Wanted::PostAttentionNorm(_));
        let shape = if is_norm { vec![columns] } else { vec![rows, columns] };
        if place.shape != shape {
            let reason = format!("tensor \"{name}\" is {:?}; {shape:?} was expected", place.shape);
            return Err(EngineError::bad_file(&place.path, reason));
        }
        if ![Dtype::F32, Dtype::F16, Dtype::BF16].contains(&place.dtype) {
            let reason = format!("tensor \"{name}\" is stored as {:?}; F32, F16 and BF16 can be read", place.dtype);
            return Err(EngineError::bad_file(&place.path, reason));
        }
        let file = match files.get(&place.path) {
            Some(&file) => file,
            None => {
                let file = File::open(&place.path).map_err(|source| EngineError::io(&place.path, source))?;
                self.files.push((place.path.clone(), file));
                files.insert(place.path.clone(), self.files.len() - 1);
                self.files.len() - 1
            }
        };
        Ok(Some(Stored { file, offset: place.offset_bytes, length: place.length_bytes, dtype: place.dtype }))
    }

    fn piece(&self, number: usize) -> Option<Piece> {
        if number >= self.pieces {
            return None;
        }
        // One that is not stored has no pieces and begins where the next one does.
        let tensor = self.tensors.partition_point(|planned| planned.first_piece <= number).checked_sub(1)?;
        let planned = &self.tensors[tensor];
        let offset = ((number - planned.first_piece) * self.pace.piece_bytes) as u64;
        let left = planned.stored.as_ref()?.length - offset;
        Some(Piece { tensor, offset, length: left.min(self.pace.piece_bytes as u64) as usize })
    }

    /// Reads a piece to the beginning of `bytes`.
    fn read(&self, piece: &Piece, bytes: &mut [u8]) -> Result<Dtype, EngineError> {
        let stored = self.tensors[piece.tensor].stored.as_ref();
        let stored = stored.ok_or_else(|| EngineError::invalid("a tensor that is not stored was to be read"))?;
        let (path, file) = &self.files[stored.file];
        file.read_exact_at(&mut bytes[..piece.length], stored.offset + piece.offset)
            .map_err(|source| EngineError::io(path, source))?;
        Ok(stored.dtype)
    }
}

/// Values as bf16, rounded to the nearest and, between two, to the even one, in place; returns the bytes that they take.
fn round_in_place(bytes: &mut [u8], dtype: Dtype) -> usize {
    let width = match dtype {
        Dtype::F32 => 4,
        Dtype::F16 => 2,
        _ => return bytes.len(),
    };
    let count = bytes.len() / width;
    for place in 0..count {
        let from = place * width;
        let value = match width {
            4 => f32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]),
            _ => f16::from_le_bytes([bytes[from], bytes[from + 1]]).to_f32(),
        };
        // Never ahead of what is yet to be read.
        bytes[2 * place..2 * place + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
    }
    2 * count
}

/// Page-locked memory that a reader fills and the card copies from.
struct PieceBuffer {
    memory: Buffer,
    /// Behind the card's last copy from here.
    copied: Event,
    reader: usize,
}

impl PieceBuffer {
    fn new(card: &Arc<Card>, bytes: usize, reader: usize) -> Result<Self, EngineError> {
        let memory = Buffer::in_host_memory(card, bytes)?;
        // SAFETY: the memory is the host's and as long as this; it must hold something before it is seen as bytes.
        unsafe { std::ptr::write_bytes(memory.address as *mut u8, 0, memory.bytes) };
        Ok(Self { memory, copied: Event::new(card)?, reader })
    }

    /// To be filled, once the card has copied what was there.
    fn bytes(&mut self) -> Result<&mut [u8], EngineError> {
        self.copied.wait()?;
        // SAFETY: `new` has filled the memory, and the card is through with it.
        let bytes = unsafe { self.memory.host_bytes() };
        bytes.ok_or_else(|| EngineError::invalid("a card's memory cannot be read into"))
    }

    /// Begins to copy the first bytes to a place of the matrix.
    fn copy_to(&mut self, matrix: &Matrix, offset: usize, length: usize) -> Result<(), EngineError> {
        let (card, address) = (matrix.card().clone(), matrix.address() + offset as u64);
        if offset + length > matrix.rows * matrix.columns * matrix.kind.bytes() {
            return Err(EngineError::invalid("more values than the matrix holds"));
        }
        let bytes = &self.bytes()?[..length];
        // SAFETY: the range lies in the matrix, and nobody writes to `bytes` before the event, nor frees them before
        // the stream is empty.
        unsafe { result::memcpy_htod_async(address, bytes, card.stream()) }.map_err(|error| card.failed(error))?;
        self.copied.record()
    }
}

/// A piece that has been read.
struct Filled {
    piece: Piece,
    /// Bytes of it in the buffer.
    length: usize,
    dtype: Dtype,
    buffer: PieceBuffer,
}

/// Pieces as they come, and the way back for their buffers.
struct Incoming {
    filled: Receiver<Result<Filled, EngineError>>,
    free: Vec<Sender<PieceBuffer>>,
}

impl Incoming {
    fn next(&self) -> Result<Filled, EngineError> {
        self.filled.recv().map_err(|_| EngineError::invalid("the checkpoint's readers have stopped"))?
    }

    fn give_back(&self, buffer: PieceBuffer) {
        // A reader that has ended needs none.
        let _ = self.free[buffer.reader].send(buffer);
    }
}

/// Runs `work` beside threads that read the plan's pieces, about in order. They end when all is read, or when `work` has
/// ended and dropped what it was given.
fn with_readers<T>(
    card: &Arc<Card>,
    plan: &ReadPlan,
    rounds: bool,
    work: impl FnOnce(Incoming) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // There is room for every buffer, so that no reader waits to hand one over.
        let (hand_over, filled) = sync_channel(READERS * BUFFERS_PER_READER);
        let mut incoming = Incoming { filled, free: Vec::with_capacity(READERS) };
        for number in 0..READERS {
            let (give_back, free) = channel();
            let reader = Reader { card, plan, rounds, next: &next, number, free, hand_over: hand_over.clone() };
            let run = move || {
                let ended = catch_unwind(AssertUnwindSafe(|| reader.run()));
                let ended = ended.unwrap_or_else(|_| Err(EngineError::invalid("a reader of the checkpoint has failed")));
                if let Err(error) = ended {
                    // Nobody listens any more where another error was first.
                    let _ = reader.hand_over.send(Err(error));
                }
            };
            std::thread::Builder::new()
                .name(format!("read-{number}"))
                .spawn_scoped(scope, run)
                .map_err(|error| EngineError::invalid(format!("no thread can be started to read with: {error}")))?;
            incoming.free.push(give_back);
        }
        drop(hand_over);
        work(incoming)
    })
}

struct Reader<'a> {
    card: &'a Arc<Card>,
    plan: &'a ReadPlan,
    /// Whether values are brought to bf16.
    rounds: bool,
    next: &'a AtomicUsize,
    number: usize,
    free: Receiver<PieceBuffer>,
    hand_over: SyncSender<Result<Filled, EngineError>>,
}

impl Reader<'_> {
    fn run(&self) -> Result<(), EngineError> {
        self.card.bind()?;
        let mut made = 0;
        loop {
            // A piece is taken with a buffer in hand: one that was taken always arrives, whatever waits behind it.
            let mut buffer = match self.free.try_recv() {
                Ok(buffer) => buffer,
                Err(_) if made < BUFFERS_PER_READER => {
                    if self.next.load(Ordering::Relaxed) >= self.plan.pieces {
                        return Ok(());
                    }
                    made += 1;
                    PieceBuffer::new(self.card, self.plan.pace.piece_bytes, self.number)?
                }
                Err(_) => match self.free.recv() {
                    Ok(buffer) => buffer,
                    Err(_) => return Ok(()),
                },
            };
            let Some(piece) = self.plan.piece(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            let bytes = buffer.bytes()?;
            let dtype = self.plan.read(&piece, bytes)?;
            let length = if self.rounds { round_in_place(&mut bytes[..piece.length], dtype) } else { piece.length };
            if self.hand_over.send(Ok(Filled { piece, length, dtype, buffer })).is_err() {
                return Ok(());
            }
        }
    }
}

/// Tensors on their way to the card.
struct Arrivals<'a> {
    card: &'a Arc<Card>,
    plan: &'a ReadPlan,
    incoming: Incoming,
    /// By place in the order: tensors of which a piece has come, and how many bytes are still to come.
    begun: BTreeMap<usize, (Matrix, usize)>,
    /// Pieces that are too far ahead to be given room on the card.
    early: Vec<Filled>,
    /// Tensors that have been asked for.
    asked: usize,
}

impl Arrivals<'_> {
    /// The next tensor, whole as soon as the card's stream gets there.
    fn next(&mut self, wanted: Wanted, rows: usize, columns: usize) -> Result<Option<Values>, EngineError> {
        let number = self.asked;
        let planned = self.plan.tensors.get(number);
        let planned = planned
            .filter(|planned| (planned.wanted, planned.rows, planned.columns) == (wanted, rows, columns))
            .ok_or_else(|| EngineError::invalid(format!("{wanted:?} is asked for in another order than it is read")))?;
        self.asked += 1;
        if planned.stored.is_none() {
            return Ok(None);
        }
        for filled in std::mem::take(&mut self.early) {
            self.accept(filled, planned.ends)?;
        }
        while self.begun.get(&number).is_none_or(|(_, left)| *left > 0) {
            let filled = self.incoming.next()?;
            self.accept(filled, planned.ends)?;
        }
        Ok(self.begun.remove(&number).map(|(matrix, _)| Values::Card(matrix)))
    }

    /// Has a piece copied, unless it is too far beyond the tensor that ends there.
    fn accept(&mut self, mut filled: Filled, waited_for_ends: u64) -> Result<(), EngineError> {
        let number = filled.piece.tensor;
        let planned = &self.plan.tensors[number];
        if planned.begins >= waited_for_ends + self.plan.pace.ahead_bytes {
            self.early.push(filled);
            return Ok(());
        }
        let (matrix, left) = match self.begun.entry(number) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let matrix = Matrix::new(self.card, Kind::Bf16, planned.rows, planned.columns)?;
                entry.insert((matrix, (planned.ends - planned.begins) as usize))
            }
        };
        let width = if filled.dtype == Dtype::F32 { 4 } else { 2 };
        let offset = filled.piece.offset as usize / width * 2;
        filled.buffer.copy_to(matrix, offset, filled.length)?;
        *left = left.saturating_sub(filled.length);
        self.incoming.give_back(filled.buffer);
        Ok(())
    }
}
