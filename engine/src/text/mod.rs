//! From words to tokens: tokenizer, prompt and packing.

pub mod batch;
pub mod template;
pub mod tokenizer;
