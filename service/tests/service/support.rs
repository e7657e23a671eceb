//! A service in a folder of its own, and short ways to do what every test does.

use crate::own_database::OwnDatabase;
use domain::catalogue::OWN_MODEL;
use domain::dataset::{DatasetId, DatasetSummary};
use domain::error::UserError;
use domain::finding::{Examination, ExaminationState};
use domain::reading::{FileFormat, ImportRequest, ReadOptions, TextSource, UploadPreview};
use domain::run::{NewRun, RunEvent, RunId, RunStatus, StoredEvent};
use domain::spec::TrainSpec;
use domain::split::Split;
use domain::version::VersionNumber;
use service::hub::HubSettings;
use service::{Service, ServiceConfig, ServiceError, TrackingConfig};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

pub struct Place {
    pub database: OwnDatabase,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { database: OwnDatabase::new(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> ServiceConfig {
        ServiceConfig {
            data_dir: self.path().to_path_buf(),
            database_url: self.database.url(),
            base_model: repository().join("data/base/tohum-16m.gguf"),
            model_folders: Vec::new(),
            hub: HubSettings {
                endpoint: "http://127.0.0.1:9".to_string(),
                token: None,
                cache: self.path().join("hub"),
                offline: true,
            },
            sample: None,
            device: device(),
            serving: Default::default(),
            takes_up_queues: true,
            tracking: TrackingConfig::default(),
        }
    }

    /// The service as it starts on this folder.
    pub async fn open(&self) -> Service {
        self.open_with(self.config()).await
    }

    pub async fn open_with(&self, config: ServiceConfig) -> Service {
        Service::open_with_clock(config, clock).await.unwrap()
    }
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A clock that moves on by one at every look.
fn clock() -> i64 {
    static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    NOW.fetch_add(1, Ordering::Relaxed)
}

/// Sends a file as a browser does, in pieces.
pub async fn upload(service: &Service, name: &str, bytes: &[u8]) -> Result<UploadPreview, ServiceError> {
    let mut upload = service.datasets.begin_upload(name).await?;
    for piece in bytes.chunks(1000) {
        upload.write(piece).await?;
    }
    upload.finish().await
}

/// Uploads and imports with what the preview proposes.
pub async fn import(service: &Service, name: &str, text: &str) -> DatasetSummary {
    let preview = upload(service, name, text.as_bytes()).await.unwrap();
    service.datasets.import(&preview.upload, request("", preview.options)).await.unwrap()
}

/// What the examination of a version comes to, once it is done.
pub async fn examined(service: &Service, dataset: DatasetId, version: Option<VersionNumber>) -> Examination {
    loop {
        match service.datasets.examination(dataset, version).await.unwrap() {
            ExaminationState::Done { examination } => return *examination,
            ExaminationState::Failed { reason } => panic!("the examination failed: {reason}"),
            ExaminationState::Waiting | ExaminationState::Working { .. } => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}

/// A new dataset, made by somebody called Test.
pub fn request(name: &str, options: ReadOptions) -> ImportRequest {
    ImportRequest { name: name.to_string(), options, into: None, by: "Test".to_string() }
}

pub fn options(text_column: usize, label_column: usize) -> ReadOptions {
    ReadOptions {
        format: FileFormat::Delimited,
        encoding: "UTF-8".to_string(),
        delimiter: ',',
        quote: Some('"'),
        has_header: true,
        member: None,
        sheet: None,
        text: TextSource::Column(text_column),
        label_column,
        split_column: None,
        label_names: Default::default(),
    }
}

/// Two labels that a small model tells apart in no time.
pub fn weather(rows: usize) -> String {
    let mut text = "text,label\n".to_string();
    for i in 0..rows {
        let (words, label) =
            if i % 2 == 0 { ("the sun is warm and bright", "sunny") } else { ("rain and cold wind again", "rainy") };
        text += &format!("day {i}: {words},{label}\n");
    }
    text
}

/// A run of a few seconds.
pub fn small_run(dataset_id: i64, epochs: u64) -> NewRun {
    let mut spec = TrainSpec { r: 4, num_train_epochs: epochs, ..TrainSpec::small_base() };
    spec.set("prompt_template", "{text} =").unwrap();
    NewRun {
        name: "small".to_string(),
        dataset_id,
        dataset_version: None,
        split: Split::default(),
        spec,
        base_model: OWN_MODEL,
        start_from: None,
        time_limit_minutes: None,
    }
}

/// Waits for an event, from the beginning of the run's history on, and returns all events up to it.
pub async fn wait_for(
    service: &Service,
    run: RunId,
    after: i64,
    wanted: impl Fn(&RunEvent) -> bool,
) -> Vec<StoredEvent> {
    let mut watch = service.feed.watch(run, after);
    let mut seen = Vec::new();
    while let Some(events) = watch.next().await {
        for event in events {
            let is_wanted = wanted(&event.event);
            seen.push(event);
            if is_wanted {
                return seen;
            }
        }
    }
    panic!("the feed ended before the event came; it told {seen:?}");
}

/// Waits until the run has that status, from the event after `after` on. A failure that is not waited for is told.
pub async fn wait_for_status(service: &Service, run: RunId, after: i64, wanted: RunStatus) -> Vec<StoredEvent> {
    wait_for(service, run, after, |event| match event {
        RunEvent::Status { status: RunStatus::Failed, message } if wanted != RunStatus::Failed => {
            panic!("the run failed: {message:?}")
        }
        RunEvent::Status { status, .. } => *status == wanted,
        _ => false,
    })
    .await
}

/// The words for people.
pub fn told(error: ServiceError) -> UserError {
    error.into()
}

/// The CPU, or what AYAR_DEVICE names: on a machine with a card the service is tested there, too (`make test-cuda`).
pub fn device() -> engine::Device {
    std::env::var("AYAR_DEVICE").map_or(engine::Device::Cpu, |words| words.parse().unwrap())
}
