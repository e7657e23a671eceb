//! `ayar serve`: the web app.

use crate::arguments::looked_from;
use crate::config::ServeConfig;
use crate::http::access::Access;
use crate::http::guard::{Hosts, Https};
use crate::router::router;
use crate::state::{AppState, MetricsToken};
use anyhow::{Context, bail};
use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Handle, Server};
use engine::Device;
use hyper_util::rt::TokioTimer;
use leptos::config::{Env, LeptosOptions};
use service::hub::HubSettings;
use service::tracking::MlflowSettings;
use service::{Service, ServiceConfig, TrackingConfig};
use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The head of a connection's first request has to come within this.
const FIRST_HEAD_WITHIN: Duration = Duration::from_secs(20);
/// That of a later one: browsers keep connections open for the next request.
const NEXT_HEAD_WITHIN: Duration = Duration::from_secs(75);
/// Requests that are still under way get this long when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

pub fn serve(config: ServeConfig) -> anyhow::Result<()> {
    require_site(&config.site_root)?;
    require_base_model(&config.base_model)?;
    allow_many_connections();
    let chosen = config.device.choose()?;
    if let Some(note) = &chosen.note {
        tracing::info!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("No threads to be had")?;
    let outcome = runtime.block_on(run(config, chosen.device));
    // A thread that still computes does not hold up the end: its run stands in the database with its checkpoint.
    runtime.shutdown_background();
    outcome
}

async fn run(config: ServeConfig, device: Device) -> anyhow::Result<()> {
    // Before the database is opened: a second server by mistake must not touch the first one's runs.
    let listener = listen(config.addr).await?;
    let address = listener.local_addr().context("The address that was given cannot be told")?;
    let stop_signal = stop_signal()?;
    let mlflow = MlflowSettings::from_environment()?;
    let tls = match config.tls() {
        Some((certificate, key)) => Some(Certificate::read(certificate, key).await?),
        None => None,
    };
    let service = Service::open(ServiceConfig {
        data_dir: config.data_dir.clone(),
        database_url: config.database.database_url,
        base_model: config.base_model,
        model_folders: config.model_folders,
        hub: HubSettings::from_environment(),
        sample: config.sample.is_file().then_some(config.sample),
        device,
        serving: config.serving.limits(),
        takes_up_queues: true,
        tracking: TrackingConfig { tensorboard: config.tensorboard, mlflow },
    })
    .await
    .with_context(|| format!("The data in {} cannot be opened", config.data_dir.display()))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let access = config.access.on(address);
    if access == Access::Open && !address.ip().is_loopback() {
        tracing::warn!("the server is open: everybody who reaches {address} may do everything");
    }
    let leptos = LeptosOptions::builder()
        .output_name("app")
        .site_root(config.site_root.to_string_lossy().into_owned())
        .site_addr(address)
        // No live reload: `cargo site` has none.
        .env(Env::PROD)
        .build();

    let hosts = if access == Access::Open { Hosts::only(&config.host_names) } else { Hosts::all() };
    let router = router(AppState {
        access,
        metrics_token: config.metrics_token.map(MetricsToken::from),
        hosts,
        https: Https(tls.is_some()),
        ..AppState::open(leptos, service.clone())
    });
    let handle = Handle::new();
    let listener = listener.into_std().context("The address that was given cannot be listened on")?;
    let mut server = tokio::spawn(answer(listener, router, tls, handle.clone()));
    println!("Ayar runs at {scheme}://{address}");
    if access == Access::SignIn
        && let Some(token) = service.people.setup_link().await?
    {
        println!("There is no administrator yet. This link makes the first one, within a day:");
        println!("{scheme}://{}/setup/{}", reachable(address), token.0);
    }
    std::io::stdout().flush().context("stdout is closed")?;

    tokio::select! {
        ended = &mut server => {
            service.shutdown().await;
            return ended?.context("The server stopped");
        }
        name = stop_signal => tracing::info!("{name}: stopping; the run that trains writes a checkpoint first"),
    }
    service.shutdown().await;
    // Who holds a connection open for longer loses nothing.
    handle.graceful_shutdown(Some(STOP_WITHIN));
    server.await?.context("The server stopped")
}

/// Answers requests until it is told to stop. Connections on which no request comes are closed.
async fn answer(
    listener: std::net::TcpListener,
    router: Router,
    tls: Option<Certificate>,
    handle: Handle<SocketAddr>,
) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        Some(certificate) => {
            let server = axum_server::from_tcp_rustls(listener, certificate.config)?;
            patient_with_nobody(server.handle(handle)).serve(service).await
        }
        None => patient_with_nobody(axum_server::from_tcp(listener)?.handle(handle)).serve(service).await,
    }
}

