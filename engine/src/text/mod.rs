//! From words to tokens: tokenizer, prompt and packing.
//!
//! [`tokenizer`] reads `construction` (GGUF metadata), `folder` (a model's folder) and `sentencepiece`, all of which
//! become a tokenizer.json that `check` lets through; [`template`] puts the prompt around a text, inside the model's own
//! [`chat`] template where the recipe says so.

pub mod batch;
pub mod chat;
mod check;
mod construction;
mod folder;
mod sentencepiece;
pub(crate) mod split;
pub mod template;
pub mod tokenizer;
mod wrapping;
