//! `cargo site [--release] [--cuda]`: builds the site and the server, with `--cuda` one that knows NVIDIA GPUs.
//!
//! The app becomes WASM and is joined with `public/` and the style sheet in `target/site`; then the server is built.
//! Cargo knows what of the code has to be built again; the site is put together again only when something that goes
//! into it has changed, and always beside the one that is there: `target/site` is whole or absent, never half.

mod style;

use anyhow::{Context, Result, bail};
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;
use wasm_bindgen_cli_support::Bindgen;

/// What browsers accept compressed and what is worth it.
const COMPRESSED: [&str; 6] = ["css", "html", "js", "json", "svg", "wasm"];
/// Shorter files are sent in one packet anyway.
const SMALLEST_COMPRESSED_BYTES: u64 = 1400;

fn main() -> Result<()> {
    let (mut release, mut cuda) = (false, false);
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--release" => release = true,
            "--cuda" => cuda = true,
            other => bail!("cargo site [--release] [--cuda] does not know {other}"),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("The workspace is gone")?;
    env::set_current_dir(&root)?;
    if !Path::new("public/vendor/echarts.min.js").is_file() {
        bail!(
            "public/vendor/echarts.min.js is missing. Fetch it with `make site`, or by hand: \
               cd end2end && npm ci && npm run vendor"
        );
    }

    let wasm = build_wasm(release)?;
    // Two at once would put one site together out of two.
    fs::create_dir_all("target")?;
    let lock = File::create("target/site.lock").context("target/site.lock cannot be made")?;
    lock.lock().context("target/site.lock cannot be locked")?;
    let inputs = describe_inputs(&wasm, release)?;
    let (site, stamp) = (Path::new("target/site"), Path::new("target/site.stamp"));
    if !site.is_dir() || fs::read_to_string(stamp).ok().as_deref() != Some(inputs.as_str()) {
        // Gone while the new site takes its place: should we be stopped in between, it is put together again.
        remove(stamp)?;
        assemble(site, &wasm, release)?;
        fs::write(stamp, inputs)?;
    }
    drop(lock);
    build_server(release, cuda)
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn build_wasm(release: bool) -> Result<PathBuf> {
    let (profile, folder) = if release { ("wasm-release", "wasm-release") } else { ("dev", "debug") };
    run(cargo()
        .args([
            "build",
            "--package",
            "app",
            "--lib",
            "--target",
            "wasm32-unknown-unknown",
            "--target-dir",
            "target/front",
        ])
        .args(["--no-default-features", "--features", "hydrate", "--profile", profile]))?;
    Ok(Path::new("target/front/wasm32-unknown-unknown").join(folder).join("app.wasm"))
}

/// With the set of packages that the tests are built with, so that nothing is built twice.
fn build_server(release: bool, cuda: bool) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--workspace", "--exclude", "site", "--target-dir", "target"]);
    if release {
        build.arg("--release");
    }
    if cuda {
        build.args(["--features", "server/cuda"]);
    }
    run(&mut build)
}

fn run(command: &mut Command) -> Result<()> {
    if !command.status().with_context(|| format!("{command:?} does not start"))?.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

/// One line per file that goes into the site, with its size and time, and this program itself.
fn describe_inputs(wasm: &Path, release: bool) -> Result<String> {
    let mut files = vec![wasm.to_path_buf(), env::current_exe()?];
    list_files(Path::new("public"), &mut files)?;
    list_files(Path::new("style"), &mut files)?;
    files.sort();
    let mut described = format!("release {release}\n");
    for file in files {
        let known = fs::metadata(&file)?;
        let changed = known.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        described += &format!("{} {} {}\n", file.display(), known.len(), changed.as_nanos());
    }
    Ok(described)
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { list_files(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// Puts the site together beside `site` and swaps the two.
fn assemble(site: &Path, wasm: &Path, release: bool) -> Result<()> {
    let (partial, old) = (site.with_extension("partial"), site.with_extension("old"));
    remove(&partial)?;
    remove(&old)?;
    let mut public = Vec::new();
    list_files(Path::new("public"), &mut public)?;
    for file in public {
        let to = partial.join(file.strip_prefix("public")?);
        fs::create_dir_all(to.parent().unwrap_or(&partial))?;
        fs::copy(&file, &to)?;
    }
    let package = partial.join("pkg");
    Bindgen::new()
        .input_path(wasm)
        .web(true)?
        .typescript(false)
        .remove_name_section(release)
        .remove_producers_section(release)
        .out_name("app")
        .generate(&package)?;
    // The name that leptos asks for under LEPTOS_OUTPUT_NAME (see .cargo/config.toml).
    fs::rename(package.join("app_bg.wasm"), package.join("app.wasm"))?;
    fs::write(package.join("app.css"), style::join(Path::new("style"))?)?;
    if release {
        compress_all(&partial)?;
    }
    if site.exists() {
        fs::rename(site, &old)?;
    }
    fs::rename(&partial, site)?;
    remove(&old)
}

/// Leaves a `.br` and a `.gz` beside every file that gains by it; the server sends them to browsers that ask.
fn compress_all(folder: &Path) -> Result<()> {
    let mut files = Vec::new();
    list_files(folder, &mut files)?;
    for file in files {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !COMPRESSED.contains(&extension) || fs::metadata(&file)?.len() < SMALLEST_COMPRESSED_BYTES {
            continue;
        }
        let content = fs::read(&file)?;
        let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
        let mut brotli = Vec::new();
        brotli::BrotliCompress(&mut content.as_slice(), &mut brotli, &parameters)?;
        fs::write(file.with_extension(format!("{extension}.br")), brotli)?;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&content)?;
        fs::write(file.with_extension(format!("{extension}.gz")), gzip.finish()?)?;
    }
    Ok(())
}

/// Removes a file or folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}
