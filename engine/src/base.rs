//! A base model: its frozen weights, its tokenizer and what is known of it.

use crate::adapter::lora::{GROUPS, module_shape};
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::device::Device;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::linear::{FrozenWeight, LinearGroup};
use crate::model::llama::{Layer, Llama};
use crate::model::rope::Rope;
use crate::network::Network;
use crate::text::tokenizer::TextTokenizer;
use crate::weights::gguf::{GgufFile, unpermute_rope};
use crate::weights::nf4::Nf4;
use candle_core::Tensor;
use domain::model::BaseModelInfo;
use domain::spec::{Quantization, TargetModule};
use std::path::Path;
use std::sync::Arc;

/// Bytes of expanded f32 weights up to which 4-bit weights are dequantised once, when they are loaded, and kept so: the
/// same numbers, faster. Larger models are dequantised group by group at every use.
const EXPAND_AT_MOST_BYTES: usize = 2 << 30;

pub struct BaseModel {
    info: BaseModelInfo,
    network: Network,
    tokenizer: Arc<TextTokenizer>,
    quantization: Quantization,
    device: Device,
}

impl BaseModel {
    /// Loads a GGUF file onto a device, tensor by tensor.
    ///
    /// # Errors
    /// The file is broken, is no Llama, or a tensor is missing or of another shape than the header says; the device
    /// cannot be used.
    pub fn load(path: &Path, quantization: Quantization, device: &Device) -> Result<Self, EngineError> {
        let file = GgufFile::open(path)?;
        let architecture = file.require_str("general.architecture")?.to_string();
        if architecture != "llama" {
            return Err(file.bad(format!("is a model of the architecture \"{architecture}\"; supported is: llama")));
        }
        let tokenizer = Arc::new(TextTokenizer::from_gguf(&file)?);
        let config = config_of(&file)?;
        config.check().map_err(|error| file.bad(error.to_string()))?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(file.bad(format!(
                "its tokenizer has {} tokens and its embedding {}",
                tokenizer.vocab_size(),
                config.vocab_size
            )));
        }
        let network = match device {
            Device::Cpu => Network::Cpu(assemble(config, quantization, &mut |wanted| read_from_gguf(&file, wanted))?),
            #[cfg(feature = "cuda")]
            Device::Cuda(cards) => {
                let replicas = cuda::Replicas::load(cards, |card| {
                    let read: ReadTensor = &mut |wanted| read_from_gguf(&file, wanted);
                    cuda::CudaLlama::assemble(card, config.clone(), quantization, read)
                })?;
                Network::Cuda(Box::new(replicas))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => return Err(EngineError::invalid("this build of ayar knows the CPU only")),
        };
        let config = network.config();
        let info = BaseModelInfo {
            name: file.metadata_str("general.name").map_or_else(|| file_stem(path), str::to_string),
            architecture,
            parameters: file.parameters(),
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            context_length: config.max_position_embeddings,
        };
        Ok(Self { info, network, tokenizer, quantization, device: device.clone() })
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
        &self.tokenizer
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
    Projection(usize, TargetModule),
}

/// Finds a tensor's values; `None` where the model has no such tensor.
pub type ReadTensor<'a> = &'a mut dyn FnMut(&ShapedTensor) -> Result<Option<Vec<f32>>, EngineError>;

/// Builds a Llama from wherever `read` finds its tensors (row-major f32).
pub fn assemble(config: LlamaConfig, quantization: Quantization, read: ReadTensor) -> Result<Llama, EngineError> {
    let mut tensor = |wanted: Wanted, rows: usize, columns: usize| -> Result<Option<Tensor>, EngineError> {
        let Some(values) = read(&ShapedTensor { wanted, rows, columns, config: &config })? else { return Ok(None) };
        Ok(Some(Tensor::from_vec(values, (rows, columns), &candle_core::Device::Cpu)?))
    };
    let missing = |wanted: Wanted| EngineError::invalid(format!("the model has no tensor for {wanted:?}"));
    let hidden = config.hidden_size;
    let embedding = tensor(Wanted::Embedding, config.vocab_size, hidden)?.ok_or_else(|| missing(Wanted::Embedding))?;
    let head = tensor(Wanted::Head, config.vocab_size, hidden)?.unwrap_or_else(|| embedding.clone());
    let norm = tensor(Wanted::Norm, 1, hidden)?.ok_or_else(|| missing(Wanted::Norm))?;

    let all_groups_bytes: usize = TargetModule::ALL
        .iter()
        .map(|module| {
            let (rows, columns) = module_shape(&config, *module);
            rows * columns * size_of::<f32>() * config.num_hidden_layers
        })
        .sum();
    let expand = all_groups_bytes <= EXPAND_AT_MOST_BYTES;

    let mut layers = Vec::with_capacity(config.num_hidden_layers);
    for index in 0..config.num_hidden_layers {
        let mut group = |modules: &[TargetModule]| -> Result<LinearGroup, EngineError> {
            let mut held = Vec::new();
            let mut parts = Vec::new();
            let mut first = 0;
            for &module in modules {
                let (rows, columns) = module_shape(&config, module);
                let wanted = Wanted::Projection(index, module);
                let weight = tensor(wanted, rows, columns)?.ok_or_else(|| missing(wanted))?;
                held.push(HeldWeight::new(weight, quantization, expand)?);
                parts.push((module, first..first + rows));
                first += rows;
            }
            let in_features = module_shape(&config, modules[0]).1;
            Ok(LinearGroup { weight: HeldWeight::join(held)?, parts, in_features })
        };
        let groups = [group(GROUPS[0])?, group(GROUPS[1])?, group(GROUPS[2])?, group(GROUPS[3])?];
        let mut norm = |wanted| tensor(wanted, 1, hidden)?.ok_or_else(|| missing(wanted));
        layers.push(Layer {
            input_norm: norm(Wanted::InputNorm(index))?,
            post_attention_norm: norm(Wanted::PostAttentionNorm(index))?,
            groups,
        });
    }
    let rope = Rope::new(&config);
    Ok(Llama { config, embedding, layers, norm, head, rope })
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
    fn new(weight: Tensor, quantization: Quantization, expand: bool) -> Result<Self, EngineError> {
        let double_quant = match quantization {
            Quantization::AsStored => return Ok(Self::Expanded(weight)),
            Quantization::Nf4 => false,
            Quantization::Nf4DoubleQuant => true,
        };
        let (rows, columns) = weight.dims2()?;
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        drop(weight);
        let codes = Nf4::quantize(&values, rows, columns, double_quant);
        if !expand {
            return Ok(Self::Nf4(codes));
        }
        let mut values = values;
        codes.dequantize_into(&mut values);
        Ok(Self::Expanded(Tensor::from_vec(values, (rows, columns), &candle_core::Device::Cpu)?))
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

/// llama.cpp's names for the seven linears.
fn gguf_projection(module: TargetModule) -> &'static str {
    match module {
        TargetModule::QProj => "attn_q",
        TargetModule::KProj => "attn_k",
        TargetModule::VProj => "attn_v",
        TargetModule::OProj => "attn_output",
        TargetModule::GateProj => "ffn_gate",
        TargetModule::UpProj => "ffn_up",
        TargetModule::DownProj => "ffn_down",
    }
}

fn read_from_gguf(file: &GgufFile, tensor: &ShapedTensor) -> Result<Option<Vec<f32>>, EngineError> {
    let ShapedTensor { wanted, rows, columns, config } = *tensor;
    let name = match wanted {
        Wanted::Embedding => "token_embd.weight".to_string(),
        Wanted::Head => "output.weight".to_string(),
        Wanted::Norm => "output_norm.weight".to_string(),
        Wanted::InputNorm(layer) => format!("blk.{layer}.attn_norm.weight"),
        Wanted::PostAttentionNorm(layer) => format!("blk.{layer}.ffn_norm.weight"),
        Wanted::Projection(layer, module) => format!("blk.{layer}.{}.weight", gguf_projection(module)),
    };
    if wanted == Wanted::Head && file.shape(&name).is_none() {
        return Ok(None);
    }
    let is_norm = matches!(wanted, Wanted::Norm | Wanted::InputNorm(_) | Wanted::PostAttentionNorm(_));
    let shape = if is_norm { vec![columns] } else { vec![rows, columns] };
    let mut values = file.tensor_of_shape(&name, &shape)?;
    // llama.cpp stores the rows of q and k in the order of interleaved RoPE pairs.
    let heads = match wanted {
        Wanted::Projection(_, TargetModule::QProj) => config.num_attention_heads,
        Wanted::Projection(_, TargetModule::KProj) => config.num_key_value_heads,
        _ => return Ok(Some(values)),
    };
    unpermute_rope(&mut values, heads, config.head_dim, columns);
    Ok(Some(values))
}

fn config_of(file: &GgufFile) -> Result<LlamaConfig, EngineError> {
    let size = |key: &str| file.require_u32(key).map(|value| value as usize);
    let hidden_size = size("llama.embedding_length")?;
    let num_attention_heads = size("llama.attention.head_count")?;
    if num_attention_heads == 0 {
        return Err(file.bad("llama.attention.head_count is 0"));
    }
    let embedding =
        file.shape("token_embd.weight").ok_or_else(|| file.bad("the tensor token_embd.weight is missing"))?;
    if let Some(factors) = file.shape("rope_freqs.weight") {
        return Err(file.bad(format!(
            "scales its rotary positions ({} factors in rope_freqs.weight), which is not supported yet",
            factors.iter().product::<usize>()
        )));
    }
    Ok(LlamaConfig {
        vocab_size: embedding.first().copied().unwrap_or(0),
        hidden_size,
        intermediate_size: size("llama.feed_forward_length")?,
        num_hidden_layers: size("llama.block_count")?,
        num_attention_heads,
        num_key_value_heads: file
            .metadata_u32("llama.attention.head_count_kv")
            .map_or(num_attention_heads, |heads| heads as usize),
        head_dim: file
            .metadata_u32("llama.attention.key_length")
            .map_or(hidden_size / num_attention_heads, |width| width as usize),
        rms_norm_eps: file.require_f32("llama.attention.layer_norm_rms_epsilon")?,
        rope_theta: file.metadata_f32("llama.rope.freq_base").unwrap_or(10_000.0),
        max_position_embeddings: size("llama.context_length")?,
    })
}

fn file_stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".to_string(), |stem| stem.to_string_lossy().into_owned())
}
