//! How the server is set up: every option is an argument and an environment variable.

use crate::arguments::{DEFAULT_BASE_MODEL, DeviceArgument};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Address and port to listen on
    #[arg(long, env = "AYAR_ADDR", default_value = "127.0.0.1:3000")]
    pub addr: SocketAddr,
    /// Folder for the database, uploads and runs; it is made where it is missing
    #[arg(long, env = "AYAR_DATA_DIR", default_value = "data/local")]
    pub data_dir: PathBuf,
    /// Database, such as sqlite://ayar.db; left out: a SQLite file in the data folder
    #[arg(long, env = "AYAR_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
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
}
