//! `ayar models`: base models and adapters from the Hub, in the cache that Python's tools use, too.

use crate::commands::hub::{download, fetch};
use anyhow::Context;
use clap::{Args, Subcommand};
use domain::hub::{HubAccess, HubAddress, HubCheck};
use engine::weights::hf::HfConfig;
use engine::weights::model_files::ModelFiles;
use service::hub::{Hub, HubSettings};
use std::path::Path;

#[derive(Args)]
pub struct ModelsArguments {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Subcommand)]
enum ModelsCommand {
    /// Say what a model is, whether it may be had, and what it takes, before anything is fetched
    Check(OneModel),
    /// Fetch a model of the Hub; what is there already is not fetched again
    Add(OneModel),
    /// List what the cache of the Hub holds
    List {
        /// Print one JSON object on stdout
        #[arg(long)]
        json: bool,
    },
    /// Delete a repository from the cache of the Hub
    Remove {
        /// owner/name
        repo: String,
    },
}

#[derive(Args)]
struct OneModel {
    /// owner/name, owner/name@revision, owner/name/file.gguf, the URL of a page of the Hub, or a path
    model: String,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn models(arguments: ModelsArguments) -> anyhow::Result<()> {
    let hub = Hub::new(HubSettings::from_environment());
    match arguments.command {
        ModelsCommand::Check(one) => check(&hub, &one),
        ModelsCommand::Add(one) => add(&hub, &one),
        ModelsCommand::List { json } => list(&hub, json),
        ModelsCommand::Remove { repo } => {
            let freed = hub.remove_cached(&repo)?;
            println!("{repo}: {} freed", size(freed));
            Ok(())
        }
    }
}

fn check(hub: &Hub, one: &OneModel) -> anyhow::Result<()> {
    let path = Path::new(&one.model);
    if path.exists() {
        let info = ModelFiles::open(path)?.info();
        if one.json {
            println!("{}", serde_json::to_string_pretty(&info)?);
        } else {
            println!("{}: {}, {}", one.model, info.architecture, parameters(info.parameters));
        }
        return Ok(());
    }
    let check = hub.check(&address(&one.model)?)?;
    if one.json {
        println!("{}", serde_json::to_string_pretty(&check)?);
    } else {
        tell(&check);
    }
    if check.problems.is_empty() { Ok(()) } else { anyhow::bail!("{}", check.problems.join(" ")) }
}

fn tell(check: &HubCheck) {
    println!("{}{}", check.address, check.commit.as_deref().map(|commit| format!(" at {commit}")).unwrap_or_default());
    if let Some(config) = check.config_json.as_deref().and_then(|json| HfConfig::from_json(json.as_bytes()).ok()) {
        let info = config.llama().info(&check.address.repo);
        println!("  {}, {}, context of {} tokens", info.architecture, parameters(info.parameters), info.context_length);
    } else if let Some(architecture) = &check.architecture {
        println!("  {architecture}");
    }
    println!("  licence: {}", check.licence.as_deref().unwrap_or("not stated"));
    println!("  access: {}", access(&check.access));
    println!("  token of: {}", check.user.as_deref().unwrap_or("nobody"));
    println!("  to fetch: {} of {}", size(check.missing_bytes), size(check.total_bytes));
    if let Some(free) = check.disk_free_bytes {
        println!("  free on the disk: {}", size(free));
    }
    for file in &check.files {
        println!("  {:>10}  {}{}", size(file.bytes), file.name, if file.cached { " (there)" } else { "" });
    }
}

fn access(access: &HubAccess) -> String {
    match access {
        HubAccess::Open => "open to all".to_string(),
        HubAccess::Granted => "granted to the token".to_string(),
        HubAccess::TokenMissing { url } => format!("needs a token; make one at {url} and set HF_TOKEN"),
        HubAccess::TokenInvalid => "the token is not known".to_string(),
        HubAccess::LicenceNotAccepted { url } => format!("its licence has to be accepted first, at {url}"),
        HubAccess::NotFound => "not found".to_string(),
        HubAccess::Offline => "not asked, since HF_HUB_OFFLINE is set".to_string(),
    }
}

fn add(hub: &Hub, one: &OneModel) -> anyhow::Result<()> {
    let fetched = fetch(hub, &address(&one.model)?)?;
    let info = match fetched.path.join("adapter_config.json").is_file() {
        // Whether an adapter fits is known when its base is.
        true => None,
        false => {
            let files = ModelFiles::open(&fetched.path)?;
            files.tokenizer()?;
            Some(files.info())
        }
    };
    if one.json {
        let answer = serde_json::json!({ "path": fetched.path, "commit": fetched.commit, "model": info });
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    println!("{}", fetched.path.display());
    match info {
        Some(info) => {
            println!("{}, {}: ready for --model {}", info.architecture, parameters(info.parameters), one.model)
        }
        None => println!("an adapter: ready for --adapter {}", one.model),
    }
    Ok(())
}

fn list(hub: &Hub, json: bool) -> anyhow::Result<()> {
    let cached = hub.list_cached()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&cached)?);
        return Ok(());
    }
    if cached.is_empty() {
        println!("The cache {} holds no models.", hub.settings().cache.display());
    }
    for repository in cached {
        println!("{:>10}  {}  {}", size(repository.bytes), repository.repo, repository.revisions.join(" "));
    }
    Ok(())
}

fn address(words: &str) -> anyhow::Result<HubAddress> {
    Ok(HubAddress::parse(words).map_err(|error| crate::arguments::Usage(error.message))?)
}

/// Such as `1.2B parameters`.
fn parameters(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.0}K parameters", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0}M parameters", count as f64 / 1e6),
        _ => format!("{:.1}B parameters", count as f64 / 1e9),
    }
}

pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[derive(Args)]
pub struct PullArguments {
    /// owner/name, owner/name@revision, owner/name/file.gguf, or the URL of a page of the Hub
    model: String,
    /// Folder to copy the files to; without it they stay in the cache, whose path is printed
    #[arg(long, value_name = "DIR")]
    out: Option<std::path::PathBuf>,
}

/// `ayar pull`: an adapter or a model of the Hub, as files.
pub fn pull(arguments: &PullArguments) -> anyhow::Result<()> {
    let hub = Hub::new(HubSettings::from_environment());
    let fetched = download(&hub, &address(&arguments.model)?)?;
    let Some(out) = &arguments.out else {
        println!("{}", fetched.path.display());
        return Ok(());
    };
    if out.exists() {
        return Err(crate::arguments::Usage(format!(
            "--out: {} is there already; nothing was changed.",
            out.display()
        ))
        .into());
    }
    copy_whole(&fetched.path, out).with_context(|| format!("{} could not be written", out.display()))?;
    println!("{}", out.display());
    Ok(())
}

/// Copied aside, then renamed: the name never stands for half of it.
fn copy_whole(from: &Path, to: &Path) -> std::io::Result<()> {
    let aside = to.with_added_extension("partial");
    if aside.exists() {
        std::fs::remove_dir_all(&aside).or_else(|_| std::fs::remove_file(&aside))?;
    }
    if from.is_file() {
        std::fs::copy(from, &aside)?;
        return std::fs::rename(&aside, to);
    }
    copy_folder(from, &aside)?;
    std::fs::rename(&aside, to)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        // The cache's entries are links to files.
        if std::fs::metadata(entry.path())?.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
