//! A place for what a command writes on its way.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// A folder of its own under the system's temporary one, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("ayar-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("The folder {} cannot be made", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
