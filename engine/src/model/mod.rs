//! A Llama with LoRA: a forward and a backward beside each other.
//!
//! There is no tape. Each module's forward returns what its backward needs, and the comment above a backward derives
//! it. Activations are (tokens, features) matrices of packed tokens.

pub mod attention;
pub mod config;
pub mod linear;
pub mod llama;
pub mod loss;
pub mod mlp;
pub mod norm;
pub mod plan;
pub mod rope;
pub mod table;

pub use config::LlamaConfig;
pub use llama::Llama;
pub use plan::Plan;
