//! A model's files, opened: its shape, its tensors and its tokenizer, whichever way they are stored.

use crate::adapter::lora::module_shape;
use crate::base::Wanted;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::table::HalfValues;
use crate::text::tokenizer::TextTokenizer;
use crate::weights::gguf::GgufFile;
use crate::weights::hf::{CONFIG_FILE, HfConfig};
use crate::weights::nf4::Nf4;
use crate::weights::shards::Shards;
use crate::weights::{bitsandbytes, gguf_model, hf};
use domain::model::BaseModelInfo;
use std::path::{Path, PathBuf};

/// A GGUF file, or a folder with `config.json` and safetensors files. Tensors are read when asked for.
pub struct ModelFiles {
    path: PathBuf,
    name: String,
    config: LlamaConfig,
    stored: Stored,
}

enum Stored {
    Gguf(GgufFile),
    Folder { shards: Shards, nf4: bool },
}

/// A tensor's values, row-major.
pub enum TensorValues {
    F32(Vec<f32>),
    /// As most files have embeddings.
    Half(HalfValues),
    /// Quantised before, by whoever wrote the checkpoint.
    Nf4(Nf4),
}

impl TensorValues {
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::Half(values) => values.to_f32(),
            Self::Nf4(codes) => codes.dequantize(),
        }
    }
}

impl From<Vec<f32>> for TensorValues {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl ModelFiles {
    /// Reads headers and configuration, and checks that the model is one that can be computed.
    ///
    /// # Errors
    /// A file is broken or missing, or the model is of another architecture.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let opened = if path.is_dir() { Self::open_folder(path)? } else { Self::open_gguf(path)? };
        opened.config.check().map_err(|error| EngineError::bad_file(path, error.to_string()))?;
        Ok(opened)
    }

    fn open_gguf(path: &Path) -> Result<Self, EngineError> {
        let file = GgufFile::open(path)?;
        let config = gguf_model::config_of(&file)?;
        let name = file.metadata_str("general.name").map_or_else(|| file_stem(path), str::to_string);
        Ok(Self { path: path.to_path_buf(), name, config, stored: Stored::Gguf(file) })
    }

    fn open_folder(path: &Path) -> Result<Self, EngineError> {
        if !path.join(CONFIG_FILE).is_file() {
            return Err(EngineError::bad_file(path, format!("is a folder without {CONFIG_FILE}, so no model")));
        }
        let shards = Shards::open(path)?;
        let hf_config = HfConfig::read(&path.join(CONFIG_FILE))?;
        let config = shards.config()?;
        let stored = Stored::Folder { nf4: hf_config.is_nf4(), shards };
        Ok(Self { path: path.to_path_buf(), name: folder_name(path), config, stored })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Such as `tohum-16m`, or `meta-llama/Llama-3.2-1B` for a model in the Hub's cache.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// What people and estimates need to know of the model.
    pub fn info(&self) -> BaseModelInfo {
        self.config.info(&self.name)
    }

    /// The weights are a folder's, unquantised: a card can be fed from the files directly.
    pub fn is_plain_folder(&self) -> bool {
        matches!(self.stored, Stored::Folder { nf4: false, .. })
    }

    /// In Hugging Face's layout (q and k not permuted), or `None` where the model has no such tensor: an output layer
    /// that is tied to the embedding, biases and norms of heads that its family lacks.
    ///
    /// # Errors
    /// The tensor is missing, of another shape, or holds what is no number.
    pub fn tensor(&self, wanted: Wanted) -> Result<Option<TensorValues>, EngineError> {
        let family = self.config.family;
        let absent = match wanted {
            Wanted::Head => self.config.tie_word_embeddings,
            Wanted::Bias(..) => !family.has_attention_bias(),
            Wanted::QueryNorm(_) | Wanted::KeyNorm(_) => !family.has_query_key_norm(),
            _ => false,
        };
        if absent {
            return Ok(None);
        }
        let (rows, columns) = wanted.shape(&self.config);
        let shape = if wanted.is_matrix() { vec![rows, columns] } else { vec![columns] };
        match &self.stored {
            Stored::Gguf(file) => Ok(Some(gguf_model::read_tensor(file, &self.config, wanted, &shape)?.into())),
            Stored::Folder { shards, nf4 } => {
                let name = hf::tensor_name(wanted);
                if *nf4
                    && matches!(wanted, Wanted::Projection(..))
                    && let Some(codes) = bitsandbytes::read(shards, &name, rows, columns)?
                {
                    return Ok(Some(TensorValues::Nf4(codes)));
                }
                if matches!(wanted, Wanted::Embedding | Wanted::Head)
                    && let Some(values) = shards.tensor_half(&name, &shape)?
                {
                    return Ok(Some(TensorValues::Half(values)));
                }
                Ok(Some(shards.tensor_f32(&name, &shape)?.into()))
            }
        }
    }

    /// # Errors
    /// The tokenizer is broken, of an unknown kind, or has more tokens than the model.
    pub fn tokenizer(&self) -> Result<TextTokenizer, EngineError> {
        let tokenizer = match &self.stored {
            Stored::Gguf(file) => TextTokenizer::from_gguf(file)?,
            Stored::Folder { .. } => TextTokenizer::from_folder(&self.path)?,
        };
        if tokenizer.vocab_size() > self.config.vocab_size {
            return Err(EngineError::bad_file(
                &self.path,
                format!(
                    "its tokenizer has {} tokens and its embedding {}",
                    tokenizer.vocab_size(),
                    self.config.vocab_size
                ),
            ));
        }
        Ok(tokenizer)
    }
}

impl Wanted {
    /// (rows, columns); one row where it is a vector.
    pub fn shape(self, config: &LlamaConfig) -> (usize, usize) {
        match self {
            Self::Embedding | Self::Head => (config.vocab_size, config.hidden_size),
            Self::Norm | Self::InputNorm(_) | Self::PostAttentionNorm(_) => (1, config.hidden_size),
            Self::QueryNorm(_) | Self::KeyNorm(_) => (1, config.head_dim),
            Self::Projection(_, module) => module_shape(config, module),
            Self::Bias(_, module) => (1, module_shape(config, module).0),
        }
    }

    /// Stored with two dimensions.
    pub fn is_matrix(self) -> bool {
        matches!(self, Self::Embedding | Self::Head | Self::Projection(..))
    }
}

fn file_stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".to_string(), |stem| stem.to_string_lossy().into_owned())
}

/// The repository's name where the folder is a snapshot in the Hub's cache (`models--owner--name/snapshots/commit`).
fn folder_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let names: Vec<_> = path.iter().rev().take(3).map(|part| part.to_string_lossy().into_owned()).collect();
    if let [_, snapshots, repository] = names.as_slice()
        && snapshots == "snapshots"
        && let Some(repository) = repository.strip_prefix("models--")
    {
        return repository.replacen("--", "/", 1);
    }
    names.into_iter().next().unwrap_or_else(|| "model".to_string())
}
