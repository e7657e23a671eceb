//! `ayar train` and manifests: writing what a run is made of, and training again from that.

use crate::arguments::{Base, Usage, require_file};
use crate::commands::train::Parts;
use crate::table::{LabelledTable, read_labelled, write_aside};
use anyhow::Context;
use domain::dataset::Row;
use domain::manifest::{MANIFEST_FORMAT, Manifest, ManifestBase, ManifestData, ManifestStart, short};
use engine::Device;
use engine::device::describe;
use engine::train::{Example, TrainRequest};
use service::hashes::{hash_adapter, hash_base, hash_rows};
use service::hub::HubSettings;
use service::manifests::{ManifestRows, PROGRAM};
use service::{Service, ServiceConfig, TrackingConfig};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// In the folder of a run.
const MANIFEST_FILE: &str = "manifest.json";
/// No manifest is longer, the longest prompt and a thousand labels included.
const MOST_BYTES: u64 = 16 << 20;

/// What a run says of itself, and what it must be like.
pub struct Told {
    pub data: ManifestData,
    /// The manifest that it is made from.
    pub expected: Option<Manifest>,
}

/// Reads a manifest and holds the base and the adapter against it.
pub fn read(path: &Path, base: &Base, start_from: Option<&Path>) -> anyhow::Result<Manifest> {
    require_file("--manifest", path)?;
    let unreadable = || format!("--manifest: {}", path.display());
    if std::fs::metadata(path).with_context(unreadable)?.len() > MOST_BYTES {
        return Err(Usage(format!("--manifest: {} is too long for a manifest.", path.display())).into());
    }
    let bytes = std::fs::read(path).with_context(unreadable)?;
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| Usage(format!("--manifest: {} is no manifest: {error}", path.display())))?;
    manifest.check().map_err(|error| Usage(format!("--manifest: {}", error.message)))?;

    let hash = hash_base(base.path())?;
    if hash != manifest.base.hash {
        return Err(Usage(format!(
            "--model: {} has the hash {}; the run of the manifest was on {} with the hash {}. Nothing was started.",
            base.path().display(),
            short(&hash),
            manifest.base.name,
            short(&manifest.base.hash)
        ))
        .into());
    }
    match (&manifest.start_from, start_from) {
        (None, None) => {}
        (None, Some(_)) => {
            return Err(Usage("--adapter: the run of the manifest began with a new adapter.".to_string()).into());
        }
        (Some(start), None) => {
            return Err(Usage(format!(
                "--adapter: the run of the manifest began from an adapter with the hash {}. Name its folder.",
                short(&start.hash)
            ))
            .into());
        }
        (Some(start), Some(folder)) => {
            let hash = hash_adapter(folder)?;
            if hash != start.hash {
                return Err(Usage(format!(
                    "--adapter: {} has the hash {}, and the run of the manifest began from one with {}.",
                    folder.display(),
                    short(&hash),
                    short(&start.hash)
                ))
                .into());
            }
        }
    }
    let cautions = manifest.cautions(PROGRAM, &describe(base.device()));
    if !cautions.is_empty() {
        eprintln!("The numbers may differ: {}.", cautions.join("; "));
    }
    Ok(manifest)
}

/// The rows of a manifest: from its files, or from the datasets of a data folder.
pub fn rows(manifest: &Manifest, data_dir: &Path, base: &Base) -> anyhow::Result<Parts> {
    match &manifest.data {
        ManifestData::Files { train, validation, test, text_column, label_column } => {
            let read = |part: &str, path: &str| {
                let argument = format!("--manifest, {part} rows");
                read_labelled(&argument, Path::new(path), text_column, label_column)
            };
            Ok(Parts {
                train: read("training", train)?,
                validation: validation.as_deref().map(|path| read("validation", path)).transpose()?.unwrap_or_default(),
                test: read("test", test)?,
            })
        }
        ManifestData::Datasets { .. } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let rows = runtime.block_on(rows_of_datasets(manifest, data_dir, base))?;
            let table = |examples: Vec<Example>| LabelledTable {
                rows: examples
                    .into_iter()
                    .map(|example| Row { line: 0, label: rows.labels[example.label].clone(), text: example.text })
                    .collect(),
                rejected: Vec::new(),
            };
            Ok(Parts { train: table(rows.train), validation: table(rows.validation), test: table(rows.test) })
        }
    }
}

/// Refused in words while a server holds the folder.
async fn rows_of_datasets(manifest: &Manifest, data_dir: &Path, base: &Base) -> anyhow::Result<ManifestRows> {
    if !data_dir.is_dir() {
        return Err(Usage(format!(
            "--data-dir: {} does not exist. The manifest names datasets: name the data folder of the server that has them.",
            data_dir.display()
        ))
        .into());
    }
    let service = Service::open(ServiceConfig {
        data_dir: data_dir.to_path_buf(),
        database_url: None,
        base_model: base.path().to_path_buf(),
        model_folders: Vec::new(),
        hub: HubSettings::from_environment(),
        sample: None,
        device: Device::Cpu,
        takes_up_queues: false,
        serving: Default::default(),
        tracking: TrackingConfig::default(),
    })
    .await
    .with_context(|| format!("The data in {} cannot be opened", data_dir.display()))?;
    let rows = service.manifests.rows(manifest).await;
    service.shutdown().await;
    Ok(rows?)
}

/// The manifest of a run that is about to train, written into its folder and held against the one that it is made from.
pub fn write(told: Told, base: &Base, base_name: &str, request: &TrainRequest) -> anyhow::Result<()> {
    let start_from = match &request.start_from {
        Some(folder) => {
            Some(ManifestStart { source: None, folder: Some(absolute(folder)), hash: hash_adapter(folder)? })
        }
        None => None,
    };
    let made_at_ms = now_ms();
    let name = request.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        name,
        program: PROGRAM.to_string(),
        device: describe(base.device()),
        data: told.data,
        train: hash_rows(&request.labels, &request.train),
        validation: hash_rows(&request.labels, &request.validation),
        test: hash_rows(&request.labels, &request.test),
        labels: request.labels.clone(),
        base: ManifestBase { id: None, name: base_name.to_string(), hash: hash_base(base.path())? },
        start_from,
        spec: request.spec.clone(),
        made_at_ms,
    };
    if let Some(expected) = told.expected {
        expected.train.require("training", &manifest.train)?;
        expected.validation.require("validation", &manifest.validation)?;
        expected.test.require("test", &manifest.test)?;
    }
    let json = serde_json::to_vec_pretty(&manifest).context("The manifest cannot be written as JSON")?;
    write_aside(&request.directory.join(MANIFEST_FILE), &json)
}

/// As a later command in another folder finds it.
pub fn absolute(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| PathBuf::from(path)).display().to_string()
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
