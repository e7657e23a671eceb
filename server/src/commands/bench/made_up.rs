//! A server in this process on a data folder of its own, where nothing is trained: what it has to tell is made up.

use anyhow::Context;
use domain::catalogue::OWN_MODEL;
use domain::run::{NewRun, RunId};
use domain::spec::TrainSpec;
use domain::split::Split;
use engine::Device;
use leptos::config::{Env, LeptosOptions};
use service::hub::HubSettings;
use service::{Service, ServiceConfig};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub struct Server {
    pub service: Service,
    pub address: String,
    serving: JoinHandle<()>,
}

impl Server {
    /// On loopback, with `data` as its one dataset.
    pub async fn start(scratch: &Path, data: &Path, base_model: &Path) -> anyhow::Result<Self> {
        let service = Service::open(ServiceConfig {
            data_dir: scratch.join("data"),
            database_url: None,
            base_model: base_model.to_path_buf(),
            model_folders: Vec::new(),
            hub: HubSettings::from_environment(),
            sample: Some(data.to_path_buf()),
            device: Device::Cpu,
            serving: Default::default(),
            tracking: Default::default(),
            takes_up_queues: false,
        })
        .await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("No port to be had on loopback")?;
        let address = listener.local_addr()?;
        // Pages are rendered; the files that they ask for are not there, and nobody asks.
        let leptos = LeptosOptions::builder()
            .output_name("app")
            .site_root(scratch.join("site").to_string_lossy().into_owned())
            .site_addr(address)
            .env(Env::PROD)
            .build();
        let router = crate::router::router(crate::state::AppState::open(leptos, service.clone()));
        let serving = tokio::spawn(async move {
            let app = router.into_make_service_with_connect_info::<SocketAddr>();
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the server stopped: {error}");
            }
        });
        Ok(Self { service, address: address.to_string(), serving })
    }

    /// A run that waits for ever.
    pub async fn queue_run(&self) -> anyhow::Result<RunId> {
        let dataset = self.service.datasets.list().await?.first().context("The file was not imported")?.id;
        let run = NewRun {
            name: "bench".to_string(),
            dataset_id: dataset,
            dataset_version: None,
            split: Split::default(),
            spec: TrainSpec::small_base(),
            base_model: OWN_MODEL,
            start_from: None,
            time_limit_minutes: None,
        };
        Ok(self.service.runs.start(run).await?)
    }

    pub async fn stop(self) {
        self.service.shutdown().await;
        self.serving.abort();
    }
}
