//! What adding a model would mean, told before anything is queued.

use super::contents::{Contents, bytes_on_disk};
use super::{Models, is_path};
use crate::error::Result;
use domain::catalogue::{ModelCheck, ModelKind};
use domain::error::UserError;
use domain::hub::{HubAddress, HubCheck, HubKind};
use engine::model::LlamaConfig;
use engine::weights::hf::HfConfig;
use engine::weights::model_files::ModelFiles;
use std::path::{Path, PathBuf};

impl Models {
    /// Blocks.
    pub(super) fn check_now(&self, source: &str) -> Result<ModelCheck> {
        if is_path(source) { self.check_path(source) } else { self.check_on_hub(source) }
    }

    fn check_path(&self, source: &str) -> Result<ModelCheck> {
        let path = self.allowed_path(source)?;
        let contents = Contents::read(&path)?;
        let mut check = self.empty_check(path.display().to_string(), contents.kind());
        match contents {
            Contents::Base { info, has_chat_template: _ } => {
                self.tell_memory(&mut check, ModelFiles::open(&path)?.config());
                check.info = Some(info);
            }
            Contents::Adapter { classifier, base_name, .. } => {
                check.labels = classifier.map(|classifier| classifier.labels).unwrap_or_default();
                check.warnings.extend(base_name.map(|name| format!("It was trained on {name}.")));
            }
        }
        if bytes_on_disk(&path) == 0 {
            check.problems.push("There is nothing in it.".to_string());
        }
        Ok(check)
    }

    fn check_on_hub(&self, source: &str) -> Result<ModelCheck> {
        let address = HubAddress::parse(source)?;
        let hub = self.hub().check(&address).map_err(UserError::from)?;
        let kind = if hub.kind == HubKind::Adapter { ModelKind::Adapter } else { ModelKind::Base };
        let mut check = self.empty_check(hub.address.to_string(), kind);
        check.problems.clone_from(&hub.problems);
        match (&hub.config_json, hub.kind) {
            (Some(config), HubKind::Model) => match config_of(config) {
                Ok(config) => {
                    self.tell_memory(&mut check, &config);
                    check.info = Some(config.info(&hub.address.repo));
                }
                Err(reason) => check.problems.push(format!("This model {reason}.")),
            },
            (Some(config), HubKind::Adapter) => check.warnings.extend(trained_on(config)),
            // Of a GGUF file only the architecture and the size are known before it is here.
            (_, HubKind::Gguf) => {
                let known = hub.architecture.as_deref().map(is_gguf_family);
                if known == Some(false) {
                    let name = hub.architecture.clone().unwrap_or_default();
                    check
                        .problems
                        .push(format!("This model is of the architecture \"{name}\", which is not supported."));
                }
            }
            _ => {}
        }
        self.tell_disk(&mut check, &hub);
        check.hub = Some(hub);
        Ok(check)
    }

    fn empty_check(&self, source: String, kind: ModelKind) -> ModelCheck {
        ModelCheck {
            source,
            kind,
            hub: None,
            info: None,
            memory_bytes: None,
            device: self.device(),
            labels: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn tell_memory(&self, check: &mut ModelCheck, config: &LlamaConfig) {
        let needed = engine::network::memory_to_train(config, &self.inner.device);
        check.memory_bytes = Some(needed);
        if let Some(there) = check.device.memory_bytes.filter(|there| *there < needed) {
            check.warnings.push(format!(
                "Training it takes about {}, and {} has {}.",
                gigabytes(needed),
                check.device.name,
                gigabytes(there)
            ));
        }
    }

    fn tell_disk(&self, check: &mut ModelCheck, hub: &HubCheck) {
        let Some(free) = hub.disk_free_bytes else { return };
        // Other work goes on beside the download.
        if hub.missing_bytes <= free && hub.missing_bytes + (1 << 30) > free {
            check.warnings.push(format!(
                "After the download only {} of the disk would be free.",
                gigabytes(free - hub.missing_bytes)
            ));
        }
    }

    /// A path that may be looked at: what others than the server's owner type must not lead through its whole disk.
    fn allowed_path(&self, source: &str) -> Result<PathBuf> {
        let folders = &self.inner.folders;
        let known: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let refused = || {
            UserError::invalid(format!(
                "{source} is not below a folder that models may lie in ({}). Put it there, or start the server with \
                 another --model-folder.",
                known.join(", ")
            ))
        };
        let Ok(path) = Path::new(source).canonicalize() else { return Err(refused().into()) };
        let allowed =
            folders.iter().filter_map(|folder| folder.canonicalize().ok()).any(|folder| path.starts_with(folder));
        if allowed { Ok(path) } else { Err(refused().into()) }
    }
}

fn config_of(json: &str) -> std::result::Result<LlamaConfig, String> {
    let config = HfConfig::from_json(json.as_bytes())?.llama();
    config.check().map_err(|error| format!("cannot be: {error}"))?;
    Ok(config)
}

fn trained_on(adapter_config: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(adapter_config).ok()?;
    Some(format!("It was trained on {}.", config["base_model_name_or_path"].as_str()?))
}

fn is_gguf_family(architecture: &str) -> bool {
    engine::model::config::Family::ALL.iter().any(|family| family.gguf_architecture() == architecture)
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_told_from_config_json_alone() {
        let qwen = r#"{"model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"hidden_size":896,"intermediate_size":4864,
            "num_hidden_layers":24,"num_attention_heads":14,"num_key_value_heads":2,"rms_norm_eps":1e-6,
            "rope_theta":1000000.0,"vocab_size":151936,"max_position_embeddings":32768,"tie_word_embeddings":true}"#;
        let info = config_of(qwen).unwrap().info("Qwen/Qwen2.5-0.5B");
        // As the model's page says: 0.49 billion.
        assert_eq!(info.parameters, 494_032_768);
        assert_eq!((info.head_dim, info.context_length), (64, 32_768));
        assert!(config_of(&qwen.replace("qwen2", "gemma2")).unwrap_err().contains("supported"));
        assert!(config_of("{").is_err());
    }
}
