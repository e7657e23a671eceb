//! A base model: its frozen weights, its tokenizer and what is known of it.

use crate::adapter::lora::{GROUPS, module_shape};
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::device::Device;
use crate::error::EngineError;
use crate::kernels::Panels;
use crate::model::config::LlamaConfig;
use crate::model::linear::{FrozenWeight, LinearGroup};
use crate::model::llama::{HeadNorms, Layer, Llama};
use crate::model::rope::Rope;
use crate::model::table::Table;
use crate::network::{Network, has_panels, is_expanded, is_large_table};
use crate::text::tokenizer::TextTokenizer;
use crate::weights::model_files::{ModelFiles, TensorValues};
use crate::weights::nf4::Nf4;
use candle_core::Device::Cpu as CPU;
use candle_core::Tensor;
use domain::model::BaseModelInfo;
use domain::spec::{Quantization, TargetModule};
use std::path::Path;
use std::sync::Arc;

pub struct BaseModel {
    info: BaseModelInfo,
    network: Network,
    reader: BaseReader,
    quantization: Quantization,
    device: Device,
}

/// What of a base prompts are made with; its weights are not needed for that.
#[derive(Clone)]
pub struct BaseReader {
    pub tokenizer: Arc<TextTokenizer>,
    /// Longest sequence, in tokens, that the model was made for.
    pub context_length: usize,
}

impl BaseReader {
    /// # Errors
    /// The files are broken, or of a model that cannot be computed.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        Self::of(&ModelFiles::open(path)?)
    }

    fn of(files: &ModelFiles) -> Result<Self, EngineError> {
        let context_length = files.config().max_position_embeddings;
        Ok(Self { tokenizer: Arc::new(files.tokenizer()?), context_length })
    }
}

impl BaseModel {
    /// Loads a GGUF file, or a folder with `config.json` and safetensors files, onto a device, tensor by tensor: memory
    /// stays near the size of the weights as they are held.
    ///
    /// # Errors
    /// A file is broken, the model is of another family, or a tensor is missing or of another shape than the header
    /// says; the device cannot be used.
    pub fn load(path: &Path, quantization: Quantization, device: &Device) -> Result<Self, EngineError> {
        let files = ModelFiles::open(path)?;
        let reader = BaseReader::of(&files)?;
        let config = files.config().clone();
        let network = match device {
            Device::Cpu => {
                Network::Cpu(assemble(config, quantization, &mut |tensor| files.tensor(tensor.wanted))?.into())
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(cards) => {
                let replicas = cuda::Replicas::load(cards, |card| {
                    if files.is_plain_folder() {
                        return Ok(cuda::loading::load_shards(card, path, quantization)?.0);
                    }
                    let read: ReadTensor = &mut |tensor| files.tensor(tensor.wanted);
                    cuda::CudaLlama::assemble(card, config.clone(), quantization, read)
                })?;
                Network::Cuda(Box::new(replicas))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => return Err(EngineError::invalid("this build of ayar knows the CPU only")),
        };
        let info = files.info();
        Ok(Self { info, network, reader, quantization, device: device.clone() })
    }

    pub fn info(&self) -> &BaseModelInfo {
        &self.info
    }

    /// The model where it computes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// To change weights in place, as merging an adapter does; `None` where they are not on the CPU.
    pub fn cpu_llama_mut(&mut self) -> Option<&mut Llama> {
        match &mut self.network {
            Network::Cpu(llama) => Some(llama),
            #[cfg(feature = "cuda")]
            Network::Cuda(_) => None,
        }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn tokenizer(&self) -> &Arc<TextTokenizer> {
        &self.reader.tokenizer
    }

    pub fn reader(&self) -> &BaseReader {
        &self.reader
    }

    pub fn quantization(&self) -> Quantization {
        self.quantization
    }
}

/// A tensor that a Llama is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Embedding,
    /// `None` is the answer where it is tied to the embedding.
    Head,
    Norm,
    InputNorm(usize),
    PostAttentionNorm(usize),
    /// Of a head of q or k, where the family has such norms.
    QueryNorm(usize),
    KeyNorm(usize),
    Projection(usize, TargetModule),
    /// Of q, k or v, where the family has biases.
    Bias(usize, TargetModule),
}

/// Finds a tensor's values; `None` where the model has no such tensor.
pub type ReadTensor<'a> = &'a mut dyn FnMut(&ShapedTensor) -> Result<Option<TensorValues>, EngineError>;

/// Builds a Llama from wherever `read` finds its tensors (row-major).
pub fn assemble(config: LlamaConfig, quantization: Quantization, read: ReadTensor) -> Result<Llama, EngineError> {
    let mut source = TensorSource { config: &config, read };
    let embedding = source.table(Wanted::Embedding)?;
    let head = if config.tie_word_embeddings { embedding.clone() } else { source.table(Wanted::Head)? };
    let head = if has_panels(&config) { head.with_panels()? } else { head };
    let norm = source.tensor(Wanted::Norm)?;
    let expand = is_expanded(&config);
    let mut layers = Vec::with_capacity(config.num_hidden_layers);
    for index in 0..config.num_hidden_layers {
        let mut group = |modules| source.group(index, modules, quantization, expand);
        let groups = [group(GROUPS[0])?, group(GROUPS[1])?, group(GROUPS[2])?, group(GROUPS[3])?];
        let head_norms = if config.family.has_query_key_norm() {
            let (query, key) = (source.tensor(Wanted::QueryNorm(index))?, source.tensor(Wanted::KeyNorm(index))?);
            Some(HeadNorms { query, key })
        } else {
            None
        };
        layers.push(Layer {
            input_norm: source.tensor(Wanted::InputNorm(index))?,
            post_attention_norm: source.tensor(Wanted::PostAttentionNorm(index))?,
            groups,
            head_norms,
        });
    }
    let rope = Rope::new(&config);
    Ok(Llama { config, embedding, layers, norm, head, rope })
}

/// Where the tensors of a model come from, with the shapes that they must have.
struct TensorSource<'a> {
    config: &'a LlamaConfig,
    read: ReadTensor<'a>,
}

impl TensorSource<'_> {
    fn values(&mut self, wanted: Wanted) -> Result<TensorValues, EngineError> {
        let (rows, columns) = wanted.shape(self.config);
        (self.read)(&ShapedTensor { wanted, rows, columns, config: self.config })?
            .ok_or_else(|| EngineError::invalid(format!("the model has no tensor for {wanted:?}")))
    }

