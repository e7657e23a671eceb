//! A data folder with a trained run under a name, and the server on it.

use anyhow::{Context, bail};
use domain::catalogue::{AdapterSource, OWN_MODEL};
use domain::run::{NewRun, RunEvent, RunId, RunStatus};
use domain::spec::TrainSpec;
use domain::split::Split;
use engine::Device;
use engine::train::adapter_directory;
use service::hub::HubSettings;
use service::{Service, ServiceConfig};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The name that is asked.
pub const DEPLOYMENT: &str = "bench";

pub struct Subject {
    folder: PathBuf,
    base_model: PathBuf,
    pub adapter: PathBuf,
    /// Of all rows.
    pub texts: Vec<String>,
}

pub struct Server {
    child: Child,
    pub address: String,
}

impl Subject {
    /// Trains one epoch: what the adapter has learned does not change how fast it is.
    pub async fn prepare(scratch: &Path, data: &Path, base_model: &Path) -> anyhow::Result<Self> {
        let folder = scratch.join("data");
        let texts = crate::table::read_texts("--data", data, "text")?.rows.into_iter().map(|row| row.text).collect();
        let service = Service::open(ServiceConfig {
            data_dir: folder.clone(),
            database_url: None,
            base_model: base_model.to_path_buf(),
            model_folders: Vec::new(),
            hub: HubSettings::from_environment(),
            sample: Some(data.to_path_buf()),
            device: Device::Cpu,
            serving: Default::default(),
            tracking: Default::default(),
            takes_up_queues: true,
        })
        .await?;
        let run = train(&service).await;
        service.shutdown().await;
        // Pages are not asked for, but the server insists on having some.
        let site = scratch.join("site/pkg");
        std::fs::create_dir_all(&site)?;
        for file in ["app.js", "app.wasm", "app.css"] {
            std::fs::write(site.join(file), "")?;
        }
        let adapter = adapter_directory(&folder.join(format!("runs/{}", run?)));
        Ok(Self { folder: scratch.to_path_buf(), base_model: base_model.to_path_buf(), adapter, texts })
    }

    pub async fn start(&self) -> anyhow::Result<Server> {
        let program = std::env::current_exe().context("The program does not know where it lies")?;
        let mut child = Command::new(program)
            .args(["serve", "--addr", "127.0.0.1:0", "--device", "cpu", "--data-dir"])
            .arg(self.folder.join("data"))
            .arg("--base-model")
            .arg(&self.base_model)
            .arg("--site-root")
            .arg(self.folder.join("site"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("The server cannot be started")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let mut server = Server { child, address: String::new() };
        match line.trim().strip_prefix("Ayar runs at http://") {
            Some(address) => server.address = address.to_string(),
            None => bail!("The server does not start; `ayar serve` says why."),
        }
        Ok(server)
    }

    pub fn base_model(&self) -> &Path {
        &self.base_model
    }
}

async fn train(service: &Service) -> anyhow::Result<RunId> {
    let dataset = service.datasets.list().await?.first().context("The file was not imported")?.id;
    let run = service
        .runs
        .start(NewRun {
            name: "bench".to_string(),
            dataset_id: dataset,
            dataset_version: None,
            split: Split::default(),
            spec: TrainSpec { num_train_epochs: 1, ..TrainSpec::small_base() },
            base_model: OWN_MODEL,
            start_from: None,
            time_limit_minutes: None,
        })
        .await?;
    let mut watch = service.feed.watch(run, 0);
    while let Some(events) = watch.next().await {
        for event in events {
            match event.event {
                RunEvent::Status { status: RunStatus::Finished, .. } => {
                    service.deployments.create(DEPLOYMENT, AdapterSource::Run(run), "").await?;
                    return Ok(run);
                }
                RunEvent::Status { status: RunStatus::Failed, message } => {
                    bail!("The run failed: {}", message.unwrap_or_default());
                }
                _ => {}
            }
        }
    }
    bail!("The run did not come to its end.")
}

impl Server {
    /// What the server has in memory now.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
