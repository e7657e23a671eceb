use super::{ReadingArguments, reading_in_words, tell_rejected};
use crate::arguments::{DEFAULT_BASE_MODEL, DatabaseArgument, Usage};
use crate::progress::Progress;
use anyhow::Context;
use app::format::{count, counted};
use clap::Args;
use domain::dataset::{DatasetId, DatasetSummary, RejectedRow};
use domain::reading::{ImportInto, ImportRequest, ReadOptions, ReadWish};
use domain::version::NOBODY;
use engine::Device;
use serde_json::json;
use service::hub::HubSettings;
use service::{Service, ServiceConfig, TrackingConfig};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Rejected rows that are told one by one.
const REJECTED_TOLD: usize = 5;
const CHUNK_BYTES: usize = 1 << 20;
/// Between two looks at the running import.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct ImportArguments {
    #[command(flatten)]
    reading: ReadingArguments,
    /// Name of the new dataset; left out: the file's
    #[arg(long, value_name = "NAME", conflicts_with = "into")]
    name: Option<String>,
    /// Number of a dataset that the file is added to, as its next version
    #[arg(long, value_name = "DATASET")]
    into: Option<DatasetId>,
    /// With --into: rows of the dataset that the file does not have are removed
    #[arg(long, requires = "into")]
    replace: bool,
    /// Another name for a label of the file, such as pos=positive; may be given several times
    #[arg(long = "label-name", value_name = "LABEL=NAME", value_parser = label_name)]
    label_names: Vec<(String, String)>,
    /// Who does it, for the dataset's history
    #[arg(long, value_name = "NAME", default_value = NOBODY)]
    by: String,
    /// Folder of the database, uploads and runs; no server may use it meanwhile
    #[arg(long, env = "AYAR_DATA_DIR", default_value = "data/local")]
    data_dir: PathBuf,
    #[command(flatten)]
    database: DatabaseArgument,
    /// Base model under which lengths are counted in tokens
    #[arg(long, env = "AYAR_BASE_MODEL", default_value = DEFAULT_BASE_MODEL)]
    base_model: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn import(arguments: ImportArguments) -> anyhow::Result<()> {
    let (wish, preview) = arguments.reading.look()?;
    eprintln!("{}: {}", preview.file_name, reading_in_words(&preview));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    let (summary, rejected) = runtime.block_on(async {
        let service = open(&arguments).await?;
        let imported = import_into(&service, &arguments, &wish).await;
        service.shutdown().await;
        imported
    })?;
    tell_rejected(&rejected, summary.rejected);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "dataset": summary }))?);
        return Ok(());
    }
    let labels: Vec<String> =
        summary.labels.iter().take(12).map(|label| format!("{} {}", label.label, count(label.rows))).collect();
    println!(
        "dataset {}, version {}: \"{}\", {}; labels: {}",
        summary.id,
        summary.version,
        summary.name,
        counted(summary.rows, "row", "rows"),
        labels.join(", ")
    );
    Ok(())
}

/// Refused in words while a server holds the folder.
async fn open(arguments: &ImportArguments) -> anyhow::Result<Service> {
    if !arguments.base_model.exists() {
        return Err(Usage(format!("--base-model: {} does not exist.", arguments.base_model.display())).into());
    }
    Service::open(ServiceConfig {
        data_dir: arguments.data_dir.clone(),
        database_url: arguments.database.database_url.clone(),
        base_model: arguments.base_model.clone(),
        model_folders: Vec::new(),
        hub: HubSettings::from_environment(),
        sample: None,
        device: Device::Cpu,
        serving: Default::default(),
        takes_up_queues: false,
        tracking: TrackingConfig::default(),
    })
    .await
    .with_context(|| format!("The data in {} cannot be opened", arguments.data_dir.display()))
}

async fn import_into(
    service: &Service,
    arguments: &ImportArguments,
    wish: &ReadWish,
) -> anyhow::Result<(DatasetSummary, Vec<RejectedRow>)> {
    let mut progress = Progress::start();
    let upload = send(service, arguments.reading.path(), &mut progress).await?;
    let options = service.datasets.preview(&upload, wish).await?.options;
    let mut label_names = options.label_names.clone();
    label_names.extend(arguments.label_names.iter().cloned());
    let request = ImportRequest {
        name: arguments.name.clone().unwrap_or_default(),
        options: ReadOptions { label_names, ..options },
        into: arguments.into.map(|dataset| ImportInto { dataset, replace: arguments.replace }),
        by: arguments.by.clone(),
    };
    progress.begin("importing");
    let import = service.datasets.import(&upload, request);
    tokio::pin!(import);
    let summary = loop {
        tokio::select! {
            imported = &mut import => break imported,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if let Some(at) = service.datasets.import_progress(&upload).await {
                    progress.share(at.share);
                }
            }
        }
    };
    progress.finish();
    let summary = summary?;
    let (mut rejected, _) = service.datasets.rejected(summary.id, 0).await?;
    rejected.truncate(REJECTED_TOLD);
    Ok((summary, rejected))
}

/// By the same way that a person's file takes.
async fn send(service: &Service, path: &Path, progress: &mut Progress) -> anyhow::Result<String> {
    let in_words = || format!("{} cannot be read", path.display());
    let mut file = tokio::fs::File::open(path).await.with_context(in_words)?;
    let total = file.metadata().await.with_context(in_words)?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut upload = service.datasets.begin_upload(&name).await?;
    progress.begin("copying");
    let (mut chunk, mut done) = (vec![0; CHUNK_BYTES], 0_u64);
    loop {
        let read = file.read(&mut chunk).await.with_context(in_words)?;
        if read == 0 {
            break;
        }
        upload.write(&chunk[..read]).await?;
        done += read as u64;
        progress.share(done as f64 / total.max(1) as f64);
    }
    Ok(upload.finish().await?.upload)
}

fn label_name(words: &str) -> Result<(String, String), String> {
    match words.split_once('=') {
        Some((label, name)) if !label.is_empty() && !name.trim().is_empty() => {
            Ok((label.to_string(), name.trim().to_string()))
        }
        _ => Err("write LABEL=NAME, such as pos=positive".to_string()),
    }
}
