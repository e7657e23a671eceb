//! Building a Llama on a card, tensor by tensor, from a file's values, from values that are on the card already, or from
//! random ones.

use crate::adapter::lora::{GROUPS, module_shape};
use crate::base::{ReadTensor, ShapedTensor, Wanted};
use crate::cuda::attention::HEAD_DIMS;
use crate::cuda::buffer::Buffer;
use crate::cuda::card::Card;
use crate::cuda::llama::{CudaHeadNorms, CudaLayer, CudaLlama, KeepExpanded, Table};
use crate::cuda::matrix::{Kind, Matrix, rounded};
use crate::cuda::weights::{CudaGroup, CudaNf4, Held};
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::rope::Rope;
use crate::network::linear_weights;
use crate::weights::model_files::TensorValues;
use crate::weights::nf4::Nf4;
use domain::dataset::mix;
use domain::spec::{Quantization, TargetModule};
use std::sync::{Arc, Mutex};

/// A model whose frozen weights take more of the card's free memory than this leaves its embedding with the host, of
/// which a step reads a few rows.
const SHARE_FOR_WEIGHTS: f64 = 0.6;

/// A tensor's values, row-major.
pub enum Values {
    Host(TensorValues),
    /// bf16
    Card(Matrix),
}

/// Finds a tensor of (rows, columns); `None` where the model has no such tensor.
pub type Source<'a> = &'a mut dyn FnMut(Wanted, usize, usize) -> Result<Option<Values>, EngineError>;

impl CudaLlama {
    /// From wherever `read` finds the tensors. Weights are quantised on the CPU, so that both devices hold the same
    /// codes; those that were quantised before stay as they are.
    pub fn assemble(
        card: &Arc<Card>,
        config: LlamaConfig,
        quantization: Quantization,
        read: ReadTensor,
    ) -> Result<Self, EngineError> {
        let shape = config.clone();
        Self::build(card, config, quantization, &mut |wanted, rows, columns| {
            let values = read(&ShapedTensor { wanted, rows, columns, config: &shape })?;
            Ok(values.map(Values::Host))
        })
    }

    /// Random weights of a plausible size, for benchmarks: throughput does not depend on their values.
    pub fn random(card: &Arc<Card>, config: LlamaConfig, quantization: Quantization) -> Result<Self, EngineError> {
        let mut drawn = 0u64;
        let of = card.clone();
        Self::build(card, config, quantization, &mut |wanted, rows, columns| {
            if !wanted.is_matrix() {
                return Ok(Some(Values::Host(vec![1.0; rows * columns].into())));
            }
            drawn += 1;
            let deviation = 1.0 / (columns as f32).sqrt();
            Ok(Some(Values::Card(Matrix::random(&of, rows, columns, deviation, mix(drawn))?)))
        })
    }

    /// From any source.
    ///
    /// # Errors
    /// The shape is one that the kernels are not made for, a tensor is missing, or the card's memory does not suffice.
    pub fn build(
        card: &Arc<Card>,
        config: LlamaConfig,
        quantization: Quantization,
        source: Source,
    ) -> Result<Self, EngineError> {
        let pass = card.begin()?;
        check(&config)?;
        let hidden = config.hidden_size;
        let embedding =
            table(card, &config, quantization, Wanted::Embedding, source)?.ok_or_else(|| missing(Wanted::Embedding))?;
        let head = match table(card, &config, quantization, Wanted::Head, source)? {
            Some(Table::Card(head)) => head,
            Some(Table::Host(_)) => return Err(EngineError::invalid("the output layer must be on the card")),
            None => match &embedding {
                Table::Card(embedding) => embedding.clone(),
                Table::Host(values) => {
                    let head = Matrix::new(card, Kind::Bf16, config.vocab_size, hidden)?;
                    head.copy_from_host(values)?;
                    head
                }
            },
        };
        let final_norm = vector(card, &config, Wanted::Norm, source)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let mut built = Vec::with_capacity(GROUPS.len());
            for modules in GROUPS {
                built.push(group(card, &config, quantization, index, modules, source)?);
            }
            let groups = built.try_into().map_err(|_| EngineError::invalid("a layer has four groups of linears"))?;
            let mut vector = |wanted| vector(card, &config, wanted, source);
            let (input_norm, post_attention_norm) =
                (vector(Wanted::InputNorm(index))?, vector(Wanted::PostAttentionNorm(index))?);
            let head_norms = if config.family.has_query_key_norm() {
                let (query, key) = (vector(Wanted::QueryNorm(index))?, vector(Wanted::KeyNorm(index))?);
                Some(CudaHeadNorms { query, key })
            } else {
                None
            };
            layers.push(CudaLayer { input_norm, post_attention_norm, groups, head_norms });
        }
        let positions = config.max_position_embeddings;
        let rope = Rope::new(&config);
        let (cosines, sines) = rope.tables();
        let half = config.head_dim / 2;
        let cosines = Matrix::of(card, Kind::F32, positions, half, cosines)?;
        let sines = Matrix::of(card, Kind::F32, positions, half, sines)?;
        drop(pass);
        Ok(Self {
            card: card.clone(),
            config,
            embedding,
            layers,
            norm: final_norm,
            head,
            cosines,
            sines,
            expanded: Mutex::new(None),
            keep: KeepExpanded::WhenMemoryAllows,
        })
    }
}