fn patient_with_nobody<Acceptor>(server: Server<SocketAddr, Acceptor>) -> Server<SocketAddr, Acceptor> {
    let mut server = server.first_request_timeout(FIRST_HEAD_WITHIN);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(NEXT_HEAD_WITHIN);
    let keep_alive = Some(Duration::from_secs(30));
    server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(keep_alive);
    server
}

/// What the server shows for who it is. SIGHUP reads it anew, as after a renewal.
struct Certificate {
    config: RustlsConfig,
}

impl Certificate {
    async fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let config = read_certificate(certificate, key).await?;
        let mut hangup = signal(SignalKind::hangup()).context("Signals cannot be listened for")?;
        let (renewed, certificate, key) = (config.clone(), certificate.to_path_buf(), key.to_path_buf());
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                match renewed.reload_from_pem_file(&certificate, &key).await {
                    Ok(()) => tracing::info!("SIGHUP: the certificate was read anew"),
                    Err(error) => tracing::error!(%error, "SIGHUP: the certificate cannot be read; the old one stays"),
                }
            }
        });
        Ok(Self { config })
    }
}

/// # Errors
/// One of the files is not what it should be, or the key belongs to another certificate.
pub async fn read_certificate(certificate: &Path, key: &Path) -> anyhow::Result<RustlsConfig> {
    // Whoever was there first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RustlsConfig::from_pem_file(certificate, key).await.with_context(|| {
        format!("The certificate {} and its key {} cannot be used together", certificate.display(), key.display())
    })
}

/// Where a browser on this machine finds it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Connections are files to the system, which often allows a thousand and lets a process ask for more.
pub fn allow_many_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some systems name a number that they do not mean; a hundred thousand is enough.
    let wanted = maximum.unwrap_or(100_000).min(100_000);
    if current.is_some_and(|current| current < wanted) {
        // As it was is good enough to start.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "Port {} on {} is in use, perhaps by another Ayar. Stop that one, or choose another port: \
             `ayar serve --addr {}`, or set AYAR_ADDR.",
            address.port(),
            address.ip(),
            SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(3000)),
        ),
        Err(error) => Err(error).with_context(|| {
            format!("Cannot listen on {address}. Choose another address with --addr, such as 127.0.0.1:3000")
        }),
    }
}

/// Ends with the name of the first signal that asks the process to stop. From then on a second one ends it at once.
fn stop_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("Signals cannot be listened for")?;
    let mut terminate = signal(SignalKind::terminate()).context("Signals cannot be listened for")?;
    Ok(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(1);
        });
        name
    })
}

pub fn require_site(site_root: &Path) -> anyhow::Result<()> {
    for file in ["pkg/app.js", "pkg/app.wasm", "pkg/app.css"] {
        if !site_root.join(file).is_file() {
            bail!(
                "The site folder {} has no {file}{}. Build it with `make site`, start from the folder of the \
                 repository, or name another with --site-root.",
                site_root.display(),
                looked_from(site_root)
            );
        }
    }
    Ok(())
}

pub fn require_base_model(base_model: &Path) -> anyhow::Result<()> {
    if !base_model.exists() {
        bail!(
            "There is no base model at {}{}. Start from the folder of the repository, where {} lies, or name another \
             with --base-model.",
            base_model.display(),
            looked_from(base_model),
            crate::arguments::DEFAULT_BASE_MODEL
        );
    }
    Ok(())
}
