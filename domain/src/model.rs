//! What is known of a base model and of the device it runs on, and what a run on them will cost.

use serde::{Deserialize, Serialize};

/// A base model as people and estimates need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaseModelInfo {
    /// Name from the file, such as `tohum-16m`.
    pub name: String,
    pub architecture: String,
    pub parameters: u64,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    /// Longest sequence, in tokens, that the model was made for.
    pub context_length: usize,
}

/// The processor or card that trains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// What a person names to choose it, such as `cpu` or `cuda:0`.
    pub id: String,
    /// Such as `CPU, 2 cores`.
    pub name: String,
    /// Total memory of the device in bytes, where it can be told.
    pub memory_bytes: Option<u64>,
    /// What else is worth knowing, such as a card's compute capability and driver.
    pub detail: Option<String>,
}

/// What a run will take, told before it is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub train_seconds: f64,
    /// Baseline, validations and the final evaluation together.
    pub evaluate_seconds: f64,
    pub peak_memory_bytes: u64,
    pub optimizer_steps: u64,
    pub trainable_parameters: u64,
    /// Tokens of the instruction that all rows share and that are computed once a step.
    pub shared_tokens: usize,
    pub mean_tokens: f64,
    pub longest_tokens: usize,
    /// Rows whose text will be cut at the end to fit the context.
    pub cut_rows: usize,
}

/// The part a token plays in the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// Same for every row: computed once per step.
    Shared,
    /// Of this row alone.
    Row,
    /// The answer.
    Label,
}

/// One token of the preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewToken {
    pub text: String,
    pub role: TokenRole,
    /// True where training asks the model to predict this token.
    pub loss: bool,
}

/// How one real row looks to the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptPreview {
    pub tokens: Vec<PreviewToken>,
    /// True where the text was cut to fit the context.
    pub cut: bool,
}