fn missing(wanted: Wanted) -> EngineError {
    EngineError::invalid(format!("the model has no tensor for {wanted:?}"))
}

/// The kernels read eight values at a time, and attention is compiled for some head sizes.
fn check(config: &LlamaConfig) -> Result<(), EngineError> {
    config.check()?;
    let widths = [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
    ];
    for (name, width) in widths {
        if !width.is_multiple_of(8) {
            return Err(EngineError::invalid(format!(
                "the model's {name} is {width}, and a GPU needs a multiple of 8; use the CPU (--device cpu)"
            )));
        }
    }
    if !HEAD_DIMS.contains(&config.head_dim) {
        return Err(EngineError::invalid(format!(
            "the model's head_dim is {}, and the GPU's attention knows {HEAD_DIMS:?}; use the CPU (--device cpu)",
            config.head_dim
        )));
    }
    Ok(())
}

/// Bytes of all frozen weights of a model on a card: linears as they are held, embedding and output layer in bf16.
pub fn frozen_bytes(config: &LlamaConfig, quantization: Quantization) -> usize {
    let linears = linear_weights(config);
    let linears = match quantization {
        Quantization::AsStored => 2 * linears,
        Quantization::Nf4 => linears / 2 + linears / 16,
        Quantization::Nf4DoubleQuant => linears / 2 + linears / 64 + linears / 4096,
    };
    linears + 4 * config.vocab_size * config.hidden_size
}

/// Embedding or output layer.
fn table(
    card: &Arc<Card>,
    config: &LlamaConfig,
    quantization: Quantization,
    wanted: Wanted,
    source: Source,
) -> Result<Option<Table>, EngineError> {
    let (rows, columns) = (config.vocab_size, config.hidden_size);
    let share = frozen_bytes(config, quantization) as f64 / card.free_bytes()? as f64;
    let on_host = wanted == Wanted::Embedding && share > SHARE_FOR_WEIGHTS;
    let Some(values) = source(wanted, rows, columns)? else { return Ok(None) };
    let values = match values {
        Values::Card(values) if on_host => {
            let host = Buffer::in_host_memory(card, 2 * rows * columns)?;
            values.copy_to_host(&host)?;
            return Ok(Some(Table::Host(host)));
        }
        Values::Card(values) => return Ok(Some(Table::Card(values))),
        Values::Host(values) => values.into_f32(),
    };
    if on_host {
        let host = Buffer::in_host_memory(card, 2 * rows * columns)?;
        host.write(0, &rounded(&values))?;
        return Ok(Some(Table::Host(host)));
    }
    Ok(Some(Table::Card(Matrix::of(card, Kind::Bf16, rows, columns, &values)?)))
}

/// A norm or a bias.
fn vector(card: &Arc<Card>, config: &LlamaConfig, wanted: Wanted, source: Source) -> Result<Matrix, EngineError> {
    let (rows, columns) = wanted.shape(config);
    match source(wanted, rows, columns)?.ok_or_else(|| missing(wanted))? {
        Values::Host(values) => Matrix::of(card, Kind::Bf16, rows, columns, &values.into_f32()),
        Values::Card(values) => Ok(values),
    }
}

fn group(
    card: &Arc<Card>,
    config: &LlamaConfig,
    quantization: Quantization,
    layer: usize,
    modules: &[TargetModule],
    source: Source,
) -> Result<CudaGroup, EngineError> {
    let mut first = 0;
    let parts: Vec<_> = modules
        .iter()
        .map(|&module| {
            first += module_shape(config, module).0;
            (module, first - module_shape(config, module).0..first)
        })
        .collect();
    let in_features = module_shape(config, modules[0]).1;
    let double = quantization == Quantization::Nf4DoubleQuant;
    let mut linears = Vec::with_capacity(modules.len());
    let mut joined = None;
    let mut bias = None;
    for (module, own) in &parts {
        let wanted = Wanted::Projection(layer, *module);
        let values = source(wanted, own.len(), in_features)?.ok_or_else(|| missing(wanted))?;
        if config.family.has_attention_bias() && module.is_query_key_or_value() {
            let all = match &bias {
                Some(all) => all,
                None => bias.insert(Matrix::new(card, Kind::Bf16, 1, first)?),
            };
            all.narrow_columns(own.clone()).copy_from(&vector(card, config, Wanted::Bias(layer, *module), source)?)?;
        }
        if quantization != Quantization::AsStored {
            linears.push(match values {
                Values::Host(TensorValues::Nf4(codes)) => CudaNf4::of(card, &codes)?,
                Values::Host(values) => {
                    CudaNf4::of(card, &Nf4::quantize(&values.into_f32(), own.len(), in_features, double))?
                }
                Values::Card(values) => CudaNf4::quantize(&values, double)?,
            });
            continue;
        }
        let all = match &joined {
            Some(all) => all,
            None => joined.insert(Matrix::new(card, Kind::Bf16, first, in_features)?),
        };
        let place = all.narrow_rows(own.clone());
        match values {
            Values::Host(values) => place.write(&values.into_f32())?,
            Values::Card(values) => place.copy_from(&values)?,
        }
    }
    let held = joined.map_or(Held::Nf4(linears), Held::Bf16);
    Ok(CudaGroup { parts, in_features, held, bias })
}
