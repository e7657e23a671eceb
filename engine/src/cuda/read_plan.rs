//! Which bytes of a checkpoint are read, in which order, and what becomes of them on the way to a card.

use crate::adapter::lora::GROUPS;
use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::weights::hf::tensor_name;
use crate::weights::shards::Shards;
use half::{bf16, f16};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// How large the pieces are, and how far reading may be ahead of building.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Of a file at once; a multiple of the largest value's bytes.
    pub piece_bytes: usize,
    /// Of bf16 on the card, beyond the tensor that is waited for.
    pub ahead_bytes: u64,
}

/// All buffers together are as much as may be ahead, so a reader seldom waits.
pub(super) const PACE: Pace = Pace { piece_bytes: 32 << 20, ahead_bytes: 512 << 20 };

/// The tensors in the order in which `CudaLlama::build` asks for them, which is checked while it asks.
fn build_order(config: &LlamaConfig) -> impl Iterator<Item = Wanted> {
    let family = config.family;
    let layers = (0..config.num_hidden_layers).flat_map(move |layer| {
        let linears = GROUPS.into_iter().flatten().flat_map(move |&module| {
            let bias = family.has_attention_bias() && module.is_query_key_or_value();
            [Wanted::Projection(layer, module)].into_iter().chain(bias.then_some(Wanted::Bias(layer, module)))
        });
        let head_norms = if family.has_query_key_norm() {
            vec![Wanted::QueryNorm(layer), Wanted::KeyNorm(layer)]
        } else {
            Vec::new()
        };
        linears.chain([Wanted::InputNorm(layer), Wanted::PostAttentionNorm(layer)]).chain(head_norms)
    });
    [Wanted::Embedding, Wanted::Head, Wanted::Norm].into_iter().chain(layers)
}

/// What is read, in which order, from where.
pub(super) struct ReadPlan {
    pub tensors: Vec<Planned>,
    files: Vec<(Arc<Path>, File)>,
    pub pace: Pace,
    pub pieces: usize,
    /// Of the largest piece.
    pub buffer_bytes: usize,
    /// Of all tensors, as they are stored.
    pub bytes: u64,
}

pub(super) struct Planned {
    pub wanted: Wanted,
    pub rows: usize,
    pub columns: usize,
    /// `None`: the output layer, where it is tied to the embedding.
    pub stored: Option<Stored>,
    first_piece: usize,
    /// Bytes of bf16 of all tensors before this one, and with it.
    pub begins: u64,
    pub ends: u64,
}

/// Where a tensor lies, in bytes of one of the plan's files.
pub(super) struct Stored {
    file: usize,
    offset: u64,
    length: u64,
    dtype: Dtype,
}

/// Some of a tensor's stored bytes.
pub(super) struct Piece {
    pub tensor: usize,
    pub offset: u64,
    pub length: usize,
    pub dtype: Dtype,
}

impl ReadPlan {
    /// Finds every tensor and checks its shape and type before anything is read.
    pub fn new(shards: &Shards, config: &LlamaConfig, pace: Pace) -> Result<Self, EngineError> {
        let mut plan = Self { tensors: Vec::new(), files: Vec::new(), pace, pieces: 0, buffer_bytes: 0, bytes: 0 };
        let mut files: BTreeMap<Arc<Path>, usize> = BTreeMap::new();
        let mut begins = 0;
        for wanted in build_order(config) {
            let (rows, columns) = wanted.shape(config);
            let tied = wanted == Wanted::Head && config.tie_word_embeddings;
            let stored = if tied { None } else { plan.find(shards, &mut files, wanted, (rows, columns))? };
            let length = stored.as_ref().map_or(0, |stored| stored.length);
            let ends = begins + if stored.is_some() { 2 * (rows * columns) as u64 } else { 0 };
            plan.tensors.push(Planned { wanted, rows, columns, stored, first_piece: plan.pieces, begins, ends });
            plan.pieces += length.div_ceil(pace.piece_bytes as u64) as usize;
            plan.bytes += length;
            plan.buffer_bytes = plan.buffer_bytes.max(length.min(pace.piece_bytes as u64) as usize);
            begins = ends;
        }
        Ok(plan)
    }

