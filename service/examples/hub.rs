//! A Hugging Face Hub on loopback, for trying things out and for tests of the command line and the browser:
//!
//! ```sh
//! cargo run --release -p service --example hub -- --root DIR [--port N] [--bytes-per-second N]
//! ```
//!
//! It serves the repositories `DIR/owner/name/…` and takes uploads, in memory, until it is ended. A file `.private` in
//! a repository makes it private; a file `.gated` asks for its licence to be accepted, each line in it being the name
//! of somebody who has. Its first line of output is its address, for `HF_ENDPOINT`. Tokens: `hf_test_reader` (the user
//! `reader`), `hf_test_writer` (`writer`, who may write), `hf_test_stranger` (who sees nothing private).

#[path = "../tests/hub/server/mod.rs"]
#[allow(dead_code, reason = "the tests also look into it and make trouble")]
mod server;

use server::{Access, HubOptions, TestHub};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (root, options) = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\nusage: hub --root DIR [--port N] [--bytes-per-second N]");
            return ExitCode::from(2);
        }
    };
    let hub = TestHub::start(options);
    if let Err(error) = load(&hub, &root) {
        eprintln!("{}: {error}", root.display());
        return ExitCode::FAILURE;
    }
    println!("{}", hub.endpoint());
    loop {
        std::thread::park();
    }
}

fn load(hub: &TestHub, root: &Path) -> io::Result<()> {
    for owner in std::fs::read_dir(root)?.flatten().filter(|entry| entry.path().is_dir()) {
        for name in std::fs::read_dir(owner.path())?.flatten().filter(|entry| entry.path().is_dir()) {
            let repo = format!("{}/{}", owner.file_name().to_string_lossy(), name.file_name().to_string_lossy());
            load_repository(hub, &repo, &name.path())?;
        }
    }
    Ok(())
}

fn load_repository(hub: &TestHub, repo: &str, folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for path in std::fs::read_dir(&next)?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if !path.ends_with(".private") && !path.ends_with(".gated") {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                files.push((name, std::fs::read(&path)?));
            }
        }
    }
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    hub.put(repo, &borrowed);
    if let Ok(accepted) = std::fs::read_to_string(folder.join(".gated")) {
        hub.set_access(repo, Access::Gated { accepted: accepted.lines().map(str::to_owned).collect() });
    } else if folder.join(".private").exists() {
        hub.set_access(repo, Access::Private);
    }
    Ok(())
}

fn arguments() -> Result<(PathBuf, HubOptions), String> {
    let mut root = None;
    let mut options = HubOptions::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} lacks a value"))?;
        let no_number = |error| format!("{name} {value}: {error}");
        match name.as_str() {
            "--root" => root = Some(PathBuf::from(&value)),
            "--port" => options.port = value.parse().map_err(no_number)?,
            "--bytes-per-second" => options.bytes_per_second = Some(value.parse().map_err(no_number)?),
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok((root.ok_or("--root is missing")?, options))
}
