//! The yardsticks: what Python's readers take for the same file.

use super::Measured;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;

/// Reads the file as its manual says, looks at every label once, and says what that took. Exit code 3: no such library.
const SCRIPT: &str = r#"
import json, sys, time
library, path = sys.argv[1:]
try:
    module = __import__(library)
except ImportError:
    sys.exit(3)
began = time.perf_counter()
frame = module.read_csv(path)
labels = frame[frame.columns[-1]].value_counts()
seconds = time.perf_counter() - began
peak = None
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        peak = int(line.split()[1]) * 1024
name = f"{library} {module.__version__}"
print(json.dumps({"name": name, "steps": [{"name": "reading", "seconds": seconds}], "peak_bytes": peak}))
"#;

/// `None` where this Python, or the library in it, is not there.
pub fn measure(python: &Path, library: &str, file: &Path) -> anyhow::Result<Option<Measured>> {
    eprintln!("measuring {library}");
    let output = match Command::new(python).args(["-c", SCRIPT, library]).arg(file).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be started", python.display())),
    };
    match output.status.code() {
        Some(0) => Ok(Some(serde_json::from_slice(&output.stdout).context("The figures cannot be read")?)),
        Some(3) => Ok(None),
        _ => bail!("{library} failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}