    fn find(
        &mut self,
        shards: &Shards,
        files: &mut BTreeMap<Arc<Path>, usize>,
        wanted: Wanted,
        (rows, columns): (usize, usize),
    ) -> Result<Option<Stored>, EngineError> {
        let name = tensor_name(wanted);
        let Some(place) = shards.place(&name) else {
            if wanted == Wanted::Head {
                return Ok(None);
            }
            return Err(EngineError::bad_file(shards.folder(), format!("lacks the tensor \"{name}\"")));
        };
        let shape = if wanted.is_matrix() { vec![rows, columns] } else { vec![columns] };
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

    pub fn piece(&self, number: usize) -> Option<Piece> {
        if number >= self.pieces {
            return None;
        }
        // One that is not stored has no pieces and begins where the next one does.
        let tensor = self.tensors.partition_point(|planned| planned.first_piece <= number).checked_sub(1)?;
        let planned = &self.tensors[tensor];
        let offset = ((number - planned.first_piece) * self.pace.piece_bytes) as u64;
        let Stored { length, dtype, .. } = *planned.stored.as_ref()?;
        Some(Piece { tensor, offset, length: (length - offset).min(self.pace.piece_bytes as u64) as usize, dtype })
    }

    /// Fills `bytes`, which are as many as the piece has.
    pub fn read(&self, piece: &Piece, bytes: &mut [u8]) -> Result<(), EngineError> {
        let stored = self.tensors[piece.tensor].stored.as_ref();
        let stored = stored.ok_or_else(|| EngineError::invalid("a tensor that is not stored was to be read"))?;
        let (path, file) = &self.files[stored.file];
        file.read_exact_at(bytes, stored.offset + piece.offset).map_err(|source| EngineError::io(path, source))
    }
}

/// Bytes of a stored value.
pub(super) fn width(dtype: Dtype) -> usize {
    if dtype == Dtype::F32 { 4 } else { 2 }
}

/// Values as bf16, rounded to the nearest and, between two, to the even one, in place; returns the bytes that they take.
pub(super) fn round_in_place(bytes: &mut [u8], dtype: Dtype) -> usize {
    if dtype == Dtype::BF16 {
        return bytes.len();
    }
    let count = bytes.len() / width(dtype);
    for place in 0..count {
        let from = place * width(dtype);
        let value = match dtype {
            Dtype::F32 => f32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]),
            _ => f16::from_le_bytes([bytes[from], bytes[from + 1]]).to_f32(),
        };
        // A result never lies beyond the value that it comes from.
        bytes[2 * place..2 * place + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
    }
    2 * count
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::config::Family;
    use domain::dataset::mix;
    use safetensors::tensor::TensorView;
    use std::collections::HashMap;

    pub fn tiny() -> LlamaConfig {
        LlamaConfig {
            family: Family::Llama,
            vocab_size: 512,
            hidden_size: 64,
            intermediate_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 16,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: None,
            max_position_embeddings: 128,
            tie_word_embeddings: false,
        }
    }

    /// The same with an output layer of its own and without, with biases, with norms of heads.
    pub fn kinds() -> [LlamaConfig; 4] {
        [
            tiny(),
            LlamaConfig { tie_word_embeddings: true, ..tiny() },
            LlamaConfig { family: Family::Qwen2, ..tiny() },
            LlamaConfig { family: Family::Qwen3, ..tiny() },
        ]
    }

