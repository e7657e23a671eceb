//! Threads that read a checkpoint piece by piece into page-locked memory, from which a card copies by itself.
//!
//! Storage is at its fastest when several requests are always waiting for it, so each thread has its own buffers, and
//! takes the next piece as soon as one of them is free.

use crate::cuda::buffer::{Buffer, Event};
use crate::cuda::card::Card;
use crate::cuda::matrix::Matrix;
use crate::cuda::read_plan::{ReadPlan, round_in_place, width};
use crate::error::EngineError;
use cudarc::driver::result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

const READERS: usize = 8;

/// While one is copied, the other is filled.
const BUFFERS_PER_READER: usize = 2;

/// Page-locked memory that a reader fills and the card copies from.
pub(super) struct PieceBuffer {
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
    pub fn copy_to(&mut self, matrix: &Matrix, offset: usize, length: usize) -> Result<(), EngineError> {
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
pub(super) struct Filled {
    /// By place in the plan.
    pub tensor: usize,
    /// Where the piece begins in the tensor, and how long it is, in bytes of bf16.
    pub offset: usize,
    pub length: usize,
    pub buffer: PieceBuffer,
}

/// Pieces as they come, and the way back for their buffers.
pub(super) struct Incoming {
    filled: Receiver<Result<Filled, EngineError>>,
    free: Vec<Sender<PieceBuffer>>,
}

impl Incoming {
    pub fn next(&self) -> Result<Filled, EngineError> {
        self.filled.recv().map_err(|_| EngineError::invalid("the checkpoint's readers have stopped"))?
    }

    pub fn give_back(&self, buffer: PieceBuffer) {
        // A reader that has ended needs none.
        let _ = self.free[buffer.reader].send(buffer);
    }
}

/// Runs `work` beside threads that read the plan's pieces, about in order. They end when all is read, or when `work` has
/// ended and dropped what it was given.
pub(super) fn with_readers<T>(
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
                let ended =
                    ended.unwrap_or_else(|_| Err(EngineError::invalid("a reader of the checkpoint has failed")));
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
                    PieceBuffer::new(self.card, self.plan.buffer_bytes, self.number)?
                }
                Err(_) => match self.free.recv() {
                    Ok(buffer) => buffer,
                    Err(_) => return Ok(()),
                },
            };
            let Some(piece) = self.plan.piece(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            let bytes = &mut buffer.bytes()?[..piece.length];
            self.plan.read(&piece, bytes)?;
            let length = if self.rounds { round_in_place(bytes, piece.dtype) } else { piece.length };
            let offset = piece.offset as usize / width(piece.dtype) * 2;
            if self.hand_over.send(Ok(Filled { tensor: piece.tensor, offset, length, buffer })).is_err() {
                return Ok(());
            }
        }
    }
}
