//! What was trained, for others: an adapter for PEFT, a merged model for Transformers, a merged model for llama.cpp.
//!
//! `request` is what is asked for and the way through; `adapter_folder`, `safetensors_folder` and `gguf_file` write the
//! three forms; `merge` makes a tensor's values, one tensor at a time; `aside` sees to it that a name never stands for
//! half an export; `parity` loads an export again and compares its answers with the run's; `card` describes it in words.

mod adapter_folder;
mod aside;
pub mod card;
mod gguf_file;
pub mod gguf_tokenizer;
pub mod gguf_types;
pub mod gguf_writer;
mod hf_config;
mod merge;
pub mod parity;
mod request;
mod safetensors_folder;

pub use card::ModelCard;
pub use domain::export::{ExportKind, GgufType, MergeInto, ParityReport};
pub use parity::ParityRequest;
pub use request::{ExportProgress, ExportRequest, Exported, export};
