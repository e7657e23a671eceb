//! Base models in memory: loaded once for each way of holding their weights, shared by runs, estimates and classifiers.

use crate::error::Result;
use domain::catalogue::{ModelId, OWN_MODEL};
use domain::spec::Quantization;
use engine::{BaseModel, Device};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub struct LoadedModels {
    device: Device,
    loaded: Mutex<Vec<Loaded>>,
}

struct Loaded {
    id: ModelId,
    quantization: Quantization,
    model: Arc<BaseModel>,
}

impl LoadedModels {
    /// With the server's own model in it, as most runs want it.
    pub fn new(device: Device, own: Arc<BaseModel>) -> Self {
        let own = Loaded { id: OWN_MODEL, quantization: own.quantization(), model: own };
        Self { device, loaded: Mutex::new(vec![own]) }
    }

    /// The model with its weights held that way. Blocks while it is loaded for the first time, which makes others that
    /// nobody uses any more leave the memory.
    pub fn get(&self, id: ModelId, path: &Path, quantization: Quantization) -> Result<Arc<BaseModel>> {
        // Held while loading: two who want the same model at once get one.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = loaded.iter().find(|other| (other.id, other.quantization) == (id, quantization)) {
            return Ok(found.model.clone());
        }
        if id != OWN_MODEL {
            loaded.retain(|other| other.id == OWN_MODEL || Arc::strong_count(&other.model) > 1);
        }
        let model = Arc::new(BaseModel::load(path, quantization, &self.device)?);
        loaded.push(Loaded { id, quantization, model: model.clone() });
        Ok(model)
    }

    /// Those who use it keep it as long as they do.
    pub fn forget(&self, id: ModelId) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).retain(|loaded| loaded.id != id);
    }
}
