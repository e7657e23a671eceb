//! What a trained classifier can be taken away as.

use serde::{Deserialize, Serialize};

/// A form in which others can load what was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportKind {
    /// A folder for PEFT: the adapter alone, which needs the base beside it.
    Adapter,
    /// A folder for Transformers: the whole model with the adapter merged into it, in bf16.
    Safetensors,
    /// One file for llama.cpp: the whole model with the adapter merged into it.
    Gguf(GgufType),
}

/// How the matrices of a GGUF file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GgufType {
    /// 16 bits a value.
    F16,
    /// 8.5 bits a value.
    Q8_0,
    /// 4.5 bits for most values and 6.6 for the most sensitive: llama.cpp's Q4_K_M.
    Q4K,
}

/// Which weights the adapter is added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeInto {
    /// The base as the run held it. If it was held in 4 bits, the merged model keeps the rounding that the adapter has
    /// been trained to make up for, and answers as the run did.
    #[default]
    AsTrained,
    /// The base as its file has it.
    AsStored,
}

impl ExportKind {
    pub const ALL: [Self; 5] = [
        Self::Adapter,
        Self::Safetensors,
        Self::Gguf(GgufType::F16),
        Self::Gguf(GgufType::Q8_0),
        Self::Gguf(GgufType::Q4K),
    ];

    /// The name on the command line and in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::Safetensors => "safetensors",
            Self::Gguf(GgufType::F16) => "gguf-f16",
            Self::Gguf(GgufType::Q8_0) => "gguf-q8_0",
            Self::Gguf(GgufType::Q4K) => "gguf-q4_k",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl MergeInto {
    pub const ALL: [Self; 2] = [Self::AsTrained, Self::AsStored];

    /// The name on the command line and in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsTrained => "as-trained",
            Self::AsStored => "as-stored",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|into| into.as_str() == name)
    }
}

/// How far an export's answers are from those of the run, on the rows that both have scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParityReport {
    pub rows: u64,
    /// Over all rows and labels, between 0 and 1.
    pub largest_probability_difference: f64,
    /// Over all rows and labels.
    pub mean_probability_difference: f64,
    /// Rows whose most probable label is another one.
    pub changed_labels: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in ExportKind::ALL {
            assert_eq!(ExportKind::parse(kind.as_str()), Some(kind));
        }
        for into in MergeInto::ALL {
            assert_eq!(MergeInto::parse(into.as_str()), Some(into));
        }
        assert_eq!(ExportKind::parse("gguf"), None);
    }
}
