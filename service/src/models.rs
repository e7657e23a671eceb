//! The base model: loaded once for each way of holding its weights, shared by runs, estimates and classifiers.

use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::model::{BaseModelInfo, DeviceInfo};
use domain::spec::Quantization;
use engine::{BaseModel, Device, device};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Clones share the loaded models.
#[derive(Clone)]
pub struct Models {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    info: BaseModelInfo,
    device: Device,
    device_info: DeviceInfo,
    /// For those who need the tokenizer and the shape only.
    first: Arc<BaseModel>,
    loaded: Mutex<HashMap<Quantization, Arc<BaseModel>>>,
}

impl Models {
    /// Loads the model once onto the device, as most runs want it, so that a broken file is found at the start and not by a run.
    /// Blocks.
    pub(crate) fn open(path: &Path, device: Device) -> Result<Self> {
        if !path.is_file() {
            return Err(UserError::not_found(format!(
                "The base model {} is not there. Name the GGUF file of a Llama model.",
                path.display()
            ))
            .into());
        }
        let first = Arc::new(BaseModel::load(path, Quantization::Nf4, &device)?);
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_path_buf(),
                info: first.info().clone(),
                device_info: device::describe(&device),
                device,
                loaded: Mutex::new(HashMap::from([(Quantization::Nf4, first.clone())])),
                first,
            }),
        })
    }

    pub fn info(&self) -> BaseModelInfo {
        self.inner.info.clone()
    }

    pub fn device(&self) -> DeviceInfo {
        self.inner.device_info.clone()
    }

    /// The model with its weights held that way. Blocks while it is loaded for the first time.
    pub fn load(&self, quantization: Quantization) -> Result<Arc<BaseModel>> {
        // Held while loading: two who want the same model at once get one.
        let mut loaded = self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = loaded.get(&quantization) {
            return Ok(model.clone());
        }
        let model = Arc::new(BaseModel::load(&self.inner.path, quantization, &self.inner.device)?);
        loaded.insert(quantization, model.clone());
        Ok(model)
    }

    /// The model however its weights are held.
    pub(crate) fn any(&self) -> Arc<BaseModel> {
        self.inner.first.clone()
    }

    /// # Errors
    /// The file has gone since the start: a run could not load it in another way, or after a restart.
    pub(crate) fn check_present(&self) -> std::result::Result<(), ServiceError> {
        if self.inner.path.is_file() {
            return Ok(());
        }
        Err(UserError::conflict(format!(
            "The base model {} has gone since the server started. Put it back, then start the run.",
            self.inner.path.display()
        ))
        .into())
    }
}
