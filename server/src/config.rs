//! How the server is set up: every option is an argument, an environment variable, and a key of a configuration file (see
//! [`file`]), in this order of precedence.

pub mod file;

use crate::arguments::{DEFAULT_BASE_MODEL, DatabaseArgument, DeviceArgument};
use crate::http::access::Access;
use crate::telemetry::LogFormat;
use clap::{Args, ValueEnum};
use service::ServingLimits;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Address and port to listen on
    #[arg(long, env = "AYAR_ADDR", default_value = "127.0.0.1:3000")]
    pub addr: SocketAddr,
    /// Folder for the database, uploads and runs; it is made where it is missing
    #[arg(long, env = "AYAR_DATA_DIR", default_value = "data/local")]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub database: DatabaseArgument,
    /// Base model that runs fine-tune where no other is chosen: a GGUF file, or a folder with config.json and safetensors
    #[arg(long, env = "AYAR_BASE_MODEL", default_value = DEFAULT_BASE_MODEL)]
    pub base_model: PathBuf,
    /// Folder below which models that people add from the disk may lie; several are separated by commas
    #[arg(long = "model-folder", env = "AYAR_MODEL_FOLDERS", value_delimiter = ',', default_value = "data/models")]
    pub model_folders: Vec<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgument,
    /// Dataset that is imported on the very first start
    #[arg(long, env = "AYAR_SAMPLE", default_value = "data/sample/headlines.csv")]
    pub sample: PathBuf,
    /// Folder of the built site, as `cargo site --release` leaves it
    #[arg(long, env = "AYAR_SITE_ROOT", default_value = "target/site")]
    pub site_root: PathBuf,
    /// Whether people have to sign in; auto: unless the server listens to its own machine alone
    #[arg(long, env = "AYAR_ACCESS", value_enum, default_value_t = AccessArgument::Auto)]
    pub access: AccessArgument,
    #[command(flatten)]
    pub serving: ServingArguments,
    /// TOML file whose keys are these options without their dashes in front
    #[arg(long, env = file::ENVIRONMENT, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name under which an open server is reached, beside numbers and localhost; several are separated by commas
    #[arg(long = "host-name", env = "AYAR_HOST_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub host_names: Vec<String>,
    /// Certificate chain in PEM; with its key, the server speaks https. SIGHUP reads both anew
    #[arg(long, env = "AYAR_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, env = "AYAR_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Lets programs on other machines read /metrics, sent as a bearer token
    #[arg(long, env = "AYAR_METRICS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub metrics_token: Option<String>,
    /// Lines for people, or one JSON object each
    #[arg(long, env = "AYAR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Folder in which every run gets TensorBoard's event files while it trains
    #[arg(long, env = "AYAR_TENSORBOARD", value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
}

impl ServeConfig {
    /// Certificate chain and key, if the server is to speak https.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        Some((self.tls_cert.as_deref()?, self.tls_key.as_deref()?))
    }
}

/// The value of `--access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessArgument {
    Open,
    SignIn,
    Auto,
}

impl AccessArgument {
    /// What it comes to for a server that listens there.
    pub fn on(self, address: SocketAddr) -> Access {
        match self {
            Self::Open => Access::Open,
            Self::SignIn => Access::SignIn,
            Self::Auto if address.ip().is_loopback() => Access::Open,
            Self::Auto => Access::SignIn,
        }
    }
}

/// How classification shares the device; see [`ServingLimits`].
#[derive(Args, Clone, Debug)]
pub struct ServingArguments {
    /// Megabytes of adapters that are kept in memory beside the base; the longest unused leave first
    #[arg(long, env = "AYAR_ADAPTER_MEMORY_MB", value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    adapter_memory_mb: u64,
    /// Milliseconds that a pass is cut down to: requests are joined as far as they fit into it
    #[arg(long, env = "AYAR_PASS_BUDGET_MS", value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pass_budget_ms: u64,
    /// Requests that may wait; those beyond are told to come again
    #[arg(long, env = "AYAR_WAITING_REQUESTS", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    waiting_requests: u64,
    /// Texts that may wait in all of them together
    #[arg(long, env = "AYAR_WAITING_TEXTS", value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    waiting_texts: u64,
}

impl ServingArguments {
    pub fn limits(&self) -> ServingLimits {
        ServingLimits {
            adapter_bytes: (self.adapter_memory_mb as usize) << 20,
            pass_budget: Duration::from_millis(self.pass_budget_ms),
            waiting_requests: self.waiting_requests as usize,
            waiting_texts: self.waiting_texts as usize,
        }
    }
}
