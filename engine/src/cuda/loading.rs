//! A checkpoint of safetensors shards straight onto a card, where it is quantised.
//!
//! The disk is the limit, so it never waits: several threads read piece after piece, in the order in which the model is
//! built, into page-locked memory, from which the card copies by itself. A tensor lies on the card in bf16 only from
//! its first piece until `build` has quantised it, and pieces that come too early wait in the host's memory, so that
//! neither memory grows with the checkpoint.

use crate::base::Wanted;
use crate::cuda::build::Values;
use crate::cuda::card::Card;
use crate::cuda::llama::CudaLlama;
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::read_plan::{PACE, Pace, ReadPlan};
use crate::cuda::readers::{Filled, Incoming, with_readers};
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::weights::shards::Shards;
use domain::spec::Quantization;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

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
    let llama = build(card, config, quantization, &plan)?;
    card.synchronize()?;
    Ok((llama, LoadReport { bytes: plan.bytes, seconds: began.elapsed().as_secs_f64() }))
}

fn build(
    card: &Arc<Card>,
    config: LlamaConfig,
    quantization: Quantization,
    plan: &ReadPlan,
) -> Result<CudaLlama, EngineError> {
    with_readers(card, plan, true, |incoming| {
        let mut arrivals = Arrivals { card, plan, incoming, begun: BTreeMap::new(), early: Vec::new(), asked: 0 };
        let source = &mut |wanted, rows, columns| arrivals.next(wanted, rows, columns);
        let llama = CudaLlama::build(card, config, quantization, source)?;
        match plan.tensors.get(arrivals.asked) {
            None => Ok(llama),
            Some(left) => Err(EngineError::invalid(format!("{:?} was read, but never asked for", left.wanted))),
        }
    })
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
        let planned = &self.plan.tensors[filled.tensor];
        if planned.begins >= waited_for_ends + self.plan.pace.ahead_bytes {
            self.early.push(filled);
            return Ok(());
        }
        let (matrix, left) = match self.begun.entry(filled.tensor) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let matrix = Matrix::new(self.card, Kind::Bf16, planned.rows, planned.columns)?;
                entry.insert((matrix, (planned.ends - planned.begins) as usize))
            }
        };
        filled.buffer.copy_to(matrix, filled.offset, filled.length)?;
        *left = left.saturating_sub(filled.length);
        self.incoming.give_back(filled.buffer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ShapedTensor;
    use crate::cuda::llama::CudaPass;
    use crate::cuda::read_plan::tests::{kinds, tiny, write_checkpoint};
    use crate::cuda::twins::card;
    use crate::model::plan::Plan;
    use crate::weights::hf::tensor_name;
    use std::collections::HashMap;

    const ALL: [Quantization; 3] = [Quantization::AsStored, Quantization::Nf4, Quantization::Nf4DoubleQuant];

    fn assemble(
        card: &Arc<Card>,
        config: &LlamaConfig,
        tensors: &HashMap<String, Vec<f32>>,
        quantization: Quantization,
    ) -> CudaLlama {
        let read = &mut |tensor: &ShapedTensor| Ok(tensors.get(&tensor_name(tensor.wanted)).cloned().map(Into::into));
        CudaLlama::assemble(card, config.clone(), quantization, read).unwrap()
    }

    fn logits(llama: &CudaLlama) -> Vec<f32> {
        let tokens: Vec<u32> = (0..24).map(|place| place * 19 % 512).collect();
        let mut plan = Plan::new(0);
        plan.push(tokens.len(), Vec::new());
        let pass =
            CudaPass { tokens: &tokens, plan: &plan, adapter: None, output_rows: None, cache: None, dropout: None };
        llama.logits(&pass).unwrap()
    }

    #[test]
    fn a_loaded_model_is_the_assembled_one() {
        let Some(card) = card() else { return };
        for config in kinds() {
            let folder = tempfile::tempdir().unwrap();
            let tensors = write_checkpoint(folder.path(), &config);
            for quantization in ALL {
                let expected = logits(&assemble(&card, &config, &tensors, quantization));
                assert!(expected.iter().all(|logit| logit.is_finite()));
                // Whole tensors at once; pieces of which most must wait; pieces that are odd and may run ahead.
                let paces = [(32 << 20, 512 << 20), (256, 0), (1000, 20_000)];
                for (piece_bytes, ahead_bytes) in paces {
                    let pace = Pace { piece_bytes, ahead_bytes };
                    let (llama, report) = load_at(&card, folder.path(), quantization, pace).unwrap();
                    assert!(logits(&llama) == expected, "{quantization:?}, pieces of {piece_bytes} bytes");
                    assert_eq!(report.bytes, plain_read(&card, folder.path()).unwrap().bytes);
                }
            }
        }
    }

    #[test]
    fn a_file_that_ends_too_soon_ends_the_load() {
        let Some(card) = card() else { return };
        let folder = tempfile::tempdir().unwrap();
        write_checkpoint(folder.path(), &tiny());
        let shards = Shards::open(folder.path()).unwrap();
        for piece_bytes in [256, 32 << 20] {
            let plan = ReadPlan::new(&shards, &tiny(), Pace { piece_bytes, ahead_bytes: 1000 }).unwrap();
            let path = folder.path().join("model-1.safetensors");
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            let error = build(&card, tiny(), Quantization::Nf4, &plan).err().unwrap().to_string();
            assert!(error.contains("model-1.safetensors"), "{error}");
        }
    }

    #[test]
    fn a_model_that_cannot_be_built_ends_the_load() {
        let Some(card) = card() else { return };
        let folder = tempfile::tempdir().unwrap();
        write_checkpoint(folder.path(), &tiny());
        let shards = Shards::open(folder.path()).unwrap();
        let plan = ReadPlan::new(&shards, &tiny(), Pace { piece_bytes: 256, ahead_bytes: 0 }).unwrap();
        let fewer = LlamaConfig { num_hidden_layers: 1, ..tiny() };
        let error = build(&card, fewer, Quantization::Nf4, &plan).err().unwrap().to_string();
        assert!(error.contains("was read, but never asked for"), "{error}");
        let wider = LlamaConfig { intermediate_size: 192, ..tiny() };
        let error = build(&card, wider, Quantization::Nf4, &plan).err().unwrap().to_string();
        assert!(error.contains("in another order than it is read"), "{error}");
    }
}
