//! What a model's files hold, read from their headers: enough to list it, to choose it, and to know what it takes.

use crate::error::Result;
use domain::catalogue::ModelKind;
use domain::model::BaseModelInfo;
use engine::adapter::peft::{self, CONFIG_FILE as ADAPTER_CONFIG};
use engine::classify::ClassifierFile;
use engine::weights::model_files::ModelFiles;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is stored of a model that is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Contents {
    Base { info: BaseModelInfo, has_chat_template: bool },
    Adapter { r: usize, base_name: Option<String>, classifier: Option<ClassifierFile> },
}

impl Contents {
    /// Reads and checks the files. Blocks.
    ///
    /// # Errors
    /// What lies there is no model that can be used; the words say which file and why.
    pub fn read(path: &Path) -> Result<Self> {
        if path.join(ADAPTER_CONFIG).is_file() {
            let files = peft::read(path)?;
            let has_classifier = path.join(ClassifierFile::NAME).is_file();
            let classifier = if has_classifier { Some(ClassifierFile::read(path)?) } else { None };
            let base_name = files.config.base_model_name_or_path;
            return Ok(Self::Adapter { r: files.config.r, base_name, classifier });
        }
        let files = ModelFiles::open(path)?;
        let tokenizer = files.tokenizer()?;
        Ok(Self::Base { info: files.info(), has_chat_template: tokenizer.chat_template().is_some() })
    }

    pub fn kind(&self) -> ModelKind {
        match self {
            Self::Base { .. } => ModelKind::Base,
            Self::Adapter { .. } => ModelKind::Adapter,
        }
    }
}

/// Bytes of a file, or of all files of a folder and its folders. What cannot be read counts as nothing.
pub fn bytes_on_disk(path: &Path) -> u64 {
    let Ok(about) = std::fs::metadata(path) else { return 0 };
    if about.is_file() {
        return about.len();
    }
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| bytes_on_disk(&entry.path())).sum()
}