    /// Writes a random model in two shards, most of it in bf16; returns the values that it has in bf16.
    pub fn write_checkpoint(folder: &Path, config: &LlamaConfig) -> HashMap<String, Vec<f32>> {
        let mut shards = [Vec::new(), Vec::new()];
        let mut expected = HashMap::new();
        for (index, wanted) in build_order(config).enumerate() {
            let (rows, columns) = wanted.shape(config);
            if config.tie_word_embeddings && wanted == Wanted::Head {
                continue;
            }
            let noise = |place: usize| (mix(index as u64 ^ mix(place as u64)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            let values = (0..rows * columns).map(|place| if rows == 1 { 1.0 } else { 0.0 } + 0.2 * noise(place));
            let (dtype, bytes): (_, Vec<u8>) = match index % 5 {
                3 => (Dtype::F32, values.clone().flat_map(f32::to_le_bytes).collect()),
                4 => (Dtype::F16, values.clone().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()),
                _ => (Dtype::BF16, values.clone().flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect()),
            };
            let stored = values.map(|value| if dtype == Dtype::F16 { f16::from_f32(value).to_f32() } else { value });
            let name = tensor_name(wanted);
            expected.insert(name.clone(), stored.map(|value| bf16::from_f32(value).to_f32()).collect());
            let shape = if rows == 1 { vec![columns] } else { vec![rows, columns] };
            // Neighbours in the model lie in different files.
            shards[index % 2].push((name, dtype, shape, bytes));
        }
        let mut weight_map = HashMap::new();
        for (number, shard) in shards.iter().enumerate() {
            let file = format!("model-{number}.safetensors");
            weight_map.extend(shard.iter().map(|(name, ..)| (name.clone(), file.clone())));
            let views = shard
                .iter()
                .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
            std::fs::write(folder.join(file), safetensors::serialize(views, None).unwrap()).unwrap();
        }
        let index = serde_json::json!({ "weight_map": weight_map });
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
        let about = serde_json::json!({
            "model_type": config.family.as_str(),
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": config.max_position_embeddings,
        });
        std::fs::write(folder.join("config.json"), about.to_string()).unwrap();
        expected
    }

    #[test]
    fn pieces_make_up_every_tensor() {
        for config in kinds() {
            let tied = config.tie_word_embeddings;
            let folder = tempfile::tempdir().unwrap();
            let expected = write_checkpoint(folder.path(), &config);
            let shards = Shards::open(folder.path()).unwrap();
            let config = shards.config().unwrap();
            assert_eq!(shards.config().unwrap(), config);
            let plan = ReadPlan::new(&shards, &config, Pace { piece_bytes: 1000, ahead_bytes: 0 }).unwrap();
            let mut read = vec![Vec::new(); plan.tensors.len()];
            let mut total = 0;
            for number in 0..plan.pieces {
                let piece = plan.piece(number).unwrap();
                let mut bytes = vec![0; piece.length];
                plan.read(&piece, &mut bytes).unwrap();
                total += bytes.len() as u64;
                let rounded = round_in_place(&mut bytes, piece.dtype);
                let before: &mut Vec<u8> = &mut read[piece.tensor];
                assert_eq!(before.len(), piece.offset as usize / width(piece.dtype) * 2);
                before.extend(&bytes[..rounded]);
            }
            assert!(plan.piece(plan.pieces).is_none());
            assert_eq!((total, plan.buffer_bytes), (plan.bytes, 1000));
            for (planned, bytes) in plan.tensors.iter().zip(read) {
                assert_eq!(bytes.len() as u64, planned.ends - planned.begins);
                let values: Vec<f32> =
                    bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect();
                match expected.get(&tensor_name(planned.wanted)) {
                    Some(expected) => assert!(*expected == values, "{:?}", planned.wanted),
                    None => assert!(tied && planned.wanted == Wanted::Head && values.is_empty()),
                }
            }
        }
    }

    #[test]
    fn a_model_that_does_not_fit_its_configuration_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_checkpoint(folder.path(), &tiny());
        let shards = Shards::open(folder.path()).unwrap();
        let refusal = |config: LlamaConfig| ReadPlan::new(&shards, &config, PACE).err().unwrap().to_string();
        let refused = refusal(LlamaConfig { intermediate_size: 256, ..tiny() });
        assert!(refused.contains(".safetensors: tensor \"model.layers.0.mlp.gate_proj.weight\" is [128, 64]"));
        let refused = refusal(LlamaConfig { num_hidden_layers: 3, ..tiny() });
        assert!(refused.contains("lacks the tensor \"model.layers.2.self_attn.q_proj.weight\""));

        // Without the index, a further file counts.
        std::fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
        let bias = "model.layers.0.self_attn.q_proj.bias".to_string();
        let further = folder.path().join("further.safetensors");
        crate::weights::safetensors::write(&further, &[(bias, vec![1], &[0.5])], HashMap::new()).unwrap();
        let error = Shards::open(folder.path()).unwrap().config().err().unwrap().to_string();
        assert!(error.contains("q_proj.bias"), "{error}");
    }
}
