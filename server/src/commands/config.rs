//! `ayar config check`: with what the web app would be started, where each setting comes from, and whether it would work.

use crate::commands::serve::{listen, read_certificate, require_base_model, require_site};
use crate::config::ServeConfig;
use crate::config::file::ConfigFile;
use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use std::path::Path;

#[derive(Args)]
pub struct ConfigArguments {
    #[command(subcommand)]
    _command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Show every setting with its source, and check that the web app could start with them
    Check(Box<ServeConfig>),
}

/// Shown in the place of a secret.
const MASK: &str = "(set, not shown)";

/// Prints a line per setting to stdout.
///
/// # Errors
/// The web app could not start: each reason, one below the other.
pub fn check(parser: &Command, matches: &ArgMatches, file: Option<&ConfigFile>) -> anyhow::Result<()> {
    let (Some(("config", matches)), Some(command)) = (matches.subcommand(), parser.find_subcommand("config")) else {
        bail!("There is nothing to check.");
    };
    let (Some(("check", matches)), Some(command)) = (matches.subcommand(), command.find_subcommand("check")) else {
        bail!("There is nothing to check.");
    };
    let config = ServeConfig::from_arg_matches(matches)?;
    print!("{}", table(command, matches, file));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("No threads to be had")?;
    let reasons = runtime.block_on(reasons(&config));
    if reasons.is_empty() {
        println!("\nThe web app can start with these settings.");
        return Ok(());
    }
    bail!("the web app cannot start with these settings:\n- {}", reasons.join("\n- "))
}

fn table(command: &Command, matches: &ArgMatches, file: Option<&ConfigFile>) -> String {
    let settings: Vec<[String; 3]> = command
        .get_arguments()
        .filter_map(|setting| Some((setting, setting.get_long().filter(|name| *name != "help")?)))
        .map(|(setting, name)| [name.to_string(), value(setting, matches), source(setting, name, matches, file)])
        .collect();
    let width = |column: usize| settings.iter().map(|setting| setting[column].chars().count()).max().unwrap_or(0);
    let (names, values) = (width(0), width(1).min(60));
    settings.iter().map(|[name, value, source]| format!("{name:<names$}  {value:<values$}  {source}\n")).collect()
}

fn value(setting: &Arg, matches: &ArgMatches) -> String {
    let Ok(Some(raw)) = matches.try_get_raw(setting.get_id().as_str()) else { return "-".to_string() };
    // What is hidden in the help is a secret, or may contain one.
    if setting.is_hide_env_values_set() {
        return MASK.to_string();
    }
    raw.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
}

fn source(setting: &Arg, name: &str, matches: &ArgMatches, file: Option<&ConfigFile>) -> String {
    match matches.value_source(setting.get_id().as_str()) {
        Some(ValueSource::CommandLine) => format!("--{name}"),
        Some(ValueSource::EnvVariable) => {
            setting.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        Some(_) => match file.filter(|file| file.values.contains_key(name)) {
            Some(file) => file.path.display().to_string(),
            None => "default".to_string(),
        },
        None => "not set".to_string(),
    }
}

/// Everything that would keep it from starting, each in a sentence.
async fn reasons(config: &ServeConfig) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut look = |outcome: anyhow::Result<()>| reasons.extend(outcome.err().map(|error| format!("{error:#}")));
    look(listen(config.addr).await.map(drop));
    look(require_site(&config.site_root));
    look(require_base_model(&config.base_model));
    look(config.device.choose().map(drop).map_err(Into::into));
    look(require_writable(&config.data_dir));
    if let Some((certificate, key)) = config.tls() {
        look(read_certificate(certificate, key).await.map(drop));
    }
    reasons
}

/// The folder, or the nearest above it that is there, can be written.
fn require_writable(folder: &Path) -> anyhow::Result<()> {
    let absolute = std::path::absolute(folder).with_context(|| format!("{} is no folder", folder.display()))?;
    let there = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if !there.is_dir() || rustix::fs::access(there, access).is_err() {
        bail!("The data folder {} cannot be written: {} cannot.", folder.display(), there.display());
    }
    Ok(())
}