    fn tensor(&mut self, wanted: Wanted) -> Result<Tensor, EngineError> {
        Ok(Tensor::from_vec(self.values(wanted)?.into_f32(), wanted.shape(self.config), &CPU)?)
    }

    fn table(&mut self, wanted: Wanted) -> Result<Table, EngineError> {
        let (rows, columns) = wanted.shape(self.config);
        match self.values(wanted)? {
            TensorValues::Half(values) if is_large_table(self.config) => Table::of_half(values, rows, columns),
            values => Ok(Table::F32(Tensor::from_vec(values.into_f32(), (rows, columns), &CPU)?)),
        }
    }

    fn group(
        &mut self,
        layer: usize,
        modules: &[TargetModule],
        quantization: Quantization,
        expand: bool,
    ) -> Result<LinearGroup, EngineError> {
        let mut held = Vec::new();
        let mut biases = Vec::new();
        let mut parts = Vec::new();
        let mut first = 0;
        for &module in modules {
            let shape = module_shape(self.config, module);
            let weight = self.values(Wanted::Projection(layer, module))?;
            held.push(HeldWeight::new(weight, shape, quantization, expand)?);
            if self.config.family.has_attention_bias() && module.is_query_key_or_value() {
                biases.push(self.tensor(Wanted::Bias(layer, module))?);
            }
            parts.push((module, first..first + shape.0));
            first += shape.0;
        }
        let in_features = module_shape(self.config, modules[0]).1;
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 1)?) };
        let weight = HeldWeight::join(held)?;
        let panels = match &weight {
            FrozenWeight::Expanded(matrix) if has_panels(self.config) => Some(Panels::of(matrix)?),
            _ => None,
        };
        Ok(LinearGroup { weight, panels, parts, in_features, bias })
    }
}

/// A tensor with the shape it must have.
pub struct ShapedTensor<'a> {
    pub wanted: Wanted,
    pub rows: usize,
    pub columns: usize,
    pub config: &'a LlamaConfig,
}

/// One linear's weight on its way into a group.
enum HeldWeight {
    Expanded(Tensor),
    Nf4(Nf4),
}

impl HeldWeight {
    /// A weight that was quantised before stays as it is, whatever the run asks for.
    fn new(
        weight: TensorValues,
        (rows, columns): (usize, usize),
        quantization: Quantization,
        expand: bool,
    ) -> Result<Self, EngineError> {
        let expanded = |values: Vec<f32>| Ok(Self::Expanded(Tensor::from_vec(values, (rows, columns), &CPU)?));
        let (mut values, double) = match (weight, quantization) {
            (TensorValues::Nf4(codes), _) if expand => return expanded(codes.dequantize()),
            (TensorValues::Nf4(codes), _) => return Ok(Self::Nf4(codes)),
            (values, Quantization::AsStored) => return expanded(values.into_f32()),
            (values, Quantization::Nf4) => (values.into_f32(), false),
            (values, Quantization::Nf4DoubleQuant) => (values.into_f32(), true),
        };
        let codes = Nf4::quantize(&values, rows, columns, double);
        if !expand {
            return Ok(Self::Nf4(codes));
        }
        codes.dequantize_into(&mut values);
        expanded(values)
    }

    /// One below the other.
    fn join(weights: Vec<Self>) -> Result<FrozenWeight, EngineError> {
        let mut expanded = Vec::new();
        let mut codes = Vec::new();
        for weight in weights {
            match weight {
                Self::Expanded(matrix) => expanded.push(matrix),
                Self::Nf4(nf4) => codes.push(nf4),
            }
        }
        if codes.is_empty() {
            return Ok(FrozenWeight::Expanded(Tensor::cat(&expanded, 0)?));
        }
        Ok(FrozenWeight::Nf4(codes))
    }
}
