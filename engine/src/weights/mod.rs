//! Weights on disk and in memory.

pub mod bitsandbytes;
pub mod gguf;
pub mod gguf_header;
pub mod gguf_model;
pub mod hf;
pub mod model_files;
pub mod nf4;
pub mod safetensors;
pub mod shards;
pub mod small_file;
