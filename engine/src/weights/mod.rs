//! Weights on disk and in memory.

pub mod gguf;
pub mod gguf_header;
pub mod hf;
pub mod nf4;
pub mod safetensors;
pub mod shards;
pub mod small_file;
