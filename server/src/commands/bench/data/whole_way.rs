//! What a person's file goes through, measured step by step in a data folder that is thrown away.

use super::{EXAMINATION, FIRST_PAGE, IMPORT, Measured, Step};
use crate::figures::peak_resident_bytes;
use crate::scratch::Scratch;
use anyhow::{Context, bail};
use domain::finding::ExaminationState;
use domain::reading::ImportRequest;
use domain::version::{NOBODY, RowQuery};
use engine::Device;
use service::hub::HubSettings;
use service::{Service, ServiceConfig, TrackingConfig};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// Between two looks at the examination, which also bounds how sharply its steps are told apart.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const CHUNK_BYTES: usize = 1 << 20;

pub fn measure(file: &Path, base_model: &Path) -> anyhow::Result<Measured> {
    let scratch = Scratch::make()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    let steps = runtime.block_on(async {
        let service = Service::open(ServiceConfig {
            data_dir: scratch.path().join("data"),
            database_url: None,
            base_model: base_model.to_path_buf(),
            model_folders: Vec::new(),
            hub: HubSettings::from_environment(),
            sample: None,
            device: Device::Cpu,
            serving: Default::default(),
            takes_up_queues: false,
            tracking: TrackingConfig::default(),
        })
        .await?;
        let steps = go(&service, file).await;
        service.shutdown().await;
        steps
    })?;
    Ok(Measured { name: "ayar".to_string(), steps, peak_bytes: peak_resident_bytes() })
}

async fn go(service: &Service, path: &Path) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut since = Instant::now();
    let mut done = |name: &str| {
        steps.push(Step { name: name.to_string(), seconds: since.elapsed().as_secs_f64() });
        since = Instant::now();
    };
    let datasets = &service.datasets;
    let mut file = tokio::fs::File::open(path).await?;
    let mut upload = datasets.begin_upload("rows.csv").await?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        upload.write(&chunk[..read]).await?;
    }
    done("upload, as far as the disk");
    let preview = upload.finish().await?;
    done(FIRST_PAGE);
    let request = ImportRequest { name: String::new(), options: preview.options, into: None, by: NOBODY.to_string() };
    let dataset = datasets.import(&preview.upload, request).await?;
    done(IMPORT);
    let query = RowQuery { count: 100, ..RowQuery::default() };
    datasets.rows(dataset.id, &query).await?;
    done("first page of its rows");

    let (mut step, mut step_since, mut within) = (String::new(), Instant::now(), Vec::new());
    loop {
        match datasets.examination(dataset.id, None).await? {
            ExaminationState::Waiting => {}
            ExaminationState::Working { step: now, .. } => {
                if now != step {
                    if !step.is_empty() {
                        within.push(Step { name: format!("  {step}"), seconds: step_since.elapsed().as_secs_f64() });
                    }
                    (step, step_since) = (now, Instant::now());
                }
            }
            ExaminationState::Done { .. } => break,
            ExaminationState::Failed { reason } => bail!("The examination failed: {reason}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if !step.is_empty() {
        within.push(Step { name: format!("  {step}"), seconds: step_since.elapsed().as_secs_f64() });
    }
    done(EXAMINATION);
    let search = RowQuery { search: "conbe as said".to_string(), count: 100, ..RowQuery::default() };
    datasets.rows(dataset.id, &search).await?;
    done("a search through all texts");
    steps.splice(steps.len() - 1..steps.len() - 1, within);
    Ok(steps)
}
